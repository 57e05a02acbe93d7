"""Real environments: descriptors of rattled copies of the training structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from ase import Atoms

from logan_campaign.core.errors import InputError
from logan_campaign.descriptors.environments import (
    environment_spectra,
    one_hot,
    species_indices,
)
from logan_campaign.descriptors.kernel import Descriptor
from logan_campaign.descriptors.lattice import nearest_neighbours
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan.settings import Hyperparameters
from logan_campaign.geometry.structures import check_finite

#: Neighbours are looked for this many standard deviations of the rattling beyond the cutoff, and
#: this share of them beyond the number that counts.
_BEYOND, _MORE = 4.0, 0.5


class RealEnvironments(NamedTuple):
    """Descriptors of the training set, by central species.

    Attributes:
        features: (n_environments, n_features), sorted by species.
        starts: (n_atoms,) first row of each target atom's species.
        counts: (n_atoms,) number of rows of each target atom's species.
    """

    features: jax.Array
    starts: jax.Array
    counts: jax.Array


def training_species(structures: Sequence[Atoms], target: Target) -> tuple[int, ...]:
    """Return the atomic numbers in the training set, ascending.

    Raises:
        InputError: there are no structures, or they lack a species of the target.
    """
    if not structures:
        raise InputError("there are no structures to train on")
    for k, atoms in enumerate(structures):
        check_finite(atoms, f"training structure {k}: ")
    species = sorted({int(z) for atoms in structures for z in atoms.numbers})
    missing = sorted(set(target.numbers) - set(species))
    if missing:
        raise InputError(
            f"no training structure contains atomic numbers {missing}, which the target needs"
        )
    return tuple(species)


def rattled_spectra(
    descriptor: Descriptor,
    atoms: Atoms,
    centres: np.ndarray,
    stdev: float,
    copies: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the power spectra of atoms whose surroundings are rattled.

    Every atom moves on its own, and so do the periodic images of one atom, as in a supercell:
    otherwise the environments in a cell of one or two atoms would hardly change.

    Args:
        descriptor: of the environments.
        atoms: the structure; periodic according to its ``pbc``.
        centres: (n,) indices of the central atoms.
        stdev: standard deviation of each coordinate's displacement (Å).
        copies: number of copies of each environment.
        rng: source of the displacements.

    Returns:
        Array of shape (copies, n, n_spectrum).
    """
    kinds = species_indices(atoms.numbers, descriptor.species)
    reach, slots = descriptor.r_cut + _BEYOND * stdev, descriptor.n_slots
    looked_at = slots + int(_MORE * slots)
    vectors, neighbours = nearest_neighbours(atoms, atoms.positions, centres, reach, looked_at)
    species = np.where(neighbours >= 0, kinds[neighbours], -1)
    moved = vectors + rng.normal(scale=stdev, size=(copies, *vectors.shape))
    moved -= rng.normal(scale=stdev, size=(copies, len(centres), 1, 3))
    distance = np.where(species >= 0, np.linalg.norm(moved, axis=-1), np.inf)
    order = np.argsort(distance, axis=-1, kind="stable")[..., :slots]
    near = np.take_along_axis(distance, order, axis=-1) < descriptor.r_cut
    shape = (copies * len(centres), order.shape[-1])
    moved = np.take_along_axis(moved, order[..., None], axis=-2)
    kind = np.take_along_axis(np.broadcast_to(species, distance.shape), order, axis=-1)
    spectra = environment_spectra(
        descriptor,
        np.where(near[..., None], moved, 0.0).reshape(*shape, 3).astype(np.float32),
        np.where(near, kind, -1).reshape(shape),
    )
    return spectra.reshape(copies, len(centres), -1)


def real_environments(
    structures: Sequence[Atoms],
    target: Target,
    hyperparameters: Hyperparameters,
    species: tuple[int, ...],
    *,
    seed: int,
) -> RealEnvironments:
    """Return the descriptors of real environments for the critic, by central species.

    Each structure is copied ``rattle_copies`` times, each copy rattled differently;
    ``environments_per_species`` of its atoms (or all) are drawn from each copy.

    Args:
        structures: training set; periodic according to their ``pbc``.
        target: atoms and cell to generate; only its species are used as central atoms.
        hyperparameters: descriptor and rattling.
        species: from :func:`training_species`.
        seed: seed for rattling and drawing.

    Returns:
        Descriptors sorted by species, and the rows of each target atom's species.
    """
    h = hyperparameters
    descriptor = h.descriptor(species)
    wanted = species_indices(np.array(target.numbers), species)
    vectors, kinds, centres = [], [], []
    for k, atoms in enumerate(structures):
        indices = species_indices(atoms.numbers, species)
        positions = atoms.get_positions()
        for copy in range(h.rattle_copies):
            rng = np.random.default_rng([seed, k, copy])
            rattled = positions + rng.normal(scale=h.rattle_stdev, size=positions.shape)
            chosen = []
            for s in sorted(set(wanted.tolist())):
                members = np.nonzero(indices == s)[0]
                if h.environments_per_species is not None:
                    members = rng.permutation(members)[: h.environments_per_species]
                chosen.append(members)
            atoms_chosen = np.concatenate(chosen)
            if not len(atoms_chosen):
                continue
            found, neighbours = nearest_neighbours(
                atoms, rattled, atoms_chosen, h.r_cut, descriptor.n_slots
            )
            vectors.append(found.astype(np.float32))
            kinds.append(np.where(neighbours >= 0, indices[neighbours], -1))
            centres.append(indices[atoms_chosen])
    centre = np.concatenate(centres)
    order = np.argsort(centre, kind="stable")
    spectra = environment_spectra(descriptor, np.concatenate(vectors), np.concatenate(kinds))
    features = np.hstack([spectra, one_hot(centre, len(species), np.float32)])[order]
    bounds = np.searchsorted(centre[order], np.arange(len(species) + 1))
    return RealEnvironments(
        features,  # type: ignore[arg-type]
        bounds[:-1][wanted].astype(np.int32),
        np.diff(bounds)[wanted].astype(np.int32),
    )
