"""Valence structures of closed-shell molecules, and names independent of how they are drawn.

A molecule is identified by its *skeleton*: the connectivity with hydrogens, without bond orders and
charges. CS(C)=O and C[S+](C)[O-] have the same skeleton, as do the two ways to draw N2O. The SMILES
of a skeleton is written from one valence structure, found by integer programming: every atom has
one of the known valences of its element, bond orders add up to them, and formal charges add up to
zero and are as few as possible.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula
from rdkit import Chem, rdBase

#: Sum of bond orders, formal charge and cost of each way in which an element is bonded.
#: Charges cost most; they are negative on electronegative atoms first.
_STATES: dict[str, tuple[tuple[int, int, float], ...]] = {
    **dict.fromkeys(("H", "F", "Li", "Na", "K", "Rb", "Cs"), ((1, 0, 0.0),)),
    **dict.fromkeys(("Be", "Mg", "Ca", "Zn", "Cd", "Hg"), ((2, 0, 0.0),)),
    **dict.fromkeys(("B", "Al", "Ga", "In"), ((3, 0, 0.0), (4, -1, 11.0))),
    # no carbon with a positive charge: it lacks two electrons, as in the halves of a diradical
    "C": ((4, 0, 0.0), (3, -1, 15.0)),
    **dict.fromkeys(("Si", "Ge", "Sn", "Pb"), ((4, 0, 0.0),)),
    "N": ((3, 0, 0.0), (4, 1, 10.0), (2, -1, 12.0)),
    **dict.fromkeys(("P", "As", "Sb"), ((3, 0, 0.0), (5, 0, 1.0), (4, 1, 11.0), (2, -1, 14.0))),
    "O": ((2, 0, 0.0), (1, -1, 10.0), (3, 1, 13.0)),
    **dict.fromkeys(
        ("S", "Se", "Te"),
        ((2, 0, 0.0), (4, 0, 1.0), (6, 0, 2.0), (1, -1, 11.0), (3, 1, 11.0)),
    ),
    **dict.fromkeys(("Cl", "Br", "I"), ((1, 0, 0.0), (3, 0, 2.0), (5, 0, 3.0), (7, 0, 4.0))),
    **dict.fromkeys(("Kr", "Xe"), ((2, 0, 1.0), (4, 0, 2.0), (6, 0, 3.0))),
}

_BOND_TYPES = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)

# RDKit's check of valences is skipped, as it knows too few.
_SANITIZE = Chem.SanitizeFlags.SANITIZE_ALL ^ Chem.SanitizeFlags.SANITIZE_PROPERTIES


class Named(NamedTuple):
    """Name of a skeleton."""

    smiles: str
    """Canonical SMILES without stereochemistry of its valence structure."""
    separated: bool
    """Whether the structure has separated charges that are more than notation."""


def highest_valence(symbol: str) -> int:
    """Return the largest number of bonds that an element forms; 0 where none is known."""
    return max((valence for valence, _, _ in _STATES.get(symbol, ())), default=0)


def usual_valence(symbol: str) -> int:
    """Return the number of bonds that an element usually forms; 0 where none is known."""
    return next((valence for valence, _, _ in _STATES.get(symbol, ())), 0)


def why_no_molecule(formula: str) -> str | None:
    """Return why no molecule of a composition could be recognised, or None.

    It has an odd number of electrons, an element without known valences, or fewer valences
    than are needed to join all atoms: n atoms need a sum of 2(n - 1), and no atom more than the
    others provide (Senior, doi 10.2307/2372318). Valences of charged atoms count as well.

    Args:
        formula: all atoms of the molecule, such as ``'C2H6O'``.
    """
    counts = Formula(formula).count()
    if sum(atomic_numbers[symbol] * n for symbol, n in counts.items()) % 2:
        return "has an odd number of electrons"
    unknown = sorted(symbol for symbol in counts if symbol not in _STATES)
    if unknown:
        return f"holds {', '.join(unknown)}, whose valences are not known here"
    most = sum(highest_valence(symbol) * n for symbol, n in counts.items())
    least = max(min(valence for valence, _, _ in _STATES[symbol]) for symbol in counts)
    if most < max(2 * (sum(counts.values()) - 1), 2 * least):
        return "has too few valences to join all atoms"
    return None


def skeleton(mol: Chem.Mol) -> str:
    """Return the canonical SMILES of the connectivity with all hydrogens.

    Args:
        mol: with all hydrogens as atoms.
    """
    bare = Chem.RWMol(mol)
    for atom in bare.GetAtoms():
        atom.SetFormalCharge(0)
        atom.SetIsotope(0)
        atom.SetAtomMapNum(0)
        atom.SetIsAromatic(False)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(0)
        atom.SetNumRadicalElectrons(0)
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for bond in bare.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
        bond.SetStereo(Chem.BondStereo.STEREONONE)
        bond.SetBondDir(Chem.BondDir.NONE)
    return Chem.MolToSmiles(bare.GetMol(), isomericSmiles=False)


@lru_cache(maxsize=100_000)
def name_of(skeleton: str) -> Named | None:
    """Return the SMILES of a skeleton, or None if no closed-shell molecule has it."""
    with rdBase.BlockLogs():
        found = with_valences(Chem.MolFromSmiles(skeleton, sanitize=False))
        if found is None or _has_misplaced_proton(found):
            return None
        return Named(Chem.MolToSmiles(_without_hydrogens(found)), is_separated(found))


def with_valences(mol: Chem.Mol) -> Chem.Mol | None:
    """Return the molecule with bond orders and formal charges.

    Args:
        mol: joined atoms, all hydrogens among them; may have a conformer.

    Returns:
        The molecule; None if it has no neutral closed-shell valence structure.
    """
    orders_and_charges = _solve(mol)
    if orders_and_charges is None:
        return None
    orders, charges = orders_and_charges
    found = Chem.RWMol(mol)
    for atom, charge in zip(found.GetAtoms(), charges, strict=True):
        atom.SetFormalCharge(charge)
        atom.SetNoImplicit(True)
        atom.SetNumRadicalElectrons(0)
    for bond, order in zip(found.GetBonds(), orders, strict=True):
        bond.SetBondType(_BOND_TYPES[order - 1])
    result = found.GetMol()
    Chem.SanitizeMol(result, _SANITIZE)
    return result


def is_separated(mol: Chem.Mol) -> bool:
    """Return whether formal charges are more than notation.

    Charges of nitro groups, N-oxides, azides, isocyanides and dative bonds are notation: opposite
    charges are on adjacent atoms, the negative one not on carbon (except at the end of a chain,
    without hydrogen), the positive one on an atom without hydrogen. Those of ylides, betaines and
    misplaced protons are not.
    """
    for atom in mol.GetAtoms():
        charge = atom.GetFormalCharge()
        if charge == 0:
            continue
        neighbours = atom.GetNeighbors()
        if not any(other.GetFormalCharge() * charge < 0 for other in neighbours):
            return True
        joined = {other.GetAtomicNum() for other in neighbours}
        dative = bool(joined & {5, 13, 31, 49})
        if charge > 0 and 1 in joined and not dative:
            return True
        if charge < 0 and atom.GetAtomicNum() == 6 and len(neighbours) > 1:
            return True
    return False


def _has_misplaced_proton(mol: Chem.Mol) -> bool:
    """Return whether a molecule has both a carbanion and an atom with an excess proton.

    Both indicate a broken geometry, as in [CH2-]…[OH2+], unlike a zwitterion, whose negative charge
    is on oxygen.
    """
    charged = [atom for atom in mol.GetAtoms() if atom.GetFormalCharge()]
    return any(a.GetFormalCharge() < 0 and a.GetAtomicNum() == 6 for a in charged) and any(
        a.GetFormalCharge() > 0 and 1 in {n.GetAtomicNum() for n in a.GetNeighbors()}
        for a in charged
    )


def _solve(mol: Chem.Mol) -> tuple[list[int], list[int]] | None:
    """Return the order of each bond and the charge of each atom, or None."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    atoms, bonds = list(mol.GetAtoms()), list(mol.GetBonds())
    states = [_STATES.get(atom.GetSymbol(), ()) for atom in atoms]
    degrees = [atom.GetDegree() for atom in atoms]
    if not all(states) or sum(atom.GetAtomicNum() for atom in atoms) % 2:
        return None
    if all(options[0][0] == degree for options, degree in zip(states, degrees, strict=True)):
        return [1] * len(bonds), [0] * len(atoms)  # saturated
    # A charge is written on the end of a chain rather than inside it: CN=[N+]=[N-].
    states = [
        tuple(
            (valence, charge, cost + 0.5 * degree * (charge < 0))
            for valence, charge, cost in options
            if degree <= valence <= 3 * degree
        )
        for options, degree in zip(states, degrees, strict=True)
    ]
    if not all(states):
        return None
    # Variables: bond order minus one for each bond, then a binary variable for each state.
    n_bonds = len(bonds)
    owner = [index for index, options in enumerate(states) for _ in options]
    options = np.array([option for per_atom in states for option in per_atom])
    n_states, n_atoms = len(owner), len(atoms)
    rows, columns, values = [], [], []
    for column, bond in enumerate(bonds):
        for index in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()):
            rows.append(index)
            columns.append(column)
            values.append(1.0)
    for k, index in enumerate(owner):
        rows += [index, n_atoms + index, 2 * n_atoms]
        columns += [n_bonds + k] * 3
        values += [-options[k, 0], 1.0, options[k, 1]]
    matrix = coo_array((values, (rows, columns)), shape=(2 * n_atoms + 1, n_bonds + n_states))
    right = np.concatenate([-np.array(degrees, dtype=float), np.ones(n_atoms), [0.0]])
    found = milp(
        np.concatenate([np.zeros(n_bonds), options[:, 2]]),
        integrality=np.ones(n_bonds + n_states),
        bounds=Bounds(0, np.concatenate([np.full(n_bonds, 2.0), np.ones(n_states)])),
        constraints=LinearConstraint(matrix.tocsc(), right, right),
    )
    if found.x is None:
        return None
    solution = np.rint(found.x).astype(int)
    charges = [0] * n_atoms
    for k, index in enumerate(owner):
        if solution[n_bonds + k]:
            charges[index] = int(options[k, 1])
    return [int(n) + 1 for n in solution[:n_bonds]], charges


def _without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    try:
        return Chem.RemoveHs(mol)
    except Chem.MolSanitizeException:  # of more bonds than RDKit knows the element with
        return Chem.RemoveHs(mol, sanitize=False)
