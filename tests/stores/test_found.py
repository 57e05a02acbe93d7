"""What one campaign of a store has found is known to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobflow import JobStore

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.found import found_by_others
from logan_campaign.stores.open import open_store
from logan_campaign.stores.queries import CampaignDatabase

from .made_up import MadeUpCampaign


def spec(formula: str, **match: Any) -> CampaignSpec:
    return CampaignSpec.model_validate(
        {
            "name": "next",
            "target": {"kind": "molecule", "formula": formula},
            "training": {"source": {"type": "smiles", "smiles": ["CCO"]}},
            "select": {"strategy": "kmeans"},
            "relax": {"levels": [{"name": "xtb", "calculator": "gfn2-xtb"}]},
            "match": match,
        }
    )


def test_new_materials_of_other_campaigns_with_the_same_composition_are_known(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path, create=True) as stores:
        MadeUpCampaign().store(JobStore(stores.docs, {"data": stores.data}))
        CampaignBuilder.from_stores(stores).build()
        database = CampaignDatabase(stores)
        (campaign,) = database.campaigns()
        new = [m for m in database.materials() if m.state == "new"]
        assert new
        found = found_by_others(stores, spec(new[0].formula), "camp-next")
        assert [e.label.split()[0] for e in found] == [m.best_candidate_id for m in new]
        assert found[0].label.endswith(f"of {campaign.name}")
        # not what itself has found, not other compositions, not where nobody asks
        assert found_by_others(stores, spec(new[0].formula), campaign.id) == []
        assert found_by_others(stores, spec("C7H16O"), "camp-next") == []
        alone = spec(new[0].formula, other_campaigns=False)
        assert found_by_others(stores, alone, "camp-next") == []


def test_what_others_found_is_no_part_of_what_a_campaign_is() -> None:
    assert spec("CH4O").id == spec("CH4O", other_campaigns=False).id
