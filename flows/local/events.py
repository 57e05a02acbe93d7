"""Events of a run, and its outcome.

``stages`` counts, per task, the jobs that have ended and all jobs.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

from logan_campaign.core.progress import Progress
from logan_campaign.flows.local.graph import JobKey, StageCount


class RunStarted(NamedTuple):
    """The run starts or resumes."""

    stages: dict[str, StageCount]


class Tick(NamedTuple):
    """Sent several times per second, for redrawing."""


class JobStarted(NamedTuple):
    """A job has been sent to a worker."""

    key: JobKey
    name: str
    task: str
    worker: int


class JobProgress(NamedTuple):
    """A running job has reported its progress."""

    key: JobKey
    name: str
    progress: Progress


class JobFinished(NamedTuple):
    """A job has finished, and its output is stored."""

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
    """A job has added others; ``names`` contains one entry per new job."""

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
    the one that interrupted the run, else None.
    """

    flow_id: str
    counts: dict[str, int]
    n_run: int
    failures: list[Failure]
    elapsed_s: float
    signal: int | None

    @property
    def exit_code(self) -> int:
        """0, or 128 plus the number of the signal that ended the run."""
        return 0 if self.signal is None else 128 + self.signal

    @property
    def message(self) -> str:
        """The outcome as one line."""
        jobs = ", ".join(f"{number} {state}" for state, number in self.counts.items())
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            return f"stopped by {name}; the same command continues from here (jobs: {jobs})"
        return f"finished in {self.elapsed_s:.0f} s (jobs: {jobs})"
