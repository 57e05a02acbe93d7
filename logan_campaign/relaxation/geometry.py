"""Geometric criteria for a relaxation's state: collisions, fragments, cells."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from logan_campaign.geometry.lattice import heights, reduced_cell
from logan_campaign.geometry.neighbours import BOND_FACTOR, closest_pair, find_bonds, neighbours

#: Atoms closer than this coincide (Å).
COLLISION_DISTANCE = 0.3
#: Atoms closer than this multiple of the sum of their covalent radii overlap unphysically: the
#: shortest bond by this measure, Cr2, has 0.60.
OVERLAP_FACTOR = 0.55
#: Fragments further apart than this multiple will not recombine.
FAR_FACTOR = 2.5
#: Least volume per atom of a solid (Å³); diamond has 5.7, hydrogen at 250 GPa about 1.8.
MIN_VOLUME_PER_ATOM = 1.0
#: A cell flatter than this has no room for an atom (Å).
MIN_CELL_HEIGHT = 0.7


def collision(atoms: Atoms) -> str:
    """Describe atoms that coincide, periodic images included, or return ''."""
    near = neighbours(atoms.positions, atoms.cell.array, COLLISION_DISTANCE, atoms.pbc)
    if len(near.distance) == 0:
        return ""
    nearest = int(np.argmin(near.distance))
    i, j = int(near.first[nearest]), int(near.second[nearest])
    names = f"{atoms.symbols[i]} (atom {i}) and {atoms.symbols[j]} (atom {j})"
    return f"{names} are {near.distance[nearest]:.2f} Å apart"


def overlap(atoms: Atoms) -> str:
    """Describe atoms closer than any bond, periodic images included, or return ''."""
    return closest_pair(atoms, OVERLAP_FACTOR) or ""


def fragments(atoms: Atoms, factor: float = BOND_FACTOR) -> list[str]:
    """Return the formulas of the fragments of a molecule; one if all atoms are connected."""
    bonds = find_bonds(atoms.numbers, atoms.positions[None], None, factor)
    labels = bonds.pieces(1, len(atoms))[0]
    return sorted(atoms[labels == k].get_chemical_formula() for k in range(labels.max() + 1))


def cell_heights(atoms: Atoms) -> np.ndarray:
    """Return the three distances (Å) between opposite faces of the reduced cell."""
    return heights(reduced_cell(atoms.cell.array))


def collapse(atoms: Atoms, reference_volume: float | None = None) -> str:
    """Describe the fault of a crystal's cell, or return ''.

    Args:
        atoms: a periodic structure.
        reference_volume: volume (Å³) before the cell was relaxed; None at fixed cell.
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
