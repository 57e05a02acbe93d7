"""Collections of documents in SQLite, with the query interface of MongoDB.

:class:`SQLiteCollection` has the interface of maggma's stores without importing maggma, which takes
a second; :class:`logan_campaign.stores.maggma_sqlite.SQLiteStore` is a maggma Store.

Documents are JSON text; an indexed field is a pair of generated columns over that text, so any
field can be indexed at any time. Equality, ranges, ``$in``, ``$ne``, ``$nin``, ``$exists``,
``$and`` and ``$or`` on scalar fields run in SQL; everything else is filtered by mongomock, document
by document. There are no aggregation pipelines, and no operators that run code.

Properties of results:

* Documents have an ``_id`` only if they were written with one.
* Without a sort, and among equals, documents are in the order of their insertion.
* A query reads the list of matching documents at once and the documents page by page;
  documents removed meanwhile are omitted.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.stores import encoding
from logan_campaign.stores.database import Database, acquire, release
from logan_campaign.stores.mongoquery import (
    BOOLEAN,
    DATE,
    NULL,
    Condition,
    Field,
    Projection,
    fields_of,
    is_plain_path,
    matches,
    split_operators,
    translate,
)
from logan_campaign.stores.table import Table, index_fields

_PAGE = 200  # documents read at once
_COMPRESSION_LEVEL = 1  # most blobs are already compressed

Criteria = Mapping[str, Any] | None
Properties = Mapping[str, Any] | Sequence[str] | None
SortSpec = Mapping[str, Any] | None


class SQLiteCollection:
    """A collection of documents in an SQLite file.

    Args:
        path: the file, created by ``connect`` if missing; its folder must exist. A relative
            path is resolved from the current folder at ``connect``.
        collection_name: the collection in the file.
        indexes: fields to index besides ``key``: dotted paths, or lists of them for an
            index over several fields.
        payload_field: large top-level field that is not searched; it is stored compressed
            and separately, and read only on request.
        timeout_s: time to wait for a lock of another process (s).
        key: field that identifies a document.

    Raises:
        StoreError: invalid names.
    """

    # as required by jobflow's JobStore
    last_updated_field = "last_updated"
    last_updated_type = "datetime"

    def __init__(
        self,
        path: str | Path,
        collection_name: str,
        indexes: Sequence[str | Sequence[str]] = (),
        payload_field: str | None = None,
        timeout_s: float = 30.0,
        key: str = "id",
    ) -> None:
        self.key = key
        self.path = str(path)
        self.collection_name = collection_name
        self.indexes = [index if isinstance(index, str) else list(index) for index in indexes]
        self.payload_field = payload_field
        self.timeout_s = timeout_s
        self._table = Table(collection_name, payload_field)
        self._database: Database | None = None
        for index in self.indexes:
            index_fields(index)

    # --- connection -----------------------------------------------------------------

    @property
    def name(self) -> str:
        """File and collection."""
        return f"sqlite:///{self.path}#{self.collection_name}"

    @property
    def database(self) -> Database:
        """This process's connection to the file.

        Raises:
            StoreError: if the store is not connected.
        """
        if self._database is None:
            raise StoreError(f"{self.name} is not connected")
        if self._database.is_inherited():
            # The connection belongs to the parent of this forked process.
            self._database = acquire(Path(self.path), self.timeout_s)
        return self._database

    def connect(self, force_reset: bool = False) -> None:
        """Open the file, and create the collection and its indexes if missing.

        Raises:
            StoreError: the file is unusable; the message gives the reason.
        """
        if self._database is not None:
            if not force_reset:
                return
            self.close()
        self._database = acquire(Path(self.path), self.timeout_s)
        try:
            wanted = [index_fields(index) for index in [self.key, *self.indexes]]
            self._table.prepare(self._database, wanted)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; ``connect`` opens it again."""
        if self._database is not None:
            database, self._database = self._database, None
            release(database)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- indexes --------------------------------------------------------------------

    def ensure_index(self, key: str, unique: bool = False) -> bool:
        """Create an index on a field (a dotted path), if missing.

        Returns:
            Whether the index exists now. It cannot be unique if there are duplicates,
            and a path with array positions cannot be indexed. A unique index does not
            affect documents without the field, or with an array or object there.
        """
        if not is_plain_path(key):
            return False
        try:
            self._table.ensure_index(self.database, [key], unique)
        except StoreError as err:
            if isinstance(err.__cause__, sqlite3.IntegrityError):
                return False
            raise
        return True

    # --- reading --------------------------------------------------------------------

    def _field(self, path: str) -> Field | None:
        return self._table.field(self.database, path)

    def _condition(self, criteria: Criteria) -> Condition:
        """Translate criteria; call inside ``reading`` or ``writing``."""
        return translate(criteria or {}, self._field)

    def _names_payload(self, paths: Iterable[str]) -> bool:
        return any(path.split(".")[0] == self.payload_field for path in paths)

    def _order(self, sort: SortSpec, condition: Condition) -> str | None:
        """Return the ORDER BY terms, None if SQL cannot sort these rows as MongoDB does."""
        terms = []
        for path, direction in (sort or {}).items():
            field = self._field(path)
            if field is None or self._table.any_nested(self.database, field, condition):
                return None
            word = "DESC" if _descends(direction) else "ASC"
            terms += [f"{field.kind} {word}", f"{field.value} {word}"]
        return ", ".join([*terms, "id"])

    def _read(self, ids: Sequence[int], payload: bool) -> list[tuple[int, dict[str, Any]]]:
        """Return the documents among ``ids`` that still exist, in that order."""
        marks = ", ".join("?" * len(ids))
        column = "payload" if payload and self.payload_field else "NULL"
        rows = self.database.rows(
            f"SELECT id, doc, {column} FROM {self._table.name} WHERE id IN ({marks})", ids
        )
        found = {row[0]: row for row in rows}
        return [(n, self._decode(*found[n][1:])) for n in ids if n in found]

    def _decode(self, text: str, payload: bytes | None) -> dict[str, Any]:
        try:
            doc: dict[str, Any] = encoding.loads(text)
            if payload is not None and self.payload_field:
                doc[self.payload_field] = encoding.loads(zlib.decompress(payload))
        except (zlib.error, ValueError) as err:
            raise StoreError(f"{self.name}: a document is damaged: {err}") from err
        return doc

    def _find(
        self,
        criteria: Criteria,
        projection: Projection,
        sort: SortSpec = None,
        skip: int = 0,
        limit: int = 0,
        hint: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield row id and projected document of all matches."""
        if criteria is not None and not isinstance(criteria, Mapping):
            raise InputError(f"criteria must be a dict, not {type(criteria).__name__}")
        database = self.database
        limit = abs(limit)  # like MongoDB for a negative limit
        criteria = split_operators(criteria or {})
        with database.reading():
            condition = self._condition(criteria)
            order = self._order(sort, condition)
            sql = (
                f"SELECT id, {condition.doubt} FROM {self._table.name} "
                f"{self._table.indexed_by(list(hint or {}))} "
                f"WHERE {condition.sql} ORDER BY {order or 'id'}"
            )
            parameters = list(condition.parameters)
            if condition.exact and order is not None:
                sql += " LIMIT ? OFFSET ?"
                parameters += [limit or -1, skip]
            rows = database.rows(sql, parameters)
        if order is None:
            rows = self._sorted(rows, criteria, sort or {})
            rows = rows[skip : skip + limit if limit else None]
            skip = limit = 0  # done
        elif condition.exact:
            skip = limit = 0
        payload = projection.names(self.payload_field or "")
        found = self._matching(rows, criteria, payload)
        for row_id, doc in islice(found, skip, skip + limit if limit else None):
            yield row_id, projection.apply(doc)

    def _matching(
        self, rows: Sequence[tuple[int, int]], criteria: Mapping[str, Any], payload: bool
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the documents of rows (id, doubt); undecided rows only if they match."""
        payload = payload or self._names_payload(fields_of(criteria))
        for start in range(0, len(rows), _PAGE):
            in_doubt = dict(rows[start : start + _PAGE])
            for row_id, doc in self._read(list(in_doubt), payload):
                if not in_doubt[row_id] or matches(criteria, doc):
                    yield row_id, doc

    def _sorted(
        self, rows: Sequence[tuple[int, int]], criteria: Mapping[str, Any], sort: Mapping[str, Any]
    ) -> list[tuple[int, int]]:
        """Return the matching rows, all decided, sorted by mongomock's comparison."""
        from mongomock.filtering import resolve_sort_key

        sort_key: Callable[[str, Any], Any] = resolve_sort_key
        keys = [
            (row_id, [sort_key(field, doc) for field in sort])
            for row_id, doc in self._matching(rows, criteria, self._names_payload(sort))
        ]
        # Stable sorts from the last field to the first.
        for n, direction in reversed(list(enumerate(sort.values()))):
            reverse = _descends(direction)
            keys.sort(key=lambda key, n=n: key[1][n], reverse=reverse)  # type: ignore[misc]
        return [(row_id, 0) for row_id, _ in keys]

    def query(
        self,
        criteria: Criteria = None,
        properties: Properties = None,
        sort: SortSpec = None,
        skip: int = 0,
        limit: int = 0,
        hint: Mapping[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the documents that match.

        Args:
            criteria: MongoDB filter; None for all documents.
            properties: fields to return: a list, or a dict of 1 (only these) or 0 (all
                but these); None for whole documents.
            sort: fields with 1 (ascending) or -1.
            skip: number of matches to skip.
            limit: maximum number; 0 for all.
            hint: fields of the index to use, as for maggma's MongoStore; criteria must
                compare the first of them. Ignored if there is no such index.

        Raises:
            InputError: invalid criteria or properties.
            StoreError: the file cannot be read.
        """
        projection = Projection(properties)
        for _, doc in self._find(criteria, projection, sort, skip, limit, hint):
            yield doc

    def query_one(
        self, criteria: Criteria = None, properties: Properties = None, sort: SortSpec = None
    ) -> dict[str, Any] | None:
        """Return the first document that :meth:`query` finds, None if there is none."""
        return next(self.query(criteria, properties, sort, limit=1), None)

    def explain(self, criteria: Criteria = None, sort: SortSpec = None) -> str:
        """Return SQLite's plan for a query, which shows the index used."""
        with self.database.reading():
            condition = self._condition(criteria)
            order = self._order(sort, condition) or "id"
            sql = f"SELECT id FROM {self._table.name} WHERE {condition.sql} ORDER BY {order}"
            plan = self.database.rows(f"EXPLAIN QUERY PLAN {sql}", condition.parameters)
        return "\n".join(row[3] for row in plan)

    def count(self, criteria: Criteria = None) -> int:
        """Return the number of matching documents.

        Raises:
            InputError: for criteria that cannot be used.
        """
        with self.database.reading():
            condition = self._condition(criteria)
            if condition.exact:
                sql = f"SELECT count(*) FROM {self._table.name} WHERE {condition.sql}"
                return int(self.database.rows(sql, condition.parameters)[0][0])
        return sum(1 for _ in self._find(criteria, Projection(["_id"])))

    def distinct(self, field: str, criteria: Criteria = None, all_exist: bool = False) -> list[Any]:
        """Return the distinct values of a field; of arrays, their elements.

        Args:
            field: dotted path.
            criteria: MongoDB filter; None for all documents.
            all_exist: ignored, as in maggma's MongoStore.
        """
        with self.database.reading():
            condition = self._condition(criteria)
            seen = self._field(field) if condition.exact else None
            if seen is not None and not self._table.any_nested(self.database, seen, condition):
                return self._distinct_scalars(seen, condition)
        import mongomock

        # Elements of arrays follow mongomock's rules; only the field is passed to it.
        collection: Any = mongomock.MongoClient().db.found
        projection = Projection([field])
        for _, doc in self._find(criteria, projection):
            collection.insert_one({key: value for key, value in doc.items() if key != "_id"})
        return list(collection.distinct(field))

    def _distinct_scalars(self, field: Field, condition: Condition) -> list[Any]:
        rows = self.database.rows(
            f"SELECT DISTINCT {field.kind}, {field.value} FROM {self._table.name} "
            f"WHERE {condition.sql} AND {field.kind} <> {NULL} ORDER BY 1, 2",
            condition.parameters,
        )
        nulls = self.database.rows(
            f"SELECT 1 FROM {self._table.name} WHERE {condition.sql} AND {field.kind} = {NULL} "
            f"AND {field.exists} LIMIT 1",
            condition.parameters,
        )
        read: dict[int, Callable[[Any], Any]] = {BOOLEAN: bool, DATE: encoding.parse_date}
        values = [read[kind](found) if kind in read else found for kind, found in rows]
        return [None, *values] if nulls else values

    def groupby(
        self,
        keys: list[str] | str,
        criteria: Criteria = None,
        properties: Properties = None,
        sort: SortSpec = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield the values of ``keys`` and the documents that have them.

        Documents without one of the keys are omitted. ``sort``, ``skip`` and ``limit`` apply to the
        documents before grouping; groups are in the order of their first document.
        """
        from pydash import get, has, set_

        keys = [keys] if isinstance(keys, str) else list(keys)
        if properties is not None and not isinstance(properties, Mapping):
            properties = [*properties, *keys]
        elif properties:
            properties = {**properties, **dict.fromkeys(keys, 1)}
        groups: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        for doc in self.query(criteria, properties, sort, skip, limit):
            if not all(has(doc, key) for key in keys):
                continue
            values: dict[str, Any] = {}
            for key in keys:
                set_(values, key, get(doc, key))
            groups.setdefault(encoding.dumps(values), (values, []))[1].append(doc)
        yield from groups.values()

    # --- writing --------------------------------------------------------------------

    def update(
        self,
        docs: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        key: Sequence[str] | str | None = None,
    ) -> None:
        """Write documents: each replaces the one with the same key, or is added.

        One call is one transaction, part of an open transaction if there is one.

        Args:
            docs: one document or several.
            key: field or fields that identify a document; the store's key by default.

        Raises:
            StoreError: a document lacks a key or cannot be stored, or the file cannot be
                written (locked, disk full).
        """
        if isinstance(docs, Mapping):
            docs = [docs]
        names = [key] if isinstance(key, str) else list(key or [self.key])
        rows = [self._row(doc, names) for doc in map(encoding.sanitize, docs)]
        if not rows:
            return
        database = self.database
        with database.writing():
            for search, text, payload in rows:
                found = self._first_id(search)
                if found is None:
                    database.rows(
                        f"INSERT INTO {self._table.name} (doc, payload) VALUES (?, ?)",
                        (text, payload),
                    )
                else:
                    database.rows(
                        f"UPDATE {self._table.name} SET doc = ?1, payload = ?2 "
                        "WHERE id = ?3 AND (doc <> ?1 OR payload IS NOT ?2)",
                        (text, payload, found),
                    )

    def _row(
        self, doc: dict[str, Any], names: list[str]
    ) -> tuple[dict[str, Any], str, bytes | None]:
        """Return the criteria of a document's key, its text and its payload."""
        missing = [name for name in names if name not in doc]
        if missing:
            raise StoreError(f"{self.name}: a document lacks the key field {missing[0]!r}")
        search = {name: doc[name] for name in names}
        dollar = next((name for name in doc if name.startswith("$")), None)
        if dollar is not None:
            raise StoreError(f"{self.name}: field name {dollar!r} starts with '$'")
        payload = None
        if self.payload_field in doc:
            text = encoding.dumps(doc[self.payload_field])
            payload = zlib.compress(text.encode(), _COMPRESSION_LEVEL)
            doc = {name: value for name, value in doc.items() if name != self.payload_field}
        return search, encoding.dumps(doc), payload

    def _first_id(self, search: dict[str, Any]) -> int | None:
        condition = self._condition(search)
        if condition.exact:
            rows = self.database.rows(
                f"SELECT id FROM {self._table.name} WHERE {condition.sql} ORDER BY id LIMIT 1",
                condition.parameters,
            )
            return rows[0][0] if rows else None
        found = next(self._find(search, Projection(["_id"]), limit=1), None)
        return found[0] if found else None

    def remove_docs(self, criteria: Criteria) -> None:
        """Remove the documents that match, in one transaction.

        Raises:
            InputError: for criteria that cannot be used.
        """
        database = self.database
        with database.writing():
            condition = self._condition(criteria)
            if condition.exact:
                database.rows(
                    f"DELETE FROM {self._table.name} WHERE {condition.sql}", condition.parameters
                )
                return
            ids = [row_id for row_id, _ in self._find(criteria, Projection(["_id"]))]
            for row_id in ids:
                database.rows(f"DELETE FROM {self._table.name} WHERE id = ?", (row_id,))

    def __eq__(self, other: object) -> bool:
        """Whether both are the same collection of the same file."""
        if not isinstance(other, SQLiteCollection):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        """Hash of file and collection."""
        return hash(self._identity())

    def _identity(self) -> tuple[str, ...]:
        return str(Path(self.path).absolute()), self.collection_name


def _descends(direction: Any) -> bool:
    """Whether a direction, 1 or -1 or maggma's ``Sort``, is descending."""
    return bool(getattr(direction, "value", direction) == -1)


@contextmanager
def transaction(*stores: SQLiteCollection) -> Iterator[None]:
    """Commit all updates of the stores in the block together, or none if it raises.

    Other threads that use the same file wait until the block ends.

    Raises:
        StoreError: the stores are not connected or not all in one file.
    """
    if not stores:
        raise StoreError("a transaction needs at least one store")
    databases = {id(store.database): store.database for store in stores}
    if len(databases) > 1:
        raise StoreError("a transaction cannot span several files")
    [database] = databases.values()
    with database.writing():
        yield
