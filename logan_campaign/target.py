"""What is generated, resolved: the element of every atom and the cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import read
from pydantic import BaseModel, ConfigDict, Field

from logan_campaign.errors import InputError
from logan_campaign.gan import Target
from logan_campaign.schemas import Geometry, TargetKind
from logan_campaign.structures import from_arrays, hill_formula

Vector = tuple[float, float, float]


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
