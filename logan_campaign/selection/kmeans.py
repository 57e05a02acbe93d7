"""Selection of the paper: PCA of structure descriptors, k-means, nearest to each centroid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from logan_campaign.core.errors import InputError
from logan_campaign.selection.base import (
    DescriptorSettings,
    MapSettings,
    Pool,
    Selection,
    SelectionBase,
)

# Restarts of k-means; fixed, since scikit-learn's default may change.
_N_INIT = 10

# Points closer than this fraction of the extent of the map coincide.
_SAME_POINT = 1e-9


class KMeansSelection(SelectionBase):
    """Settings of k-means selection."""

    strategy: Literal["kmeans"] = "kmeans"
    scope: Literal["union", "per_model"] = Field(
        "union", description="Cluster all structures together, or those of each model separately"
    )
    n_components: int = Field(2, ge=1, le=50, description="PCA components to cluster in")
    standardise: bool = Field(False, description="Scale every feature to unit variance first")
    descriptor: DescriptorSettings = Field(
        default_factory=DescriptorSettings, description="Descriptor of the structures"
    )

    def map_settings(self) -> MapSettings:
        """Return the map in which clusters are made."""
        return MapSettings(self.n_components, self.standardise, self.descriptor)

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick the structure nearest to each centroid; see :func:`select_kmeans`."""
        return select_kmeans(pool.descriptors(self.descriptor), pool.group, self, seed)


def select_kmeans(
    descriptors: np.ndarray, groups: np.ndarray, settings: KMeansSelection, seed: int
) -> Selection:
    """Pick the structure nearest to each k-means centroid in the space of a PCA.

    One PCA is fitted to all structures. With ``scope='per_model'`` every group is clustered
    separately and gives ``n_picks`` structures. If there are fewer distinct points than
    ``n_picks``, every distinct point gives one pick. Picks are ordered by size of cluster,
    largest first, then by index. The result is deterministic.

    Args:
        descriptors: (n, n_features) structure descriptors (paper eq. 8); rows that are not
            finite are skipped and counted.
        groups: (n,) index of each structure's model.
        settings: strategy settings.
        seed: seed of the k-means initialisation.

    Raises:
        InputError: no row is finite.
    """
    descriptors = np.asarray(descriptors, dtype=np.float64)
    groups = np.asarray(groups)
    if descriptors.ndim != 2 or groups.shape != descriptors.shape[:1]:
        raise ValueError("descriptors must be (n, n_features) and groups (n,)")
    usable = np.flatnonzero(np.isfinite(descriptors).all(axis=1))
    if len(usable) == 0:
        raise InputError(
            f"nothing to select from: none of {len(descriptors)} structures has a finite descriptor"
        )
    projection = Projection.of(descriptors[usable], settings.n_components, settings.standardise)
    points = projection.places(descriptors[usable])

    labels = np.full(len(descriptors), -1)
    picks: list[tuple[int, int, int]] = []  # (size, index, provisional label)
    scopes = (
        [np.arange(len(usable))]
        if settings.scope == "union"
        else [np.flatnonzero(groups[usable] == group) for group in np.unique(groups[usable])]
    )
    for members in scopes:
        assigned, nearest = _cluster(points[members], settings.n_picks, seed)
        offset = len(picks)
        labels[usable[members]] = assigned + offset
        sizes = np.bincount(assigned, minlength=len(nearest))
        picks.extend(
            (int(sizes[c]), int(usable[members[row]]), offset + c) for c, row in enumerate(nearest)
        )
    picks.sort(key=lambda pick: (-pick[0], pick[1]))

    rank = np.empty(len(picks), dtype=int)
    rank[[label for _, _, label in picks]] = np.arange(len(picks))
    labels[usable] = rank[labels[usable]]
    pca = np.full((len(descriptors), points.shape[1]), np.nan)
    pca[usable] = points
    n_unusable = len(descriptors) - len(usable)
    return Selection.of(
        "kmeans",
        [index for _, index, _ in picks],
        labels,
        pca=pca,
        explained_variance=projection.explained_variance,
        n_unusable={"descriptor not finite": n_unusable} if n_unusable else {},
    )


@dataclass(frozen=True)
class Projection:
    """A fitted PCA that can project further structures.

    Attributes:
        mean, scale: (n_features,) shift and divisor of the features.
        components: (n_components, n_features) directions, zero beyond the rank.
        explained_variance: fraction of the variance per component.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    explained_variance: list[float]

    @classmethod
    def of(cls, features: np.ndarray, n_components: int, standardise: bool = False) -> Projection:
        """Fit to (n, n_features) features; rows that are not finite are ignored."""
        features = np.asarray(features, dtype=np.float64)
        features = features[np.isfinite(features).all(axis=1)]
        n_features = features.shape[1]
        mean = features.mean(axis=0) if len(features) else np.zeros(n_features)
        scale = np.ones(n_features)
        if standardise and len(features):
            deviation = features.std(axis=0)
            # Do not amplify the rounding errors of constant features.
            varying = deviation > 1e-12 * max(1.0, float(np.abs(features).max()))
            scale = np.where(varying, deviation, np.inf)
        centred = (features - mean) / scale
        components = np.zeros((n_components, n_features))
        explained = [0.0] * n_components
        rank = min(n_components, *features.shape)
        if rank and np.any(np.abs(centred) > 0):  # otherwise all structures are one point
            from sklearn.decomposition import PCA

            pca = PCA(
                n_components=rank,
                svd_solver="full" if min(features.shape) < 3 else "covariance_eigh",
            ).fit(centred)
            components[:rank] = pca.components_
            explained[:rank] = [float(share) for share in pca.explained_variance_ratio_]
        return cls(mean, scale, components, explained)

    def places(self, features: np.ndarray) -> np.ndarray:
        """Return the coordinates (n, n_components) of structures; NaN for rows not finite."""
        features = np.asarray(features, dtype=np.float64)
        finite = np.isfinite(features).all(axis=1)
        points = np.full((len(features), len(self.components)), np.nan)
        points[finite] = ((features[finite] - self.mean) / self.scale) @ self.components.T
        return points


def _cluster(points: np.ndarray, n_picks: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """Return the cluster of each point, and the row nearest to each centroid."""
    extent = float(np.ptp(points, axis=0).max()) or 1.0
    distinct = np.unique(np.rint(points / (extent * _SAME_POINT)), axis=0, return_inverse=True)
    n_distinct = len(distinct[0])
    if n_distinct <= n_picks:
        assigned = np.asarray(distinct[1]).reshape(-1)
        nearest = [int(np.flatnonzero(assigned == c)[0]) for c in range(n_distinct)]
        return assigned, nearest
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    # One thread: sums over threads depend on the number of cores.
    with threadpool_limits(limits=1):
        model = KMeans(n_clusters=n_picks, n_init=_N_INIT, random_state=seed).fit(points)
    assigned = model.labels_.astype(int)
    nearest = []
    for cluster, centroid in enumerate(model.cluster_centers_):
        rows = np.flatnonzero(assigned == cluster)
        distance = ((points[rows] - centroid) ** 2).sum(axis=1)
        # Ties within rounding: the first.
        near = distance <= distance.min() + (extent * _SAME_POINT) ** 2
        nearest.append(int(rows[np.flatnonzero(near)[0]]))
    return assigned, nearest
