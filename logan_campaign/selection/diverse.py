"""Farthest-point sampling: picks as different from one another as the pool allows."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from logan_campaign.core.errors import InputError
from logan_campaign.selection.base import DescriptorSettings, Pool, Selection, SelectionBase
from logan_campaign.selection.kmeans import Projection


class DiverseSelection(SelectionBase):
    """Settings of farthest-point sampling.

    The first pick is the structure nearest to the mean, each further pick the structure farthest
    from all picks so far (Gonzalez 1985, doi 10.1016/0304-3975(85)90224-5). Broken structures are
    far from all others, so use this strategy after one that removes them.
    """

    strategy: Literal["diverse"] = "diverse"
    n_components: int | None = Field(
        None, ge=1, le=50, description="PCA components for distances; null: the whole descriptor"
    )
    standardise: bool = Field(False, description="Scale every feature to unit variance first")
    descriptor: DescriptorSettings = Field(
        default_factory=DescriptorSettings, description="Descriptor of the structures"
    )

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick the farthest points, deterministically. See :meth:`SelectionBase.select`."""
        described = np.asarray(pool.descriptors(self.descriptor), dtype=np.float64)
        usable = np.flatnonzero(np.isfinite(described).all(axis=1))
        if not len(usable):
            raise InputError(
                f"nothing to select from: none of {len(pool)} structures has a finite descriptor"
            )
        # with as many components as features, distances equal those of the features
        points = Projection.of(
            described[usable], self.n_components or described.shape[1], self.standardise
        ).places(described[usable])
        picks, nearest = farthest_points(points, self.n_picks)
        labels = np.full(len(pool), -1)
        labels[usable] = nearest
        lost = len(pool) - len(usable)
        return Selection.of(
            "diverse",
            usable[picks],
            labels,
            n_unusable={"descriptor not finite": lost} if lost else {},
        )


def farthest_points(points: np.ndarray, n_picks: int) -> tuple[np.ndarray, np.ndarray]:
    """Return up to ``n_picks`` rows at distinct positions, and the nearest pick of each row.

    Args:
        points: (n, d), n at least 1.
        n_picks: number of picks.
    """
    extent = float(np.ptp(points, axis=0).max(initial=0.0)) or 1.0
    same = (1e-9 * extent) ** 2  # closer points coincide
    centre = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    picks = [int(np.flatnonzero(centre <= centre.min() + same)[0])]
    distance = ((points - points[picks[0]]) ** 2).sum(axis=1)
    nearest = np.zeros(len(points), dtype=int)
    while len(picks) < n_picks and distance.max() > same:
        pick = int(np.flatnonzero(distance >= distance.max() - same)[0])
        own = ((points - points[pick]) ** 2).sum(axis=1)
        nearest[own < distance] = len(picks)
        distance = np.minimum(distance, own)
        picks.append(pick)
    return np.array(picks), nearest
