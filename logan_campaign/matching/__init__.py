"""When two structures are the same: molecules by graph, crystals by lattice and sites."""

from logan_campaign.matching.crystals import CrystalMatch, CrystalMatcher, Distance, KnownCrystals
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
