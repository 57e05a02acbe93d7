"""Which of the generated structures go on: few, and different from one another."""

from logan_campaign.selection.base import Selection
from logan_campaign.selection.kmeans import KMeansSelection, select_kmeans

#: Strategies as they stand in a spec, told apart by ``strategy``.
SelectionSpec = KMeansSelection

__all__ = ["KMeansSelection", "Selection", "SelectionSpec", "select_kmeans"]
