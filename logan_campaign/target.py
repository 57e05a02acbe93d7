"""What is generated, resolved: the element of every atom and the cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.formula import Formula
from ase.io import read
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from logan_campaign.errors import InputError
from logan_campaign.gan import Target
from logan_campaign.schemas import Geometry, TargetKind
from logan_campaign.structures import cell_problem, from_arrays, hill_formula

Vector = tuple[float, float, float]


class Section(BaseModel):
    """A section of a spec: every key is known, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TargetGeometry(BaseModel):
    """Composition and cell of what is generated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: TargetKind = Field(description="Molecule in a box, or crystal")
    symbols: list[str] = Field(description="Element of each atom, in the generator's order")
    cell: tuple[Vector, Vector, Vector] = Field(
        description="Box or lattice vectors, one per row (Å)"
    )

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers, shape (n_atoms,)."""
        return np.array([atomic_numbers[symbol] for symbol in self.symbols])

    @property
    def hill_formula(self) -> str:
        """Hill formula of all atoms."""
        return hill_formula(self.symbols)

    def to_gan(self) -> Target:
        """Return the form that the GAN trains for."""
        return Target(
            numbers=tuple(self.numbers.tolist()), cell=self.cell, periodic=self.kind == "crystal"
        )

    def geometry(self, positions: np.ndarray, cell: np.ndarray) -> Geometry:
        """Return one generated structure.

        Args:
            positions: shape (n_atoms, 3), Å.
            cell: shape (3, 3), Å; not kept for molecules, whose box is only a container.
        """
        return from_arrays(self.numbers, positions, cell if self.kind == "crystal" else None)


class TargetSpec(Section):
    """What is generated."""

    formula: str = Field(description="Composition of one molecule or one cell, e.g. C5H12O, Si2O4")
    kind: Literal["molecule", "crystal"] = Field(description="molecule in a box, or crystal")
    box: Vector = Field((8.0, 7.0, 6.0), description="Edges of the box that holds a molecule (Å)")
    cell: tuple[Vector, Vector, Vector] | None = Field(
        None, description="Lattice vectors of a crystal, one per row (Å)"
    )
    cell_from: str | None = Field(
        None, description="File whose first structure gives the lattice vectors"
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

    @model_validator(mode="after")
    def _cell_belongs_to_crystals(self) -> TargetSpec:
        given = (self.cell is not None) + (self.cell_from is not None)
        if self.kind == "crystal" and given != 1:
            raise ValueError(
                "a crystal needs either 'cell' (three rows, Å) or 'cell_from' (a file)"
            )
        if self.kind == "molecule" and given:
            raise ValueError("a molecule has a 'box', no 'cell'")
        return self

    @property
    def symbols(self) -> list[str]:
        """Element of every atom, by atomic number; the order the generator uses."""
        counts = Formula(self.formula).count()
        ordered = sorted(counts, key=lambda symbol: int(atomic_numbers[symbol]))
        return [symbol for symbol in ordered for _ in range(counts[symbol])]

    def resolve(self, base: Path) -> TargetGeometry:
        """Return the element of every atom and the cell (Å).

        Args:
            base: folder that a relative ``cell_from`` is meant from.

        Raises:
            InputError: the cell's file cannot be read, or the cell cannot hold the atoms.
        """
        if self.kind == "molecule":
            cell: Any = np.diag(self.box).tolist()
        elif self.cell is not None:
            cell = self.cell
        else:
            assert self.cell_from is not None  # by the validator above
            cell = lattice_from(base / Path(self.cell_from).expanduser())
        target = TargetGeometry(kind=self.kind, symbols=self.symbols, cell=cell)
        problem = cell_problem(target.numbers, cell, periodic=self.kind == "crystal")
        if problem:
            raise InputError(f"target: {problem}")
        return target


def lattice_from(path: Path) -> list[list[float]]:
    """Return the lattice vectors (Å, one per row) of the first structure in a file.

    Raises:
        InputError: the file is missing, unreadable, or its structure has no cell.
    """
    if not path.is_file():  # a folder might be one of ASE's formats that hold pickles
        raise InputError(f"target.cell_from: there is no file {path}")
    try:
        atoms = read(path, index=0)
    except Exception as err:
        why = " ".join(str(err).split()) or type(err).__name__
        raise InputError(f"target.cell_from: cannot read {path}: {why}") from err
    if not isinstance(atoms, Atoms) or atoms.cell.rank < 3:
        raise InputError(f"target.cell_from: the first structure in {path} has no cell")
    return [[float(x) for x in row] for row in atoms.cell.array]
