"""Settings of the descriptor as they stand in specs: one definition of each, with its bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from logan_campaign.descriptors.radial import MAX_N_MAX

RadialBasis = Annotated[Literal["bessel", "gaussian"], Field(description="Radial basis")]

CutoffRadius = Annotated[float, Field(gt=0.5, le=20, description="Cutoff radius (Å)")]

RadialOrder = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_N_MAX,
        description="Resolution: (n_max+1)(n_max+2)/2 radial functions per pair of species",
    ),
]

NeighbourCount = Annotated[
    int, Field(ge=1, le=512, description="Largest number of neighbours in a descriptor")
]
