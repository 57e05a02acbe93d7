"""Settings of generation by descent."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from logan_campaign.core.errors import InputError
from logan_campaign.descriptors.settings import CutoffRadius, NeighbourCount
from logan_campaign.generators.base import HISTORY_KEYS, Model, TrainingResult
from logan_campaign.generators.settings import Copies, EnvironmentMethod

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.generators.target import Target


#: Cutoff radius: of molecules (Å), and of crystals in cube roots of the volume per atom. The
#: latter holds 34 atoms. Of 1.8 to 2.4 it told right crystals from random ones most often.
_R_CUT, _R_CUT_IN_SPACINGS = 6.0, 2.0


class DescentHyperparameters(EnvironmentMethod):
    """Settings of one model; docs/benchmarks/descent.md explains the defaults."""

    file_format: ClassVar[str] = "logan-campaign descent model"
    algorithm_version: ClassVar[int] = 3
    any_composition: ClassVar[bool] = True

    method: Literal["descent"] = Field("descent", description="Method of generation")
    r_cut: CutoffRadius | None = Field(  # type: ignore[assignment]
        None,
        description="Cutoff radius (Å); null: 6 Å, in crystals twice the cube root of the "
        "volume per atom if that is less",
    )
    n_neighbour: NeighbourCount = 40
    rattle_copies: Copies = 24
    rattle_stdev: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Standard deviation of the rattling per coordinate (Å), which sets the unit "
        "in which environments are compared",
    )
    references: int = Field(
        500, ge=1, le=100_000, description="Maximum number of environments per species"
    )
    variance_floor: float = Field(
        1e-3,
        gt=0,
        le=1,
        description="Lower bound on the variance of directions in descriptor space, as a fraction "
        "of the largest variance",
    )
    first_bandwidth: float = Field(
        10.0,
        gt=0,
        le=100,
        description="Initial width of the kernels, in units of what the rattling "
        "does to an environment",
    )
    last_bandwidth: float = Field(
        1.0, gt=0, le=100, description="Final width of the kernels, in the same units"
    )
    first_step: float = Field(
        0.1, gt=0, le=10, description="Initial step of the optimiser (Adam), in raw outputs"
    )
    last_step: float = Field(
        5e-3, gt=0, le=10, description="Final step of the optimiser, in raw outputs"
    )
    spread_steps: int = Field(
        20,
        ge=0,
        le=10_000,
        description="Steps of repulsion between close atoms of crystals before the descent",
    )
    descent_steps: int = Field(400, ge=1, le=100_000, description="Steps of one descent")
    keep: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Fraction of the descents to keep, those with the lowest misfit to the "
        "training set's environments",
    )

    exchange: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Molecules: fraction of the descents that start from the molecular graph of an "
        "earlier structure with two or three bonds exchanged",
    )
    exchange_bandwidth: float = Field(
        1.0, gt=0, le=100, description="Initial width of the kernels in such a descent"
    )
    exchange_step: float = Field(
        0.01, gt=0, le=10, description="Initial step of the optimiser in such a descent"
    )
    exchange_steps: int = Field(25, ge=1, le=100_000, description="Steps of such a descent")

    def for_target(self, target: Target) -> DescentHyperparameters:
        """Return the settings with the cutoff radius that suits a target."""
        if self.r_cut is not None:
            return self
        r_cut = _R_CUT
        if target.periodic:
            r_cut = min(r_cut, round(_R_CUT_IN_SPACINGS * target.volume_per_atom ** (1 / 3), 2))
        return self.model_copy(update={"r_cut": r_cut})

    @model_validator(mode="after")
    def _schedules_fall(self) -> DescentHyperparameters:
        for name in ("bandwidth", "step"):
            last = getattr(self, f"last_{name}")
            for start in ("first", "exchange"):
                first = getattr(self, f"{start}_{name}")
                if last > first:
                    raise ValueError(
                        f"last_{name} ({last}) is larger than {start}_{name} ({first})"
                    )
        return self

    def check(self, elements: Collection[object], periodic: bool) -> None:
        """Check that groups of atoms can change places. See :meth:`Method.check`."""
        if self.exchange and (periodic or len(set(elements)) == 1):
            raise InputError(
                "models.hyperparameters: 'exchange' is for molecules of several elements; leave "
                "it out for this target"
            )

    def identity(self, varied: Collection[str] = ()) -> dict[str, Any]:
        """Return what the structures depend on. See :meth:`Method.identity`."""
        said = super().identity(varied)
        if not self.exchange and "exchange" not in varied:
            said = {name: value for name, value in said.items() if not name.startswith("exchange")}
        return said

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
        """Keep the environments to descend to. See :meth:`Method.train`."""
        from logan_campaign.generators.descent.model import DescentModel

        if start is not None:
            raise InputError("a model of the method 'descent' has no weights to go on from")
        begun = time.monotonic()
        model = DescentModel.fit(
            structures, target, self, seed=seed, training_set_id=training_set_id
        )
        history: dict[str, list[Any]] = {name: [] for name in HISTORY_KEYS}
        return TrainingResult(model, history, "trained", "", 0, time.monotonic() - begun)

    @classmethod
    def load(cls, content: bytes) -> Model:
        """Return the environments in a file. See :meth:`Method.load`."""
        from logan_campaign.generators.descent.model import DescentModel

        return DescentModel.from_bytes(content)
