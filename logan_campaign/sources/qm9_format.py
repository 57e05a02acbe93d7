"""The raw format of QM9: one molecule per file, fifteen properties, charges, frequencies.

Ramakrishnan, Dral, Rupp, von Lilienfeld, doi 10.1038/sdata.2014.22 (Table 2 and 3 there).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.formula import Formula
from ase.units import Hartree

from logan_campaign.core.errors import StructureError

#: The properties in order: name with our unit, and the factor from the raw unit.
PROPERTIES: tuple[tuple[str, float], ...] = (
    ("rotational_constant_a_ghz", 1.0),
    ("rotational_constant_b_ghz", 1.0),
    ("rotational_constant_c_ghz", 1.0),
    ("dipole_moment_debye", 1.0),
    ("polarizability_bohr3", 1.0),
    ("homo_ev", Hartree),
    ("lumo_ev", Hartree),
    ("gap_ev", Hartree),
    ("r2_bohr2", 1.0),
    ("zero_point_energy_ev", Hartree),
    ("u0_ev", Hartree),
    ("u_298k_ev", Hartree),
    ("h_298k_ev", Hartree),
    ("g_298k_ev", Hartree),
    ("heat_capacity_298k_cal_per_mol_k", 1.0),
)


class RawMolecule(NamedTuple):
    """One molecule of QM9."""

    number: int
    """Number in the data set, from 1."""
    atoms: Atoms
    """Geometry at B3LYP/6-31G(2df,p) (Å)."""
    properties: dict[str, float]
    """Values by the names of :data:`PROPERTIES`, in the units named there."""
    charges: np.ndarray
    """Mulliken charges, shape (n_atoms,), e."""
    frequencies: np.ndarray
    """Harmonic frequencies, shape (3 n_atoms - 6,), or - 5 if linear, cm⁻¹."""
    smiles: tuple[str, str]
    """SMILES from GDB-17, and of the relaxed geometry."""
    inchi: tuple[str, str]
    """InChI of both."""


class Summary(NamedTuple):
    """Index entry of a molecule."""

    number: int
    formula: str
    """Hill formula."""
    n_atoms: int


def summarise(text: str) -> Summary:
    """Return the index entry of a text, without parsing coordinates.

    Raises:
        StructureError: the text is malformed.
    """
    lines = text.splitlines()
    n_atoms = _count(lines)
    symbols = [line.partition("\t")[0].strip() for line in lines[2 : 2 + n_atoms]]
    if unknown := {symbol for symbol in symbols if symbol not in atomic_numbers}:
        raise StructureError(f"unknown species {', '.join(sorted(unknown))}")
    return Summary(_number(lines), Formula.from_list(symbols).format("hill"), n_atoms)


def parse(text: str) -> RawMolecule:
    """Return a molecule from its text.

    Raises:
        StructureError: the text is malformed.
    """
    lines = text.splitlines()
    n_atoms = _count(lines)
    number = _number(lines)
    raw = _numbers(lines[1].split()[2:], "property line")
    if len(raw) != len(PROPERTIES):
        raise StructureError(f"property line has {len(raw)} numbers, not {len(PROPERTIES)}")
    properties = {
        name: float(value * factor) for (name, factor), value in zip(PROPERTIES, raw, strict=True)
    }
    symbols, rows = [], []
    for place, line in enumerate(lines[2 : 2 + n_atoms]):
        symbol, *words = line.split()
        numbers = _numbers(words, f"atom {place}")
        if len(numbers) != 4:
            raise StructureError(f"atom {place} has {len(numbers)} numbers, not 4")
        if symbol not in atomic_numbers:
            raise StructureError(f"unknown species {symbol}")
        symbols.append(symbol)
        rows.append(numbers)
    table = np.array(rows)
    return RawMolecule(
        number,
        Atoms(symbols, table[:, :3]),
        properties,
        table[:, 3],
        _numbers(lines[2 + n_atoms].split(), "frequencies"),
        _pair(lines[3 + n_atoms]),
        _pair(lines[4 + n_atoms]),
    )


def to_record(molecule: RawMolecule) -> dict[str, Any]:
    """Return everything except the geometry as plain values."""
    return {
        **molecule.properties,
        "mulliken_charges_e": molecule.charges.tolist(),
        "frequencies_per_cm": molecule.frequencies.tolist(),
        "smiles_gdb": molecule.smiles[0],
        "smiles_relaxed": molecule.smiles[1],
        "inchi_gdb": molecule.inchi[0],
        "inchi_relaxed": molecule.inchi[1],
    }


def _count(lines: list[str]) -> int:
    try:
        n_atoms = int(lines[0])
    except (IndexError, ValueError):
        raise StructureError("does not begin with the number of atoms") from None
    if n_atoms < 1 or len(lines) < n_atoms + 5:
        raise StructureError(f"has {len(lines)} lines, not the {n_atoms + 5} of {n_atoms} atoms")
    return n_atoms


def _number(lines: list[str]) -> int:
    words = lines[1].split(None, 2)
    if len(words) < 3 or words[0] != "gdb" or not words[1].isdecimal():
        raise StructureError("the second line does not begin with 'gdb' and a number")
    return int(words[1])


def _numbers(words: list[str], where: str) -> np.ndarray:
    """Return numbers; QM9 writes small ones like ``1.5*^-6``."""
    try:
        values = np.array([float(word.replace("*^", "e")) for word in words])
    except ValueError as err:
        raise StructureError(f"{where}: {err}") from None
    if not np.isfinite(values).all():
        raise StructureError(f"{where}: not all numbers are finite")
    return values


def _pair(line: str) -> tuple[str, str]:
    words = line.split()
    if len(words) != 2:
        raise StructureError(f"has {len(words)} names where two should stand")
    return words[0], words[1]
