"""Settings of matching, as they stand in a spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from logan_campaign.core.documents import MoleculeIdentity
from logan_campaign.core.settings import SpecModel

Tolerance = Literal["strict", "default", "loose"]
MatchingMode = Literal["exact", "prefilter"]


class MatchingSpec(SpecModel):
    """When candidates count as the same as a known entry or as one another."""

    tolerance: Tolerance = Field(
        "default", description="Crystals after relaxation: StructureMatcher's tolerances"
    )
    before_relaxation: bool = Field(
        True,
        description="Drop raw candidates that equal a training entry or an earlier candidate",
    )
    tolerance_before_relaxation: Tolerance = Field(
        "strict", description="Crystals before relaxation: StructureMatcher's tolerances"
    )
    mode: MatchingMode = Field(
        "exact",
        description="Crystals: 'exact' compares every pair with equal composition and number "
        "of sites; 'prefilter' passes over those with unlike fingerprints",
    )
    identity: MoleculeIdentity = Field(
        "smiles",
        description="Molecules: canonical SMILES without stereo, with stereo, or InChI",
    )
    conformer_rmsd: float | None = Field(
        None,
        gt=0,
        description="Molecules: conformers farther apart than this (aligned RMSD, Å) count as "
        "different; left out, all conformers of a molecule are the same",
    )
    rmsd: float = Field(
        0.25,
        gt=0,
        le=2,
        description="Clusters, radicals and ions: geometries nearer than this are equal (aligned "
        "RMSD, Å, over all orders of equal atoms and both mirror images)",
    )
    other_campaigns: bool = Field(
        True,
        description="Compare against what other campaigns in the same store have found as well, "
        "as far as they have come when this one starts",
    )
    index: str | None = Field(
        None,
        min_length=1,
        description="Store with an index of known entries (made by 'logan-campaign known add'); "
        "those of the target's composition are compared against",
    )

    @field_validator("index")
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        # A spec is stored with the campaign and shown to people.
        credentials = (value or "").partition("://")[2].rpartition("@")[0]
        if ":" in credentials and "$" not in credentials:
            raise PydanticCustomError(
                "secret",
                "a password does not belong in a spec: write $NAME in its place and set that "
                "environment variable",
            )
        return value
