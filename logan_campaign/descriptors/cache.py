"""A persistent cache of compiled programs, private to the user."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import jax

logger = logging.getLogger(__name__)


def enable_compilation_cache(directory: Path | None = None) -> Path | None:
    """Let JAX keep compiled programs on disk, in a directory of mode 0700.

    Compiled programs are executable code: a directory that belongs to another user, or is writable
    by others, is not used.

    Args:
        directory: the directory; by default ``logan-campaign/jax`` in ``$XDG_CACHE_HOME`` or
            ``~/.cache``.

    Returns:
        The directory, or None if it cannot be used (with a logged warning).
    """
    if directory is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(base) / "logan-campaign" / "jax"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            logger.warning("no compilation cache: %s belongs to another user", directory)
            return None
        directory.chmod(0o700)
    except OSError as err:
        logger.warning("no compilation cache: %s: %s", directory, err.strerror)
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return directory
