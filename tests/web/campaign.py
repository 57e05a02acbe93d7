"""A small campaign with all that pages and reports show: maps, trajectories, references."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jobflow import Flow, JobStore, job
from stores.made_up import CrystalsWithHull, MadeUpCampaign  # tests/stores

from logan_campaign.core.arrays import pack_arrays
from logan_campaign.core.documents import (
    Document,
    KnownLeak,
    LeakageDoc,
    RelaxationState,
    SelectionDoc,
    TargetLeaks,
)
from logan_campaign.flows.local import Ledger
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store

#: Text that a page must show as it stands, whatever it looks like.
NASTY = "</script><script>window.broken = 1</script>\"&'<b>"


Place = TypeVar("Place", str, Path)


@job
def nothing() -> None:
    """Stand in for the campaign's jobs, of which only the documents are made up."""


class ShownCampaign(MadeUpCampaign):
    """The made-up campaign with the large parts that pages and reports read."""

    def campaign(self) -> list[Document]:
        found: Any = super().campaign()[0]
        level = {"calculator": "gfn2-xtb", "optimizer": "FIRE", "fmax": 0.05, "max_steps": 300}
        dft = {**level, "calculator": "gpaw", "mode": "lcao", "basis": "dzp", "xc": "LDA"}
        dft["vacuum_angstrom"] = 3.0
        spec = {
            **found.spec,
            "note": NASTY,
            "match": {"identity": "smiles"},
            "relax": {"levels": [{"name": "xtb", **level}, {"name": "gpaw", **dft}]},
        }
        return [found.model_copy(update={"spec": spec})]

    def sets(self) -> list[Document]:
        # no H beside O: pages and reports must warn
        return [each.model_copy(update={"pairs": ["H-H"]}) for each in super().sets()]

    def selection(self) -> list[Document]:
        found: Any = super().selection()[0]
        assert isinstance(found, SelectionDoc)
        rng = np.random.default_rng(0)
        pool = np.repeat([0, 1], 48)
        arrays = {
            "pca": rng.normal(size=(96, 2)),
            "label": np.arange(96) % 6,
            "pool": pool,
            "sample": np.concatenate([np.arange(48), np.arange(3, 51)]),
            "known_pca": rng.normal(size=(1, 2)),
        }
        return [found.model_copy(update={"map": pack_arrays(arrays)})]

    def relaxation(
        self, number: int, level: int, energy: float | None, state: RelaxationState = "converged"
    ) -> Any:
        found = super().relaxation(number, level, energy, state)
        n_atoms, last = len(found.structure), energy or 0.0
        arrays = {
            "numbers": np.array(found.structure.atomic_numbers),
            "positions": np.repeat(found.structure.cart_coords[None], 13, axis=0),
            "cell": np.zeros((13, 3, 3)),
            "energy": last + np.exp(-np.arange(13.0)),
            "forces": np.zeros((13, n_atoms, 3)),
        }
        return found.model_copy(update={"trajectory": pack_arrays(arrays)})

    def leakage(self) -> list[Document]:
        match = KnownLeak(entry="O0", entry_id="struct-0", tolerance="loose", rms_normalised=None)
        leaks = TargetLeaks(target="O2", target_id="struct-2", formula="H2O", matches=[match])
        return [
            LeakageDoc(
                campaign_id=self.id,
                training_set_ids=["set-training"],
                known_set_ids=["set-known"],
                targets=[leaks],
            )
        ]

    def stages(self) -> list[Any]:
        return [*super().stages(), self.leakage()]


class ShownCrystals(ShownCampaign, CrystalsWithHull):
    """The same with crystals and their hull."""


def store_campaigns(place: Place, *campaigns: MadeUpCampaign, upto: int | None = None) -> Place:
    """Write campaigns into one store and build the campaign database; return its place."""
    with open_store(place, create=True) as stores:
        jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
        for campaign in campaigns:
            Ledger(stores.ledger, campaign.id, {"campaign": campaign.name}).begin(Flow([nothing()]))
            campaign.store(jobstore, upto)
        CampaignBuilder.from_stores(stores).build()
    return place
