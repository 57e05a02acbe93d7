"""The power spectrum of many environments at once, differentiable inside JAX.

Arrays keep the environments on their last axis ("lanes") and the neighbours before it, so
that everything is elementwise over long contiguous rows: density coefficients c_nlm are summed
over neighbours once and contracted over m (paper eqs. 2 and 3), instead of a double loop over
pairs of neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from logan_campaign.descriptors.backend import Array, exact_matmul, namespace
from logan_campaign.descriptors.harmonics import solid_harmonics
from logan_campaign.descriptors.radial import Radial, bessel_table, channels, gaussian_widths

Cutoff = Literal["faithful", "smooth"]


class HashableArray:
    """A constant array that can be an argument known at compile time."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._key = (array.shape, array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashableArray) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@dataclass(frozen=True)
class Descriptor:
    """What defines a descriptor: species in order of atomic number, basis and cutoffs.

    Attributes:
        species: atomic numbers, ascending; the order of the features.
        radial: 'bessel' or 'gaussian'.
        r_cut: cutoff radius (Å).
        n_max: resolution; (n_max + 1)(n_max + 2)/2 radial functions.
        n_neighbour: largest number of neighbours that count.
        cutoff: 'faithful' counts the ``n_neighbour`` nearest atoms and no other, as published;
            'smooth' fades atoms out before they leave, see :func:`fading_shares`.
    """

    species: tuple[int, ...]
    radial: Radial
    r_cut: float
    n_max: int
    n_neighbour: int
    cutoff: Cutoff = "faithful"

    @property
    def n_slots(self) -> int:
        """How many of the nearest atoms are looked at."""
        return self.n_neighbour if self.cutoff == "faithful" else 2 * self.n_neighbour + 8

    @property
    def n_spectrum(self) -> int:
        """Number of features without the one-hot species."""
        s = len(self.species)
        return s * (s + 1) // 2 * len(channels(self.n_max))

    @property
    def n_features(self) -> int:
        """Number of features of one atom."""
        return self.n_spectrum + len(self.species)


def clenshaw(table: np.ndarray, t: Array) -> Any:
    """Return the Chebyshev series with coefficients (degree+1, n) at t (...) as (n, ...)."""
    xp = namespace(t)
    columns = xp.asarray(table, t.dtype).reshape(*table.shape, *([1] * t.ndim))
    ahead, after = xp.zeros_like(t), xp.zeros_like(t)
    for k in range(len(table) - 1, 0, -1):
        ahead, after = columns[k] + 2.0 * t * ahead - after, ahead
    return columns[0] + t * ahead - after


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def chebyshev_series(table: HashableArray, t: jax.Array) -> jax.Array:
    """Return :func:`clenshaw` with the derivative as a series of its own.

    That is cheaper than going back through the recurrence.
    """
    return clenshaw(table.array, t)


@chebyshev_series.defjvp
def _chebyshev_series_jvp(
    table: HashableArray, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    derivative = HashableArray(chebyshev.chebder(table.array))
    (t,), (dt,) = primals, tangents
    return chebyshev_series(table, t), chebyshev_series(derivative, t) * dt


def factors(
    descriptor: Descriptor,
    x: Array,
    y: Array,
    z: Array,
    weights: Array | None = None,
) -> tuple[list[Any], list[Any]]:
    """Return radial and angular factors whose products are ``w g_{n'l}(r) Y_lm(r/|r|)``.

    Args:
        descriptor: basis, cutoff radius and n_max.
        x, y, z: vectors to the neighbours (Å), each of shape (n_neighbours, n_lanes).
        weights: w, the share with which each neighbour counts; 1 by default.

    Returns:
        For each l the stacked radial factors, shape (n_max-l+1, n_neighbours, n_lanes), and
        the stacked angular factors, shape (2l+1, n_neighbours, n_lanes).
    """
    r_cut, n_max, dtype = descriptor.r_cut, descriptor.n_max, x.dtype
    xp = namespace(x)
    x, y, z = x / r_cut, y / r_cut, z / r_cut
    square = x * x + y * y + z * z
    share = (square < 1.0).astype(dtype)
    if weights is not None:
        share = share * weights
    if descriptor.radial == "bessel":
        table = bessel_table(r_cut, n_max, 3e-8 if dtype == np.float32 else 1e-16)
        t = 2.0 * xp.minimum(square, 1.0) - 1.0
        functions: Any = (
            clenshaw(table, t) if xp is np else chebyshev_series(HashableArray(table), t)
        )
        choice = np.eye(len(functions))
    else:
        # Gaussians keep a direction at r = 0, where there is none: it counts as zero there.
        apart = square > 1e-12
        inverse = xp.where(apart, 1.0 / xp.sqrt(xp.where(apart, square, 1.0)), 0.0)
        x, y, z = x * inverse, y * inverse, z * inverse
        widths = np.concatenate([gaussian_widths(o, n_max, r_cut) for o in range(n_max + 1)])
        distinct, which = np.unique(widths, return_inverse=True)
        exponents = (r_cut / distinct) ** 2
        column = xp.asarray(exponents, dtype).reshape(-1, *([1] * square.ndim))
        offset = xp.asarray(np.exp(-exponents), dtype).reshape(-1, *([1] * square.ndim))
        functions = xp.exp(-column * square) - offset
        choice = np.eye(len(distinct))[which]
    # The product with zeros and ones hands each function to its channel. It is a matrix
    # product also because the compiler would otherwise evaluate the functions anew in
    # every sum that they enter.
    values = exact_matmul(choice, (functions * share).reshape(len(choice.T), -1))
    values = values.reshape(-1, *square.shape)
    radial, start = [], 0
    for order in range(n_max + 1):
        radial.append(values[start : start + n_max - order + 1])
        start += n_max - order + 1
    return radial, [xp.stack(row) for row in solid_harmonics(x, y, z, n_max)]


def fading_shares(descriptor: Descriptor, square: Array, present: Array) -> Any:
    """Return the share with which each neighbour counts under the smooth cutoff.

    An atom at distance r counts with s(r²/R²), where s is 1 up to 1/2 and falls to 0 at 1
    with two continuous derivatives. The radius R of each environment solves
    Σ s(r²/R²) + n (R/r_cut)^12 = n, n being ``n_neighbour``: about n atoms count where
    there are many, and R stays within ``r_cut`` where there are few. Atoms at equal
    distances count equally, and R is a smooth function of all distances.

    Only ``n_slots`` atoms are looked at; were more of them within R, the last would be cut.

    Args:
        descriptor: cutoffs.
        square: squared distances (Å²), shape (n_neighbours, n_lanes).
        present: whether there is such a neighbour, of the same shape.
    """
    n, largest = float(descriptor.n_neighbour), descriptor.r_cut**2
    xp = namespace(square)
    square = xp.where(present, square, square.dtype.type(2.0 * largest))

    def excess(q: Array, square: Array) -> Any:
        return _switch(square / q).sum(axis=0) + n * (q / largest) ** 6 - n

    def halve(_: int, bounds: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = bounds
        middle = 0.5 * (low + high)
        above = excess(middle, fixed) > 0
        return xp.where(above, low, middle), xp.where(above, middle, high)

    fixed = square if xp is np else jax.lax.stop_gradient(square)
    start = xp.full(square.shape[1:], largest, square.dtype)
    bounds = (1e-6 * start, start)
    halvings = 30 if square.dtype == np.float32 else 60
    if xp is np:
        for k in range(halvings):
            bounds = halve(k, bounds)
        return _switch(square / bounds[1])
    root = jax.lax.stop_gradient(jax.lax.fori_loop(0, halvings, halve, bounds)[1])
    # One Newton step changes nothing but gives the root its derivative by the distances.
    _, slope = jax.jvp(lambda q: excess(q, fixed), (root,), (jnp.ones_like(root),))
    root = root - excess(root, square) / jax.lax.stop_gradient(slope)
    return _switch(square / root)


def _switch(u: Array) -> Any:
    """Return 1 for u ≤ 1/2, 0 for u ≥ 1 and a quintic in between."""
    t = namespace(u).clip(2.0 * u - 1.0, 0.0, 1.0)
    return 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def spectrum(
    descriptor: Descriptor,
    vectors: tuple[Array, Array, Array],
    weights: Array | None,
    groups: list[tuple[int, int]] | None = None,
    kinds: Array | None = None,
) -> Any:
    """Return the power spectrum of every lane's environment (paper eqs. 1 to 3).

    Args:
        descriptor: basis, species and cutoffs.
        vectors: x, y and z from the central atom to its neighbours (Å), each of shape
            (n_neighbours, n_lanes).
        weights: share with which each neighbour counts. With ``groups`` or ``kinds``:
            (n_neighbours, n_lanes); without: (n_species, n_neighbours, n_lanes), zero for other
            species.
        groups: neighbours start … stop of each species, if they stand in that order.
        kinds: (n_neighbours,) index of each neighbour's species, if that is so in all lanes.

    Returns:
        Array of shape (n_spectrum, n_lanes): pairs of species A ≤ B, then l, then n'.
    """
    xp = namespace(vectors[0])
    apart = groups is None and kinds is None
    radial, angular = factors(descriptor, *vectors, None if apart else weights)
    n_species, n_max = len(descriptor.species), descriptor.n_max
    if kinds is not None:
        own = xp.asarray(kinds == np.arange(n_species)[:, None], vectors[0].dtype)
    coefficients: list[list[Any]] = []  # [l][species]: (n', m, lanes)
    for order in range(n_max + 1):
        g, y = radial[order], angular[order]
        if kinds is not None:
            each = (g[:, None] * y[None]).transpose(2, 0, 1, 3)
            summed = exact_matmul(own, each.reshape(len(each), -1))
            coefficients.append(list(summed.reshape(n_species, *each.shape[1:])))
            continue
        row = []
        for s in range(n_species):
            if groups is not None:
                lo, hi = groups[s]
                row.append(xp.sum(g[:, None, lo:hi] * y[None, :, lo:hi], axis=2))
            else:
                assert weights is not None
                row.append(xp.sum((g * weights[s])[:, None] * y[None], axis=2))
        coefficients.append(row)
    features = [
        xp.sum(coefficients[order][a] * coefficients[order][b], axis=1)
        for a in range(n_species)
        for b in range(a, n_species)
        for order in range(n_max + 1)
    ]
    return xp.concatenate(features)
