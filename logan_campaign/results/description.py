"""What a person reads first of a structure: cell, symmetry, sites, bonds."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, NamedTuple

import numpy as np
from pymatgen.core import Structure

from logan_campaign.core.documents import Geometry
from logan_campaign.geometry.neighbours import bonds_of
from logan_campaign.geometry.structures import to_atoms

#: Tolerance of space groups (Å), that of the records.
SYMPREC = 0.1


class Bonds(NamedTuple):
    """Bonds between two species: how many atoms and bonds in the molecule or cell, lengths (Å)."""

    pair: str
    n: int
    shortest: float
    longest: float


def bonds(structure: Geometry) -> list[Bonds]:
    """Return the bonds of a structure, by pair of species."""
    atoms = to_atoms(structure)
    found = bonds_of(atoms)
    ends = atoms.positions[found.second] + found.image @ atoms.cell.array
    lengths = np.linalg.norm(ends - atoms.positions[found.first], axis=1)
    by_pair: defaultdict[str, list[float]] = defaultdict(list)
    names = atoms.get_chemical_symbols()
    for first, second, length in zip(found.first, found.second, lengths, strict=True):
        by_pair["–".join(sorted((names[first], names[second])))].append(float(length))
    # each bond is listed from both of its ends
    return [Bonds(pair, len(by) // 2, min(by), max(by)) for pair, by in sorted(by_pair.items())]


def coordination(structure: Geometry) -> dict[str, str]:
    """Return the neighbours of each species' atoms: ``{'Si': '4 O', 'O': '2 Si'}``.

    Different surroundings of a species are separated by '; ', the most frequent first.
    """
    atoms = to_atoms(structure)
    names = atoms.get_chemical_symbols()
    around: list[Counter[str]] = [Counter() for _ in names]
    found = bonds_of(atoms)
    for first, second in zip(found.first, found.second, strict=True):
        around[first][names[second]] += 1
    texts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, near in zip(names, around, strict=True):
        texts[name][" + ".join(f"{n} {other}" for other, n in sorted(near.items())) or "none"] += 1
    return {
        name: "; ".join(text for text, _ in kinds.most_common())
        for name, kinds in sorted(texts.items())
    }


class Crystal(NamedTuple):
    """A crystal's symmetry and its conventional cell.

    Attributes:
        symbol, number: the space group.
        conventional: the standard cell, symmetrized.
        sites: element and Wyckoff position of each orbit, such as ``'O 6c'``.
    """

    symbol: str
    number: int
    conventional: Structure
    sites: list[str]


def crystal(structure: Structure, symprec: float = SYMPREC) -> Crystal | None:
    """Return a crystal's symmetry; None if spglib finds none, as for colliding atoms."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    bare = Structure(structure.lattice, structure.species, structure.frac_coords)
    try:
        cell = SpacegroupAnalyzer(bare, symprec).get_refined_structure()
        found = SpacegroupAnalyzer(cell, 0.1 * symprec)
        orbits = found.get_symmetrized_structure()
    except (SymmetryUndeterminedError, TypeError, ValueError):
        return None
    named = zip(orbits.equivalent_sites, orbits.wyckoff_symbols, strict=True)
    sites = [f"{sites[0].specie.symbol} {place}" for sites, place in named]
    return Crystal(found.get_space_group_symbol(), found.get_space_group_number(), cell, sites)


def cell_text(structure: Structure) -> str:
    """Return lengths and angles of a cell as one line."""
    lattice = structure.lattice
    lengths = ", ".join(f"{x:.3f}" for x in lattice.abc)
    return f"{lengths} Å; {', '.join(f'{x:.2f}' for x in lattice.angles)}°"


def facts(structure: Geometry) -> dict[str, str]:
    """Return what a person reads first of a structure, as names and texts."""
    found: dict[str, Any] = {}
    if isinstance(structure, Structure):
        found["a, b, c; α, β, γ"] = cell_text(structure)
        volume = structure.volume
        found["volume"] = f"{volume:.2f} Å³ ({volume / len(structure):.2f} per atom)"
        found["density"] = f"{float(structure.density):.3f} g/cm³"
        if (symmetry := crystal(structure)) is not None:
            found["space group"] = f"{symmetry.symbol} (no. {symmetry.number}) within {SYMPREC:g} Å"
            found["conventional cell"] = cell_text(symmetry.conventional)
            found["Wyckoff sites"] = ", ".join(symmetry.sites)
        around = coordination(structure)
        found["neighbours"] = ", ".join(f"{name}: {near}" for name, near in around.items())
    found["bonds"] = ", ".join(
        f"{b.n} {b.pair} {b.shortest:.3f}"
        + (f"–{b.longest:.3f}" if b.longest - b.shortest >= 5e-4 else "")
        + " Å"
        for b in bonds(structure)
    )
    return {name: text for name, text in found.items() if text}
