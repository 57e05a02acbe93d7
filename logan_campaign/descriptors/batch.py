"""Descriptors of many structures of one composition, inside JAX and differentiable."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError
from logan_campaign.descriptors.environments import make_descriptor, species_indices
from logan_campaign.descriptors.kernel import Descriptor, spectrum
from logan_campaign.descriptors.lattice import translations
from logan_campaign.descriptors.neighbours import all_pairs, nearest_images
from logan_campaign.geometry.lattice import reduced_cell

#: Up to here, neighbours are ranked by counting closer ones: no sorting, no gathering.
_RANK_LIMIT = 64

#: Candidate distances (floats) that one chunk of structures may hold.
_CHUNK_FLOATS = 4_000_000


def batch_spectra(
    descriptor: Descriptor,
    numbers: tuple[int, ...],
    positions: jax.Array,
    cells: jax.Array | None = None,
    images: np.ndarray | None = None,
) -> jax.Array:
    """Return the power spectra of all atoms of structures with the same atoms.

    Args:
        descriptor: what to compute.
        numbers: atomic number of each of the N atoms.
        positions: (n, N, 3) (Å).
        cells: (3, 3) or (n, 3, 3) cell vectors as rows (Å); None for molecules.
        images: lattice translations from :func:`translations`; with ``cells``.

    Returns:
        Array of shape (n, N, n_spectrum).
    """
    n, n_atoms, _ = positions.shape
    kinds = species_indices(np.array(numbers), descriptor.species)
    if cells is None and n_atoms <= _RANK_LIMIT:
        order = np.argsort(kinds, kind="stable")
        vectors, weights = all_pairs(descriptor, positions, order)
        bounds = np.searchsorted(kinds[order], np.arange(len(descriptor.species) + 1))
        groups = [(int(a), int(b)) for a, b in itertools.pairwise(bounds)]
        features = spectrum(descriptor, vectors, weights, groups)
    else:
        vectors, weights = nearest_images(descriptor, positions, kinds, cells, images)
        features = spectrum(descriptor, vectors, weights)
    return features.reshape(-1, n_atoms, n).transpose(2, 1, 0)


def padded_spectra(
    descriptor: Descriptor,
    kinds: jax.Array,
    present: jax.Array,
    positions: jax.Array,
    cells: jax.Array | None = None,
    images: jax.Array | None = None,
) -> jax.Array:
    """Return :func:`batch_spectra` where also the atoms and translations are arrays.

    One program then serves all structures of a size; what fills it up has no neighbours' share.

    Args:
        descriptor: what to compute; of its species only the number counts.
        kinds: (N,) index of each atom's species.
        present: (N,) whether there is such an atom.
        positions: (n, N, 3) (Å).
        cells: (3, 3) or (n, 3, 3) cell vectors as rows (Å); None for molecules.
        images: (n_images, 3) lattice translations, the zero one first; with ``cells``.

    Returns:
        Array of shape (n, N, n_spectrum); of no meaning for atoms that are not there.
    """
    n, n_atoms, _ = positions.shape
    if cells is None and n_atoms <= _RANK_LIMIT:
        vectors, share = all_pairs(descriptor, positions, np.arange(n_atoms), present)
        features = spectrum(descriptor, vectors, share, kinds=kinds)
    else:
        vectors, weights = nearest_images(descriptor, positions, kinds, cells, images, present)
        features = spectrum(descriptor, vectors, weights)
    return features.reshape(-1, n_atoms, n).transpose(2, 1, 0)


@lru_cache(maxsize=16)
def _structure_program(
    descriptor: Descriptor, numbers: tuple[int, ...], images: bytes | None
) -> Any:
    kinds = species_indices(np.array(numbers), descriptor.species)
    present = sorted(set(kinds.tolist()))
    table = None if images is None else np.frombuffer(images, dtype=np.int64).reshape(-1, 3)

    @jax.jit
    def describe(positions: jax.Array, cells: jax.Array | None) -> jax.Array:
        spectra = batch_spectra(descriptor, numbers, positions, cells, table)
        parts = [
            spectra[:, kinds == s].mean(axis=1)
            if s in present
            else jnp.zeros((len(positions), descriptor.n_spectrum), positions.dtype)
            for s in range(len(descriptor.species))
        ]
        return jnp.concatenate(parts, axis=1)

    return describe


def structure_descriptors(
    positions: np.ndarray,
    cells: np.ndarray,
    numbers: np.ndarray | Sequence[int],
    *,
    periodic: bool,
    species: Sequence[int],
    radial: str,
    r_cut: float,
    n_max: int,
    n_neighbour: int,
    cutoff: str = "faithful",
) -> np.ndarray:
    """Return one descriptor per structure: the mean over the atoms of each species (eq. 8).

    Args:
        positions: (n, N, 3) (Å).
        cells: (n, 3, 3) or (3, 3) cell vectors as rows (Å); unused unless ``periodic``.
        numbers: (N,) atomic numbers, the same for all structures.
        periodic: whether the structures repeat along all cell vectors.
        species: atomic numbers, as for :func:`power_spectrum`.
        radial: radial basis, ``bessel`` or ``gaussian``.
        r_cut: cutoff radius (Å).
        n_max: resolution.
        n_neighbour: largest number of neighbours.
        cutoff: ``faithful`` or ``smooth``.

    Returns:
        float32 array of shape (n, n_species * n_spectrum): for each species the mean of P over
        its atoms (zero where the structures have none), without the one-hot part.

    Raises:
        InputError: for settings or shapes that do not fit.
    """
    descriptor = make_descriptor(species, radial, r_cut, n_max, n_neighbour, cutoff)
    positions = np.asarray(positions, dtype=np.float32)
    numbers = np.asarray(numbers, dtype=int)
    if positions.ndim != 3 or positions.shape[1:] != (len(numbers), 3):
        raise InputError(
            f"positions of shape {positions.shape} do not fit {len(numbers)} atomic numbers"
        )
    n = len(positions)
    width = len(descriptor.species) * descriptor.n_spectrum
    if n == 0:
        return np.zeros((0, width), dtype=np.float32)
    images, n_candidates, each = None, len(numbers), None
    if periodic:
        cells = np.asarray(cells, dtype=float)
        each = np.broadcast_to(cells, (n, 3, 3))
        if (each == each[0]).all():
            # Any cell of the lattice gives the same neighbours, the most compact one fastest.
            each = np.broadcast_to(reduced_cell(each[0]), (n, 3, 3))
            images = translations(each[0], r_cut)
        else:
            images = translations(each, r_cut)
        n_candidates *= len(images)
        each = each.astype(np.float32)
    program = _structure_program(
        descriptor,
        tuple(numbers.tolist()),
        None if images is None else images.astype(np.int64).tobytes(),
    )
    size = int(np.clip(_CHUNK_FLOATS // (len(numbers) * n_candidates), 1, 256))
    output = np.empty((n, width), dtype=np.float32)
    for start in range(0, n, size):
        stop = min(start + size, n)
        # Every chunk has one shape, or the last one would be compiled anew.
        rows = np.minimum(np.arange(start, start + size), n - 1)
        part = program(positions[rows], None if each is None else each[rows])
        output[start:stop] = np.asarray(part)[: stop - start]
        progress.report("describe", stop, n)
    return output
