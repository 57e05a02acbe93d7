"""The base of all levels of relaxation, and the interface for plugins.

A level is plain data, stored in YAML, in serialised Makers and in a worker's input file. Each
kind of level is a model with a literal ``calculator`` that contains its settings, checks and
calculator. Plugins derive from :class:`CalculatorLevel`, implement ``make_calculator``, and
register their class in the entry-point group ``logan_campaign.levels``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Never, Self

from pydantic import ConfigDict, Field

from logan_campaign.core.errors import InputError
from logan_campaign.core.registry import SpecRegistry
from logan_campaign.core.settings import SpecModel
from logan_campaign.potentials.settings import PotentialSettings

if TYPE_CHECKING:  # the worker process needs no pymatgen, and specs no ASE
    from ase import Atoms

    from logan_campaign.core.documents import TargetKind
    from logan_campaign.relaxation.box import Box
    from logan_campaign.relaxation.checkpoint import Checkpoint
    from logan_campaign.relaxation.engine import LoopResult
    from logan_campaign.relaxation.symmetry import SymmetryFrame

OptimizerName = Literal["FIRE", "FIRE2", "LBFGS", "BFGS", "surrogate"]

LEVEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"

#: Candidates per job, by default, if the later ones learn from the earlier ones.
_LEARNING_TOGETHER = 8

#: Remedies for an SCF cycle that does not converge, applied cumulatively in this order: name and
#: changed arguments of the calculator. They stay active until the end of the relaxation, so that
#: all its energies are consistent, and are recorded with the result.
Remedies = Sequence[tuple[str, dict[str, Any]]]


class Setup(NamedTuple):
    """Arguments of a calculator besides its level's settings."""

    remedies: Collection[str] = ()
    """Names of the active remedies."""
    frame: SymmetryFrame | None = None
    """Symmetry of a crystal shifted to that origin."""
    log_file: Path | None = None
    """Path of the calculator's log; None: no log."""
    restart: Path | None = None
    """Restart file of a calculator with the same arguments, if there is one."""


class Level(SpecModel, ABC):
    """Base of all levels."""

    model_config = ConfigDict(frozen=True)

    #: Supported kinds of target.
    kinds: ClassVar[tuple[TargetKind, ...]] = ("molecule", "crystal")
    #: Whether the isolated process is limited to the machine's memory by default.
    limits_memory: ClassVar[bool] = False
    #: Whether ``relax_atoms`` relaxes under ``pressure_gpa``.
    takes_pressure: ClassVar[bool] = False
    #: Default of candidates per job: several if one takes less time than the start of a job.
    usual_batch: ClassVar[int] = 1

    calculator: str = Field(description="Kind of level")
    name: str = Field(pattern=LEVEL_NAME, description="Name of the level")
    max_time_s: float | None = Field(600.0, gt=0, description="Wall-time budget (s); null: none")
    isolate: bool = Field(
        False, description="Run in a separate process, with restart after a crash of the job"
    )
    max_memory_mb: int | None = Field(
        None,
        ge=256,
        description="Maximum address space of the isolated process (MiB); null: GPAW all memory, "
        "others no limit",
    )
    relax_cell: bool = Field(False, description="Also relax the cell of crystals")
    pressure_gpa: float = Field(
        0.0,
        ge=-1000,
        le=1000,
        exclude_if=lambda value: not value,  # ids without pressure stay
        description="Pressure on crystals (GPa): enthalpies take the place of energies; "
        "relax.pressure_gpa sets it for all levels",
    )
    continuations: int = Field(
        0,
        ge=0,
        le=100,
        description="Number of further jobs, each with the same budgets, that continue a "
        "relaxation ended by max_steps or max_time_s",
    )
    candidates_per_job: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Candidates per job, relaxed in sequence; null: several at levels that take "
        "about a second or less, else 1",
    )
    energy_window_ev_per_atom: float | None = Field(
        None,
        gt=0,
        description="Largest energy above the lowest of this level to enter the next "
        "(eV/atom); null: no limit",
    )

    @property
    def where(self) -> str:
        """Name of the level in errors."""
        return f"level '{self.name}'"

    @property
    def learns(self) -> int:
        """Most frames of earlier relaxations that one learns from; 0 if it does not learn."""
        return 0

    @property
    def batch(self) -> int:
        """Candidates per job."""
        # a continuation uses the files of a single candidate
        return 1 if self.continuations else self.candidates_per_job or self.usual_batch

    @property
    def n_processes(self) -> int:
        """MPI processes per relaxation."""
        return 1

    def refuse(self, why: str) -> Never:
        """Raise the error that ends a check."""
        raise InputError(f"{self.where}: {why}")

    def check(self, species: Iterable[str], kind: TargetKind) -> None:
        """Check that the level can run here for these elements, before any job starts.

        Args:
            species: element symbols.
            kind: ``molecule`` or ``crystal``.

        Raises:
            InputError: one line that says what is missing and how to get it.
        """
        self.check_kind(kind)
        if kind == "molecule" and self.relax_cell:
            self.refuse("relax_cell is for crystals; a molecule has no cell")
        if self.pressure_gpa and (kind == "molecule" or not self.takes_pressure):
            what = "for crystals" if kind == "molecule" else f"not for {self.calculator}"
            self.refuse(f"pressure_gpa is {what}; leave it out")

    def check_kind(self, kind: TargetKind) -> None:
        """Raise InputError if the level is not for this kind of structure."""
        if kind not in self.kinds:
            self.refuse(f"{self.calculator} is for {self.kinds[0]}s, not for {kind}s")

    def check_varied_cell(self, lattice: str) -> None:
        """Raise InputError if energies of this level are not comparable between cells.

        Args:
            lattice: origin of the target's cell.
        """
        if not self.relax_cell:
            raise InputError(
                f"relax.levels: {self.name}: the target's cell is {lattice}, so the last level "
                "must relax it: set 'relax_cell: true' there"
            )

    def for_element(self, *, in_box: bool, spin: bool) -> Self:
        """Adapt the level to a chemical element, with comparable energies.

        Args:
            in_box: whether the element is a molecule in a box of fixed size.
            spin: whether the element is magnetic.
        """
        return self.model_copy(update={"relax_cell": not in_box})

    def data_sets(self, species: Iterable[str]) -> dict[str, str]:
        """Return name and checksum of the parameter files used, by element."""
        return {}

    def estimate_memory_mb(self, atoms: Atoms) -> float:
        """Return a lower estimate of the memory needed (MiB); 0 if unknown."""
        return 0.0

    def box(self, atoms: Atoms) -> Box | None:
        """Return the box in which a molecule is computed; None for no box."""
        return None

    @abstractmethod
    def relax_atoms(
        self,
        start: Atoms,
        *,
        folder: Path,
        earlier_steps: int = 0,
        checkpoint: Checkpoint | None = None,
        deadline: float | None = None,
        on_step: Callable[[int, float, float], None] | None = None,
    ) -> LoopResult:
        """Relax ``start`` in this process; every outcome is a state.

        Args:
            start: positions (Å); periodic in three directions or in none. Its constraints hold;
                ``info`` has the ``charge`` (e) and ``spin`` (multiplicity) of a molecule unless it
                is neutral with paired electrons, and ``cluster`` if parts may be far apart.
            folder: folder of the relaxation's files; if it does not exist, none are written.
            earlier_steps: steps in the checkpoint that do not count for the budget.
            checkpoint: receives the frames; the relaxation continues from its last frame.
            deadline: in terms of ``time.monotonic``; no step that would pass it is started.
            on_step: called with step, energy (eV) and largest force (eV/Å) after each step.

        A level that learns also takes ``known``: frames of earlier relaxations, as atoms with
        results.
        """


class CalculatorLevel(Level):
    """A level whose energies and forces come from an ASE calculator."""

    takes_pressure: ClassVar[bool] = True

    fmax: float = Field(0.05, gt=0, description="Largest force at convergence (eV/Å)")
    max_steps: int = Field(500, ge=0, description="Maximum number of ionic steps; 0: single point")
    optimizer: OptimizerName = Field(
        "BFGS",
        description="ASE optimizer, or 'surrogate': walk on a potential that is learned from the "
        "level's forces, for calculators that take seconds a step",
    )
    potential: PotentialSettings | None = Field(
        None,
        exclude_if=lambda value: value is None,  # ids without it stay
        description="Settings of the potential of 'optimizer: surrogate'; null: the defaults",
    )

    @property
    def learns(self) -> int:
        """See :class:`Level`."""
        own = self.potential or PotentialSettings()
        return own.max_frames if self.optimizer == "surrogate" else 0

    @property
    def batch(self) -> int:
        """Candidates per job; the later ones of a job learn from the earlier ones."""
        if self.learns and self.candidates_per_job is None and not self.continuations:
            return _LEARNING_TOGETHER
        return super().batch

    @property
    def remedies(self) -> Remedies:
        """Remedies, applied cumulatively, for an SCF cycle that does not converge."""
        return ()

    @property
    def has_stress(self) -> bool:
        """Whether the calculator may provide a stress."""
        return True

    @property
    def keeps_restart_file(self) -> bool:
        """Whether the calculator's state is saved for a restart."""
        return False

    def world(self) -> Any:
        """Return GPAW's MPI communicator, None for a single process."""
        return None

    def frame(self, atoms: Atoms) -> SymmetryFrame | None:
        """Return origin and symmetry of a crystal for the calculator, None if it needs none."""
        return None

    @abstractmethod
    def make_calculator(self, atoms: Atoms, setup: Setup) -> Any:
        """Return an ASE calculator.

        Args:
            atoms: periodic or not, with charge and spin in ``info`` as in
                :meth:`Level.relax_atoms`; initial magnetic moments may be set on them.
            setup: remedies, files.
        """

    def relax_atoms(self, start: Atoms, *, folder: Path, **how: Any) -> LoopResult:
        """Run the ionic loop with the level's calculator. See :meth:`Level.relax_atoms`."""
        from logan_campaign.relaxation.engine import run_loop

        return run_loop(start, self, folder=folder, **how)


LEVELS = SpecRegistry(
    "level",
    "logan_campaign.levels",
    Level,  # type: ignore[type-abstract]
    {
        "gfn2-xtb": "logan_campaign.relaxation.backends.xtb:XTBLevel",
        "gpaw": "logan_campaign.relaxation.backends.gpaw:GPAWLevel",
        "ase": "logan_campaign.relaxation.backends.ase:ASELevel",
        "maker": "logan_campaign.relaxation.backends.maker:MakerLevel",
    },
    key="calculator",
)

#: A level in a spec: any registered kind.
LevelSpec = Annotated[Level, LEVELS]
