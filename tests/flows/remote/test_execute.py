"""A worker's job comes to its end: killed, hanging, started twice or without disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jobflow_remote", reason="needs the extra 'remote'")

from jobflow import Job, JobStore
from jobflow_remote.remote.data import get_remote_in_file, get_remote_store
from maggma.stores import MemoryStore
from remote_jobs import append, environments

from logan_campaign.flows.remote import execute

HERE = Path(__file__).parent


def prepared(folder: Path, job: Job) -> Path:
    """Make a job's directory as the runner does."""
    folder.mkdir()
    store = get_remote_store(JobStore(MemoryStore()), folder, None)
    (folder / execute.IN_NAME).write_bytes(get_remote_in_file(job.as_dict(), store).read())
    return folder


def started(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "logan_campaign.flows.remote.execute", str(folder)],
        env={**os.environ, "PYTHONPATH": str(HERE), **environment},
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )


def result(folder: Path) -> dict[str, Any]:
    found = execute.outcome(folder)
    assert found is not None
    return found


def output(folder: Path) -> Any:
    return json.loads((folder / "remote_job_data.json").read_text())[0]["output"]


def test_killed_process_is_tried_again_and_the_job_runs_once(tmp_path: Path) -> None:
    note = tmp_path / "note"
    folder = prepared(tmp_path / "job", append(str(note), die=1, then_sleep_s=1.0))
    both = [started(folder), started(folder)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert result(folder)["error"] is None
    assert output(folder) == 2  # the second attempt's, and no third
    assert note.read_text() == "ran\nran\n"


def test_job_that_always_dies_or_hangs_fails_with_one_line(tmp_path: Path) -> None:
    note = tmp_path / "note"
    # kills itself first, then does not end
    job = append(str(note), die=1, then_sleep_s=1000.0)
    folder = prepared(tmp_path / "job", job)
    limit = {"LOGAN_CAMPAIGN_TIME_LIMIT_S": "7"}
    begun = time.monotonic()
    assert started(folder, **limit).wait(120) == 0
    assert time.monotonic() - begun < 60
    error = result(folder)["error"]
    assert "did not end within 7 s" in error
    assert "killed" in error or "signal 9" in error
    assert "\n" not in error
    assert note.read_text() == "ran\nran\n"


def test_no_process_of_a_job_has_a_secret_in_its_environment(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "job", environments())
    secrets = {"LOGAN_CAMPAIGN_MONGO_PASSWORD": "s3cret", "MP_API_KEY": "s3cret"}
    kept = {"OMP_NUM_THREADS": "1"}
    assert started(folder, **secrets, **kept).wait(120) == 0
    found = output(folder)
    assert found
    assert all("OMP_NUM_THREADS" in each for each in found)
    assert not any("s3cret" in each or "API_KEY" in each for each in found)


def test_job_ends_with_what_watches_over_it(tmp_path: Path) -> None:
    note = tmp_path / "note"
    folder = prepared(tmp_path / "job", append(str(note), sleep_s=1000.0))
    process = started(folder)
    deadline = time.monotonic() + 60
    while not note.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    from remote_rig import processes_in

    deadline = time.monotonic() + 10
    while processes_in(folder):
        assert time.monotonic() < deadline, "the job has outlived its executor"
        time.sleep(0.05)
    assert execute.outcome(folder) is None


def test_full_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / execute.IN_NAME).write_text("{}")
    free = iter([0, 0, 10**12, 10**12, 10**12, 10**12])
    looked: list[int] = []

    def usage(path: Path) -> Any:
        looked.append(next(free))
        return shutil._ntuple_diskusage(10**12, 0, looked[-1])  # type: ignore[attr-defined]

    errors = iter(["OSError: [Errno 28] No space left on device", None])

    def attempt(run_dir: Path, limit_s: float) -> str:
        error = next(errors)
        (run_dir / execute.OUT_NAME).write_text(
            json.dumps({"error": error, "response": None if error else {"output": 1}})
        )
        return "ended with exit code 0"

    monkeypatch.setattr(execute.shutil, "disk_usage", usage)
    monkeypatch.setattr(execute, "_attempt", attempt)
    monkeypatch.setattr(execute, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(execute, "_die_with_parent", lambda: None)
    assert execute.execute(folder) == 0
    assert result(folder)["error"] is None
    assert len(looked) >= 3
    assert "no space left" in capsys.readouterr().err


def test_output_of_an_earlier_run_is_none(tmp_path: Path) -> None:
    (tmp_path / execute.OUT_NAME).write_text('{"response": {"output": null}}')
    os.utime(tmp_path / execute.OUT_NAME, (1, 1))
    (tmp_path / execute.IN_NAME).write_text("{}")
    assert execute.outcome(tmp_path) is None
    (tmp_path / execute.OUT_NAME).write_text('{"response": {"outp')  # cut off
    assert execute.outcome(tmp_path) is None
    (tmp_path / execute.OUT_NAME).write_text('{"start_time": 1}')  # killed
    assert execute.outcome(tmp_path) is None
    (tmp_path / execute.OUT_NAME).write_text('{"response": {"output": null}}')
    assert execute.outcome(tmp_path) is not None
