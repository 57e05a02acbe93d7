"""Atomic writes, and errors of the file system in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logan_campaign.core.errors import InputError


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it is renamed to ``path`` when the block ends.

    After an error or a crash, the file is either the old or the new one, never partial. Without
    ``durable`` this does not cover a crash of the machine, but small files are written faster.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)  # left by a process that was killed and had the same pid
    try:
        yield beside
        if durable:
            with beside.open("rb") as file:
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str, durable: bool = True) -> None:
    """Write a file by :func:`whole_file`; text as UTF-8."""
    with whole_file(path, durable) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        InputError: it cannot be read, or is not a text.
    """
    try:
        with file_errors("read", path):
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as err:
        raise InputError(f"{path}: not a text file") from err


@contextmanager
def file_errors(verb: str, path: Path) -> Iterator[None]:
    """Convert errors of the file system to InputError: ``'cannot <verb> <path>: <why>'``."""
    try:
        yield
    except OSError as err:
        raise InputError(f"cannot {verb} {path}: {err.strerror or err}") from err
