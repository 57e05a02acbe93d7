"""What a user can set for the networks of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from logan_campaign.core.ids import content_id
from logan_campaign.core.settings import SpecModel
from logan_campaign.descriptors.settings import (
    CutoffRadius,
    NeighbourCount,
    RadialBasis,
    RadialOrder,
)
from logan_campaign.generators.target import Target

if TYPE_CHECKING:
    from logan_campaign.descriptors.kernel import Descriptor

#: Raised by hand whenever the same inputs give other results.
ALGORITHM_VERSION = 1

Width = Annotated[int, Field(ge=1, le=8192)]


class Hyperparameters(SpecModel):
    """Everything that can be set for one model; the defaults are the paper's for molecules."""

    model_config = ConfigDict(frozen=True)

    method: Literal["wgan"] = Field(
        "wgan",
        exclude=True,  # the ids of models are older than the choice
        description="How structures are made",
    )
    radial: RadialBasis = "bessel"
    r_cut: CutoffRadius = 5.0
    n_max: RadialOrder = 3
    n_neighbour: NeighbourCount = 12
    cutoff: Literal["faithful", "smooth"] = Field(
        "faithful",
        description="'faithful': exactly the nearest n_neighbour atoms, as published; "
        "'smooth': atoms fade out before they leave",
    )
    latent_size: int = Field(20, ge=1, le=4096, description="Latent variables")
    generator_widths: tuple[Width, ...] = Field(
        (512, 256, 128, 64, 32), min_length=1, description="Hidden layers of the generator"
    )
    critic_widths: tuple[Width, ...] = Field(
        (256, 128, 64, 32), min_length=1, description="Hidden layers of the critic"
    )
    batch_size: int = Field(15, ge=1, le=4096, description="Structures per update")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="RMSProp learning rate")
    critic_updates: int = Field(5, ge=1, le=100, description="Critic updates per generator update")
    penalty_updates: int = Field(
        10, ge=0, le=100, description="Gradient-penalty updates per generator update"
    )
    rattle_copies: int = Field(
        20, ge=1, le=1000, description="Copies of each training structure, each rattled anew"
    )
    rattle_stdev: float = Field(
        0.05, ge=0, le=1, description="Standard deviation of the rattling per coordinate (Å)"
    )
    environments_per_species: int | None = Field(
        None,
        ge=1,
        description="Environments drawn per species from each copy; null takes all of them",
    )
    initial_spread: float = Field(
        1.0,
        ge=0,
        le=10,
        description="Spread of the atoms at the start, as standard deviation of the network's "
        "output biases; 0 starts all atoms at the centre of the cell, as published",
    )
    steps: int = Field(60_001, ge=1, le=10_000_000, description="Generator updates")

    def descriptor(self, species: tuple[int, ...]) -> Descriptor:
        """Return the descriptor that these hyperparameters define for some species."""
        from logan_campaign.descriptors.kernel import Descriptor  # brings JAX

        return Descriptor(
            species, self.radial, self.r_cut, self.n_max, self.n_neighbour, self.cutoff
        )


def model_id(
    training_set_id: str,
    target: Target,
    hyperparameters: Hyperparameters,
    seed: int,
    start_id: str | None = None,
) -> str:
    """Return the id of the model that these inputs and this algorithm version train.

    Args:
        training_set_id: set that is trained on.
        target: atoms and cell to generate.
        hyperparameters: everything that can be set.
        seed: of the training.
        start_id: model whose weights the training went on from; None for fresh weights.
    """
    inputs = {
        "training_set_id": training_set_id,
        "target": target.as_dict(),
        "hyperparameters": hyperparameters.model_dump(mode="json"),
        "seed": int(seed),
        "algorithm_version": ALGORITHM_VERSION,
    }
    if start_id is not None:
        inputs["start_id"] = start_id
    return content_id("model", inputs)
