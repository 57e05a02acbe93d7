"""Molecular graphs of many raw geometries of one composition at once.

The rule is that of :func:`logan_campaign.geometry.molecules.perceive` for rough geometries: bonds
are added from the shortest, in sums of covalent radii, as far as valences allow, up to the shortest
reach that gives one neutral closed-shell molecule. All structures are processed together, and RDKit
is called once per distinct connectivity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from rdkit import rdBase

from logan_campaign.geometry.lewis import Named
from logan_campaign.geometry.molecules import REACHES, join_nearest, molecule_of_bonds

#: Structures per batch, to bound memory.
_CHUNK = 4096


class PoolGraphs(NamedTuple):
    """The graphs of n structures.

    Attributes:
        smiles: (n,) canonical SMILES without stereochemistry; '' without valid graph.
        clarity: (n,) shortest distance between unbonded atoms over the longest bond, both in
            sums of covalent radii; larger values mean clearer bonds. 0 without graph.
        separated: (n,) whether the graph has separated charges, like an ylide.
    """

    smiles: np.ndarray
    clarity: np.ndarray
    separated: np.ndarray

    def preferred(self) -> np.ndarray:
        """Return the SMILES without those of separated charges, if any other is there."""
        if not ((self.smiles != "") & ~self.separated).any():
            return self.smiles
        return np.where(self.separated, "", self.smiles)


def pool_graphs(numbers: np.ndarray, positions: np.ndarray) -> PoolGraphs:
    """Find the molecular graph of every structure.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n, n_atoms, 3) positions (Å); those that are not finite have no graph.
    """
    numbers = np.asarray(numbers, dtype=int)
    positions = np.asarray(positions, dtype=np.float64)
    smiles = np.full(len(positions), "", dtype=object)
    clarity = np.zeros(len(positions))
    separated = np.zeros(len(positions), dtype=bool)
    known: dict[bytes, Named | None] = {}
    usable = np.flatnonzero(np.isfinite(positions).all(axis=(1, 2)))
    with rdBase.BlockLogs():
        for start in range(0, len(usable), _CHUNK):
            rows = usable[start : start + _CHUNK]
            smiles[rows], clarity[rows], separated[rows] = _graphs(numbers, positions[rows], known)
    return PoolGraphs(smiles, clarity, separated)


def _graphs(
    numbers: np.ndarray, positions: np.ndarray, known: dict[bytes, Named | None]
) -> PoolGraphs:
    """Return the graphs; ``known`` maps connectivity to names, and is extended."""
    n = len(positions)
    pairs, ratio, joined = join_nearest(numbers, positions)
    smiles, clarity = np.full(n, "", dtype=object), np.zeros(n)
    separated = np.zeros(n, dtype=bool)
    pending = np.arange(n)
    tried = np.full(n, -1)
    for reach in REACHES:
        bonds = joined & (ratio < reach)
        count = bonds.sum(axis=1)
        # fewer bonds than a tree has, or the same as at the shorter reach
        for row in pending[
            (count[pending] >= len(numbers) - 1) & (count[pending] != tried[pending])
        ]:
            key = np.packbits(bonds[row]).tobytes()
            if key not in known:
                known[key] = molecule_of_bonds(numbers, positions[row], pairs[bonds[row]])
            named = known[key]
            # one with separated charges only where no reach gives another
            if named is not None and (smiles[row] == "" or not named.separated):
                smiles[row], separated[row] = named
                apart = np.where(bonds[row], np.inf, ratio[row]).min(initial=np.inf)
                clarity[row] = apart / max(ratio[row][bonds[row]].max(initial=0.0), 1e-9)
        tried = count
        pending = pending[(smiles[pending] == "") | separated[pending]]
    if len(numbers) == 1:
        clarity[:] = np.where(smiles != "", 1.0, 0.0)
    return PoolGraphs(smiles, clarity, separated)
