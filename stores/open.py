"""Open the stores of campaigns from one location.

A location is

* a folder (with ``campaign.sqlite``),
* a file that ends with ``.sqlite``, ``.sqlite3`` or ``.db``,
* ``sqlite:///relative/file`` or ``sqlite:////absolute/file``,
* ``mongodb://host/database`` or ``mongodb+srv://…/database``,
* ``jf://project``, a jobflow-remote project.
"""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from logan_campaign.core.errors import InputError, LoganCampaignError, StoreError
from logan_campaign.core.redaction import redact
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
from logan_campaign.stores.sqlite import SQLiteCollection, transaction

if TYPE_CHECKING:
    from maggma.core import Store

#: File name of the store in a campaign's folder.
FILE_NAME = "campaign.sqlite"
_SUFFIXES = (".sqlite", ".sqlite3", ".db")
_MONGO = ("mongodb://", "mongodb+srv://")


@dataclass
class CampaignStores:
    """The connected stores of campaigns.

    Attributes:
        docs: job documents; together with ``data`` a ``jobflow.JobStore``.
        data: blobs of job documents.
        ledger: the runner's records of flows and jobs; key ``id``.
        folder: folder of an embedded store; None for a server.
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
        """Return a connected collection of the campaign database.

        Raises:
            InputError: unknown name.
        """
        known = {**CAMPAIGN_DATABASE, "pulls": PULLS}
        if name not in known:
            raise InputError(f"no collection {name!r}; there are {', '.join(known)}")
        if name not in self._collections:
            self._collections[name] = self._connect(known[name])
        return self._collections[name]

    def known_entries(self) -> Store:
        """Return the connected collection of known entries, created if missing."""
        if KNOWN.name not in self._collections:
            self._collections[KNOWN.name] = self._connect(KNOWN)
        return self._collections[KNOWN.name]

    def _connect(self, declared: Collection) -> Store:
        if isinstance(self.docs, SQLiteCollection):
            return _sqlite_store(self.docs.path, declared, self.docs.timeout_s)
        from logan_campaign.stores.mongo import mongo_store, store_beside

        if self._like is not None:
            return store_beside(self._like, declared)
        return mongo_store(str(self._uri), declared)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all updates of the block together.

        On SQLite this is one transaction over all collections. On MongoDB it has no effect, since a
        server without replica set has no transactions.
        """
        if isinstance(self.docs, SQLiteCollection):
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
        """Return the location for display, without password."""
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


#: Functions for further kinds of locations, as ``module:function`` by prefix: they return the
#: stores of job documents and of blobs, and a description.
OPENERS = {"jf://": "logan_campaign.flows.remote.project:stores_of"}


def _say_damaged(place: str, err: Exception) -> None:
    """Convert errors of a damaged file or an unreadable document to StoreError."""
    import binascii
    import json
    import zlib

    from bson.errors import InvalidBSON
    from pydantic import ValidationError

    path = Path(place)
    damaged = isinstance(
        err,
        sqlite3.Error
        | UnicodeDecodeError
        | json.JSONDecodeError
        | ValidationError
        | zlib.error
        | binascii.Error
        | InvalidBSON,
    )
    if not damaged and path.is_file():
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
                damaged = file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
        except (sqlite3.Error, UnicodeDecodeError):
            damaged = True
    if damaged:
        raise StoreError(
            f"store {place}: damaged, or not written by this program: a document cannot be read "
            f"({type(err).__name__}); use an earlier copy, or see sqlite3's '.recover'"
        ) from err


def open_store(
    location: str | Path, *, create: bool = False, timeout_s: float | None = None
) -> CampaignStores:
    """Open the stores at a location (see the module's docstring).

    Args:
        location: folder, file or URI.
        create: create the store if it does not exist.
        timeout_s: time to wait for a lock (SQLite, 30 s by default) or for the server
            (MongoDB, 5 s).

    Raises:
        StoreError: there is no store at the location (without ``create``), or it cannot be
            reached or used; one line, without password.
    """
    text = str(location)
    for beginning, opener in OPENERS.items():
        if text.startswith(beginning):
            from logan_campaign.stores.mongo import stores_beside

            module, _, function = opener.partition(":")
            return stores_beside(*getattr(importlib.import_module(module), function)(text))
    if text.startswith(_MONGO):
        from logan_campaign.stores.mongo import open_mongo

        return open_mongo(text, create, timeout_s or 5.0)
    if "://" in text and not text.startswith("sqlite:///"):
        raise StoreError(
            f"store {redact(text)}: unknown kind; "
            "give a folder, an .sqlite file or a mongodb:// URI"
        )
    path = _sqlite_file(text)
    try:
        return _open_sqlite(path, create, timeout_s or 30.0)
    except LoganCampaignError:
        raise
    except Exception as err:
        _say_damaged(str(path), err)
        raise


def store_exists(location: str | Path) -> bool:
    """Whether there is a store at a location; assumed for a server."""
    text = str(location)
    return ("://" in text and not text.startswith("sqlite:///")) or _sqlite_file(text).is_file()


def _sqlite_file(text: str) -> Path:
    if text.startswith("sqlite:///"):
        return Path(text.removeprefix("sqlite:///"))
    path = Path(text).expanduser()
    if path.suffix in _SUFFIXES and not path.is_dir():
        return path
    return path / FILE_NAME


def _sqlite_store(path: str, collection: Collection, timeout_s: float) -> SQLiteCollection:
    store = SQLiteCollection(
        path,
        collection.name,
        indexes=collection.indexes,
        payload_field=collection.payload_field,
        key=collection.key,
        timeout_s=timeout_s,
    )
    store.connect()
    return store


def campaigns_in(folder: Path) -> list[str]:
    """Return the names of the folders of campaigns below a folder, sorted."""
    return sorted(path.parent.name for path in folder.glob(f"*/{FILE_NAME}"))


def _open_sqlite(path: Path, create: bool, timeout_s: float) -> CampaignStores:
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StoreError(f"store {path}: folder cannot be made: {err.strerror}") from err
    elif not path.is_file():
        there = ", ".join(campaigns_in(Path())) or "none"
        raise StoreError(f"store {path}: no such file; campaigns in this folder: {there}")
    elif path.stat().st_size == 0:
        raise StoreError(f"store {path}: the file is empty")
    return CampaignStores(
        docs=_sqlite_store(str(path), OUTPUTS, timeout_s),
        data=_sqlite_store(str(path), BLOBS, timeout_s),
        ledger=_sqlite_store(str(path), LEDGER, timeout_s),
        _collections={
            name: _sqlite_store(str(path), collection, timeout_s)
            for name, collection in CAMPAIGN_DATABASE.items()
        },
        folder=path.absolute().parent,
        _location=str(path),
    )
