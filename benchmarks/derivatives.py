"""Derivative structures: every way of putting species on the sites of fcc or bcc.

G. L. W. Hart and R. W. Forcade, Physical Review B 77, 224115 (2008),
doi:10.1103/PhysRevB.77.224115.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import spglib
from ase.build import bulk
from pymatgen.core import Lattice, Structure


def hermite_forms(size: int) -> Iterator[np.ndarray]:
    """Yield the superlattices of an index: vectors as rows, upper triangular."""
    for a in (n for n in range(1, size + 1) if size % n == 0):
        for c in (n for n in range(1, size // a + 1) if size // a % n == 0):
            f = size // a // c
            for b, d, e in np.ndindex(c, f, f):
                yield np.array([[a, b, d], [0, c, e], [0, 0, f]])


def hermite_form(vectors: np.ndarray) -> np.ndarray:
    """Return the unique form of the superlattice that integer rows, (3, 3), span."""
    rows = vectors.copy()
    for column in range(3):
        while np.count_nonzero(rows[column:, column]) > 1 or not rows[column, column]:
            below = rows[column:]
            order = np.argsort(np.where(below[:, column] == 0, np.inf, np.abs(below[:, column])))
            rows[column:] = below[order]
            rows[column + 1 :] -= np.outer(
                rows[column + 1 :, column] // rows[column, column], rows[column]
            )
        rows[column] *= np.sign(rows[column, column])
    for column in (1, 2):
        for row in range(column):
            rows[row] -= rows[row, column] // rows[column, column] * rows[column]
    return rows


def _index(points: np.ndarray, form: np.ndarray) -> np.ndarray:
    """Return the site of each lattice point, (..., 3), modulo the superlattice."""
    points = points.copy()
    for k in range(3):
        points -= (points[..., k] // form[k, k])[..., None] * form[k]
    return np.ravel_multi_index(tuple(np.moveaxis(points, -1, 0)), tuple(np.diag(form)))


def colourings(lattice: str, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the distinct ways of colouring the sites of superlattices of an index in two colours.

    Colourings that a smaller cell describes are left out; exchanged colours are distinct.

    Args:
        lattice: 'fcc' or 'bcc'.
        size: sites in the cell.

    Yields:
        Superlattice, (3, 3) rows in primitive vectors; sites, (size, 3); colours, (size,) 0 or 1.
    """
    primitive = bulk("Cu", lattice, a=1.0)
    cell = (primitive.cell.array, np.zeros((1, 3)), [1])
    turns = [turn.T for turn in spglib.get_symmetry(cell)["rotations"]]
    every = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    seen: set[bytes] = set()
    for form in hermite_forms(size):
        if form.tobytes() in seen:
            continue
        images = [hermite_form(form @ turn) for turn in turns]
        seen.update(image.tobytes() for image in images)
        sites = np.array(list(np.ndindex(*np.diag(form))))
        keeping = [turn for turn, to in zip(turns, images, strict=True) if np.array_equal(to, form)]
        moved = [_index(sites @ turn + shift, form) for turn in keeping for shift in sites]
        lowest = np.min([every[:, to] @ (1 << np.arange(size)) for to in moved], axis=0)
        shifted = [every[:, _index(sites + shift, form)] for shift in sites[1:]]
        repeats = np.any([(every == other).all(axis=1) for other in shifted], axis=0)
        for k in np.flatnonzero((lowest == np.arange(2**size)) & ~repeats):
            yield form, sites, every[k]


def derivatives(
    lattice: str, species: Sequence[str], sizes: Sequence[int], volumes: Sequence[float]
) -> Iterator[Structure]:
    """Yield the derivative structures of two species, with volumes by Vegard's law.

    Args:
        lattice: 'fcc' or 'bcc'.
        species: two elements.
        sizes: numbers of atoms.
        volumes: of each element (Å³/atom).
    """
    unit = bulk("Cu", lattice, a=1.0).cell.array
    unit /= np.cbrt(abs(np.linalg.det(unit)))
    for size in sizes:
        for form, sites, colours in colourings(lattice, size):
            edge = np.cbrt(np.mean([volumes[k] for k in colours]))
            cell = Lattice(edge * form @ unit)
            positions = edge * sites @ unit
            names = [species[k] for k in colours]
            yield Structure(
                cell, names, positions, coords_are_cartesian=True
            ).get_reduced_structure()
