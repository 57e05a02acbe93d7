"""What a run tells its caller while it goes on, and when it ends.

``stages`` counts the jobs that have ended, and all, of each task.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

from logan_campaign.core.progress import Progress
from logan_campaign.flows.local.graph import JobKey, StageCount


class RunStarted(NamedTuple):
    """The run begins, or goes on."""

    stages: dict[str, StageCount]


class Tick(NamedTuple):
    """Time has passed. Comes several times per second: a chance to redraw."""


class JobStarted(NamedTuple):
    """A job has been handed to a worker."""

    key: JobKey
    name: str
    task: str
    worker: int


class JobProgress(NamedTuple):
    """A running job has reported how far it is."""

    key: JobKey
    name: str
    progress: Progress


class JobFinished(NamedTuple):
    """A job has run, and its output is stored."""

    key: JobKey
    name: str
    elapsed_s: float
    stages: dict[str, StageCount]


class JobFailed(NamedTuple):
    """A job has failed; ``error`` is one line."""

    key: JobKey
    name: str
    error: str
    stages: dict[str, StageCount]


class JobsAdded(NamedTuple):
    """A job has added others; ``names`` has one entry per new job."""

    by: JobKey
    names: list[str]
    stages: dict[str, StageCount]


Event = RunStarted | Tick | JobStarted | JobProgress | JobFinished | JobFailed | JobsAdded


class Failure(NamedTuple):
    """A failed job."""

    key: JobKey
    name: str
    error: str


class RunSummary(NamedTuple):
    """How a run ended.

    ``counts`` covers the whole flow, ``n_run`` and ``failures`` this run only. ``signal`` is
    the one that ended it early, else None.
    """

    flow_id: str
    counts: dict[str, int]
    n_run: int
    failures: list[Failure]
    elapsed_s: float
    signal: int | None

    @property
    def exit_code(self) -> int:
        """0, or 128 plus the signal's number if one ended the run."""
        return 0 if self.signal is None else 128 + self.signal

    @property
    def message(self) -> str:
        """One line that says how it ended."""
        jobs = ", ".join(f"{number} {state}" for state, number in self.counts.items())
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            return f"stopped by {name}; the same command goes on from here (jobs: {jobs})"
        return f"finished in {self.elapsed_s:.0f} s (jobs: {jobs})"
