"""What every level of relaxation has in common, and what a plugin's level has to say.

A level is plain data: it travels in YAML, in a serialised Maker and in the worker's input file.
Each kind of level is a model with a literal ``calculator``; besides its settings it owns its
checks, its calculator and what is told of it. Plugins derive from :class:`CalculatorLevel`, give
``make_calculator``, and name their class in the entry-point group ``logan_campaign.levels``.
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

if TYPE_CHECKING:  # the worker process does without pymatgen, and specs without ASE
    from ase import Atoms

    from logan_campaign.core.documents import TargetKind
    from logan_campaign.relaxation.box import Box
    from logan_campaign.relaxation.checkpoint import Checkpoint
    from logan_campaign.relaxation.engine import LoopResult
    from logan_campaign.relaxation.symmetry import SymmetryFrame

OptimizerName = Literal["FIRE", "FIRE2", "LBFGS", "BFGS"]

LEVEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"

#: Remedies for an SCF cycle that does not converge, in the order in which they are added to
#: one another: what each is called, and changed arguments of the calculator. They stay on for the
#: rest of the relaxation, so that its steps see one energy, and are recorded with the result.
Remedies = Sequence[tuple[str, dict[str, Any]]]


class Setup(NamedTuple):
    """What a calculator is made with, besides its level's settings."""

    charge: float = 0.0
    """Total charge (e)."""
    remedies: Collection[str] = ()
    """Names of the remedies in force."""
    frame: SymmetryFrame | None = None
    """Symmetry of a crystal whose atoms stand about that origin."""
    log_file: Path | None = None
    """Where the calculator writes its text; nowhere if None."""
    restart: Path | None = None
    """The calculator's own file, made with the same arguments, if there is one."""


class Level(SpecModel, ABC):
    """What all levels share."""

    model_config = ConfigDict(frozen=True)

    #: Kinds of target that the level is for.
    kinds: ClassVar[tuple[TargetKind, ...]] = ("molecule", "crystal")
    #: Whether the isolated process may use no more memory than there is, unless told otherwise.
    limits_memory: ClassVar[bool] = False
    #: Candidates per job where nothing is said: several where one takes less than its job's start.
    usual_batch: ClassVar[int] = 1

    calculator: str = Field(description="Kind of level")
    name: str = Field(pattern=LEVEL_NAME, description="Name of the level")
    max_time_s: float | None = Field(600.0, gt=0, description="Wall-time budget (s); null: none")
    isolate: bool = Field(
        False, description="Run in a process of its own, with restart after a crash of the job"
    )
    max_memory_mb: int | None = Field(
        None,
        ge=256,
        description="Address space of the isolated process (MiB); null: GPAW all memory, "
        "others no limit",
    )
    relax_cell: bool = Field(False, description="Relax the cell of crystals too")
    continuations: int = Field(
        0,
        ge=0,
        le=100,
        description="Further jobs, each with the same budgets, that go on where max_steps or "
        "max_time_s ended one",
    )
    candidates_per_job: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Candidates that one job relaxes, one after another; null: several at levels "
        "where one takes less than a second or so, else 1",
    )
    energy_window_ev_per_atom: float | None = Field(
        None,
        gt=0,
        description="Candidates this far above the lowest of this level do not enter the next "
        "(eV/atom); null: all do",
    )

    @property
    def where(self) -> str:
        """How errors name the level."""
        return f"level '{self.name}'"

    @property
    def steps_at_most(self) -> int:
        """Ionic steps at most, for progress; 0 where that is not known."""
        return 0

    @property
    def batch(self) -> int:
        """Candidates per job."""
        # a continuation goes on with one candidate's files
        return 1 if self.continuations else self.candidates_per_job or self.usual_batch

    @property
    def n_processes(self) -> int:
        """MPI processes that share one relaxation."""
        return 1

    def refuse(self, why: str) -> Never:
        """Raise the error that ends a check."""
        raise InputError(f"{self.where}: {why}")

    def check(self, species: Iterable[str], kind: TargetKind) -> None:
        """Make sure that the level can run here for these elements, before any job starts.

        Args:
            species: element symbols.
            kind: ``molecule`` or ``crystal``.

        Raises:
            InputError: one line that says what is missing and how to get it.
        """
        self.check_kind(kind)
        if kind == "molecule" and self.relax_cell:
            self.refuse("relax_cell is for crystals; a molecule has no cell")

    def check_kind(self, kind: TargetKind) -> None:
        """Raise InputError if the level is not for this kind of structure."""
        if kind not in self.kinds:
            self.refuse(f"{self.calculator} is for {self.kinds[0]}s, not for {kind}s")

    def check_varied_cell(self, lattice: str) -> None:
        """Raise InputError if energies at this level do not compare between cells.

        Args:
            lattice: how the target's cell is described.
        """
        if not self.relax_cell:
            raise InputError(
                f"relax.levels: {self.name}: the target's cell is {lattice}, so the last level "
                "must relax it: set 'relax_cell: true' there"
            )

    def for_element(self, *, in_box: bool, spin: bool) -> Self:
        """Return the level as a chemical element needs it, with the same energies.

        Args:
            in_box: whether the element is a molecule in a box, whose cell stays.
            spin: whether it is magnetic.
        """
        return self.model_copy(update={"relax_cell": not in_box})

    def data_sets(self, species: Iterable[str]) -> dict[str, str]:
        """Return name and checksum of the files of parameters used, by element."""
        return {}

    def estimate_memory_mb(self, atoms: Atoms) -> float:
        """Return a lower estimate of the memory needed (MiB); 0 if there is none."""
        return 0.0

    def box(self, atoms: Atoms) -> Box | None:
        """Return the box in which a molecule is computed; None where it stands free."""
        return None

    @abstractmethod
    def relax_atoms(
        self,
        start: Atoms,
        *,
        folder: Path,
        charge: float = 0.0,
        earlier_steps: int = 0,
        checkpoint: Checkpoint | None = None,
        deadline: float | None = None,
        on_step: Callable[[int, float, float], None] | None = None,
    ) -> LoopResult:
        """Relax ``start`` in this process; whatever happens on the way is a state.

        Args:
            start: positions (Å); periodic in three directions or in none.
            folder: for the relaxation's files; where it does not exist, calculators keep none.
            charge: total charge (e).
            earlier_steps: how many of the checkpoint's steps do not count for the budget.
            checkpoint: frames are appended to it and, if it has some, it goes on from the last.
            deadline: on ``time.monotonic``'s clock; no step that would pass it is begun.
            on_step: called with step, energy (eV) and largest force (eV/Å) after each step.
        """


class CalculatorLevel(Level):
    """A level whose energies and forces come from an ASE calculator."""

    fmax: float = Field(0.05, gt=0, description="Converged when no force exceeds this (eV/Å)")
    max_steps: int = Field(500, ge=0, description="Ionic steps at most; 0 only evaluates")
    optimizer: OptimizerName = Field("BFGS", description="ASE optimizer")

    @property
    def steps_at_most(self) -> int:
        """Ionic steps at most."""
        return self.max_steps

    @property
    def remedies(self) -> Remedies:
        """What to try, one on top of the other, where an SCF cycle does not converge."""
        return ()

    @property
    def has_stress(self) -> bool:
        """Whether the calculator may have a stress."""
        return True

    @property
    def keeps_restart_file(self) -> bool:
        """Whether the calculator's state is written for a restart."""
        return False

    def world(self) -> Any:
        """Return GPAW's processes, or None where there is but one."""
        return None

    def frame(self, atoms: Atoms) -> SymmetryFrame | None:
        """Return the origin and the symmetry of a crystal for the calculator, if it wants any."""
        return None

    @abstractmethod
    def make_calculator(self, atoms: Atoms, setup: Setup) -> Any:
        """Return an ASE calculator.

        Args:
            atoms: tells periodic from not; may be given initial magnetic moments.
            setup: charge, remedies, files.
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

#: A level as it stands in a spec: whatever is registered.
LevelSpec = Annotated[Level, LEVELS]
