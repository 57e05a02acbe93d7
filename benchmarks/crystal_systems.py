"""What the benchmarks of crystals share: reference sets, tolerances, and baselines.

Every function is a function of its arguments, the seed among them, and sees of the target only
its atoms and its cell; where near matches of the target are left out, :func:`without_near` has
done so before. Samples are (n, n_atoms, 3) arrays in Å in the target's cell, atoms in the order
of ``numbers``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from ase.io import read
from ase.neighborlist import neighbor_list

#: Tolerances of pymatgen's StructureMatcher: length, site, angle.
STRICT, DEFAULT, LOOSE = (0.1, 0.1, 3.0), (0.2, 0.3, 5.0), (0.3, 0.5, 10.0)

#: Standard deviation (Å) of each coordinate's displacement in :func:`templates`.
RATTLE = 0.05

#: Places tried for an atom, or a set of equivalent ones, before a structure is begun anew.
_PLACES = 64

#: Beginnings of a random structure, and of one with a space group before another is drawn.
_BEGINNINGS, _SYMMETRIC_BEGINNINGS = 20_000, 200


def read_crystals(path: Path) -> list[Atoms]:
    """Return the crystals of a file, the atoms of each by ascending atomic number."""
    return [atoms[np.argsort(atoms.numbers, kind="stable")] for atoms in read(path, ":")]


def matcher(tolerance: tuple[float, float, float]) -> Any:
    """Return pymatgen's StructureMatcher."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(*tolerance)


def without_near(known: Sequence[Atoms], sought: Atoms) -> list[Atoms]:
    """Return the crystals that do not match ``sought`` at loose tolerances, in the same order.

    Decided by pymatgen's StructureMatcher, which :class:`CrystalMatcher` spares hopeless pairs.
    """
    from logan_campaign.geometry.structures import from_atoms
    from logan_campaign.matching import CrystalMatcher

    loose, like = CrystalMatcher("loose"), from_atoms(bare(sought))
    return [atoms for atoms in known if not loose.same(like, from_atoms(bare(atoms)))]


def bare(atoms: Atoms) -> Atoms:
    """Return a crystal without what a file says beside its atoms and its cell."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=True)


def smallest_distances(training: Sequence[Atoms]) -> dict[tuple[int, int], float]:
    """Return the smallest distance (Å) of each pair of species in a training set, up to 5 Å."""
    smallest: dict[tuple[int, int], float] = {}
    for atoms in training:
        first, second, distance = neighbor_list("ijd", bare(atoms), 5.0)
        pairs = np.sort(atoms.numbers[np.stack([first, second], axis=1)], axis=1)
        for a, b in np.unique(pairs, axis=0).tolist():
            least = float(distance[(pairs == (a, b)).all(axis=1)].min())
            smallest[a, b] = min(least, smallest.get((a, b), np.inf))
    return smallest


class Site(NamedTuple):
    """Equivalent atoms: their fractional coordinates are maps @ (x, y, z) + shifts.

    Attributes:
        species: atomic number.
        maps: (m, 3, 3).
        shifts: (m, 3).
    """

    species: int
    maps: np.ndarray
    shifts: np.ndarray


def random_placement(
    numbers: np.ndarray,
    cell: np.ndarray,
    training: Sequence[Atoms],
    n: int,
    seed: int,
    beginnings: int = _BEGINNINGS,
) -> np.ndarray:
    """Return atoms at random places, none nearer than any such pair in the training set.

    Atom by atom, in a random order, a place is drawn evenly in the cell until it keeps the
    distances, periodic images included; after 64 places in vain the structure is begun anew.

    Raises:
        ValueError: if so many beginnings gave no structure.
    """
    rng = np.random.default_rng(seed)
    grower = _Grower(numbers, cell, training)
    alone = [Site(int(z), np.eye(3)[None], np.zeros((1, 3))) for z in numbers]
    samples = []
    while len(samples) < n:
        for _ in range(beginnings):
            if (positions := grower.grow(alone, rng)) is not None:
                samples.append(positions)
                break
        else:
            raise ValueError(f"no random structure keeps the distances: {beginnings} beginnings")
    return np.array(samples)


def symmetric_random(
    numbers: np.ndarray, cell: np.ndarray, training: Sequence[Atoms], n: int, seed: int
) -> np.ndarray:
    """Return random crystals with space groups in a given cell, from PyXtal's Wyckoff positions.

    As PyXtal makes them, but in a cell that need not be in its standard setting, which
    PyXtal's own generator takes for granted: a space group is drawn evenly from
    :func:`possible_groups`, then evenly a setting of it and a way to put the atoms on Wyckoff
    positions (of more than 100 ways, 100 are drawn); the sites are placed one after the other as
    in :func:`random_placement`, with the same distances. After 200 beginnings in vain another
    group is drawn, so that groups with no room for the atoms fall out.

    Raises:
        ValueError: if a thousand groups drawn in a row gave no crystal.
    """
    rng = np.random.default_rng(seed)
    grower = _Grower(numbers, cell, training)
    groups = possible_groups(numbers, cell)
    samples: list[np.ndarray] = []
    in_vain = 0
    while len(samples) < n:
        ways, settings = groups[int(rng.choice(list(groups)))]
        for _ in range(_SYMMETRIC_BEGINNINGS):
            way, change = ways[rng.integers(len(ways))], settings[rng.integers(len(settings))]
            sites = [Site(z, change @ w.maps, w.shifts @ change.T) for z, w in way]
            if (positions := grower.grow(sites, rng)) is not None:
                samples.append(positions)
                in_vain = 0
                break
        else:
            in_vain += 1
            if in_vain == 1000:
                raise ValueError("no space group has room for the atoms in this cell")
    return np.array(samples)


def possible_groups(numbers: np.ndarray, cell: np.ndarray) -> dict[int, tuple[list[Any], Any]]:
    """Return the space groups that a crystal with these atoms in this primitive cell can have.

    Those with Wyckoff positions that hold the atoms and with a setting whose operations are
    symmetries of the cell's lattice (spglib, 0.01 Å).

    Returns:
        By number: ways to fill Wyckoff positions, each a list of (atomic number, position), and
        settings, as changes from the group's primitive cell to the given one, reduced.
    """
    from logan_campaign.geometry.spacegroups import assignments, primitive_group, settings_in

    reduced, _ = minkowski_reduce(cell)
    kinds, counts = np.unique(numbers, return_counts=True)
    found = {}
    for number in range(1, 231):
        group = primitive_group(number)
        if settings := settings_in(group, reduced):
            ways = [
                [(int(kinds[kind]), group.positions[k]) for kind, k in way]
                for way in assignments(group, counts.tolist(), limit=100)
            ]
            if ways:
                found[number] = ways, settings
    return found


class _Grower:
    """Places atoms in a cell, site by site."""

    def __init__(self, numbers: np.ndarray, cell: np.ndarray, training: Sequence[Atoms]) -> None:
        self.numbers = np.asarray(numbers)
        self.reduced, _ = minkowski_reduce(cell)
        self.images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ self.reduced
        self.limits = np.zeros((self.numbers.max() + 1,) * 2)
        for (a, b), least in smallest_distances(training).items():
            if max(a, b) < len(self.limits):
                self.limits[a, b] = self.limits[b, a] = least

    def grow(self, sites: Sequence[Site], rng: np.random.Generator) -> np.ndarray | None:
        """Return positions (n_atoms, 3) Å, or None if some site found no place."""
        placed, species = np.empty((0, 3)), np.empty(0, dtype=int)
        for k in rng.permutation(len(sites)):
            site = sites[k]
            tried = rng.uniform(size=(_PLACES, 3))
            orbits = np.einsum("mij,tj->tmi", site.maps, tried) + site.shifts
            m = len(site.shifts)
            fits = self._far(orbits, placed, self.limits[site.species, species])
            if m > 1:
                # every atom sees the same of its own kind
                own = self.limits[site.species, site.species]
                rest = orbits[:, 1:] - orbits[:, :1]
                fits &= self._far(rest, np.zeros((1, 3)), np.array([own]))
            if not fits.any():
                return None
            placed = np.concatenate([placed, orbits[np.argmax(fits)]])
            species = np.concatenate([species, np.full(m, site.species)])
        order = np.empty(len(self.numbers), dtype=int)
        order[np.argsort(self.numbers, kind="stable")] = np.argsort(species, kind="stable")
        return np.asarray((placed[order] % 1.0) @ self.reduced)

    def _far(self, orbits: np.ndarray, placed: np.ndarray, limits: np.ndarray) -> np.ndarray:
        """Return (t,) whether all atoms (t, m, 3) are as far as they have to be."""
        away = orbits[:, :, None] - placed
        away = (away - np.rint(away)) @ self.reduced
        squared = ((away[..., None, :] + self.images) ** 2).sum(axis=-1).min(axis=-1)
        return np.asarray((squared >= limits**2 - 1e-9).all(axis=(1, 2)))


class Template(NamedTuple):
    """A training crystal in the target's cell.

    Attributes:
        place: which of the training crystals.
        strain: norm of the logarithmic strain that takes its lattice to the target's.
        positions: (n_atoms, 3) Å, not rattled.
    """

    place: int
    strain: float
    positions: np.ndarray


def find_templates(
    numbers: np.ndarray, cell: np.ndarray, training: Sequence[Atoms]
) -> list[Template]:
    """Return the training crystals whose primitive atom count divides the target's.

    The primitive cell (pymatgen) is put into all supercells of the right size (Hermite normal
    forms), and each supercell into the target's cell: vectors of its reduced cell, combined with
    coefficients -1, 0 and 1, become those of the target's reduced cell, and atoms keep their
    fractional coordinates. Of all these mappings of a crystal the one of least strain is taken
    (strains that differ by less than 1e-6: the first). Templates are ordered by strain, then
    by their place in the training set. The target's atoms are not used but for their number.
    """
    from pymatgen.io.ase import AseAtomsAdaptor

    found = []
    wanted = np.sort(numbers)
    aim = _reduced(cell)
    for place, atoms in enumerate(training):
        if len(numbers) * _per_formula(atoms.numbers) % _per_formula(numbers):
            continue
        primitive = AseAtomsAdaptor.get_structure(bare(atoms)).get_primitive_structure()
        if len(numbers) % len(primitive):
            continue
        multiple = len(numbers) // len(primitive)
        own = np.array([site.specie.Z for site in primitive])
        if not np.array_equal(np.sort(np.repeat(own, multiple)), wanted):
            continue
        mapped = [
            (*_map(supercell, aim), supercell)
            for supercell in (
                _supercell(primitive, form) for form in _hermite_normal_forms(multiple)
            )
        ]
        strain, vectors, best = min(mapped, key=lambda one: round(one[0], 6))
        fractional = best.positions @ np.linalg.inv(vectors)
        positions = np.empty((len(numbers), 3))
        positions[np.argsort(numbers, kind="stable")] = (fractional @ aim)[
            np.argsort(best.numbers, kind="stable")
        ]
        found.append(Template(place, strain, positions))
    return sorted(found, key=lambda one: (round(one.strain, 6), one.place))


def templates(
    numbers: np.ndarray, cell: np.ndarray, training: Sequence[Atoms], n: int, seed: int
) -> np.ndarray:
    """Return the first ``n`` of :func:`find_templates`, rattled; fewer where there are fewer.

    No template at all is an array of no structures: the baseline is undefined.
    """
    rng = np.random.default_rng(seed)
    found = [one.positions for one in find_templates(numbers, cell, training)[:n]]
    copies = [positions + rng.normal(scale=RATTLE, size=positions.shape) for positions in found]
    return np.array(copies).reshape(-1, len(numbers), 3)


def _per_formula(numbers: np.ndarray) -> int:
    counts = np.unique(numbers, return_counts=True)[1]
    return int(len(numbers) // np.gcd.reduce(counts))


def _reduced(cell: np.ndarray) -> np.ndarray:
    """Return the Niggli-reduced cell, in the orientation of the given one."""
    vectors, _ = minkowski_reduce(cell)
    return np.asarray(vectors)


def _supercell(primitive: Any, form: np.ndarray) -> Atoms:
    from pymatgen.io.ase import AseAtomsAdaptor

    made = AseAtomsAdaptor.get_atoms(primitive.make_supercell(form, in_place=False))
    return bare(made)


def _hermite_normal_forms(index: int) -> list[np.ndarray]:
    """Return one matrix for each sublattice of an index."""
    return [
        np.array([[a, b, c], [0, d, e], [0, 0, index // a // d]])
        for a in range(1, index + 1)
        if index % a == 0
        for d in range(1, index // a + 1)
        if index // a % d == 0
        for b in range(d)
        for c in range(index // a // d)
        for e in range(index // a // d)
    ]


@cache
def _changes() -> np.ndarray:
    """Return all matrices of -1, 0 and 1 with determinant 1 or -1, the simplest first."""
    matrices = np.indices((3,) * 9).reshape(9, -1).T.reshape(-1, 3, 3) - 1
    chosen = matrices[np.abs(np.rint(np.linalg.det(matrices))) == 1]
    return chosen[np.argsort(np.abs(chosen).sum(axis=(1, 2)), kind="stable")]


def _map(supercell: Atoms, aim: np.ndarray) -> tuple[float, np.ndarray]:
    """Return strain, and the vectors (3, 3) of a lattice that become those of ``aim``."""
    vectors = _changes() @ _reduced(supercell.cell.array)
    metric = vectors @ vectors.transpose(0, 2, 1)
    relative = np.linalg.solve(metric, np.broadcast_to(aim @ aim.T, metric.shape))
    # half the logarithms of the squared stretches
    stretches = 0.5 * np.log(np.linalg.eigvals(relative).real)
    strains = np.linalg.norm(stretches, axis=1)
    best = int(np.argmin(np.round(strains, 6)))
    return float(strains[best]), vectors[best]
