"""Environments of the training set in whitened coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from logan_campaign.core.errors import InputError
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.generators.environments import real_environments, training_species
from logan_campaign.generators.target import Target


class SpeciesReference(NamedTuple):
    """Environments of the atoms of one species.

    Attributes:
        projection: (n_spectrum, n_spectrum) projection to the coordinates of ``points``.
        offset: (n_spectrum,) projected mean environment.
        points: (n_points, n_spectrum) projected environments.
    """

    projection: jax.Array
    offset: jax.Array
    points: jax.Array


def fit(
    structures: Sequence[Atoms],
    target: Target,
    hyperparameters: DescentHyperparameters,
    *,
    seed: int,
) -> tuple[SpeciesReference, ...]:
    """Return the reference of each species of the target, by ascending atomic number.

    Environments are described by the power spectrum without the one-hot species, centred, and
    projected on their principal components. Each component is divided by its standard deviation,
    and all by the square root of their number, so that environments are about 1 apart.
    ``variance_floor`` limits the scaling of directions with little variance.

    Args:
        structures: training set; periodic according to their ``pbc``.
        target: atoms and cell to generate.
        hyperparameters: all hyperparameters.
        seed: seed for rattling and choice of environments.

    Raises:
        InputError: structures are unusable, or all environments are equal.
    """
    h = hyperparameters
    species = training_species(structures, target)
    real = real_environments(structures, target, h, species, seed=seed)
    rng = np.random.default_rng([seed, 0xDE5C])
    features = np.asarray(real.features)[:, : h.descriptor(species).n_spectrum]
    result = []
    for number in sorted(set(target.numbers)):
        atom = target.numbers.index(number)
        start, count = int(real.starts[atom]), int(real.counts[atom])
        own = features[start : start + count].astype(np.float64)
        mean = own.mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov(own - mean, rowvar=False, bias=True))
        largest = float(variances[-1])
        if not largest > 0:
            raise InputError(
                f"all environments of atomic number {number} in the training set are equal: "
                "rattle them (rattle_stdev) or add structures"
            )
        widths = np.sqrt(np.maximum(variances, h.variance_floor * largest))
        projection = directions / (widths * np.sqrt(len(widths)))
        if count > h.references:
            own = own[np.sort(rng.choice(count, h.references, replace=False))]
        result.append(
            SpeciesReference(
                *(
                    jnp.asarray(a, jnp.float32)
                    for a in (projection, mean @ projection, (own - mean) @ projection)
                )
            )
        )
    return tuple(result)


def misfits(reference: SpeciesReference, spectra: jax.Array, bandwidth: jax.Array) -> jax.Array:
    """Return the misfit of environments to those of the training set.

    -2 h² ln of the mean of exp(-d²/2h²) over the reference's points: about the square of the
    distance d to the nearest ones, smoothed on the scale of the bandwidth h; the mean over a
    structure's atoms falls as they all become similar to atoms of the training set.

    Args:
        reference: environments to compare with.
        spectra: (n, n_spectrum) power spectra of atoms of the same species.
        bandwidth: h, in the reference's coordinates.

    Returns:
        Array of shape (n,).
    """
    own = spectra @ reference.projection - reference.offset
    points = reference.points
    squares = (own**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2.0 * own @ points.T
    width = 2.0 * bandwidth**2
    nearest = jax.nn.logsumexp(-squares / width, axis=1) - np.log(len(points))
    return -width * nearest
