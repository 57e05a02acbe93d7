"""What a run tells its caller while it goes on, and when it ends."""

from __future__ import annotations

from typing import NamedTuple

from logan_campaign.flows.local.graph import JobKey
from logan_campaign.progress import Progress


class RunStarted(NamedTuple):
    """The run begins, or goes on; ``counts`` says how many jobs are in which state."""

    counts: dict[str, int]


class JobStarted(NamedTuple):
    """A job has been handed to a worker."""

    key: JobKey
    name: str
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
    counts: dict[str, int]


class JobFailed(NamedTuple):
    """A job has failed; ``error`` is one line."""

    key: JobKey
    name: str
    error: str
    counts: dict[str, int]


class JobsAdded(NamedTuple):
    """A job has added others; ``names`` has one entry per new job."""

    by: JobKey
    names: list[str]
    counts: dict[str, int]


Event = RunStarted | JobStarted | JobProgress | JobFinished | JobFailed | JobsAdded


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
