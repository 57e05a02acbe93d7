"""k-means selection: few picks that stand for all structures."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from logan_campaign.core.errors import InputError
from logan_campaign.selection import KMeansSelection, select_kmeans

CENTRES = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])


def blobs(sizes: tuple[int, ...], n_features: int = 6, seed: int = 0) -> np.ndarray:
    """Return descriptors in well separated clusters, embedded in ``n_features``."""
    rng = np.random.default_rng(seed)
    points = np.repeat(CENTRES[: len(sizes)], sizes, axis=0)
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0][:2]
    return (points + rng.normal(0, 0.1, points.shape)) @ rotation + 3.0


def pick(descriptors: np.ndarray, groups: np.ndarray | None = None, seed: int = 0, **settings):
    groups = np.zeros(len(descriptors), dtype=int) if groups is None else groups
    return select_kmeans(descriptors, groups, KMeansSelection(**settings), seed)


def test_every_cluster_gives_the_structure_nearest_to_its_centroid() -> None:
    sizes = (40, 30, 20, 10)
    descriptors = blobs(sizes)
    chosen = pick(descriptors, n_picks=4)
    truth = np.repeat(np.arange(4), sizes)
    # largest cluster first
    assert truth[chosen.indices].tolist() == [0, 1, 2, 3]
    assert chosen.represents.tolist() == list(sizes)
    assert chosen.clusters.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(chosen.labels, truth)
    for cluster in range(4):
        members = np.flatnonzero(truth == cluster)
        distance = np.linalg.norm(descriptors[members] - descriptors[members].mean(0), axis=1)
        assert chosen.indices[cluster] == members[distance.argmin()]


def test_the_map_is_the_pca() -> None:
    descriptors = blobs((30, 30, 30))
    chosen = pick(descriptors, n_picks=3)
    assert chosen.pca.shape == (90, 2)
    # two components hold all of a planar cloud: distances are kept
    original = np.linalg.norm(descriptors[0] - descriptors, axis=1)
    np.testing.assert_allclose(np.linalg.norm(chosen.pca[0] - chosen.pca, axis=1), original)
    assert sum(chosen.explained_variance) == pytest.approx(1.0)
    assert chosen.explained_variance[0] >= chosen.explained_variance[1]


@pytest.mark.parametrize("scope", ["union", "per_model"])
def test_the_same_seed_gives_the_same_picks_and_moving_the_cloud_changes_nothing(
    scope: str,
) -> None:
    rng = np.random.default_rng(1)
    descriptors = rng.normal(size=(300, 12))
    groups = np.arange(300) % 3
    first = pick(descriptors, groups, seed=5, n_picks=7, scope=scope)
    again = pick(descriptors.copy(), groups, seed=5, n_picks=7, scope=scope)
    moved = pick(descriptors * 8 + 64, groups, seed=5, n_picks=7, scope=scope)
    for other in (again, moved):
        np.testing.assert_array_equal(first.indices, other.indices)
        np.testing.assert_array_equal(first.labels, other.labels)


def test_every_model_gives_its_own_picks() -> None:
    descriptors = np.concatenate([blobs((30, 20)), blobs((15, 10))])
    groups = np.repeat([7, 2], [50, 25])
    chosen = pick(descriptors, groups, n_picks=2, scope="per_model")
    assert sorted(groups[chosen.indices].tolist()) == [2, 2, 7, 7]
    assert chosen.represents.tolist() == [30, 20, 15, 10]
    assert len(np.unique(chosen.labels)) == 4
    np.testing.assert_array_equal(chosen.labels[chosen.indices], chosen.clusters)


def test_fewer_distinct_structures_than_picks_give_one_pick_each() -> None:
    descriptors = np.repeat(np.random.default_rng(0).normal(size=(3, 5)), [2, 5, 1], axis=0)
    chosen = pick(descriptors, n_picks=10)
    assert chosen.indices.tolist() == [2, 0, 7]
    assert chosen.represents.tolist() == [5, 2, 1]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_identical_structures_are_one(n: int) -> None:
    chosen = pick(np.ones((n, 4)), n_picks=3)
    assert chosen.indices.tolist() == [0]
    assert chosen.represents.tolist() == [n]
    assert np.isfinite(chosen.pca).all()


def test_fewer_features_than_components_are_no_obstacle() -> None:
    chosen = pick(np.arange(6.0)[:, None], n_picks=2, n_components=3)
    assert chosen.pca.shape == (6, 3)
    assert len(chosen.indices) == 2


def test_rows_that_are_not_finite_are_passed_over_and_counted() -> None:
    descriptors = blobs((20, 10))
    descriptors[3, 1] = np.nan
    descriptors[25, 0] = np.inf
    chosen = pick(descriptors, n_picks=2)
    assert chosen.n_unusable == {"descriptor not finite": 2}
    assert chosen.labels[[3, 25]].tolist() == [-1, -1]
    assert np.isnan(chosen.pca[[3, 25]]).all()
    assert chosen.represents.tolist() == [19, 9]
    with pytest.raises(InputError, match="none of 2 structures has a finite descriptor"):
        pick(np.full((2, 3), np.nan), n_picks=1)


def test_standardising_gives_every_feature_the_same_weight() -> None:
    rng = np.random.default_rng(0)
    loud = rng.normal(0, 100.0, 200)
    quiet = np.repeat([0.0, 1.0], 100) + rng.normal(0, 0.01, 200)
    # the two classes show in two quiet features and not in the loud one
    descriptors = np.stack([loud, quiet, quiet, np.full(200, 0.1)], axis=1)

    def classes(standardise: bool) -> set[int]:
        chosen = pick(descriptors, n_picks=2, n_components=1, standardise=standardise)
        return set((chosen.indices // 100).tolist())

    plain = pick(descriptors, n_picks=2, n_components=1)
    assert abs(np.corrcoef(plain.pca[:, 0], loud)[0, 1]) > 0.99
    assert classes(standardise=True) == {0, 1}


def test_settings_are_checked_and_descriptor_settings_are_the_papers() -> None:
    assert KMeansSelection().descriptor.model_dump() == {
        "radial": "bessel",
        "r_cut": 5.0,
        "n_max": 4,
        "n_neighbour": 20,
    }
    with pytest.raises(ValidationError):
        KMeansSelection(n_picks=0)
    with pytest.raises(ValidationError):
        KMeansSelection(scope="all")
    with pytest.raises(ValueError, match="descriptors must be"):
        pick(np.ones((3, 2)), np.zeros(2), n_picks=1)
