"""Single jobs for the tests on clusters."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import job


@job
def note(path: str, hang_s: float, always: bool = False) -> int:
    """Note in a file that the job has started, and, after a while, that it has ended.

    It takes so long the first time only, or always.
    """
    with Path(path).open("a") as file:
        file.write("started\n")
        file.flush()
        first = len(Path(path).read_text().splitlines()) == 1
        time.sleep(hang_s if first or always else 0.0)
        file.write("ended\n")
    return 0


@job(data="array")
def arrays(mib: int, before: dict[str, Any] | None = None, sleep_s: float = 0.0) -> dict[str, Any]:
    """Return an array of this size, plus the one before; as JSON it is more than twice as large."""
    time.sleep(sleep_s)
    array = np.linspace(0.0, 1.0, mib * 2**20 // 8)
    if before is not None:
        array += np.asarray(before["array"])
    return {"array": array, "size": array.size, "sum": float(array.sum())}
