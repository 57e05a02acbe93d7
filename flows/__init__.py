"""Jobs and Makers: thin wrappers that call the science and return documents."""

if __name__ != "logan_campaign.flows":
    # A Maker defined as `flows.x` would be serialised under that name, and a worker
    # without this folder on its path would silently decode it to a plain dictionary.
    raise ImportError(f"import this package as 'logan_campaign.flows', not as {__name__!r}")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logan_campaign.flows.campaign import CampaignMaker
    from logan_campaign.flows.data import LeakageMaker, TrainingSetMaker
    from logan_campaign.flows.generate import GenerateMaker
    from logan_campaign.flows.judge import ClassifyMaker, CompareMaker, ScreenMaker
    from logan_campaign.flows.known import KnownEntriesMaker
    from logan_campaign.flows.learned import LearnedSetMaker
    from logan_campaign.flows.levels import RelaxLevelMaker, RelaxLevelsMaker
    from logan_campaign.flows.reference import ElementMaker, ReferenceMaker
    from logan_campaign.flows.relax import (
        ASECalculatorRelaxMaker,
        GPAWRelaxMaker,
        GPAWStaticMaker,
        XTBRelaxMaker,
    )
    from logan_campaign.flows.rounds import NextRoundMaker, RoundMaker
    from logan_campaign.flows.select import SelectMaker
    from logan_campaign.flows.train import TrainMaker

__all__ = [
    "ASECalculatorRelaxMaker",
    "CampaignMaker",
    "ClassifyMaker",
    "CompareMaker",
    "ElementMaker",
    "GPAWRelaxMaker",
    "GPAWStaticMaker",
    "GenerateMaker",
    "KnownEntriesMaker",
    "LeakageMaker",
    "LearnedSetMaker",
    "NextRoundMaker",
    "ReferenceMaker",
    "RelaxLevelMaker",
    "RelaxLevelsMaker",
    "RoundMaker",
    "ScreenMaker",
    "SelectMaker",
    "TrainMaker",
    "TrainingSetMaker",
    "XTBRelaxMaker",
]

_MODULES = {
    "campaign": ("CampaignMaker",),
    "data": ("LeakageMaker", "TrainingSetMaker"),
    "generate": ("GenerateMaker",),
    "known": ("KnownEntriesMaker",),
    "judge": ("ClassifyMaker", "CompareMaker", "ScreenMaker"),
    "learned": ("LearnedSetMaker",),
    "levels": ("RelaxLevelMaker", "RelaxLevelsMaker"),
    "reference": ("ElementMaker", "ReferenceMaker"),
    "relax": ("ASECalculatorRelaxMaker", "GPAWRelaxMaker", "GPAWStaticMaker", "XTBRelaxMaker"),
    "rounds": ("NextRoundMaker", "RoundMaker"),
    "select": ("SelectMaker",),
    "train": ("TrainMaker",),
}


def __getattr__(name: str) -> Any:
    # imported on first use: the local runner needs this package but not JAX and RDKit
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
