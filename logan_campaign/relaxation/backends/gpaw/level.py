"""The level of GPAW: its settings, and what the ionic loop asks of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from ase.data import atomic_numbers
from pydantic import ConfigDict, Field, model_validator

from logan_campaign.core.errors import InputError
from logan_campaign.core.settings import SpecModel
from logan_campaign.relaxation.base import LEVEL_NAME, CalculatorLevel, Remedies, Setup

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.core.documents import TargetKind
    from logan_campaign.relaxation.box import Box
    from logan_campaign.relaxation.symmetry import SymmetryFrame

#: GPAW's default grid spacing in LCAO (Å), and the factor that its grid-point counts share.
DEFAULT_GRID_SPACING = 0.2
GRID_MULTIPLE = 4
#: k-point density (Å) for elements if the level has a mesh for the cells of candidates.
_DENSE = 5.0

#: See :data:`logan_campaign.relaxation.base.Remedies`.
REMEDIES: Remedies = (
    # Small, strongly damped density steps against charge sloshing.
    ("mixing", {"mixer": {"name": "pulay", "beta": 0.02, "nmaxold": 8, "weight": 100.0}}),
    # Fractional occupations where levels cross at the Fermi energy.
    ("smearing", {"occupations": {"name": "fermi-dirac", "width": 0.2}}),
    # Empty bands help iterative eigensolvers; LCAO diagonalises fully and needs none.
    ("bands", {"nbands": "150%"}),
    ("eigensolver", {"eigensolver": {"name": "rmm-diis", "niter": 4}}),
)
PLANE_WAVES_ONLY = {"bands", "eigensolver"}

#: Presets of :class:`GPAWLevel`; explicit settings of a spec override them.
PRESETS: dict[str, dict[str, Any]] = {
    # Settings of the LoGAN paper for crystals; molecules are always at the Γ point.
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
    # alpha quartz, whose oxygen converges slowly: see docs/benchmarks/relaxation.md.
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


class KPointDensity(SpecModel):
    """A k-point mesh by density."""

    model_config = ConfigDict(frozen=True)

    density: float = Field(gt=0, le=20, description="k-points per Å⁻¹ along each axis")
    gamma: bool = Field(True, description="Include the Γ point")


class Smearing(SpecModel):
    """Occupation numbers."""

    model_config = ConfigDict(frozen=True)

    name: Literal["fermi-dirac", "methfessel-paxton", "marzari-vanderbilt"] = "fermi-dirac"
    width: float = Field(0.1, ge=0, le=5, description="Width (eV)")


class Hubbard(SpecModel):
    """The +U correction of one species (rotationally invariant, normalised; GPAW's form)."""

    model_config = ConfigDict(frozen=True)

    orbital: Literal["s", "p", "d", "f"] = Field(description="Orbitals that it acts on")
    value_ev: float = Field(gt=0, le=20, description="Effective U (eV)")


def _left_out_if_empty(description: str) -> Any:
    # ids of relaxations derive from the dump: omitted if not used, the older ids stay
    return Field(default_factory=dict, exclude_if=lambda value: not value, description=description)


PositiveInt = Annotated[int, Field(ge=1, le=100)]


class GPAWLevel(CalculatorLevel):
    """GPAW: a basis of atomic orbitals (``lcao``) or plane waves (``pw``).

    Molecules are computed in a non-periodic box with ``vacuum_angstrom`` on every side and only at
    the Γ point, whatever ``kpts`` is.
    """

    limits_memory: ClassVar[bool] = True

    calculator: Literal["gpaw"] = "gpaw"
    name: str = Field("gpaw", pattern=LEVEL_NAME, description="Name")
    preset: Literal["paper", "screening", "production"] | None = Field(
        None, description="Defaults of settings that are not given"
    )
    mode: Literal["lcao", "pw"] = Field("lcao", description="Basis")
    basis: str = Field("dzp", pattern=r"^[\w.+()-]+$", description="LCAO basis set")
    ecut_ev: float = Field(400.0, gt=50, le=5000, description="Plane-wave cutoff (eV)")
    grid_spacing_angstrom: float | None = Field(
        None, gt=0.05, le=0.6, description="Real-space grid of LCAO (Å); null: GPAW's 0.2"
    )
    xc: str = Field(
        "LDA", min_length=1, max_length=100, description="Functional, GPAW's or libxc's name"
    )
    kpts: tuple[PositiveInt, PositiveInt, PositiveInt] | KPointDensity = Field(
        (1, 1, 1), description="Monkhorst-Pack mesh or {density: …}; crystals only"
    )
    smearing: Smearing | None = Field(None, description="Smearing; null: GPAW's default")
    symmetry_tolerance: float = Field(1e-3, gt=0, description="Tolerance of symmetry (relative)")
    spinpol: bool = Field(
        False,
        description="Spin-polarised; molecules with unpaired electrons and crystals with "
        "magnetic_moments always are",
    )
    magnetic_moments: dict[str, float] = _left_out_if_empty(
        "Initial magnetic moment (µB) of each atom of a species, other species 0; crystals only"
    )
    magnetic_order: Literal["ferromagnetic", "antiferromagnetic"] = Field(
        "ferromagnetic",
        exclude_if=lambda value: value == "ferromagnetic",
        description="Signs of the initial moments: all equal, or opposite for atoms bonded to one "
        "ligand in a line or, without ligands, to each other",
    )
    hubbard_u: dict[str, Hubbard] = _left_out_if_empty(
        "+U by species, e.g. {Ni: {orbital: d, value_ev: 6.0}}"
    )
    vacuum_angstrom: float = Field(3.0, ge=1.0, le=20, description="Vacuum around molecules (Å)")
    setups: str | dict[str, str] = Field("paw", description="PAW data sets: a name, or per element")
    setups_xc: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9]+$",
        description="Functional of the PAW data sets; null: xc if it has data sets, else LDA for "
        "an LDA and PBE for all others",
    )
    processes: int = Field(
        1, ge=1, le=4096, description="MPI processes; more than one needs a GPAW built with MPI"
    )
    keep_wavefunctions: bool = Field(
        True,
        description="Keep density and wave functions until convergence, so that a restart "
        "continues with them",
    )
    convergence: dict[Literal["energy", "density", "eigenstates", "forces"], float] = Field(
        default_factory=dict, description="SCF criteria with GPAW's names and units"
    )
    max_scf_iterations: int = Field(333, ge=1, description="Maximum number of SCF iterations")
    davidson_iterations: int | None = Field(
        None,
        ge=1,
        le=10,
        # ids of relaxations derive from the dump: omitted if null, the older ids stay
        exclude_if=lambda value: value is None,
        description="Davidson iterations per SCF iteration, plane waves only; null: GPAW's 2",
    )
    max_steps: int = Field(1000, ge=0, description="Maximum number of ionic steps; 0: single point")
    max_time_s: float | None = Field(7200.0, gt=0, description="Wall-time budget (s)")
    isolate: bool = Field(True, description="Run in a separate process")

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
    def _species_exist(self) -> GPAWLevel:
        for name in ("magnetic_moments", "hubbard_u"):
            for symbol in getattr(self, name):
                if atomic_numbers.get(symbol, 0) < 1:
                    raise ValueError(f"{name}: unknown element {symbol!r}")
        if self.magnetic_order != "ferromagnetic" and not self.magnetic_moments:
            raise ValueError("magnetic_order needs magnetic_moments")
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
        """Return the level of a preset with ``changes`` applied."""
        return cls.model_validate({"name": preset, **changes, "preset": preset})

    @property
    def n_processes(self) -> int:
        """MPI processes."""
        return self.processes

    @property
    def has_stress(self) -> bool:
        """GPAW has no stress in LCAO."""
        return self.mode == "pw"

    @property
    def keeps_restart_file(self) -> bool:
        """Whether density and wave functions are saved."""
        return self.keep_wavefunctions

    @property
    def remedies(self) -> Remedies:
        """Damping, smearing and, for plane waves, more bands and another eigensolver."""
        if self.mode == "pw":
            return REMEDIES
        return tuple(remedy for remedy in REMEDIES if remedy[0] not in PLANE_WAVES_ONLY)

    def check(self, species: Iterable[str], kind: TargetKind) -> None:
        """Check functional, data sets, basis and processes. See :meth:`Level.check`."""
        from logan_campaign.relaxation.backends.gpaw import checks

        super().check(species, kind)
        species = list(species)
        if kind == "molecule" and self.magnetic_moments:
            self.refuse("magnetic_moments are for crystals; a molecule has target.multiplicity")
        for name in ("magnetic_moments", "hubbard_u"):
            if absent := sorted(set(getattr(self, name)) - set(species)):
                self.refuse(f"{name}: the target has no {', '.join(absent)}")
        checks.check_gpaw(
            self.where,
            species,
            xc=self.xc,
            basis=self.basis if self.mode == "lcao" else None,
            setups=self.setups,
            setups_xc=self.setups_xc,
        )
        one_k_point = self.mode == "pw" and (kind == "molecule" or self.kpts == (1, 1, 1))
        checks.check_mpi(self.where, self.processes, one_k_point=one_k_point)

    def check_varied_cell(self, lattice: str) -> None:
        """Refuse a fixed mesh for all cells. See :meth:`Level.check_varied_cell`."""
        super().check_varied_cell(lattice)
        if isinstance(self.kpts, tuple):
            raise InputError(
                f"relax.levels: {self.name}: the target's cell is {lattice}, and a fixed "
                "k-point mesh has different densities in different cells, so that energies "
                "are not comparable: set 'kpts: {density: 2.0}' there"
            )

    def for_element(self, *, in_box: bool, spin: bool) -> Self:
        """Return the level with a dense k-point mesh, and spin if the element is magnetic.

        The cell is relaxed if the level has a stress. See :meth:`Level.for_element`.
        """
        changes: dict[str, Any] = {"relax_cell": self.has_stress and not in_box}
        if in_box:
            changes["kpts"] = (1, 1, 1)
        elif isinstance(self.kpts, tuple):  # a mesh for the candidates' cells
            changes["kpts"] = KPointDensity(density=_DENSE)
        if spin:
            changes["spinpol"] = True
        return self.model_copy(update=changes)

    def data_sets(self, species: Iterable[str]) -> dict[str, str]:
        """Return name and md5 of the PAW data set of each element."""
        from logan_campaign.relaxation.backends.gpaw import functionals

        symbols = tuple(sorted(set(species)))
        setups = self.setups
        kinds = tuple(setups if isinstance(setups, str) else setups.get(s, "paw") for s in symbols)
        name = functionals.setups_name(self.xc, self.setups_xc)
        return functionals.data_sets(symbols, kinds, name)

    def estimate_memory_mb(self, atoms: Atoms) -> float:
        """Return a rough lower estimate of the memory needed (MiB)."""
        from logan_campaign.relaxation.backends.gpaw.calculator import estimate_memory_mb

        return estimate_memory_mb(self, atoms)

    def box(self, atoms: Atoms) -> Box | None:
        """Return a molecule's box.

        In LCAO its edges are multiples of GPAW's grid unit, so that all molecules of a campaign
        have the same spacing: energies of methanol in five orientations then scatter by 4 meV,
        instead of 82 meV in tight boxes.
        """
        from logan_campaign.relaxation.box import Box

        if atoms.pbc.any():
            return None
        unit = None if self.mode == "pw" else GRID_MULTIPLE * self.grid_spacing
        return Box.around(atoms, self.vacuum_angstrom, unit)

    @property
    def grid_spacing(self) -> float:
        """Real-space grid of LCAO (Å)."""
        return self.grid_spacing_angstrom or DEFAULT_GRID_SPACING

    def frame(self, atoms: Atoms) -> SymmetryFrame | None:
        """Return origin and symmetry of a crystal for GPAW, None if there is none.

        Operations with translations are used for plane waves only, whose grid GPAW adapts to them.
        """
        if not atoms.pbc.any():
            return None
        from logan_campaign.relaxation.magnetism import initial_moments
        from logan_campaign.relaxation.symmetry import symmetry_frame

        moments = initial_moments(atoms, self.magnetic_moments, self.magnetic_order)
        return symmetry_frame(
            # atoms with different moments are different
            atoms.numbers + 1000 * np.unique(moments, return_inverse=True)[1],
            atoms.positions,
            atoms.cell.array,
            self.symmetry_tolerance,
            with_translations=self.mode == "pw",
        )

    def world(self) -> Any:
        """Return GPAW's MPI communicator, None for a single process."""
        if self.processes == 1:
            return None
        from gpaw.mpi import world

        return world if world.size > 1 else None

    def make_calculator(self, atoms: Atoms, setup: Setup) -> Any:
        """Return GPAW. See :meth:`CalculatorLevel.make_calculator`."""
        from logan_campaign.relaxation.backends.gpaw.calculator import make_calculator

        return make_calculator(self, atoms, setup)
