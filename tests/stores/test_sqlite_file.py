"""The file of SQLite stores: versions, transactions, processes, and what may befall it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logan_campaign.core.errors import StoreError
from logan_campaign.stores.database import APPLICATION_ID, FORMAT_VERSION
from logan_campaign.stores.maggma_sqlite import SQLiteStore
from logan_campaign.stores.sqlite import transaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    made = SQLiteStore(path, "things", indexes=["n"], key="id", timeout_s=0.3)
    made.connect()
    yield made
    made.close()


def script(text: str, path: Path) -> subprocess.Popen[str]:
    """Start a Python process that has ``store`` and ``other`` of the file open."""
    head = (
        "import sys, time\n"
        "from logan_campaign.stores.maggma_sqlite import SQLiteStore\n"
        "from logan_campaign.stores.sqlite import transaction\n"
        f"store = SQLiteStore({str(path)!r}, 'things', indexes=['n'], key='id')\n"
        f"other = SQLiteStore({str(path)!r}, 'others', key='id')\n"
        "store.connect(); other.connect()\n"
        "print('ready', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", head + text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=30)
    return process.returncode


# --- versions and foreign files ---------------------------------------------------------


def make_version_0(path: Path) -> None:
    """Write a file as version 0 did: a table per collection, nothing else."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("CREATE TABLE c_things (id INTEGER PRIMARY KEY, doc TEXT NOT NULL)")
    for n in range(20):
        doc = {"id": n, "n": n % 5, "when": {"$date": f"2026-01-{n + 1:02}T00:00:00.000Z"}}
        connection.execute("INSERT INTO c_things (doc) VALUES (?)", (json.dumps(doc),))
    connection.commit()
    connection.close()


def test_a_file_of_version_0_opens_migrates_and_answers(path: Path) -> None:
    make_version_0(path)
    with SQLiteStore(path, "things", indexes=["n"], key="id") as store:
        assert store.count({"n": 3}) == 4
        assert [doc["id"] for doc in store.query(sort={"when": -1}, limit=2)] == [19, 18]
        assert "SCAN" not in store.explain({"n": 3})
        store.update({"id": 0, "n": 9})
        assert store.count() == 20
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_migration_that_fails_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version_0(path)

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE c_things RENAME COLUMN doc TO other")
        raise StoreError("stopped half way")

    with monkeypatch.context() as patch:
        patch.setattr("logan_campaign.stores.database.MIGRATIONS", {0: fails})
        with pytest.raises(StoreError, match="half way"):
            SQLiteStore(path, "things", key="id").connect()
    with SQLiteStore(path, "things", key="id") as store:
        assert store.count() == 20


def test_a_newer_file_is_refused_and_left_alone(path: Path, store: SQLiteStore) -> None:
    store.update({"id": 1})
    store.close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        store.connect()


def test_files_of_others_are_refused(path: Path) -> None:
    path.write_text("This is no database, but long enough to be looked at." * 100)
    with pytest.raises(StoreError, match="not an SQLite file"):
        SQLiteStore(path, "things").connect()
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        SQLiteStore(path, "things").connect()


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.touch()
    with SQLiteStore(path, "things", key="id") as store:
        store.update({"id": 1})
        assert store.count() == 1


def test_a_damaged_file_is_called_damaged(path: Path, store: SQLiteStore) -> None:
    store.update([{"id": n, "text": "x" * 500} for n in range(200)])
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 5 : 4096 * 30] = os.urandom(4096 * 25)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"), store:
        list(store.query())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SQLiteStore(tmp_path / "nowhere" / "a.sqlite", "things").connect()


def test_an_unconnected_store_says_so(path: Path) -> None:
    with pytest.raises(StoreError, match="not connected"):
        SQLiteStore(path, "things").count()


# --- transactions -----------------------------------------------------------------------


def test_updates_of_several_stores_commit_together_or_not_at_all(
    path: Path, store: SQLiteStore
) -> None:
    with SQLiteStore(path, "others", key="id") as other:
        with transaction(store, other):
            store.update({"id": 1})
            other.update({"id": 1})

        def fail_half_way() -> None:
            with transaction(store, other):
                store.update({"id": 2})
                other.update({"id": 2})
                other.remove_docs({"id": 1})
                assert other.count() == 1
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_half_way()
        assert [doc["id"] for doc in store.query()] == [1]
        assert [doc["id"] for doc in other.query()] == [1]


def test_an_inner_transaction_is_undone_alone(store: SQLiteStore) -> None:
    def fail() -> None:
        with transaction(store):
            store.update({"id": 2})
            raise RuntimeError

    with transaction(store):
        store.update({"id": 1})
        with pytest.raises(RuntimeError):
            fail()
        with pytest.raises(StoreError):
            store.update([{"id": 3}, {"no": "key"}])
        store.update({"id": 4})
    assert [doc["id"] for doc in store.query()] == [1, 4]


def test_a_transaction_does_not_span_files(tmp_path: Path, store: SQLiteStore) -> None:
    with (
        SQLiteStore(tmp_path / "b.sqlite", "things") as other,
        pytest.raises(StoreError, match="several files"),
        transaction(store, other),
    ):
        pass


def test_a_new_collection_is_not_made_inside_a_transaction(path: Path, store: SQLiteStore) -> None:
    other = SQLiteStore(path, "others", key="id")
    with transaction(store), pytest.raises(StoreError, match="before a transaction"):
        other.connect()
    with other:
        other.update({"id": 1})


def test_another_process_sees_a_transaction_when_it_is_committed(
    path: Path, store: SQLiteStore
) -> None:
    process = script(
        "with transaction(store):\n"
        "    store.update({'id': 1}); print('written', flush=True); sys.stdin.readline()\n",
        path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    assert store.count() == 0
    process.communicate("\n", timeout=30)
    assert store.count() == 1


# --- several threads and processes ------------------------------------------------------


def test_a_locked_store_says_so_after_its_timeout(path: Path, store: SQLiteStore) -> None:
    process = script(
        "with transaction(store):\n    print('locked', flush=True); sys.stdin.readline()\n", path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    started = time.monotonic()
    with pytest.raises(StoreError, match="locked by another process"):
        store.update({"id": 1})
    assert 0.2 < time.monotonic() - started < 5
    assert store.count() == 0  # reading goes on
    process.communicate("\n", timeout=30)
    store.update({"id": 1})
    assert store.count() == 1


def test_threads_share_a_store(store: SQLiteStore) -> None:
    errors: list[Exception] = []

    def work(thread: int) -> None:
        try:
            for n in range(20):
                with transaction(store):
                    store.update({"id": f"{thread}-{n}", "n": n})
                    store.update({"id": f"{thread}-{n}", "n": n, "twice": True})
                assert store.count({"id": f"{thread}-{n}", "twice": True}) == 1
        except Exception as err:  # noqa: BLE001 - whatever it is, the main thread reports it
            errors.append(err)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.count() == 80


def test_writers_in_several_processes_lose_nothing(path: Path, store: SQLiteStore) -> None:
    text = (
        "for n in range(50):\n"
        "    store.update({'id': f'%s-{n}', 'n': n})\n"
        "    store.update({'id': 'shared', 'n': n})\n"
    )
    processes = [script(text.replace("%s", str(n)), path) for n in range(2)]
    while any(process.poll() is None for process in processes):
        found = list(store.query({"id": "shared"}))
        assert len(found) <= 1
    assert [finish(process) for process in processes] == [0, 0]
    assert store.count() == 101


def test_a_reader_never_sees_half_a_transaction(path: Path, store: SQLiteStore) -> None:
    process = script(
        "for n in range(300):\n    store.update([{'id': i, 'n': n} for i in range(5)])\n",
        path,
    )
    n_reads = 0
    while process.poll() is None:
        assert len(store.distinct("n")) <= 1
        n_reads += 1
    assert finish(process) == 0
    assert n_reads > 10
    assert store.distinct("n") == [299]


def test_a_killed_writer_leaves_the_store_whole(path: Path, store: SQLiteStore) -> None:
    text = (
        "n = store.count()\n"
        "while True:\n"
        "    with transaction(store, other):\n"
        "        store.update([{'id': (n, i), 'n': n, 'text': 'x' * 3000} for i in range(4)])\n"
        "        other.update([{'id': (n, i), 'n': n} for i in range(4)])\n"
        "    n += 1\n"
    )
    with SQLiteStore(path, "others", key="id") as other:
        for round_ in range(3):
            before = other.count()
            process = script(text, path)
            while other.count() == before:
                time.sleep(0.01)
            time.sleep(0.05 + 0.03 * round_)
            process.send_signal(signal.SIGKILL)
            finish(process)
            assert store.database.rows("PRAGMA integrity_check") == [("ok",)]
            assert store.count() % 4 == 0
            assert store.count() == other.count() > 0
            assert {d["n"] for d in store.query()} == {d["n"] for d in other.query()}


def _child(store: SQLiteStore, queue: multiprocessing.Queue[int]) -> None:
    store.update({"id": "from the child"})
    queue.put(store.count())


def test_a_forked_child_uses_a_connection_of_its_own(store: SQLiteStore) -> None:
    store.update({"id": "from the parent"})
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(store, queue))
    child.start()
    assert queue.get(timeout=20) == 2
    child.join(20)
    assert child.exitcode == 0
    assert store.count() == 2


def test_a_file_that_was_replaced_is_opened_anew(path: Path, store: SQLiteStore) -> None:
    store.update({"id": 1})
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink()
    with SQLiteStore(path, "things", key="id") as again:
        assert again.count() == 0
        again.update({"id": 2})
        assert again.count() == 1


# --- disk full --------------------------------------------------------------------------


def test_a_full_disk_is_called_full_and_loses_nothing(store: SQLiteStore) -> None:
    store.update({"id": 0, "n": 0})
    [(n_pages,)] = store.database.rows("PRAGMA page_count")
    # SQLite then answers as it does when the file system has no space left.
    store.database.rows(f"PRAGMA max_page_count = {n_pages + 10}")
    docs = [{"id": n, "n": n, "text": "x" * 4000} for n in range(1, 100)]
    with pytest.raises(StoreError, match="disk full"):
        store.update(docs)
    assert store.count() == 1

    def fill_in_a_transaction() -> None:
        with transaction(store):
            store.update({"id": 1})
            store.update(docs)

    with pytest.raises(StoreError, match="disk full"):
        fill_in_a_transaction()
    assert store.count() == 1
    store.database.rows(f"PRAGMA max_page_count = {n_pages + 1000}")
    store.update(docs)
    assert store.count() == 100


def test_a_transaction_that_sqlite_undid_does_not_go_on(store: SQLiteStore) -> None:
    def go_on() -> None:
        with transaction(store):
            store.update({"id": 1})
            store.database.rows("ROLLBACK")  # as SQLite does by itself after some errors
            store.update({"id": 2})

    with pytest.raises(StoreError, match="undone"):
        go_on()
    assert store.count() == 0
    store.update({"id": 3})
    assert store.count() == 1
