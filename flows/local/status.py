"""Progress of a flow, read from its record, also during a run of another process."""

from __future__ import annotations

import json
import socket
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from logan_campaign.core.progress import Progress
from logan_campaign.flows.local.events import Failure
from logan_campaign.flows.local.graph import JobKey
from logan_campaign.flows.local.ledger import Ledger, halted_of
from logan_campaign.flows.local.runner import PROGRESS_NAME

_OPEN = ("waiting", "ready", "running", "paused")


class RunningJob(NamedTuple):
    """A running job with its last report."""

    key: JobKey
    name: str
    started_at: str
    progress: Progress | None


class FlowStatus(NamedTuple):
    """Progress of a flow.

    ``counts`` contains the number of jobs per state, ``by_stage`` the same per job name, in order
    of first occurrence. ``pid`` is the process that runs the flow, None if there is none, and
    ``runner`` its host ('' if there is none). ``elapsed_s`` is the total time of all jobs.
    ``halted`` is 'paused' or 'cancelled' if this was requested. ``waiting`` says why jobs wait in
    the queue of a scheduler, and how many.
    """

    flow_id: str
    about: dict[str, Any]
    created_at: str
    counts: dict[str, int]
    by_stage: dict[str, dict[str, int]]
    failures: list[Failure]
    running: list[RunningJob]
    pid: int | None
    elapsed_s: float
    runner: str = ""
    halted: str = ""
    waiting: tuple[tuple[str, int], ...] = ()

    @property
    def finished(self) -> bool:
        """Whether no job is left to run."""
        return not any(self.counts.get(state) for state in _OPEN)


def flow_status(ledger: Ledger, work_dir: Path | None = None) -> FlowStatus:
    """Return the progress of a flow.

    Args:
        ledger: its record.
        work_dir: the runner's directory, for the running jobs.

    Raises:
        StoreError: there is no record, or it is damaged.
    """
    graph = ledger.replay()
    root = ledger.root() or {}
    pid, running = _read_progress(work_dir) if work_dir else (None, [])
    # A job may have ended between the two reads.
    running = [job for job in running if (n := graph.nodes.get(job.key)) and n.state == "ready"]
    keys = {job.key for job in running}
    by_stage: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, node in graph.nodes.items():
        by_stage[node.task]["running" if key in keys else node.state.value] += 1
    failures, elapsed = [], 0.0
    for entry in ledger.entries():
        elapsed += entry["elapsed_s"]
        if entry["state"] == "failed":
            key = JobKey(entry["uuid"], entry["index"])
            failures.append(Failure(key, entry["name"], entry["error"]))
    return FlowStatus(
        ledger.flow_id,
        {
            name: value
            for name, value in root.items()
            if name not in ("_id", "id", "flow", "order", "doc_type", "state")
        },
        root["created_at"],
        dict(sum(by_stage.values(), Counter())),
        {name: dict(counts) for name, counts in by_stage.items()},
        failures,
        running,
        pid,
        elapsed,
        runner=socket.gethostname() if pid else "",
        halted=halted_of(root),
    )


def runner_pid(work_dir: Path) -> int | None:
    """Return the pid of the process that runs a flow in this directory, None if there is none."""
    return _read_progress(work_dir)[0]


def _read_progress(work_dir: Path) -> tuple[int | None, list[RunningJob]]:
    """Return the runner's pid and jobs; None and no jobs unless it is alive."""
    try:
        content = json.loads((work_dir / PROGRESS_NAME).read_text())
    except FileNotFoundError:
        return None, []
    if content["pid"] is None or not Path(f"/proc/{content['pid']}").exists():
        return None, []
    running = [
        RunningJob(
            JobKey(job["uuid"], job["index"]),
            job["name"],
            job["started_at"],
            Progress(**job["progress"]) if job["progress"] else None,
        )
        for job in content["running"]
    ]
    return content["pid"], running
