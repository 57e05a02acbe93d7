"""Target of a model: atoms, cell, and space groups to impose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase.data import covalent_radii

from logan_campaign.core.errors import InputError

#: Origin of cells: given, drawn at random, or learned with the positions.
LatticeKind = Literal["fixed", "drawn", "learned"]


@dataclass(frozen=True)
class Symmetry:
    """Space groups to impose.

    Attributes:
        groups: number (1 to 230) and weight of each.
        max_assignments: maximum number of Wyckoff assignments per group.
    """

    groups: tuple[tuple[int, float], ...]
    max_assignments: int

    def __post_init__(self) -> None:
        groups = tuple((int(number), float(weight)) for number, weight in self.groups)
        if not groups:
            raise InputError("the target's symmetry names no space group")
        if any(not 1 <= number <= 230 or not weight > 0 for number, weight in groups):
            raise InputError("space groups have numbers 1 … 230 and positive weights")
        if self.max_assignments < 1:
            raise InputError("at least one assignment of atoms to Wyckoff positions is needed")
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "max_assignments", int(self.max_assignments))


@dataclass(frozen=True)
class Target:
    """Atoms and cell to generate.

    Attributes:
        numbers: atomic number of each atom.
        cell: lattice vectors as rows (Å); the box for molecules; None unless fixed.
        periodic: whether the structure is periodic along all lattice vectors.
        lattice: origin of the cell.
        volumes: lowest and highest volume per atom of cells that are not fixed (Å³).
        symmetry: space groups to impose; None for none.
        cluster: whether molecules are clusters, which start compact.
        given: positions (Å) of the last atoms, if these stay; in a fixed cell only.
    """

    numbers: tuple[int, ...]
    cell: tuple[tuple[float, float, float], ...] | None
    periodic: bool
    lattice: LatticeKind = "fixed"
    volumes: tuple[float, float] | None = None
    symmetry: Symmetry | None = None
    cluster: bool = False
    given: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        numbers = tuple(int(z) for z in self.numbers)
        if not numbers:
            raise InputError("the target has no atoms")
        if any(not 1 <= z <= 118 for z in numbers):
            raise InputError("the target has atomic numbers outside 1 … 118")
        if self.lattice == "fixed":
            cell = np.asarray(self.cell, dtype=float)
            if cell.shape != (3, 3) or not np.isfinite(cell).all():
                raise InputError("the target's cell must be three finite vectors (Å)")
            volume = abs(float(np.linalg.det(cell)))
            object.__setattr__(self, "cell", tuple(tuple(float(x) for x in row) for row in cell))
        else:
            volume = self._smallest(len(numbers))
        # Volume of hard covalent spheres: real structures have at least about this volume.
        needed = float(sum(4.0 / 3.0 * np.pi * covalent_radii[z] ** 3 for z in numbers)) / 2.0
        if volume < needed:
            raise InputError(
                f"the target's cell of {volume:.1f} Å³ is too small for its {len(numbers)} atoms, "
                f"which need at least {needed:.1f} Å³"
            )
        if self.symmetry is not None and not self.periodic:
            raise InputError("space groups are for crystals, not for a molecule in a box")
        if isinstance(self.symmetry, dict):
            object.__setattr__(self, "symmetry", Symmetry(**self.symmetry))
        given = tuple(tuple(float(x) for x in position) for position in self.given)
        if given and (self.lattice != "fixed" or self.symmetry or len(given) >= len(numbers)):
            raise InputError("given atoms need a fixed cell without imposed symmetry, and others")
        object.__setattr__(self, "given", given)
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "periodic", bool(self.periodic))

    def _smallest(self, n_atoms: int) -> float:
        """Check the settings of variable cells; return the smallest volume (Å³)."""
        if self.lattice not in ("drawn", "learned") or not self.periodic:
            raise InputError("a cell is fixed, drawn or learned; a molecule's box is fixed")
        if self.cell is not None:
            raise InputError(f"a cell that is {self.lattice} cannot be given")
        low, high = (float(v) for v in self.volumes or (0.0, 0.0))
        if not 0 < low <= high < np.inf:
            raise InputError("the volume per atom must be a range of positive numbers (Å³)")
        object.__setattr__(self, "volumes", (low, high))
        return low * n_atoms

    @property
    def cell_array(self) -> np.ndarray:
        """The lattice vectors of a fixed cell, shape (3, 3) (Å)."""
        assert self.cell is not None  # used only for fixed cells
        return np.array(self.cell)

    @property
    def volume_per_atom(self) -> float:
        """Volume per atom (Å³); of cells that are not fixed, the geometric mean of the range."""
        if self.volumes is not None:
            return float(np.sqrt(self.volumes[0] * self.volumes[1]))
        return abs(float(np.linalg.det(self.cell_array))) / len(self.numbers)

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments of the constructor as JSON values."""
        said: dict[str, Any] = {
            "numbers": list(self.numbers),
            "cell": None if self.cell is None else [list(row) for row in self.cell],
            "periodic": self.periodic,
        }
        # Defaults are omitted: the ids of models depend on this form.
        if self.lattice != "fixed":
            said["lattice"] = self.lattice
            said["volumes"] = list(self.volumes or ())
        if self.symmetry is not None:
            said["symmetry"] = {
                "groups": [list(group) for group in self.symmetry.groups],
                "max_assignments": self.symmetry.max_assignments,
            }
        if self.cluster:
            said["cluster"] = True
        if self.given:
            said["given"] = [list(position) for position in self.given]
        return said
