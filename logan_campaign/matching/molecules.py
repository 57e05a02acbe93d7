"""Molecular graphs from geometries, by RDKit.

Atoms are joined by distance (RDKit's connect-the-dots, which drops the longest bonds of an
atom that has too many), bond orders are assigned for a neutral closed-shell molecule
(xyz2mol, Kim and Kim, doi 10.1002/bkcs.10334), and the graph is written as canonical
SMILES. A geometry has a graph here only if it is one whole molecule: fragments, radicals
and impossible valences give None with a reason.

Raw generated geometries have bonds up to half as long again. For them (``rough``) atoms
are joined nearest first, as far as their valences allow, out to the shortest reach at
which the whole is one neutral closed-shell molecule.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds, rdMolAlign, rdMolDescriptors

from logan_campaign.errors import InputError
from logan_campaign.matching.spec import MoleculeIdentity
from logan_campaign.schemas import Geometry

# Bond-order assignment tries combinations of valences; no molecule that is real needs more.
_MAX_ITERATIONS = 2000

# Reaches tried on rough geometries, in sums of covalent radii (C-C: 2.0 to 2.7 Å).
REACHES = (1.3, 1.4, 1.5, 1.6, 1.7, 1.8)

_PERIODIC_TABLE = Chem.GetPeriodicTable()


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


def perceive(
    structure: Geometry | Atoms, identity: MoleculeIdentity = "smiles", rough: bool = False
) -> Perception:
    """Find the molecular graph of a geometry.

    Args:
        structure: a molecule; a cell is ignored.
        identity: what ``key`` is: SMILES without stereo, with stereo, or InChI.
        rough: also accept the long bonds of an unrelaxed generated geometry.

    Returns:
        The graph, or None with a reason: never an exception for an odd geometry.
    """
    if isinstance(structure, Atoms):
        numbers, positions = structure.numbers, structure.positions
    else:
        numbers, positions = np.array(structure.atomic_numbers), structure.cart_coords
    return perceive_arrays(numbers, positions, identity, rough)


def perceive_arrays(
    numbers: np.ndarray,
    positions: np.ndarray,
    identity: MoleculeIdentity = "smiles",
    rough: bool = False,
) -> Perception:
    """Find the molecular graph of ``numbers`` (n_atoms,) at ``positions`` (n_atoms, 3) Å.

    As :func:`perceive`.
    """
    if not np.isfinite(positions).all():
        return Perception(None, None, "positions are not finite")
    with rdBase.BlockLogs():
        found, reason = _molecule(connected(numbers, positions))
        if found is None and rough:
            found = _rough_molecule(numbers, positions)
        if found is None:
            return Perception(None, None, reason)
        smiles = canonical(found)
        return Perception(smiles, _key(found, smiles, identity), "")


def bonded(structure: Geometry | Atoms) -> Chem.Mol:
    """Return the RDKit molecule of a geometry, with it as conformer.

    With bonds and their orders where it has a graph (also with the long bonds of an
    unrelaxed generated geometry); bare atoms where it has none. A cell is ignored.
    """
    if isinstance(structure, Atoms):
        numbers, positions = structure.numbers, structure.positions
    else:
        numbers, positions = np.array(structure.atomic_numbers), structure.cart_coords
    with rdBase.BlockLogs():
        found, _ = _molecule(connected(numbers, positions))
        return (
            found
            or _rough_molecule(numbers, positions)
            or _unconnected(numbers, positions).GetMol()
        )


def conformer_rmsd(first: Geometry, second: Geometry) -> float | None:
    """Return the RMSD (Å) of two conformers of one molecule after the best alignment.

    Over heavy atoms and the hydrogens bonded to heteroatoms (those on carbon follow from
    the rest, and their permutations are legion), over all pairings that keep the molecular
    graph, and over both mirror images, which have the same energy.

    Returns:
        None if a geometry has no graph or the two graphs differ.
    """
    with rdBase.BlockLogs():
        found = [
            _molecule(connected(np.array(structure.atomic_numbers), structure.cart_coords))[0]
            for structure in (first, second)
        ]
        if found[0] is None or found[1] is None:
            return None
        one, two = _skeleton(found[0]), _skeleton(found[1])
        if canonical(one) != canonical(two):
            return None
        mirrored = Chem.Mol(one)
        mirrored.GetConformer().SetPositions(-one.GetConformer().GetPositions())
        return min(rdMolAlign.GetBestRMS(image, Chem.Mol(two)) for image in (one, mirrored))


def _skeleton(mol: Chem.Mol) -> Chem.Mol:
    """Return the molecule without the hydrogens on carbon, and without stereo marks."""
    editable = Chem.RWMol(mol)
    editable.BeginBatchEdit()
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1 and {n.GetAtomicNum() for n in atom.GetNeighbors()} == {6}:
            [carbon] = atom.GetNeighbors()
            heavy = editable.GetAtomWithIdx(carbon.GetIdx())
            heavy.SetNumExplicitHs(heavy.GetNumExplicitHs() + 1)
            editable.RemoveAtom(atom.GetIdx())
    editable.CommitBatchEdit()
    found = editable.GetMol()
    Chem.RemoveStereochemistry(found)
    Chem.SanitizeMol(found)
    return found


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
    mol = _unconnected(numbers, positions).GetMol()
    rdDetermineBonds.DetermineConnectivity(mol)
    return mol


def _unconnected(numbers: np.ndarray, positions: np.ndarray) -> Chem.RWMol:
    editable = Chem.RWMol()
    for z in numbers:
        atom = Chem.Atom(int(z))
        atom.SetNoImplicit(True)
        editable.AddAtom(atom)
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    editable.AddConformer(conformer)
    return editable


def _molecule(mol: Chem.Mol) -> tuple[Chem.Mol | None, str]:
    """Return the neutral closed-shell molecule with these connections, or why there is none."""
    pieces = Chem.GetMolFrags(mol)
    if len(pieces) > 1:
        return None, f"in {len(pieces)} fragments ({_fragments(mol)})"
    found = _with_bond_orders(mol, charged=False) or _with_bond_orders(mol, charged=True)
    return found, "" if found else "no neutral closed-shell valence structure"


def _rough_molecule(numbers: np.ndarray, positions: np.ndarray) -> Chem.Mol | None:
    """Join atoms nearest first until the whole is a molecule; None if it never is one."""
    bonds, ratios = _nearest_bonds(numbers, positions, REACHES[-1])
    n_tried = 0
    for reach in REACHES:
        n_bonds = int(np.searchsorted(ratios, reach))
        if n_bonds == n_tried or n_bonds < len(numbers) - 1:
            continue
        n_tried = n_bonds
        editable = _unconnected(numbers, positions)
        for first, second in bonds[:n_bonds]:
            editable.AddBond(first, second, Chem.BondType.SINGLE)
        mol = editable.GetMol()
        if len(Chem.GetMolFrags(mol)) > 1:
            continue
        found, _ = _molecule(mol)
        if found is not None:
            return found
    return None


def highest_valence(number: int) -> int:
    """Return the largest number of bonds that an element forms, by its atomic number."""
    return max(_PERIODIC_TABLE.GetValenceList(number))


def molecule_of_bonds(numbers: np.ndarray, positions: np.ndarray, bonds: np.ndarray) -> str | None:
    """Return the canonical SMILES without stereo of atoms with given connections, or None.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) positions (Å).
        bonds: (n_bonds, 2) joined atoms; bond orders are found here.

    Returns:
        None where no neutral closed-shell molecule in one piece has these connections.
    """
    editable = _unconnected(numbers, positions)
    for first, second in bonds:
        editable.AddBond(int(first), int(second), Chem.BondType.SINGLE)
    mol = editable.GetMol()
    if len(Chem.GetMolFrags(mol)) > 1:
        return None
    found, _ = _molecule(mol)
    return None if found is None else canonical(found)


def _nearest_bonds(
    numbers: np.ndarray, positions: np.ndarray, reach: float
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Return bonds in order of length over the sum of covalent radii, and these ratios.

    Every atom takes as many as its highest valence allows; hydrogens do not pair up.
    """
    radii = covalent_radii[numbers]
    first, second = np.triu_indices(len(numbers), 1)
    ratios = np.linalg.norm(positions[first] - positions[second], axis=1)
    ratios /= radii[first] + radii[second]
    order = np.argsort(ratios, kind="stable")
    order = order[ratios[order] < reach]
    free = [highest_valence(int(z)) for z in numbers]
    bonds, lengths = [], []
    for pair in order:
        i, j = int(first[pair]), int(second[pair])
        if free[i] == 0 or free[j] == 0 or (numbers[i] == 1 and numbers[j] == 1):
            continue
        free[i] -= 1
        free[j] -= 1
        bonds.append((i, j))
        lengths.append(ratios[pair])
    return bonds, np.array(lengths)


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
