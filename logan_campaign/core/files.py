"""Files that a crash cannot tear, and errors of the disk in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logan_campaign.core.errors import InputError


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it is renamed to ``path`` when the block ends.

    An error or a crash leaves the old file or the new one, never a part. Where ``durable``
    is false, that does not hold for a crash of the whole machine, and small files are written
    faster.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)  # of a process that was killed and had the same number
    try:
        yield beside
        if durable:
            with beside.open("rb") as file:
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str, durable: bool = True) -> None:
    """Write a file by way of :func:`whole_file`; text as UTF-8."""
    with whole_file(path, durable) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def file_errors(verb: str, path: Path) -> Iterator[None]:
    """Turn errors of the file system into an InputError: ``'cannot <verb> <path>: <why>'``."""
    try:
        yield
    except OSError as err:
        raise InputError(f"cannot {verb} {path}: {err.strerror or err}") from err
