"""The worker process of an isolated relaxation.

Started as ``python -m logan_campaign.relaxation.worker FOLDER PARENT_PID PROGRESS
DEADLINE MEMORY_MB``; reads ``input.json`` in the folder, appends to ``relax.traj`` and
writes ``result.json`` atomically at the end. PROGRESS is a file descriptor or the path of a
pipe.

Under ``mpiexec`` every process runs this; only the first one reads and writes.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from logan_campaign.core.files import write_atomically

#: Exit code for files that cannot be read or written, as in sysexits.h.
EX_IOERR = 74

INPUT, TRAJECTORY, RESULT = "input.json", "relax.traj", "result.json"
#: Frames of earlier relaxations, if there are any to learn from.
KNOWN = "known.traj"
#: Number of steps taken over from a job whose budget ended.
TAKEN_OVER = "earlier_steps.json"
LOG_OF_WORKER = "worker.log"

_PR_SET_PDEATHSIG = 1


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(1.0)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
    if os.getppid() != parent:  # the parent died before its death signal was requested
        os.kill(os.getpid(), signal.SIGKILL)


def _die_without(campaign: int) -> None:
    """End this process when its ``mpiexec`` or the campaign ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        try:
            while True:
                os.kill(campaign, 0)
                time.sleep(1.0)
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _limit_memory(memory_mb: int) -> None:
    import resource

    if memory_mb > 0:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = memory_mb * 2**20
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    if sys.platform == "linux":
        # If memory runs out, the kernel should kill this process, not the campaign.
        Path("/proc/self/oom_score_adj").write_text("800")


def main(argv: list[str]) -> int:
    """Run the relaxation described in a folder; return the exit code."""
    folder, parent, progress, deadline, memory_mb = argv
    parallel = not progress.isdigit()
    if parallel:
        _die_without(int(parent))
    else:
        _die_with_parent(int(parent))
    _limit_memory(int(memory_mb))
    import faulthandler

    faulthandler.enable()

    from ase import Atoms
    from ase.constraints import FixAtoms
    from ase.io import read

    from logan_campaign.relaxation.base import LEVELS
    from logan_campaign.relaxation.checkpoint import Checkpoint

    first, progress_fd = True, -1
    if not parallel:
        progress_fd = int(progress)
    else:
        from gpaw.mpi import world

        first = world.rank == 0
        if first:
            progress_fd = os.open(progress, os.O_WRONLY)

    def on_step(step: int, energy: float, fmax: float) -> None:
        line = json.dumps([step, energy, fmax]) + "\n"
        os.write(progress_fd, line.encode())

    here = Path(folder)
    try:
        job = json.loads((here / INPUT).read_text())
        held = FixAtoms(job["fixed"]) if job["fixed"] else None
        atoms = Atoms(**job["atoms"], constraint=held)
        result = LEVELS.parse(job["level"]).relax_atoms(
            atoms,
            folder=here,
            earlier_steps=job["earlier_steps"],
            checkpoint=Checkpoint(here / TRAJECTORY, atoms),
            deadline=float(deadline) if float(deadline) > 0 else None,
            on_step=on_step,
            **({"known": read(here / KNOWN, ":")} if (here / KNOWN).exists() else {}),
        )
        summary = {
            "state": result.state,
            "reason": result.reason,
            "elapsed_s": result.elapsed_s,
            "notes": result.notes,
        }
        if first:
            write_atomically(here / RESULT, json.dumps(summary))
        if parallel:
            world.barrier()
    except OSError as err:
        print(f"{type(err).__name__}: {err.strerror or err}", file=sys.stderr)
        return EX_IOERR
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    if not sys.argv[3].isdigit():
        sys.exit(code)  # MPI reports any other exit as a crash
    # Finalisers of GPAW and libraries are not needed, and may hang or crash.
    os._exit(code)
