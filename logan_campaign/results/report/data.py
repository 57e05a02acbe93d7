"""The data of a report, read from the store once."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.results.arrays import PcaMap
from logan_campaign.results.campaign import Campaign
from logan_campaign.results.report.discoveries import (
    Discoveries,
    count_discoveries,
    is_baseline,
    is_random,
    material_names,
    n_targets,
)
from logan_campaign.results.report.view3d import view3d
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    TrainingSetRecord,
    pairs_text,
    targets_of,
    without_known,
    without_pairs,
)

#: Maximum length of the JSON text of all structures in one file.
_STRUCTURES_LENGTH = 8_000_000


@dataclass(frozen=True)
class Discovery:
    """A row of the table of discoveries: a distinct structure, new or known.

    Attributes:
        candidate: the candidate that represents it.
        name: SMILES, label of the known entry, or space group.
        n_candidates: number of candidates of the campaign that relaxed to it.
        n_models: number of models that generated these.
        n_relaxed: number of candidates relaxed up to and including its discovery.
    """

    candidate: CandidateRecord
    name: str
    n_candidates: int
    n_models: int
    n_relaxed: int


@dataclass(frozen=True)
class LevelCost:
    """Outcomes of the relaxations at one level; times in seconds."""

    level: str
    n: int
    n_converged: int
    median_steps: float
    median_s: float
    total_s: float
    ended: dict[str, int]


@dataclass(frozen=True)
class ReportData:
    """The data of a report.

    Attributes:
        record: the campaign.
        candidates: all of them without structures, in the order of the picks.
        materials: the distinct structures found.
        models: its models.
        sets: its training sets and known sets.
        pca_map: map of the last selection, None if there is none or it cannot be read.
        map_problem: why the map cannot be read; '' if it can.
        discoveries: table of discoveries, new structures first.
        structures: 3D views by candidate id, limited by the size of the file.
        n_targets: number of known entries of the target composition.
        n_trained_on_target: number of training structures of the target composition.
        without_known: target formulas for which no set has an entry.
        unlearned: warning of pairs that no training structure has side by side; may be empty.
        baselines: discoveries of comparable campaigns of random structures in the store, by name.
    """

    record: CampaignRecord
    candidates: Sequence[CandidateRecord]
    materials: list[MaterialRecord]
    models: list[ModelRecord]
    sets: list[TrainingSetRecord]
    pca_map: PcaMap | None
    map_problem: str
    discoveries: list[Discovery]
    structures: dict[str, dict[str, Any]]
    n_targets: int
    n_trained_on_target: int
    without_known: list[str]
    unlearned: str
    baselines: dict[str, Discoveries]

    @property
    def is_random(self) -> bool:
        """Whether all structures of the campaign are random themselves."""
        return is_random(self.record)

    @property
    def vary(self) -> list[str]:
        """Hyperparameters that differ between the models."""
        return list(self.record.spec.get("models", {}).get("vary", {}))

    @property
    def makers(self) -> list[str]:
        """Names of the methods, and of generators outside."""
        settings = [model.hyperparameters for model in self.models]
        return sorted({said.get("generator") or said.get("method", "wgan") for said in settings})

    @property
    def names(self) -> Mapping[str, str]:
        """A short name for each material."""
        return material_names(self.materials)

    def costs(self) -> list[LevelCost]:
        """Return the outcomes of the relaxations, level by level."""
        found = []
        for level in self.record.levels:
            runs = [r for c in self.candidates for r in c.relaxations if r.level == level]
            if runs:
                times = np.array([run.elapsed_s for run in runs])
                ended = Counter(run.state.replace("_", " ") for run in runs)
                found.append(
                    LevelCost(
                        level=level,
                        n=len(runs),
                        n_converged=ended["converged"],
                        median_steps=float(np.median([run.n_steps for run in runs])),
                        median_s=float(np.median(times)),
                        total_s=float(times.sum()),
                        ended=dict(ended.most_common()),
                    )
                )
        return found


def gather(campaign: Campaign) -> ReportData:
    """Read the data of a campaign's report.

    Raises:
        StoreError: a record cannot be read.
    """
    record = campaign.record
    candidates = list(campaign.candidates().without_structures())
    materials = list(campaign.materials())
    sets = [*campaign.training_sets, *campaign.known_sets]
    pca_map, problem = None, ""
    if record.selections:
        try:
            pca_map = campaign.pca_map()
        except LoganCampaignError as err:  # the report is useful without the map
            problem = str(err)
    structures: dict[str, dict[str, Any]] = {}
    length = 0
    for candidate in campaign.candidates(state=["new", "rediscovered"]):
        shown = candidate.structure or candidate.raw_structure
        if shown is None:
            continue
        document = view3d(shown)
        length += len(json.dumps(document, separators=(",", ":")))
        if length > _STRUCTURES_LENGTH:
            break
        structures[candidate.id] = document
    return ReportData(
        record=record,
        candidates=candidates,
        materials=materials,
        models=campaign.models,
        sets=sets,
        pca_map=pca_map,
        map_problem=problem,
        discoveries=_discoveries(candidates, material_names(materials)),
        structures=structures,
        n_targets=n_targets(record, sets),
        n_trained_on_target=sum(
            used.formulas.get(formula, 0)
            for used in sets
            for formula in targets_of(record)
            # training on structures of earlier rounds is intended
            if used.id in record.training_set_ids and used.query.get("type") != "rounds"
        ),
        without_known=without_known(record, sets),
        unlearned=pairs_text(without_pairs(record, sets), record.kind),
        baselines={
            other.name: count_discoveries(
                list(campaign.database.candidates(other.id, structures=False)), record.known_set_ids
            )
            for other in campaign.database.campaigns()
            if is_baseline(other, record)
        },
    )


def _discoveries(
    candidates: Sequence[CandidateRecord], names: Mapping[str, str]
) -> list[Discovery]:
    members: defaultdict[str, list[CandidateRecord]] = defaultdict(list)
    first: dict[str, int] = {}
    n_relaxed = 0
    for candidate in candidates:
        n_relaxed += bool(candidate.relaxations)
        if candidate.material_id is not None:
            members[candidate.material_id].append(candidate)
            first.setdefault(candidate.material_id, n_relaxed)
    found = []
    for key, group in members.items():
        heads = [c for c in group if c.state in ("new", "rediscovered")]
        if heads:
            head = min(heads, key=_energy)
            found.append(
                Discovery(
                    candidate=head,
                    name=names.get(key, head.smiles or head.spacegroup or head.formula),
                    n_candidates=len(group),
                    n_models=len({c.model_id for c in group}),
                    n_relaxed=first[key],
                )
            )
    return sorted(found, key=lambda d: (d.candidate.state != "new", _energy(d.candidate)))


def _energy(candidate: CandidateRecord) -> tuple[bool, float, int]:
    energy = candidate.energy_above_min_ev
    return energy is None, energy or 0.0, candidate.order
