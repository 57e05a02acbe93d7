"""Neighbour search and bonds, with periodic images.

Two atoms of a molecule are bonded if they are closer than :data:`BOND_FACTOR` times the sum of
their covalent radii (Cordero et al., doi 10.1039/b801115j, as tabulated in ASE). No such factor
serves all crystals: in SrTiO3, Sr-O bonds measure 1.06 and Sr-Ti neighbours 0.95 sums of radii.
Two atoms of a crystal are bonded if they are at most :data:`BOND_SPREAD` times as far apart as one
of the two is from its neighbours, unless both are cations or both are anions; periodic images count
separately. The distance of an atom to its neighbours is Hoppe's mean, weighted by
exp(1 - (d/d_min)^6) (doi 10.1524/zkri.1979.150.14.23). pymatgen's near-neighbour classes
(``CrystalNN``, ``EconNN``) answer the same question, but take 10 to 100 ms for each of thousands of
structures.

Crystals are searched by pymatgen's cell list, the fastest of the available neighbour lists for
cells of 6 to 72 atoms; molecules by SciPy's tree, however far apart their atoms are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import ArrayLike

#: Si-O 2.3 Å, C-C 2.0 Å: beyond any bond, short of second neighbours.
BOND_FACTOR = 1.3

#: A bcc metal has 8 neighbours and 6 at 1.15 times their distance: both count.
BOND_SPREAD = 1.2

#: Atoms whose nearest neighbour differs by more in Pauling's electronegativity are ions.
_IONIC = 1.5

#: Atoms farther apart than this many sums of covalent radii are not bonded in any crystal.
_FARTHEST = 1.6

# Structures per batch, to bound memory.
_CHUNK = 512


class Neighbours(NamedTuple):
    """Pairs of atoms, listed in both directions.

    Attributes:
        first, second: (n_pairs,) atoms; an atom may be a neighbour of its own images.
        image: (n_pairs, 3) cell that the second atom stands in, from the first one's.
        distance: (n_pairs,) (Å).
    """

    first: np.ndarray
    second: np.ndarray
    image: np.ndarray
    distance: np.ndarray

    def ranks(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Order pairs by distance within groups.

        Args:
            groups: (n_pairs,) whole number of each pair's group.

        Returns:
            (n_pairs,) the order, group by group, and each place's rank in its group, from 0.
        """
        order = np.lexsort((self.distance, groups))
        ordered = groups[order]
        return order, np.arange(len(order)) - np.searchsorted(ordered, ordered)


def neighbours(
    positions: np.ndarray,
    cell: np.ndarray | None,
    reach: float,
    pbc: Sequence[bool] | np.ndarray = (True, True, True),
) -> Neighbours:
    """Find the pairs of atoms closer than ``reach``.

    Args:
        positions: (n_atoms, 3) finite positions, in the cell or not (Å).
        cell: (3, 3) cell vectors with a volume (Å); None for a molecule.
        reach: upper limit of the distance (Å).
        pbc: periodic directions.
    """
    positions = np.ascontiguousarray(positions, dtype=float)
    if cell is None or not np.any(pbc):
        from scipy.spatial import KDTree

        pairs = KDTree(positions).query_pairs(reach, output_type="ndarray")
        first, second = np.concatenate([pairs, pairs[:, ::-1]]).T
        image = np.zeros((len(first), 3), dtype=int)
        distance = np.linalg.norm(positions[first] - positions[second], axis=1)
    else:
        from pymatgen.optimization.neighbors import find_points_in_spheres

        lattice = np.ascontiguousarray(cell, dtype=float)
        first, second, image, distance = find_points_in_spheres(
            positions, positions, float(reach), np.asarray(pbc, dtype=np.int64), lattice
        )
        image = image.astype(int)
    other = (first != second) | image.any(axis=1)  # an atom is not its own neighbour
    kept = other & (distance < reach)
    return Neighbours(first[kept], second[kept], image[kept], distance[kept])


class Bonds(NamedTuple):
    """Bonds of n structures, listed in both directions.

    Attributes:
        structure: (n_bonds,) index of the structure.
        first, second: (n_bonds,) atoms; an atom may be bonded to an image of itself.
        image: (n_bonds, 3) cell that the second atom stands in, from the first one's.
        ratio: (n_bonds,) length in sums of covalent radii, or as :func:`crystal_bonds` says.
    """

    structure: np.ndarray
    first: np.ndarray
    second: np.ndarray
    image: np.ndarray
    ratio: np.ndarray

    def shorter_than(self, factor: float) -> Bonds:
        """Return the bonds with a ratio below ``factor``."""
        keep = self.ratio < factor
        return Bonds(*(part[keep] for part in self))

    def pieces(self, n: int, n_atoms: int) -> np.ndarray:
        """Return labels (n, n_atoms) of the connected fragments, distinct between structures."""
        ends = (self.structure * n_atoms + self.first, self.structure * n_atoms + self.second)
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        graph = csr_array((np.ones(len(self.ratio), dtype=bool), ends), shape=(n * n_atoms,) * 2)
        return np.asarray(connected_components(graph, directed=False)[1]).reshape(n, n_atoms)


def find_bonds(
    numbers: ArrayLike,
    positions: np.ndarray,
    cells: np.ndarray | None,
    factor: float | None = None,
) -> Bonds:
    """Find the bonds of many structures with the same atoms.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n, n_atoms, 3) finite positions (Å).
        cells: (n, 3, 3) cell vectors with a volume (Å); None for molecules.
        factor: bonds are shorter than this many sums of covalent radii; None for
            :data:`BOND_FACTOR` in molecules and :func:`crystal_bonds` in crystals.
    """
    if factor is None and cells is not None:
        return crystal_bonds(numbers, positions, cells)
    factor = BOND_FACTOR if factor is None else factor
    radii = covalent_radii[np.asarray(numbers, dtype=int)]
    reach = 2.0 * factor * float(radii.max(initial=0.0))

    def near(row: int) -> tuple[Neighbours, np.ndarray]:
        found = neighbours(positions[row], None if cells is None else cells[row], reach)
        return found, found.distance / (radii[found.first] + radii[found.second])

    return _collected(near, len(positions), len(radii), factor)


def crystal_bonds(
    numbers: ArrayLike, positions: np.ndarray, cells: np.ndarray, spread: float = BOND_SPREAD
) -> Bonds:
    """Find the bonds of many crystals from the distances to nearest neighbours.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n, n_atoms, 3) finite positions (Å).
        cells: (n, 3, 3) cell vectors with a volume (Å).
        spread: largest ratio of a bond to the larger of its atoms' mean distances to neighbours.

    Returns:
        Bonds whose ``ratio`` is that ratio.
    """
    numbers = np.asarray(numbers, dtype=int)
    attraction, radii = _electronegativities()[numbers], covalent_radii[numbers]
    reach = 2.0 * _FARTHEST * float(radii.max(initial=0.0))

    def near(row: int) -> tuple[Neighbours, np.ndarray]:
        found = neighbours(positions[row], cells[row], reach)
        touching = found.distance < _FARTHEST * (radii[found.first] + radii[found.second])
        found = Neighbours(*(part[touching] for part in found))
        nearest = np.full(len(numbers), np.inf)
        np.minimum.at(nearest, found.first, found.distance)
        own, partner = nearest[found.first], np.arange(len(numbers))
        closest = found.distance <= own
        partner[found.first[closest]] = found.second[closest]
        weight = np.exp(1.0 - (found.distance / own) ** 6)
        total = np.bincount(found.first, weight, len(numbers))
        summed = np.bincount(found.first, weight * found.distance, len(numbers))
        usual = summed / np.maximum(total, 1e-30)
        pull = attraction[partner] - attraction
        charge = np.where(np.abs(pull) > _IONIC, np.sign(pull), 0.0)
        ratio = found.distance / np.maximum(usual[found.first], usual[found.second])
        like = charge[found.first] * charge[found.second] > 0
        return found, np.where(like, np.inf, ratio)

    return _collected(near, len(positions), len(numbers), spread)


@cache
def _electronegativities() -> np.ndarray:
    """Return Pauling's electronegativities by atomic number, 0 where there is none."""
    from pymatgen.core import Element

    table = np.zeros(119)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No Pauling electronegativity")
        for z in range(1, 119):
            table[z] = np.nan_to_num(Element.from_Z(z).X)
    return table


def _collected(
    near: Callable[[int], tuple[Neighbours, np.ndarray]], n: int, n_atoms: int, limit: float
) -> Bonds:
    """Return the neighbours of each structure whose ratio is below a limit, in batches."""
    none = np.zeros(0, dtype=int)
    parts = [Bonds(none, none, none, np.zeros((0, 3), dtype=int), np.zeros(0))]
    for start in range(0, n, _CHUNK):
        rows = range(start, min(start + _CHUNK, n))
        pairs, ratios = zip(*map(near, rows), strict=True)
        structure = np.repeat(np.array(rows), [len(found.first) for found in pairs])
        first, second, image, _ = (np.concatenate(c) for c in zip(*pairs, strict=True))
        found = Bonds(structure, first, second, image, np.concatenate(ratios)).shorter_than(limit)
        order = np.argsort(
            (found.structure * n_atoms + found.first) * n_atoms + found.second, kind="stable"
        )
        parts.append(Bonds(*(part[order] for part in found)))
    return Bonds(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def bonds_of(atoms: Atoms, factor: float | None = None) -> Bonds:
    """Return the bonds of one structure."""
    cells = atoms.cell.array[None] if atoms.pbc.all() else None
    return find_bonds(atoms.numbers, atoms.positions[None], cells, factor)


def closest_pair(atoms: Atoms, factor: float) -> str | None:
    """Describe the worst pair closer than ``factor`` × the sum of covalent radii, if any.

    Periodic images count. Atoms are numbered from 0 in the text.
    """
    bonds = bonds_of(atoms, factor)
    if len(bonds.ratio) == 0:
        return None
    worst = int(np.argmin(bonds.ratio))
    i, j = sorted((int(bonds.first[worst]), int(bonds.second[worst])))
    names = f"{atoms.symbols[i]}{i} and {atoms.symbols[j]}{j}"
    if i == j:
        names = f"{atoms.symbols[i]}{i} and its periodic image"
    radii = covalent_radii[atoms.numbers[[i, j]]].sum()
    distance, limit = bonds.ratio[worst] * radii, factor * radii
    return f"{names} are {distance:.2f} Å apart (limit {limit:.2f} Å)"
