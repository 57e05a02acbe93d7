"""Settings of random generation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from logan_campaign.generators.base import HISTORY_KEYS, Method, Model, TrainingResult

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.generators.target import Target


class RandomStructures(Method):
    """Random structures: crystals with space groups, molecules with valid bonds."""

    file_format: ClassVar[str] = "logan-campaign random structures"
    algorithm_version: ClassVar[int] = 1
    any_composition: ClassVar[bool] = True
    needs_training: ClassVar[bool] = False

    method: Literal["random"] = Field("random", description="Method of generation")
    tries: int = Field(
        32,
        ge=1,
        le=1000,
        description="Random positions to try for each structure without a molecular graph; those "
        "with the longest shortest distance are kept",
    )

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
        """Return the generator, which learns nothing. See :meth:`Method.train`."""
        from logan_campaign.generators.random.model import RandomModel

        history: dict[str, list[float]] = {name: [] for name in HISTORY_KEYS}
        return TrainingResult(RandomModel(self, target), history, "trained", "", 0, 0.0)

    @classmethod
    def load(cls, content: bytes) -> Model:
        """Return the generator in a file. See :meth:`Method.load`."""
        from logan_campaign.generators.random.model import RandomModel

        return RandomModel.from_bytes(content)
