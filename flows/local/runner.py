"""Runs a flow on this machine: jobs in parallel processes, with progress and resume.

It follows the rules of :func:`jobflow.run_locally` (see
:mod:`logan_campaign.flows.local.graph`) and adds parallel processes and resuming. Only this
process opens the stores. A job's output and the flows that it adds are committed together; jobs
that were not committed when a run ended, by a signal or a crash, run again in the next run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from jobflow import Flow, Job, JobStore

from logan_campaign.core.errors import InputError, LoganCampaignError, StoreError
from logan_campaign.core.files import write_atomically
from logan_campaign.core.processors import usable_cores
from logan_campaign.core.progress import Progress
from logan_campaign.flows.local.codec import dumps, loads, references
from logan_campaign.flows.local.events import (
    Event,
    Failure,
    JobFailed,
    JobFinished,
    JobProgress,
    JobsAdded,
    JobStarted,
    RunStarted,
    RunSummary,
    Tick,
)
from logan_campaign.flows.local.graph import Graph, JobKey, JobState, Node
from logan_campaign.flows.local.ledger import Ledger, now
from logan_campaign.flows.local.lock import exclusive
from logan_campaign.flows.local.worker import LOG_NAME, one_line
from logan_campaign.flows.local.worker_pool import Message, WorkerPool
from logan_campaign.flows.processes import StopSignals

logger = logging.getLogger(__name__)

#: File in the work directory with the running jobs, for other processes.
PROGRESS_NAME = "progress.json"
LOCK_NAME = "lock"

_POLL_S = 0.2
_PUBLISH_EVERY_S = 2.0
_CACHE_CHARACTERS = 64_000_000
_CACHED_ABOVE = 20_000
_LOG_TAIL_BYTES = 4_000


class _Running(NamedTuple):
    node: Node
    started_at: str
    started: float
    progress: Progress | None


def ignore(event: Event) -> None:
    """Ignore an event."""


def run_flow(
    flow: Flow | Job | list[Flow | Job] | None,
    *,
    jobstore: JobStore,
    ledger: Ledger,
    work_dir: Path,
    n_workers: int | None = None,
    on_event: Callable[[Event], None] = ignore,
    transaction: Callable[[], AbstractContextManager[Any]] = nullcontext,
    lock: Path | None = None,
    pin: bool = True,
    retry_failed: bool = False,
    prepare: Callable[[], object] | None = None,
) -> RunSummary:
    """Run a flow, or continue it where the last run ended.

    SIGINT or SIGTERM stops the run at once and leaves the stores consistent; a second signal
    interrupts any wait.

    Args:
        flow: the flow; ignored if the ledger already has a record, which is then run.
        jobstore: connected store for the jobs' outputs.
        ledger: the flow's record.
        work_dir: directory for the jobs' working directories (``UUID-INDEX``, kept if a
            job fails or the run ends early, removed when it and its replacement have finished)
            and logs.
        n_workers: number of jobs at a time; one per usable core by default.
        on_event: called in this process with every event.
        transaction: returns a context in which all stores commit atomically. By default the
            output is stored before the record, and counts only with the record.
        lock: file to lock during the run; in ``work_dir`` by default.
        pin: keep each worker to one core.
        retry_failed: run jobs that failed in an earlier run again, and jobs that were cancelled
            because of them, except those without which the flow has continued.
        prepare: called under the lock, before the record is read.

    Returns:
        The outcome. Failed jobs are in the record and do not raise.

    Raises:
        InputError: there is nothing to run, or the flow cannot be run from its serialised
            form.
        StoreError: the flow is already running, the record is damaged, or a store fails.
            Everything committed before is kept.
    """
    begun = time.perf_counter()
    work_dir = work_dir.resolve()
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise InputError(f"cannot make the directory {work_dir}: {err.strerror}") from err
    with exclusive(lock or work_dir / LOCK_NAME, ledger.flow_id), StopSignals() as signals:
        with _store_errors():
            resumed = ledger.root() is not None
            if not resumed:
                if flow is None:
                    raise InputError(f"no flow named '{ledger.flow_id}' is recorded")
                with transaction():
                    ledger.begin(flow)
            elif retry_failed:
                with transaction():
                    ledger.forget_failures()
            if prepare is not None:
                prepare()
            graph = ledger.replay()
        runner = _Runner(graph, jobstore, ledger, work_dir, on_event, transaction, resumed)
        runner.run(n_workers or len(usable_cores()), pin, signals)
        return RunSummary(
            ledger.flow_id,
            graph.counts,
            runner.n_run,
            runner.failures,
            time.perf_counter() - begun,
            signals.received,
        )


class _Runner:
    def __init__(
        self,
        graph: Graph,
        jobstore: JobStore,
        ledger: Ledger,
        work_dir: Path,
        on_event: Callable[[Event], None],
        transaction: Callable[[], AbstractContextManager[Any]],
        resumed: bool,
    ) -> None:
        self.graph, self.jobstore, self.ledger = graph, jobstore, ledger
        self.work_dir, self.on_event, self.transaction = work_dir, on_event, transaction
        self.resumed = resumed
        self.running: dict[JobKey, _Running] = {}
        self.n_run = 0
        self.failures: list[Failure] = []
        self._died: set[JobKey] = set()  # jobs whose process has died once
        self._outputs: OrderedDict[str, str] = OrderedDict()  # least recently used first
        self._cached = 0  # their size in characters
        self._published = 0.0

    def run(self, n_workers: int, pin: bool, signals: StopSignals) -> None:
        for past in self.graph.nodes.values() if self.resumed else ():
            if past.state is JobState.COMPLETED:  # killed between commit and clean-up
                self._clean_up(past.key)
        self.on_event(RunStarted(self.graph.stages))
        if self.graph.done:
            return
        try:
            with WorkerPool(n_workers, self.work_dir, pin) as pool:
                while not self.graph.done and signals.received is None:
                    while pool.idle() and (node := self.graph.take()):
                        self._start(node, pool)
                    if not self.running and not self.graph.counts.get("ready"):
                        # The graph refuses circular dependencies, so this would be a bug.
                        raise LoganCampaignError("the remaining jobs wait for each other")
                    for message in pool.poll(_POLL_S):
                        self._receive(message)
                    self._publish()
                    self.on_event(Tick())
        finally:
            self.running.clear()
            self._publish(over=True)

    def _start(self, node: Node, pool: WorkerPool) -> None:
        with _store_errors():
            outputs = ",".join(self._outputs_for(node))
        stores = dumps(list(self.jobstore.additional_stores))
        directory = json.dumps(str(self._directory(node.key)))
        job = node.job["job"]
        worker = pool.submit(
            node.key,
            f'{{"job":{job},"outputs":[{outputs}],"stores":{stores},"directory":{directory}}}',
        )
        self.running[node.key] = _Running(node, now(), time.perf_counter(), None)
        self.on_event(JobStarted(node.key, node.name, node.task, worker))

    def _receive(self, message: Message) -> None:
        key, content = message
        job = self.running[key]
        if "progress" in content:
            progress = Progress(*content["progress"])
            self.running[key] = job._replace(progress=progress)
            self.on_event(JobProgress(key, job.node.name, progress))
            return
        del self.running[key]
        if "died" in content and key not in self._died:
            # Retry once: the process may have been killed from outside, and a relaxation that is
            # started again isolates its calculator.
            self._died.add(key)
            self.graph.again(key)
            return
        if "died" in content:
            elapsed = round(time.perf_counter() - job.started, 4)
            times = {"started_at": job.started_at, "ended_at": now(), "elapsed_s": elapsed}
            self._fail(job.node, content["died"], self._log_tail(key), times)
            return
        result, times = content["result"], content["times"]
        if result.get("disk_full"):
            raise StoreError(f"no space left for job '{job.node.name}' in {self._directory(key)}")
        if "error" in result:
            self._fail(job.node, result["error"], result["traceback"], times)
            return
        try:
            self.graph.check(result["response"])
        except InputError as err:
            self._fail(job.node, one_line(err), "", times)
            return
        self._complete(job.node, result, times)

    def _complete(self, node: Node, result: Mapping[str, Any], times: Mapping[str, Any]) -> None:
        if result["stored_data"]:
            logger.warning("Response.stored_data is not supported by the local runner.")
        key = node.key
        with _store_errors(), self.transaction():
            if self.resumed:
                # A store without transactions may contain blobs of an attempt that was killed
                # before it was recorded. They have other names.
                for store in self.jobstore.additional_stores.values():
                    store.remove_docs({"job_uuid": key.uuid, "job_index": key.index})
            # Blobs first, as in jobflow: a document never refers to a missing blob.
            for name, blobs in result["blobs"].items():
                self.jobstore.additional_stores[name].update(blobs, key="blob_uuid")
            self.jobstore.docs_store.update(result["documents"], key=["uuid", "index"])
            self.ledger.completed(key, node.name, result["response"], times)
        self._forget(key.uuid)
        added = self.graph.complete(key, result["response"])
        self.n_run += 1
        self._clean_up(key)
        if added:
            self.on_event(JobsAdded(key, [new.name for new in added], self.graph.stages))
        self.on_event(JobFinished(key, node.name, times["elapsed_s"], self.graph.stages))

    def _fail(self, node: Node, error: str, details: str, times: Mapping[str, Any]) -> None:
        with _store_errors(), self.transaction():
            self.ledger.failed(node.key, node.name, error, details, times)
        self.graph.fail(node.key)
        self.n_run += 1
        self.failures.append(Failure(node.key, node.name, error))
        self.on_event(JobFailed(node.key, node.name, error, self.graph.stages))

    def _outputs_for(self, node: Node) -> list[str]:
        """Return the outputs that a job refers to, directly or indirectly, as JSON texts."""
        todo = list(node.job["references"]) if node.job["resolve"] else []
        texts: dict[str, str | None] = {}
        while todo:
            uuid = todo.pop()
            if uuid in texts:
                continue
            texts[uuid] = text = self._output(uuid)
            if text and '"OutputReference"' in text:
                todo += references(loads(text)["output"])
        return [text for text in texts.values() if text]

    def _output(self, uuid: str) -> str | None:
        """Return the last output of a job as JSON text with its blobs; None if it has none."""
        if uuid in self._outputs:
            self._outputs.move_to_end(uuid)
            return self._outputs[uuid]
        found = self.jobstore.query_one(
            {"uuid": uuid}, properties=["output"], sort={"index": -1}, load=True
        )
        if found is None:
            return None
        text = dumps({"uuid": uuid, "index": found["index"], "output": found["output"]})
        if len(text) < _CACHED_ABOVE:
            return text  # not cached: small, and other processes may replace it (control documents)
        self._outputs[uuid] = text
        self._cached += len(text)
        while self._cached > _CACHE_CHARACTERS:
            self._forget(next(iter(self._outputs)))
        return text

    def _forget(self, uuid: str) -> None:
        self._cached -= len(self._outputs.pop(uuid, ""))

    def _clean_up(self, key: JobKey) -> None:
        """Remove the directory of a finished job when it is no longer needed.

        A job that was replaced may have left files for its replacement.
        """
        if JobKey(key.uuid, key.index + 1) in self.graph.nodes:
            return
        for index in range(1, key.index + 1):
            shutil.rmtree(self._directory(JobKey(key.uuid, index)), ignore_errors=True)

    def _directory(self, key: JobKey) -> Path:
        return self.work_dir / f"{key.uuid}-{key.index}"

    def _log_tail(self, key: JobKey) -> str:
        try:
            with (self._directory(key) / LOG_NAME).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                return log.read().decode(errors="replace")
        except OSError as err:
            return f"no log: {err.strerror}"

    def _publish(self, over: bool = False) -> None:
        """Write the running jobs to a file, atomically."""
        time_now = time.monotonic()
        if not over and time_now - self._published < _PUBLISH_EVERY_S:
            return
        self._published = time_now
        running = [
            {
                "uuid": key.uuid,
                "index": key.index,
                "name": job.node.name,
                "started_at": job.started_at,
                "progress": job.progress and job.progress._asdict(),
            }
            for key, job in self.running.items()
        ]
        text = dumps(
            {"pid": None if over else os.getpid(), "updated_at": now(), "running": running}
        )
        try:
            write_atomically(self.work_dir / PROGRESS_NAME, text, durable=False)
        except OSError as err:
            # The file is only for display: a failure must not end the run.
            logger.warning("cannot write %s: %s", PROGRESS_NAME, err.strerror)


@contextmanager
def _store_errors() -> Iterator[None]:
    """Convert exceptions of a store's driver to StoreError."""
    try:
        yield
    except LoganCampaignError:
        raise
    except Exception as err:
        # Drivers have their own exceptions, unknown to this package.
        raise StoreError(f"the store failed: {one_line(err)}") from err
