"""Jobs that pick candidates for relaxation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jobflow import Maker, job

from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.arrays import pack_arrays, unpack_arrays
from logan_campaign.core.documents import (
    DATA_KEYS,
    Candidate,
    CheapRelaxationCount,
    ModelDoc,
    PoolDoc,
    SelectionDoc,
    TrainingSetDoc,
)
from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.core.ids import content_id
from logan_campaign.flows.generate import load_for
from logan_campaign.flows.stages import stage
from logan_campaign.generators import models as trained_models
from logan_campaign.geometry.molecular_graphs import pool_graphs
from logan_campaign.geometry.structures import kind_of, structure_id
from logan_campaign.selection import (
    KMeansSelection,
    Pool,
    Selection,
    SelectionSpec,
    chart,
    learned_coordination,
    select,
    steps_of,
)
from logan_campaign.selection.screening import ScreeningSpec, screen_pool

#: Clarity of bonds from which the graph of a generated molecule is trusted: unbonded atoms are no
#: closer than the longest bond, both in units of the sum of covalent radii.
_CLEAR = 1.0


@dataclass
class SelectMaker(Maker):
    """Screen the pools, then pick representatives by a selection strategy.

    Attributes:
        name: Name of the job.
        strategy: Selection strategy and its settings, or a list of them in sequence.
        screening: Limits of plausible geometry; implausible structures are counted, not picked.
        seed: Seed of the strategy.
        round: Round of the campaign, from 0.
        pass_over_found: Whether to skip molecules with clear bonds that equal one found by an
            earlier round; they are counted.
    """

    name: str = "select"
    strategy: SelectionSpec = field(default_factory=lambda: KMeansSelection(n_picks=20))
    screening: ScreeningSpec = field(default_factory=ScreeningSpec)
    seed: int = 0
    round: int = 0
    pass_over_found: bool = True

    @property
    def needs_models(self) -> bool:
        """Whether the strategy uses the trained models."""
        return any(step.needs_models for step in steps_of(self.strategy))

    @job(data=DATA_KEYS, output_schema=SelectionDoc, metadata=stage("select"))
    def make(
        self,
        pools: list[PoolDoc | None],
        target: TargetGeometry,
        campaign_id: str,
        sets: list[TrainingSetDoc] | None = None,
        models: list[ModelDoc | None] | None = None,
    ) -> SelectionDoc:
        """Return the picks from all pools.

        Args:
            pools: Generated pools; None if a job died.
            target: Atoms and cell of all structures.
            campaign_id: Campaign.
            sets: Training set, used by some strategies, and known sets, for the map.
            models: The ensemble; only for strategies that use its critics.

        Raises:
            LoganCampaignError: there is nothing to pick from.
        """
        # a pool is None if its model's job died; the others are used
        found = [PoolDoc.model_validate(pool) for pool in pools if pool is not None]
        documents = [TrainingSetDoc.model_validate(doc) for doc in sets or []]
        entries = [e for doc in documents if doc.role == "training" for e in doc.structures]
        training = [entry.structure for entry in entries]
        arrays = [unpack_arrays(pool.pool) for pool in found]
        if not any(len(a["positions"]) for a in arrays):
            raise LoganCampaignError(
                "there is nothing to pick from: all members failed to train, or no structure of "
                f"{target.hill_formula} is left that was brought; 'logan-campaign status' shows why"
            )
        positions = np.concatenate([a["positions"] for a in arrays])
        cells = np.concatenate([a["cell"] for a in arrays])
        group = np.concatenate([np.full(len(a["positions"]), i) for i, a in enumerate(arrays)])
        sample = np.concatenate([np.arange(len(a["positions"])) for a in arrays])

        periodic = target.kind == "crystal"
        learned = self.screening.learn(training)
        reasons = screen_pool(positions, cells, target.numbers, periodic, self.screening, learned)
        usable = np.flatnonzero(reasons == "")
        unusable = Counter(str(reason) for reason in reasons if reason)
        again: Counter[str] = Counter()
        if self.pass_over_found and not periodic:
            seen = _found_before(target.numbers, positions[usable], documents)
            again.update(str(name) for name in seen if name)
            usable = usable[seen == ""]
            if again:
                unusable["found before"] = sum(again.values())
        if not len(usable):
            raise LoganCampaignError(
                f"none of {len(positions)} generated structures is plausible "
                f"({_counts(unusable)}): train longer, or relax 'screen' in the spec"
            )
        pool = Pool(
            numbers=target.numbers,
            positions=positions[usable],
            cells=cells[usable],
            periodic=periodic,
            group=group[usable],
            training=training,
            models=_models(models or [], found, target) if self.needs_models else [],
            workdir=Path("cheap"),
            fixed_cell=target.lattice == "fixed",
            marks=target.marks,
        )
        chosen = select(pool, self.strategy, seed=self.seed)
        unusable.update(chosen.n_unusable)
        steps = steps_of(self.strategy)
        known = [
            entry.structure
            for doc in documents
            for entry in doc.structures
            if entry.formula == target.hill_formula and kind_of(entry.structure) == target.kind
        ]
        drawn = chart(pool, chosen, steps, known)
        settings = [step.model_dump(mode="json") for step in steps]
        return SelectionDoc(
            campaign_id=campaign_id,
            round=self.round,
            strategy=" > ".join(step.strategy for step in steps),
            settings=settings if len(settings) > 1 else settings[0],
            n_generated=len(positions),
            n_unusable=dict(unusable),
            found_again=dict(again),
            cheap_relaxations=[CheapRelaxationCount(**asdict(done)) for done in chosen.cheap],
            learned=learned_coordination(steps, training, learned),
            explained_variance=drawn.explained_variance,
            pool_ids=[pool.id for pool in found],
            candidates=_candidates(
                pool, chosen, target, campaign_id, [found[i] for i in group[usable]], sample[usable]
            ),
            map=pack_arrays(
                {
                    "pca": drawn.places.astype(np.float32),
                    "known_pca": drawn.known.astype(np.float32),
                    "label": chosen.labels.astype(np.int32),
                    "pool": group[usable].astype(np.int32),
                    "sample": sample[usable].astype(np.int32),
                }
            ),
        )


def _candidates(
    pool: Pool,
    chosen: Selection,
    target: TargetGeometry,
    campaign_id: str,
    origin: Sequence[PoolDoc],
    sample: np.ndarray,
) -> list[Candidate]:
    """Return the picks as candidates, with pool (``origin``) and index (``sample``) of each."""
    candidates, seen = [], set()
    for k, row in enumerate(chosen.indices.tolist()):
        structure = target.geometry(pool.positions[row], pool.cells[row])
        identity = content_id("cand", [campaign_id, structure_id(structure)])
        if identity in seen:  # a collapsed model can generate one structure twice
            continue
        seen.add(identity)
        start = chosen.starts.get(row)
        brought = origin[row].origins
        label, origin_id = brought[int(sample[row])] if brought else (None, None)
        candidates.append(
            Candidate(
                id=identity,
                model_id=origin[row].model_id,
                pool_id=origin[row].id,
                sample_index=int(sample[row]),
                origin=label,
                origin_id=origin_id,
                strategy=chosen.strategies[k],
                cluster=int(chosen.clusters[k]),
                graph=chosen.keys[k],
                represents=int(chosen.represents[k]),
                structure=structure,
                start=None if start is None else target.geometry(start.positions, start.cell.array),
            )
        )
    return candidates


def _found_before(
    numbers: np.ndarray, positions: np.ndarray, documents: Sequence[TrainingSetDoc]
) -> np.ndarray:
    """Return the candidate of an earlier round that equals each molecule, or ''."""
    found = {
        entry.smiles: entry.label
        for doc in documents
        if doc.role == "found"
        for entry in doc.structures
        if entry.smiles is not None
    }
    if not found:
        return np.full(len(positions), "", dtype=object)
    graphs = pool_graphs(numbers, positions)
    clear = graphs.clarity >= _CLEAR
    return np.array(
        [found.get(s, "") if c else "" for s, c in zip(graphs.smiles, clear, strict=True)],
        dtype=object,
    )


def _models(
    documents: Sequence[ModelDoc | None], pools: Sequence[PoolDoc], target: TargetGeometry
) -> list[trained_models.Model]:
    """Return the models that generated the pools, in the order of the pools."""
    found = [ModelDoc.model_validate(doc) for doc in documents if doc is not None]
    trained = {doc.id: doc for doc in found if doc.state == "trained"}
    return [load_for(trained[pool.model_id], target) for pool in pools]


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common())
