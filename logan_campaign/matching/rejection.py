"""Pairs of crystals that StructureMatcher cannot match, found without asking it.

StructureMatcher lays the sites of two crystals on the average of two lattices and demands,
for some mapping of one lattice on the other and some pairing of equal sites, that every
site lies within ``stol`` (times the free length) of its partner once the mean displacement
is taken out. Take any one site out of such a fit: shift the second crystal so that this
site lies on its partner. The mean displacement is then at most that limit, so every other
site has a partner within *twice* the limit. Where no mapping and no partner of that one
site leaves every site with a neighbour so near, the matcher would say no.

The condition is necessary, never sufficient: what passes goes to the matcher. Limits are
widened a little against rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from logan_campaign.matching.bucket import GRID, Bucket, by_species
from logan_campaign.matching.reduction import Floats, Reduced

# How much wider than the matcher's own the tolerances are here, against rounding.
_LENGTH_MARGIN = 1e-6
_ANGLE_MARGIN = 1e-3  # degrees
_DISTANCE_MARGIN = 1e-3  # of the distance

# Numbers held at a time while many pairs are looked at.
_BLOCK = 400_000

# From so many crystals in one cell on, a table is made that passes over most of them.
_MANY = 200

# Pairs of lattices whose mappings are kept.
_MAX_LATTICE_PAIRS = 50_000


class _Mappings(NamedTuple):
    """The ways to lay one lattice on another."""

    inverse: NDArray[np.float32]
    """Fractional coordinates of the first crystal times this, (n, 3, 3), are in the mapped
    cell."""
    metric: NDArray[np.float32]
    """Metric tensor of the average lattice for free length 1, shape (n, 3, 3)."""
    images: NDArray[np.float32]
    """Cells in which the nearest image may lie, shape (n_images, 3)."""


class Rejector:
    """Tells quickly which pairs of crystals cannot match.

    Args:
        ltol: fractional length tolerance.
        stol: site tolerance, in free lengths (volume per atom)^(1/3).
        angle_tol: angle tolerance (degrees).
    """

    def __init__(self, ltol: float, stol: float, angle_tol: float) -> None:
        self._ltol = ltol
        self._angle_tol = angle_tol
        # of a site from its partner, one other site lying exactly on its own
        self._reach = 2 * stol * (1 + _DISTANCE_MARGIN)
        self._mappings: dict[tuple[bytes, bytes], _Mappings] = {}

    def possible(
        self, one: Reduced, others: Bucket, indices: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return for some of ``others`` whether they may match ``one``.

        In each pair the crystal with the lower id is the first, as it will be for the
        matcher.

        Args:
            one: a crystal.
            others: crystals of the same key.
            indices: which of them, shape (n,).

        Returns:
            shape (n,).
        """
        result = np.zeros(len(indices), dtype=np.bool_)
        before = np.array([others.items[index].id < one.id for index in indices], dtype=np.int64)
        cells, which = np.unique(2 * others.lattice_of(indices) + before, return_inverse=True)
        n_rarest = int(np.unique(one.numbers, return_counts=True)[1].min())
        for number, cell in enumerate(cells):
            members = np.flatnonzero(which == number)
            first = bool(cell % 2)
            some = others.items[indices[members[0]]]
            mappings = self._map(some, one) if first else self._map(one, some)
            if not len(mappings.inverse):
                continue
            if first and len(members) >= _MANY:
                members = members[self._passes_grid(one, others, indices[members], mappings)]
            size = len(mappings.inverse) * len(mappings.images) * n_rarest**2 * 3
            step = max(1, _BLOCK // size)
            for start in range(0, len(members), step):
                block = members[start : start + step]
                sites = others.sites(indices[block])
                result[block] = self._fits(one, sites, first, mappings)
        return result

    def _map(self, first: Reduced, second: Reduced) -> _Mappings:
        key = (first.lattice.tobytes(), second.lattice.tobytes())
        if key not in self._mappings:
            if len(self._mappings) >= _MAX_LATTICE_PAIRS:
                self._mappings.clear()
            self._mappings[key] = self._all_mappings(first, second)
        return self._mappings[key]

    def _all_mappings(self, first: Reduced, second: Reduced) -> _Mappings:
        """Return what Lattice.find_all_mappings finds with cells of the same volume."""
        # volume per atom 1, so that lengths are in free lengths
        n_sites = len(first.numbers)
        one = first.lattice * (n_sites / first.volume) ** (1 / 3)
        two = second.lattice * (n_sites / second.volume) ** (1 / 3)
        lengths, angles = _lengths(two), _angles(two)
        ltol, atol = self._ltol + _LENGTH_MARGIN, self._angle_tol + _ANGLE_MARGIN

        # lattice vectors of the first, as long as each of the second's three
        vectors = _vectors_within(one, lengths.max() * (1 + ltol))
        cartesian = vectors @ one
        long = np.linalg.norm(cartesian, axis=1)
        ratio = long[:, None] / lengths
        alike = [np.flatnonzero((r < 1 + ltol) & (r > 1 / (1 + ltol))) for r in ratio.T]
        unit = cartesian / long[:, None]

        def at_angle(i: int, j: int, angle: float) -> NDArray[np.bool_]:
            cosines = np.clip(unit[alike[i]] @ unit[alike[j]].T, -1, 1)
            return np.abs(np.degrees(np.arccos(cosines)) - angle) <= atol

        fits = at_angle(0, 1, angles[2])[:, :, None] & at_angle(0, 2, angles[1])[:, None, :]
        fits &= at_angle(1, 2, angles[0])[None]
        chosen = np.stack([alike[n][index] for n, index in enumerate(np.nonzero(fits))], axis=1)
        scale = vectors[chosen]
        same_volume = np.abs(np.abs(np.linalg.det(scale)) - 1) < 0.5
        chosen, scale = chosen[same_volume], scale[same_volume]

        found = cartesian[chosen]
        length = (_lengths(found) + lengths) / 2
        cosine = np.cos(np.radians((_angles(found) + angles) / 2))
        metric = length[:, :, None] * length[:, None, :]
        for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
            metric[:, i, j] *= cosine[:, k]
            metric[:, j, i] *= cosine[:, k]
        volume = np.sqrt(np.maximum(np.linalg.det(metric), 1e-12))
        metric *= ((n_sites / volume) ** (2 / 3))[:, None, None]
        images = np.zeros((1, 3))
        if len(found):
            # |f_i| of a vector is at most its length times the reciprocal length
            reciprocal = np.sqrt(np.diagonal(np.linalg.inv(metric), axis1=1, axis2=2)).max(axis=0)
            ranges = [np.arange(-n, n + 1) for n in np.floor(self._reach * reciprocal + 0.5)]
            images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
        return _Mappings(
            np.rint(np.linalg.inv(scale)).astype(np.float32),
            metric.astype(np.float32),
            images.astype(np.float32),
        )

    def _passes_grid(
        self, one: Reduced, others: Bucket, indices: NDArray[np.int64], mappings: _Mappings
    ) -> NDArray[np.bool_]:
        """Return which of many crystals in one cell, the first of each pair, are worth a look.

        The condition of :meth:`_fits` for the rarest species alone, on a grid: a table says
        for each cell which sites of ``one`` a vector that ends in the cell may come near, and
        the vectors of the others are looked up there.
        """
        sites = by_species(one)[0]
        if not 2 <= len(sites) <= 9 or len(mappings.images) > 1:  # 8 bits; a small cell
            return np.ones(len(indices), dtype=np.bool_)
        cells = others.vector_cells()[indices]
        every = np.uint8((1 << (len(sites) - 1)) - 1)
        result = np.zeros(len(indices), dtype=np.bool_)
        centres = (np.indices((GRID,) * 3).reshape(3, -1).T + 0.5).astype(np.float32) / GRID
        corners = np.indices((2,) * 3).reshape(3, -1).T.astype(np.float32) - 0.5
        for inverse, metric in zip(mappings.inverse, mappings.metric, strict=True):
            to_corner = _squared(corners[None] @ inverse / GRID, metric[None], mappings.images)
            reach = self._reach + np.sqrt(to_corner.max()) * (1 + _DISTANCE_MARGIN)
            mapped = centres @ inverse
            table = np.zeros(len(centres), dtype=np.uint8)
            for bit, site in enumerate(sites[1:] - sites[0]):
                apart = mapped - site
                apart -= np.rint(apart)
                near = _squared(apart[None], metric[None], mappings.images)[0] <= reach**2
                table |= near.astype(np.uint8) << np.uint8(bit)
            result |= (np.bitwise_or.reduce(table[cells], axis=2) == every).any(axis=1)
        return result

    def _fits(
        self,
        one: Reduced,
        others: list[NDArray[np.float32]],
        others_first: bool,
        mappings: _Mappings,
    ) -> NDArray[np.bool_]:
        """Return which of ``others``, all in one cell, may match ``one``."""
        alone = [sites[None] for sites in by_species(one)]
        firsts, seconds = (others, alone) if others_first else (alone, others)
        n_mappings, n_pairs = len(mappings.inverse), len(others[0])
        mapped = [_mapped(first, mappings.inverse) for first in firsts]
        # everything relative to the first site of the rarest species and each of its partners
        partners = mapped[0]
        where = np.indices((n_mappings, n_pairs, partners.shape[2])).reshape(3, -1)
        for species, second in enumerate(seconds):
            # the first site of the rarest species lies on its partner already
            for site in np.moveaxis(second - seconds[0][:, :1], 1, 0)[species == 0 :]:
                place, pair, partner = where
                first = np.minimum(pair, firsts[0].shape[0] - 1)
                apart = mapped[species][place, first] - partners[place, first, partner][:, None]
                apart -= site[np.minimum(pair, len(site) - 1)][:, None]
                apart -= np.rint(apart)
                nearest = _squared(apart, mappings.metric[place], mappings.images).min(axis=1)
                where = where[:, nearest <= self._reach**2]
                if not where.shape[1]:
                    return np.zeros(n_pairs, dtype=np.bool_)
        result = np.zeros(n_pairs, dtype=np.bool_)
        result[where[1]] = True
        return result


def _mapped(frac: NDArray[np.float32], inverse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return fractional coordinates (n_crystals, n, 3) in each mapped cell, first axis."""
    return np.einsum("bix,mxy->mbiy", frac, inverse)


def _squared(
    apart: NDArray[np.float32], metric: NDArray[np.float32], images: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return squared lengths of fractional vectors (n, a, 3), of the shortest image."""
    best: NDArray[np.float32] | None = None
    for image in images:
        x, y, z = np.moveaxis(apart + image if image.any() else apart, -1, 0)
        g = metric[:, :, :, None]
        found = (
            g[:, 0, 0] * x * x
            + g[:, 1, 1] * y * y
            + g[:, 2, 2] * z * z
            + 2 * (g[:, 0, 1] * x * y + g[:, 0, 2] * x * z + g[:, 1, 2] * y * z)
        )
        best = found if best is None else np.minimum(best, found)
    assert best is not None  # there is always the cell itself
    return best


def _vectors_within(lattice: Floats, radius: float) -> Floats:
    """Return the lattice vectors up to a length but zero, as fractional (n, 3)."""
    reciprocal = np.linalg.norm(np.linalg.inv(lattice), axis=0)
    ranges = [np.arange(-n, n + 1) for n in np.floor(radius * reciprocal + 1e-6)]
    vectors = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    long = np.linalg.norm(vectors @ lattice, axis=1)
    found: Floats = vectors[(long <= radius * (1 + 1e-9)) & (long > 0)]
    return found


def _lengths(lattice: Floats) -> Floats:
    """Return the lengths a, b, c of lattices (..., 3, 3)."""
    found: Floats = np.linalg.norm(lattice, axis=-1)
    return found


def _angles(lattice: Floats) -> Floats:
    """Return the angles alpha, beta, gamma (degrees) of lattices (..., 3, 3)."""
    unit = lattice / _lengths(lattice)[..., None]
    pairs = ((1, 2), (0, 2), (0, 1))
    cosines = [np.einsum("...x,...x->...", unit[..., i, :], unit[..., j, :]) for i, j in pairs]
    found: Floats = np.degrees(np.arccos(np.clip(np.stack(cosines, axis=-1), -1, 1)))
    return found
