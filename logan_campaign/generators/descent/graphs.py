"""Molecular graphs: random ones, neighbours of others, and coordinates for them.

Some bonds of a molecule are cut, and the free valences joined anew at random: rings open and close,
double bonds and hydrogens move, groups change places. All constitutional isomers can be reached in
this way (Faulon, 10.1021/ci950179a).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import chemical_symbols
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.sparse.csgraph import connected_components

from logan_campaign.geometry.lewis import name_of, skeleton, usual_valence

#: Maximum number of draws.
_DRAWS = 500

#: Share of the exchanges that cut two bonds; the others cut three.
_TWO = 0.75

#: Attempts of RDKit to embed a graph.
_EMBEDDINGS = 5


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
    before, drawn = skeleton(mol), Chem.MolToSmiles(mol)
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
        if Chem.MolToSmiles(child) == drawn:  # much faster than to compare skeletons
            continue
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


def any_molecule(numbers: np.ndarray, rng: np.random.Generator) -> Chem.Mol | None:
    """Return a molecule with random bonds, as of :func:`with_hydrogens`; None if none is found.

    Elements have their usual valences. Atoms with several are joined to a tree one after another,
    further bonds raise orders or close rings, and the others are added last.

    Args:
        numbers: (N,) atomic numbers.
        rng: source of the choice.
    """
    numbers = np.sort(numbers)
    valences = np.array([usual_valence(chemical_symbols[z]) for z in numbers])
    further, odd = divmod(int(valences.sum()) - 2 * (len(numbers) - 1), 2)
    if odd or further < 0 or not valences.all():
        return None
    atoms = Chem.RWMol()
    for number in numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        atoms.AddAtom(atom)
    n_inner = max(1, int((valences > 1).sum()))
    for _ in range(_DRAWS):
        order = rng.permutation(len(numbers))
        order = order[np.argsort(valences[order] == 1, kind="stable")]
        inner = order[:n_inner]
        joins = [(inner[k : k + 1], inner[:k]) for k in range(1, n_inner)]
        joins += [(inner, inner)] * further
        joins += [(order[k : k + 1], inner) for k in range(n_inner, len(order))]
        orders = np.zeros((len(numbers), len(numbers)), dtype=int)
        for sides in joins:
            free = orders.sum(axis=0) < valences
            ends = [rng.choice(s) for side in sides if len(s := side[free[side]])]
            if len(ends) < 2 or ends[0] == ends[1] or orders[tuple(ends)] == 3:
                break
            orders[tuple(ends)] += 1
            orders[tuple(ends[::-1])] += 1
        else:
            found = _joined(atoms.GetMol(), orders)
            named = name_of(skeleton(found))
            if named is not None and not named.separated:
                return found
    return None


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
