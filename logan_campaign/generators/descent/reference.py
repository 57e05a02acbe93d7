"""Environments of the training set, in units of what displaced atoms do to them.

The power spectrum of an environment has a part for each pair of species. In crystals, each part is
a *channel* that is compared on its own, because a training set rarely holds all species of the
target together: the oxygen around titanium in rutile tells how it stands around titanium in a
titanate. A further channel is the sum of the parts, which does not distinguish species. A channel
that no training structure can have, since none holds its species, is not compared; the one without
species then still tells how near the atoms are. In molecules, the whole spectrum is one channel.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from logan_campaign.descriptors.environments import atom_spectra
from logan_campaign.descriptors.kernel import Descriptor
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.generators.environments import rattled_spectra, training_species
from logan_campaign.generators.target import Target

#: Power of the kernel: how much more the nearest environments count than the others.
_POWER = 4

#: Smallest density of environments, far below any that single precision tells apart.
_TINY = 1e-37

#: Smallest number of environments that a program is compiled for.
_FEWEST = 32

#: Environments whose coordinates round to the same at this many decimals are equal.
_DECIMALS = 2


class SpeciesReference(NamedTuple):
    """Environments of the atoms of one species, in coordinates of C channels.

    Attributes:
        channels: (C,) indices of the channels that are compared.
        projection: (C, n, n) from a channel's features to its coordinates.
        offset: (C, n) coordinates of the mean environment.
        points: (C, n_points, n) coordinates of the environments.
        weights: (C, n_points) share of each environment; 0 where its structure lacks the species.
            A channel without any is not compared.
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
        _species_reference(structures, channels_of(descriptor, target.periodic), h, number, rng)
        for number in sorted(set(target.numbers))
    )


def _species_reference(
    structures: Sequence[Atoms],
    channels: Channels,
    h: DescentHyperparameters,
    number: int,
    rng: np.random.Generator,
) -> SpeciesReference:
    sites = [(k, a) for k, s in enumerate(structures) for a in np.flatnonzero(s.numbers == number)]
    if len(sites) > h.references:
        sites = [sites[i] for i in np.sort(rng.choice(len(sites), h.references, replace=False))]
    descriptor = channels.descriptor
    ideal, held, scatter = [], [], np.zeros(())
    for k, members in itertools.groupby(sites, key=lambda site: site[0]):
        atoms, centres = structures[k], np.array([atom for _, atom in members])
        as_is = atom_spectra(descriptor, atoms, centres)
        moved = rattled_spectra(descriptor, atoms, centres, h.rattle_stdev, h.rattle_copies, rng)
        ideal.append(np.asarray(channels.split(as_is), np.float64))
        moved = np.asarray(channels.split(moved), np.float64)
        away = moved - moved.mean(axis=0)
        scatter = scatter + np.einsum("kacf,kacg->cfg", away, away)
        present = set(atoms.numbers.tolist())
        held.append(np.tile([present >= needed for needed in channels.species], (len(centres), 1)))
    features, has = np.concatenate(ideal), np.concatenate(held)
    variances, directions = np.linalg.eigh(scatter / (len(features) * h.rattle_copies))
    largest = variances[:, -1]
    kept = np.flatnonzero(has.any(axis=0) & (largest > 0))
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
            for array in (
                projection,
                offset,
                (points[first] - offset).swapaxes(0, 1),
                (shares / shares.sum(axis=0)).T,
            )
        ),
    )


class Channels(NamedTuple):
    """The parts of a power spectrum that are compared on their own.

    Attributes:
        descriptor: of the environments.
        species: species that a structure needs to have each channel.
        matrix: (n_channels, n_pairs) weight of each pair's part; None for the whole spectrum.
    """

    descriptor: Descriptor
    species: tuple[frozenset[int], ...]
    matrix: np.ndarray | None

    def split(self, spectra: jax.Array | np.ndarray) -> jax.Array:
        """Return the (…, n_channels, n_features) features of (…, n_spectrum) power spectra."""
        if self.matrix is None:
            return jnp.asarray(spectra)[..., None, :]
        parts = jnp.reshape(jnp.asarray(spectra), (*spectra.shape[:-1], self.matrix.shape[1], -1))
        matrix = jnp.asarray(self.matrix, parts.dtype)
        return jnp.einsum("...pf,cp->...cf", parts, matrix, precision="highest")


def channels_of(descriptor: Descriptor, periodic: bool) -> Channels:
    """Return the channels of crystals or of molecules."""
    if not periodic:
        return Channels(descriptor, (frozenset(),), None)
    pairs = list(itertools.combinations_with_replacement(descriptor.species, 2))
    if len(pairs) == 1:  # the sum would be the same once more
        return Channels(descriptor, (frozenset(descriptor.species),), np.eye(1))
    alike = [1.0 if a == b else 2.0 for a, b in pairs]
    return Channels(
        descriptor,
        (*map(frozenset, pairs), frozenset()),
        np.vstack([np.eye(len(pairs)), alike]),
    )


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
    own = jnp.einsum("ncf,cfg->cng", features[:, reference.channels], reference.projection)
    own = own - reference.offset[:, None]
    points = reference.points
    between = jnp.einsum("cng,ckg->cnk", own, points)
    squares = (own**2).sum(axis=-1)[..., None] + (points**2).sum(axis=-1)[:, None] - 2.0 * between
    near = 1.0 / (1.0 + jnp.maximum(squares, 0.0) / bandwidth**2)
    density = (near**_POWER * reference.weights[:, None]).sum(axis=-1)
    held = reference.weights.any(axis=-1, keepdims=True)
    return -jnp.where(held, jnp.log(density + _TINY), 0.0).sum(axis=0) / _POWER


def stacked(
    references: Sequence[SpeciesReference], rows: Sequence[int], n_rows: int, n_channels: int
) -> SpeciesReference:
    """Return references as arrays with one row per species, filled up to common shapes.

    Args:
        references: of species.
        rows: their rows.
        n_rows: number of rows; those without a reference have no environments.
        n_channels: number of channels.
    """
    largest = max(reference.points.shape[1] for reference in references)
    n_points = max(_FEWEST, 1 << (largest - 1).bit_length())
    n = references[0].points.shape[2]
    shapes = (references[0].projection.shape[1], n), (n,), (n_points, n), (n_points,)
    projection, offset, points, weights = (
        np.zeros((n_rows, n_channels, *shape), np.float32) for shape in shapes
    )
    for row, reference in zip(rows, references, strict=True):
        own = np.asarray(reference.channels)
        k = reference.points.shape[1]
        projection[row, own] = reference.projection
        offset[row, own] = reference.offset
        points[row, own, :k] = reference.points
        weights[row, own, :k] = reference.weights
    channels = np.tile(np.arange(n_channels, dtype=np.int32), (n_rows, 1))
    return SpeciesReference(*map(jnp.asarray, (channels, projection, offset, points, weights)))
