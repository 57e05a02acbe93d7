"""Cells of one lattice."""

from __future__ import annotations

import numpy as np
from ase.geometry import minkowski_reduce


def heights(cell: np.ndarray) -> np.ndarray:
    """Return the distances (Å) between opposite faces of the cell(s); shape (..., 3)."""
    return 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=-2)


def reduced_cell(cell: np.ndarray) -> np.ndarray:
    """Return the most compact cell (3, 3) of the same lattice."""
    return np.asarray(minkowski_reduce(cell)[0])
