"""Processes that run jobs end with the one that started them.

Nothing but the standard library is imported: a worker whose runner dies while it is still
importing shall not live on.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import sys

_F_SETSIG = 10  # Linux; not in the fcntl module
_PR_SET_PDEATHSIG = 1


def die_with_runner(lifeline: int) -> None:
    """Let the kernel kill this process group as soon as the runner is gone.

    The runner holds the other end of the pipe ``lifeline`` and never writes to it. When it
    dies, of whatever, the kernel signals the owner of this end: here the whole group, so
    that processes which jobs have started go, too.
    """
    os.set_inheritable(lifeline, False)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    try:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    except OSError:
        # A kernel that only resembles Linux. The death signal reaches this process alone,
        # and would win the race against the other: so it is not asked for elsewhere.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([lifeline], [], [], 0)[0]:
        sys.exit(1)  # the runner died before the signal was asked for
