"""Assignment of processor cores to processes and their numerical libraries.

A model trains fastest on one core: one process per core scales, threads within a model do not.
Call this module before anything imports JAX.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from logan_campaign.core.errors import InputError

#: One thread per process, since members and relaxations run in parallel. Sums are then also the
#: same on every machine: reproducing a campaign to the last bit needs these settings.
SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    # size of XLA's thread pool; sums depend on it, and the default is the number of cores
    "NPROC": "1",
}
_XLA_SINGLE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def single_threaded(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the settings for one thread."""
    flags = f"{environment.get('XLA_FLAGS', '')} {_XLA_SINGLE_THREAD}".strip()
    return {**environment, **SINGLE_THREAD, "XLA_FLAGS": flags}


def pin_to_cores(cores: Iterable[int]) -> None:
    """Restrict this process to the given cores, with one thread per core.

    JAX counts the usable cores when it starts its threads; OpenMP and BLAS read environment
    variables. Both happen at import, so this must be called first.

    Args:
        cores: numbers of the cores, a subset of the usable ones.

    Raises:
        InputError: no core is given, or one is not usable.
        RuntimeError: JAX is already imported.
    """
    wanted, allowed = set(cores), os.sched_getaffinity(0)
    if not wanted or not wanted <= allowed:
        raise InputError(f"cores {sorted(wanted)} are not among the usable {sorted(allowed)}")
    if "jax" in sys.modules:
        raise RuntimeError("pin_to_cores comes too late: JAX is imported already")
    os.sched_setaffinity(0, wanted)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(len(wanted))
    # When it reads its compilation cache, XLA logs tuning hints as missing processor features.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def usable_cores() -> list[int]:
    """Return the usable cores of this process."""
    return sorted(os.sched_getaffinity(0))


class CoreClaims:
    """Cores claimed for this process's workers, which other processes avoid.

    A claim is a file lock, so it ends with the process. If all cores are claimed, they are shared.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"logan-campaign-cores-{os.getuid()}"
        self._held: list[int] = []

    def take(self, n: int) -> list[int]:
        """Return cores for so many workers: free ones first."""
        cores = usable_cores()
        free = [core for core in cores if len(self._held) < n and self._claim(core)]
        return (free + [core for core in cores if core not in free])[: max(n, 1)]

    def release(self) -> None:
        """Release all claims."""
        while self._held:
            os.close(self._held.pop())

    def _claim(self, core: int) -> bool:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            file = os.open(self._folder / str(core), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False  # without claims, cores are taken in order
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._held.append(file)
        return True
