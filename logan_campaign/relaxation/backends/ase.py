"""Any ASE calculator, by the name of a function that returns it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, JsonValue

from logan_campaign.relaxation.base import LEVEL_NAME, CalculatorLevel, Setup
from logan_campaign.relaxation.checks import check_target, load_target

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.core.documents import TargetKind


class ASELevel(CalculatorLevel):
    """Any ASE calculator, by ``module:function`` or by entry point.

    Entry points are looked up in the group ``logan_campaign.calculators``. The target is
    called with ``kwargs`` and returns an ASE calculator: a spec with such a level runs code,
    so it must come from someone you trust. ``kwargs`` are stored with every result and
    must not contain keys or passwords.
    """

    calculator: Literal["ase"] = "ase"
    isolate: bool = Field(
        True,
        description="Run in a separate process: a crash or hang then costs one candidate",
    )
    name: str = Field("ase", pattern=LEVEL_NAME, description="Name")
    target: str = Field(
        pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?$",
        description="'module:function', or the name of an entry point",
    )
    kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Arguments of the target; stored with the results"
    )

    def check(self, species: Iterable[str], kind: TargetKind) -> None:
        """Check that the target exists and accepts the arguments. See :meth:`Level.check`."""
        super().check(species, kind)
        check_target(self.where, self.target, self.kwargs)

    def make_calculator(self, atoms: Atoms, setup: Setup) -> Any:
        """Return the target's calculator. See :meth:`CalculatorLevel.make_calculator`."""
        return load_target(self.target)(**self.kwargs)
