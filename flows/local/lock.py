"""One runner per flow at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logan_campaign.core.errors import StoreError


@contextmanager
def exclusive(path: Path, name: str) -> Iterator[None]:
    """Hold a lock file during the block.

    The kernel releases the lock when the process ends; the file remains.

    Args:
        path: the lock file; its directory must exist.
        name: what it protects, for the message.

    Raises:
        StoreError: another process holds the lock, or the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as err:
        raise StoreError(f"cannot lock '{name}': {path}: {err.strerror}") from err
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.read(descriptor, 64).decode(errors="replace").strip() or "unknown"
            raise StoreError(f"campaign '{name}' is already running (pid {holder})") from err
        except OSError as err:
            raise StoreError(f"cannot lock '{name}': {path}: {err.strerror}") from err
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except OSError as err:
            raise StoreError(f"cannot lock '{name}': {path}: {err.strerror}") from err
        yield
    finally:
        os.close(descriptor)
