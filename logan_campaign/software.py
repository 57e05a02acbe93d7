"""Versions of the software that a result depends on."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

#: Distributions whose version can change a result.
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
    found = [("python", platform.python_version())]
    for name in DISTRIBUTIONS:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:  # an optional part that is not installed
            continue
    return tuple(found)


def software_versions() -> dict[str, str]:
    """Return name and version of Python and of every installed package that matters."""
    return dict(_versions())
