"""Campaigns and single jobs on a real SLURM and behind a real SSH server, and what breaks there."""

from __future__ import annotations

import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobflow_remote
import numpy as np
import pytest
from cluster_jobs import arrays, note
from fault_tools import MakeRig, Undisturbed, assert_same, kill_job, spec
from jobflow import Flow
from remote_rig import Rig
from slurm_rig import Slurm, Sshd, program

from logan_campaign.flows.remote.project import connected, load_project

pytestmark = pytest.mark.long

#: Long enough to be killed in.
SLOW = {"kwargs": {"delay_s": 3.0}}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    if program("slurmctld") is None or program("slurmd") is None:
        pytest.skip("no SLURM (Debian: slurm-wlm)")
    with Slurm(tmp_path / "slurm") as servers:
        monkeypatch.setenv("SLURM_CONF", servers.environment["SLURM_CONF"])
        yield servers


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if program("sshd") is None:
        pytest.skip("no SSH server (Debian: openssh-server)")
    with Sshd(tmp_path / "sshd") as server:
        yield server


def on_slurm(make_rig: MakeRig, *options: str, limit: str = "00:10:00") -> Rig:
    where = ("--scheduler", "slurm", "--partition", "main", "--nodes", "1", "--time", limit)
    return make_rig(*where, *options)


def add(rig: Rig, *jobs: Any) -> None:
    """Put single jobs into the queue of a rig."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobflow_remote.SETTINGS, "projects_folder", str(rig.folder / "projects"))
        project = load_project(rig.project)
        with connected(project) as controller:
            controller.add_flow(Flow(list(jobs)), worker=next(iter(project.workers)))


def job(rig: Rig) -> dict[str, Any]:
    """Return the only job of a rig."""
    (doc,) = rig.database.jobs.find()
    return dict(doc)


def test_campaign_on_slurm_ends_as_undisturbed_though_a_worker_is_killed(
    make_rig: MakeRig, undisturbed: Undisturbed, slurm: Slurm
) -> None:
    rig = on_slurm(make_rig, "--max-jobs", "2")
    rig.submit(spec(**SLOW))
    rig.start_runner()
    kill_job(rig.wait(lambda: rig.running("^relax")))
    rig.wait_for_end(1800)
    assert_same(undisturbed(spec(**SLOW)), rig)


def test_scancel_is_respected_and_the_candidate_says_so(make_rig: MakeRig, slurm: Slurm) -> None:
    rig = on_slurm(make_rig, "--max-jobs", "2")
    rig.submit(spec(kwargs={"delay_s": 20.0}))
    rig.start_runner()
    query = {"state": "RUNNING", "job.name": {"$regex": "^relax fast"}}
    doc = rig.wait(lambda: rig.database.jobs.find_one(query), 1800)
    slurm.ask("scancel", doc["remote"]["process_id"])
    rig.wait_for_end(1800)
    rig.build()
    reasons = [c["reason"] for c in rig.database.candidates.find({"state": "failed"})]
    assert len(reasons) == 1
    assert "cancelled in the scheduler's queue (scancel)" in reasons[0]
    assert rig.database.logan_campaign_restarts.count_documents({"n": {"$gt": 0}}) == 0


def test_job_over_its_time_limit_is_tried_once_more_with_a_longer_one(
    make_rig: MakeRig, slurm: Slurm
) -> None:
    rig = on_slurm(make_rig, limit="00:01:00")
    add(rig, note(str(rig.folder / "notes"), hang_s=1000.0))
    rig.start_runner()
    rig.wait_for_end(600)
    assert job(rig)["state"] == "COMPLETED"
    assert job(rig)["resources"]["time"] == "0-0:2:0"
    assert (rig.folder / "notes").read_text() == "started\nstarted\nended\n"


def test_job_over_its_time_limit_twice_fails_with_that_reason(
    make_rig: MakeRig, slurm: Slurm
) -> None:
    rig = on_slurm(make_rig, limit="00:01:00")
    add(rig, note(str(rig.folder / "notes"), hang_s=1000.0, always=True))
    rig.start_runner()
    rig.wait_for_end(900)
    assert job(rig)["state"] == "FAILED"
    assert job(rig)["error"] == (
        "the job did not end within the scheduler's time limit (tried 2 times)"
    )
    assert (rig.folder / "notes").read_text() == "started\n" * 2


def test_jobs_for_a_drained_node_say_why_they_wait_and_go_on_later(
    make_rig: MakeRig, slurm: Slurm
) -> None:
    rig = on_slurm(make_rig)
    about = ("scontrol", "update", f"nodename={slurm.node}")
    slurm.ask(*about, "state=drain", "reason=disk is replaced")
    assert f"{slurm.node}: disk is replaced" in rig.cli("remote", "check", code=1)
    rig.submit(spec())
    rig.start_runner()
    rig.wait(lambda: f"{slurm.node}: disk is replaced" in rig.cli("status", rig.location), 300)
    slurm.ask(*about, "state=resume")
    rig.wait(lambda: "COMPLETED" in rig.states())


def test_allocation_that_ends_in_the_middle_of_a_batch_costs_nothing(
    make_rig: MakeRig, slurm: Slurm
) -> None:
    rig = on_slurm(make_rig, "--batch", limit="00:01:00")
    paths = [str(rig.folder / f"notes{n}") for n in range(3)]
    add(rig, *(note(path, hang_s=25.0, always=True) for path in paths))
    rig.start_runner()
    rig.wait(lambda: set(rig.states()) == {"COMPLETED"}, 900)
    assert rig.database.batches.count_documents({}) > 1
    assert {Path(path).read_text().splitlines()[-1] for path in paths} == {"ended"}


@pytest.fixture
def reached(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The SSH server, with the user's key in ``~/.ssh/config``."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text(f"Host 127.0.0.1\n  IdentityFile {sshd.key}\n")
    monkeypatch.setenv("HOME", str(home))
    return sshd


def test_large_documents_pass_ssh_in_and_out_though_the_network_is_lost(
    make_rig: MakeRig, reached: Sshd, tmp_path: Path
) -> None:
    there = ("--host", reached.host, "--work-dir", str(tmp_path / "there"))
    rig = make_rig(*there, "--trust", "cluster_jobs")
    first = arrays(9, sleep_s=10.0)
    second = arrays(9, first.output)
    add(rig, first, second)
    rig.start_runner()
    rig.wait(lambda: rig.states()["RUNNING"])
    reached.cut()
    time.sleep(20)
    reached.restart()
    rig.wait_for_end(1800)
    assert set(rig.states()) == {"COMPLETED"}
    (last,) = rig.database.outputs.find({"uuid": second.uuid})
    assert last["output"]["size"] == 9 * 2**20 / 8
    assert np.isclose(last["output"]["sum"], 9 * 2**20 / 8)


def shape(text: str) -> list[str]:
    """Return lines of a transcript without what differs from machine to machine."""
    lines = (re.sub(r"\S*[/\d]\S*", "…", line).split() for line in text.splitlines())
    return [" ".join(words) for words in lines if words]


def as_documented(rig: Rig, project: str, code: int = 0, **values: str) -> None:
    """Run a command of the documents, with some values replaced, and compare what it prints."""
    page = Path(__file__).parents[2] / "docs" / "howto" / "remote.md"
    command = rf"^\$ logan-campaign (remote init --project {project} .*)\n((?s:.)*?)^```"
    line, said = re.search(command, page.read_text(), re.MULTILINE).groups()
    words = shlex.split(line)
    for option, value in {"mongo": f"{rig.uri}_{project}", **values}.items():
        words[words.index(f"--{option}") + 1] = value
    node = socket.gethostname().split(".")[0]
    assert shape(re.sub(rf"\b{node}\b", "node1", rig.cli(*words, code=code))) == shape(said)


def test_transcripts_of_slurm_are_what_the_commands_print(make_rig: MakeRig, slurm: Slurm) -> None:
    rig = make_rig()
    as_documented(rig, "cluster")
    slurm.ask(
        *("scontrol", "update", f"nodename={slurm.node}", "state=drain"), "reason=disk is replaced"
    )
    as_documented(rig, "drained", code=1)


def test_transcript_of_ssh_is_what_the_command_prints(
    make_rig: MakeRig, reached: Sshd, tmp_path: Path
) -> None:
    place = {"host": reached.host, "work-dir": str(tmp_path / "there"), "python": sys.executable}
    as_documented(make_rig(), "far", **place)
