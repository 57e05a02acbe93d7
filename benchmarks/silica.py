"""What the benchmarks of silica share: right coordination, known crystals, near matches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

from logan_campaign.core.documents import StructureEntry
from logan_campaign.geometry.coordination import count_neighbours, topology
from logan_campaign.geometry.neighbours import Bonds, find_bonds
from logan_campaign.geometry.structures import from_atoms, structure_id
from logan_campaign.matching import CrystalMatcher
from logan_campaign.sources import BuiltinSource

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "sio2"

#: The published targets, which are known crystals too.
TARGETS = ("mp-546794", "mp-554151", "mp-555235")


def is_right(numbers: np.ndarray, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return (n,) whether every Si has four O and every O two Si, and no other neighbour."""
    n = len(positions)
    bonds = find_bonds(numbers, positions.astype(float), cells)
    counts = count_neighbours(numbers, bonds, n)
    oxygen = numbers == 8
    fits = (counts[:, oxygen] == (0, 2)).all(axis=(1, 2))
    return np.asarray(fits & (counts[:, ~oxygen] == (4, 0)).all(axis=(1, 2)))


def networks(numbers: np.ndarray, positions: np.ndarray, cells: np.ndarray) -> list[str]:
    """Return the network of each structure, told apart by coordination sequences."""
    n = len(positions)
    bonds = find_bonds(numbers, positions.astype(float), cells)
    bounds = np.searchsorted(bonds.structure, np.arange(n + 1))
    return [
        topology(numbers, Bonds(*(part[bounds[k] : bounds[k + 1]] for part in bonds)))
        for k in range(n)
    ]


def entry(atoms: Atoms, label: str) -> StructureEntry:
    """Return a crystal as the project keeps it."""
    structure = from_atoms(atoms)
    return StructureEntry(
        id=structure_id(structure),
        label=label,
        formula=atoms.get_chemical_formula("hill"),
        structure=structure,
    )


def prototypes() -> list[StructureEntry]:
    """Return the AFLOW prototypes of SiO2."""
    return list(BuiltinSource(type="builtin", name="sio2-prototypes").load().entries)


def published_targets(data: Path = DATA) -> list[StructureEntry]:
    """Return the three targets of the paper."""
    return [entry(read(data / f"{name}_target.extxyz"), name) for name in TARGETS]


def training_set(path: Path) -> list[StructureEntry]:
    """Return the crystals of a file, labelled by their places in it."""
    return [entry(atoms, f"no. {k}") for k, atoms in enumerate(read(path, ":"))]


def near(
    crystals: Sequence[StructureEntry], sought: Sequence[StructureEntry], matcher: CrystalMatcher
) -> np.ndarray:
    """Return (n,) whether each crystal equals any of those sought, at a matcher's tolerance."""
    found = [
        any(matcher.same(other.structure, crystal.structure) for other in sought)
        for crystal in crystals
    ]
    return np.array(found, dtype=bool)


def closest(training: Sequence[Atoms]) -> list[Atoms]:
    """Return the few crystals that hold the smallest distance of some pair of species.

    What is placed with their minimum distances is placed with those of the whole set, sooner.
    """
    from crystal_systems import smallest_distances

    each = [smallest_distances([atoms]) for atoms in training]
    pairs = {pair for found in each for pair in found}
    places = {
        min(range(len(each)), key=lambda k: each[k].get(pair, np.inf)) for pair in sorted(pairs)
    }
    return [training[k] for k in sorted(places)]


def kinds_of(known: Sequence[StructureEntry], matcher: CrystalMatcher) -> dict[str, str]:
    """Return for the id of each known crystal the label of the first that equals it.

    Several entries of a list can be one crystal at a matcher's tolerance; they count once.
    """
    leaders: list[StructureEntry] = []
    kinds: dict[str, str] = {}
    for crystal in known:
        same = (k for k in leaders if matcher.same(k.structure, crystal.structure))
        leader = next(same, None)
        if leader is None:
            leaders.append(crystal)
        kinds[crystal.id] = (leader or crystal).label
    return kinds


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, least and largest."""
    if not values:
        return {"mean": None, "least": None, "largest": None}
    return {
        "mean": round(float(np.mean(values)), 4),
        "least": round(float(min(values)), 4),
        "largest": round(float(max(values)), 4),
    }
