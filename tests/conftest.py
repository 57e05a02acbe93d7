"""What tests in several folders need: a MongoDB server, and programs compiled in little time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
from mongod import NO_MONGOD, Server, mongod_program

from logan_campaign.core.trust import VARIABLE

# Programs run for moments here, and compile for seconds: for less than half as long with these.
# Set before anything imports JAX; what the tests start inherits it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run tests of several minutes too")


def pytest_configure(config: pytest.Config) -> None:
    # a shell lets what it starts in the background ignore Ctrl-C, which some tests send
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --long"))


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server on a free port of loopback; yields its URI without a database."""
    if mongod_program() is None:
        pytest.skip(NO_MONGOD)
    try:
        server = Server(tmp_path_factory.mktemp("mongod"))
    except RuntimeError as err:  # a program for another system
        pytest.skip(str(err))
    with server:
        yield server.uri


@pytest.fixture
def mongo_uri(mongod: str, tmp_path: Path) -> Iterator[str]:
    """URI of an empty database, dropped afterwards."""
    name = f"test_{abs(hash(str(tmp_path))):x}"
    yield f"{mongod}/{name}"
    with pymongo.MongoClient(mongod) as client:
        client.drop_database(name)


#: Modules of the tests whose jobs and calculators run on workers of a queue.
TRUSTED = ("cluster_jobs", "faulty", "remote_jobs", "runner_zoo", "steerable")


@pytest.fixture(autouse=True)
def trusted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers of a queue call what the tests bring, as a user says for modules of their own.

    Elsewhere nothing is set, whatever ran before.
    """
    monkeypatch.delenv(VARIABLE, raising=False)
    if {"remote", "faults"} & set(request.path.parts):
        monkeypatch.setenv(VARIABLE, ",".join(TRUSTED))
