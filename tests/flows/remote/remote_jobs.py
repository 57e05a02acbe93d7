"""Jobs for the executor's tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jobflow import job


@job
def append(path: str, die: int = 0, sleep_s: float = 0.0, then_sleep_s: float = 0.0) -> int:
    """Append a line to a file; kill this process the first ``die`` times."""
    with Path(path).open("a") as file:
        file.write("ran\n")
    n = len(Path(path).read_text().splitlines())
    if n <= die:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(sleep_s if n == 1 else then_sleep_s)
    return n


@job
def no_space() -> None:
    """Fail as on a full disk."""
    raise OSError(28, "No space left on device")
