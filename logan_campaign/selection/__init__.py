"""Which of the generated structures go on: few, and different from one another."""

import numpy as np

from logan_campaign.selection.base import Selection
from logan_campaign.selection.kmeans import KMeansSelection, select_kmeans

__all__ = ["KMeansSelection", "Selection", "SelectionSpec", "select", "select_kmeans"]

#: Strategies as they stand in a spec, told apart by ``strategy``.
SelectionSpec = KMeansSelection


def select(
    descriptors: np.ndarray, groups: np.ndarray, spec: SelectionSpec, seed: int
) -> Selection:
    """Pick structures by the strategy that ``spec`` names; see :func:`select_kmeans`."""
    return select_kmeans(descriptors, groups, spec, seed)
