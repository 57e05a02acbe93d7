"""What SLURM says of jobs: why they wait, and how they ended if they left no result.

jobflow-remote sees that a job is no longer in the scheduler's queue, not why.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qtoolkit.core.exceptions import OutputParsingError
from qtoolkit.io.slurm import SlurmIO

if TYPE_CHECKING:
    from jobflow_remote.config.base import WorkerBase
    from jobflow_remote.remote.queue import QueueManager

#: How a job with this state in SLURM ended, for people; others may have been killed by anything.
ENDS = {
    "CANCELLED": "was cancelled in the scheduler's queue (scancel)",
    "TIMEOUT": "did not end within the scheduler's time limit",
    "DEADLINE": "did not end before its deadline in the scheduler",
    "OUT_OF_MEMORY": "took more memory than the scheduler allows",
    "NODE_FAIL": "was lost with its node",
    "PREEMPTED": "made room for another job in the scheduler",
}

_OF_ONE_JOB = ("job_name", "qout_path", "qerr_path")

#: SLURM's reason for a job that waits for nodes that are drained or down.
_NO_NODES = re.compile(r"DRAIN|DOWN|NotAvail", re.IGNORECASE)


def is_slurm(worker: WorkerBase) -> bool:
    """Whether the jobs of a worker go through SLURM."""
    return worker.scheduler_type == "slurm"


def ended_as(queue: QueueManager, job: str) -> str:
    """Return the state in which a job left SLURM's queue, such as 'TIMEOUT'; '' if unknown.

    Args:
        queue: of the worker.
        job: SLURM's number of the job. ``scontrol`` knows it for some minutes (MinJobAge),
            ``sacct`` for longer, where there is a database.
    """
    if not job.isdigit():
        return ""
    command = f"scontrol show job -o {job} 2>/dev/null || sacct -nXP -o State -j {job}"
    said, _, _ = queue.execute_cmd(command)
    found = re.search(r"\bJobState=(\w+)", said) or re.match(r"\s*([A-Z_]+)", said)
    return found[1] if found else ""


def waiting(queue: QueueManager, jobs: Iterable[str]) -> dict[str, str]:
    """Return why jobs wait in SLURM's queue, by their numbers there.

    Of nodes that are drained or down, it says what the administrators say of them.
    """
    numbers = ",".join(job for job in jobs if job.isdigit())
    if not numbers:
        return {}
    said, _, _ = queue.execute_cmd(f"squeue -h -t PENDING -o '%i|%P|%r' --jobs={numbers},{numbers}")
    found: dict[str, str] = {}
    for line in said.splitlines():
        job, partition, reason = line.strip().split("|", 2)
        if _NO_NODES.search(reason):
            nodes, _, _ = queue.execute_cmd(f"sinfo -h -R -p {partition} -o '%n: %E'")
            reason = "; ".join([reason, *nodes.splitlines()])
        found[job] = reason
    return found


def longer(queue: QueueManager, resources: Mapping[str, Any]) -> dict[str, Any]:
    """Return resources with twice the time limit, or with what the partition allows if less.

    Names of files and of the job, which jobflow-remote adds to a worker's resources, are left out.
    """
    resources = {k: v for k, v in resources.items() if k not in _OF_ONE_JOB}
    limit = seconds(resources.get("time"))
    if limit is None:  # the partition's own
        return resources
    partition = shlex.quote(str(resources.get("partition", "")))
    said, _, _ = queue.execute_cmd(f"sinfo -h -o %l -p {partition}")
    most = seconds(next(iter(said.split()), None))
    wanted = 2 * limit if most is None else max(limit, min(2 * limit, most))
    return {**resources, "time": SlurmIO._convert_time_to_str(wanted)}


def seconds(limit: object) -> int | None:
    """Return a time limit of SLURM ([days-]hours:minutes:seconds) in seconds, None without one.

    Raises:
        ValueError: it is not one.
    """
    if limit in (None, "infinite"):
        return None
    try:
        return SlurmIO._convert_str_to_time(str(limit))
    except OutputParsingError:
        raise ValueError(f"{limit!r}: write [DAYS-]HH:MM:SS") from None
