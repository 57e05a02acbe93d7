"""The SQLite file of a store: connection, transactions, versions.

All stores of a process on the same file share one connection, and thereby transactions; a lock
serialises threads. The file is in WAL mode: any number of processes can read while one writes. A
commit survives the death of the process at any moment; after a power failure the last commits may
be missing, but the file is consistent (``synchronous = NORMAL``). WAL needs shared memory, so the
file must be on a local disk.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from logan_campaign.core.errors import StoreError

#: Identifies our files (``PRAGMA application_id``): "LoGA".
APPLICATION_ID = 0x4C6F4741
#: Layout of the file (``PRAGMA user_version``); see :data:`MIGRATIONS`.
FORMAT_VERSION = 1

_COLLECTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


def fold_case(name: str) -> str:
    """Return a name that is unique irrespective of case, which SQLite ignores."""
    return re.sub("[A-Z]", lambda match: "^" + match[0].lower(), name)


def restore_case(name: str) -> str:
    """Undo :func:`fold_case`."""
    return re.sub(r"\^([a-z])", lambda match: match[1].upper(), name)


def table_name(collection: str) -> str:
    """Return the quoted name of a collection's table.

    Raises:
        StoreError: the name is not a letter followed by up to 62 letters, digits, ``_``, ``.`` or
            ``-``.
    """
    if not _COLLECTION_NAME.fullmatch(collection):
        raise StoreError(
            f"collection name {collection!r} is not allowed: a letter, then letters, digits, '_.-'"
        )
    return fold_case(f'"c_{collection}"')


def _create_layout(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE collections (name TEXT PRIMARY KEY, payload_field TEXT) WITHOUT ROWID"
    )


def _migrate_0_to_1(connection: sqlite3.Connection) -> None:
    """Add the list of collections and the column for payloads to older files."""
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'c_*'"
        )
    ]
    _create_layout(connection)
    for table in tables:
        collection = restore_case(table.removeprefix("c_"))
        connection.execute(f"ALTER TABLE {table_name(collection)} ADD COLUMN payload BLOB")
        connection.execute("INSERT INTO collections VALUES (?, NULL)", (collection,))


#: Migration of each older version to the next; run in one transaction when a file is opened.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {0: _migrate_0_to_1}

_EXPLANATIONS = {
    sqlite3.SQLITE_BUSY: "locked by another process",
    sqlite3.SQLITE_LOCKED: "locked by another process",
    sqlite3.SQLITE_FULL: "disk full: nothing was written",
    # quota or file-size limit exceeded, or a disk fault
    sqlite3.SQLITE_IOERR: "the disk refuses (quota, size limit or fault): nothing was written",
    sqlite3.SQLITE_NOTADB: "not an SQLite file",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened (folder missing or not permitted)",
    sqlite3.SQLITE_READONLY: "not writable",
    sqlite3.SQLITE_PERM: "not permitted",
}


def _explain(path: Path, err: sqlite3.Error) -> StoreError:
    code = getattr(err, "sqlite_errorcode", None)
    text = _EXPLANATIONS.get(code & 0xFF) if code is not None else None
    return StoreError(f"store {path}: {text or err}")


class Database:
    """A connection to one file, obtained by :func:`acquire` and returned by ``release``.

    Args:
        path: resolved path of the file, created if missing (its folder must exist).
        timeout_s: time to wait for a lock of another process or thread (s).

    Raises:
        StoreError: the file cannot be opened, is of another program or a newer version, or stays
            locked.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.pid = os.getpid()
        self.users = 0
        self._lock = threading.RLock()
        self._depth = 0
        with self.errors():
            self._connection = sqlite3.connect(
                path, timeout=timeout_s, isolation_level=None, check_same_thread=False
            )
        try:
            with self.errors():
                self._open()
        except BaseException:
            self._connection.close()
            raise
        stat = os.stat(path)
        self.inode = (stat.st_dev, stat.st_ino)

    def is_inherited(self) -> bool:
        """Whether the connection belongs to the parent of this forked process."""
        return self.pid != os.getpid()

    def _open(self) -> None:
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                self._check_and_migrate()
                return
            except sqlite3.OperationalError as err:
                # The switch to WAL does not wait for locks.
                busy = err.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _check_and_migrate(self) -> None:
        connection = self._connection
        self._check_version()
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"store {self.path}: this file system cannot hold it (no WAL mode)")
        connection.execute("PRAGMA synchronous = NORMAL")
        if self._check_version() == FORMAT_VERSION:
            return
        with self.writing():
            version = self._check_version()  # another process may have created it
            if version is None:
                _create_layout(connection)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            else:
                for step in range(version, FORMAT_VERSION):
                    MIGRATIONS[step](connection)
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    def _check_version(self) -> int | None:
        """Return the file's version, None for an empty file; refuse other and newer files."""
        connection = self._connection
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application == 0 and version == 0 and n_tables == 0:
            return None
        if application != APPLICATION_ID:
            raise StoreError(f"store {self.path}: an SQLite file of another program")
        if version > FORMAT_VERSION:
            raise StoreError(
                f"store {self.path}: written by a newer version of logan-campaign "
                f"(layout {version}, this one reads up to {FORMAT_VERSION})"
            )
        return int(version)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert SQLite's errors to a one-line StoreError."""
        try:
            yield
        except sqlite3.Error as err:
            raise _explain(self.path, err) from err

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self.timeout_s):
            raise StoreError(f"store {self.path}: locked by another thread")
        try:
            yield
        finally:
            self._lock.release()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple]:
        """Run one statement and return all its rows."""
        with self._locked(), self.errors():
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Run all statements of the block on one snapshot of the file."""
        with self._locked():
            if self._connection.in_transaction:
                yield
                return
            with self.errors():
                self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")  # nothing was written

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run the block as one transaction.

        A nested block is a savepoint: it is rolled back alone if it raises, and committed with the
        outer block.
        """
        with self._locked():
            connection = self._connection
            outermost = self._depth == 0
            savepoint = f"level_{self._depth}"
            with self.errors():
                if outermost:
                    connection.execute("BEGIN IMMEDIATE")
                else:
                    self._require_transaction()
                    connection.execute(f"SAVEPOINT {savepoint}")
            self._depth += 1
            try:
                yield
                with self.errors():
                    self._require_transaction()
                    connection.execute("COMMIT" if outermost else f"RELEASE {savepoint}")
            except BaseException:
                # On a full disk SQLite rolls back by itself.
                if connection.in_transaction:
                    with self.errors():
                        if outermost:
                            connection.execute("ROLLBACK")
                        else:
                            connection.execute(f"ROLLBACK TO {savepoint}")
                            connection.execute(f"RELEASE {savepoint}")
                raise
            finally:
                self._depth -= 1

    def in_transaction(self) -> bool:
        """Whether this thread is inside ``writing``."""
        with self._locked():
            return self._depth > 0

    def _require_transaction(self) -> None:
        if not self._connection.in_transaction:
            raise StoreError(f"store {self.path}: the transaction was undone after an error")

    def close(self) -> None:
        """Close the connection."""
        with self._locked(), self.errors():
            self._connection.close()


_registry: dict[Path, Database] = {}
_registry_lock = threading.Lock()
#: Connections inherited through fork, which SQLite forbids to use or close in the child.
_inherited: list[Database] = []


def _after_fork() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    _inherited.extend(_registry.values())
    _registry.clear()


os.register_at_fork(after_in_child=_after_fork)


def acquire(path: Path, timeout_s: float) -> Database:
    """Return this process's connection to the file, opened if necessary.

    Raises:
        StoreError: as :class:`Database`.
    """
    path = path.absolute().resolve()
    with _registry_lock:
        database = _registry.get(path)
        if database is not None:
            try:
                stat = path.stat()
                same = (stat.st_dev, stat.st_ino) == database.inode
            except FileNotFoundError:
                same = False
            if not same:  # the file was removed or replaced, and the open one is obsolete
                database = None
        if database is None:
            database = Database(path, timeout_s)
            _registry[path] = database
        database.users += 1
        return database


def release(database: Database) -> None:
    """Return a connection; the last release closes it."""
    if database.is_inherited():
        return
    with _registry_lock:
        database.users -= 1
        if database.users > 0:
            return
        if _registry.get(database.path) is database:
            del _registry[database.path]
    database.close()
