"""Open the stores of campaigns from one location.

A location is

* a folder (holds ``campaign.sqlite``),
* a file that ends with ``.sqlite``, ``.sqlite3`` or ``.db``,
* ``sqlite:///relative/file`` or ``sqlite:////absolute/file``,
* ``mongodb://host/database`` or ``mongodb+srv://…/database``,
* ``jf://project``, a project of jobflow-remote.
"""

from __future__ import annotations

import binascii
import importlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from bson.errors import InvalidBSON
from maggma.core import Store
from maggma.stores import GridFSStore, MemoryStore, MongoStore
from pydantic import ValidationError
from pymongo import ASCENDING, IndexModel
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from logan_campaign.core.errors import InputError, LoganCampaignError, StoreError
from logan_campaign.core.redaction import redact
from logan_campaign.stores.blobs import SQLiteBlobStore
from logan_campaign.stores.collections import (
    BLOBS,
    CAMPAIGN_DATABASE,
    KNOWN,
    LEDGER,
    OUTPUTS,
    PULLS,
    Collection,
    CollectionName,
)
from logan_campaign.stores.sqlite import SQLiteStore, transaction

#: File of the store in a campaign's folder.
FILE_NAME = "campaign.sqlite"
_SUFFIXES = (".sqlite", ".sqlite3", ".db")
_MONGO = ("mongodb://", "mongodb+srv://")


@dataclass
class CampaignStores:
    """The connected stores of campaigns.

    Attributes:
        docs: job documents; with ``data`` it makes a ``jobflow.JobStore``.
        data: large parts of job documents.
        ledger: what a runner notes about flows and jobs; key ``id``.
        folder: folder that holds an embedded store; None for a server.
    """

    docs: Store
    data: Store
    ledger: Store
    folder: Path | None
    _location: str
    _uri: str | None = None
    _collections: dict[str, Store] = field(default_factory=dict)
    _like: Store | None = None

    def collection(self, name: CollectionName) -> Store:
        """Return a collection of the campaign database, connected.

        Raises:
            InputError: for an unknown name.
        """
        known = {**CAMPAIGN_DATABASE, "pulls": PULLS}
        if name not in known:
            raise InputError(f"no collection {name!r}; there are {', '.join(known)}")
        if name not in self._collections:
            self._collections[name] = self._connect(known[name])
        return self._collections[name]

    def known_entries(self) -> Store:
        """Return the collection of known entries, connected; it is made if not there."""
        if KNOWN.name not in self._collections:
            self._collections[KNOWN.name] = self._connect(KNOWN)
        return self._collections[KNOWN.name]

    def _connect(self, declared: Collection) -> Store:
        if isinstance(self.docs, SQLiteStore):
            return _sqlite_store(self.docs.path, declared, self.docs.timeout_s)
        if self._like is not None:
            return _store_beside(self._like, declared)
        return _mongo_store(str(self._uri), declared)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all updates inside the block together.

        On SQLite this is one transaction over all collections. On MongoDB it does
        nothing: a server without replica set has no transactions, each update stands
        alone there.
        """
        if isinstance(self.docs, SQLiteStore):
            with transaction(self.docs):
                yield
        else:
            yield

    def close(self) -> None:
        """Close all connections."""
        for store in (self.docs, self.data, self.ledger, *self._collections.values()):
            store.close()
        self._collections.clear()

    def describe(self) -> str:
        """Return the location for people, without password."""
        return self._location

    def __enter__(self) -> CampaignStores:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        err: BaseException | None = None,
        where: TracebackType | None = None,
    ) -> None:
        try:
            if isinstance(err, Exception) and not isinstance(err, LoganCampaignError):
                _say_damaged(self._location, err)
        finally:
            self.close()


#: What finds the stores of further kinds of locations, by the beginning of their text, as
#: ``module:function``: stores of job documents and of their large parts, and what to call them.
OPENERS = {"jf://": "logan_campaign.flows.remote.project:stores_of"}

#: What reading a document raises whose bytes have changed.
_UNREADABLE = (
    *(sqlite3.Error, UnicodeDecodeError, json.JSONDecodeError, ValidationError),
    *(zlib.error, binascii.Error, InvalidBSON),
)


def _say_damaged(place: str, err: Exception) -> None:
    """Raise StoreError if the file of a store is damaged, or a document in it unreadable."""
    path = Path(place)
    damaged = isinstance(err, _UNREADABLE)
    if not damaged and path.is_file():
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
                damaged = file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
        except (sqlite3.Error, UnicodeDecodeError):
            damaged = True
    if damaged:
        raise StoreError(
            f"store {place}: damaged, or not written by this program: a document cannot be read "
            f"({type(err).__name__}); go on with a copy from before, or see sqlite3's '.recover'"
        ) from err


def stores_beside(docs: Store, data: Store, place: str) -> CampaignStores:
    """Open the stores of campaigns in the database that holds their job documents.

    Args:
        docs: a MongoStore of job documents, not connected.
        data: the store of their large parts, not connected.
        place: what to call the location, without password.

    Raises:
        StoreError: the database cannot be reached or used; one line, without password.
    """
    if not isinstance(docs, MongoStore) or isinstance(docs, MemoryStore):
        raise StoreError(f"store {place}: job documents stand in no MongoDB ({docs.name})")
    with _driver_errors(place):
        docs.connect()
        try:
            _ensure_indexes(docs, OUTPUTS)
            data.connect()
            ledger = _store_beside(docs, LEDGER)
        except (StoreError, PyMongoError):
            docs.close()
            raise
    return CampaignStores(
        docs=docs, data=data, ledger=ledger, folder=None, _location=place, _like=docs
    )


def open_campaign_stores(
    location: str | Path, *, create: bool = False, timeout_s: float | None = None
) -> CampaignStores:
    """Open the stores at a location (see this module's text).

    Args:
        location: folder, file or URI.
        create: make the place if it is not there.
        timeout_s: how long to wait for a lock (SQLite, 30 s if left out) or for the
            server (MongoDB, 5 s).

    Raises:
        StoreError: if there is nothing at the location (and ``create`` is not given), or
            it cannot be reached or used; one line, without password.
    """
    text = str(location)
    for beginning, opener in OPENERS.items():
        if text.startswith(beginning):
            module, _, function = opener.partition(":")
            return stores_beside(*getattr(importlib.import_module(module), function)(text))
    if text.startswith(_MONGO):
        return _open_mongo(text, create, timeout_s or 5.0)
    if "://" in text and not text.startswith("sqlite:///"):
        raise StoreError(
            f"store {redact(text)}: unknown kind; "
            "give a folder, an .sqlite file or a mongodb:// URI"
        )
    path = _sqlite_file(text)
    try:
        return _open_sqlite(path, create, timeout_s or 30.0)
    except _UNREADABLE as err:
        _say_damaged(str(path), err)
        raise


def store_exists(location: str | Path) -> bool:
    """Whether there is a store at a location; a server is taken to be there."""
    text = str(location)
    return ("://" in text and not text.startswith("sqlite:///")) or _sqlite_file(text).is_file()


def _sqlite_file(text: str) -> Path:
    if text.startswith("sqlite:///"):
        return Path(text.removeprefix("sqlite:///"))
    path = Path(text).expanduser()
    if path.suffix in _SUFFIXES and not path.is_dir():
        return path
    return path / FILE_NAME


def _sqlite_store(path: str, collection: Collection, timeout_s: float) -> SQLiteStore:
    store = SQLiteStore(
        path,
        collection.name,
        indexes=collection.indexes,
        key=collection.key,
        timeout_s=timeout_s,
    )
    store.connect()
    return store


def _open_sqlite(path: Path, create: bool, timeout_s: float) -> CampaignStores:
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StoreError(f"store {path}: folder cannot be made: {err.strerror}") from err
    elif not path.is_file():
        raise StoreError(f"store {path}: no such file")
    elif path.stat().st_size == 0:
        raise StoreError(f"store {path}: the file is empty")
    blobs = SQLiteBlobStore(path, BLOBS.name, timeout_s=timeout_s)
    blobs.connect()
    return CampaignStores(
        docs=_sqlite_store(str(path), OUTPUTS, timeout_s),
        data=blobs,
        ledger=_sqlite_store(str(path), LEDGER, timeout_s),
        _collections={
            name: _sqlite_store(str(path), collection, timeout_s)
            for name, collection in CAMPAIGN_DATABASE.items()
        },
        folder=path.absolute().parent,
        _location=str(path),
    )


@contextmanager
def _mongo_errors(uri: str) -> Iterator[None]:
    """Turn pymongo's errors into one line; their own texts may repeat parts of the URI."""
    with _driver_errors(redact(uri)):
        yield


@contextmanager
def _driver_errors(place: str) -> Iterator[None]:
    try:
        yield
    except (InvalidURI, ConfigurationError) as err:
        raise StoreError(
            f"store {place}: not a usable MongoDB URI "
            "(special characters in user name and password must be percent-encoded)"
        ) from err
    except OperationFailure as err:
        reason = "authentication failed" if err.code == 18 else f"refused (code {err.code})"
        raise StoreError(f"store {place}: {reason}") from err
    except PyMongoError as err:
        raise StoreError(f"store {place}: not reachable ({type(err).__name__})") from err


def _client_options(timeout_s: float) -> dict[str, Any]:
    return {
        "serverSelectionTimeoutMS": int(timeout_s * 1000),
        "connectTimeoutMS": int(timeout_s * 1000),
    }


def _mongo_store(uri: str, collection: Collection, timeout_s: float = 5.0) -> MongoStore:
    store = MongoStore.from_uri(
        uri, collection.name, key=collection.key, mongoclient_kwargs=_client_options(timeout_s)
    )
    with _mongo_errors(uri):
        store.connect()
        _ensure_indexes(store, collection)
    return store


def _ensure_indexes(store: MongoStore, collection: Collection) -> None:
    indexes = ((collection.key,), *collection.indexes)
    store._collection.create_indexes(
        [IndexModel([(name, ASCENDING) for name in fields]) for fields in indexes]
    )


def _store_beside(store: MongoStore, collection: Collection) -> MongoStore:
    """Return another collection of the same database, reached in the same way."""
    about = {k: v for k, v in store.as_dict().items() if not k.startswith("@")}
    about |= {"collection_name": collection.name, "key": collection.key}
    beside = type(store)(**about)
    with _driver_errors(store.database or "?"):
        beside.connect()
        _ensure_indexes(beside, collection)
    return beside


def _open_mongo(uri: str, create: bool, timeout_s: float) -> CampaignStores:
    place = redact(uri)
    with _mongo_errors(uri):
        if not parse_uri(uri)["database"]:
            raise StoreError(f"store {place}: the URI names no database (mongodb://host/database)")
        # Looked at before anything is made there.
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
        docs=_mongo_store(uri, OUTPUTS, timeout_s),
        data=data,
        ledger=_mongo_store(uri, LEDGER, timeout_s),
        folder=None,
        _location=place,
        _uri=uri,
    )
