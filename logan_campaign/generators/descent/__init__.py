"""Structures without a generator: coordinates descend to the training set's environments."""

from logan_campaign.generators.descent.model import (
    ALGORITHM_VERSION,
    FORMAT,
    DescentModel,
    model_id,
)
from logan_campaign.generators.descent.reference import fit
from logan_campaign.generators.descent.settings import DescentHyperparameters

__all__ = [
    "ALGORITHM_VERSION",
    "FORMAT",
    "DescentHyperparameters",
    "DescentModel",
    "fit",
    "model_id",
]
