"""Pairs of species that stand side by side: only their distances can be learned."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase.data import chemical_symbols

from logan_campaign.core.documents import Geometry
from logan_campaign.geometry.neighbours import BOND_FACTOR, bonds_of
from logan_campaign.geometry.structures import to_atoms


def pairs_side_by_side(structures: Iterable[Geometry]) -> list[str]:
    """Return the pairs of species that are bonded in some structure, such as ``'O-Ti'``, sorted."""
    found: set[tuple[int, ...]] = set()
    for structure in structures:
        atoms = to_atoms(structure)
        bonds = bonds_of(atoms, BOND_FACTOR)  # ions of like charge may touch too
        ends = np.stack([atoms.numbers[bonds.first], atoms.numbers[bonds.second]], axis=1)
        found.update(map(tuple, np.unique(ends, axis=0).tolist()))
    return sorted({"-".join(sorted(chemical_symbols[z] for z in pair)) for pair in found})
