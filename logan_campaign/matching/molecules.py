"""Molecular graphs from geometries, by RDKit.

Atoms are joined by distance (RDKit's connect-the-dots, which drops the longest bonds of an
atom that has too many), bond orders are assigned for a neutral closed-shell molecule
(xyz2mol, Kim and Kim, doi 10.1002/bkcs.10334), and the graph is written as canonical
SMILES. A geometry has a graph here only if it is one whole molecule: fragments, radicals
and impossible valences give None with a reason.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds, rdMolDescriptors

from logan_campaign.errors import InputError
from logan_campaign.matching.spec import MoleculeIdentity
from logan_campaign.schemas import Geometry

# Bond-order assignment tries combinations of valences; no molecule that is real needs more.
_MAX_ITERATIONS = 2000


class Perception(NamedTuple):
    """The graph found in a geometry; ``reason`` says why there is none."""

    smiles: str | None
    """Canonical SMILES without stereo."""
    key: str | None
    """What identifies the molecule under the identity asked for."""
    reason: str


def perceive_smiles(structure: Geometry | Atoms) -> str | None:
    """Return the canonical SMILES without stereo of a geometry, or None if it has no graph.

    Fragments do not become a dotted SMILES: a geometry in pieces has no graph.
    """
    return perceive(structure).smiles


def perceive(structure: Geometry | Atoms, identity: MoleculeIdentity = "smiles") -> Perception:
    """Find the molecular graph of a geometry.

    Args:
        structure: a molecule; a cell is ignored.
        identity: what ``key`` is: SMILES without stereo, with stereo, or InChI.

    Returns:
        The graph, or None with a reason: never an exception for an odd geometry.
    """
    if isinstance(structure, Atoms):
        numbers, positions = structure.numbers, structure.positions
    else:
        numbers, positions = np.array(structure.atomic_numbers), structure.cart_coords
    return perceive_arrays(numbers, positions, identity)


def perceive_arrays(
    numbers: np.ndarray, positions: np.ndarray, identity: MoleculeIdentity = "smiles"
) -> Perception:
    """Find the molecular graph of ``numbers`` (n_atoms,) at ``positions`` (n_atoms, 3) Å."""
    if not np.isfinite(positions).all():
        return Perception(None, None, "positions are not finite")
    with rdBase.BlockLogs():
        mol = connected(numbers, positions)
        pieces = Chem.GetMolFrags(mol)
        if len(pieces) > 1:
            return Perception(None, None, f"in {len(pieces)} fragments ({_fragments(mol)})")
        found = _with_bond_orders(mol, charged=False) or _with_bond_orders(mol, charged=True)
        if found is None:
            return Perception(None, None, "no neutral closed-shell valence structure")
        smiles = canonical(found)
        return Perception(smiles, _key(found, smiles, identity), "")


def canonical_smiles(smiles: str) -> str:
    """Return the canonical SMILES without stereo of a SMILES.

    Raises:
        InputError: if it is not a SMILES.
    """
    return canonical(parse_smiles(smiles))


def parse_smiles(smiles: str) -> Chem.Mol:
    """Return RDKit's molecule for a SMILES.

    Raises:
        InputError: if RDKit cannot read it, or it is empty.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None or mol.GetNumAtoms() == 0:
        raise InputError(f"not a valid SMILES: {smiles!r}")
    return mol


def canonical(mol: Chem.Mol, stereo: bool = False) -> str:
    """Return the canonical SMILES of an RDKit molecule, hydrogens implicit."""
    return Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=stereo)


def connected(numbers: np.ndarray, positions: np.ndarray) -> Chem.Mol:
    """Return an RDKit molecule with the given atoms, in order, joined by distance only."""
    editable = Chem.RWMol()
    for z in numbers:
        atom = Chem.Atom(int(z))
        atom.SetNoImplicit(True)
        editable.AddAtom(atom)
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    editable.AddConformer(conformer)
    mol = editable.GetMol()
    rdDetermineBonds.DetermineConnectivity(mol)
    return mol


def _with_bond_orders(mol: Chem.Mol, charged: bool) -> Chem.Mol | None:
    trial = Chem.Mol(mol)
    try:
        rdDetermineBonds.DetermineBondOrders(
            trial,
            charge=0,
            allowChargedFragments=charged,
            embedChiral=True,
            maxIterations=_MAX_ITERATIONS,
        )
    except (ValueError, RuntimeError):  # how RDKit says that no assignment exists
        return None
    if any(atom.GetNumRadicalElectrons() for atom in trial.GetAtoms()):
        return None
    if charged and not _is_dipolar(trial):
        return None
    return trial


def _is_dipolar(mol: Chem.Mol) -> bool:
    """Tell whether formal charges are only those of writing: nitro, N-oxide, isocyanide, …

    They come in neighbouring pairs, and the positive atom carries no hydrogen; a proton
    on the wrong atom ([CH2-]… and …[OH2+]) is a broken geometry and not a molecule.
    """
    for atom in mol.GetAtoms():
        charge = atom.GetFormalCharge()
        if charge == 0:
            continue
        neighbours = atom.GetNeighbors()
        if not any(other.GetFormalCharge() * charge < 0 for other in neighbours):
            return False
        if charge > 0 and any(other.GetAtomicNum() == 1 for other in neighbours):
            return False
    return True


def _key(mol: Chem.Mol, smiles: str, identity: MoleculeIdentity) -> str:
    if identity == "smiles":
        return smiles
    if identity == "smiles-stereo":
        return canonical(mol, stereo=True)
    return Chem.MolToInchi(Chem.RemoveHs(mol))


def _fragments(mol: Chem.Mol) -> str:
    formulas = sorted(
        rdMolDescriptors.CalcMolFormula(piece)
        for piece in Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    )
    return " + ".join(formulas)
