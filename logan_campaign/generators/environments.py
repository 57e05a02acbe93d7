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
from logan_campaign.descriptors.lattice import nearest_neighbours
from logan_campaign.generators.settings import EnvironmentMethod
from logan_campaign.generators.target import Target
from logan_campaign.geometry.structures import check_finite


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


def real_environments(
    structures: Sequence[Atoms],
    target: Target,
    hyperparameters: EnvironmentMethod,
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
