"""When two structures are the same: molecules by graph, crystals by lattice and sites."""

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
    from logan_campaign.matching.molecules import (
        canonical_smiles,
        conformer_rmsd,
        perceive,
        perceive_smiles,
    )
    from logan_campaign.matching.spec import MatchingSpec

__all__ = [
    "CrystalMatch",
    "CrystalMatcher",
    "Distance",
    "KnownCrystals",
    "MatchingSpec",
    "canonical_smiles",
    "conformer_rmsd",
    "perceive",
    "perceive_smiles",
]

_MODULES = {
    "crystals": ("CrystalMatch", "CrystalMatcher", "Distance", "KnownCrystals"),
    "molecules": ("canonical_smiles", "conformer_rmsd", "perceive", "perceive_smiles"),
    "spec": ("MatchingSpec",),
}


def __getattr__(name: str) -> Any:
    # imported on first use: what only names a tolerance needs no StructureMatcher
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
