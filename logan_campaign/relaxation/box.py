"""The box in which a molecule is computed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms


class Box(NamedTuple):
    """A molecule's box: edges, and shift of the molecule into it (Å)."""

    lengths: list[float]
    shift: list[float]

    @classmethod
    def around(cls, atoms: Atoms, vacuum: float, unit: float | None = None) -> Box:
        """Return a box with at least the given vacuum on every side.

        Args:
            atoms: the molecule.
            vacuum: Å.
            unit: edges are multiples of this (Å); None: no constraint.
        """
        low, high = atoms.positions.min(axis=0), atoms.positions.max(axis=0)
        lengths = high - low + 2 * vacuum
        if unit is not None:
            lengths = np.ceil(lengths / unit - 1e-6) * unit
        return cls(lengths.tolist(), (lengths / 2 - (low + high) / 2).tolist())

    def put(self, atoms: Atoms) -> Atoms:
        """Return the molecule in the box."""
        boxed = atoms.copy()
        boxed.positions += self.shift
        boxed.cell = np.diag(self.lengths)
        boxed.pbc = False
        return boxed
