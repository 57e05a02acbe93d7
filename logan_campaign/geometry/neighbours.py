"""Neighbour search and bonds, with periodic images.

Two atoms are bonded if they are closer than :data:`BOND_FACTOR` times the sum of their covalent
radii (Cordero et al., doi 10.1039/b801115j, as tabulated in ASE); periodic images count separately.

Crystals are searched by pymatgen's cell list, the fastest of the available neighbour lists for
cells of 6 to 72 atoms; molecules by SciPy's tree, however far apart their atoms are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import ArrayLike

#: Si-O 2.3 Å, C-C 2.0 Å: beyond any bond, short of second neighbours.
BOND_FACTOR = 1.3

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
        ratio: (n_bonds,) length in sums of covalent radii.
    """

    structure: np.ndarray
    first: np.ndarray
    second: np.ndarray
    image: np.ndarray
    ratio: np.ndarray

    def shorter_than(self, factor: float) -> Bonds:
        """Return the bonds below ``factor`` sums of covalent radii."""
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
    factor: float = BOND_FACTOR,
) -> Bonds:
    """Find the bonds of many structures with the same atoms.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n, n_atoms, 3) finite positions (Å).
        cells: (n, 3, 3) cell vectors with a volume (Å); None for molecules.
        factor: bonds are shorter than this many sums of covalent radii.
    """
    radii = covalent_radii[np.asarray(numbers, dtype=int)]
    reach = 2.0 * factor * float(radii.max(initial=0.0))
    none = np.zeros(0, dtype=int)
    parts = [Bonds(none, none, none, np.zeros((0, 3), dtype=int), np.zeros(0))]
    for start in range(0, len(positions), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(positions)))
        near = [neighbours(positions[k], None if cells is None else cells[k], reach) for k in rows]
        structure = np.repeat(np.array(rows), [len(found.first) for found in near])
        first, second, image, distance = (np.concatenate(c) for c in zip(*near, strict=True))
        found = Bonds(structure, first, second, image, distance / (radii[first] + radii[second]))
        found = found.shorter_than(factor)
        pair = (found.structure * len(radii) + found.first) * len(radii) + found.second
        order = np.argsort(pair, kind="stable")
        parts.append(Bonds(*(part[order] for part in found)))
    return Bonds(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def bonds_of(atoms: Atoms, factor: float = BOND_FACTOR) -> Bonds:
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
