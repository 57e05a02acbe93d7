"""A real server, real runners and real worker processes, for the faults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("jobflow_remote", reason="needs the extra 'remote'")

from fault_tools import MakeRig
from kill_resume import contents
from mongod import NO_MONGOD, Server, mongod_program
from remote_rig import Rig

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests' own: it gets killed."""
    if mongod_program() is None:
        pytest.skip(NO_MONGOD)
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def make_rig(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeRig]:
    """Return what makes projects; their runners and jobs end with the test."""
    made: list[Rig] = []

    def make(*options: str) -> Rig:
        name = f"{request.node.name[5:30]}{len(made)}".replace("[", "-").replace("]", "")
        made.append(Rig(tmp_path / name, server.uri, *options, paths=(HERE,)))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Return what gives the contents of a campaign that ran on this machine without trouble."""
    done: dict[str, dict[str, Any]] = {}

    def run(content: dict[str, Any]) -> dict[str, Any]:
        text = yaml.safe_dump(content)
        if text not in done:
            folder = tmp_path_factory.mktemp("undisturbed")
            (folder / "spec.yaml").write_text(text)
            command = [sys.executable, "-m", "logan_campaign", "run", "spec.yaml", "--store"]
            environment = {**os.environ, "PYTHONPATH": str(HERE)}
            subprocess.run([*command, str(folder), "-q"], cwd=folder, env=environment, check=True)
            done[text] = contents(str(folder), content["name"])
        return done[text]

    return run
