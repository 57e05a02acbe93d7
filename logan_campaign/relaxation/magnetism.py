"""Initial magnetic moments: of species in crystals, and of unpaired electrons in molecules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from logan_campaign.geometry.neighbours import find_bonds

#: Weight of direct bonds between magnetic atoms beside links through a ligand.
_DIRECT = 0.1


def initial_moments(atoms: Atoms, by_species: Mapping[str, float], order: str) -> np.ndarray:
    """Return the initial magnetic moments (n_atoms,) in µB.

    Args:
        atoms: a crystal.
        by_species: moment of each atom of a species; that of others is 0.
        order: ``ferromagnetic``, or ``antiferromagnetic`` (see :func:`opposite_signs`).
    """
    moments = np.array([by_species.get(symbol, 0.0) for symbol in atoms.symbols])
    sites = np.flatnonzero(moments)
    if order == "antiferromagnetic" and len(sites) > 1:
        moments[sites] *= opposite_signs(atoms, sites)
    return moments


def opposite_signs(atoms: Atoms, sites: np.ndarray) -> np.ndarray:
    """Return a sign for each magnetic atom, half of them -1, opposite where atoms are linked.

    The strongest superexchange is that through a ligand between two atoms in line with it
    (Goodenough, doi 10.1103/PhysRev.100.564; Kanamori, doi 10.1016/0022-3697(59)90061-7): a link
    weighs -cos of the angle at the ligand, if that is positive, and a direct bond little. The atoms
    are divided where most weight is cut, by the lowest eigenvector of the matrix of weights. Where
    the cell has no room for the alternation, for example with one magnetic atom, the signs are the
    best that it allows; a supercell may allow better ones.

    Args:
        atoms: a crystal.
        sites: (n,) indices of the magnetic atoms.

    Returns:
        (n,) +1 or -1; the first is +1.
    """
    place = np.full(len(atoms), -1)
    place[sites] = np.arange(len(sites))
    weights = np.zeros((len(sites), len(sites)))
    bonds = find_bonds(atoms.numbers, atoms.positions[None], atoms.cell.array[None])
    ends = atoms.positions[bonds.second] + bonds.image @ atoms.cell.array
    vectors = ends - atoms.positions[bonds.first]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    to_site = place[bonds.second] >= 0
    for ligand in np.flatnonzero(place < 0):
        around = np.flatnonzero((bonds.first == ligand) & to_site)
        link = np.maximum(0.0, -vectors[around] @ vectors[around].T)
        row = place[bonds.second[around]]
        np.add.at(weights, (row[:, None], row[None]), link)
    direct = to_site & (place[bonds.first] >= 0)
    np.add.at(weights, (place[bonds.first[direct]], place[bonds.second[direct]]), _DIRECT)
    lowest = np.linalg.eigh(weights)[1][:, 0]
    signs = np.where(np.argsort(np.argsort(lowest)) < len(sites) // 2, -1.0, 1.0)
    return np.asarray(signs * signs[0])


def unpaired(atoms: Atoms, multiplicity: int) -> np.ndarray:
    """Return moments (n_atoms,) in µB that add up to a multiplicity, equal on all heavy atoms."""
    carriers = atoms.numbers > 1
    if not carriers.any():
        carriers[:] = True
    return np.where(carriers, (multiplicity - 1) / carriers.sum(), 0.0)
