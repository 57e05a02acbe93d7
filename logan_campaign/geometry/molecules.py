"""Molecular graphs from geometries, by RDKit.

Bonds are found by distance (RDKit's connect-the-dots, which drops the longest bonds of an atom
with too many), and the graph is written as the canonical SMILES of its valence structure
(:mod:`~logan_campaign.geometry.lewis`). A geometry has a graph only if it is one neutral
closed-shell molecule: fragments, radicals and impossible valences give None with a reason.

Bonds of generated geometries are up to 1.5 times as long. For them (``rough``) bonds are added from
the shortest, as far as valences allow, up to the shortest reach that gives one neutral closed-shell
molecule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds, rdMolAlign, rdMolDescriptors

from logan_campaign.core.documents import Geometry, MoleculeIdentity
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.lewis import (
    Named,
    highest_valence,
    name_of,
    skeleton,
    with_valences,
)
from logan_campaign.geometry.neighbours import BOND_FACTOR
from logan_campaign.geometry.structures import is_open_shell

# Reaches tried on rough geometries, in sums of covalent radii (C-C: 2.0 to 2.7 Å).
REACHES = (BOND_FACTOR, 1.4, 1.5, 1.6, 1.7, 1.8)


class Perception(NamedTuple):
    """The graph found in a geometry; ``reason`` says why there is none."""

    smiles: str | None
    """Canonical SMILES without stereo."""
    key: str | None
    """Key of the molecule for the chosen identity."""
    reason: str


def perceive_smiles(structure: Geometry | Atoms) -> str | None:
    """Return the canonical SMILES without stereo of a geometry, or None if it has no graph.

    A fragmented geometry has no graph; there are no dotted SMILES.
    """
    return perceive(structure).smiles


def perceive(
    structure: Geometry | Atoms, identity: MoleculeIdentity = "smiles", rough: bool = False
) -> Perception:
    """Find the molecular graph of a geometry.

    Args:
        structure: a molecule; a cell is ignored.
        identity: kind of ``key``: SMILES without or with stereochemistry, or InChI.
        rough: also accept the long bonds of an unrelaxed generated geometry.

    Returns:
        The graph, or None with a reason; unusual geometries never raise.
    """
    if not isinstance(structure, Atoms) and has_no_graph(structure):
        return Perception(None, None, "a cluster, radical or ion is described by its geometry")
    return perceive_arrays(*_arrays(structure), identity, rough)


def has_no_graph(structure: Geometry) -> bool:
    """Return whether a molecule states that it is a cluster, charged or with unpaired electrons.

    It is then told apart by its geometry.
    """
    return is_open_shell(structure) or "cluster" in structure.properties


def _arrays(structure: Geometry | Atoms) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(structure, Atoms):
        return structure.numbers, structure.positions
    return np.array(structure.atomic_numbers), structure.cart_coords


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
        joined, reason = _joined(numbers, positions)
        if joined is None and rough:
            joined = _rough_molecule(numbers, positions)
        named = None if joined is None else name_of(skeleton(joined))
        if joined is None or named is None:
            return Perception(None, None, reason)
        return Perception(named.smiles, _key(joined, named.smiles, identity), "")


def bonded(structure: Geometry | Atoms) -> Chem.Mol:
    """Return the RDKit molecule of a geometry, with it as conformer.

    It has bonds and bond orders if there is a graph (also with the long bonds of a generated
    geometry), otherwise only atoms. A cell is ignored.
    """
    numbers, positions = _arrays(structure)
    with rdBase.BlockLogs():
        joined = _joined(numbers, positions)[0] or _rough_molecule(numbers, positions)
        found = None if joined is None else with_valences(joined)
        return found or _unconnected(numbers, positions).GetMol()


def conformer_rmsd(first: Geometry, second: Geometry) -> float | None:
    """Return the RMSD (Å) of two conformers of one molecule after the best alignment.

    Over heavy atoms and hydrogens on heteroatoms (those on carbon are determined by the others, and
    have too many permutations), minimised over all automorphisms of the molecular graph and both
    mirror images, which have the same energy.

    Returns:
        None if a geometry has no graph or the two graphs differ.
    """
    with rdBase.BlockLogs():
        one, two = (_joined(*_arrays(structure))[0] for structure in (first, second))
        if one is None or two is None or skeleton(one) != skeleton(two):
            return None
        # one valence structure for both, or atoms of two structures would not match
        one, two = _without_carbon_hydrogens(one), _without_carbon_hydrogens(two)
        mirrored = Chem.Mol(one)
        mirrored.GetConformer().SetPositions(-one.GetConformer().GetPositions())
        return min(rdMolAlign.GetBestRMS(image, Chem.Mol(two)) for image in (one, mirrored))


def _without_carbon_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """Return the atoms with single bonds only, without hydrogens on carbon."""
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
    found.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(found)
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
    """Return the canonical SMILES of an RDKit molecule, hydrogens implicit.

    It is independent of how charges are drawn, of isotopes and of map numbers. Anything other than
    a neutral closed-shell molecule is written as drawn.
    """
    plain = Chem.Mol(mol)
    for atom in plain.GetAtoms():
        atom.SetIsotope(0)
        atom.SetAtomMapNum(0)
    with rdBase.BlockLogs():
        whole = Chem.AddHs(plain)
        if stereo:
            found = with_valences(whole) if neutral(whole) else None
            return Chem.MolToSmiles(Chem.RemoveHs(found or plain))
        named = name_of(skeleton(whole)) if neutral(whole) else None
        return named.smiles if named else Chem.MolToSmiles(Chem.RemoveHs(plain), False)


def neutral(mol: Chem.Mol) -> bool:
    """Whether a molecule as drawn has neither a net charge nor unpaired electrons."""
    return Chem.GetFormalCharge(mol) == 0 and not any(
        atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()
    )


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


def _joined(numbers: np.ndarray, positions: np.ndarray) -> tuple[Chem.Mol | None, str]:
    """Return the atoms of a geometry with bonds if they are a molecule, or the reason why not."""
    mol = connected(numbers, positions)
    pieces = Chem.GetMolFrags(mol)
    if len(pieces) == 1 and name_of(skeleton(mol)) is not None:
        return mol, ""
    # RDKit joins the fluorines of PF5 too; nearest first, none has more bonds than it can
    bonds, _ = _nearest_bonds(numbers, positions, BOND_FACTOR)
    other = _with_bonds(numbers, positions, bonds)
    if len(Chem.GetMolFrags(other)) == 1 and name_of(skeleton(other)) is not None:
        return other, ""
    if len(pieces) > 1:
        return None, f"in {len(pieces)} fragments ({_fragments(mol)})"
    return None, "no neutral closed-shell valence structure"


def _with_bonds(
    numbers: np.ndarray, positions: np.ndarray, bonds: Iterable[Sequence[int]]
) -> Chem.Mol:
    editable = _unconnected(numbers, positions)
    for first, second in bonds:
        editable.AddBond(int(first), int(second), Chem.BondType.SINGLE)
    return editable.GetMol()


def _rough_molecule(numbers: np.ndarray, positions: np.ndarray) -> Chem.Mol | None:
    """Join atoms nearest first until the whole is a molecule; None if it never is one.

    One whose charges are separated is taken only where no reach gives another.
    """
    bonds, ratios = _nearest_bonds(numbers, positions, REACHES[-1])
    n_tried = 0
    separated: Chem.Mol | None = None
    for reach in REACHES:
        n_bonds = int(np.searchsorted(ratios, reach))
        if n_bonds == n_tried or n_bonds < len(numbers) - 1:
            continue
        n_tried = n_bonds
        mol = _with_bonds(numbers, positions, bonds[:n_bonds])
        if len(Chem.GetMolFrags(mol)) > 1:
            continue
        named = name_of(skeleton(mol))
        if named is not None and not named.separated:
            return mol
        separated = separated or (mol if named else None)
    return separated


def molecule_of_bonds(
    numbers: np.ndarray, positions: np.ndarray, bonds: np.ndarray
) -> Named | None:
    """Return the name of the molecule with given connections, or None.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) positions (Å).
        bonds: (n_bonds, 2) joined atoms; bond orders are found here.

    Returns:
        The name; None if no single neutral closed-shell molecule has these connections.
    """
    mol = _with_bonds(numbers, positions, bonds)
    return name_of(skeleton(mol)) if len(Chem.GetMolFrags(mol)) == 1 else None


def _nearest_bonds(
    numbers: np.ndarray, positions: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bonds of :func:`join_nearest` below a reach, shortest first, and their ratios."""
    pairs, ratio, joined = join_nearest(numbers, positions[None])
    found = np.flatnonzero(joined[0] & (ratio[0] < reach))
    found = found[np.argsort(ratio[0, found], kind="stable")]
    return pairs[found], ratio[0, found]


def join_nearest(
    numbers: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join atoms nearest first, in many structures together.

    Every atom takes as many bonds as its highest valence allows; hydrogens do not pair up.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n, n_atoms, 3) finite positions (Å).

    Returns:
        (n_pairs, 2) the pairs of atoms; (n, n_pairs) their distances in sums of covalent
        radii; (n, n_pairs) whether they are joined.
    """
    first, second = np.triu_indices(len(numbers), 1)
    radii = covalent_radii[numbers]
    ratio = np.linalg.norm(positions[:, first] - positions[:, second], axis=2)
    ratio /= radii[first] + radii[second]
    # hydrogens do not pair up: they are never looked at, but count as atoms near each other
    may = ~((numbers[first] == 1) & (numbers[second] == 1))
    looked_at = np.where(may, ratio, np.inf)
    order = np.argsort(looked_at, axis=1, kind="stable")
    within = int((looked_at < REACHES[-1]).sum(axis=1).max(initial=0))
    free = np.tile([highest_valence(chemical_symbols[z]) for z in numbers], (len(positions), 1))
    joined = np.zeros(ratio.shape, dtype=bool)
    rows = np.arange(len(positions))
    for rank in range(within):
        pair = order[:, rank]
        i, j = first[pair], second[pair]
        bond = (looked_at[rows, pair] < REACHES[-1]) & (free[rows, i] > 0) & (free[rows, j] > 0)
        joined[rows, pair] = bond
        free[rows, i] -= bond
        free[rows, j] -= bond
    return np.stack([first, second], axis=1), ratio, joined


def _key(mol: Chem.Mol, smiles: str, identity: MoleculeIdentity) -> str:
    if identity == "smiles":
        return smiles
    mol = with_valences(mol) or mol
    Chem.AssignStereochemistryFrom3D(mol)
    if identity == "smiles-stereo":
        return Chem.MolToSmiles(Chem.RemoveHs(mol))
    return Chem.MolToInchi(Chem.RemoveHs(mol))


def _fragments(mol: Chem.Mol) -> str:
    formulas = sorted(
        rdMolDescriptors.CalcMolFormula(piece)
        for piece in Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    )
    return " + ".join(formulas)
