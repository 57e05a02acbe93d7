"""Post-processing of raw numbers to structures in cells and boxes."""

from __future__ import annotations

from logan_campaign.generators.cells.base import PostProcessing as PostProcessing
from logan_campaign.generators.cells.clustered import ClusterInBox as ClusterInBox
from logan_campaign.generators.cells.fixed import FixedCell as FixedCell
from logan_campaign.generators.cells.given import BesideGiven as BesideGiven
from logan_campaign.generators.cells.symmetric import SymmetricCrystal as SymmetricCrystal
from logan_campaign.generators.cells.symmetric import check_symmetry as check_symmetry
from logan_campaign.generators.cells.varied import VariedCell as VariedCell
from logan_campaign.generators.target import Target


def post_processing(target: Target) -> PostProcessing:
    """Return the post-processing of a target."""
    if target.symmetry is not None:
        return SymmetricCrystal(target)
    if target.given:
        return BesideGiven(target)
    if target.cluster:
        return ClusterInBox(target)
    return FixedCell(target) if target.lattice == "fixed" else VariedCell(target)
