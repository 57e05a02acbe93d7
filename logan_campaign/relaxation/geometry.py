"""Plain geometry that decides over a relaxation's state: collisions, fragments, cells."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import minkowski_reduce
from ase.neighborlist import neighbor_list
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

#: Atoms closer than this sit on each other (Å).
COLLISION_DISTANCE = 0.3
#: No two atoms that a calculator can be right about are closer than this multiple of the sum of
#: their covalent radii: Cr2, the shortest of bonds by this measure, has 0.60.
OVERLAP_FACTOR = 0.55
#: Two atoms are bonded up to this multiple of the sum of their covalent radii.
BOND_FACTOR = 1.3
#: Fragments that are further apart than this multiple will not come together again.
FAR_FACTOR = 2.5
#: No solid has less space per atom (Å³); diamond has 5.7, hydrogen at 250 GPa about 1.8.
MIN_VOLUME_PER_ATOM = 1.0
#: A cell this flat holds no atom (Å).
MIN_CELL_HEIGHT = 0.7


def collision(atoms: Atoms) -> str:
    """Return which atoms sit on each other, periodic images included, or ''."""
    if atoms.pbc.any():
        first, second, distance = neighbor_list("ijd", atoms, COLLISION_DISTANCE)
        if len(first) == 0:
            return ""
        nearest = int(np.argmin(distance))
        i, j, d = int(first[nearest]), int(second[nearest]), float(distance[nearest])
    else:
        if len(atoms) < 2:
            return ""
        distances = pdist(atoms.positions)
        nearest = int(np.argmin(distances))
        d = float(distances[nearest])
        if d >= COLLISION_DISTANCE:
            return ""
        rows, columns = np.triu_indices(len(atoms), 1)
        i, j = int(rows[nearest]), int(columns[nearest])
    return _apart(atoms, i, j, d)


def overlap(atoms: Atoms) -> str:
    """Return which atoms overlap as no bonded atoms do, periodic images included, or ''."""
    reach = OVERLAP_FACTOR * covalent_radii[atoms.numbers]
    first, second, distance = neighbor_list("ijd", atoms, reach)
    if len(first) == 0:
        return ""
    nearest = int(np.argmin(distance))
    return _apart(atoms, int(first[nearest]), int(second[nearest]), float(distance[nearest]))


def _apart(atoms: Atoms, i: int, j: int, distance: float) -> str:
    names = f"{atoms.symbols[i]} (atom {i}) and {atoms.symbols[j]} (atom {j})"
    return f"{names} are {distance:.2f} Å apart"


def _components(atoms: Atoms, factor: float) -> tuple[int, np.ndarray]:
    radii = covalent_radii[atoms.numbers]
    near = squareform(pdist(atoms.positions)) < factor * (radii[:, None] + radii[None, :])
    count, labels = connected_components(csr_array(near), directed=False)
    return int(count), labels


def fragments(atoms: Atoms, factor: float = BOND_FACTOR) -> list[str]:
    """Return the formulas of the molecules that the atoms form; one if all hang together."""
    if len(atoms) < 2:
        return [atoms.get_chemical_formula()]
    count, labels = _components(atoms, factor)
    return sorted(atoms[labels == k].get_chemical_formula() for k in range(count))


def cell_heights(atoms: Atoms) -> np.ndarray:
    """Return the three distances (Å) between opposite faces of the reduced cell."""
    cell, _ = minkowski_reduce(atoms.cell.complete())
    return 1.0 / np.linalg.norm(np.linalg.inv(cell).T, axis=1)


def collapse(atoms: Atoms, reference_volume: float | None = None) -> str:
    """Return what is wrong with a crystal's cell, or ''.

    Args:
        atoms: a periodic structure.
        reference_volume: volume (Å³) before the cell was relaxed, if it was.
    """
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    per_atom = volume / max(len(atoms), 1)
    if per_atom < MIN_VOLUME_PER_ATOM:
        return f"the cell has {per_atom:.2f} Å³ per atom"
    height = float(cell_heights(atoms).min())
    if height < MIN_CELL_HEIGHT:
        return f"the cell is only {height:.2f} Å high"
    if reference_volume is not None:
        ratio = volume / reference_volume
        if ratio < 0.25 or ratio > 4.0:
            return f"the cell's volume changed by a factor of {ratio:.2f}"
    return ""
