"""The paper's filter: PCA of the structure descriptors, k-means, nearest to each centroid."""

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

# Restarts of k-means; fixed, since scikit-learn's default is not.
_N_INIT = 10

# Points of the map nearer than this share of its extent are one point.
_SAME_POINT = 1e-9


class KMeansSelection(SelectionBase):
    """Settings of k-means selection."""

    strategy: Literal["kmeans"] = "kmeans"
    scope: Literal["union", "per_model"] = Field(
        "union", description="Cluster all structures together, or those of each model apart"
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

    One PCA is made of all structures. With ``scope='per_model'`` every group is clustered
    apart and gives ``n_picks`` structures. Where fewer distinct points exist than picks
    were asked for, every distinct point gives one. Picks come by size of cluster, largest
    first, then by index; the result depends on nothing but the arguments.

    Args:
        descriptors: (n, n_features) structure descriptors (paper eq. 8); rows that are not
            finite are passed over and counted.
        groups: (n,) which model each structure comes from.
        settings: strategy settings.
        seed: seed of the k-means initialisation.

    Raises:
        InputError: if no row is finite.
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
    """A PCA that can place further structures in its map.

    Attributes:
        mean, scale: (n_features,) what features are shifted and divided by.
        components: (n_components, n_features) directions, zero where there are no more.
        explained_variance: share of the variance per component.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    explained_variance: list[float]

    @classmethod
    def of(cls, features: np.ndarray, n_components: int, standardise: bool = False) -> Projection:
        """Fit to (n, n_features) features; rows that are not finite are left out."""
        features = np.asarray(features, dtype=np.float64)
        features = features[np.isfinite(features).all(axis=1)]
        n_features = features.shape[1]
        mean = features.mean(axis=0) if len(features) else np.zeros(n_features)
        scale = np.ones(n_features)
        if standardise and len(features):
            deviation = features.std(axis=0)
            # Features that do not vary carry nothing; do not blow up their rounding errors.
            varying = deviation > 1e-12 * max(1.0, float(np.abs(features).max()))
            scale = np.where(varying, deviation, np.inf)
        centred = (features - mean) / scale
        components = np.zeros((n_components, n_features))
        explained = [0.0] * n_components
        rank = min(n_components, *features.shape)
        if rank and np.any(np.abs(centred) > 0):  # else all the same: one point
            from sklearn.decomposition import PCA

            pca = PCA(
                n_components=rank,
                svd_solver="full" if min(features.shape) < 3 else "covariance_eigh",
            ).fit(centred)
            components[:rank] = pca.components_
            explained[:rank] = [float(share) for share in pca.explained_variance_ratio_]
        return cls(mean, scale, components, explained)

    def places(self, features: np.ndarray) -> np.ndarray:
        """Return the (n, n_components) places of structures; NaN for rows not finite."""
        features = np.asarray(features, dtype=np.float64)
        finite = np.isfinite(features).all(axis=1)
        points = np.full((len(features), len(self.components)), np.nan)
        points[finite] = ((features[finite] - self.mean) / self.scale) @ self.components.T
        return points


def _cluster(points: np.ndarray, n_picks: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """Return cluster of each point and, per cluster, the row nearest to its centroid."""
    extent = float(np.ptp(points, axis=0).max()) or 1.0
    distinct = np.unique(np.rint(points / (extent * _SAME_POINT)), axis=0, return_inverse=True)
    n_distinct = len(distinct[0])
    if n_distinct <= n_picks:
        assigned = np.asarray(distinct[1]).reshape(-1)
        nearest = [int(np.flatnonzero(assigned == c)[0]) for c in range(n_distinct)]
        return assigned, nearest
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    # One thread: sums over threads come out differently from one number of cores to another.
    with threadpool_limits(limits=1):
        model = KMeans(n_clusters=n_picks, n_init=_N_INIT, random_state=seed).fit(points)
    assigned = model.labels_.astype(int)
    nearest = []
    for cluster, centroid in enumerate(model.cluster_centers_):
        rows = np.flatnonzero(assigned == cluster)
        distance = ((points[rows] - centroid) ** 2).sum(axis=1)
        # The first of those equally near, to within rounding.
        near = distance <= distance.min() + (extent * _SAME_POINT) ** 2
        nearest.append(int(rows[np.flatnonzero(near)[0]]))
    return assigned, nearest
