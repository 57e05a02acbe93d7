"""A jobflow-remote project and its runner, to run campaigns on and to break.

Used by the tests and by ``overhead.py``. Needs the extras ``remote`` and ``dev``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymongo
import yaml
from pymongo.errors import PyMongoError

from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store

ENDED = frozenset({"COMPLETED", "FAILED", "REMOTE_ERROR", "STOPPED", "USER_STOPPED"})


class Rig:
    """A project with local workers, and campaigns in it.

    Args:
        folder: new folder for everything.
        mongo: URI without a database.
        options: further arguments of ``remote init``.
        paths: folders that jobs import from.
    """

    def __init__(
        self, folder: Path, mongo: str, *options: str, paths: tuple[Path, ...] = ()
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.project = folder.name.replace(".", "_")
        self.uri = f"{mongo}/{self.project}"
        # batch workers start `jf` by name: with this Python, wherever its packages are
        program = folder / "bin" / "jf"
        program.parent.mkdir()
        program.write_text(f"#!{sys.executable}\nfrom jobflow_remote.cli.jf import app\n\napp()\n")
        program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "JFREMOTE_PROJECTS_FOLDER": str(folder / "projects"),
            "JFREMOTE_PROJECT": self.project,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        }
        self.environment.pop("LOGAN_CAMPAIGN_STORE", None)
        self.runners: list[subprocess.Popen[bytes]] = []
        self.closed = False
        export = [f"--export=PYTHONPATH={self.environment['PYTHONPATH']}"] if paths else []
        self.cli("remote", "init", "-p", self.project, "--mongo", self.uri, *export, *options)
        self.client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(self.uri)

    @property
    def database(self) -> Any:
        """The project's database."""
        return self.client[self.project]

    @property
    def location(self) -> str:
        """What the commands call the project."""
        return f"jf://{self.project}"

    def cli(self, *arguments: str, code: int = 0) -> str:
        """Run a command; returns its standard output, or standard error for exit code 2."""
        done = subprocess.run(
            [sys.executable, "-m", "logan_campaign", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != code:
            raise AssertionError(f"{arguments}: exit code {done.returncode}: {done.stderr}")
        return done.stderr if code == 2 else done.stdout

    def submit(self, spec: dict[str, Any] | str, *options: str) -> str:
        """Submit a campaign; returns its id."""
        path = self.folder / "spec.yaml"
        path.write_text(spec if isinstance(spec, str) else yaml.safe_dump(spec))
        return str(json.loads(self.cli("submit", str(path), "--json", *options))["id"])

    def start_runner(self) -> subprocess.Popen[bytes]:
        """Start the project's runner."""
        with (self.folder / "runner.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "logan_campaign", "remote", "start", "--foreground"],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.runners.append(process)
        return process

    def states(self) -> Counter[str]:
        """Return how many jobs are in each state; empty while the server is away."""
        try:
            groups = [{"$group": {"_id": "$state", "n": {"$sum": 1}}}]
            return Counter({g["_id"]: g["n"] for g in self.database.jobs.aggregate(groups)})
        except PyMongoError:
            return Counter()

    def wait(self, found: Callable[[], object], within_s: float = 600.0) -> Any:
        """Wait until something is found; the runner must be there meanwhile."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if result := found():
                return result
            time.sleep(0.1)
        log = (self.folder / "runner.log").read_text()[-3000:]
        raise AssertionError(f"not within {within_s:g} s; jobs: {self.states()}; runner: {log}")

    def wait_for_end(self, within_s: float = 600.0) -> None:
        """Wait until no job is left that could run."""
        self.wait(lambda: (s := self.states()) and s.keys() <= ENDED, within_s)

    def running(self, name: str) -> Path | None:
        """Return the directory of a job that is running right now, by part of its name."""
        state = {"$in": ["SUBMITTED", "RUNNING", "BATCH_SUBMITTED", "BATCH_RUNNING"]}
        query = {"state": state, "job.name": {"$regex": name}}
        for doc in self.database.jobs.find(query, ["run_dir"]):
            folder = Path(doc["run_dir"])
            if (folder / "jfremote_out.json").exists():
                return folder
        return None

    def build(self) -> None:
        """Bring the campaign database up to date."""
        with open_store(self.uri) as stores:
            CampaignBuilder.from_stores(stores).build()

    def close(self) -> None:
        """Stop the runners and the jobs that are left; a second time does nothing."""
        if self.closed:
            return
        self.closed = True
        for process in self.runners:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.runners:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in processes_in(self.folder):
            os.kill(pid, signal.SIGKILL)
        self.client.drop_database(self.project)
        self.client.close()


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is below a folder, by /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended, or belongs to somebody else
    return found
