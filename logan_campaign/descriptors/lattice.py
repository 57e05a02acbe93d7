"""Periodic images and neighbours, from the cell and the cutoff alone."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell, minkowski_reduce
from scipy.optimize import lsq_linear


def heights(cell: np.ndarray) -> np.ndarray:
    """Return the distances (Å) between opposite faces of the cell(s); shape (..., 3)."""
    return 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=-2)


def translations(cell: np.ndarray, r_cut: float, pbc: np.ndarray | None = None) -> np.ndarray:
    """Return the lattice translations that can bring an atom within ``r_cut`` of another.

    Two atoms are taken at their separation folded into [-1/2, 1/2] of each periodic cell
    vector; a translation is listed if some such separation, shifted by it, is shorter than
    ``r_cut``. Small and sheared cells simply get more translations.

    Args:
        cell: cell vectors as rows, shape (3, 3) or, for the union over cells, (n, 3, 3) (Å).
        r_cut: cutoff radius (Å).
        pbc: which cell vectors are periodic; all by default.

    Returns:
        Integer array of shape (n_translations, 3); the first row is zero.
    """
    cells = np.asarray(cell, dtype=float).reshape(-1, 3, 3)
    periodic = np.ones(3, dtype=bool) if pbc is None else np.asarray(pbc, dtype=bool)
    reach = np.floor((r_cut / heights(cells)).max(axis=0) + 0.5).astype(int) * periodic
    candidates = np.array(
        list(itertools.product(*(range(-reach[k], reach[k] + 1) for k in range(3)))), dtype=int
    )
    if len(cells) == 1:
        # A non-periodic direction folds nothing, so it cannot rule a translation out.
        free = np.where(periodic, 0.5, np.inf)
        keep = [
            not n.any()
            or 2.0 * lsq_linear(cells[0].T, np.zeros(3), (n - free, n + free)).cost < r_cut**2
            for n in candidates.astype(float)
        ]
        candidates = candidates[keep]
    return candidates[np.argsort(np.abs(candidates).sum(axis=1), kind="stable")]


def reduced_cell(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Return the most compact cell of the same lattice; empty vectors are completed."""
    return np.asarray(minkowski_reduce(complete_cell(cell), pbc=pbc)[0])


def nearest_neighbours(
    atoms: Atoms, centres: np.ndarray, r_cut: float, n_neighbour: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest neighbours of some atoms, periodic where ``atoms.pbc`` says so.

    Args:
        atoms: structure.
        centres: indices of the central atoms, shape (n,).
        r_cut: cutoff radius (Å).
        n_neighbour: how many neighbours to keep at most.

    Returns:
        Vectors to the neighbours, shape (n, n_neighbour, 3) (Å), and their atom indices,
        shape (n, n_neighbour), -1 where there is no neighbour; by distance.
    """
    positions = atoms.get_positions()
    pbc = np.asarray(atoms.pbc, dtype=bool)
    difference = positions[None, :, :] - positions[centres, None, :]
    shifts = np.zeros((1, 3))
    if pbc.any():
        cell = reduced_cell(np.asarray(atoms.cell), pbc)
        fractional = difference @ np.linalg.inv(cell)
        difference = difference - np.where(pbc, np.round(fractional), 0.0) @ cell
        shifts = translations(cell, r_cut, pbc) @ cell
    square = np.stack([((difference + t) ** 2).sum(axis=-1) for t in shifts], axis=-1)
    square[np.arange(len(centres)), centres, 0] = np.inf
    square = square.reshape(len(centres), -1)
    count = min(n_neighbour, square.shape[1])
    nearest = np.argpartition(square, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(square, nearest, axis=1).argsort(axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    inside = np.take_along_axis(square, nearest, axis=1) < r_cut**2
    atom, image = np.divmod(nearest, len(shifts))
    rows = np.arange(len(centres))[:, None]
    vectors = np.zeros((len(centres), n_neighbour, 3))
    indices = np.full((len(centres), n_neighbour), -1)
    vectors[:, :count] = np.where(inside[..., None], difference[rows, atom] + shifts[image], 0.0)
    indices[:, :count] = np.where(inside, atom, -1)
    return vectors, indices
