"""Crystals reduced as StructureMatcher reduces them: Niggli cell, then primitive cell.

pymatgen does the reduction. Two things that cost most of its time are saved where that
changes nothing: the Niggli cell of a lattice seen before is taken from there (generated
structures share the target's cell), and a cell without any vector that could translate it
onto itself is primitive already.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Element, Lattice, Structure

from logan_campaign.geometry.structures import from_atoms, in_compact_cell, structure_id, to_atoms

# pymatgen's tolerance of a translation onto itself (Å), as StructureMatcher leaves it
_PRIMITIVE_TOLERANCE = 0.25

Floats = NDArray[np.float64]


class Reduced(NamedTuple):
    """A crystal in its primitive Niggli cell."""

    id: str
    """Content hash of the crystal before the reduction."""
    formula: str
    """Reduced formula, as pymatgen writes it."""
    numbers: NDArray[np.int64]
    """Atomic numbers, shape (n_sites,)."""
    lattice: Floats
    """Lattice vectors as rows (Å), shape (3, 3)."""
    frac: Floats
    """Fractional coordinates, shape (n_sites, 3)."""

    @property
    def key(self) -> tuple[str, int]:
        """What equal crystals share exactly: reduced formula and number of sites."""
        return self.formula, len(self.numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell (Å³)."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def structure(self) -> Structure:
        """The same as pymatgen's Structure."""
        species = [Element.from_Z(int(z)) for z in self.numbers]
        return Structure(Lattice(self.lattice), species, self.frac)


def reduce_crystal(structure: Structure, name: str | None = None) -> Reduced:
    """Reduce a crystal to its primitive Niggli cell.

    Site properties and oxidation states play no part.

    Args:
        structure: an ordered crystal.
        name: its content hash, where known already.
    """
    name = name or structure_id(structure)
    numbers = np.array(structure.atomic_numbers, dtype=np.int64)
    formula = _reduced_formula(tuple(numbers.tolist()))
    # pymatgen's search for the Niggli cell has no end where a cell leans far
    structure = _compact(structure)
    given = structure.lattice.matrix
    frac = np.array(structure.frac_coords, dtype=np.float64)
    lattice = _niggli(np.ascontiguousarray(given).tobytes())
    if lattice != structure.lattice:
        # as get_reduced_structure does: the same places, within the new cell
        frac = np.mod(lattice.get_fractional_coords(structure.cart_coords), 1.0)
        matrix = lattice.matrix
    else:
        matrix = given
    reduced = Reduced(name, formula, numbers, np.array(matrix), frac)
    if not _may_have_translation(reduced):
        return reduced
    primitive = reduced.structure.get_primitive_structure(_PRIMITIVE_TOLERANCE)
    return Reduced(
        name,
        formula,
        np.array(primitive.atomic_numbers, dtype=np.int64),
        np.array(primitive.lattice.matrix),
        np.array(primitive.frac_coords),
    )


def _compact(structure: Structure) -> Structure:
    atoms = to_atoms(structure)
    compact = in_compact_cell(atoms)
    if compact is atoms:
        return structure
    found = from_atoms(compact)
    assert isinstance(found, Structure)  # it is periodic
    return found


@lru_cache(maxsize=1024)
def _niggli(matrix: bytes) -> Lattice:
    return Lattice(np.frombuffer(matrix).reshape(3, 3)).get_niggli_reduced_lattice()


@lru_cache(maxsize=4096)
def _reduced_formula(numbers: Sequence[int]) -> str:
    symbols = [Element.from_Z(z) for z in numbers]
    counts: dict[Element, int] = {}
    for symbol in symbols:
        counts[symbol] = counts.get(symbol, 0) + 1
    return Composition(counts).reduced_formula


def _may_have_translation(crystal: Reduced) -> bool:
    """Tell whether some vector might translate the crystal onto itself.

    A necessary condition of the search that get_primitive_structure makes: it looks among
    the vectors between atoms of the rarest species for one that takes every atom to within
    twice its tolerance, per coordinate, of one of the same species.
    """
    groups = [crystal.frac[crystal.numbers == z] for z in np.unique(crystal.numbers)]
    groups.sort(key=len)
    if np.gcd.reduce([len(group) for group in groups]) == 1:
        return False
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    limit = 2 * _PRIMITIVE_TOLERANCE / lengths * (1 + 1e-6) + 1e-9
    if (limit > 0.2).any():  # a very small cell: let pymatgen see for itself
        return True
    vectors = groups[0][1:] - groups[0][0]
    # the zero vector is no translation, nor is one that is zero within the tolerance
    vectors = vectors[(np.abs(vectors - np.round(vectors)) > limit).any(axis=1)]
    for group in groups:
        if not len(vectors):
            return False
        between = group[:, None, :] - group[None, :, :]
        apart = between[None] - vectors[:, None, None, :]
        close = (np.abs(apart - np.round(apart)) <= limit).all(axis=-1)
        vectors = vectors[close.any(axis=1).all(axis=1)]
    return bool(len(vectors))
