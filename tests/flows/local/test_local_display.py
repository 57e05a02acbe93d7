"""What a person sees of a run."""

from __future__ import annotations

import io
import re
from datetime import datetime

import pytest
from rich.console import Console

from logan_campaign.core.progress import Progress
from logan_campaign.flows.local import (
    Display,
    JobFailed,
    JobFinished,
    JobKey,
    JobProgress,
    JobStarted,
    RunStarted,
    RunSummary,
    StageCount,
    Tick,
    display,
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move by hand."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(display, "time", clock)
    return clock


def two_of_four(show, clock):
    """Half of four jobs in 100 s, then half of the third in 50 s."""
    keys = [JobKey(str(i), 1) for i in range(4)]
    show(RunStarted({"train": StageCount(0, 4)}))
    for i, key in enumerate(keys[:2]):
        show(JobStarted(key, f"train {i}", "train", 0))
        clock.now += 50
        show(JobFinished(key, f"train {i}", 50.0, {"train": StageCount(i + 1, 4)}))
    show(JobStarted(keys[2], "train 2", "train", 0))
    show(JobProgress(keys[2], "train 2", Progress("train", 0, 4000, "")))
    for step in (1000, 2000):
        clock.now += 12.5
        show(JobProgress(keys[2], "train 2", Progress("train", step, 4000, "wasserstein 0.1")))


STAMPED = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)"


def shown(**console):
    text = io.StringIO()
    return text, Display(Console(file=text, width=120, **console))


def test_line_gives_stages_jobs_and_the_time_left(clock):
    text, show = shown()
    with show:
        two_of_four(show, clock)
    # 2.5 of 4 jobs in 125 s: 75 s for the others
    expected = "train 2/4 (0:01:15 left); train 2: 2000/4000 wasserstein 0.1"
    stamp, told = re.fullmatch(STAMPED, text.getvalue().splitlines()[-1]).groups()
    assert datetime.fromisoformat(stamp) <= datetime.now()
    assert told == f"0:02:05 elapsed; {expected}"


def test_line_comes_every_few_seconds_and_only_when_there_is_news(clock):
    text, show = shown()
    with show:
        show(RunStarted({"add": StageCount(0, 100)}))
        show(JobStarted(JobKey("a", 1), "add", "add", 0))
        for i in range(50):
            clock.now += 0.2
            show(JobFinished(JobKey("a", 1), "add", 0.2, {"add": StageCount(i + 1, 100)}))
        assert len(text.getvalue().splitlines()) == 2
        for _ in range(50):
            show(Tick())
        assert len(text.getvalue().splitlines()) == 2


def test_bars_on_a_terminal_show_the_same_and_vanish(clock):
    text, show = shown(force_terminal=True, color_system=None)
    with show:
        two_of_four(show, clock)
        drawn = text.getvalue()
    for part in ("train", "2/4", "0:01:15", "train 2", "2000/4000", "0:00:25", "wasserstein 0.1"):
        assert part in drawn
    assert text.getvalue().endswith("\x1b[2K"), "the bars have stayed"


def test_stage_that_a_run_goes_on_with_counts_only_what_this_run_did(clock):
    _, show = shown()
    show(RunStarted({"relax": StageCount(50, 100)}))
    key = JobKey("a", 1)
    for ended in (51, 52):
        show(JobStarted(key, "relax", "relax", 0))
        clock.now += 10
        show(JobFinished(key, "relax", 10.0, {"relax": StageCount(ended, 100)}))
    assert show.line() == "relax 52/100 (0:08:00 left)"


def test_what_a_job_does_next_has_a_time_left_of_its_own(clock):
    _, show = shown()
    key = JobKey("a", 1)
    show(RunStarted({"train": StageCount(0, 1)}))
    show(JobStarted(key, "train 0", "train", 0))
    for task, each in (("train", 1.0), ("sample", 20.0)):
        for step in range(4):
            clock.now += each
            show(JobProgress(key, "train 0", Progress(task, step, 4, "")))
    (bar,) = show._jobs.values()
    assert bar.time_remaining == 20.0
    assert show.line().startswith("train 0/1")


def test_steps_of_a_relaxation_say_nothing_of_the_time_left(clock):
    """Relaxations end long before the most steps: only those that have ended count."""
    _, show = shown()
    keys = [JobKey(str(i), 1) for i in range(4)]
    show(RunStarted({"relax": StageCount(0, 4)}))
    show(JobStarted(keys[0], "relax a", "relax", 0))
    clock.now += 30
    show(JobProgress(keys[0], "relax a", Progress("relax", 9, 0, "step 9, -5.100 eV")))
    assert show.line() == "relax 0/4; relax a: step 9, -5.100 eV"
    clock.now += 10
    for ended, key in enumerate(keys[:2]):
        show(JobFinished(key, "relax", 40.0, {"relax": StageCount(ended + 1, 4)}))
        show(JobStarted(keys[ended + 1], "relax", "relax", 0))
        clock.now += 40
    assert show.line() == "relax 2/4 (0:01:20 left)"


def test_job_of_several_relaxations_counts_those_that_have_ended(clock):
    _, show = shown()
    key = JobKey("a", 1)
    show(RunStarted({"relax": StageCount(0, 1)}))
    show(JobStarted(key, "relax 4 candidates", "relax", 0))
    for ended in range(3):
        show(JobProgress(key, "relax 4 candidates", Progress("relaxed", ended, 4)))
        show(JobProgress(key, "relax 4 candidates", Progress("relax", 1, 0, "step 1")))
        clock.now += 10
    assert show.line() == "relax 0/1 (0:00:20 left); relax 4 candidates: 2/4 step 1"


def test_what_was_found_so_far_is_told_and_nothing_is_wider_than_the_terminal(clock):
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, color_system=None)
    with Display(console) as show:
        show.found = "found 3 (1 new), best -568.391 eV at xtb"
        show(RunStarted({"relax xtb": StageCount(0, 4)}))
        key = JobKey("a", 1)
        show(JobStarted(key, "relax xtb cand-41afcd5e4667fda8", "relax xtb", 0))
        clock.now += 61
        note = "step 123, -1568.391 eV, 0.08 eV/Å" + 20 * "x"
        show(JobProgress(key, "relax", Progress("relax", 123, 0, note)))
        show(Tick())
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    assert "0:01:01 elapsed, found 3 (1 new), best -568.391 eV at xtb" in drawn
    assert "step 123" in drawn
    assert max(map(len, drawn.splitlines())) <= 80


@pytest.mark.parametrize("quiet", [False, True])
def test_failures_are_told_at_once_even_when_quiet(clock, quiet):
    text = io.StringIO()
    with Display(Console(file=text, width=60), quiet=quiet) as show:
        show(RunStarted({"relax": StageCount(0, 2)}))
        show(JobStarted(JobKey("a", 1), "relax cand-1", "relax", 0))
        clock.now += 60
        show(JobFailed(JobKey("a", 1), "relax cand-1", "ValueError: [x] " + "y" * 80, {}))
    assert f"failed: relax cand-1: ValueError: [x] {'y' * 80}\n" in text.getvalue()
    if quiet:
        assert len(text.getvalue().splitlines()) == 1


def test_summary_says_how_the_run_ended():
    counts = {"ready": 3, "completed": 4}
    stopped = RunSummary("f", counts, 2, [], 12.3, 2)
    assert stopped.exit_code == 130
    assert stopped.message == (
        "stopped by SIGINT; the same command continues from here (jobs: 3 ready, 4 completed)"
    )
    done = RunSummary("f", {"completed": 4}, 2, [], 12.3, None)
    assert done.exit_code == 0
    assert done.message == "finished in 12 s (jobs: 4 completed)"
