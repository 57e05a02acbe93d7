"""Settings of the networks of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from logan_campaign.core.errors import InputError
from logan_campaign.generators.base import Model, TrainingResult
from logan_campaign.generators.settings import EnvironmentMethod

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.generators.target import Target

Width = Annotated[int, Field(ge=1, le=8192)]


class Hyperparameters(EnvironmentMethod):
    """Hyperparameters of one model; the defaults are the paper's for molecules."""

    file_format: ClassVar[str] = "logan-campaign model"
    algorithm_version: ClassVar[int] = 1

    method: Literal["wgan"] = Field(
        "wgan",
        exclude=True,  # excluded from ids, which are older than this setting
        description="Method of generation",
    )
    environments_per_species: int | None = Field(
        None, ge=1, description="Environments drawn per species from each copy; null: all"
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
    initial_spread: float = Field(
        1.0,
        ge=0,
        le=10,
        description="Initial spread of the atoms, as standard deviation of the network's output "
        "biases; 0: all atoms start at the centre of the cell, as published",
    )
    steps: int = Field(60_001, ge=1, le=10_000_000, description="Generator updates")

    def train(
        self,
        structures: Sequence[Atoms],
        target: Target,
        *,
        seed: int,
        training_set_id: str,
        start: Model | None = None,
        checkpoint: Path | None = None,
    ) -> TrainingResult[Model]:
        """Train a generator and a critic. See :meth:`Method.train`."""
        from logan_campaign.generators.wgan import training
        from logan_campaign.generators.wgan.model import LoganModel

        if start is not None and not isinstance(start, LoganModel):
            raise InputError(f"training cannot go on from {start.id}, which has no weights")
        return training.train(
            structures,
            target,
            self,
            seed=seed,
            training_set_id=training_set_id,
            start=start,
            checkpoint=checkpoint,
        )

    @classmethod
    def load(cls, content: bytes) -> Model:
        """Return the networks in a file. See :meth:`Method.load`."""
        from logan_campaign.generators.wgan.model import LoganModel

        return LoganModel.from_bytes(content)

    def can_start(self, start: Model, structures: Sequence[Atoms], target: Target) -> bool:
        """Return whether a model's networks fit. See :func:`training.can_start`."""
        from logan_campaign.generators.wgan import training
        from logan_campaign.generators.wgan.model import LoganModel

        return isinstance(start, LoganModel) and training.can_start(start, structures, target, self)
