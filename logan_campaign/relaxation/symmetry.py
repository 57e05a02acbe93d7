"""A crystal's symmetry in the form in which GPAW can use it.

GPAW itself finds operations that leave the origin where it is, and by default no others. A
generated crystal's axes and centres are anywhere in its cell, so that next to nothing would be
found. Here the origin goes to the point that most operations leave in place; the others are handed
to GPAW with translations that are exact fractions, as its grid has to hold them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from spglib import SpglibError, get_symmetry_dataset

#: In the standard settings of all space groups, the points of highest site symmetry (one on each
#: axis or plane), and the translations once the origin is there, are multiples of 1/24.
_FRACTIONS = 24


class SymmetryFrame(NamedTuple):
    """Where to put the origin, and the operations about it; the identity is among them.

    Attributes:
        shift: (3,) fractional vector to be added to all atoms.
        rotations: (n, 3, 3) integer matrices W and
        translations: (n, 3) w: with the atoms moved, fractional coordinates x become W x + w.
    """

    shift: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray

    def for_gpaw(self, tolerance: float) -> dict[str, object]:
        """Return GPAW's ``symmetry``, whose matrices act on rows; ``tolerance`` in Å."""
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
    """Return the origin about which a crystal has most operations, and these.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) Å.
        cell: (3, 3) cell vectors as rows (Å).
        tolerance: spglib's (Å).
        with_translations: also return operations that move every point. Without effect where the
            cell holds a smaller one: GPAW takes no pure translations.

    Returns:
        None where spglib finds no symmetry, or operations that GPAW's matrices of -1, 0 and 1 do
        not hold.
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
    points = np.vstack([np.zeros(3), points])  # the origin as it is, which wins where it is as good
    # (n, points, 3): how far each operation takes each point, to whole cells
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
    # what stays in place to the tolerance gets no translation at all
    exact = np.where(fixed[:, best, None], 0.0, exact % 1.0)[kept]
    return SymmetryFrame(-points[best], rotations[kept], exact)
