"""Rules of a campaign that goes on: the last version of one document of its JobStore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jobflow import Flow, JobStore, OutputReference, run_locally

from logan_campaign.core.documents import ControlDoc
from logan_campaign.core.ids import control_uuid
from logan_campaign.flows.campaign import describe_campaign
from logan_campaign.stores.control import Control
from logan_campaign.stores.open import CampaignStores, open_store

SPEC = {"rounds": 2}


@pytest.fixture(params=["sqlite", "mongo"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CampaignStores]:
    where = tmp_path if request.param == "sqlite" else request.getfixturevalue("mongo_uri")
    with open_store(where, create=True) as opened:
        yield opened


def first_version(stores: CampaignStores) -> JobStore:
    jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
    job = describe_campaign(ControlDoc(campaign_id="camp-a", spec_stop=SPEC, stop=SPEC))
    job.set_uuid(control_uuid("camp-a"))
    run_locally(Flow([job]), store=jobstore, log=False, ensure_success=True)
    return jobstore


def test_a_job_is_given_the_last_version(stores: CampaignStores) -> None:
    control = Control(stores, "camp-a", "a")
    assert control.read() is None
    jobstore = first_version(stores)
    given = OutputReference(control_uuid("camp-a"))
    assert ControlDoc.model_validate(given.resolve(jobstore, cache={})).stop == SPEC
    for rounds in (3, 5):
        control.write(SPEC, {"rounds": rounds})
    assert ControlDoc.model_validate(given.resolve(jobstore, cache={})).stop == {"rounds": 5}
    held = control.read()
    assert held is not None
    assert (held.spec_stop, held.stop) == (SPEC, {"rounds": 5})


def test_what_is_changed_before_the_first_version_is_written_holds(stores: CampaignStores) -> None:
    control = Control(stores, "camp-a", "a")
    control.write(SPEC, {"rounds": 9})
    first_version(stores)
    held = control.read()
    assert held is not None
    assert held.stop == {"rounds": 9}


def test_rules_of_other_campaigns_are_others(stores: CampaignStores) -> None:
    Control(stores, "camp-a", "a").write(SPEC, {"rounds": 9})
    assert Control(stores, "camp-b", "b").read() is None
