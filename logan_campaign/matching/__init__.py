"""When two crystals are the same, by lattice and sites; what both kinds are matched by."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logan_campaign.matching.crystals import (
        CrystalMatch,
        CrystalMatcher,
        Distance,
        KnownCrystals,
    )
    from logan_campaign.matching.spec import MatchingSpec

__all__ = [
    "CrystalMatch",
    "CrystalMatcher",
    "Distance",
    "KnownCrystals",
    "MatchingSpec",
]

_MODULES = {
    "crystals": ("CrystalMatch", "CrystalMatcher", "Distance", "KnownCrystals"),
    "spec": ("MatchingSpec",),
}


def __getattr__(name: str) -> Any:
    # imported on first use: what only names a tolerance needs no StructureMatcher
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
