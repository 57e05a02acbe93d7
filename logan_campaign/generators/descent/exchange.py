"""Starts from earlier molecules with bonds exchanged.

Descents from random positions rarely end in rings or highly branched molecules, to which few paths
lead. The exchange of bonds in a molecule that has been found leads to neighbouring isomers, however
rare those are. Some bonds are cut, and the free valences joined anew at random: rings open and
close, double bonds and hydrogens move, groups change places. All constitutional isomers can be
reached in this way (Faulon, 10.1021/ci950179a). Distance geometry gives the new graph coordinates,
and a descent decides what becomes of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom
from scipy.sparse.csgraph import connected_components

from logan_campaign.geometry.lewis import name_of, skeleton
from logan_campaign.geometry.molecular_graphs import pool_graphs

#: Maximum number of draws for each start, of bonds to exchange and of parents.
_DRAWS, _TRIES = 500, 20

#: Share of the exchanges that cut two bonds; the others cut three.
_TWO = 0.75

#: Attempts of RDKit to embed a graph.
_EMBEDDINGS = 5


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

        Two graphs are drawn for each start, and the one with the lower misfit is the parent. The
        result depends on the seed, the block and the molecules added before.
        """
        its_turn = int((block + 1) * self.share) > int(block * self.share)
        if not its_turn or not self.members:
            return None
        rng = np.random.default_rng([self.seed % 2**63, block])
        graphs = sorted(self.members)
        found: list[np.ndarray] = []
        with rdBase.BlockLogs():
            for _ in range(_TRIES * n):
                if len(found) == n:
                    break
                drawn = (graphs[k] for k in rng.integers(len(graphs), size=2))
                parent = min(drawn, key=self.misfits.__getitem__)
                child = exchange_bonds(self.members[parent], rng)
                placed = embed(child, int(rng.integers(2**31)))
                if placed is not None:
                    found.append(placed)
        if not found:
            return None
        # atoms of one species have any order
        ordered = np.empty((n, len(self.numbers), 3))
        ordered[:, np.argsort(self.numbers, kind="stable")] = np.resize(found, ordered.shape)
        return ordered

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


def with_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """Return a molecule with all hydrogens, bond orders 1 to 3, atoms by atomic number."""
    full = Chem.AddHs(mol)
    order = np.argsort([atom.GetAtomicNum() for atom in full.GetAtoms()], kind="stable")
    full = Chem.RenumberAtoms(full, order.tolist())
    Chem.Kekulize(full, clearAromaticFlags=True)
    return full


def exchange_bonds(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
    """Return another molecule of the same atoms, with two or three bonds exchanged.

    One of them at least joins heavy atoms, since hydrogens alone only change places. Every atom
    keeps its number of valences. The molecule stays in one piece, without separated charges; it is
    unchanged if no such exchange is found.

    Args:
        mol: as of :func:`with_hydrogens`.
        rng: source of the choice.
    """
    orders = Chem.GetAdjacencyMatrix(mol, useBO=True).astype(int)
    first, second = np.nonzero(np.triu(orders))
    bonds = np.repeat(np.stack([first, second], axis=1), orders[first, second], axis=0)
    ends = orders.sum(axis=0) == 1
    heavy = np.flatnonzero(~ends[bonds].any(axis=1))
    before = skeleton(mol)
    for _ in range(_DRAWS if len(heavy) else 0):
        n_others = 1 if rng.random() < _TWO else 2
        others = np.delete(np.arange(len(bonds)), one := rng.choice(heavy))
        cut = bonds[[one, *rng.permutation(others)[:n_others]]]
        joined = rng.permutation(cut.ravel()).reshape(-1, 2)
        after = orders.copy()
        for pairs, change in ((cut, -1), (joined, 1)):
            for i, j in pairs:
                after[i, j] += change
                after[j, i] += change
        if (
            after.diagonal().any()
            or after.max() > 3
            or ends[joined].all(axis=1).any()
            or np.array_equal(after, orders)
            or connected_components(after)[0] > 1
        ):
            continue
        child = _joined(mol, after)
        name = name_of(graph) if (graph := skeleton(child)) != before else None
        if name is not None and not name.separated:
            return child
    return mol


def _joined(mol: Chem.Mol, orders: np.ndarray) -> Chem.Mol:
    child = Chem.RWMol(mol)
    for bond in mol.GetBonds():
        child.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    for i, j in np.argwhere(np.triu(orders)).tolist():
        child.AddBond(i, j, Chem.BondType.values[int(orders[i, j])])
    return child.GetMol()


def embed(mol: Chem.Mol, seed: int) -> np.ndarray | None:
    """Return positions (N, 3) (Å) of a molecule by distance geometry; None if there are none.

    The longest axis is along x, the shortest along z.
    """
    mol = Chem.Mol(mol)
    if Chem.SanitizeMol(mol, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
        return None
    parameters: Any = rdDistGeom.ETKDGv3()  # the stubs declare the seed as an object
    parameters.randomSeed, parameters.maxIterations = seed, _EMBEDDINGS
    if rdDistGeom.EmbedMolecule(mol, parameters) < 0:
        return None
    positions = mol.GetConformer().GetPositions()
    centred = positions - positions.mean(axis=0)
    return centred @ np.linalg.svd(centred)[2].T
