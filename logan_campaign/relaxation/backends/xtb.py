"""GFN2-xTB through tblite."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from logan_campaign.relaxation.base import LEVEL_NAME, CalculatorLevel, Remedies, Setup
from logan_campaign.relaxation.checks import atomic_number

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.core.documents import TargetKind

#: GFN2-xTB has parameters up to radon.
_LAST_Z = 86

_REMEDIES: Remedies = (
    ("mixing", {"mixer_damping": 0.1}),
    # Warm electrons, for stretched bonds and radicals.
    ("smearing", {"electronic_temperature": 2000.0}),
)


class XTBLevel(CalculatorLevel):
    """GFN2-xTB through tblite; for molecules only: tblite has no k-points for crystals.

    C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019),
    doi:10.1021/acs.jctc.8b01176.
    """

    kinds: ClassVar[tuple[TargetKind, ...]] = ("molecule",)
    usual_batch: ClassVar[int] = 16

    calculator: Literal["gfn2-xtb"] = "gfn2-xtb"
    name: str = Field("xtb", pattern=LEVEL_NAME, description="Name")
    max_time_s: float | None = Field(120.0, gt=0, description="Wall-time budget (s)")
    relax_cell: Literal[False] = Field(False, description="Molecules have no cell")
    max_scf_iterations: int = Field(250, ge=1, description="Maximum number of SCF iterations")

    @property
    def remedies(self) -> Remedies:
        """Stronger damping, then warm electrons."""
        return _REMEDIES

    def check(self, species: Iterable[str], kind: TargetKind) -> None:
        """Check that tblite is installed and supports the elements. See :meth:`Level.check`."""
        super().check(species, kind)
        try:
            importlib.import_module("tblite.ase")
        except ImportError as err:
            self.refuse(
                f"tblite cannot be imported ({err}); get it with `pip install tblite` "
                "or `conda install -c conda-forge tblite-python`"
            )
        for symbol in species:
            if atomic_number(self.where, symbol) > _LAST_Z:
                self.refuse(f"GFN2-xTB has no parameters for {symbol} (it ends at Rn)")

    def make_calculator(self, atoms: Atoms, setup: Setup) -> Any:
        """Return tblite's calculator. See :meth:`CalculatorLevel.make_calculator`."""
        from tblite.ase import TBLite

        changed = {k: v for name, c in _REMEDIES if name in setup.remedies for k, v in c.items()}
        multiplicity = atoms.info.get("spin", 1)
        if multiplicity > 1:
            # without it, the energy hardly depends on how spins are aligned
            changed["spin_polarization"] = 1.0
        return TBLite(
            method="GFN2-xTB",
            charge=atoms.info.get("charge", 0),
            multiplicity=multiplicity,
            verbosity=0,
            max_iterations=self.max_scf_iterations,
            **changed,
        )
