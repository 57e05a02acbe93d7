"""Processes that run jobs end with the process that started them.

Only the standard library is imported, so that a worker ends too if its runner dies while the
worker is still importing.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import sys
import threading
from types import FrameType
from typing import Any

_F_SETSIG = 10  # Linux; not in the fcntl module
_PR_SET_PDEATHSIG = 1


def die_with_runner(lifeline: int) -> None:
    """Let the kernel kill this process group when the runner ends.

    The runner holds the other end of the pipe ``lifeline`` and never writes to it. When it
    ends, for whatever reason, the kernel signals the owner of this end: here the whole group,
    including processes that jobs have started.
    """
    os.set_inheritable(lifeline, False)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    try:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    except OSError:
        # A kernel that only resembles Linux. The parent-death signal reaches only this
        # process and would arrive first, so it is used only here.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([lifeline], [], [], 0)[0]:
        sys.exit(1)  # the runner died before the signal was requested


class StopSignals:
    """Records SIGINT and SIGTERM during a block; a second signal interrupts it."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
