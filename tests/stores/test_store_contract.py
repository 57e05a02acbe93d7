"""What a Store must do, on every backend: SQLite, memory, MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from bson import ObjectId
from maggma.core import Store
from maggma.core.store import Sort
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.stores.maggma_sqlite import SQLiteStore

from .conftest import MakeStore

DOCS: list[dict[str, Any]] = [
    {"id": "a", "n": 1, "t": ["x", "y"], "sub": {"e": -1.5, "s": "CCO"}, "flag": True},
    {"id": "b", "n": 2, "t": [], "sub": {"e": -0.5, "s": "COC"}, "flag": False},
    {"id": "c", "n": 2.5, "t": ["y"], "sub": {"e": None}, "flag": True},
    {"id": "d", "n": None, "t": ["z", "x"], "sub": {}, "when": datetime(2026, 1, 2, 3, 4, 5)},
    {"id": "e", "t": "x", "list": [{"k": 1, "m": 2}, {"k": 3}], "_hidden": 1},
]


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    made = make_store(indexes=("n", "t", "sub.e", "sub.s"))
    made.update(DOCS)
    return made


def bare(docs: Any) -> list[dict[str, Any]]:
    """Return documents without the ``_id`` that MongoDB adds."""
    return [{key: value for key, value in doc.items() if key != "_id"} for doc in docs]


def ids(store: Store, criteria: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
    return [doc["id"] for doc in store.query(criteria, **kwargs)]


def test_documents_come_back_as_they_were(store: Store) -> None:
    assert bare(store.query(sort={"id": 1})) == DOCS


def test_an_update_replaces_the_document_of_the_same_key(store: Store) -> None:
    store.update({"id": "b", "n": 7})
    store.update([{"id": "b", "n": 8}, {"id": "f"}])
    assert store.count() == len(DOCS) + 1
    assert bare(store.query({"id": "b"})) == [{"id": "b", "n": 8}]


def test_updating_twice_changes_nothing(store: Store) -> None:
    store.update(DOCS)
    assert bare(store.query(sort={"id": 1})) == DOCS


def test_several_fields_together_can_be_the_key(make_store: MakeStore) -> None:
    store = make_store(key="uuid")
    for value in (1, 2):
        store.update(
            [{"uuid": "u", "index": i, "value": value} for i in (1, 2)], key=["uuid", "index"]
        )
    found = bare(store.query({"uuid": "u"}, sort={"index": -1}))
    assert found == [{"uuid": "u", "index": i, "value": 2} for i in (2, 1)]


def test_a_document_without_the_key_is_refused(store: Store) -> None:
    with pytest.raises((KeyError, StoreError), match="id"):
        store.update([{"id": "g"}, {"n": 1}])
    assert store.count() == len(DOCS)


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, "abcde"),
        ({"id": "c"}, "c"),
        ({"n": 2}, "b"),
        ({"n": 2.0}, "b"),
        ({"n": "2"}, ""),
        ({"n": None}, "de"),
        ({"n": {"$exists": True}}, "abcd"),
        ({"n": {"$exists": False}}, "e"),
        ({"n": {"$gt": 1, "$lte": 2.5}}, "bc"),
        ({"n": {"$in": [1, None]}}, "ade"),
        ({"n": {"$in": []}}, ""),
        ({"n": {"$ne": 2}}, "acde"),
        ({"n": {"$nin": [1, 2]}}, "cde"),
        ({"flag": True}, "ac"),
        ({"t": "x"}, "ade"),
        ({"t": {"$in": ["y", "z"]}}, "acd"),
        ({"t": {"$ne": "x"}}, "bc"),
        ({"t": []}, "b"),
        ({"t": ["x", "y"]}, "a"),
        ({"t": {"$size": 2}}, "ad"),
        ({"t.0": "z"}, "d"),
        ({"sub": {"e": None}}, "c"),
        ({"sub.e": {"$lt": 0}}, "ab"),
        ({"sub.s": {"$regex": "^CC"}}, "a"),
        ({"sub.e": {"$gte": -1.5}, "sub.s": "COC"}, "b"),
        ({"list.k": 3}, "e"),
        ({"list": {"$elemMatch": {"k": 1, "m": 2}}}, "e"),
        ({"when": {"$gt": datetime(2026, 1, 1)}}, "d"),
        ({"when": datetime(2026, 1, 2, 3, 4, 5)}, "d"),
        ({"$or": [{"n": 1}, {"sub.s": "COC"}, {"list.k": 1}]}, "abe"),
        ({"$and": [{"n": {"$gt": 0}}, {"n": {"$lt": 2}}]}, "a"),
        ({"$nor": [{"n": 1}, {"t": "x"}]}, "bc"),
        ({"n": {"$not": {"$gt": 1}}}, "ade"),
    ],
)
def test_finds_what_the_query_language_says(
    store: Store, criteria: dict[str, Any], expected: str
) -> None:
    assert "".join(sorted(ids(store, criteria))) == expected
    assert store.count(criteria) == len(expected)
    assert (store.query_one(criteria) is None) == (not expected)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (["id", "sub.e"], {"id": "a", "sub": {"e": -1.5}}),
        ({"id": 1, "t": 1, "_id": 0}, {"id": "a", "t": ["x", "y"]}),
        ({"sub": 0, "t": 0, "flag": 0}, {"id": "a", "n": 1}),
        ({"sub.e": 0, "t": 0, "flag": 0, "_id": 0}, {"id": "a", "n": 1, "sub": {"s": "CCO"}}),
        (["nowhere", "sub.nowhere"], {"sub": {}}),
        (None, DOCS[0]),
    ],
)
def test_returns_the_properties_asked_for(
    store: Store, properties: Any, expected: dict[str, Any]
) -> None:
    assert bare(store.query({"id": "a"}, properties)) == [expected]


def test_projects_inside_lists(store: Store) -> None:
    [doc] = bare(store.query({"id": "e"}, ["list.k"]))
    assert doc == {"list": [{"k": 1}, {"k": 3}]}
    [doc] = bare(store.query({"id": "e"}, {"list.k": 0, "id": 0, "t": 0, "_hidden": 0}))
    assert doc == {"list": [{"m": 2}, {}]}


def test_sorts_by_several_fields_and_pages(store: Store) -> None:
    assert ids(store, sort={"flag": -1, "id": 1}) == ["a", "c", "b", "d", "e"]
    assert ids(store, sort={"n": Sort.Descending}, limit=2) == ["c", "b"]
    assert ids(store, {"n": {"$gt": 0}}, sort={"n": 1}, skip=1, limit=1) == ["b"]
    assert ids(store, {"t": "x"}, sort={"id": -1}, skip=1) == ["d", "a"]
    assert ids(store, {"t": "x"}, sort={"id": -1}, limit=1) == ["e"]
    assert ids(store, sort={"id": 1}, skip=9) == []


def test_tells_distinct_values(store: Store) -> None:
    # From an index, a server also returns null for what is missing or an empty array.
    assert set(store.distinct("sub.s")) - {None} == {"CCO", "COC"}
    assert set(store.distinct("t")) - {None} == {"x", "y", "z"}
    assert sorted(store.distinct("id", {"n": {"$gt": 1}})) == ["b", "c"]
    assert store.distinct("nowhere") == []
    assert store.distinct("when") == [datetime(2026, 1, 2, 3, 4, 5)]
    assert None in store.distinct("n")


def test_groups_documents(make_store: MakeStore) -> None:
    store = make_store()
    store.update([{"id": n, "g": {"a": n % 2}, "h": n % 3 == 0} for n in range(6)])
    found = {
        (group["g"]["a"], group["h"]): sorted(doc["id"] for doc in docs)
        for group, docs in store.groupby(["g.a", "h"], properties=["id"])
    }
    assert found == {(0, True): [0], (0, False): [2, 4], (1, True): [3], (1, False): [1, 5]}
    [(group, docs)] = store.groupby("h", criteria={"id": {"$in": [1, 2]}}, properties=["id"])
    assert group == {"h": False}
    assert sorted(doc["id"] for doc in docs) == [1, 2]


def test_removes_what_matches(store: Store) -> None:
    store.remove_docs({"n": {"$gte": 2}})
    assert sorted(ids(store)) == ["a", "d", "e"]
    store.remove_docs({"t": "z"})
    assert sorted(ids(store)) == ["a", "e"]
    store.remove_docs({})
    assert store.count() == 0


def test_an_index_changes_no_answer(make_store: MakeStore) -> None:
    store = make_store()
    store.update(DOCS)
    queries: list[dict[str, Any]] = [{"sub.e": {"$lt": 0}}, {"t": "x"}, {"n": None}]
    before = [sorted(ids(store, criteria)) for criteria in queries]
    for field in ("sub.e", "t", "n"):
        assert store.ensure_index(field)
        assert store.ensure_index(field)
    assert [sorted(ids(store, criteria)) for criteria in queries] == before


def test_a_unique_index_needs_unique_values(make_store: MakeStore, backend: str) -> None:
    if backend == "memory":
        pytest.skip("mongomock makes unique indexes over duplicates")
    store = make_store()
    store.update([{"id": 1, "a": 1, "b": 1}, {"id": 2, "a": 1, "b": 2}])
    assert not store.ensure_index("a", unique=True)
    assert store.ensure_index("b", unique=True)


def test_what_json_cannot_say_survives(make_store: MakeStore) -> None:
    store = make_store()
    zone = timezone(timedelta(hours=2))
    store.update(
        {
            "id": 1,
            "oid": ObjectId("0123456789abcdef01234567"),
            "when": datetime(1969, 12, 31, 23, 59, 59, 999999),
            "aware": datetime(2026, 1, 1, 2, tzinfo=zone),
            "utc": datetime(2026, 1, 1, tzinfo=UTC),
            "infinite": float("-inf"),
            "nan": float("nan"),
            "long": 2**62,
            "text": "é 𝄞 \x00 \n",
            "array": np.arange(3),
            "looks": {"$date": "like an extended value"},
            "@class": "x",
        }
    )
    [doc] = bare(store.query())
    assert np.isnan(doc.pop("nan"))
    assert doc == {
        "id": 1,
        "oid": ObjectId("0123456789abcdef01234567"),
        "when": datetime(1969, 12, 31, 23, 59, 59, 999000),
        "aware": datetime(2026, 1, 1),
        "utc": datetime(2026, 1, 1),
        "infinite": float("-inf"),
        "long": 2**62,
        "text": "é 𝄞 \x00 \n",
        "array": [0, 1, 2],
        "looks": {"$date": "like an extended value"},
        "@class": "x",
    }
    assert store.count({"oid": ObjectId("0123456789abcdef01234567")}) == 1
    assert store.count({"text": "é 𝄞 \x00 \n"}) == 1


def test_objects_of_pymatgen_are_stored_as_dicts(make_store: MakeStore) -> None:
    store = make_store()
    structure = Structure(Lattice.cubic(3), ["Si"], [[0, 0, 0]])
    store.update({"id": 1, "structure": structure})
    [doc] = store.query()
    assert Structure.from_dict(doc["structure"]) == structure


def test_numbers_are_compared_bit_for_bit(make_store: MakeStore) -> None:
    store = make_store(indexes=("e",))
    rng = np.random.default_rng(0)
    values = sorted({float(x) for x in rng.normal(size=300) * 10.0 ** rng.integers(-20, 20, 300)})
    store.update([{"id": n, "e": value} for n, value in enumerate(values)])
    for n, value in enumerate(values[::10]):
        assert ids(store, {"e": value}) == [10 * n]
        assert store.count({"e": {"$lt": value}}) == 10 * n
        assert store.count({"e": {"$lte": np.nextafter(value, -np.inf)}}) == 10 * n
    assert ids(store, sort={"e": -1}) == list(range(len(values)))[::-1]


def test_tells_when_it_was_last_updated_and_what_is_newer(make_store: MakeStore) -> None:
    old, new = make_store("old"), make_store("new")
    for store, day in ((old, 1), (new, 2)):
        store.update([{"id": n, "last_updated": datetime(2026, 1, day + n)} for n in range(3)])
    assert old.last_updated == datetime(2026, 1, 3)
    assert old.newer_in(new) == [2]
    assert sorted(old.newer_in(new, exhaustive=True)) == [0, 1, 2]


def test_a_closed_store_opens_again(make_store: MakeStore, backend: str) -> None:
    if backend == "memory":
        pytest.skip("maggma's MemoryStore loses its documents")
    store = make_store()
    store.update(DOCS)
    store.close()
    with pytest.raises(Exception, match="connect"):
        store.count()
    store.connect()
    assert store.count() == len(DOCS)


def test_a_store_comes_back_from_its_dict(make_store: MakeStore, backend: str) -> None:
    store = make_store(indexes=("n",))
    again = MontyDecoder().process_decoded(store.as_dict())
    assert type(again) is type(store)
    assert again == store
    assert again.key == store.key
    if isinstance(store, SQLiteStore):
        assert again.as_dict() == store.as_dict()


@pytest.mark.parametrize(
    "criteria",
    [
        {"$where": "__import__('os').system('false')"},
        {"$nor": [{"$where": "1"}]},
        {"a": {"$elemMatch": {"$where": "1"}}},
        {"n": {"$nonsense": 1}},
        {"$or": []},
    ],
)
def test_sqlite_refuses_what_it_cannot_or_must_not_evaluate(
    tmp_path: Any, criteria: dict[str, Any]
) -> None:
    with SQLiteStore(tmp_path / "a.sqlite", "things", key="id") as store:
        store.update(DOCS)
        with pytest.raises(InputError):
            store.count(criteria)


@pytest.mark.parametrize("name", ["", "a b", 'x"; DROP TABLE y', "1a", "a" * 64, "sqlite_x'"])
def test_sqlite_refuses_odd_names(tmp_path: Any, name: str) -> None:
    with pytest.raises(StoreError, match="collection name"):
        SQLiteStore(tmp_path / "a.sqlite", name)
    with pytest.raises(StoreError, match="cannot be indexed"):
        SQLiteStore(tmp_path / "a.sqlite", "a", indexes=[name + "'"])


def test_sqlite_keeps_collections_apart_that_differ_in_case(tmp_path: Any) -> None:
    with (
        SQLiteStore(tmp_path / "a.sqlite", "Things", key="id", indexes=["n"]) as upper,
        SQLiteStore(tmp_path / "a.sqlite", "things", key="id", indexes=["N", "n"]) as lower,
    ):
        upper.update({"id": 1, "n": 1, "N": 2})
        lower.update([{"id": 2, "n": 1, "N": 2}, {"id": 3, "n": 2, "N": 1}])
        assert (ids(upper), ids(lower, {"n": 1}), ids(lower, {"N": 1})) == ([1], [2], [3])


@pytest.mark.parametrize(
    ("value", "message"),
    [(2**63, "64 bits"), ("\ud800", "Unicode"), (1j, None)],
)
def test_sqlite_refuses_values_that_no_store_can_hold(
    tmp_path: Any, value: Any, message: str | None
) -> None:
    with SQLiteStore(tmp_path / "a.sqlite", "things", key="id") as store:
        if message is None:  # as in MongoStore, unknown objects become their text
            store.update({"id": 1, "x": value})
            assert store.query_one()["x"] == str(value)
        else:
            with pytest.raises(StoreError, match=message):
                store.update([{"id": 0}, {"id": 1, "x": value}])
            assert store.count() == 0


def test_sqlite_finds_indexed_fields_without_a_scan(tmp_path: Any) -> None:
    indexes = ["n", "sub.e", ["n", "sub.e"]]
    with SQLiteStore(tmp_path / "a.sqlite", "things", key="id", indexes=indexes) as store:
        store.update([{"id": n, "n": n % 7, "sub": {"e": -n / 3}} for n in range(50)])
        for criteria, order in (
            ({"n": 3}, None),
            ({"sub.e": {"$gt": -5, "$lt": -1}}, {"sub.e": 1}),
            ({"n": 3}, {"sub.e": -1}),
        ):
            plan = store.explain(criteria, order)
            assert "SCAN" not in plan, plan
            assert "TEMP B-TREE FOR ORDER BY" not in plan, plan
