"""Run a relaxation in a worker process: a crash, hang or lack of memory costs one candidate."""

from __future__ import annotations

import json
import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ase import Atoms
from ase.io import write
from ase.io.trajectory import TrajectoryReader
from ase.io.ulm import InvalidULMFileError

from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.core.files import write_atomically
from logan_campaign.relaxation import worker
from logan_campaign.relaxation.base import Level
from logan_campaign.relaxation.checkpoint import Checkpoint
from logan_campaign.relaxation.engine import LoopResult, shorten, with_advice

#: A worker killed from outside is restarted, until this many consecutive starts have made no
#: ionic step.
MAX_STARTS_WITHOUT_STEP = 3

_POLL_S = 0.5
_OUTSIDE_SIGNALS = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT}


def physical_memory_mb() -> int:
    """Return the memory (MiB) of this machine, or the limit of its control group."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = Path("/sys/fs/cgroup", name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text) // 2**20)
    return int(total)


class _Exit(NamedTuple):
    """How a worker ended."""

    code: int  # as in subprocess: negative for a signal
    peak_mb: float
    timed_out: bool
    n_reports: int


def _environment(processes: int) -> dict[str, str]:
    environment = dict(os.environ)
    if processes > 1:
        environment["GPAW_MPI_BACKEND"] = "cgpaw"
    # The worker has the same import path, and is one process on one core.
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    environment.setdefault("OMP_NUM_THREADS", "1")
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    return environment


def _run_worker(
    folder: Path,
    *,
    deadline: float | None,
    memory_mb: int,
    processes: int,
    on_step: Callable[[int, float, float], None],
) -> _Exit:
    read_end, write_end, progress = _progress_pipe(folder, processes)
    try:
        with open(folder / worker.LOG_OF_WORKER, "ab") as log:
            process = subprocess.Popen(
                [
                    *(["mpiexec", "-n", str(processes)] if processes > 1 else []),
                    sys.executable,
                    "-P",
                    "-m",
                    "logan_campaign.relaxation.worker",
                    str(folder),
                    str(os.getpid()),
                    progress,
                    str(deadline if deadline is not None else 0),
                    str(memory_mb // processes),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=() if processes > 1 else (write_end,),
                # Ctrl-C reaches only the campaign, which stops its workers.
                start_new_session=True,
                env=_environment(processes),
            )
    except BaseException:
        os.close(read_end)
        if processes > 1:
            os.close(write_end)
        raise
    finally:
        if processes == 1:
            os.close(write_end)
    n_reports = 0
    timed_out = False
    pending = b""
    usage: resource.struct_rusage | None = None
    with selectors.DefaultSelector() as selector, open(read_end, "rb", buffering=0) as reports:
        selector.register(reports, selectors.EVENT_READ)
        try:
            open_pipe = True
            while True:
                wait = _POLL_S if open_pipe else 0.01
                if deadline is not None:
                    wait = max(min(wait, deadline - time.monotonic()), 0.0)
                if open_pipe:
                    if selector.select(wait):
                        chunk = reports.read(65536) or b""
                        open_pipe = bool(chunk)
                        *lines, pending = (pending + chunk).split(b"\n")
                        for line in lines:
                            n_reports += 1
                            step, energy, fmax = json.loads(line)
                            on_step(step, energy, fmax)
                else:
                    time.sleep(wait)
                pid, status, rusage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    usage = rusage
                    break
                if deadline is not None and time.monotonic() >= deadline:
                    timed_out = True
                    break
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # with all its children
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            if processes > 1:
                os.close(write_end)
                if process.returncode > 128:  # mpiexec's exit code for a process that was killed
                    process.returncode = 128 - process.returncode
    assert usage is not None
    # On Linux a new process inherits its parent's peak: values up to it mean nothing.
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if usage.ru_maxrss <= inherited:
        return _Exit(process.returncode, 0.0, timed_out, n_reports)
    peak = usage.ru_maxrss / (2**10 if sys.platform == "linux" else 2**20)
    return _Exit(process.returncode, peak, timed_out, n_reports)


def _progress_pipe(folder: Path, processes: int) -> tuple[int, int, str]:
    """Return the two ends of a pipe, and the argument that tells the worker of it.

    Processes of ``mpiexec`` inherit no open files, so they get a named pipe. This process then
    also keeps the writing end open, or reading would end before they have started.
    """
    if processes == 1:
        read_end, write_end = os.pipe()
        return read_end, write_end, str(write_end)
    path = folder / "progress"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return read_end, both, str(path)


def _last_words(log: Path) -> str:
    """Return the most informative line of a worker's log."""
    try:
        lines = log.read_bytes()[-20000:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = [line.strip() for line in lines if line.strip()]
    fatal = [line for line in told if line.startswith("Fatal Python error")]
    return shorten((fatal or told or [""])[-1])


def _judge(end: _Exit, folder: Path, memory_mb: int, n_idle_starts: int) -> tuple[str, str] | None:
    """Return state and reason of a worker without result; None to restart it."""
    words = _last_words(folder / worker.LOG_OF_WORKER)
    if end.timed_out:
        return "timed_out", "the wall-time budget ended within one step"
    if end.code == worker.EX_IOERR:
        raise LoganCampaignError(f"a relaxation cannot read or write its files: {words}")
    if end.code < 0:
        name = signal.Signals(-end.code).name
        if end.peak_mb > 0.5 * memory_mb:
            return "out_of_memory", f"worker ended by {name} with {end.peak_mb:.0f} MiB in use"
        if -end.code in _OUTSIDE_SIGNALS:
            if n_idle_starts < MAX_STARTS_WITHOUT_STEP:
                return None
            what = f"worker ended by {name} {n_idle_starts} times in a row without a step"
            return ("out_of_memory" if -end.code == signal.SIGKILL else "calculator_crashed"), what
        what = f"worker ended by {name}"
    else:
        what = f"worker ended with exit code {end.code} and no result"
    if re.search(r"out of memory|MemoryError|bad_alloc|[Cc]annot allocate|alloc\w* fail", words):
        return "out_of_memory", f"{what} ({words})"
    return "calculator_crashed", f"{what} ({words})" if words else what


def relax_isolated(
    start: Atoms,
    level: Level,
    *,
    folder: Path,
    on_step: Callable[[int, float, float], None],
    known: Sequence[Atoms] = (),
) -> LoopResult:
    """Relax ``start`` at ``level`` in a worker process.

    A finished relaxation in ``folder`` is read, an interrupted one continues from its last frame.

    Args:
        start: as for :meth:`Level.relax_atoms`; periodic in three directions or in none.
        level: the level.
        folder: folder of this relaxation only; created if missing.
        on_step: called with step, energy (eV) and largest force (eV/Å) after each step.
        known: as for :meth:`Level.relax_atoms`.

    Raises:
        LoganCampaignError: files in ``folder`` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        job: dict[str, Any] = {
            "level": level.model_dump(mode="json"),
            "earlier_steps": _read_json(folder / worker.TAKEN_OVER) or 0,
            "atoms": {
                "numbers": start.numbers.tolist(),
                "positions": start.positions.tolist(),
                "cell": start.cell.array.tolist(),
                "pbc": start.pbc.tolist(),
                "info": start.info,
            },
            "fixed": [index for held in start.constraints for index in held.index.tolist()],
        }
        if known and not (folder / worker.KNOWN).exists():
            beside = folder / f"{worker.KNOWN}.part"
            write(beside, list(known), format="traj")
            beside.replace(folder / worker.KNOWN)
        write_atomically(folder / worker.INPUT, json.dumps(job))
    except OSError as err:
        raise LoganCampaignError(f"cannot write a relaxation's files: {err.strerror}") from err
    checkpoint = Checkpoint(folder / worker.TRAJECTORY, start)
    memory_mb = level.max_memory_mb or physical_memory_mb()
    # Calculators on a GPU reserve far more address space than memory, so by default only GPAW
    # is limited.
    limit_mb = memory_mb if level.max_memory_mb or level.limits_memory else 0
    began = time.monotonic()
    deadline = None if level.max_time_s is None else began + level.max_time_s
    n_idle_starts = 0
    while True:
        if summary := _read_json(folder / worker.RESULT):
            frames, _ = checkpoint.load()
            return LoopResult(
                summary["state"],
                summary["reason"],
                frames,
                float(summary["elapsed_s"]),
                summary["notes"],
            )
        n_before = len(checkpoint.load()[0])
        end = _run_worker(
            folder,
            deadline=deadline,
            memory_mb=limit_mb,
            processes=level.n_processes,
            on_step=on_step,
        )
        if end.code == 0 and (folder / worker.RESULT).exists():
            continue
        frames, note = checkpoint.load()
        n_idle_starts = 0 if len(frames) > n_before else n_idle_starts + 1
        verdict = _judge(end, folder, memory_mb, n_idle_starts)
        if verdict is not None:
            state, what = verdict
            notes = {"remedies": note.get("remedies", []), "box_angstrom": None}
            elapsed = float(note.get("elapsed_s", 0.0)) + time.monotonic() - began
            return LoopResult(state, with_advice(state, what), frames, elapsed, notes)  # type: ignore[arg-type]


def take_over(before: Path, folder: Path) -> None:
    """Copy the files of a relaxation whose budget ended to the folder of its continuation.

    Does nothing if there are no such files, or the folder is already in use.

    Raises:
        LoganCampaignError: files cannot be copied.
    """
    trajectory = before / worker.TRAJECTORY
    if folder.exists() or not trajectory.exists():
        return
    beside = folder.with_suffix(".part")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for file in (trajectory, trajectory.with_suffix(".gpw")):
            if file.exists():
                shutil.copy2(file, beside)
        with TrajectoryReader(str(trajectory)) as frames:
            write_atomically(beside / worker.TAKEN_OVER, json.dumps(len(frames) - 1))
        beside.replace(folder)
    except InvalidULMFileError:
        shutil.rmtree(beside, ignore_errors=True)  # killed before its first frame was complete
    except OSError as err:
        raise LoganCampaignError(f"cannot copy a relaxation's files: {err.strerror}") from err


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
