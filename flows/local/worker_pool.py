"""Worker processes, each of which runs one job at a time on one core."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.core.processors import CoreClaims, single_threaded
from logan_campaign.flows.local.codec import loads
from logan_campaign.flows.local.graph import JobKey

#: Longest time of a process between closing its connection and its end (s).
_EXIT_WITHIN_S = 2.0

_BOOT = Path(__file__).with_name("boot.py")


class Message(NamedTuple):
    """A message of a worker: its job and the document.

    The document has ``progress``, or ``result`` and ``times``, or ``died`` (one line).
    """

    job: JobKey
    content: dict[str, Any]


class Worker:
    """The runner's side of one worker process."""

    def __init__(self, number: int, core: int | None, work_dir: Path) -> None:
        self.job: JobKey | None = None
        self.ready = False
        self.log = work_dir / f"worker-{number}.log"
        self.number, self.core = number, core
        self.connection, theirs = Pipe()
        lifeline, self._lifeline = os.pipe()
        try:
            with self.log.open("ab") as log:
                self.process = _start(
                    [str(theirs.fileno()), str(lifeline)],
                    core,
                    cwd=work_dir,
                    env=single_threaded(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(), lifeline),
                    # A separate process group: Ctrl-C reaches only the runner, and processes
                    # that a job has started can be killed with the worker.
                    start_new_session=True,
                )
        finally:
            theirs.close()
            os.close(lifeline)

    def kill(self) -> int:
        """Kill the worker and the processes of its job; return its exit code."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        self.connection.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        return code


class WorkerPool:
    """A fixed number of worker processes; a worker that dies is replaced.

    Args:
        n_workers: number of processes.
        work_dir: existing directory for their logs.
        pin: pin each worker to a core, cyclically if there are more workers than cores.
    """

    def __init__(self, n_workers: int, work_dir: Path, pin: bool = True) -> None:
        self._claims = CoreClaims()
        cores: Sequence[int | None] = self._claims.take(n_workers) if pin else [None]
        self._work_dir = work_dir
        self._workers: list[Worker] = []
        try:
            for number in range(n_workers):
                self._workers.append(Worker(number, cores[number % len(cores)], work_dir))
        except OSError as err:
            self.close()
            raise LoganCampaignError(f"cannot start a worker process: {err}") from err

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def idle(self) -> bool:
        """Whether a worker is idle."""
        return any(worker.ready and worker.job is None for worker in self._workers)

    def submit(self, job: JobKey, message: str) -> int:
        """Send a job to an idle worker.

        Args:
            job: its key, returned by :meth:`poll`.
            message: JSON text for :func:`logan_campaign.flows.local.worker.attend`.

        Returns:
            The worker's number.
        """
        worker = next(w for w in self._workers if w.ready and w.job is None)
        worker.job = job
        with suppress(OSError):  # it has died: poll() reports it
            worker.connection.send_bytes(message.encode())
        return worker.number

    def poll(self, timeout_s: float) -> list[Message]:
        """Return messages of workers, waiting up to ``timeout_s`` for the first.

        Raises:
            LoganCampaignError: a worker cannot start.
        """
        messages: list[Message] = []
        by_connection: dict[Any, Worker] = {w.connection: w for w in self._workers}
        heard = wait(list(by_connection), timeout_s)
        for connection in heard:
            worker = by_connection[connection]
            try:
                content = loads(worker.connection.recv_bytes().decode())
            except (EOFError, OSError):
                messages += self._replace(worker)
                continue
            if "ready" in content:
                worker.ready = True
            elif worker.job is not None:
                messages.append(Message(worker.job, content))
                if "result" in content:
                    worker.job = None
        if not heard:
            # A process left by the job can keep the connection of a dead worker open.
            for worker in list(self._workers):
                if worker.process.poll() is not None:
                    messages += self._replace(worker)
        return messages

    def close(self) -> None:
        """Kill all workers and their jobs."""
        while self._workers:
            self._workers.pop().kill()
        self._claims.release()

    def _replace(self, worker: Worker) -> list[Message]:
        # Its connection closes shortly before it ends; killing it now would hide the real exit
        # code.
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(_EXIT_WITHIN_S)
        code = worker.kill()
        if not worker.ready:
            self._workers.remove(worker)
            raise LoganCampaignError(f"a worker process could not start; see {worker.log}")
        place = self._workers.index(worker)
        self._workers[place] = Worker(worker.number, worker.core, self._work_dir)
        if worker.job is None:
            return []
        return [Message(worker.job, {"died": f"worker process died ({_describe(code)})"})]


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    hint = "; out of memory?" if code == -signal.SIGKILL else ""
    return f"signal {-code}, {signal.Signals(-code).name}{hint}"


def _start(arguments: list[str], core: int | None, **options: Any) -> subprocess.Popen[bytes]:
    """Start a worker on one core: libraries count the cores when they are loaded."""
    before = os.sched_getaffinity(0)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        path = json.dumps([os.path.abspath(entry) for entry in sys.path])
        # -P: do not import from the script's directory
        command = [sys.executable, "-P", str(_BOOT), path, *arguments]
        return subprocess.Popen(command, **options)
    finally:
        os.sched_setaffinity(0, before)
