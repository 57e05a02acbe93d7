"""Equality of crystals with given atoms that stay, by where the others are."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from pymatgen.core import Structure
from scipy.optimize import linear_sum_assignment
from spglib import get_symmetry

from logan_campaign.core.documents import marks

#: Tolerance (Å) for the symmetry of the given atoms, and for finding them in another structure.
_SAME_PLACE = 0.05


def placement_rmsd(first: Structure, second: Structure) -> float | None:
    """Return the RMSD (Å) of the free atoms of two structures around the same given atoms.

    It is the smallest over the symmetry operations of the given atoms, translations included, and
    the orders of equal atoms.

    Args:
        first: states which atoms are given.
        second: has the same cell and given atoms at the same places, or the result is None.
    """
    held = marks(first)["fixed"]
    cell = first.lattice.matrix
    if len(first) != len(second) or not np.allclose(cell, second.lattice.matrix, atol=1e-3):
        return None
    numbers = np.array(first.atomic_numbers)
    free = np.setdiff1d(np.arange(len(first)), held)
    given = first.frac_coords[held]
    others = _free_of(second, given, numbers[held])
    if others is None or sorted(np.array(second.atomic_numbers)[others]) != sorted(numbers[free]):
        return None
    unlike = numbers[free][:, None] != np.array(second.atomic_numbers)[others][None]
    rotations, translations = _symmetry(
        cell.tobytes(), np.round(given, 6).tobytes(), numbers[held].tobytes()
    )
    images = np.einsum("oij,aj->oai", rotations, second.frac_coords[others]) + translations[:, None]
    best = np.inf
    for image in images:
        square = _square_distances(first.frac_coords[free], image, cell)
        rows, columns = linear_sum_assignment(np.where(unlike, 1e6, square))
        best = min(best, float(square[rows, columns].mean()))
    return float(np.sqrt(best))


def _free_of(structure: Structure, given: np.ndarray, numbers: np.ndarray) -> np.ndarray | None:
    """Return the atoms that are not given ones (n_given, 3), None if those are not all there."""
    square = _square_distances(given, structure.frac_coords, structure.lattice.matrix)
    unlike = numbers[:, None] != np.array(structure.atomic_numbers)[None]
    square = np.where(unlike, np.inf, square)
    if (square.min(axis=1) > _SAME_PLACE**2).any():
        return None
    return np.setdiff1d(np.arange(len(structure)), square.argmin(axis=1))


def _square_distances(first: np.ndarray, second: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return squared distances (n, m) (Å²) of fractional coordinates, to the nearest images."""
    between = first[:, None] - second[None]
    return np.asarray((((between - np.rint(between)) @ cell) ** 2).sum(axis=-1))


@lru_cache(maxsize=64)
def _symmetry(cell: bytes, given: bytes, numbers: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations (n, 3, 3) and translations (n, 3) of the given atoms (fractional)."""
    crystal = (
        np.frombuffer(cell).reshape(3, 3).tolist(),
        np.frombuffer(given).reshape(-1, 3).tolist(),
        np.frombuffer(numbers, dtype=int).tolist(),
    )
    found = get_symmetry(crystal, symprec=_SAME_PLACE)
    if found is None:
        return np.eye(3)[None], np.zeros((1, 3))
    return found["rotations"], found["translations"]
