"""Settings that all methods share which compare the local environments of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from logan_campaign.descriptors.settings import (
    CutoffRadius,
    NeighbourCount,
    RadialBasis,
    RadialOrder,
)
from logan_campaign.generators.base import Method

if TYPE_CHECKING:
    from logan_campaign.descriptors.kernel import Descriptor

Copies = Annotated[
    int,
    Field(ge=1, le=1000, description="Rattled copies of each structure or environment"),
]


class EnvironmentMethod(Method):
    """Settings of descriptor and rattling; the defaults are the paper's for molecules."""

    radial: RadialBasis = "bessel"
    r_cut: CutoffRadius = 5.0
    n_max: RadialOrder = 3
    n_neighbour: NeighbourCount = 12
    cutoff: Literal["faithful", "smooth"] = Field(
        "faithful",
        description="'faithful': exactly the nearest n_neighbour atoms, as published; "
        "'smooth': the weight of atoms vanishes at the cutoff",
    )
    rattle_copies: Copies = 20
    rattle_stdev: float = Field(
        0.05, ge=0, le=1, description="Standard deviation of the rattling per coordinate (Å)"
    )

    def descriptor(self, species: tuple[int, ...]) -> Descriptor:
        """Return the descriptor that these settings define for some species."""
        from logan_campaign.descriptors.kernel import Descriptor  # brings JAX

        return Descriptor(
            species, self.radial, self.r_cut, self.n_max, self.n_neighbour, self.cutoff
        )
