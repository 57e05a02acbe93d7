"""Levels of relaxation as they stand in a campaign's spec.

A level is plain data: it travels in YAML, in a serialised Maker and in the worker's input
file. :func:`check_level` finds out before a job starts whether this machine can run it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    model_validator,
)

from logan_campaign.core.settings import SpecModel
from logan_campaign.relaxation import checks

if TYPE_CHECKING:  # schemas imports pymatgen, which the worker process does without
    from logan_campaign.core.documents import TargetKind

OptimizerName = Literal["FIRE", "FIRE2", "LBFGS", "BFGS"]

#: Presets of :class:`GPAWLevel`; anything that the spec sets itself has the last word.
PRESETS: dict[str, dict[str, Any]] = {
    # What the LoGAN paper relaxed crystals with; molecules are always at the Γ point.
    "paper": {
        "mode": "pw",
        "ecut_ev": 400.0,
        "xc": "LDA",
        "kpts": (2, 2, 2),
        "symmetry_tolerance": 1e-3,
        "optimizer": "FIRE",
        "fmax": 0.05,
        "max_steps": 1000,
    },
    # Cheapest useful DFT: a small numerical basis and one k-point per 0.4 Å⁻¹ or so.
    "screening": {
        "mode": "lcao",
        "basis": "dzp",
        "xc": "LDA",
        "kpts": {"density": 2.5},
        "fmax": 0.05,
        "max_steps": 500,
    },
    # Converged to 1 meV/atom in energy differences, 1 meV/Å in forces and 0.2 GPa in stress for
    # alpha quartz, whose oxygen is as hard as elements come: see docs/relaxation.md.
    "production": {
        "mode": "pw",
        "ecut_ev": 800.0,
        "xc": "PBE",
        "kpts": {"density": 4.0},
        "convergence": {"density": 1e-5},
        "fmax": 0.02,
        "max_steps": 1000,
    },
}


class _Level(SpecModel):
    """What all levels share."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="Name of the level")
    fmax: float = Field(0.05, gt=0, description="Converged when no force exceeds this (eV/Å)")
    max_steps: int = Field(500, ge=0, description="Ionic steps at most; 0 only evaluates")
    max_time_s: float | None = Field(600.0, gt=0, description="Wall-time budget (s); null: none")
    optimizer: OptimizerName = Field("BFGS", description="ASE optimizer")
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
    energy_window_ev_per_atom: float | None = Field(
        None,
        gt=0,
        description="Candidates this far above the lowest of this level do not enter the next "
        "(eV/atom); null: all do",
    )


class XTBLevel(_Level):
    """GFN2-xTB through tblite; molecules only.

    C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019),
    doi:10.1021/acs.jctc.8b01176.
    """

    calculator: Literal["gfn2-xtb"] = "gfn2-xtb"
    name: str = Field("xtb", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="Name")
    max_time_s: float | None = Field(120.0, gt=0, description="Wall-time budget (s)")
    relax_cell: Literal[False] = Field(False, description="Molecules have no cell")
    max_scf_iterations: int = Field(250, ge=1, description="SCF iterations at most")


class KPointDensity(SpecModel):
    """k-points by density."""

    model_config = ConfigDict(frozen=True)

    density: float = Field(gt=0, le=20, description="k-points per Å⁻¹ along each axis")
    gamma: bool = Field(True, description="Include the Γ point")


class Smearing(SpecModel):
    """Occupation numbers."""

    model_config = ConfigDict(frozen=True)

    name: Literal["fermi-dirac", "methfessel-paxton", "marzari-vanderbilt"] = "fermi-dirac"
    width: float = Field(0.1, ge=0, le=5, description="Width (eV)")


PositiveInt = Annotated[int, Field(ge=1, le=100)]


class GPAWLevel(_Level):
    """GPAW: a basis of atomic orbitals (``lcao``) or plane waves (``pw``).

    Molecules stand in a box of their own with ``vacuum_angstrom`` on every side, are not
    periodic and see the Γ point only, whatever ``kpts`` says.
    """

    calculator: Literal["gpaw"] = "gpaw"
    name: str = Field("gpaw", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="Name")
    preset: Literal["paper", "screening", "production"] | None = Field(
        None, description="Defaults for what is not set here"
    )
    mode: Literal["lcao", "pw"] = Field("lcao", description="Basis")
    basis: str = Field("dzp", pattern=r"^[\w.+()-]+$", description="LCAO basis set")
    ecut_ev: float = Field(400.0, gt=50, le=5000, description="Plane-wave cutoff (eV)")
    grid_spacing_angstrom: float | None = Field(
        None, gt=0.05, le=0.6, description="Real-space grid of LCAO (Å); null: GPAW's 0.2"
    )
    xc: str = Field(
        "LDA", min_length=1, max_length=100, description="Functional, libxc's names too"
    )
    kpts: tuple[PositiveInt, PositiveInt, PositiveInt] | KPointDensity = Field(
        (1, 1, 1), description="Monkhorst-Pack mesh or {density: …}; crystals only"
    )
    smearing: Smearing | None = Field(None, description="Occupations; null: GPAW's default")
    symmetry_tolerance: float = Field(1e-3, gt=0, description="Tolerance of symmetry (relative)")
    spinpol: bool = Field(False, description="Spin-polarised")
    vacuum_angstrom: float = Field(3.0, ge=1.0, le=20, description="Vacuum around molecules (Å)")
    setups: str | dict[str, str] = Field("paw", description="PAW data sets: a name, or per element")
    setups_xc: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9]+$",
        description="Functional that the PAW data sets were made for; null: that of xc if there "
        "are such, else LDA for an LDA and PBE for all others",
    )
    processes: int = Field(
        1, ge=1, le=4096, description="MPI processes; more than one needs a GPAW built with MPI"
    )
    keep_wavefunctions: bool = Field(
        True,
        description="Keep density and wave functions beside the checkpoint until converged, so "
        "that a restart goes on with them",
    )
    convergence: dict[Literal["energy", "density", "eigenstates", "forces"], float] = Field(
        default_factory=dict, description="SCF criteria, GPAW's names and units"
    )
    max_scf_iterations: int = Field(333, ge=1, description="SCF iterations at most")
    davidson_iterations: int | None = Field(
        None,
        ge=1,
        le=10,
        # ids of relaxations are made from what is dumped: those from before this field stay
        exclude_if=lambda value: value is None,
        description="Davidson iterations per SCF iteration, plane waves only; null: GPAW's 2",
    )
    max_steps: int = Field(1000, ge=0, description="Ionic steps at most; 0 only evaluates")
    max_time_s: float | None = Field(7200.0, gt=0, description="Wall-time budget (s)")
    isolate: bool = Field(True, description="Run in a process of its own")

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("preset"), str):
            return {**PRESETS.get(data["preset"], {}), **data}
        return data

    @model_validator(mode="after")
    def _cell_needs_plane_waves(self) -> GPAWLevel:
        if self.relax_cell and self.mode != "pw":
            raise ValueError("relax_cell needs mode 'pw': GPAW has no stress in LCAO")
        return self

    @model_validator(mode="after")
    def _davidson_needs_plane_waves(self) -> GPAWLevel:
        if self.davidson_iterations is not None and self.mode != "pw":
            raise ValueError("davidson_iterations needs mode 'pw': LCAO diagonalises fully")
        return self

    @model_validator(mode="after")
    def _processes_need_isolation(self) -> GPAWLevel:
        if self.processes > 1 and not self.isolate:
            raise ValueError("processes: more than one needs isolate: true")
        return self

    @classmethod
    def from_preset(cls, preset: str, **changes: Any) -> GPAWLevel:
        """Return the level of a preset, with ``changes`` on top."""
        return cls.model_validate({"name": preset, **changes, "preset": preset})


class ASELevel(_Level):
    """Any ASE calculator, by ``module:function`` or by entry point.

    Entry points are looked up in the group ``logan_campaign.calculators``. The target is
    called with ``kwargs`` and returns an ASE calculator: a spec with such a level runs code,
    so it must come from someone you trust. ``kwargs`` are stored with every result; they
    are no place for keys and passwords.
    """

    calculator: Literal["ase"] = "ase"
    isolate: bool = Field(
        True,
        description="Run in a process of its own: a crash or hang then costs one candidate",
    )
    name: str = Field("ase", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="Name")
    target: str = Field(
        pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?$",
        description="'module:function', or the name of an entry point",
    )
    kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Arguments of the target; stored with the results"
    )


LevelSpec = Annotated[XTBLevel | GPAWLevel | ASELevel, Field(discriminator="calculator")]

_ADAPTER: TypeAdapter[XTBLevel | GPAWLevel | ASELevel] = TypeAdapter(LevelSpec)


def parse_level(data: Any) -> XTBLevel | GPAWLevel | ASELevel:
    """Return the level that plain data describe.

    Raises:
        pydantic.ValidationError: if they describe none.
    """
    return _ADAPTER.validate_python(data)


def check_level(level: LevelSpec, species: Iterable[str], kind: TargetKind) -> None:
    """Make sure that ``level`` can run here for these elements, before any job starts.

    Args:
        level: the level.
        species: element symbols.
        kind: ``molecule`` or ``crystal``.

    Raises:
        InputError: one line that says what is missing and how to get it.
    """
    where = f"level '{level.name}'"
    if kind == "molecule" and level.relax_cell:
        checks.refuse(where, "relax_cell is for crystals; a molecule has no cell")
    if isinstance(level, XTBLevel):
        checks.check_xtb(where, species, kind)
    elif isinstance(level, GPAWLevel):
        checks.check_gpaw(
            where,
            species,
            xc=level.xc,
            basis=level.basis if level.mode == "lcao" else None,
            setups=level.setups,
            setups_xc=level.setups_xc,
        )
        one_k_point = kind == "molecule" or level.kpts == (1, 1, 1)
        checks.check_mpi(where, level.processes, one_k_point=level.mode == "pw" and one_k_point)
    else:
        checks.check_target(where, level.target, level.kwargs)
