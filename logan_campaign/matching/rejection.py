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
from pymatgen.core import Lattice

from logan_campaign.matching.bucket import Bucket, by_species
from logan_campaign.matching.reduction import Reduced

# How much wider than the matcher's own the tolerances are here, against rounding.
_LENGTH_MARGIN = 1e-6
_ANGLE_MARGIN = 1e-3  # degrees
_DISTANCE_MARGIN = 1e-3  # of the distance

# Numbers held at a time while many pairs are looked at.
_BLOCK = 400_000

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
        n_sites = len(first.numbers)
        # volume per atom 1, so that lengths are in free lengths
        one = Lattice(first.lattice * (n_sites / first.volume) ** (1 / 3))
        two = Lattice(second.lattice * (n_sites / second.volume) ** (1 / 3))
        found = [
            (lattice, scale)
            for lattice, _, scale in one.find_all_mappings(
                two,
                ltol=self._ltol + _LENGTH_MARGIN,
                atol=self._angle_tol + _ANGLE_MARGIN,
                skip_rotation_matrix=True,
            )
            if abs(abs(np.linalg.det(scale)) - 1) < 0.5
        ]
        inverse = np.zeros((len(found), 3, 3))
        metric = np.zeros((len(found), 3, 3))
        for place, (lattice, scale) in enumerate(found):
            inverse[place] = np.rint(np.linalg.inv(scale))
            average = (np.array(lattice.parameters) + np.array(two.parameters)) / 2
            mean = Lattice.from_parameters(*average)
            metric[place] = mean.metric_tensor * (n_sites / mean.volume) ** (2 / 3)
        images = np.zeros((1, 3))
        if found:
            # |f_i| of a vector is at most its length times the reciprocal length
            reciprocal = np.sqrt(np.diagonal(np.linalg.inv(metric), axis1=1, axis2=2)).max(axis=0)
            ranges = [np.arange(-n, n + 1) for n in np.floor(self._reach * reciprocal + 0.5)]
            images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
        return _Mappings(
            inverse.astype(np.float32), metric.astype(np.float32), images.astype(np.float32)
        )

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
