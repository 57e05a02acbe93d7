"""A process that has imported what jobs need, and forks one process per job.

Starting Python and importing a job's modules takes seconds, many times what a cheap relaxation
takes. The first job that asks starts this process, one per user, machine, Python and
allocation of the scheduler; it serves all jobs that come along, from plain and batch workers
alike, and ends when none has come for a while. A job still has a process of its own: it can
crash, leak or be killed without harm to others.

The socket stands in a directory that only the user can enter. What comes through it is a
directory to run a job in, from a client that could run that job itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import logan_campaign

#: Variables that tell allocations of a scheduler apart: a process must not outlive its own.
_ALLOCATIONS = ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID", "LSB_JOBID", "OAR_JOB_ID")

#: What most jobs import. Not JAX: it starts threads, which do not survive a fork.
_PRELOAD = (
    "jobflow_remote.jobs.run",
    "logan_campaign.flows.levels",
    "logan_campaign.flows.relax",
    "sklearn.cluster",
    "sklearn.decomposition",
    "tblite.ase",
    "rdkit.Chem.rdDetermineBonds",
)

_START_WITHIN_S = 30.0
_READY_WITHIN_S = 180.0
_MESSAGE_BYTES = 1_000_000


class NotAvailableError(Exception):
    """The process cannot be reached or started; the job has not been started."""


def run(run_dir: Path, limit_s: float) -> str:
    """Run the job in a directory in a fork of the warm process.

    Args:
        run_dir: the job's directory.
        limit_s: wall time after which it is killed (s).

    Returns:
        How its process ended.

    Raises:
        NotAvailableError: it has not been started.
    """
    client = _connect()
    lifeline, ours = os.pipe()
    try:
        message = {
            "run_dir": str(run_dir),
            "cwd": str(Path.cwd()),
            "environ": dict(os.environ),
        }
        try:
            socket.send_fds(client, [json.dumps(message).encode()], [lifeline, 1, 2])
            client.settimeout(_READY_WITHIN_S)  # while it is still importing
            if client.recv(1) != b"s":
                raise NotAvailableError("it has ended")
        except OSError as err:
            raise NotAvailableError(f"it does not answer ({err})") from err
        os.close(lifeline)
        lifeline = -1
        client.settimeout(None if limit_s == float("inf") else limit_s)
        try:
            said = client.recv(1)
        except TimeoutError:
            return f"did not end within {limit_s:g} s"  # closing the lifeline kills it
        except ConnectionError:
            said = b""
        return "ended" if said == b"e" else "was killed"
    finally:
        client.close()
        os.close(ours)
        if lifeline >= 0:
            os.close(lifeline)


def _connect() -> socket.socket:
    """Return a connection to the warm process, which is started if there is none.

    A socket that nobody listens on any more is that of one that was killed.
    """
    path = socket_path()
    with (path.parent / f"{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            return _connected(path)
        path.unlink(missing_ok=True)
        with (path.parent / f"{path.name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(path), str(_idle_s())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=path.parent,
                start_new_session=True,
            )
        until = time.monotonic() + _START_WITHIN_S
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                return _connected(path)
            time.sleep(0.02)
    raise NotAvailableError("it does not start")


def _connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def _idle_s() -> float:
    from logan_campaign.flows.remote.execute import WARM

    return float(os.environ.get(WARM, "60"))


def socket_path() -> Path:
    """Return where the warm process of this user, Python, code and allocation listens.

    Raises:
        NotAvailableError: the directory belongs to somebody else.
    """
    places = [Path(logan_campaign.__file__).parent, Path(__file__).parents[1]]
    changed = max(p.stat().st_mtime_ns for place in places for p in place.rglob("*.py"))
    about = [sys.executable, sys.version, str(places[0]), str(changed)]
    about += [os.environ.get(name, "") for name in (*_ALLOCATIONS, "PYTHONPATH")]
    digest = hashlib.sha256("\0".join(about).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"logan-campaign-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise NotAvailableError(f"{folder} can be entered by others")
    return folder / f"warm-{digest}"


def serve(path: Path, idle_s: float) -> None:
    """Fork a process per connection until none has come for ``idle_s`` and none is left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(128)
    for name in _PRELOAD:
        try:
            importlib.import_module(name)
        except ImportError:
            traceback.print_exc()  # the job that needs it says so
    listener.settimeout(1.0)
    last, children = time.monotonic(), 0
    while children or time.monotonic() - last < idle_s:
        children -= sum(1 for _ in _ended())
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        last = time.monotonic()
        with client:
            pid = os.fork()
            if pid == 0:
                listener.close()
                _serve_one(client)
        children += 1
    # no window in which a client connects to a process that is about to end: it connects
    # under the same lock
    with (path.parent / f"{path.name}.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # whoever holds it finds that nobody answers, and starts another
        path.unlink(missing_ok=True)


def _ended() -> Iterator[int]:
    """Yield the children that have ended since the last look."""
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) > 0:
            yield pid


def _serve_one(client: socket.socket) -> None:
    """Run one job in this process, which has just been forked; does not return."""
    code = 1
    try:
        os.setsid()
        content, descriptors, _, _ = socket.recv_fds(client, _MESSAGE_BYTES, 3)
        if not content:
            os._exit(0)
        lifeline, out, err = descriptors
        message = json.loads(content)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        os.environ.clear()
        os.environ.update(message["environ"])
        os.chdir(message["cwd"])
        random.seed()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()
        client.send(b"s")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        from logan_campaign.flows.remote.execute import run_job

        run_job(lifeline, message["run_dir"])
        code = 0
    except BaseException:  # noqa: BLE001  this process must not go on as its parent
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            client.send(b"e")
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), float(sys.argv[2]))
