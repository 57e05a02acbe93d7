"""Starts from earlier molecules with bonds exchanged.

Descents from random positions rarely end in rings or highly branched molecules, to which few paths
lead. The exchange of bonds in a molecule that has been found leads to neighbouring isomers, however
rare those are. Distance geometry gives the new graph coordinates, and a descent decides what
becomes of them.
"""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase

from logan_campaign.generators.descent.graphs import (
    any_molecule,
    embed,
    exchange_bonds,
    with_hydrogens,
)
from logan_campaign.geometry.molecular_graphs import pool_graphs

#: Maximum number of graphs drawn for each start.
_TRIES = 20


class Family:
    """The molecular graphs generated so far in one run.

    Args:
        numbers: (N,) atomic numbers.
        share: fraction of the blocks that start from earlier molecules.
        seed: seed for the choice of parents and bonds.
    """

    def __init__(self, numbers: np.ndarray, share: float, seed: int) -> None:
        self.numbers = np.asarray(numbers)
        self.share = share
        self.seed = seed
        self.members: dict[str, Chem.Mol] = {}
        self.misfits: dict[str, float] = {}

    def starts(self, block: int, n: int) -> np.ndarray | None:
        """Return start positions (n, N, 3) of a block (Å); None for random positions.

        Two graphs are drawn for each start, and the one with the lower misfit is the parent; a
        random graph if there is none so far. The result depends on the seed, the block and the
        molecules added before.
        """
        its_turn = int((block + 1) * self.share) > int(block * self.share)
        if not its_turn:
            return None
        rng = np.random.default_rng([self.seed % 2**63, block])
        found: list[np.ndarray] = []
        with rdBase.BlockLogs():
            for _ in range(_TRIES * n):
                parent = self._parent(rng)
                if len(found) == n or parent is None:
                    break
                placed = embed(exchange_bonds(parent, rng), int(rng.integers(2**31)))
                if placed is not None:
                    found.append(placed)
        if not found:
            return None
        # atoms of one species have any order
        ordered = np.empty((n, len(self.numbers), 3))
        ordered[:, np.argsort(self.numbers, kind="stable")] = np.resize(found, ordered.shape)
        return ordered

    def _parent(self, rng: np.random.Generator) -> Chem.Mol | None:
        if not self.members:
            return any_molecule(self.numbers, rng)
        graphs = sorted(self.members)
        drawn = (graphs[k] for k in rng.integers(len(graphs), size=2))
        return self.members[min(drawn, key=self.misfits.__getitem__)]

    def add(self, positions: np.ndarray, misfits: np.ndarray) -> None:
        """Add the graphs of those of the structures that have one.

        Args:
            positions: (n, N, 3) (Å).
            misfits: (n,) misfit of each; a graph has the lowest of its structures.
        """
        graphs = pool_graphs(self.numbers, positions).preferred()
        with rdBase.BlockLogs():
            for graph, misfit in zip(graphs, misfits, strict=True):
                if graph and graph not in self.members:
                    mol = Chem.MolFromSmiles(graph)
                    if mol is None:  # of valences that RDKit does not know
                        continue
                    self.members[graph] = with_hydrogens(mol)
                if graph:
                    self.misfits[graph] = min(float(misfit), self.misfits.get(graph, np.inf))
