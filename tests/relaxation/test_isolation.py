"""Isolated relaxations: a crash, a hang, hunger or a kill costs one candidate, no more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.relaxation.checkpoint import Checkpoint
from logan_campaign.relaxation.levels import XTBLevel
from logan_campaign.relaxation.run import relax, relaxation_key


def n_lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_isolation_does_not_change_the_result(misbehaving, triangle, tmp_path):
    here = relax(triangle, misbehaving())
    there = relax(triangle, misbehaving(isolate=True), workdir=tmp_path)
    assert here.state == there.state == "converged"
    np.testing.assert_allclose(
        here.trajectory["positions"], there.trajectory["positions"], atol=1e-12
    )
    np.testing.assert_allclose(here.energies_ev, there.energies_ev, atol=1e-12)


def test_a_finished_relaxation_is_read_and_not_repeated(misbehaving, triangle, tmp_path):
    log = tmp_path / "log"
    level = misbehaving(isolate=True, log=str(log))
    first = relax(triangle, level, workdir=tmp_path)
    n = n_lines(log)
    second = relax(triangle, level, workdir=tmp_path)
    assert n_lines(log) == n > 0
    assert second.state == first.state
    assert second.energies_ev == first.energies_ev


def test_another_level_or_start_has_another_folder(misbehaving, triangle):
    moved = triangle.copy()
    moved.translate_sites(vector=[0, 0, 1e-3])
    keys = {
        relaxation_key(triangle, XTBLevel()),
        relaxation_key(triangle, XTBLevel(fmax=0.01)),
        relaxation_key(moved, XTBLevel()),
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("trouble", "state", "words"),
    [
        ("exit", "calculator_crashed", "exit code 3"),
        ("segfault", "calculator_crashed", "SIGSEGV"),
        ("raise", "calculator_crashed", "KeyError"),
        ("hog", "out_of_memory", "memory"),
    ],
)
def test_a_worker_that_breaks_is_a_state(misbehaving, triangle, tmp_path, trouble, state, words):
    level = misbehaving(trouble=trouble, at=3, isolate=True, max_memory_mb=1200)
    outcome = relax(triangle, level, workdir=tmp_path)
    assert outcome.state == state
    assert words in outcome.reason
    assert "\n" not in outcome.reason
    assert outcome.n_steps == 1  # what was done before is kept
    assert np.isfinite(outcome.energies_ev).all()


def test_a_worker_that_hangs_is_stopped_at_its_budget(misbehaving, triangle, tmp_path):
    level = misbehaving(trouble="hang", at=3, isolate=True, max_time_s=5.0)
    began = time.monotonic()
    outcome = relax(triangle, level, workdir=tmp_path)
    assert outcome.state == "timed_out"
    assert 4.5 < time.monotonic() - began < 10.0
    assert outcome.n_steps == 1


def test_a_slow_worker_stops_itself_before_its_budget_ends(misbehaving, triangle, tmp_path):
    level = misbehaving(delay_s=0.8, isolate=True, max_time_s=10.0, fmax=1e-9)
    outcome = relax(triangle, level, workdir=tmp_path)
    assert outcome.state == "not_converged"
    assert outcome.n_steps >= 2


@pytest.mark.parametrize("optimizer", ["FIRE", "BFGS"])
def test_a_worker_killed_again_and_again_arrives_where_it_would_have(
    misbehaving, triangle, tmp_path, optimizer
):
    budget = {"optimizer": optimizer, "fmax": 1e-9, "max_steps": 11}
    undisturbed = relax(triangle, misbehaving(**budget))
    assert undisturbed.n_steps == 11
    log = tmp_path / "log"
    # Each evaluation number kills once: the second of the first worker, the third of the next …
    level = misbehaving(
        trouble="kill",
        at=2,
        once=str(tmp_path / "killed"),
        log=str(log),
        isolate=True,
        **budget,
    )
    outcome = relax(triangle, level, workdir=tmp_path)
    n_kills = len(list(tmp_path.glob("killed.*")))
    assert n_kills >= 3
    assert outcome.state == undisturbed.state
    np.testing.assert_allclose(
        outcome.structure.cart_coords, undisturbed.structure.cart_coords, atol=1e-6
    )
    assert outcome.energies_ev == pytest.approx(undisturbed.energies_ev, abs=1e-9)
    # Each kill lost the step it was in and evaluated the last frame again.
    assert n_lines(log) == outcome.n_steps + 1 + 2 * n_kills


def test_a_worker_that_is_always_killed_is_given_up(misbehaving, triangle, tmp_path):
    log = tmp_path / "log"
    level = misbehaving(trouble="kill", isolate=True, log=str(log))
    outcome = relax(triangle, level, workdir=tmp_path)
    assert outcome.state == "out_of_memory"
    assert "SIGKILL 3 times" in outcome.reason
    assert n_lines(log) == 3


RUNNER = """
import json, sys
from pymatgen.core import Molecule
from logan_campaign.core import progress
from logan_campaign.relaxation.levels import parse_level
from logan_campaign.relaxation.run import relax
job = json.loads(sys.argv[1])
with progress.listening(lambda report: print(report.completed, flush=True)):
    relax(Molecule(job["species"], job["positions"]), parse_level(job["level"]), workdir=job["dir"])
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_parent_takes_its_worker_along_and_loses_one_step(misbehaving, triangle, tmp_path):
    log = tmp_path / "log"
    level = misbehaving(isolate=True, log=str(log), delay_s=0.05, fmax=1e-3)
    job = {
        "species": [site.specie.symbol for site in triangle],
        "positions": triangle.cart_coords.tolist(),
        "level": level.model_dump(mode="json"),
        "dir": str(tmp_path),
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, json.dumps(job)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as parent:
        for line in parent.stdout:
            if int(line) == 4:
                parent.send_signal(signal.SIGKILL)
                break
    worker = int(log.read_text().split()[0])
    deadline = time.monotonic() + 5.0
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)
    n_before = n_lines(log)

    outcome = relax(triangle, level, workdir=tmp_path)
    undisturbed = relax(triangle, misbehaving(fmax=1e-3))
    assert outcome.state == undisturbed.state == "converged"
    assert outcome.energies_ev == pytest.approx(undisturbed.energies_ev, abs=1e-9)
    assert n_before >= 5
    # One evaluation may have been lost, and the last frame is evaluated again.
    assert n_lines(log) <= outcome.n_steps + 1 + 2


def test_a_frame_cut_short_is_not_seen(triangle, misbehaving, tmp_path):
    level = misbehaving(isolate=True, max_steps=4, fmax=1e-9)
    outcome = relax(triangle, level, workdir=tmp_path)
    path = next(tmp_path.glob("relax-*")) / "relax.traj"
    with path.open("ab") as file:
        file.write(b"\0half a frame")
    checkpoint = Checkpoint(path, to_atoms(triangle))
    frames, note = checkpoint.load()
    assert len(frames) == outcome.n_steps + 1 == 5
    checkpoint.append(frames[-1], note)
    checkpoint.close()
    again, _ = checkpoint.load()
    assert len(again) == 6
    np.testing.assert_array_equal(again[-1].positions, frames[-1].positions)


def test_a_trajectory_that_cannot_be_read_is_put_aside(triangle, misbehaving, tmp_path):
    level = misbehaving(isolate=True, max_steps=2, fmax=1e-9)
    folder = tmp_path / relaxation_key(triangle, level)
    folder.mkdir()
    (folder / "relax.traj").write_bytes(b"- of Ulm")
    outcome = relax(triangle, level, workdir=tmp_path)
    assert outcome.n_steps == 2
    assert (folder / "relax.damaged").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_line(triangle, misbehaving, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LoganCampaignError, match="cannot write") as caught:
        relax(triangle, misbehaving(isolate=True), workdir=tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_no_fault_of_the_candidate(triangle, misbehaving, tmp_path):
    with pytest.raises(LoganCampaignError, match=r"cannot read or write its files: .*too large"):
        relax(triangle, misbehaving(trouble="quota", at=2, isolate=True), workdir=tmp_path)


def test_what_took_its_process_along_is_isolated_when_started_again(
    misbehaving, triangle, tmp_path
):
    level = misbehaving(trouble="exit", at=2, isolate=False)
    (tmp_path / f"{relaxation_key(triangle, level)}.running").touch()  # what is left of it
    outcome = relax(triangle, level, workdir=tmp_path)
    assert outcome.state == "calculator_crashed"
    assert "exit code 3" in outcome.reason


def test_a_relaxation_in_this_process_leaves_no_trace(misbehaving, triangle, tmp_path):
    assert relax(triangle, misbehaving(), workdir=tmp_path).state == "converged"
    assert not list(tmp_path.iterdir())
