"""What a potential knows of a structure: its environments and pairs, and how these change.

An environment is its power spectrum, scaled to length one; a pair is a Gaussian of its distance
around each point of a grid. Both vanish at the cutoff radius with their slopes. All derivatives
are by the 3N + 6 coordinates of a structure: the atoms' Cartesian ones (Å), then the strain of
atoms and cell together in Voigt order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from logan_campaign.descriptors.environments import environment_spectra, species_indices
from logan_campaign.descriptors.kernel import Descriptor, factors
from logan_campaign.geometry.neighbours import neighbours

#: Atoms are filled up to a multiple of the first number, neighbours to a power of two from the
#: second, so that one compiled program serves many structures.
_ATOMS, _FEWEST = 4, 64

#: The six components of a strain in Voigt order.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

#: The repulsion of a pair at distance r is (s/r)^10 eV times the cutoff function, s being this
#: share of the sum of the covalent radii: 1 eV where no pair of any relaxed structure is.
_REPULSION, _POWER = 0.75, 10


@dataclass(frozen=True)
class Basis:
    """Power spectra and pairs of one potential.

    Attributes:
        descriptor: species, cutoff radius and resolution of the power spectra.
        shortest: first distance of the grid of pairs (Å).
        spacing: between distances of that grid (Å).
        width: standard deviation of the Gaussians (Å).
    """

    descriptor: Descriptor
    shortest: float = 0.8
    spacing: float = 0.35
    width: float = 0.5

    @property
    def grid(self) -> np.ndarray:
        """Distances (G,) (Å) around which the Gaussians of pairs stand."""
        return np.arange(self.shortest, self.descriptor.r_cut, self.spacing)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of species, by their index."""
        n = len(self.descriptor.species)
        return [(a, b) for a in range(n) for b in range(a, n)]


class Features(NamedTuple):
    """Features of a structure of N atoms, with derivatives by its n = 3N + 6 coordinates.

    Attributes:
        kinds: (N,) index of each atom's species.
        spectra: (N, F) power spectra of length one.
        spectra_slopes: (N, n, F).
        pairs: (P G,) sums over the pairs of two species, in order of :attr:`Basis.pairs`.
        pairs_slopes: (n, P G).
        repulsion: energy (eV) of atoms that are too close.
        repulsion_slopes: (n,) (eV/Å, eV).
    """

    kinds: np.ndarray
    spectra: np.ndarray
    spectra_slopes: np.ndarray
    pairs: np.ndarray
    pairs_slopes: np.ndarray
    repulsion: float
    repulsion_slopes: np.ndarray


def features(basis: Basis, atoms: Atoms) -> Features:
    """Return the features of a structure.

    Raises:
        InputError: the structure has species that the basis lacks.
    """
    n = len(atoms)
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, _features(basis, *_neighbourhood(basis, atoms)))
    spectra, slopes, pairs, pairs_slopes = found
    # atoms that only fill up have neither neighbours nor derivatives
    kept = np.r_[: 3 * n, -6:0]
    return Features(
        species_indices(atoms.numbers, basis.descriptor.species),
        spectra[:n],
        slopes[:n, kept],
        pairs[:-1],
        pairs_slopes[kept, :-1],
        float(pairs[-1]),
        pairs_slopes[kept, -1],
    )


def spectra(basis: Basis, atoms: Atoms) -> np.ndarray:
    """Return the power spectra (N, F) of a structure's atoms, each of length one.

    As in :func:`features`, without derivatives.
    """
    vectors, _, _, around = _neighbourhood(basis, atoms)
    found = environment_spectra(basis.descriptor, vectors.T, around.T)[: len(atoms)]
    return np.asarray(found / np.sqrt((found**2).sum(axis=1, keepdims=True) + 1e-30))


def _neighbourhood(
    basis: Basis, atoms: Atoms
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the K neighbours of every atom within the cutoff radius.

    Returns:
        Vectors (3, K, N) (Å), which end at the cutoff where there is no neighbour; indices
        (K, N), the atom itself where there is none; kinds of the atoms (N,) and of their
        neighbours (K, N), -1 where there is none.
    """
    r_cut = basis.descriptor.r_cut
    kinds = species_indices(atoms.numbers, basis.descriptor.species)
    cell = atoms.cell.complete().array
    found = neighbours(atoms.positions, cell, r_cut, atoms.pbc)
    order, rank = found.ranks(found.first)
    slots = max(_FEWEST, 1 << int(rank.max(initial=0)).bit_length())
    n = -(-len(atoms) // _ATOMS) * _ATOMS
    index, around = np.tile(np.arange(n), (slots, 1)), np.full((slots, n), -1)
    vectors = np.zeros((3, slots, n))
    vectors[0] = r_cut
    first, second = found.first[order], found.second[order]
    moved = atoms.positions[second] + found.image[order] @ cell - atoms.positions[first]
    vectors[:, rank, first] = moved.T
    index[rank, first], around[rank, first] = second, kinds[second]
    return vectors, index, np.pad(kinds, (0, n - len(kinds)), constant_values=-1), around


@partial(jax.jit, static_argnums=0)
def _features(
    basis: Basis, vectors: jax.Array, index: jax.Array, kinds: jax.Array, around: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return spectra, their slopes, pairs with the repulsion as last column, and their slopes."""
    descriptor = basis.descriptor
    here = jnp.arange(len(descriptor.species))
    weights = (around == here[:, None, None]).astype(vectors.dtype)

    def functions(of: jax.Array) -> list[jax.Array]:
        radial, angular = factors(descriptor, *of)
        return [g[:, None] * y for g, y in zip(radial, angular, strict=True)]

    def slopes_of(function: Any, at: jax.Array) -> Any:
        along = jnp.broadcast_to(jnp.eye(3, dtype=at.dtype)[:, :, None, None], (3, *at.shape))
        return jax.vmap(lambda one: jax.jvp(function, (at,), (one,))[1])(along)

    # for each pair of species, the spectra of each l: in order of `spectrum`
    values: list[list[jax.Array]] = [[] for _ in basis.pairs]
    slopes: list[list[jax.Array]] = [[] for _ in basis.pairs]
    by_order = zip(functions(vectors), slopes_of(functions, vectors), strict=True)
    for function, slope in by_order:  # (n', m, K, N) and (3, n', m, K, N), for each l
        density = jnp.einsum("skn,amkn->samn", weights, function)
        with_each = jnp.einsum("iamkn,samn->saikn", slope, density)
        for k, (a, b) in enumerate(basis.pairs):
            values[k].append((density[a] * density[b]).sum(axis=1))
            slopes[k].append(weights[a] * with_each[b] + weights[b] * with_each[a])
    spectrum = jnp.concatenate(list(chain(*values)))  # (F, N)
    slope = jnp.concatenate(list(chain(*slopes)))  # (F, 3, K, N)
    length = jnp.sqrt((spectrum**2).sum(axis=0) + 1e-30)
    unit = spectrum / length
    slope = (slope - unit[:, None, None] * (unit[:, None, None] * slope).sum(axis=0)) / length
    environments = _by_coordinates(slope.transpose(3, 2, 1, 0), vectors, index)

    radii = jnp.array([covalent_radii[z] for z in descriptor.species])

    def pair_functions(of: jax.Array) -> jax.Array:
        return _pairs(basis, of, radii[kinds] + radii[around])

    both = [
        (kinds == a) & (around == b) | (kinds == b) & (around == a) & (a != b)
        for a, b in basis.pairs
    ]
    # every pair is seen from both of its atoms
    share = jnp.stack([jnp.where(one, 0.5, 0.0) for one in both])
    share_all = jnp.where((kinds >= 0) & (around >= 0), 0.5, 0.0)
    value, slope = pair_functions(vectors), slopes_of(pair_functions, vectors)

    def joined(which: jax.Array) -> jax.Array:  # (G + 1, ...) to (P G + 1, ...)
        return jnp.concatenate(
            [
                (share[:, None] * which[:-1]).reshape(-1, *which.shape[1:]),
                (share_all * which[-1])[None],
            ]
        )

    pairs = joined(value).sum(axis=(1, 2))
    slope = jnp.stack([joined(slope[i]) for i in range(3)])  # (3, C, K, N)
    of_pairs = _by_coordinates(slope.transpose(3, 2, 0, 1), vectors, index).sum(axis=0)
    return unit.T, environments, pairs, of_pairs


def _pairs(basis: Basis, vectors: jax.Array, radii: jax.Array) -> jax.Array:
    """Return the functions (G + 1, K, N) of pairs at vectors (3, K, N); last the repulsion."""
    distance = jnp.sqrt((vectors**2).sum(axis=0))
    fade = jnp.maximum(1.0 - (distance / basis.descriptor.r_cut) ** 2, 0.0) ** 3
    grid = jnp.asarray(basis.grid)[:, None, None]
    around = jnp.exp(-0.5 * ((distance - grid) / basis.width) ** 2)
    repulsion = (_REPULSION * radii / distance) ** _POWER
    return jnp.concatenate([around, repulsion[None]]) * fade


def _by_coordinates(slopes: jax.Array, vectors: jax.Array, index: jax.Array) -> jax.Array:
    """Return derivatives (N, 3N + 6, F) by coordinates of those by vectors, (N, K, 3, F)."""
    n, _, _, f = slopes.shape
    by_atoms = jnp.zeros((n, n, 3, f), slopes.dtype)
    rows = jnp.arange(n)
    by_atoms = by_atoms.at[rows[:, None], index.T].add(slopes)
    by_atoms = by_atoms.at[rows, rows].add(-slopes.sum(axis=1))
    along = jnp.einsum("nkif,jkn->nijf", slopes, vectors)
    strain = [0.5 * (along[:, i, j] + along[:, j, i]) for i, j in VOIGT]
    return jnp.concatenate([by_atoms.reshape(n, 3 * n, f), jnp.stack(strain, axis=1)], axis=1)


def farthest(
    points: np.ndarray, n: int, begun: np.ndarray | None = None, alike: float = 1e-6
) -> list[int]:
    """Return rows of at most ``n`` points, each the farthest from those before it.

    Args:
        points: (k, F) of length one.
        n: how many.
        begun: (m, F) points that are there already.
        alike: points whose 1 - cos is smaller are equal.
    """
    nearest = np.full(len(points), np.inf)
    if begun is not None and len(begun):
        nearest = 1.0 - (points @ begun.T).max(axis=1)
    chosen: list[int] = []
    while len(chosen) < min(n, len(points)):
        row = int(nearest.argmax())
        if nearest[row] < alike:
            break
        chosen.append(row)
        nearest = np.minimum(nearest, 1.0 - points @ points[row])
    return chosen


def potential_basis(species: Sequence[int], r_cut: float, n_max: int) -> Basis:
    """Return the basis for structures of these atomic numbers."""
    # all neighbours within the cutoff count
    return Basis(Descriptor(tuple(sorted(species)), "bessel", r_cut, n_max, 0))
