"""Progress of long computations.

Computations call :func:`report`, which has no cost without a listener. A runner installs a listener
around a job with :func:`listening`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Progress(NamedTuple):
    """One report: ``completed`` of ``total`` units of ``task`` and a short note.

    ``total`` is 0 if nobody knows it.
    """

    task: str
    completed: int
    total: int
    note: str = ""


_listener: ContextVar[Callable[[Progress], None] | None] = ContextVar("listener", default=None)


def report(task: str, completed: int, total: int, note: str = "") -> None:
    """Report the progress of ``task`` to the current listener, if any."""
    callback = _listener.get()
    if callback is not None:
        callback(Progress(task, completed, total, note))


@contextmanager
def listening(callback: Callable[[Progress], None]) -> Iterator[None]:
    """Send every report made inside the block to ``callback``."""
    token = _listener.set(callback)
    try:
        yield
    finally:
        _listener.reset(token)
