"""Structures as the small documents that the 3D view draws (``static/view3d.js``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from pymatgen.core import Structure

from logan_campaign.core.documents import Geometry
from logan_campaign.geometry.neighbours import bonds_of
from logan_campaign.geometry.structures import to_atoms

#: Frames of a relaxation that are shown at most.
FRAMES = 60
_BRIGHTEST = 0.9
_DIGITS = 3  # 1 mÅ is far below what a picture shows


def _colour(number: int) -> str:
    # white atoms would vanish on a white page
    return "#" + "".join(f"{round(255 * min(c, _BRIGHTEST)):02x}" for c in jmol_colors[number])


def view3d(structure: Geometry, frames: np.ndarray | None = None) -> dict[str, Any]:
    """Return what the 3D view needs of a structure.

    Atoms of a crystal stand in the home cell; those bonded to them across a face are
    added as images, so that no bond ends in nothing.

    Args:
        structure: molecule or crystal.
        frames: (n, n_atoms, 3) positions of the atoms in the course of a relaxation (Å), which
            the view plays; of a crystal, in a cell that stays as it is.

    Returns:
        ``elements``: symbol, radius (Å) and colour of each; ``atoms``: [element, x, y, z]
        (Å); ``n_home``: how many of them are no images; ``bonds``: pairs of atoms;
        ``cell``: three vectors (Å), or None; ``frames``: positions of all atoms, images
        included, at most :data:`FRAMES` times, or None.
    """
    atoms = to_atoms(structure)
    periodic = isinstance(structure, Structure)
    if periodic:
        atoms.wrap(eps=1e-6)
    bonds = bonds_of(atoms)
    numbers = list(atoms.numbers)
    positions = list(atoms.positions)
    images: dict[tuple[int, ...], int] = {}
    pairs: set[tuple[int, int]] = set()
    for first, second, image in zip(bonds.first, bonds.second, bonds.image, strict=True):
        end = int(second)
        if image.any():
            key = (end, *(int(step) for step in image))
            if key not in images:
                images[key] = len(numbers)
                numbers.append(atoms.numbers[end])
                positions.append(atoms.positions[end] + image @ atoms.cell.array)
            end = images[key]
        pairs.add((min(int(first), end), max(int(first), end)))
    parents = [*range(len(atoms)), *(key[0] for key in images)]
    kinds = sorted({int(number) for number in numbers})
    place = {number: k for k, number in enumerate(kinds)}
    symbols = dict(zip(atoms.numbers, atoms.get_chemical_symbols(), strict=True))
    return {
        "elements": [
            {
                "symbol": symbols[number],
                "radius": round(float(covalent_radii[number]), 2),
                "colour": _colour(number),
            }
            for number in kinds
        ],
        "atoms": [
            [place[int(number)], *np.round(position, _DIGITS).tolist()]
            for number, position in zip(numbers, positions, strict=True)
        ],
        "n_home": len(atoms),
        "bonds": [list(pair) for pair in sorted(pairs)],
        "frames": None if frames is None else _played(frames, parents, np.array(positions)),
        "cell": np.round(atoms.cell.array, _DIGITS).tolist() if periodic else None,
    }


def _played(frames: np.ndarray, parents: list[int], last: np.ndarray) -> list[Any]:
    """Return frames at equal steps, images and wrapped atoms moving as their atoms do."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), FRAMES)).round().astype(int)
    moved = (frames[chosen] - frames[-1])[:, parents]
    return np.round(moved + last, _DIGITS).tolist()
