"""From job documents to campaigns, candidates, materials and lineage."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore
from pymatgen.core import Molecule

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.collections import CAMPAIGN_DATABASE
from logan_campaign.stores.lineage import Lineage
from logan_campaign.stores.open import CampaignStores, open_store
from logan_campaign.stores.queries import CampaignDatabase
from logan_campaign.stores.records import (
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    TrainingSetRecord,
)

from .made_up import MadeUpCampaign, MadeUpCrystals


@pytest.fixture(params=["sqlite", "mongo"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CampaignStores]:
    location = str(tmp_path) if request.param == "sqlite" else request.getfixturevalue("mongo_uri")
    with open_store(location, create=True) as opened:
        yield opened


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[CampaignStores]:
    with open_store(tmp_path, create=True) as opened:
        yield opened


def jobstore(stores: CampaignStores) -> JobStore:
    return JobStore(stores.docs, {"data": stores.data})


def build(stores: CampaignStores, **options: Any) -> list[str]:
    return CampaignBuilder.from_stores(stores, **options).build()


def everything(stores: CampaignStores) -> dict[str, list[dict[str, Any]]]:
    """Return all records of the campaign database."""
    return {
        name: list(stores.collection(name).query(properties={"_id": 0}, sort={"id": 1}))
        for name in CAMPAIGN_DATABASE
    }


@pytest.fixture(scope="module", params=["sqlite", "mongo"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CampaignDatabase]:
    """The whole made-up campaign, built; only to be read."""
    folder = tmp_path_factory.mktemp("built")
    location = str(folder)
    if request.param == "mongo":
        location = f"{request.getfixturevalue('mongod')}/built"
    with open_store(location, create=True) as opened:
        MadeUpCampaign().store(jobstore(opened))
        assert build(opened) == ["camp-a"]
        yield CampaignDatabase(opened)


# --- building ---------------------------------------------------------------------------


def test_every_candidate_gets_its_last_verdict_and_energy(database: CampaignDatabase) -> None:
    found = {c.id: c for c in database.candidates("camp-a")}
    assert list(found) == [f"cand-a{n}" for n in range(6)]
    states = [c.state for c in found.values()]
    assert states == ["rejected", "duplicate", "new", "rediscovered", "failed", "duplicate"]
    assert [c.energy_ev for c in found.values()] == [None, -20.0, -20.5, -19.0, None, -19.5]
    assert [c.level for c in found.values()] == [None, *["gpaw"] * 5]
    above = [c.energy_above_min_ev for c in found.values()]
    assert above == [None, 0.5, 0.0, 1.5, None, 1.0]
    failed = found["cand-a4"]
    assert failed.smiles == "O"  # known from the level before
    assert failed.reason == "no self-consistency"
    assert [r.level for r in failed.relaxations] == ["xtb", "gpaw"]
    best = found["cand-a2"]
    assert isinstance(best.structure, Molecule)
    assert best.structure[0].x == 12
    assert best.raw_structure is not None
    assert best.raw_structure[0].x == 2
    assert (best.formula, best.kind, best.training_set_id) == ("H2O", "molecule", "set-training")


def test_a_material_gathers_the_candidates_that_became_it(database: CampaignDatabase) -> None:
    new, again = database.materials("camp-a")
    assert (new.state, new.smiles, new.energy_ev) == ("new", "OO", -20.5)
    assert new.best_candidate_id == "cand-a2"
    assert new.candidate_ids == ["cand-a1", "cand-a2"]
    assert (again.state, again.known_id, again.known_label) == ("rediscovered", "struct-2", "O2")
    assert again.candidate_ids == ["cand-a3", "cand-a5"]
    assert again.best_candidate_id == "cand-a5"  # lower in energy than the one kept
    assert database.materials(state="new") == [new]


def test_the_rest_of_a_campaign_is_told(database: CampaignDatabase) -> None:
    campaign = database.campaign("demo")
    assert campaign.training_set_ids == ["set-training"]
    assert campaign.known_set_ids == ["set-known"]
    assert campaign.model_ids == ["model-a0", "model-a1"]
    [selection] = campaign.selections
    assert (selection.n_generated, selection.n_candidates) == (100, 6)
    assert campaign.references[0].energy_ev == -19.5
    model = database.models("camp-a")[1]
    assert model.final_losses is not None
    assert model.final_losses.wasserstein == 0.75
    assert model.pools[0].n_structures == 50
    assert model.source.software["python"]
    assert model.weights is not None
    assert database.load_blob(model.weights) == "weights of 1"
    with pytest.raises(StoreError, match="blob"):
        database.load_blob(model.weights.model_copy(update={"blob_uuid": "none"}))


def test_building_twice_changes_nothing(stores: CampaignStores) -> None:
    MadeUpCampaign().store(jobstore(stores))
    build(stores)
    before = everything(stores)
    assert build(stores) == []
    assert build(stores, rebuild=True) == ["camp-a"]
    assert everything(stores) == before


@pytest.mark.parametrize("lost", [*CAMPAIGN_DATABASE, "all"])
def test_a_lost_campaign_database_is_built_again(embedded: CampaignStores, lost: str) -> None:
    MadeUpCampaign().store(jobstore(embedded))
    build(embedded)
    before = everything(embedded)
    for name in CAMPAIGN_DATABASE:
        if lost in (name, "all"):
            embedded.collection(name).remove_docs({})
    assert build(embedded) == ["camp-a"]
    assert everything(embedded) == before


def test_a_running_campaign_is_followed_stage_by_stage(stores: CampaignStores) -> None:
    campaign = MadeUpCampaign()
    database = CampaignDatabase(stores)
    seen = []
    for n in range(len(campaign.stages()) + 1):
        campaign.store(jobstore(stores), upto=n)
        assert build(stores) == (["camp-a"] if n else [])
        seen.append({state: k for state, k in database.counts("camp-a").items() if k})
    assert seen[:5] == [{}] * 5
    assert seen[5] == {"pending": 6}
    assert seen[6:10] == [{"pending": 5, "rejected": 1}] * 4
    assert seen[10] == {"rejected": 1, "duplicate": 2, "rediscovered": 1, "new": 1, "failed": 1}
    step_by_step = everything(stores)
    build(stores, rebuild=True)
    assert everything(stores) == step_by_step


def test_documents_may_come_in_any_order(embedded: CampaignStores, tmp_path: Path) -> None:
    campaign = MadeUpCampaign()
    numbered = list(enumerate(doc for stage in campaign.stages() for doc in stage))
    campaign.store(jobstore(embedded))
    build(embedded)
    random.Random(0).shuffle(numbered)
    with open_store(tmp_path / "other", create=True) as other:
        for number, doc in numbered:
            campaign.put(jobstore(other), doc, f"job-a-{number}", 1, number)
            build(other)
        shuffled = everything(other)

    def without_blobs(records: Any) -> Any:  # their ids are random
        text = json.dumps(records, sort_keys=True, default=str)
        return json.loads(text, object_hook=lambda d: {} if "blob_uuid" in d else d)

    assert without_blobs(shuffled) == without_blobs(everything(embedded))


def test_of_a_replaced_job_the_highest_index_counts(embedded: CampaignStores) -> None:
    campaign = MadeUpCampaign()
    store = jobstore(embedded)
    campaign.store(store, upto=9)
    verdicts = campaign.classification()[0]
    campaign.put(store, None, "last", 1, 90)
    campaign.put(store, verdicts, "last", 3, 92)
    stale = verdicts.model_copy(update={"verdicts": []})
    campaign.put(store, stale, "last", 2, 99)
    build(embedded)
    assert CampaignDatabase(embedded).candidate("cand-a2").state == "new"


def test_a_repeated_output_doubles_nothing(embedded: CampaignStores) -> None:
    campaign = MadeUpCampaign()
    store = jobstore(embedded)
    campaign.store(store)
    build(embedded)
    before = everything(embedded)
    for number, document in enumerate([*campaign.selection(), *campaign.second_level()]):
        campaign.put(store, document, f"copy-{number}", 1, 0)
    build(embedded)
    after = everything(embedded)
    assert {k: len(v) for k, v in after.items()} == {k: len(v) for k, v in before.items()}
    assert [len(c["relaxations"]) for c in after["candidates"]] == [0, 2, 2, 2, 2, 2]


def test_campaigns_share_a_store_without_mixing(stores: CampaignStores) -> None:
    one, two = MadeUpCampaign("a"), MadeUpCampaign("b", "second")
    for campaign in (two, one):
        campaign.store(jobstore(stores))
    assert build(stores) == ["camp-a", "camp-b"]
    database = CampaignDatabase(stores)
    assert [c.name for c in database.campaigns()] == ["demo", "second"]
    assert {c.campaign_id for c in database.candidates("camp-b")} == {"camp-b"}
    assert len(list(database.candidates())) == 12
    assert database.counts("camp-a") == database.counts("camp-b")
    shared = database.training_sets("camp-b")[1]
    assert shared.campaign_ids == ["camp-a", "camp-b"]
    new = database.materials(state="new")
    assert [m.campaign_ids for m in new] == [["camp-a", "camp-b"]]
    assert len(new[0].candidate_ids) == 4
    before = everything(stores)
    build(stores, campaign_id="camp-b", rebuild=True)
    build(stores, campaign_id="camp-a", rebuild=True)
    assert everything(stores) == before


def test_a_candidate_that_is_no_longer_new_leaves_its_material(embedded: CampaignStores) -> None:
    campaign = MadeUpCampaign()
    store = jobstore(embedded)
    campaign.store(store)
    build(embedded)
    verdicts = [v.model_copy(update={"state": "failed"}) for v in campaign.verdicts()[:2]]
    last = campaign.classification()[0].model_copy(update={"verdicts": verdicts})
    campaign.put(store, last, "again", 1, 99)
    build(embedded)
    database = CampaignDatabase(embedded)
    assert [m.state for m in database.materials()] == ["rediscovered"]
    assert database.candidate("cand-a2").material_id is None


def test_crystals_are_told_apart_by_verdicts(embedded: CampaignStores) -> None:
    MadeUpCrystals().store(jobstore(embedded))
    build(embedded)
    database = CampaignDatabase(embedded)
    found = database.materials()
    assert sorted(m.candidate_ids for m in found) == [
        ["cand-a1", "cand-a2"],
        ["cand-a3", "cand-a5"],
    ]
    assert {m.spacegroup for m in found} == {"Pm-3m"}
    candidate = database.candidate("cand-a3")
    assert (candidate.kind, candidate.formula) == ("crystal", "O2Si")
    assert (candidate.rms, candidate.rms_angstrom) == (0.01, 0.02)


def test_documents_of_a_newer_version_are_refused(embedded: CampaignStores) -> None:
    campaign = MadeUpCampaign()
    newer = campaign.campaign()[0].model_copy(update={"schema_version": 99})
    campaign.put(jobstore(embedded), newer, "job")
    with pytest.raises(StoreError, match="newer version"):
        build(embedded)


def test_an_interrupted_build_leaves_nothing_half(
    embedded: CampaignStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    MadeUpCampaign().store(jobstore(embedded))

    def fails(*_: Any) -> None:
        raise StoreError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(CampaignBuilder, "_update_materials", fails)
        with pytest.raises(StoreError):
            build(embedded)
    assert not any(everything(embedded).values())
    assert build(embedded) == ["camp-a"]


# --- asking -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({"state": "duplicate"}, "15"),
        ({"state": ["new", "rediscovered"]}, "23"),
        ({"formula": "H2O"}, "012345"),
        ({"formula": "CO2"}, ""),
        ({"smiles": "OO"}, "12"),
        ({"spacegroup": "P1"}, ""),
        ({"level": "gpaw", "state": "failed"}, "4"),
        ({"energy_above_min_lte": 1.0}, "125"),
        ({"sort": "energy"}, "215304"),
        ({"sort": "energy", "limit": 2}, "21"),
        ({"sort": "energy", "limit": 2, "skip": 3}, "30"),
        ({"sort": "energy", "skip": 5}, "4"),
        ({"sort": "energy", "energy_above_min_lte": 0.5}, "21"),
        ({"limit": 1, "skip": 1}, "1"),
    ],
)
def test_candidates_are_filtered_sorted_and_paged(
    database: CampaignDatabase, criteria: dict[str, Any], expected: str
) -> None:
    found = database.candidates("camp-a", **criteria)
    assert "".join(c.id.removeprefix("cand-a") for c in found) == expected


def test_structures_can_be_left_out(database: CampaignDatabase) -> None:
    [candidate] = database.candidates("camp-a", state="new", structures=False)
    assert candidate.raw_structure is None
    assert candidate.structure is None
    with pytest.raises(InputError, match="cannot sort"):
        database.candidates(sort="beauty")  # type: ignore[arg-type]


def test_a_unique_beginning_of_an_id_is_enough(database: CampaignDatabase) -> None:
    assert database.candidate("cand-a2").id == "cand-a2"
    assert database.candidate("a2").id == "cand-a2"
    with pytest.raises(InputError, match="ambiguous: cand-a0, cand-a1, cand-a2, …"):
        database.candidate("cand-a")
    with pytest.raises(InputError, match="no candidate 'cand-z'"):
        database.candidate("cand-z")
    kinds = {"cand-a1": CandidateRecord, "model-a1": ModelRecord, "set-k": TrainingSetRecord}
    for identity, kind in kinds.items():
        assert isinstance(database.find(identity), kind)
    material = database.materials()[0]
    assert database.find(material.id[:-4]) == material
    assert isinstance(material, MaterialRecord)
    with pytest.raises(InputError, match="no id"):
        database.find("nothing")


def test_campaigns_are_found_by_name_or_id(embedded: CampaignStores) -> None:
    for tag in "ab":
        MadeUpCampaign(tag, "same").store(jobstore(embedded), upto=1)
    build(embedded)
    database = CampaignDatabase(embedded)
    assert database.campaign("camp-b").id == "camp-b"
    with pytest.raises(InputError, match="camp-a, camp-b"):
        database.campaign("same")
    with pytest.raises(InputError, match=r"no campaign 'other' in .*; there: same"):
        database.campaign("other")


# --- lineage ----------------------------------------------------------------------------


def labels(lineage: Lineage) -> str:
    told = [line for node in lineage.nodes.values() for line in (node.label, *node.details)]
    return "\n".join([*told, *(edge.note for edge in lineage.edges)])


def before(lineage: Lineage) -> set[str]:
    """Return the ids of all that the root came from."""
    found: set[str] = set()
    todo = [lineage.root]
    while todo:
        new = {node.id for _, node in lineage.before(todo.pop())} - found
        found |= new
        todo += new
    return found


def test_from_a_candidate_up_to_its_training_set(database: CampaignDatabase) -> None:
    lineage = database.lineage("cand-a3")
    assert [(edge.relation.value, node.kind) for edge, node in lineage.before("cand-a3")] == [
        ("relaxed", "relaxation"),
        ("relaxed", "relaxation"),
        ("picked", "pool"),
        ("equals", "known"),
    ]
    text = labels(lineage)
    for wanted in (
        "relaxed at gpaw (gpaw): converged, 12 steps, -19.0000 eV",
        "relaxed at xtb",
        "sample 30, picked by kmeans",
        "model-a1: member 1, trained, seed 101, 400 steps, losses: generator 0.5, critic -0.25",
        "hyperparameters: n_max 4, r_cut 5.0",
        "source: kind files, paths ['a.xyz']",
        "struct-0 O0",
        "struct-1 O1",
        "known O2 (struct-2)",
        "software: python 3.",
    ):
        assert wanted in text
    assert lineage.nodes["set-training"].info["structure_ids"] == ["struct-0", "struct-1"]
    said = json.loads(json.dumps(lineage.as_dict(), allow_nan=False))
    assert said["root"] == "cand-a3"
    ids = {node["id"] for node in said["nodes"]}
    assert all({edge["source"], edge["target"]} <= ids for edge in said["edges"])


def test_down_and_up_again_meet(database: CampaignDatabase) -> None:
    down = database.lineage("set-training")
    came = down.descendants("set-training")
    candidates = [name for name in came if down.nodes[name].kind == "candidate"]
    assert sorted(candidates) == [f"cand-a{n}" for n in range(6)]
    for identity in candidates:
        assert "set-training" in before(database.lineage(identity))
    model = down.descendants("model-a0")
    picked = {name for name in model if down.nodes[name].kind == "candidate"}
    assert picked == {"cand-a0", "cand-a2", "cand-a4"}
    new = database.materials(state="new")[0]
    assert new.id in model
    above = database.lineage(new.id)
    assert [node.id for _, node in above.before(new.id)] == ["cand-a2", "cand-a1"]
    assert "model-a0" in before(above)
    below = database.lineage("cand-a2")
    assert [node.id for _, node in below.after("cand-a2")] == [new.id, "cand-a1"]
    known = database.lineage("set-known")
    assert known.descendants("set-known") >= {"struct-2", "cand-a3"}
    campaign = database.lineage("camp-a")
    assert len(list(campaign.after("camp-a"))) == 2


def test_a_long_set_is_cut_in_the_tree_but_not_in_the_info(embedded: CampaignStores) -> None:
    campaign = MadeUpCampaign()
    sets = [doc.model_copy() for doc in campaign.sets()]
    ids = [f"struct-{n}" for n in range(50)]
    sets[0] = sets[0].model_copy(update={"structure_ids": ids, "labels": ids, "n_structures": 50})
    store = jobstore(embedded)
    campaign.store(store, upto=1)
    campaign.put(store, sets[0], "set", 1)
    build(embedded)
    lineage = CampaignDatabase(embedded).lineage("set-training")
    assert "and 38 more" in labels(lineage)
    assert len(lineage.nodes["set-training"].info["structure_ids"]) == 50
