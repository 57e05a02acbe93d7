"""New starts from earlier molecules: two groups change places.

Descents from random places rarely end in molecules whose atoms have many bonded neighbours of
the heavier kind: the paths that lead there are few. From a molecule that has been found, one
exchange of two groups leads to its neighbours in the space of isomers, however rare those are.
Evolutionary searches know such moves as permutations (10.1016/j.cpc.2006.07.020).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from logan_campaign.geometry.molecular_graphs import pool_graphs

#: Pairs of groups drawn before a molecule is left as it is.
_TRIES = 100


class Family:
    """The molecules that one run has made so far, by molecular graph.

    Args:
        numbers: (N,) atomic numbers.
        share: of the blocks that begin with earlier molecules.
        seed: of the choice of parents and groups.
    """

    def __init__(self, numbers: np.ndarray, share: float, seed: int) -> None:
        self.numbers = np.asarray(numbers)
        self.share = share
        self.seed = seed
        self.members: dict[str, list[np.ndarray]] = {}

    def starts(self, block: int, n: int) -> np.ndarray | None:
        """Return (n, N, 3) positions (Å) that a block begins with; None for random places.

        Parents are drawn evenly over the graphs and then over a graph's molecules. What is
        drawn depends on the seed, the block and the molecules added before.
        """
        its_turn = int((block + 1) * self.share) > int(block * self.share)
        if not its_turn or not self.members:
            return None
        rng = np.random.default_rng([self.seed % 2**63, block])
        graphs = sorted(self.members)
        starts = []
        for _ in range(n):
            molecules = self.members[graphs[rng.integers(len(graphs))]]
            parent = molecules[rng.integers(len(molecules))]
            starts.append(exchange_groups(parent, self.numbers, rng))
        return np.array(starts)

    def add(self, positions: np.ndarray) -> None:
        """Take up those of (n, N, 3) structures (Å) that have a molecular graph."""
        for graph, molecule in zip(
            pool_graphs(self.numbers, positions).preferred(), positions, strict=True
        ):
            if graph:
                self.members.setdefault(str(graph), []).append(molecule.astype(float))


def groups(positions: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """Return for each atom the group that it leads, itself first.

    A group is an atom with the lighter atoms whose nearest neighbour it is: CH3, OH, a lone H.

    Args:
        positions: (N, 3) (Å).
        numbers: (N,) atomic numbers.
    """
    return _led(_distances(positions), numbers)


def _led(distances: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    nearest = distances.argmin(axis=1)
    lighter = numbers < numbers[nearest]
    return [
        np.concatenate([[atom], np.flatnonzero(lighter & (nearest == atom))])
        for atom in range(len(numbers))
    ]


def exchange_groups(
    positions: np.ndarray, numbers: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return positions (N, 3) after two groups of different atoms have changed places (Å).

    Each group moves rigidly: its first atom to the place of the other's, turned so that what
    pointed to the nearest atom outside the group does so again. Where no two groups of
    different atoms are apart from each other, nothing moves.

    Args:
        positions: (N, 3) (Å).
        numbers: (N,) atomic numbers.
        rng: source of the choice.
    """
    distances, n = _distances(positions), len(numbers)
    led = _led(distances, numbers)
    for _ in range(_TRIES):
        first, second = (led[atom] for atom in rng.integers(n, size=2))
        alike = np.array_equal(np.sort(numbers[first]), np.sort(numbers[second]))
        if not alike and not np.intersect1d(first, second).size:
            break
    else:
        return positions.copy()
    here, there = (_inward(group, positions, distances) for group in (first, second))
    turn, _ = Rotation.align_vectors(there, here)
    moved = positions.copy()
    moved[first] = turn.apply(positions[first] - positions[first[0]]) + positions[second[0]]
    moved[second] = turn.inv().apply(positions[second] - positions[second[0]]) + positions[first[0]]
    return moved


def _distances(positions: np.ndarray) -> np.ndarray:
    distances = cdist(positions, positions)
    np.fill_diagonal(distances, np.inf)
    return distances


def _inward(group: np.ndarray, positions: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return the vector from a group's first atom to the nearest one outside the group."""
    outside = np.setdiff1d(np.arange(len(positions)), group)
    nearest = outside[distances[group[0], outside].argmin()]
    return np.asarray(positions[nearest] - positions[group[0]])
