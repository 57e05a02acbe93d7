"""Backends for the store tests: SQLite, maggma's MemoryStore, and a real MongoDB server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from maggma.core import Store
from maggma.stores import MemoryStore, MongoStore

from logan_campaign.stores.maggma_sqlite import SQLiteStore

BACKENDS = ("sqlite", "memory", "mongo")

MakeStore = Callable[..., Store]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_store(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeStore]:
    """Return a function that makes connected stores of the backend under test."""
    made: list[Store] = []

    def make(collection: str = "things", key: str = "id", indexes: tuple = ()) -> Store:
        store: Store
        if backend == "sqlite":
            store = SQLiteStore(tmp_path / "a.sqlite", collection, indexes=indexes, key=key)
        elif backend == "memory":
            store = MemoryStore(collection, key=key)
        else:
            uri = request.getfixturevalue("mongo_uri")
            store = MongoStore.from_uri(uri, collection, key=key)
        store.connect()
        for index in indexes:
            store.ensure_index(index)
        made.append(store)
        return store

    yield make
    for store in made:
        if isinstance(store, MemoryStore) or getattr(store, "_coll", store) is not None:
            store.close()
