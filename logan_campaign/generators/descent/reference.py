"""Environments of the training set, in units of what displaced atoms do to them.

The power spectrum of an environment has a part for each pair of species, here a *channel*; a
further channel is their sum, which does not distinguish species. Each channel is compared on its
own, because a training set rarely holds all species of the target together: the oxygen around
titanium in rutile tells how it stands around titanium in a titanate. A channel that no training
structure can have, since none holds its species, is not compared; the one without species then
still tells how near the atoms are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from logan_campaign.descriptors.kernel import Descriptor
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.generators.environments import rattled_spectra, training_species
from logan_campaign.generators.target import Target

#: Power of the kernel: how much more the nearest environments count than the others.
_POWER = 4

#: Environments whose coordinates round to the same at this many decimals are equal.
_DECIMALS = 2


class SpeciesReference(NamedTuple):
    """Environments of the atoms of one species, in coordinates of C channels.

    Attributes:
        channels: (C,) indices of the channels that are compared.
        projection: (C, n, n) from a channel's features to its coordinates.
        offset: (C, n) coordinates of the mean environment.
        points: (n_points, C, n) coordinates of the environments.
        weights: (n_points, C) share of each environment; 0 where its structure lacks the species.
    """

    channels: jax.Array
    projection: jax.Array
    offset: jax.Array
    points: jax.Array
    weights: jax.Array


def fit(
    structures: Sequence[Atoms],
    target: Target,
    hyperparameters: DescentHyperparameters,
    *,
    seed: int,
) -> tuple[SpeciesReference, ...]:
    """Return the reference of each species of the target, by ascending atomic number.

    The unit of distance is physical: environments are rattled by ``rattle_stdev``, and each
    channel's features are divided by the standard deviations that this causes *within*
    environments, along its principal components. It does not depend on how different the
    training structures are. ``variance_floor`` limits the scaling of stiff directions.

    Args:
        structures: training set; periodic according to their ``pbc``.
        target: atoms and cell to generate.
        hyperparameters: all hyperparameters.
        seed: seed for rattling and choice of environments.

    Raises:
        InputError: structures are unusable.
    """
    h = hyperparameters.for_target(target)
    descriptor = h.descriptor(training_species(structures, target))
    rng = np.random.default_rng([seed, 0xDE5C])
    return tuple(
        _species_reference(structures, descriptor, h, number, rng)
        for number in sorted(set(target.numbers))
    )


def _species_reference(
    structures: Sequence[Atoms],
    descriptor: Descriptor,
    h: DescentHyperparameters,
    number: int,
    rng: np.random.Generator,
) -> SpeciesReference:
    sites = [(k, a) for k, s in enumerate(structures) for a in np.flatnonzero(s.numbers == number)]
    if len(sites) > h.references:
        sites = [sites[i] for i in np.sort(rng.choice(len(sites), h.references, replace=False))]
    pairs = list(itertools.combinations_with_replacement(descriptor.species, 2))
    ideal, held, scatter = [], [], np.zeros(())
    for k, members in itertools.groupby(sites, key=lambda site: site[0]):
        atoms, centres = structures[k], np.array([atom for _, atom in members])
        as_is = rattled_spectra(descriptor, atoms, centres, 0.0, 1, rng)
        moved = rattled_spectra(descriptor, atoms, centres, h.rattle_stdev, h.rattle_copies, rng)
        ideal.append(np.asarray(in_channels(as_is[0], len(pairs)), np.float64))
        moved = np.asarray(in_channels(moved, len(pairs)), np.float64)
        away = moved - moved.mean(axis=0)
        scatter = scatter + np.einsum("kacf,kacg->cfg", away, away)
        present = set(atoms.numbers.tolist())
        held.append(np.tile([*(present >= set(pair) for pair in pairs), True], (len(centres), 1)))
    features, has = np.concatenate(ideal), np.concatenate(held)
    variances, directions = np.linalg.eigh(scatter / (len(features) * h.rattle_copies))
    largest = variances[:, -1]
    # with one species, the channel without species is the same once more
    kept = np.flatnonzero(has.any(axis=0) & (largest > 0))[: len(pairs) + (len(pairs) > 1)]
    floor = h.variance_floor * largest[kept, None]
    widths = np.sqrt(np.maximum(variances[kept], floor) * variances.shape[1])
    projection = directions[kept] / widths[:, None, :]
    points = np.einsum("acf,cfg->acg", features[:, kept], projection)
    offset = points.mean(axis=0)
    _, first, counts = np.unique(
        np.concatenate([points.round(_DECIMALS), has[:, kept, None]], axis=2),
        axis=0,
        return_index=True,
        return_counts=True,
    )
    shares = has[np.ix_(first, kept)] * counts[:, None]
    return SpeciesReference(
        jnp.asarray(kept, jnp.int32),
        *(
            jnp.asarray(array, jnp.float32)
            for array in (projection, offset, points[first] - offset, shares / shares.sum(axis=0))
        ),
    )


def in_channels(spectra: jax.Array | np.ndarray, n_pairs: int) -> jax.Array:
    """Return (…, n_pairs + 1, n) features by channel: pairs of species, then all species alike.

    Args:
        spectra: (…, n_pairs n) power spectra, whose pairs A ≤ B are in ascending order.
        n_pairs: number of pairs of species.
    """
    parts = jnp.reshape(jnp.asarray(spectra), (*spectra.shape[:-1], n_pairs, -1))
    n_species = round((np.sqrt(8 * n_pairs + 1) - 1) / 2)
    twice = [
        1.0 if a == b else 2.0
        for a, b in itertools.combinations_with_replacement(range(n_species), 2)
    ]
    alike = jnp.einsum("...cf,c->...f", parts, jnp.asarray(twice, parts.dtype))
    return jnp.concatenate([parts, alike[..., None, :]], axis=-2)


def misfits(reference: SpeciesReference, features: jax.Array, bandwidth: jax.Array) -> jax.Array:
    """Return the misfit of environments to those of the training set.

    The sum over channels of -1/4 ln of the mean of (1 + d²/h²)^-4 over the reference's
    environments at distance d: about ln(1 + d²/h²) of the nearest ones. The logarithm keeps a
    channel in which nothing fits from deciding over those in which something does.

    Args:
        reference: environments to compare with.
        features: (n, n_channels, n_features) of atoms of the same species.
        bandwidth: h, in units of what the rattling does.

    Returns:
        Array of shape (n,).
    """
    own = jnp.einsum("ncf,cfg->ncg", features[:, reference.channels], reference.projection)
    own = own - reference.offset
    points = reference.points
    between = jnp.einsum("ncg,kcg->nkc", own, points)
    squares = (own**2).sum(axis=-1)[:, None] + (points**2).sum(axis=-1) - 2.0 * between
    near = 1.0 / (1.0 + jnp.maximum(squares, 0.0) / bandwidth**2)
    density = (reference.weights * near**_POWER).sum(axis=1)
    return -jnp.log(density + 1e-37).sum(axis=-1) / _POWER
