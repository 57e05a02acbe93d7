"""Campaigns in Python: lazy queries, conversions, lineage, alike on SQLite and MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from jobflow import JobStore

from logan_campaign.core.arrays import pack_arrays
from logan_campaign.core.documents import Document, PoolDoc, RelaxationDoc, SelectionDoc
from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.results import Campaign, Results
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.collections import CAMPAIGN_DATABASE
from logan_campaign.stores.open import open_store
from logan_campaign.stores.sqlite import SQLiteCollection

from .made_up import MadeUpCampaign, MadeUpCrystals


class WithArrays(MadeUpCampaign):
    """With arrays in its blobs."""

    def pools(self) -> list[Document]:
        arrays = {
            "positions": np.arange(90, dtype=np.float32).reshape(10, 3, 3),
            "cell": np.zeros((10, 3, 3)),
        }
        found = [pool for pool in super().pools() if isinstance(pool, PoolDoc)]
        return [pool.model_copy(update={"pool": pack_arrays(arrays)}) for pool in found]

    def selection(self) -> list[Document]:
        (found,) = super().selection()
        assert isinstance(found, SelectionDoc)
        arrays = {
            "pca": np.arange(8.0).reshape(4, 2),
            "label": np.arange(4),
            "pool": np.array([0, 1, 0, 1]),
            "sample": np.array([0, 10, 20, 11]),
            "known_pca": np.ones((1, 2)),
        }
        return [found.model_copy(update={"map": pack_arrays(arrays)})]

    def relaxation(self, *arguments: Any, **named: Any) -> RelaxationDoc:
        found = super().relaxation(*arguments, **named)
        arrays = {
            "numbers": np.array([8, 1, 1]),
            "positions": np.zeros((2, 3, 3)),
            "cell": np.zeros((2, 3, 3)),
            "energy": np.array([-1.0, -2.0]),
            "forces": np.ones((2, 3, 3)),
        }
        return found.model_copy(update={"trajectory": pack_arrays(arrays)})


@pytest.fixture(scope="module", params=["sqlite", "mongo"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two campaigns in one store, built; only to be read."""
    location = str(tmp_path_factory.mktemp("results"))
    if request.param == "mongo":
        location = f"{request.getfixturevalue('mongod')}/results"
    with open_store(location, create=True) as stores:
        jobstore = JobStore(stores.docs, {"data": stores.data})
        WithArrays().store(jobstore)
        MadeUpCrystals("b", "other").store(jobstore)
        CampaignBuilder.from_stores(stores).build()
    return location


@pytest.fixture
def campaign(place: str) -> Iterator[Campaign]:
    with Campaign.open(place, "demo") as opened:
        yield opened


def places(ids: list[str]) -> str:
    """Return the numbers of the made-up campaign's candidates."""
    return "".join(identity[-1] for identity in ids)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "012345"),
        ({"state": "new"}, "2"),
        ({"state": ["new", "rediscovered"]}, "23"),
        ({"state": None, "smiles": None}, "012345"),
        ({"smiles": "[H]O[H]"}, "345"),
        ({"formula": "OH2"}, "012345"),
        ({"level": "gpaw", "state": "failed"}, "4"),
        ({"model": "model-a1"}, "135"),
        ({"model": "a1"}, "135"),
        ({"training_set": "set-training"}, "012345"),
        ({"strategy": "kmeans"}, "012345"),
        ({"strategy": "graph"}, ""),
        ({"round": 0}, "012345"),
        ({"round": 1}, ""),
        ({"match": "cand-a2"}, "1"),
        ({"energy_above_min_lt": 0.5}, "2"),
        ({"energy_above_min_lte": 0.5}, "12"),
        ({"energy_above_min_gte": 0.5, "energy_above_min_lt": 1.5}, "15"),
        ({"energy_above_hull_lt": 1.0}, ""),
    ],
)
def test_filters_say_which_candidates(
    campaign: Campaign, filters: dict[str, Any], expected: str
) -> None:
    query = campaign.candidates(**filters)
    assert places(query.ids()) == expected
    assert len(query) == len(expected)
    assert places([record.id for record in query]) == expected
    assert bool(query) == bool(expected)


@pytest.mark.parametrize(
    ("order", "descending", "expected"),
    [
        ("order", False, "012345"),
        ("order", True, "543210"),
        ("energy", False, "215304"),
        ("energy", True, "351240"),
        ("energy_above_hull", False, "012345"),  # no elements were computed
        ("best", False, "215340"),
    ],
)
def test_orders_put_candidates_without_energy_last(
    campaign: Campaign, order: Any, descending: bool, expected: str
) -> None:
    query = campaign.candidates().sorted_by(order, descending)
    assert places(query.ids()) == expected
    pages = [record.id for n in range(4) for record in query.page(n, 2)]
    assert places(pages) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"state": "unheard of"},
        {"state": {"$ne": "new"}},
        {"smiles": {"$gt": ""}},
        {"smiles": "not a SMILES"},
        {"level": {"$regex": ".*"}},
        {"energy_above_min_lt": {"$gt": 0}},
        {"energy_above_min_lt": float("nan")},
        {"round": "0"},
        {"colour": "red"},
        {"model": "model-zzz"},
    ],
)
def test_what_is_no_value_of_a_filter_is_refused_before_anything_is_read(
    campaign: Campaign, filters: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        campaign.candidates(**filters)


def test_a_query_is_narrowed_without_changing_the_first(campaign: Campaign) -> None:
    query = campaign.candidates(state=["new", "duplicate"])
    assert places(query.where(smiles="OO").ids()) == "12"
    assert places(query.where(state="new").ids()) == "2"
    assert places(query.ids()) == "125"
    assert query.values("smiles") == ["O", "OO"]
    for mistake in (lambda: query.page(-1), lambda: query.page(0, 0), lambda: query.values("id")):  # type: ignore[arg-type]
        with pytest.raises(InputError):
            mistake()


def test_queries_read_no_structures_where_none_are_wanted(campaign: Campaign) -> None:
    (record,) = campaign.candidates(state="new").without_structures()
    assert record.structure is None
    (record,) = campaign.candidates(state="new")
    assert record.structure is not None


def test_tables_and_structures_are_those_of_the_records(campaign: Campaign) -> None:
    query = campaign.candidates().sorted_by("energy")
    table = query.to_dataframe()
    assert places(list(table.index)) == "215304"
    assert table.loc["cand-a2", "energy_ev"] == -20.5
    assert list(campaign.candidates(state="pending").to_dataframe().columns) == list(table.columns)
    atoms = query.to_ase()[0]
    assert atoms.get_potential_energy() == -20.5
    assert atoms.info["id"] == "cand-a2"
    assert atoms.get_chemical_symbols() == ["O", "H", "H"]
    assert query.to_ase(raw=True)[0].calc is None
    molecule = query.to_pymatgen()[0]
    assert molecule.properties["id"] == "cand-a2"
    assert molecule.cart_coords[0, 0] == 12.0  # the relaxed one
    assert query.to_pymatgen(raw=True)[0].cart_coords[0, 0] == 2.0


def test_materials_stand_for_their_candidates(campaign: Campaign) -> None:
    materials = campaign.materials()
    assert len(materials) == len(materials.to_ase()) == len(materials.to_dataframe()) == 2
    (new,) = campaign.materials(state="new")
    assert places(campaign.candidates(material=new.id).ids()) == "12"
    assert materials.where(candidate="cand-a1").ids() == [new.id]
    with pytest.raises(InputError, match="no filter"):
        campaign.materials(colour="red")  # type: ignore[call-arg]


def test_arrays_come_from_the_blobs(campaign: Campaign) -> None:
    pool = campaign.pool(campaign.pools[0].id)
    assert (len(pool), pool.symbols) == (10, ["O", "H", "H"])
    assert pool.to_ase(1).positions[0, 0] == 9.0
    found = campaign.pca_map()
    assert found.candidate_ids == ["cand-a0", "cand-a1", "cand-a2"]
    assert list(found.picks) == [0, 1, 2]
    assert found.known_pca.shape == (1, 2)
    relaxation = campaign.candidate("cand-a2").relaxations[-1]
    trajectory = campaign.trajectory(relaxation)
    assert [atoms.get_potential_energy() for atoms in trajectory.to_ase()] == [-1.0, -2.0]
    assert [entry.id for entry in campaign.structures("set-training")] == ["struct-0", "struct-1"]
    with pytest.raises(InputError, match="no pool"):
        campaign.pool("pool-z")
    with pytest.raises(InputError, match="selections"):
        campaign.pca_map(3)


def test_lineage_is_a_graph_without_cycles_from_structures_to_materials(campaign: Campaign) -> None:
    graph = campaign.lineage("cand-a2")
    assert nx.is_directed_acyclic_graph(graph)
    path = ["set-training", "model-a0", "pool-a0", "cand-a2", "relax-a2-1"]
    assert nx.is_path(graph, path)
    (material,) = campaign.materials(state="new").ids()
    assert {material, "cand-a1"} <= nx.descendants(graph, "cand-a2")
    assert graph.edges["cand-a2", "cand-a1"]["relation"] == "equals"
    assert graph.nodes["cand-a2"]["kind"] == "candidate"
    assert any("software" in line for line in graph.nodes["model-a0"]["details"])
    known = campaign.lineage("cand-a3")
    assert known.edges["struct-2", "cand-a3"]["relation"] == "equals"
    assert nx.is_directed_acyclic_graph(known)


def test_campaigns_are_told_apart_and_read_together(place: str) -> None:
    with Results.open(place) as results:
        assert [record.name for record in results.campaigns()] == ["demo", "other"]
        assert len(results.candidates()) == 12
        assert len(results.candidates(campaign="other", state="new")) == 1
        assert len(results.candidates(state="new")) == 2
        best = results.candidates().sorted_by("best").ids()
        assert {identity[-1] for identity in best[:2]} == {"2"}
        assert len(results.campaign("other").candidates()) == 6
        with pytest.raises(InputError, match="several campaigns"):
            results.campaign()
    with pytest.raises(InputError, match="no campaign 'third'"):
        Campaign.open(place, "third")


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        Campaign.open(tmp_path / "nothing")
    with (
        open_store(tmp_path, create=True),
        pytest.raises(InputError, match="no campaign"),
    ):
        Campaign.open(tmp_path)


def test_every_filter_finds_its_candidates_in_an_index(tmp_path: Path) -> None:
    narrowed = [
        {field: 1 if field == "round" else "x"}
        for field in (
            "state",
            "formula",
            "smiles",
            "spacegroup",
            "level",
            "model_id",
            "strategy",
            "round",
            "material_id",
            "match",
            "training_set_id",
        )
    ]
    with open_store(tmp_path, create=True) as stores:
        store = stores.collection("candidates")
        assert isinstance(store, SQLiteCollection)
        for criteria in narrowed:
            plan = store.explain({**criteria, "campaign_id": "c"}, {"order": 1})
            assert "USING" in plan
            assert "INDEX" in plan
            assert "TEMP B-TREE FOR ORDER BY" not in plan, criteria
    declared = CAMPAIGN_DATABASE["candidates"].indexes
    assert len(declared) < 64  # MongoDB has no more in a collection
