"""Random placements of atoms in a cell, the chance level of structures, and usual volumes."""

from __future__ import annotations

import itertools

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.formula import Formula
from pymatgen.core import Element

from logan_campaign.geometry.lattice import reduced_cell

#: Atoms are pushed this far apart, in sums of covalent radii, or as far as the volume allows.
_APART = 0.7

#: Largest share of the volume that spheres of half these distances may fill.
_FILLED = 0.4

#: Packing fraction of spheres of the covalent radii in crystals (three quarters of the radii
#: for metals): cristobalite 0.19, NaCl 0.28, stishovite 0.35, SrTiO3 0.40, tantalum 0.48.
_PACKED = (0.48, 0.18)

_STEPS = 60
_IMAGES = np.array(list(itertools.product((-1, 0, 1), repeat=3)))

#: Distances (floats) that one batch of placements may hold.
_BATCH = 4_000_000


def random_placements(
    numbers: np.ndarray, cells: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return atoms at random places in each cell, pushed apart where they overlap.

    Args:
        numbers: (n_atoms,) atomic numbers.
        cells: (n, 3, 3) cell vectors as rows (Å).
        rng: source of the places.

    Returns:
        Array of shape (n, n_atoms, 3) (Å).
    """
    n_atoms = len(numbers)
    radii = covalent_radii[np.asarray(numbers, dtype=int)]
    limit = _APART * (radii[:, None] + radii)
    size = max(1, _BATCH // (27 * n_atoms**2))
    parts = [
        _pushed_apart(limit, cells[start : start + size], rng)
        for start in range(0, len(cells), size)
    ]
    return np.concatenate([np.empty((0, n_atoms, 3)), *parts])


def _pushed_apart(limit: np.ndarray, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    reduced = np.stack([reduced_cell(cell) for cell in cells])
    inverse = np.linalg.inv(reduced)
    spheres = np.pi / 6 * (np.diag(limit) ** 3).sum()
    room = np.minimum(1.0, np.cbrt(_FILLED * np.abs(np.linalg.det(reduced)) / spheres))
    limits = room[:, None, None, None] * limit[:, :, None] * np.ones(len(_IMAGES))
    itself = np.eye(len(limit), dtype=bool)[:, :, None] & np.ones(len(_IMAGES), dtype=bool)
    limits[:, itself] = 0.0  # images of an atom move with it
    shifts = (_IMAGES @ reduced)[:, None, None]
    positions = rng.uniform(size=(len(cells), len(limit), 3)) @ reduced
    for _ in range(_STEPS):
        positions = (positions @ inverse % 1.0) @ reduced
        between = positions[:, :, None, None] - positions[:, None, :, None] - shifts
        distance = np.linalg.norm(between, axis=-1)
        overlap = np.maximum(0.0, 1.02 * limits - distance)
        if overlap.max() < 0.02 * limits.max():
            break
        push = overlap / np.maximum(distance, 1e-6)
        positions = positions + np.einsum("nijk,nijkx->nix", push, between) / 2.0
    return np.asarray(positions)


def volumes_for(formula: str) -> tuple[float, float]:
    """Return the lowest and highest volume per atom (Å³) that crystals usually have.

    From the covalent radii of Cordero et al., doi 10.1039/b801115j, as tabulated in ASE.
    """
    counts = Formula(formula).count()
    spheres = 0.0
    for symbol, n in counts.items():
        radius = covalent_radii[atomic_numbers[symbol]]
        spheres += (
            n * 4.0 / 3.0 * np.pi * ((0.75 if Element(symbol).is_metal else 1.0) * radius) ** 3
        )
    mean = float(spheres) / sum(counts.values())
    return round(mean / _PACKED[0], 1), round(mean / _PACKED[1], 1)
