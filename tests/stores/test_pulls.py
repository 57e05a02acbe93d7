"""Pulls derived from job documents: on SQLite and on MongoDB the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobflow import JobStore

from logan_campaign.core.errors import InputError
from logan_campaign.flows import TrainingSetMaker
from logan_campaign.sources import SmilesSource
from logan_campaign.sources.changes import compare
from logan_campaign.stores.open import CampaignStores, open_store
from logan_campaign.stores.pulls import PullBuilder, PulledSets

Pull = Callable[..., None]


def source(*smiles: str) -> SmilesSource:
    return SmilesSource(smiles=list(smiles), relax=False)


@pytest.fixture(params=["sqlite", "mongodb"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CampaignStores]:
    uri = request.getfixturevalue("mongo_uri") if request.param == "mongodb" else tmp_path / "s"
    with open_store(uri, create=True) as opened:
        yield opened


@pytest.fixture
def pull(stores: CampaignStores) -> Pull:
    def run(wanted: SmilesSource, campaign: str | None = None, lean: bool = True) -> None:
        sets = PulledSets(stores)
        PullBuilder.from_stores(stores).build()
        maker = TrainingSetMaker(source=wanted, leave_out_unchanged=lean)
        job = maker.make(sets.manifest(wanted.query_id) if lean else None)
        if campaign:
            job.update_metadata({"campaign_id": campaign})
        job.run(JobStore(stores.docs, additional_stores={"data": stores.data}))
        PullBuilder.from_stores(stores).build()

    return run


def test_pulls_of_a_query_follow_one_another(stores: CampaignStores, pull: Pull) -> None:
    pull(source("C", "CC"))
    pull(source("C", "CC"))
    pull(source("O"))
    sets = PulledSets(stores)
    methane, water = sets.find(source("C", "CC").query_id), sets.find(source("O").query_id)
    assert (methane.order, water.order) == (1, 0)
    assert methane.changes is not None
    assert not methane.changes
    assert water.changes is None
    assert {p.query_id for p in sets.latest()} == {methane.query_id, water.query_id}
    # the second pull brought no structures: those of the first are its own
    assert [entry.smiles for entry in sets.entries(methane)] == ["C", "CC"]
    assert PullBuilder.from_stores(stores).build() == []


def test_what_is_derived_again_is_the_same(stores: CampaignStores, pull: Pull) -> None:
    pull(source("C"))
    pull(source("C"))
    before = [record.model_dump() for record in PulledSets(stores).pulls()]
    stores.collection("pulls").remove_docs({})
    PullBuilder.from_stores(stores).build()
    assert [record.model_dump() for record in PulledSets(stores).pulls()] == before


def test_removing_takes_what_nothing_else_needs(stores: CampaignStores, pull: Pull) -> None:
    same, other = source("C", "CC"), source("CC", "C")  # two queries, one set
    pull(same)
    pull(other)
    sets = PulledSets(stores)
    name = sets.find(same.query_id).set_id
    assert sets.remove(sets.find(same.query_id)) == 1
    left = sets.find(name)
    assert left.query_id == other.query_id
    assert [entry.smiles for entry in sets.entries(left)] == ["CC", "C"]
    record = stores.collection("training_sets").query_one({"id": name})
    assert record is not None
    assert record["structures"]["blob_uuid"] == left.structures.blob_uuid  # type: ignore[union-attr]
    sets.remove(left)
    assert stores.docs.count({}) == stores.data.count({}) == 0
    assert stores.collection("training_sets").count({}) == 0


def test_what_a_campaign_uses_is_not_removed(stores: CampaignStores, pull: Pull) -> None:
    pull(source("C"), campaign="camp-1", lean=False)
    sets = PulledSets(stores)
    with pytest.raises(InputError, match="used by"):
        sets.remove(sets.find(source("C").query_id))
    assert len(sets.pulls()) == 1


def test_repeated_labels_are_told_by_their_order() -> None:
    records = source("C", "CC").load().records
    for record in records:
        record.label = "same"
    assert not compare(records, records)
    assert compare(records[:1], records).added == ["same"]
    assert [c.what for c in compare(records, records[::-1]).changed] == ["structure"] * 2
