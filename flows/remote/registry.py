"""The runner of a queue and its paused campaigns, as recorded in its database."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from getpass import getuser
from typing import TYPE_CHECKING, Any

from jobflow_remote.jobs.state import JobState

from logan_campaign.core.errors import StoreError

if TYPE_CHECKING:
    from jobflow_remote.config.base import Project
    from jobflow_remote.jobs.jobcontroller import JobController

#: Field of a flow's metadata: 'paused' or 'cancelled'.
HALTED = "logan_campaign_halted"

#: Collection: why jobs wait in a scheduler's queue, one document per worker.
WAITING = "logan_campaign_waiting"

_STALE_AFTER_S = 90.0


def registered(controller: JobController) -> dict[str, Any] | None:
    """Return the record of the project's runner, None if there is none."""
    found = controller.get_running_runner()
    return found if isinstance(found, dict) else None


def is_alive(about: dict[str, Any]) -> bool:
    """Whether a registered runner is alive, as far as this machine can determine."""
    if "logan_pid" not in about:
        return True  # started by `jf runner start`, which pings once an hour
    if about["hostname"] == socket.gethostname():
        try:
            os.kill(about["logan_pid"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    pinged = about["last_pinged"].replace(tzinfo=UTC)
    return bool(datetime.now(UTC) - pinged < timedelta(seconds=_STALE_AFTER_S))


def register(controller: JobController, project: Project) -> None:
    """Register this process as the project's runner, in the format of jobflow-remote.

    Raises:
        StoreError: there is another runner.
    """
    other = registered(controller)
    if other is not None and other.get("logan_pid") != os.getpid() and is_alive(other):
        pid = f" (pid {other['logan_pid']})" if "logan_pid" in other else ", by 'jf runner start'"
        raise StoreError(
            f"project '{project.name}' has a runner on {other['hostname']} already{pid}; "
            "stop that one first"
        )
    now = datetime.now(UTC)
    about = {
        "processes_info": None,
        "hostname": socket.gethostname(),
        "mac_address": None,
        "user": getuser(),
        "daemon_dir": project.daemon_dir,
        "project_name": project.name,
        "start_time": now,
        "last_pinged": now,
        "runner_options": project.runner.model_dump(mode="json"),
        "logan_pid": os.getpid(),
    }
    controller.auxiliary.update_one(
        {"running_runner": {"$exists": True}}, {"$set": {"running_runner": about}}, upsert=True
    )


def hold(controller: JobController) -> int:
    """Hold jobs that were added to flows after a pause or cancellation."""
    n = 0
    for flow in controller.flows.find(
        {f"metadata.{HALTED}": {"$exists": True}}, ["jobs", "metadata"]
    ):
        to = JobState.PAUSED if flow["metadata"][HALTED] == "paused" else JobState.USER_STOPPED
        n += controller.jobs.update_many(
            {
                "uuid": {"$in": flow["jobs"]},
                "state": {"$in": [JobState.WAITING.value, JobState.READY.value]},
                "lock_id": None,
            },
            {"$set": {"state": to.value, "updated_on": datetime.now(UTC)}},
        ).modified_count
    return n
