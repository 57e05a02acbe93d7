"""Stores of campaigns in MongoDB, by maggma's stores.

Imported only for such locations: the drivers take a second to import.
"""

from __future__ import annotations

from typing import Any

from maggma.core import Store
from maggma.stores import GridFSStore, MemoryStore, MongoStore
from pymongo import ASCENDING, IndexModel
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from logan_campaign.core.errors import StoreError
from logan_campaign.core.redaction import driver_errors, redact
from logan_campaign.stores.collections import BLOBS, LEDGER, OUTPUTS, Collection
from logan_campaign.stores.open import CampaignStores


def stores_beside(docs: Store, data: Store, place: str) -> CampaignStores:
    """Open the stores of campaigns in the database of their job documents.

    Args:
        docs: a MongoStore of job documents, not connected.
        data: the store of their blobs, not connected.
        place: description of the location, without password.

    Raises:
        StoreError: the database cannot be reached or used; one line, without password.
    """
    if not isinstance(docs, MongoStore) or isinstance(docs, MemoryStore):
        raise StoreError(f"store {place}: job documents are not in MongoDB ({docs.name})")
    with driver_errors(f"store {place}"):
        docs.connect()
        try:
            _ensure_indexes(docs, OUTPUTS)
            data.connect()
            ledger = store_beside(docs, LEDGER)
        except (StoreError, PyMongoError):
            docs.close()
            raise
    return CampaignStores(
        docs=docs, data=data, ledger=ledger, folder=None, _location=place, _like=docs
    )


def _client_options(timeout_s: float) -> dict[str, Any]:
    return {
        "serverSelectionTimeoutMS": int(timeout_s * 1000),
        "connectTimeoutMS": int(timeout_s * 1000),
    }


def mongo_store(uri: str, collection: Collection, timeout_s: float = 5.0) -> MongoStore:
    """Return a connected collection of a database, created with its indexes if missing.

    Raises:
        StoreError: the database cannot be reached or used.
    """
    store = MongoStore.from_uri(
        uri, collection.name, key=collection.key, mongoclient_kwargs=_client_options(timeout_s)
    )
    with driver_errors(f"store {redact(uri)}"):
        store.connect()
        _ensure_indexes(store, collection)
    return store


def _ensure_indexes(store: MongoStore, collection: Collection) -> None:
    indexes = ((collection.key,), *collection.indexes)
    store._collection.create_indexes(
        [IndexModel([(name, ASCENDING) for name in fields]) for fields in indexes]
    )


def store_beside(store: MongoStore, collection: Collection) -> MongoStore:
    """Return another collection of the same database and connection."""
    about = {k: v for k, v in store.as_dict().items() if not k.startswith("@")}
    about |= {"collection_name": collection.name, "key": collection.key}
    beside = type(store)(**about)
    with driver_errors(f"store {store.database}"):
        beside.connect()
        _ensure_indexes(beside, collection)
    return beside


def open_mongo(uri: str, create: bool, timeout_s: float) -> CampaignStores:
    """Open the stores in MongoDB; arguments and errors as of ``open_store``."""
    place = redact(uri)
    with driver_errors(f"store {place}"):
        if not parse_uri(uri)["database"]:
            raise StoreError(f"store {place}: the URI names no database (mongodb://host/database)")
        # Checked before anything is created there.
        probe = MongoStore.from_uri(
            uri, OUTPUTS.name, mongoclient_kwargs=_client_options(timeout_s)
        )
        probe.connect()
        try:
            names = probe._collection.database.list_collection_names()
        finally:
            probe.close()
        if not create and OUTPUTS.name not in names:
            raise StoreError(f"store {place}: no campaigns there")
        data = GridFSStore.from_uri(
            uri,
            BLOBS.name,
            key=BLOBS.key,
            compression=True,
            mongoclient_kwargs=_client_options(timeout_s),
        )
        data.connect()
        for name in ("blob_uuid", "job_uuid"):
            data.ensure_index(name)
    return CampaignStores(
        docs=mongo_store(uri, OUTPUTS, timeout_s),
        data=data,
        ledger=mongo_store(uri, LEDGER, timeout_s),
        folder=None,
        _location=place,
        _uri=uri,
    )
