"""Whatever breaks while a campaign runs in a queue, it ends as if nothing had broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fault_tools import MakeRig, Undisturbed, assert_same, kill_job, spec
from mongod import Server
from remote_rig import processes_in

#: Long enough to be killed in.
SLOW = {"kwargs": {"delay_s": 3.0}}


@pytest.mark.long
def test_campaign_ends_as_undisturbed_though_job_runner_and_server_are_killed(
    make_rig: MakeRig, undisturbed: Undisturbed, server: Server
) -> None:
    rig = make_rig("--worker", "one", "--worker", "two")
    rig.submit(spec(**SLOW), "--place", "relax=two")
    runner = rig.start_runner()
    rig.wait(lambda: rig.running("^train"))
    runner.kill()
    runner.wait()
    rig.start_runner()
    kill_job(rig.wait(lambda: rig.running("^relax")))
    server.kill()
    time.sleep(1.0)
    server.start()
    rig.wait_for_end()
    assert_same(undisturbed(spec(**SLOW)), rig)
    placed = {doc["job"]["name"]: doc["worker"] for doc in rig.database.jobs.find()}
    assert {worker for name, worker in placed.items() if name.startswith("relax ")} == {"two"}
    assert {worker for name, worker in placed.items() if not name.startswith("relax ")} == {"one"}


@pytest.mark.long
def test_killed_job_runs_again(make_rig: MakeRig, undisturbed: Undisturbed) -> None:
    rig = make_rig()
    rig.submit(spec(**SLOW))
    rig.start_runner()
    folder = rig.wait(lambda: rig.running("^relax"))
    kill_job(folder)
    rig.wait_for_end()
    assert not rig.states()["FAILED"]
    assert_same(undisturbed(spec(**SLOW)), rig)


@pytest.mark.long
def test_killed_batch_process_costs_nothing(make_rig: MakeRig, undisturbed: Undisturbed) -> None:
    rig = make_rig("--batch")
    rig.submit(spec(**SLOW))
    rig.start_runner()
    rig.wait(lambda: rig.running("^relax"))
    for pid in processes_in(rig.folder / "projects" / rig.project / "work" / "local.batch"):
        os.kill(pid, signal.SIGKILL)
    rig.wait_for_end()
    assert_same(undisturbed(spec(**SLOW)), rig)


@pytest.mark.long
def test_two_runners_started_by_mistake_do_no_harm(
    make_rig: MakeRig, undisturbed: Undisturbed
) -> None:
    rig = make_rig("--max-jobs", "2")
    rig.submit(spec(**SLOW))
    rig.start_runner()
    rig.wait(lambda: rig.database.jf_auxiliary.find_one({"running_runner.logan_pid": {"$gt": 0}}))
    assert "has a runner" in rig.cli("remote", "start", code=2)
    second = rig.start_runner()  # past that check, as from another terminal
    assert second.wait(60) == 2
    # and two of jobflow-remote's own, which know nothing of each other
    code = "from jobflow_remote.jobs.runner import Runner; Runner().run(ticks=400)"
    others = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=rig.environment, stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    try:
        rig.wait_for_end()
    finally:
        for process in others:
            process.kill()
            process.wait()
    assert_same(undisturbed(spec(**SLOW)), rig)


@pytest.mark.long
def test_job_that_always_fails_costs_its_candidate_only(
    make_rig: MakeRig, undisturbed: Undisturbed
) -> None:
    # one candidate's first geometry ends its process: in any process, and on this machine too
    distances = undisturbed(spec(**SLOW))
    assert len(distances["candidates"]) == 3
    deadly = spec("faulty:DiesOften", kwargs={"deadly": 1.3})
    one = undisturbed(deadly)
    rig = make_rig()
    rig.submit(deadly)
    rig.start_runner()
    rig.wait_for_end()
    assert_same(one, rig)


@pytest.mark.long
def test_job_that_hangs_is_ended_at_its_time_limit_and_tried_again(
    make_rig: MakeRig, undisturbed: Undisturbed
) -> None:
    once = spec("faulty:HangsOnce")
    rig = make_rig()
    rig.submit({**once, "workers": {"relax": {"time_limit_s": 20}}})
    rig.start_runner()
    rig.wait_for_end()
    rig.build()
    # the same geometries and energies as a calculator that never hangs
    one = {k: v["energy_ev"] for k, v in undisturbed(spec())["candidates"].items()}
    from kill_resume import contents

    other = {k: v["energy_ev"] for k, v in contents(rig.uri, "small")["candidates"].items()}
    assert sorted(one.values()) == pytest.approx(sorted(other.values()))


@pytest.mark.long
def test_full_disk_of_the_work_directory_is_waited_for(
    make_rig: MakeRig, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(work)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        rig = make_rig("--work-dir", str(work), "--export", "LOGAN_CAMPAIGN_MIN_FREE_MB=4")
        rig.submit(spec(**SLOW))
        rig.start_runner()
        rig.wait(lambda: rig.running("^relax"))
        filler = os.open(work / "filler", os.O_WRONLY | os.O_CREAT)
        with suppress(OSError):  # no space left
            while True:
                os.write(filler, b"\0" * 4096)
        os.close(filler)
        time.sleep(30)
        assert "COMPLETED" in rig.states()
        assert rig.states().keys() - {"COMPLETED"}, "it went on with a full disk"
        (work / "filler").unlink()
        rig.wait_for_end()
        assert_same(undisturbed(spec(**SLOW)), rig)
        rig.close()
    finally:
        subprocess.run(["umount", "-l", str(work)], check=False)
