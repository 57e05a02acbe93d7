"""The PCA map of all structures, picks and known structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from logan_campaign.core.documents import Geometry
from logan_campaign.descriptors import structure_descriptors
from logan_campaign.geometry.coordination import CoordinationRanges
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.selection.base import DescriptorSettings, Pool, Selection, SelectionBase
from logan_campaign.selection.kmeans import Projection


class Chart(NamedTuple):
    """A PCA map.

    Attributes:
        places: (n, n_components) positions of the structures to choose from, or NaN.
        known: (m, n_components) positions of the known structures.
        explained_variance: fraction of the variance per component.
    """

    places: np.ndarray
    known: np.ndarray
    explained_variance: list[float]


def chart(
    pool: Pool, selection: Selection, steps: Sequence[SelectionBase], known: Sequence[Geometry]
) -> Chart:
    """Return the PCA map with the descriptor of the first strategy, if it has one.

    Otherwise the map is that of the paper: its descriptor and two components.

    Args:
        pool: the structures to choose from.
        selection: the selection.
        steps: the strategies.
        known: known structures to place in the map.
    """
    settings = steps[0].map_settings()
    projection = Projection.of(
        pool.descriptors(settings.descriptor), settings.n_components, settings.standardise
    )
    described = [describe(structure, pool, settings.descriptor) for structure in known]
    return Chart(
        projection.places(pool.descriptors(settings.descriptor)),
        projection.places(np.stack(described))
        if described
        else np.zeros((0, settings.n_components)),
        projection.explained_variance,
    )


def describe(structure: Geometry, pool: Pool, settings: DescriptorSettings) -> np.ndarray:
    """Return the (n_features,) descriptor of any structure of the pool's species."""
    atoms = to_atoms(structure)
    return structure_descriptors(
        atoms.positions[None],
        atoms.cell.array[None],
        atoms.numbers,
        periodic=pool.periodic,
        species=sorted(set(pool.numbers.tolist())),
        **settings.model_dump(),
    )[0]


def learned_coordination(
    steps: Sequence[SelectionBase],
    training: Sequence[Geometry],
    screened_by: CoordinationRanges | None,
) -> str:
    """Describe the coordination ranges of the training set."""
    told = next((said for step in steps if (said := step.learned(training))), "")
    return told or (screened_by.describe() if screened_by is not None else "")
