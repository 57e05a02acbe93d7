"""Symmetrization of nearly symmetric crystals.

Structures of low energy tend to be symmetric (C. J. Pickard, R. J. Needs, J. Phys.: Condens.
Matter 23, 053201 (2011), doi:10.1088/0953-8984/23/5/053201), and a generator that knows no space
groups gives them up to a few tenths of an ångström. The operations are spglib's (A. Togo,
K. Shinohara, I. Tanaka, STAM Methods 4, 2384822 (2024),
doi:10.1080/27660400.2024.2384822); each atom goes to the mean of its images under them. ASE's
``refine_symmetry`` does likewise, but changes the cell too, which may be given.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from scipy.linalg import sqrtm
from spglib import SpglibError, get_spacegroup_type_from_symmetry, get_symmetry_dataset

from logan_campaign.geometry.spacegroups import LATTICE_TOLERANCE

# spglib prints to standard error when it reduces its tolerance, which is intended
os.environ.setdefault("SPGLIB_WARNING", "OFF")


class Operations(NamedTuple):
    """Symmetry operations of a crystal within a tolerance, including the identity.

    Attributes:
        rotations: (n, 3, 3) integer matrices and
        translations: (n, 3): fractional coordinates x become W x + w.
        images: (n, n_atoms) index of the image of each atom.
    """

    rotations: np.ndarray
    translations: np.ndarray
    images: np.ndarray

    @property
    def n(self) -> int:
        """Number of operations, 1 for the identity alone."""
        return len(self.rotations)

    def space_group(self, cell: np.ndarray) -> str:
        """Return the symbol of the space group, such as ``'C2/c'``; ``cell``: (3, 3) Å."""
        found = get_spacegroup_type_from_symmetry(self.rotations, self.translations, cell)
        return f"{self.n} operations" if found is None else str(found.international_short)


def find_operations(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, symprec: float, fixed_cell: bool
) -> Operations:
    """Return the symmetry operations that a crystal has within a tolerance.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) Å.
        cell: (3, 3) cell vectors as rows (Å).
        symprec: spglib's tolerance (Å).
        fixed_cell: only operations of the unchanged lattice, within 0.01 Å.

    Returns:
        The operations; only the identity if spglib finds no others, or one of them maps two
        atoms to the same position.
    """
    numbers, cell = np.asarray(numbers), np.asarray(cell)
    fractional = np.asarray(positions) @ np.linalg.inv(cell)
    alone = Operations(np.eye(3, dtype=int)[None], np.zeros((1, 3)), np.arange(len(numbers))[None])
    try:
        crystal = cell.tolist(), fractional.tolist(), numbers.tolist()
        found = get_symmetry_dataset(crystal, symprec=symprec)
    except SpglibError:
        return alone
    if found is None:
        return alone
    rotations, translations = np.asarray(found.rotations), np.asarray(found.translations)
    if fixed_cell:
        kept = _lattice_has(rotations, cell)
        rotations, translations = rotations[kept], translations[kept]
    away = _to_images(fractional, rotations, translations)
    distance = np.linalg.norm(away @ cell, axis=-1)
    distance[:, numbers[:, None] != numbers] = np.inf
    images = distance.argmin(axis=-1)
    if (np.sort(images, axis=-1) != np.arange(len(numbers))).any():
        return alone
    return Operations(rotations, translations, images)


def symmetrized(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, symprec: float, fixed_cell: bool
) -> tuple[np.ndarray, np.ndarray, int]:
    """Symmetrize a nearly symmetric crystal.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) Å.
        cell: (3, 3) cell vectors as rows (Å).
        symprec: spglib's tolerance (Å): largest distance of atoms from their symmetric positions.
        fixed_cell: keep the cell; only operations of its lattice are used.

    Returns:
        Positions (n_atoms, 3) and cell (3, 3), both in Å, unchanged without symmetry; and the
        number of operations, 1 for the identity alone.
    """
    positions, cell = np.asarray(positions, dtype=float), np.asarray(cell, dtype=float)
    found = find_operations(numbers, positions, cell, symprec, fixed_cell)
    if found.n == 1:
        return positions, cell, 1
    fractional = positions @ np.linalg.inv(cell)
    away = _to_images(fractional, found.rotations, found.translations)
    moves = np.zeros_like(fractional)
    atoms = np.arange(len(fractional))
    for image, vectors in zip(found.images, away, strict=True):
        moves[image] += vectors[atoms, image]
    fractional = fractional + moves / found.n
    if not fixed_cell:
        cell = _symmetric_cell(cell, found.rotations)
    return fractional @ cell, cell, found.n


def _to_images(
    fractional: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> np.ndarray:
    """Return (n, N, N, 3) fractional vectors from atom b to where atom a comes, the shortest."""
    moved = fractional @ rotations.transpose(0, 2, 1) + translations[:, None]
    away = moved[:, :, None] - fractional
    return np.asarray(away - np.rint(away))


def _lattice_has(rotations: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Tell which of (n, 3, 3) rotations leave lengths and angles of a cell as they are."""
    metric = cell @ cell.T
    change = np.abs(rotations.transpose(0, 2, 1) @ metric @ rotations - metric)
    lengths = np.sqrt(np.diag(metric))
    return np.asarray((change <= 2 * LATTICE_TOLERANCE * lengths.max()).all(axis=(1, 2)))


def _symmetric_cell(cell: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Return the cell strained, without turning it, until its lattice has all rotations."""
    inverse = np.linalg.inv(cell)
    wanted = (rotations.transpose(0, 2, 1) @ (cell @ cell.T) @ rotations).mean(axis=0)
    return np.asarray(cell @ sqrtm(inverse @ wanted @ inverse.T).real)
