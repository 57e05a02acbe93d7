"""A crystal's symmetry in a form that GPAW can use.

By default, GPAW finds only operations that leave the origin fixed. The axes and centres of a
generated crystal can be anywhere in its cell, so that GPAW would find almost none. Here the origin
is moved to the point that most operations leave fixed; the other operations are passed to GPAW
with translations that are exact fractions, as its grid has to be compatible with them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from spglib import SpglibError, get_symmetry_dataset

#: In the standard settings of all space groups, the points of highest site symmetry (one on each
#: axis or plane), and the translations once the origin is there, are multiples of 1/24.
_FRACTIONS = 24


class SymmetryFrame(NamedTuple):
    """Shift of the origin, and the operations about it, including the identity.

    Attributes:
        shift: (3,) fractional vector to be added to all atoms.
        rotations: (n, 3, 3) integer matrices W and
        translations: (n, 3) w: after the shift, fractional coordinates x become W x + w.
    """

    shift: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray

    def for_gpaw(self, tolerance: float) -> dict[str, object]:
        """Return GPAW's ``symmetry`` argument, whose matrices act on rows; ``tolerance`` in Å."""
        return {
            "rotations": self.rotations.transpose(0, 2, 1).tolist(),
            "translations": self.translations.tolist(),
            "tolerance": tolerance,
        }


def symmetry_frame(
    numbers: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray,
    tolerance: float,
    with_translations: bool,
) -> SymmetryFrame | None:
    """Return the origin about which a crystal has most operations, and the operations.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) Å.
        cell: (3, 3) lattice vectors as rows (Å).
        tolerance: spglib's tolerance (Å).
        with_translations: also return operations that move every point. Ignored if the cell is not
            primitive: GPAW accepts no pure translations.

    Returns:
        Origin and operations; None if spglib finds no symmetry, or operations with matrix elements
        other than -1, 0 and 1, which GPAW does not support.
    """
    numbers, cell = np.asarray(numbers), np.asarray(cell, dtype=float)
    fractional = np.asarray(positions, dtype=float) @ np.linalg.inv(cell)
    try:
        crystal = cell.tolist(), fractional.tolist(), numbers.tolist()
        found = get_symmetry_dataset(crystal, symprec=tolerance)
    except SpglibError:
        return None
    if found is None or len(found.rotations) == 1:
        return None
    rotations, translations = np.asarray(found.rotations), np.asarray(found.translations)
    if np.abs(rotations).max() > 1:
        return None
    steps = np.arange(_FRACTIONS) / _FRACTIONS
    standard = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    points = (standard - found.origin_shift) @ np.linalg.inv(found.transformation_matrix).T
    points = np.vstack([np.zeros(3), points])  # the present origin, preferred among equals
    # (n, points, 3): displacement of each point by each operation, modulo lattice vectors
    moved = translations[:, None] + points @ (rotations - np.eye(3)).transpose(0, 2, 1)
    away = np.linalg.norm((moved - np.rint(moved)) @ cell, axis=-1)
    fixed = away < tolerance
    best = int(fixed.sum(axis=0).argmax())
    exact = np.rint(moved[:, best] * _FRACTIONS) / _FRACTIONS
    near = np.linalg.norm((moved[:, best] - exact) @ cell, axis=-1) < tolerance
    primitive = (rotations == np.eye(3)).all(axis=(1, 2)).sum() == 1
    kept = fixed[:, best]
    if with_translations and primitive and near.all():
        kept = np.ones(len(rotations), dtype=bool)
    # displacements within the tolerance are set to zero
    exact = np.where(fixed[:, best, None], 0.0, exact % 1.0)[kept]
    return SymmetryFrame(-points[best], rotations[kept], exact)
