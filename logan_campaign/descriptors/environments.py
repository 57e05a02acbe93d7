"""Descriptors of given structures: one ASE structure, or the environments to train on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from logan_campaign.core.errors import InputError
from logan_campaign.descriptors.kernel import Descriptor, fading_shares, spectrum
from logan_campaign.descriptors.lattice import nearest_neighbours
from logan_campaign.descriptors.radial import MAX_N_MAX
from logan_campaign.geometry.structures import check_finite

#: Environments at a time: their factors fit into a processor's second-level cache.
_LANES = 512


def environment_spectra(
    descriptor: Descriptor, vectors: np.ndarray, species: np.ndarray
) -> np.ndarray:
    """Return the power spectra of environments given by their neighbours.

    Args:
        descriptor: what to compute; the dtype of ``vectors`` sets the precision.
        vectors: (n, n_neighbours, 3) from each central atom to its neighbours (Å).
        species: (n, n_neighbours) index of each neighbour's species; -1 for no neighbour.

    Returns:
        Array of shape (n, n_spectrum).
    """
    which = np.arange(len(descriptor.species)).reshape(-1, 1, 1)
    output = np.empty((len(vectors), descriptor.n_spectrum), vectors.dtype)
    for start in range(0, len(vectors), _LANES):
        x, y, z = np.ascontiguousarray(vectors[start : start + _LANES].transpose(2, 1, 0))
        kinds = species[start : start + _LANES].T
        weights = (kinds[None] == which).astype(vectors.dtype)
        if descriptor.cutoff == "smooth":
            shares = fading_shares(descriptor, x * x + y * y + z * z, kinds >= 0)
            weights = weights * shares
        output[start : start + _LANES] = spectrum(descriptor, (x, y, z), weights).T
    return output


def species_indices(numbers: np.ndarray, species: Sequence[int]) -> np.ndarray:
    """Return the place of each atomic number in ``species``.

    Raises:
        InputError: if a number is not in ``species``.
    """
    table = {z: k for k, z in enumerate(species)}
    missing = sorted({int(z) for z in numbers} - set(table))
    if missing:
        raise InputError(f"atomic numbers {missing} are not among the species {list(species)}")
    return np.array([table[int(z)] for z in numbers], dtype=int)


def one_hot(indices: np.ndarray, n_species: int, dtype: Any) -> np.ndarray:
    """Return one-hot rows for species indices."""
    return np.eye(n_species, dtype=dtype)[indices]


def power_spectrum(
    atoms: Atoms,
    *,
    species: Sequence[int],
    radial: str,
    r_cut: float,
    n_max: int,
    n_neighbour: int,
    cutoff: str = "faithful",
    dtype: Any = np.float64,
) -> np.ndarray:
    """Return the descriptor of every atom, periodic where ``atoms.pbc`` says so.

    P_{AB;n'l} = Σ_m c_{A,n'lm} c_{B,n'lm} over the ``n_neighbour`` nearest atoms within
    ``r_cut`` (paper eqs. 1 to 3), then the one-hot species of the
    atom. Periodic images follow from the cell and ``r_cut``.

    Args:
        atoms: structure with n_atoms atoms.
        species: atomic numbers; features are ordered by ascending atomic number.
        radial: 'bessel' or 'gaussian'.
        r_cut: cutoff radius (Å).
        n_max: resolution, 0 … 6.
        n_neighbour: largest number of neighbours that count.
        cutoff: 'faithful' (as published) or 'smooth'.
        dtype: numpy.float64 or numpy.float32.

    Returns:
        Array of shape (n_atoms, n_features): pairs of species A ≤ B, l = 0 … n_max,
        n' = 0 … n_max - l, then one-hot species.

    Raises:
        InputError: for settings out of range or atoms of other species.
        StructureError: for structures without atoms, or not finite.
    """
    descriptor = make_descriptor(species, radial, r_cut, n_max, n_neighbour, cutoff)
    check_finite(atoms)
    spectra = atom_spectra(descriptor, atoms, np.arange(len(atoms)), dtype)
    indices = species_indices(atoms.numbers, descriptor.species)
    return np.hstack([spectra, one_hot(indices, len(descriptor.species), dtype)])


def atom_spectra(
    descriptor: Descriptor, atoms: Atoms, centres: np.ndarray, dtype: Any = np.float32
) -> np.ndarray:
    """Return the power spectra (n, n_spectrum) of some atoms, with indices ``centres`` (n,)."""
    indices = species_indices(atoms.numbers, descriptor.species)
    vectors, neighbours = nearest_neighbours(
        atoms, atoms.positions, centres, descriptor.r_cut, descriptor.n_slots
    )
    kinds = np.where(neighbours >= 0, indices[neighbours], -1)
    return environment_spectra(descriptor, vectors.astype(dtype), kinds)


def make_descriptor(
    species: Sequence[int],
    radial: str,
    r_cut: float,
    n_max: int,
    n_neighbour: int,
    cutoff: str = "faithful",
) -> Descriptor:
    """Return a checked :class:`Descriptor` with its species in order of atomic number.

    Raises:
        InputError: for settings out of range.
    """
    if radial not in ("bessel", "gaussian"):
        raise InputError(f"radial basis {radial!r} is unknown: use 'bessel' or 'gaussian'")
    if cutoff not in ("faithful", "smooth"):
        raise InputError(f"cutoff {cutoff!r} is unknown: use 'faithful' or 'smooth'")
    if not (np.isfinite(r_cut) and r_cut > 0):
        raise InputError(f"r_cut must be a positive length in Å, not {r_cut}")
    if not 0 <= n_max <= MAX_N_MAX:
        raise InputError(f"n_max must be from 0 to {MAX_N_MAX}, not {n_max}")
    if n_neighbour < 1:
        raise InputError(f"n_neighbour must be at least 1, not {n_neighbour}")
    if not len(species):
        raise InputError("no species given")
    return Descriptor(
        tuple(sorted({int(z) for z in species})),
        radial,  # type: ignore[arg-type]
        float(r_cut),
        int(n_max),
        int(n_neighbour),
        cutoff,  # type: ignore[arg-type]
    )
