"""The runner of a project: jobflow-remote's steps in a fault-tolerant loop.

``jf runner start`` runs the same steps. This loop adds to them:

* It continues a few seconds after the database is back, and releases its own remaining locks
  and those of an earlier runner that was killed.
* A job whose process left no result, because it was killed from outside together with its
  supervisor, runs again instead of failing.
* The same applies to a job whose batch process died.
* A job that SLURM ended says so: it is failed if it was cancelled there, and tried once more with
  a longer time limit if it did not end within the first.
* Why jobs wait in SLURM's queue is recorded for ``status``.
* A second runner for the same project exits at once with a one-line error.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobflow_remote.jobs.data import OUT_FILENAME, RemoteError
from jobflow_remote.jobs.jobcontroller import JobController
from jobflow_remote.jobs.runner import Runner
from jobflow_remote.jobs.state import JobState
from jobflow_remote.remote.data import get_local_data_path
from pymongo.errors import DuplicateKeyError, PyMongoError

from logan_campaign.core.redaction import redact
from logan_campaign.flows.local.lock import exclusive
from logan_campaign.flows.processes import StopSignals
from logan_campaign.flows.remote.execute import IN_NAME, outcome, write_failure
from logan_campaign.flows.remote.project import load_project
from logan_campaign.flows.remote.registry import WAITING, hold, register
from logan_campaign.flows.remote.scheduler import ENDS, ended_as, is_slurm, longer, waiting

logger = logging.getLogger("jobflow_remote.logan_campaign")

LOCK_NAME = "logan-campaign-runner.lock"

#: Maximum number of restarts of a job that left no result.
RESTARTS = 3

_NO_RESULT = "left no result and runs again"
_BATCH_KILLED = "was likely killed before terminating the job execution"
_AFTER_OUTAGE_S = 2.0
_PING_EVERY_S = 20.0
_LOOK_EVERY_S = 10.0
_TICK_S = 0.2
_STEPS = (JobState.CHECKED_OUT, JobState.RUN_FINISHED, JobState.DOWNLOADED, JobState.UPLOADED)
_OPEN = (
    *(JobState.READY, *_STEPS, JobState.SUBMITTED, JobState.RUNNING),
    *(JobState.BATCH_SUBMITTED, JobState.BATCH_RUNNING),
)


class CampaignRunner(Runner):
    """jobflow-remote's runner; jobs without a result run again, or say why not."""

    def download(self, lock: Any) -> None:
        """Fetch the outcome of a job from another machine, if there is one.

        Raises:
            RemoteError: there is none, which :func:`_start_again` handles, or it cannot be fetched.
        """
        try:
            super().download(lock)
        except RemoteError as err:
            if OUT_FILENAME not in str(err) or "does not exist" not in str(err):
                raise
            self._without_result(lock.locked_document)
            lock.update_on_release = {"$set": {"state": JobState.DOWNLOADED.value}}

    def complete_job(self, lock: Any) -> None:
        """Store the outcome of a job, if there is one.

        Raises:
            RemoteError: there is none, which :func:`_start_again` handles.
        """
        doc = lock.locked_document
        folder = self._folder(doc)
        # a folder copied from another machine contains only the output
        found = outcome(folder) if (folder / IN_NAME).exists() else (folder / OUT_FILENAME).exists()
        if not found:
            self._without_result(doc)
        super().complete_job(lock)

    def _folder(self, doc: dict[str, Any]) -> Path:
        return Path(
            get_local_data_path(
                self.project, doc["worker"], doc["uuid"], doc["index"], doc["run_dir"]
            )
        )

    def _without_result(self, doc: dict[str, Any]) -> None:
        """Have a job run again, or write down as its outcome why it left none.

        Raises:
            RemoteError: it is to run again.
        """
        again = RemoteError(f"the process {_NO_RESULT}", no_retry=False)
        if _NO_RESULT in str(doc["remote"].get("error")):
            raise again  # counted before; :func:`start_again` has not come to it yet
        worker, controller = self.get_worker(doc["worker"]), self.job_controller
        queue = self.get_queue_manager(doc["worker"])
        ended = ended_as(queue, str(doc["remote"]["process_id"])) if is_slurm(worker) else ""
        restarts = {"CANCELLED": 0, "TIMEOUT": 1}.get(ended, RESTARTS)
        if _may_run_again(controller, doc, restarts):
            if ended == "TIMEOUT":
                resources = longer(queue, doc["resources"] or worker.resources or {})
                controller.jobs.update_one({"_id": doc["_id"]}, {"$set": {"resources": resources}})
            raise again
        times = f" (tried {restarts + 1} times)" if restarts else ""
        reason = f"the job {ENDS.get(ended, 'left no result')}{times}"
        folder = self._folder(doc)
        folder.mkdir(parents=True, exist_ok=True)
        write_failure(folder, reason, datetime.now(UTC))

    def note_waiting(self) -> None:
        """Record why jobs wait in SLURM's queue."""
        for name, worker in self.workers.items():
            if not is_slurm(worker):
                continue
            query = {"worker": name, "state": JobState.SUBMITTED.value}
            found = self.job_controller.jobs.find(query, ["remote.process_id"])
            try:
                reasons = waiting(
                    self.get_queue_manager(name), [d["remote"]["process_id"] for d in found]
                )
            except Exception as err:  # noqa: BLE001  fabric, paramiko and the network have their own
                reasons = {"": f"the scheduler cannot be asked: {redact(str(err))[:200]}"}
            self.job_controller.db[WAITING].replace_one(
                {"_id": name}, {"_id": name, "reasons": reasons}, upsert=True
            )


def _may_run_again(controller: JobController, doc: dict[str, Any], most: int = RESTARTS) -> bool:
    """Count a restart of a job; return False if the maximum is reached."""
    left = {"_id": f"{doc['uuid']}_{doc['index']}", "n": {"$lt": most}}
    try:
        controller.db["logan_campaign_restarts"].update_one(
            left, {"$inc": {"n": 1}}, upsert=most > 0
        )
    except DuplicateKeyError:  # the count exists and is at its limit
        return False
    return most > 0


def serve(
    project_name: str | None,
    *,
    until_idle: bool = False,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Run the runner of a project until SIGTERM or SIGINT.

    Args:
        project_name: the project.
        until_idle: exit when no runnable job is left.
        on_tick: called several times per second.

    Raises:
        InputError: there is no such project.
        StoreError: the project already has a runner.
    """
    project = load_project(project_name)
    base = Path(project.base_dir or ".")
    base.mkdir(parents=True, exist_ok=True)
    with exclusive(base / LOCK_NAME, f"runner of {project.name}"), StopSignals() as stop:
        runner = CampaignRunner(project.name)
        try:
            _Loop(runner, stop, until_idle, on_tick).run()
        finally:
            for host in runner.hosts.values():
                host.close()
            runner.job_controller.close()


class _Loop:
    def __init__(
        self,
        runner: CampaignRunner,
        stop: StopSignals,
        until_idle: bool,
        on_tick: Callable[[], None],
    ) -> None:
        self.runner, self.stop, self.until_idle, self.on_tick = runner, stop, until_idle, on_tick
        options = runner.runner_options
        self.tasks: list[tuple[float, Callable[[], object]]] = [
            (options.delay_checkout, runner.checkout),
            (options.delay_check_run_status, runner.check_run_status),
            (
                options.delay_advance_status,
                lambda: runner.advance_state([state.value for state in _STEPS]),
            ),
            (2.0, lambda: start_again(runner.job_controller)),
            (0.0, lambda: hold(runner.job_controller)),
            (_PING_EVERY_S, self._ping),
            (_LOOK_EVERY_S, runner.note_waiting),
        ]
        if runner.limited_workers:
            self.tasks.insert(0, (options.delay_refresh_limited, runner.refresh_num_current_jobs))
        if runner.batch_workers:
            self.tasks.insert(2, (options.delay_update_batch, runner.update_batch_jobs))
        self.due = [0.0] * len(self.tasks)

    def run(self) -> None:
        controller = self.runner.job_controller
        register(controller, self.runner.project)
        # before the first step: release locks of a runner that was killed
        lost_since: datetime | None = datetime.now(UTC)
        while self.stop.received is None:
            try:
                if lost_since is not None:
                    free_locks(controller, lost_since)
                    lost_since = None
                for place, (every, task) in enumerate(self.tasks):
                    if time.monotonic() >= self.due[place] and self.stop.received is None:
                        task()
                        self.due[place] = time.monotonic() + every
                if self.until_idle and not self._busy():
                    break
            except PyMongoError as err:
                logger.warning("database cannot be reached (%s); trying again", type(err).__name__)
                lost_since = datetime.now(UTC)
                time.sleep(_AFTER_OUTAGE_S)
            self.on_tick()
            time.sleep(_TICK_S)
        try:
            controller.auxiliary.update_one(
                {"running_runner.logan_pid": os.getpid()}, {"$set": {"running_runner": None}}
            )
        except PyMongoError as err:
            logger.warning("cannot sign off (%s)", type(err).__name__)

    def _busy(self) -> bool:
        states = {"state": {"$in": [state.value for state in _OPEN]}}
        return bool(self.runner.job_controller.jobs.count_documents(states, limit=1))

    def _ping(self) -> None:
        self.runner.job_controller.auxiliary.update_one(
            {"running_runner.logan_pid": os.getpid()},
            {"$set": {"running_runner.last_pinged": datetime.now(UTC)}},
        )


def free_locks(controller: JobController, before: datetime) -> int:
    """Release locks on jobs and flows taken before a given time; return their number.

    Only safe if no other runner is active.
    """
    held = {"lock_id": {"$ne": None}, "lock_time": {"$lt": before.replace(tzinfo=None)}}
    free = {"$set": {"lock_id": None, "lock_time": None}}
    found = [c.update_many(held, free).modified_count for c in (controller.jobs, controller.flows)]
    if sum(found):
        logger.info("released %d stale locks", sum(found))
    return sum(found)


def start_again(controller: JobController) -> int:
    """Restart jobs that left no result; return their number."""
    without_result = controller.jobs.update_many(
        {
            "state": {"$in": [JobState.DOWNLOADED.value, JobState.RUN_FINISHED.value]},
            "remote.error": {"$regex": _NO_RESULT},
            "lock_id": None,
        },
        # not to READY: the delay before the next attempt is that of a step
        {"$set": {"state": JobState.CHECKED_OUT.value, "updated_on": datetime.now(UTC)}},
    ).modified_count
    killed = controller.jobs.find(
        {"state": JobState.REMOTE_ERROR.value, "remote.error": {"$regex": _BATCH_KILLED}},
        projection=["uuid", "index", "db_id"],
    )
    for doc in list(killed):
        if _may_run_again(controller, doc):
            controller.rerun_job(db_id=doc["db_id"], delete_files=False)
            without_result += 1
    return int(without_result)
