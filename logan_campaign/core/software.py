"""Versions of the software that results depend on."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Distributions whose version can change results.
DISTRIBUTIONS = (
    "logan-campaign",
    "jax",
    "jaxlib",
    "optax",
    "numpy",
    "scikit-learn",
    "ase",
    "pymatgen",
    "rdkit",
    "tblite",
    "gpaw",
    "gpaw-data",
    "atomate2",
    "jobflow",
    "maggma",
)


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version()), ("platform", _platform())]
    for name in DISTRIBUTIONS:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:  # an optional package that is not installed
            continue
    return tuple(found)


def _platform() -> str:
    """Return operating system, architecture and processor, on which compiled programs depend."""
    kind = f"{platform.system()} {platform.machine()}"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{kind} ({line.partition(':')[2].strip()})"
    except OSError:
        pass  # not Linux: only the standard library's information
    processor = platform.processor()
    return f"{kind} ({processor})" if processor else kind


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of relevant installed packages, and the
    ``platform``."""
    return dict(_versions())
