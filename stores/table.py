"""The table of one collection: its columns, indexes and field expressions.

A row contains the document as JSON text and, compressed, the optional payload field. Each indexed
field adds two generated columns, its kind and its value (see
:mod:`~logan_campaign.stores.mongoquery`), and a partial index of the rows with an object or array
there.
"""

from __future__ import annotations

from collections.abc import Sequence

from logan_campaign.core.errors import StoreError
from logan_campaign.stores.database import Database, fold_case, restore_case, table_name
from logan_campaign.stores.mongoquery import (
    OBJECT,
    Condition,
    Field,
    is_plain_path,
    kind_sql,
    value_sql,
)


def index_fields(index: str | Sequence[str]) -> list[str]:
    """Return the fields of a declared index.

    Raises:
        StoreError: the path cannot be indexed.
    """
    fields = [index] if isinstance(index, str) else list(index)
    for field in fields:
        if not is_plain_path(field):
            raise StoreError(f"field {field!r} cannot be indexed")
    return fields


def _column(role: str, field: str) -> str:
    return fold_case(f'"{role}:{field}"')


class Table:
    """The table of a collection.

    Args:
        collection: name of the collection.
        payload_field: top-level field that is stored compressed and separately.

    Raises:
        StoreError: invalid name.
    """

    def __init__(self, collection: str, payload_field: str | None) -> None:
        self.collection = collection
        self.payload_field = payload_field
        self.name = table_name(collection)
        self._indexed: set[tuple[str, ...]] = set()

    def prepare(self, database: Database, indexes: Sequence[Sequence[str]]) -> None:
        """Create the table and its indexes, if missing.

        Raises:
            StoreError: the collection has another payload field, or would be created
                inside a transaction.
        """
        found = database.rows(
            "SELECT payload_field FROM collections WHERE name = ?", (self.collection,)
        )
        if found and found[0][0] != self.payload_field:
            raise StoreError(
                f"store {database.path}: collection {self.collection} keeps {found[0][0]!r} "
                f"apart, not {self.payload_field!r}"
            )
        self._read_indexes(database)
        if found and self._indexed.issuperset(tuple(fields) for fields in indexes):
            return
        if database.in_transaction():
            # A rollback would remove the table of a connected store.
            raise StoreError(
                f"store {database.path}: connect collection {self.collection} before a transaction"
            )
        with database.writing():
            database.rows(
                f"CREATE TABLE IF NOT EXISTS {self.name} "
                "(id INTEGER PRIMARY KEY, doc TEXT NOT NULL, payload BLOB)"
            )
            database.rows(
                "INSERT OR IGNORE INTO collections VALUES (?, ?)",
                (self.collection, self.payload_field),
            )
            for fields in indexes:
                self._create_index(database, fields, unique=False)
        self._read_indexes(database)

    def ensure_index(self, database: Database, fields: Sequence[str], unique: bool) -> None:
        """Create an index on fields, if missing.

        Raises:
            StoreError: it cannot be unique.
        """
        self._read_indexes(database)
        if tuple(fields) not in self._indexed:
            with database.writing():
                self._create_index(database, fields, unique)
            self._read_indexes(database)

    def _read_indexes(self, database: Database) -> None:
        names = database.rows(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?",
            (self.name.strip('"'),),
        )
        self._indexed = {
            tuple(restore_case(name.rpartition(":")[2]).split(","))
            for (name,) in names
            if name.startswith("index:")
        }

    def indexed_by(self, fields: Sequence[str]) -> str:
        """Return the SQL that makes a query use an index; '' if there is none."""
        if tuple(fields) not in self._indexed:
            return ""
        return f"INDEXED BY {self._index_name('index', fields)}"

    def _index_name(self, role: str, fields: Sequence[str]) -> str:
        return fold_case(f'"{role}:{self.collection}:{",".join(fields)}"')

    def _create_index(self, database: Database, fields: Sequence[str], unique: bool) -> None:
        present = {row[1] for row in database.rows(f"PRAGMA table_xinfo({self.name})")}
        for field in fields:
            for role, sql in (("kind", kind_sql(field)), ("value", value_sql(field))):
                column = _column(role, field)
                if column.strip('"') not in present:
                    database.rows(
                        f"ALTER TABLE {self.name} ADD COLUMN {column} "
                        f"GENERATED ALWAYS AS ({sql}) VIRTUAL"
                    )
            kind = _column("kind", field)
            database.rows(
                f"CREATE INDEX IF NOT EXISTS {self._index_name('nested', [field])} "
                f"ON {self.name} ({kind}) WHERE {kind} >= {OBJECT}"
            )
        columns = ", ".join(
            f"{_column('kind', field)}, {_column('value', field)}" for field in fields
        )
        database.rows(
            f"CREATE {'UNIQUE ' if unique else ''}INDEX IF NOT EXISTS "
            f"{self._index_name('index', fields)} ON {self.name} ({columns})"
        )

    def field(self, database: Database, path: str) -> Field | None:
        """Return the current SQL expressions of a field, None if there are none."""
        if not is_plain_path(path) or path.split(".")[0] == self.payload_field:
            return None
        field = Field.of(path)
        if any(path in fields for fields in self._indexed):
            kind = _column("kind", path)
            sql = f"SELECT EXISTS (SELECT 1 FROM {self.name} WHERE {kind} >= {OBJECT})"
            found = bool(database.rows(sql)[0][0])
            return field._replace(kind=kind, value=_column("value", path), nested=found)
        return field

    def any_nested(self, database: Database, field: Field, condition: Condition) -> bool:
        """Whether a row that meets the condition has an object or array in the field."""
        if not field.nested:
            return False
        sql = f"SELECT 1 FROM {self.name} WHERE {condition.sql} AND {field.kind} >= {OBJECT}"
        return bool(database.rows(f"{sql} LIMIT 1", condition.parameters))
