"""Space groups in primitive cells: operations, Wyckoff positions, ways to fill them.

Operations and Wyckoff positions are PyXtal's, in its standard settings: unique axis b,
second origin choice, hexagonal axes of rhombohedral groups. S. Fredericks, K. Parrish,
D. Sayre, Q. Zhu, Comput. Phys. Commun. 261, 107810 (2021), doi:10.1016/j.cpc.2020.107810.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from spglib import get_symmetry, get_symmetry_dataset

from logan_campaign.core.errors import InputError

#: Primitive cell vectors in those of the conventional cell, by centring.
_PRIMITIVE = {
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, 0.5], [0, -0.5, 0.5]]),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2.0,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2.0,
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3.0,
}

#: First space group of each crystal family above the triclinic one.
_FAMILIES = (3, 16, 75, 143, 195)

#: Tolerance (Å) with which a given cell has the symmetries of its lattice.
LATTICE_TOLERANCE = 0.01

#: Up to so many ways to fill Wyckoff positions are listed; of more, some are drawn.
_LISTED = 5000


class WyckoffPosition(NamedTuple):
    """Equivalent positions in the primitive cell, as functions of three numbers x, y, z.

    Attributes:
        letter: Wyckoff letter.
        dof: how many of the three numbers matter; 0 is a point, which holds one atom at most.
        maps: (m, 3, 3) and
        shifts: (m, 3): fractional coordinates are maps @ (x, y, z) + shifts.
    """

    letter: str
    dof: int
    maps: np.ndarray
    shifts: np.ndarray


class PrimitiveGroup(NamedTuple):
    """A space group in its primitive cell.

    Attributes:
        number: 1 to 230.
        cell: (3, 3) a cell of volume 1 with the group's symmetries: cubic or hexagonal axes.
        rotations: (n, 3, 3) and
        translations: (n, 3): operations in fractional coordinates, x' = W x + w.
        positions: all Wyckoff positions, the general one first.
    """

    number: int
    cell: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    positions: tuple[WyckoffPosition, ...]


#: Which Wyckoff position each group of equivalent atoms is on: (index of species, position).
Assignment = tuple[tuple[int, int], ...]


def group_number(group: int | str) -> int:
    """Return the number of a space group, from its number or Hermann-Mauguin symbol.

    Raises:
        InputError: if there is no such group.
    """
    text = str(group).strip()
    if text.isdecimal():
        if 1 <= int(text) <= 230:
            return int(text)
        raise InputError(f"space groups have the numbers 1 to 230, not {text}")
    from pymatgen.symmetry.groups import SpaceGroup

    try:
        return int(SpaceGroup(text).int_number)
    except ValueError as err:
        raise InputError(f"there is no space group {text!r}; write it like P4_12_12 or 92") from err


def group_symbol(number: int) -> str:
    """Return the Hermann-Mauguin symbol of a space group."""
    from pymatgen.symmetry.groups import sg_symbol_from_int_number

    return str(sg_symbol_from_int_number(number))


def groups_of_lattice(cell: np.ndarray) -> list[int]:
    """Return the space groups whose Bravais lattice is that of a cell.

    Args:
        cell: (3, 3) a primitive cell (Å).

    Raises:
        InputError: spglib finds no symmetry of the lattice.
    """
    point = (np.asarray(cell).tolist(), [[0.0, 0.0, 0.0]], [1])
    found = get_symmetry_dataset(point, symprec=LATTICE_TOLERANCE)
    if found is None:
        raise InputError("target.symmetry: spglib finds no symmetry of the cell's lattice")
    return [n for n in range(1, 231) if _bravais(n) == _bravais(int(found.number))]


@lru_cache(maxsize=230)
def _bravais(number: int) -> tuple[int, str]:
    """Return crystal family and centring of a space group's lattice."""
    centring = group_symbol(number)[0].replace("A", "C")
    return bisect_right(_FAMILIES, number), centring


@lru_cache(maxsize=230)
def primitive_group(number: int) -> PrimitiveGroup:
    """Return a space group in its primitive cell."""
    from pyxtal.symmetry import Group  # slow to import, and few campaigns need it

    primitive = _PRIMITIVE[group_symbol(number)[0]]
    # columns of fractional coordinates change with the transposed inverse
    change = np.linalg.inv(primitive).T
    positions = []
    for wyckoff in Group(number):
        affine = np.array([op.affine_matrix for op in wyckoff.ops])
        maps, shifts = _distinct(change @ affine[:, :3, :3], affine[:, :3, 3] @ change.T)
        positions.append(WyckoffPosition(wyckoff.letter, int(wyckoff.get_dof()), maps, shifts))
    general = positions[0]
    back = np.linalg.inv(change)
    rotations = np.rint(general.maps @ back).astype(int)
    hexagonal = 143 <= number <= 194
    axes = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1]]) if hexagonal else np.eye(3)
    cell = primitive @ axes
    return PrimitiveGroup(
        number,
        cell / np.linalg.det(cell) ** (1.0 / 3.0),
        rotations,
        general.shifts,
        tuple(positions),
    )


def _distinct(maps: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what remains of affine maps if the primitive lattice is divided out."""
    shifts = np.round(shifts % 1.0, 9) % 1.0
    rows = np.round(np.hstack([maps.reshape(-1, 9), shifts]), 6) + 0.0
    _, first = np.unique(rows, axis=0, return_index=True)
    first = np.sort(first)
    return maps[first], shifts[first]


def point_group(group: PrimitiveGroup) -> np.ndarray:
    """Return the group's rotations of Cartesian vectors in its own cell, (n, 3, 3)."""
    columns = group.cell.T
    return np.asarray(columns @ group.rotations @ np.linalg.inv(columns))


def assignments(
    group: PrimitiveGroup, counts: Sequence[int], limit: int, seed: int = 0
) -> list[Assignment]:
    """Return ways to put atoms on Wyckoff positions.

    Args:
        group: space group.
        counts: number of atoms of each species in the primitive cell.
        limit: how many ways at most; of more, some are drawn.
        seed: of the drawing.
    """
    found: list[Assignment] = []
    for k, one in enumerate(_fillings(group, list(counts))):
        if k == _LISTED:
            return _drawn(group, counts, limit, seed)
        found.append(one)
    if len(found) > limit:
        rng = np.random.default_rng([seed, group.number])
        found = [found[k] for k in np.sort(rng.choice(len(found), limit, replace=False))]
    return found


def _fillings(group: PrimitiveGroup, counts: list[int]) -> Iterator[Assignment]:
    """Yield all ways, species by species, positions in falling order."""
    sizes = [len(p.shifts) for p in group.positions]

    def fill(species: int, left: int, first: int, used: frozenset[int]) -> Iterator[Assignment]:
        if left == 0:
            if species + 1 == len(counts):
                yield ()
            else:
                yield from fill(species + 1, counts[species + 1], 0, used)
            return
        for k in range(first, len(sizes)):
            if sizes[k] > left or k in used:
                continue
            point = group.positions[k].dof == 0
            rest = fill(species, left - sizes[k], k, used | {k} if point else used)
            for others in rest:
                yield ((species, k), *others)

    return fill(0, counts[0], 0, frozenset())


def _drawn(group: PrimitiveGroup, counts: Sequence[int], limit: int, seed: int) -> list[Assignment]:
    """Return some of very many ways, drawn one site after the other."""
    rng = np.random.default_rng([seed, group.number])
    sizes = np.array([len(p.shifts) for p in group.positions])
    points = np.array([p.dof == 0 for p in group.positions])
    found: set[Assignment] = set()
    for _ in range(50 * limit):
        used = np.zeros(len(sizes), dtype=bool)
        sites = []
        for species, count in enumerate(counts):
            left = count
            while left:
                fitting = np.flatnonzero((sizes <= left) & ~(points & used))
                if not len(fitting):
                    break
                chosen = int(rng.choice(fitting))
                used[chosen] = True
                sites.append((species, chosen))
                left -= sizes[chosen]
            if left:
                break
        else:
            found.add(tuple(sorted(sites)))
            if len(found) == limit:
                break
    return sorted(found)


def settings_in(group: PrimitiveGroup, cell: np.ndarray) -> list[np.ndarray]:
    """Return the ways in which a lattice has the symmetries of a space group.

    Args:
        group: space group.
        cell: (3, 3) reduced cell of the lattice (Å).

    Returns:
        Integer matrices U (3, 3) of determinant 1 that take fractional coordinates (columns) in
        the group's primitive cell to such in the given one; only one of those that give the
        same operations. Empty if the lattice has not enough symmetry, or another centring.
    """
    point = (cell.tolist(), [[0.0, 0.0, 0.0]], [1])
    lattice = get_symmetry(point, symprec=LATTICE_TOLERANCE)
    if lattice is None:
        return []
    allowed = _codes(lattice["rotations"])
    candidates = _unimodular()
    inverse = np.rint(np.linalg.inv(candidates)).astype(int)
    fits = np.ones(len(candidates), dtype=bool)
    for rotation in group.rotations:
        found = candidates[fits] @ rotation @ inverse[fits]
        inside = (np.abs(found) <= 1).all(axis=(1, 2)) & np.isin(_codes(found), allowed)
        fits[fits] = inside
    seen, result = set(), []
    for change in candidates[fits]:
        rotations = change @ group.rotations @ np.rint(np.linalg.inv(change)).astype(int)
        shifts = np.round(group.translations @ change.T % 1.0, 6) % 1.0
        key = frozenset(zip(map(bytes, rotations.astype(np.int8)), map(tuple, shifts), strict=True))
        if key not in seen:
            seen.add(key)
            result.append(change)
    return result


@lru_cache(maxsize=1)
def _unimodular() -> np.ndarray:
    """Return all matrices of -1, 0 and 1 with determinant 1, the simplest first."""
    digits = np.indices((3,) * 9).reshape(9, -1).T - 1
    matrices = digits.reshape(-1, 3, 3)
    chosen = matrices[np.rint(np.linalg.det(matrices)) == 1]
    return chosen[np.argsort(np.abs(chosen).sum(axis=(1, 2)), kind="stable")]


def _codes(matrices: np.ndarray) -> np.ndarray:
    """Return one number per matrix of -1, 0 and 1."""
    return np.asarray((matrices.reshape(-1, 9) + 1) @ 3 ** np.arange(9))
