"""Periodic images and neighbours, from the cell and the cutoff alone."""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms

from logan_campaign.geometry.lattice import heights
from logan_campaign.geometry.neighbours import neighbours


def translations(cell: np.ndarray, r_cut: float) -> np.ndarray:
    """Return the lattice translations that can bring an atom within ``r_cut`` of another.

    Two atoms are taken at their separation folded into [-1/2, 1/2] of each cell vector; a
    translation is listed if some such separation, shifted by it, is shorter than ``r_cut``.
    Small and sheared cells simply get more translations.

    Args:
        cell: cell vectors as rows, shape (3, 3) or, for the union over cells, (n, 3, 3) (Å).
        r_cut: cutoff radius (Å).

    Returns:
        Integer array of shape (n_translations, 3); the first row is zero.
    """
    cells = np.asarray(cell, dtype=float).reshape(-1, 3, 3)
    reach = np.floor((r_cut / heights(cells)).max(axis=0) + 0.5).astype(int)
    candidates = np.array(
        list(itertools.product(*(range(-reach[k], reach[k] + 1) for k in range(3)))), dtype=int
    )
    if len(cells) == 1:
        closest = _closest_distances(cells[0], candidates - 0.5, candidates + 0.5)
        candidates = candidates[closest < 1.001 * r_cut]
    return candidates[np.argsort(np.abs(candidates).sum(axis=1), kind="stable")]


def _closest_distances(cell: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the distance of the origin from each box of fractional coordinates.

    Coordinate descent on a convex function; a box whose descent has not come to rest
    counts as touching the origin.

    Args:
        cell: (3, 3) (Å).
        low, high: (n, 3) bounds of each box.
    """
    metric = cell @ cell.T
    x = np.clip(np.zeros_like(low), low, high)
    moved = np.full(len(low), np.inf)
    for _ in range(200):
        before = x.copy()
        for k in range(3):
            rest = x @ metric[:, k] - x[:, k] * metric[k, k]
            x[:, k] = np.clip(-rest / metric[k, k], low[:, k], high[:, k])
        moved = np.abs(x - before).max(axis=1)
        if moved.max() < 1e-7:
            break
    return np.where(moved < 1e-5, np.linalg.norm(x @ cell, axis=1), 0.0)


def nearest_neighbours(
    atoms: Atoms, positions: np.ndarray, centres: np.ndarray, r_cut: float, n_neighbour: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest neighbours of some atoms.

    Args:
        atoms: N atoms, which give cell and periodicity.
        positions: (N, 3) where they are (Å).
        centres: (n,) indices of the central atoms.
        r_cut: cutoff radius (Å).
        n_neighbour: how many neighbours to keep at most.

    Returns:
        Vectors to the neighbours, shape (n, n_neighbour, 3) (Å), and their atom
        indices, shape (n, n_neighbour), -1 where there is no neighbour; by distance.
    """
    cell = atoms.cell.complete().array
    found = neighbours(positions, cell, r_cut, atoms.pbc)
    order, rank = found.ranks(found.first)
    pair, slot = order[rank < n_neighbour], rank[rank < n_neighbour]
    first, second = found.first[pair], found.second[pair]
    vectors = np.zeros((len(positions), n_neighbour, 3))
    indices = np.full((len(positions), n_neighbour), -1)
    vectors[first, slot] = positions[second] + found.image[pair] @ cell - positions[first]
    indices[first, slot] = second
    return vectors[centres], indices[centres]
