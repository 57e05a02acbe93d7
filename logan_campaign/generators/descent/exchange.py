"""Starts from earlier molecules with two groups exchanged.

Descents from random positions rarely end in highly branched molecules, to which few paths lead.
The exchange of two groups in a molecule that has been found leads to neighbouring isomers, however
rare those are. Evolutionary searches call such moves permutations (10.1016/j.cpc.2006.07.020).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from logan_campaign.geometry.molecular_graphs import pool_graphs

#: Maximum number of pairs of groups to draw.
_TRIES = 100


class Family:
    """The molecules generated so far in one run, by molecular graph.

    Args:
        numbers: (N,) atomic numbers.
        share: fraction of the blocks that start from earlier molecules.
        seed: seed for the choice of parents and groups.
    """

    def __init__(self, numbers: np.ndarray, share: float, seed: int) -> None:
        self.numbers = np.asarray(numbers)
        self.share = share
        self.seed = seed
        self.members: dict[str, list[np.ndarray]] = {}

    def starts(self, block: int, n: int) -> np.ndarray | None:
        """Return start positions (n, N, 3) of a block (Å); None for random positions.

        Parents are drawn uniformly over the graphs, then over the molecules of a graph. The result
        depends on the seed, the block and the molecules added before.
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
        """Add those of the structures (n, N, 3) (Å) that have a molecular graph."""
        for graph, molecule in zip(
            pool_graphs(self.numbers, positions).preferred(), positions, strict=True
        ):
            if graph:
                self.members.setdefault(str(graph), []).append(molecule.astype(float))


def groups(positions: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """Return the group led by each atom, with the atom first.

    A group is an atom with all lighter atoms whose nearest neighbour it is: CH3, OH, a single H.

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
    """Return positions (N, 3) after the exchange of two different groups (Å).

    Each group moves rigidly: its first atom to the position of the other's, rotated to keep its
    orientation relative to the nearest atom outside the group. Positions are unchanged if there
    are no two disjoint groups of different atoms.

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
