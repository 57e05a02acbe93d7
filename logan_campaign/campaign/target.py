"""Targets of generation: the element of every atom and the cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.formula import Formula
from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from spglib import get_symmetry_dataset

from logan_campaign.core.documents import Geometry, TargetKind, marked
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.settings import SpecModel
from logan_campaign.generators.target import LatticeKind, Symmetry, Target
from logan_campaign.geometry.formulas import hill_formula
from logan_campaign.geometry.placement import volumes_for
from logan_campaign.geometry.spacegroups import group_number, groups_of_lattice
from logan_campaign.geometry.structures import cell_problem, from_arrays, in_compact_cell
from logan_campaign.sources.readers import read_entries

Vector = tuple[float, float, float]

#: The range of volumes per atom of the training set is widened by this fraction on each side.
VOLUME_MARGIN = 0.1

#: spglib tolerance (Å) for the space groups of training structures.
SYMMETRY_TOLERANCE = 0.01


class Section(SpecModel):
    """A section of a spec: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True)


class SymmetrySpec(Section):
    """Space groups of generated crystals."""

    groups: Literal["training", "lattice"] | list[int | str] = Field(
        "training",
        description="Numbers or Hermann-Mauguin symbols with equal probability; 'training': "
        "those of the training set with their frequencies; 'lattice': all that have the Bravais "
        "lattice of the given cell",
    )
    p1: float = Field(
        0.0, ge=0, lt=1, description="Fraction of crystals without imposed symmetry (P1)"
    )
    max_assignments: int = Field(
        100,
        ge=1,
        le=2000,
        description="Maximum number of Wyckoff assignments per space group; drawn at random from "
        "larger numbers",
    )

    @field_validator("groups")
    @classmethod
    def _groups_exist(cls, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if not value:
            raise ValueError("name at least one space group, or 'training' or 'lattice'")
        try:
            numbers = [group_number(group) for group in value]
        except InputError as err:
            raise ValueError(str(err)) from err
        return sorted(set(numbers))

    def resolve(self, training: Sequence[Atoms], cell: Sequence[Vector] | None) -> Symmetry:
        """Return the numbers of the space groups and their probabilities.

        Args:
            training: training set.
            cell: the given cell; None if there is none.

        Raises:
            InputError: 'training' is set, but the training set has no crystals; or 'lattice', but
                no cell is given.
        """
        groups = {number: float(n) for number, n in self._groups(training, cell).items()}
        if self.p1:
            free = sum(groups.values()) * self.p1 / (1 - self.p1)
            groups[1] = groups.get(1, 0.0) + free
        return Symmetry(tuple(sorted(groups.items())), self.max_assignments)

    def _groups(self, training: Sequence[Atoms], cell: Sequence[Vector] | None) -> Counter[int]:
        if self.groups == "lattice":
            if cell is None:
                raise InputError("target.symmetry: 'lattice' needs a fixed cell")
            return Counter(groups_of_lattice(np.array(cell)))
        if self.groups != "training":
            return Counter(group_number(group) for group in self.groups)
        found: Counter[int] = Counter()
        for atoms in training:
            if atoms.pbc.all():
                given = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
                dataset = get_symmetry_dataset(given, symprec=SYMMETRY_TOLERANCE)
                found[1 if dataset is None else int(dataset.number)] += 1
        if not found:
            raise InputError("target.symmetry: the training set has no crystals with space groups")
        return found


class OpenTarget(Section):
    """Settings of a target that most leave out: electrons, variable cells, symmetry."""

    charge: int = Field(0, ge=-20, le=20, description="Total charge (e); molecules and clusters")
    multiplicity: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Spin multiplicity, 2S+1; molecules and clusters. Null: 1, or 2 if the number "
        "of electrons is odd",
    )
    volume_per_atom: tuple[float, float] | None = Field(
        None,
        description="Lowest and highest volume per atom of drawn and learned cells (Å³); by "
        "default the range of the training set's crystals, 10 % wider on each side",
    )
    symmetry: SymmetrySpec | None = Field(
        None, description="Space groups of generated crystals; null: no symmetry imposed"
    )

    @field_validator("volume_per_atom")
    @classmethod
    def _volumes_are_a_range(cls, value: Any) -> Any:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("lowest and highest volume per atom (Å³), the lowest first")
        return value

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # ids of specs and of job inputs depend on this form
        said: dict[str, Any] = handler(self)
        for name in _DEFAULTS.keys() & said.keys():
            if said[name] == _DEFAULTS[name]:
                del said[name]
        return said


#: Settings that are omitted from the stored form unless given.
_DEFAULTS: dict[str, Any] = {
    "charge": 0,
    "multiplicity": None,
    "cluster": False,
    "fixed": None,
    "given": [],
    "volume_per_atom": None,
    "symmetry": None,
    "lattice": "fixed",
}


class TargetGeometry(OpenTarget):
    """Composition and cell of generated structures."""

    kind: TargetKind = Field(description="Molecule in a box, or crystal")
    symbols: list[str] = Field(description="Element of each atom, in the generator's order")
    cell: tuple[Vector, Vector, Vector] | None = Field(
        description="Box or lattice vectors, one per row (Å); null unless the cell is fixed"
    )
    lattice: LatticeKind = Field("fixed", description="Origin of the cells")
    cluster: bool = Field(
        False, description="Whether a molecule may consist of parts that attract each other"
    )

    given: list[Vector] = Field(
        default_factory=list, description="Positions (Å) of the last atoms, which stay"
    )

    @property
    def is_open_shell(self) -> bool:
        """Whether a charge or unpaired electrons were asked for, or parts without bonds."""
        return self.cluster or self.charge != 0 or (self.multiplicity or 1) > 1

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers, shape (n_atoms,)."""
        return np.array([atomic_numbers[symbol] for symbol in self.symbols])

    @property
    def marks(self) -> dict[str, Any]:
        """What structures state; see :func:`~logan_campaign.core.documents.marks`."""
        return {
            "charge": self.charge,
            "multiplicity": self.multiplicity,
            "cluster": self.cluster,
            "fixed": range(len(self.symbols) - len(self.given), len(self.symbols)),
        }

    @property
    def hill_formula(self) -> str:
        """Hill formula of all atoms."""
        return hill_formula(self.symbols)

    @property
    def needs_training(self) -> bool:
        """Whether settings that the spec leaves open come from the training set."""
        return (self.lattice != "fixed" and self.volume_per_atom is None) or (
            self.symmetry is not None and self.symmetry.groups == "training"
        )

    def to_gan(
        self, training: Sequence[Atoms] = (), like: Target | None = None, *, check: bool = True
    ) -> Target:
        """Return the target with all open settings resolved.

        Args:
            training: training set, if :attr:`needs_training`; without one, volumes are those that
                atoms usually take.
            like: target of a model to continue from: open settings are taken from it, so that
                a training set that has grown changes nothing.
            check: whether Wyckoff positions have to fit the atoms.

        Raises:
            InputError: the training set does not determine the open settings, or no Wyckoff
                positions of the space groups fit the atoms.
        """
        volumes, symmetry = self.volume_per_atom, None
        if self.lattice != "fixed" and volumes is None:
            volumes = like.volumes if like is not None else None
            estimated = None if len(training) else volumes_for(self.hill_formula)
            volumes = volumes or estimated or volume_range(training)
        if self.symmetry is not None:
            is_open = self.symmetry.groups == "training" and like is not None
            symmetry = like.symmetry if is_open and like is not None else None
            symmetry = symmetry or self.symmetry.resolve(training, self.cell)
        target = Target(
            numbers=tuple(self.numbers.tolist()),
            cell=self.cell,
            periodic=self.kind == "crystal",
            lattice=self.lattice,
            volumes=volumes,
            symmetry=symmetry,
            cluster=self.cluster,
            given=tuple(self.given),
        )
        if symmetry is not None and check:
            from logan_campaign.generators.cells import check_symmetry  # brings JAX

            check_symmetry(target)
        return target

    def geometry(self, positions: np.ndarray, cell: np.ndarray) -> Geometry:
        """Return one generated structure.

        Args:
            positions: shape (n_atoms, 3), Å.
            cell: lattice vectors as rows, shape (3, 3), Å; ignored for molecules.
        """
        if self.given:  # exactly, not in the single precision of pools
            positions = np.vstack([positions[: -len(self.given)], self.given])
        found = from_arrays(self.numbers, positions, cell if self.kind == "crystal" else None)
        return marked(found, **self.marks)


class TargetSpec(OpenTarget):
    """Composition and cell to generate."""

    formula: str = Field(description="Composition of one molecule or unit cell, e.g. C5H12O, Si2O4")
    kind: Literal["molecule", "cluster", "crystal"] = Field(
        description="Molecule in a box, crystal, or cluster: a molecule told apart by its "
        "geometry, of atoms or of molecules without bonds between them"
    )
    box: Vector = Field((8.0, 7.0, 6.0), description="Edges of the box around a molecule (Å)")
    cell: tuple[Vector, Vector, Vector] | Literal["drawn", "learned"] | None = Field(
        None,
        description="Lattice vectors of a crystal, one per row (Å); 'fixed': those of "
        "'cell_from'; 'drawn': random for each structure, within the range of volumes; "
        "'learned': generated with the positions",
    )
    cell_from: str | None = Field(
        None, description="File whose first structure provides the lattice vectors"
    )
    fixed: str | None = Field(
        None,
        description="File with atoms that are given and stay: a slab, a host, a fragment; "
        "'formula' is what is added. A crystal has its cell, which needs vacuum above a slab",
    )

    @field_validator("formula")
    @classmethod
    def _is_formula(cls, value: str) -> str:
        try:
            hill_formula(value)
        except InputError as err:
            raise ValueError(f"{err}; write it like C5H12O or Si2O4") from err
        return value

    @field_validator("box")
    @classmethod
    def _box_is_positive(cls, value: Vector) -> Vector:
        if min(value) <= 0:
            raise ValueError("edges must be positive lengths in Å")
        return value

    @field_validator("cell", mode="before")
    @classmethod
    def _says_what_it_means(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("fixed", "drawn", "learned"):
            raise ValueError("three rows (Å), 'fixed' (with 'cell_from'), 'drawn' or 'learned'")
        return None if value == "fixed" else value  # the cell of 'cell_from'

    @model_validator(mode="after")
    def _cell_belongs_to_crystals(self) -> TargetSpec:
        given = (self.cell is not None) + (self.cell_from is not None)
        if self.fixed is not None and (given or self.symmetry is not None):
            raise ValueError("the cell is that of 'fixed': no 'cell', 'cell_from' or 'symmetry'")
        if self.kind == "crystal" and given != 1 and self.fixed is None:
            raise ValueError(
                "a crystal needs either 'cell' (three rows, Å, or 'drawn' or 'learned') or "
                "'cell_from' (a file)"
            )
        if self.kind != "crystal" and given:
            raise ValueError("a molecule has a 'box', no 'cell'")
        if self.symmetry is not None and self.kind != "crystal":
            raise ValueError("'symmetry' is for crystals: a molecule has no space group")
        if self.symmetry and self.symmetry.groups == "lattice" and self.lattice != "fixed":
            raise ValueError("'symmetry: {groups: lattice}' needs a given cell")
        if self.lattice == "fixed" and self.volume_per_atom is not None:
            raise ValueError("'volume_per_atom' is for cells that are drawn or learned")
        return self

    @model_validator(mode="after")
    def _electrons_pair(self) -> TargetSpec:
        if self.charge == 0 and self.multiplicity is None:
            return self
        if self.kind == "crystal":
            raise ValueError(
                "'charge' and 'multiplicity' are for molecules and clusters; crystals take "
                "'magnetic_moments' of a level"
            )
        if self.fixed is not None:
            return self  # with the given atoms, see resolve
        self.check_electrons(self.symbols)
        return self

    def check_electrons(self, symbols: Sequence[str]) -> None:
        """Raise ValueError if atoms cannot have the charge and multiplicity."""
        electrons = sum(int(atomic_numbers[symbol]) for symbol in symbols) - self.charge
        if electrons < 1:
            raise ValueError(f"a charge of {self.charge:+d} leaves {self.formula} no electrons")
        unpaired = (self.multiplicity or 1 + electrons % 2) - 1
        if unpaired % 2 != electrons % 2 or unpaired > electrons:
            raise ValueError(
                f"{self.formula} with charge {self.charge:+d} has {electrons} electrons, so "
                f"multiplicity {self.multiplicity} is impossible: it is "
                f"{'even' if electrons % 2 else 'odd'} and at most {electrons + 1}"
            )

    @property
    def structure_kind(self) -> TargetKind:
        """Kind of the structures: a cluster is a molecule of its own kind."""
        return "crystal" if self.kind == "crystal" else "molecule"

    @property
    def lattice(self) -> LatticeKind:
        """Origin of the cells."""
        return self.cell if isinstance(self.cell, str) else "fixed"

    @property
    def symbols(self) -> list[str]:
        """Element of every atom, by atomic number: the generator's order."""
        counts = Formula(self.formula).count()
        ordered = sorted(counts, key=lambda symbol: int(atomic_numbers[symbol]))
        return [symbol for symbol in ordered for _ in range(counts[symbol])]

    def resolve(self, base: Path) -> TargetGeometry:
        """Return the element of every atom and the cell (Å).

        Args:
            base: folder of a relative ``cell_from`` or ``fixed``.

        Raises:
            InputError: a file cannot be read, or the cell is too small for the atoms.
        """
        symbols, given = self.symbols, []
        if self.fixed is not None:
            atoms = self._given_atoms(base / Path(self.fixed).expanduser())
            symbols += atoms.get_chemical_symbols()
            given = atoms.positions.tolist()
        if self.kind != "crystal":
            cell: Any = np.diag(self.box).tolist()
        elif self.fixed is not None:
            cell = atoms.cell.array.tolist()
        elif self.lattice != "fixed":
            cell = None
        elif self.cell is not None:
            cell = self.cell
        else:
            assert self.cell_from is not None  # by the validator above
            cell = lattice_from(base / Path(self.cell_from).expanduser())
        target = TargetGeometry(
            kind=self.structure_kind,
            cluster=self.kind == "cluster",
            charge=self.charge,
            multiplicity=self.multiplicity,
            symbols=symbols,
            given=given,
            cell=cell,
            lattice=self.lattice,
            volume_per_atom=self.volume_per_atom,
            symmetry=self.symmetry,
        )
        if cell is None and self.volume_per_atom is not None:
            # a cube of the smallest volume
            edge = (self.volume_per_atom[0] * len(target.symbols)) ** (1.0 / 3.0)
            cell = (edge * np.eye(3)).tolist()
        if cell is not None:
            problem = cell_problem(target.numbers, cell, periodic=self.kind == "crystal")
            if problem:
                raise InputError(f"target: {problem}")
        if not target.needs_training:
            target.to_gan()
        return target

    def _given_atoms(self, path: Path) -> Atoms:
        """Return the atoms of ``fixed``; all directions of a crystal are periodic."""
        try:
            atoms = first_structure(path)
        except InputError as err:
            raise InputError(f"target.fixed: {err}") from err
        periodic = bool(atoms.pbc.any())
        if periodic != (self.kind == "crystal"):
            of = "a periodic structure" if periodic else "not periodic"
            wanted = "'kind: crystal'" if periodic else "'kind: molecule' or 'cluster'"
            raise InputError(f"target.fixed: {path} is {of}; it goes with {wanted}")
        if periodic and atoms.cell.rank < 3:
            raise InputError(f"target.fixed: {path} has no third lattice vector; add vacuum")
        atoms.pbc = periodic
        try:
            self.check_electrons([*self.symbols, *atoms.get_chemical_symbols()])
        except ValueError as err:
            raise InputError(f"target: {err}") from err
        return atoms


def volume_range(training: Sequence[Atoms]) -> tuple[float, float]:
    """Return the widened range of volumes per atom (Å³) of a training set's crystals.

    Raises:
        InputError: the training set has no crystals.
    """
    found = [atoms.get_volume() / len(atoms) for atoms in training if atoms.pbc.all()]
    if not found:
        raise InputError(
            "target.volume_per_atom: the training set has no crystals to take it from; give it"
        )
    # rounded, so that the last bits of a sum do not matter
    low, high = (1.0 - VOLUME_MARGIN) * min(found), (1.0 + VOLUME_MARGIN) * max(found)
    return round(low, 6), round(high, 6)


def first_structure(path: Path) -> Atoms:
    """Return the first structure in a file.

    Raises:
        InputError: the file is missing or unreadable, or the structure is not usable.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    atoms = next(read_entries(path)).structure
    if isinstance(atoms, StructureError):
        raise InputError(f"cannot read {path}: {atoms}")
    return atoms


def lattice_from(path: Path) -> list[list[float]]:
    """Return the lattice vectors (Å, one per row) of the first structure in a file.

    Raises:
        InputError: the file is missing, unreadable, or its structure has no cell.
    """
    try:
        atoms = first_structure(path)
    except InputError as err:
        raise InputError(f"target.cell_from: {err}") from err
    if atoms.cell.rank < 3:
        raise InputError(f"target.cell_from: the first structure in {path} has no cell")
    return [[float(x) for x in row] for row in in_compact_cell(atoms).cell.array]
