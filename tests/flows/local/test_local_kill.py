"""A run may be killed at any moment; the next one goes on, and nothing is done twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import runner_zoo
from jobflow import JobStore
from runner_tools import live_processes, outputs, run_by_jobflow, wait_until

from logan_campaign.core.errors import StoreError
from logan_campaign.flows.local import Ledger, flow_status, run_flow
from logan_campaign.stores.open import open_store

SCRIPT = Path(__file__).with_name("runner_process.py")


class Runner:
    """A runner in a process of its own; a context that leaves no process behind."""

    def __init__(self, folder: Path, flow: str, workers: int = 2) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), flow, str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def wait_for(self, word: str, times: int = 1) -> None:
        for line in self.process.stdout:
            times -= line.strip() == word
            if not times:
                return
        pytest.fail(f"no {word}: {self.process.stderr.read()}")

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def no_process_left(folder: Path, within_s: float = 1.0) -> bool:
    wait_until(lambda: not list(live_processes(folder / "work")), within_s)
    return True


def test_flow_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    moments = random.Random(7)
    kills, finished = 0, [0]
    for _ in range(10):
        with Runner(tmp_path, "growing") as runner:
            runner.wait_for("RunStarted")
            if kills < 4:
                # Workers take a moment to start; after that, any moment is as good.
                runner.wait_for("JobStarted")
                time.sleep(moments.uniform(0, 0.5))
                runner.process.kill()
            code, _, err = runner.end()
        if code == 0:
            break
        assert code == -signal.SIGKILL, err
        kills += 1
        assert no_process_left(tmp_path), "workers have outlived their runner"
        with open_store(tmp_path / "campaign") as stores:
            finished.append(len(list(Ledger(stores.ledger, "killed").entries())))
    assert kills == 4
    assert finished == sorted(finished)
    assert finished[-1] > 0

    with open_store(tmp_path / "campaign") as stores:
        store = JobStore(stores.docs, additional_stores={"data": stores.data})
        entries = list(Ledger(stores.ledger, "killed").entries())
        assert flow_status(Ledger(stores.ledger, "killed")).finished
        assert outputs(store) == run_by_jobflow(runner_zoo.growing())
        assert stores.data.count() == 13, "blobs are missing or doubled"
        documents = Counter((d["uuid"], d["index"]) for d in store.query({}, properties=["uuid"]))
    assert set(documents.values()) == {1}
    assert {(e["uuid"], e["index"]) for e in entries} == set(documents)
    assert len(entries) == len(documents)
    assert len({e["order"] for e in entries}) == len(entries)
    assert not [path for path in (tmp_path / "work").iterdir() if path.is_dir()]


def test_killed_runner_leaves_no_process_and_jobs_find_their_directories_again(tmp_path):
    with Runner(tmp_path, "held") as runner:
        runner.wait_for("JobFinished")
        work = tmp_path / "work"
        wait_until(lambda: list(work.glob("*/note.txt")))
        # two workers, and what the job has started
        wait_until(lambda: len(list(live_processes(work))) == 3)
        with open_store(tmp_path / "campaign") as stores:
            ledger = Ledger(stores.ledger, "killed")
            status = flow_status(ledger, work)
            pid = runner.process.pid
            with pytest.raises(StoreError, match=rf"'killed' is already running \(pid {pid}\)"):
                run_flow(None, jobstore=JobStore(stores.docs), ledger=ledger, work_dir=work)
        assert status.counts["completed"] == 1
        assert status.pid == pid
        runner.process.kill()
        runner.end()
        assert no_process_left(tmp_path)
    with Runner(tmp_path, "held") as runner:
        assert runner.end()[0] == 0
    with open_store(tmp_path / "campaign") as stores:
        assert outputs(JobStore(stores.docs)) == ["add 1 2", "checkpointed 1 true"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_run_at_once_and_the_same_command_goes_on(tmp_path, number, code):
    with Runner(tmp_path, "short_and_long") as runner:
        runner.wait_for("JobFinished")
        sent = time.monotonic()
        runner.process.send_signal(number)
        returned, out, err = runner.end()
        assert time.monotonic() - sent < 5
    assert returned == code
    assert "the same command continues from here" in out.splitlines()[-1]
    assert err == ""
    assert no_process_left(tmp_path)
    with open_store(tmp_path / "campaign") as stores:
        status = flow_status(Ledger(stores.ledger, "killed"), tmp_path / "work")
    assert status.counts == {"completed": 1, "ready": 1}
    assert status.pid is None
