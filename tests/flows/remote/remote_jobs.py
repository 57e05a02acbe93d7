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
def environments() -> list[str]:
    """Return what the system shows as the environment of this process and of those above it."""
    found, pid = [], os.getpid()
    while pid > 1:
        folder = Path("/proc") / str(pid)
        found.append((folder / "environ").read_text(errors="replace"))
        command = (folder / "cmdline").read_text()
        if "-m\0logan_campaign.flows.remote.execute" in command and "--job" not in command:
            break  # what started the job; above it are the tests
        pid = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


@job
def no_space() -> None:
    """Fail as on a full disk."""
    raise OSError(28, "No space left on device")
