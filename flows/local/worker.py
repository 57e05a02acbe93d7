"""A worker process: runs the jobs that it receives, in sequence.

It opens no database: it receives the documents that a job refers to with the job, and returns the
documents that the job writes. Messages are JSON texts; nothing is pickled.
"""

from __future__ import annotations

import errno
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jobflow import CURRENT_JOB, JobStore
from monty.json import MontyDecoder

from logan_campaign.core import trust
from logan_campaign.core.progress import Progress, listening
from logan_campaign.flows.local.codec import dumps, loads, outline
from logan_campaign.flows.local.graph import FLOW_KINDS
from logan_campaign.flows.local.ledger import now

#: Least time between two reports of progress (s).
REPORT_EVERY_S = 0.2

#: Log of a job's standard output and error, in its directory.
LOG_NAME = "job.log"

Document = dict[str, Any]


class DocumentTable:
    """The part of a store that :class:`jobflow.JobStore` needs, in memory, indexed by uuid.

    maggma's ``MemoryStore`` scans all documents for each reference, which takes minutes for a job
    that gathers thousands of outputs.
    """

    name = "memory"
    key = "uuid"
    last_updated_field = "last_updated"
    last_updated_type = "datetime"

    def __init__(self, documents: list[Document] | None = None) -> None:
        self.documents = documents or []
        self._by_uuid: defaultdict[str, list[Document]] = defaultdict(list)
        for document in self.documents:
            self._by_uuid[document["uuid"]].append(document)

    def query(
        self,
        criteria: Mapping[str, Any],
        properties: Any = None,
        sort: Mapping[str, int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[Document]:
        """Yield the documents of one uuid, optionally of one index."""
        unknown = set(criteria) - {"uuid", "index"}
        if unknown or "uuid" not in criteria:
            raise ValueError("inside a job, the job store only finds outputs by uuid")
        found = [d for d in self._by_uuid[criteria["uuid"]] if criteria.items() <= d.items()]
        if sort:
            found.sort(key=lambda document: document["index"], reverse=sort.get("index") == -1)
        yield from found[skip : skip + limit if limit else None]

    def update(self, documents: list[Document], key: Any = None) -> None:
        """Add documents."""
        self.documents += documents


def run_job(message: Mapping[str, Any]) -> Document:
    """Run one job.

    Args:
        message: the serialised ``job``; the JobStore documents that it refers to, with
            their blobs in place (``outputs``); names of the additional ``stores``.

    Returns:
        The ``documents`` and ``blobs`` (per additional store) that the job wrote, and its
        ``response`` as :meth:`Graph.complete` takes it.
    """
    trusted = trust.trusted_modules()
    if trusted is not None:
        trust.check_job(message["job"], trusted)
        trust.check_document(message["outputs"], trusted)
    job = MontyDecoder().process_decoded(message["job"])
    if not callable(job.function):
        function = job.function or {}
        raise ImportError(
            f"{function.get('@module')}.{function.get('@callable')} cannot be imported"
        )
    inputs = DocumentTable(message["outputs"])
    blobs = {name: DocumentTable() for name in message["stores"]}
    n_inputs = len(inputs.documents)
    try:
        response = job.run(store=JobStore(inputs, additional_stores=dict(blobs)))
    finally:
        CURRENT_JOB.reset()
    flows = {kind: getattr(response, kind) for kind in FLOW_KINDS}
    return {
        "documents": inputs.documents[n_inputs:],
        "blobs": {name: table.documents for name, table in blobs.items() if table.documents},
        "response": {
            **{kind: outline(flow) for kind, flow in flows.items() if flow is not None},
            "stop_children": bool(response.stop_children),
            "stop_jobflow": bool(response.stop_jobflow),
        },
        "stored_data": response.stored_data is not None,
    }


class Channel:
    """The worker's side of the connection, thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, text: str) -> None:
        """Send one message."""
        with self._lock:
            self._connection.send_bytes(text.encode())

    def receive(self) -> str:
        """Return the next message; raise EOFError if the runner has closed the connection."""
        return self._connection.recv_bytes().decode()


class Reporter:
    """Sends a job's progress to the runner at a limited rate."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sent = float("-inf")
        self._task = ""  # last task reported as finished

    def __call__(self, progress: Progress) -> None:
        """Send a report, unless one has just been sent."""
        time_now = time.monotonic()
        last = progress.completed >= progress.total and progress.task != self._task
        if last or time_now - self._sent >= REPORT_EVERY_S:
            self._sent, self._task = time_now, progress.task if last else ""
            self._channel.send(dumps({"progress": list(progress)}))


def attend(channel: Channel) -> None:
    """Run jobs until the runner closes the connection."""
    home = Path.cwd()
    channel.send('{"ready": true}')
    while True:
        try:
            message = loads(channel.receive())
        except EOFError:
            return
        directory = Path(message["directory"])
        started_at, started = now(), time.perf_counter()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            os.chdir(directory)
            _redirect_output(directory / LOG_NAME)
            with listening(Reporter(channel)):
                result = run_job(message)
            text = dumps(result)
        except (Exception, SystemExit) as err:  # noqa: BLE001  whatever it is, the job failed
            traceback.print_exc()
            text = dumps(
                {
                    "error": one_line(err),
                    "traceback": traceback.format_exc(),
                    "disk_full": _disk_is_full(err),
                }
            )
        times = {
            "started_at": started_at,
            "ended_at": now(),
            "elapsed_s": round(time.perf_counter() - started, 4),
        }
        os.chdir(home)
        sys.stdout.flush()
        sys.stderr.flush()
        # The result can be large: it is inserted into the message without encoding it again.
        channel.send(f'{{"times":{dumps(times)},"result":{text}}}')


def one_line(err: BaseException) -> str:
    """Return an exception's type and message as one line."""
    message = " ".join(str(err).split())
    return f"{type(err).__name__}: {message}" if message else type(err).__name__


def _disk_is_full(err: BaseException | None) -> bool:
    """Whether an exception, or one of its causes, means that no space is left."""
    while err is not None:
        if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        err = err.__cause__ or err.__context__
    return False


def _redirect_output(path: Path) -> None:
    """Redirect all output of this process, C libraries included, to a file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def main(connection: int) -> None:
    """Run jobs from the connection with this file descriptor."""
    os.set_inheritable(connection, False)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    warnings.simplefilter("default")
    attend(Channel(Connection(connection)))
