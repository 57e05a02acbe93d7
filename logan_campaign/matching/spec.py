"""Settings of matching, as they stand in a spec."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Tolerance = Literal["strict", "default", "loose"]
MoleculeIdentity = Literal["smiles", "smiles-stereo", "inchi"]


class MatchingSpec(BaseModel):
    """When candidates count as the same as a known entry or as one another."""

    model_config = ConfigDict(extra="forbid")

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
    identity: MoleculeIdentity = Field(
        "smiles",
        description="Molecules: canonical SMILES without stereo, with stereo, or InChI",
    )
