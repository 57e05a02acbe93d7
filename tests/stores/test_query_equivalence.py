"""SQLiteStore answers as MongoDB does: random documents and queries, three servers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from maggma.core import Store
from maggma.stores import MemoryStore, MongoStore

from logan_campaign.stores.maggma_sqlite import SQLiteStore

FIELDS = ["a", "b", "n.x", "n.y.z", "u", "v.w"]
INDEXES = ["a", "b", "n.x", "n.y.z", ["a", "b"]]
N_DOCUMENTS = 120
N_QUERIES = 150


class Generator:
    """Random documents and queries over a few fields and few values, so that they meet.

    mongomock and MongoDB differ on some queries, which are left out where documents make
    them possible: ``judge`` says whose answers count.
    """

    def __init__(self, seed: int, with_arrays: bool, judge: str) -> None:
        self.rng = random.Random(seed)
        self.with_arrays = with_arrays
        self.is_mock = judge == "mongomock"

    def scalar(self) -> Any:
        pick = self.rng.randrange
        return self.rng.choice(
            [
                pick(-2, 4),
                pick(-4, 8) / 2,
                self.rng.choice(["", "a", "b", "ab", "B", "é", "a\x00b", "𝄞", "\uffff"]),
                None,
                datetime(2026, 1, 1) + timedelta(milliseconds=pick(5) * 400),
                -0.1 + pick(3) * 0.1,
            ]
        )

    def value(self) -> Any:
        draw = self.rng.random()
        if self.with_arrays and draw < 0.15:
            return [self.scalar() for _ in range(self.rng.randrange(3))]
        if draw > 0.93:
            return {"k": self.scalar()}
        return self.scalar()

    def document(self, number: int) -> dict[str, Any]:
        doc: dict[str, Any] = {"id": number}
        for name in ("a", "b", "u"):
            if self.rng.random() < 0.85:
                doc[name] = self.value()
        doc["n"] = {"x": self.value(), "y": {"z": self.value()}}
        if self.rng.random() < 0.2:
            del doc["n"]["x"]
        if self.rng.random() < 0.5:
            doc["v"] = {"w": self.value()}
        # Of a path that ends early, mongomock says that {"v.w": None} does not match it.
        if self.rng.random() < 0.1 and not self.is_mock:
            doc["v"] = self.scalar()
        if self.with_arrays and self.rng.random() < 0.2:
            doc["n"] = [{"x": self.scalar()} for _ in range(self.rng.randrange(1, 3))]
        return doc

    def test_of(self, name: str) -> Any:
        """Return what stands after a field's name in criteria."""
        # Whether null matches below an array, mongomock and MongoDB see differently.
        below_array = self.with_arrays and "." in name
        scalar = self.not_none if below_array else self.scalar
        draw = self.rng.random()
        if draw < 0.3:
            return scalar()
        if draw < 0.55:
            return {self.rng.choice(["$gt", "$gte", "$lt", "$lte"]): self.not_none()}
        # Two operators on arrays: mongomock wants one element that meets both.
        if draw < 0.65 and not (self.is_mock and self.with_arrays):
            return {"$gte": self.not_none(), "$lt": self.not_none()}
        if draw < 0.75:
            return {"$in": [scalar() for _ in range(self.rng.randrange(4))]}
        if draw < 0.82:
            return {self.rng.choice(["$ne", "$eq"]): scalar()}
        if draw < 0.88:
            return {"$nin": [scalar() for _ in range(self.rng.randrange(1, 3))]}
        # Operators that only mongomock knows put the whole query into its hands.
        paths_end_early = not self.is_mock and not self.with_arrays
        if (draw < 0.94 or paths_end_early) and not below_array:
            return {"$exists": self.rng.random() < 0.5}
        return {"$regex": self.rng.choice(["a", "^b", "B$"])}

    def not_none(self) -> Any:
        while (value := self.scalar()) is None:
            continue
        return value

    def criteria(self, depth: int = 0) -> dict[str, Any]:
        if depth < 2 and self.rng.random() < 0.25:
            operator = self.rng.choice(["$and", "$or", "$or", "$nor"])
            n_branches = self.rng.randrange(1, 4)
            return {operator: [self.criteria(depth + 1) for _ in range(n_branches)]}
        names = self.rng.sample(FIELDS, self.rng.randrange(1, 3))
        return {name: self.test_of(name) for name in names}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    ours = SQLiteStore(tmp_path / "a.sqlite", "things", indexes=INDEXES, key="id")
    mock = MemoryStore(key="id")
    for store in (ours, mock):
        store.connect()
    yield ours, mock
    for store in (ours, mock):
        store.close()


def ids(store: Store, *args: Any, **kwargs: Any) -> list[int]:
    return [doc["id"] for doc in store.query(*args, **kwargs)]


@pytest.mark.parametrize("with_arrays", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_finds_what_mongomock_finds(
    stores: tuple[Store, Store], seed: int, with_arrays: bool
) -> None:
    ours, mock = stores
    generator = Generator(seed, with_arrays, "mongomock")
    docs = [generator.document(n) for n in range(N_DOCUMENTS)]
    for store in stores:
        store.update(docs)
    for _ in range(N_QUERIES):
        criteria = generator.criteria()
        assert ids(ours, criteria) == ids(mock, criteria), criteria
        assert ours.count(criteria) == mock.count(criteria), criteria


@pytest.mark.parametrize("with_arrays", [False, True])
def test_finds_what_a_server_finds(
    stores: tuple[Store, Store], mongo_uri: str, with_arrays: bool
) -> None:
    ours, _ = stores
    generator = Generator(3, with_arrays, "mongodb")
    docs = [generator.document(n) for n in range(N_DOCUMENTS)]
    with MongoStore.from_uri(mongo_uri, "things", key="id") as server:
        for store in (ours, server):
            store.update(docs)
        for _ in range(N_QUERIES):
            criteria = generator.criteria()
            assert sorted(ids(ours, criteria)) == sorted(ids(server, criteria)), criteria
