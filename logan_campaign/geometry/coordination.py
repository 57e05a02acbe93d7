"""Coordination numbers and nets of bonds.

The ranges of coordination numbers by species (:mod:`~logan_campaign.geometry.neighbours`) are
learned from the training set.

A net is the network of a crystal's bonds. Nets are identified by their coordination sequences:
the number of atoms 1, 2, 3, … bonds away from each atom (Brunner and Laves 1971; used for
zeolite frameworks by Meier and Moeck, doi 10.1016/0022-4596(79)90177-4). They do not depend on
the choice of cell.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from logan_campaign.core.documents import Geometry
from logan_campaign.core.ids import content_id
from logan_campaign.geometry.neighbours import Bonds, bonds_of
from logan_campaign.geometry.structures import to_atoms

#: Shells of a coordination sequence that are compared.
SHELLS = 10


def count_neighbours(numbers: np.ndarray, bonds: Bonds, n: int) -> np.ndarray:
    """Return (n, n_atoms, n_species) numbers of bonded neighbours, species ascending."""
    species, kinds = np.unique(numbers, return_inverse=True)
    counts = np.zeros((n, len(numbers), len(species)), dtype=int)
    np.add.at(counts, (bonds.structure, bonds.first, kinds[bonds.second]), 1)
    return counts


@dataclass(frozen=True)
class CoordinationRanges:
    """Ranges of coordination numbers by species.

    Attributes:
        bond_factor: of :func:`~logan_campaign.geometry.neighbours.find_bonds`.
        ranges: (fewest, most) by (atomic number, neighbour's atomic number); no entry if no
            structure of the training set holds both species.
        volume: (smallest, largest) volume per atom (Å³); None without crystals.
    """

    bond_factor: float | None
    ranges: dict[tuple[int, int], tuple[int, int]]
    volume: tuple[float, float] | None

    @classmethod
    def learn(
        cls,
        structures: Iterable[Geometry],
        bond_factor: float | None = None,
        coverage: float = 1.0,
    ) -> CoordinationRanges:
        """Learn the ranges from structures.

        Args:
            structures: the training set.
            bond_factor: of :func:`~logan_campaign.geometry.neighbours.find_bonds`.
            coverage: fraction of the atoms that a range must cover, without the rarest.
        """
        found: dict[tuple[int, int], Counter[int]] = {}
        volumes = []
        for atoms in map(to_atoms, structures):
            numbers = atoms.numbers
            if atoms.pbc.all():
                volumes.append(float(atoms.get_volume()) / len(atoms))
            counts = count_neighbours(numbers, bonds_of(atoms, bond_factor), 1)[0]
            for k, other in enumerate(np.unique(numbers)):
                for atom, z in enumerate(numbers):
                    number = int(counts[atom, k])
                    found.setdefault((int(z), int(other)), Counter())[number] += 1
        return cls(
            bond_factor,
            {pair: _range(counted, coverage) for pair, counted in found.items()},
            (min(volumes), max(volumes)) if volumes else None,
        )

    def accepts(self, numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return (n,) whether all atoms are within the ranges.

        Args:
            numbers: (n_atoms,) atomic numbers.
            counts: (n, n_atoms, n_species) of :func:`count_neighbours`.
        """
        species = np.unique(numbers)
        low = np.zeros((len(numbers), len(species)), dtype=int)
        high = np.full((len(numbers), len(species)), np.iinfo(int).max)
        for atom, z in enumerate(numbers):
            for k, other in enumerate(species):
                low[atom, k], high[atom, k] = self.ranges.get(
                    (int(z), int(other)), (0, np.iinfo(int).max)
                )
        return np.asarray(((counts >= low) & (counts <= high)).all(axis=(1, 2)))

    def describe(self) -> str:
        """Return the ranges as text, ``'Si: 4 O; O: 2 Si'``, without neighbours never seen."""
        texts: dict[str, list[str]] = {}
        for (z, other), (low, high) in sorted(self.ranges.items()):
            if high:
                text = f"{low}" if low == high else f"{low}-{high}"
                texts.setdefault(chemical_symbols[z], []).append(
                    f"{text} {chemical_symbols[other]}"
                )
        return "; ".join(f"{symbol}: {', '.join(found)}" for symbol, found in texts.items())


def _range(counted: Counter[int], coverage: float) -> tuple[int, int]:
    """Return the narrowest range that covers a fraction of the counts."""
    total, values = sum(counted.values()), sorted(counted)
    best = values[0], values[-1]
    for i, low in enumerate(values):
        held = 0
        for high in values[i:]:
            held += counted[high]
            if held >= coverage * total - 1e-9:
                if (high - low, -held) < (best[1] - best[0], -_held(counted, best)):
                    best = low, high
                break
    return best


def _held(counted: Counter[int], limits: tuple[int, int]) -> int:
    return sum(number for value, number in counted.items() if limits[0] <= value <= limits[1])


def topology(numbers: Sequence[int] | np.ndarray, bonds: Bonds, shells: int = SHELLS) -> str:
    """Return a short name of a net, ``'net-…'``.

    Nets with the same coordination sequences, proportions and species have the same name,
    independent of cell, origin and order of the atoms.

    Args:
        numbers: (n_atoms,) atomic numbers.
        bonds: bonds of one structure.
        shells: length of the sequences.
    """
    numbers = np.asarray(numbers, dtype=int)
    targets: list[np.ndarray] = [
        np.concatenate([bonds.second[mine, None], bonds.image[mine]], axis=1)
        for mine in (bonds.first == atom for atom in range(len(numbers)))
    ]
    sequences = Counter(
        (int(numbers[atom]), tuple(_sequence(atom, targets, numbers, shells)))
        for atom in range(len(numbers))
    )
    common = math.gcd(*sequences.values()) if sequences else 1
    return content_id(
        "net", [[z, [*walk], count // common] for (z, walk), count in sorted(sequences.items())]
    )


def _sequence(atom: int, targets: list[np.ndarray], numbers: np.ndarray, shells: int) -> list[int]:
    """Return the numbers of atoms in each shell, species by species ascending."""
    species = np.unique(numbers)
    # An atom of the crystal is one number: its image in a box of cells, then its index.
    width = 2 * shells * (1 + max(int(np.abs(t[:, 1:]).max(initial=0)) for t in targets)) + 1
    weights = np.array([1, width**2, width, 1]) * np.array([1, *[len(numbers)] * 3])
    steps = [t @ weights for t in targets]
    before = np.zeros(0, dtype=int)
    shell = np.array([atom]) + (np.array([1, 1, 1]) * (width // 2)) @ weights[1:]
    sequence: list[int] = []
    for _ in range(shells):
        places = shell % len(numbers)
        reached = np.unique(
            np.concatenate(
                [
                    (shell[places == other, None] - other + steps[other]).ravel()
                    for other in np.unique(places)
                ]
            )
        )
        # in an undirected graph, new atoms are those not in this shell or the one before
        fresh = reached[~np.isin(reached, np.concatenate([before, shell]))]
        before, shell = shell, fresh
        kinds = numbers[shell % len(numbers)]
        sequence.extend(int((kinds == z).sum()) for z in species)
        if not len(shell):
            break
    return sequence
