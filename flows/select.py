"""Jobs that pick the candidates worth a relaxation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from jobflow import Maker, job

from logan_campaign.arrays import pack_arrays, unpack_arrays
from logan_campaign.descriptors import structure_descriptors
from logan_campaign.errors import LoganCampaignError
from logan_campaign.ids import content_id
from logan_campaign.schemas import DATA_KEYS, Candidate, PoolDoc, SelectionDoc
from logan_campaign.screening import ScreeningSpec, screen_pool
from logan_campaign.selection import KMeansSelection, SelectionSpec, select
from logan_campaign.structures import structure_id
from logan_campaign.target import TargetGeometry


@dataclass
class SelectMaker(Maker):
    """Screen the generated pools, then pick representatives by a selection strategy.

    Attributes:
        name: Name of the job.
        strategy: Selection strategy and its settings.
        screening: What counts as implausible; such structures are counted, not picked.
        seed: Seed of the strategy.
    """

    name: str = "select"
    strategy: SelectionSpec = field(default_factory=lambda: KMeansSelection(n_picks=20))
    screening: ScreeningSpec = field(default_factory=ScreeningSpec)
    seed: int = 0

    @job(data=DATA_KEYS, output_schema=SelectionDoc)
    def make(
        self, pools: list[PoolDoc | None], target: TargetGeometry, campaign_id: str
    ) -> SelectionDoc:
        """Return the picks of all pools together.

        Raises:
            LoganCampaignError: there is nothing to pick from.
        """
        # a pool is None where its model's job died; the others go on
        found = [PoolDoc.model_validate(pool) for pool in pools if pool is not None]
        arrays = [unpack_arrays(pool.pool) for pool in found]
        if not any(len(a["positions"]) for a in arrays):
            raise LoganCampaignError(
                "no model generated anything: all members failed to train; "
                "'logan-campaign status' shows why"
            )
        positions = np.concatenate([a["positions"] for a in arrays])
        cells = np.concatenate([a["cell"] for a in arrays])
        group = np.concatenate([np.full(len(a["positions"]), i) for i, a in enumerate(arrays)])
        sample = np.concatenate([np.arange(len(a["positions"])) for a in arrays])

        periodic = target.kind == "crystal"
        reasons = screen_pool(positions, cells, target.numbers, periodic, self.screening)
        usable = np.flatnonzero(reasons == "")
        unusable = Counter(str(reason) for reason in reasons if reason)
        if not len(usable):
            raise LoganCampaignError(
                f"none of {len(positions)} generated structures is plausible "
                f"({_counts(unusable)}): train longer, or relax 'screen' in the spec"
            )
        descriptors = structure_descriptors(
            positions[usable],
            cells[usable],
            target.numbers,
            periodic=periodic,
            species=sorted(set(target.numbers.tolist())),
            **self.strategy.descriptor.model_dump(),
        )
        chosen = select(descriptors, group[usable], self.strategy, seed=self.seed)
        unusable.update(chosen.n_unusable)

        candidates, seen = [], set()
        for pick, cluster, represents in zip(
            chosen.indices, chosen.clusters, chosen.represents, strict=True
        ):
            where = usable[pick]
            structure = target.geometry(positions[where], cells[where])
            identity = content_id("cand", [campaign_id, structure_id(structure)])
            if identity in seen:  # a collapsed model can generate one structure twice
                continue
            seen.add(identity)
            pool = found[group[where]]
            candidates.append(
                Candidate(
                    id=identity,
                    model_id=pool.model_id,
                    pool_id=pool.id,
                    sample_index=int(sample[where]),
                    strategy=self.strategy.strategy,
                    cluster=int(cluster),
                    represents=int(represents),
                    structure=structure,
                )
            )
        return SelectionDoc(
            campaign_id=campaign_id,
            strategy=self.strategy.strategy,
            settings=self.strategy.model_dump(mode="json"),
            n_generated=len(positions),
            n_unusable=dict(unusable),
            explained_variance=[float(x) for x in chosen.explained_variance],
            pool_ids=[pool.id for pool in found],
            candidates=candidates,
            map=pack_arrays(
                {
                    "pca": chosen.pca.astype(np.float32),
                    "label": chosen.labels.astype(np.int32),
                    "pool": group[usable].astype(np.int32),
                    "sample": sample[usable].astype(np.int32),
                }
            ),
        )


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common())
