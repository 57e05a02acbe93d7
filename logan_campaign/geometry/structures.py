"""Structures at the boundary: ASE and pymatgen, identity, formula, validity.

Documents hold pymatgen's ``Molecule`` (no cell) and ``Structure`` (three periodic
directions); calculators and file readers speak ASE. Only species, positions and cell
cross between the two: results, constraints, tags and comment-line entries stay behind,
so that equal geometries give equal documents, whatever their origin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.data import chemical_symbols, covalent_radii
from ase.formula import Formula
from numpy.typing import ArrayLike
from pymatgen.core import Element, Molecule, Structure

from logan_campaign.core.documents import Geometry, TargetKind, marks
from logan_campaign.core.errors import StructureError
from logan_campaign.core.ids import content_id
from logan_campaign.geometry.formulas import MAX_ATOMS
from logan_campaign.geometry.lattice import reduced_cell
from logan_campaign.geometry.neighbours import closest_pair

#: Atoms nearer than this share of the sum of their covalent radii make a structure invalid.
MIN_DISTANCE_FACTOR = 0.5

#: Largest share of a cell that closest-packed equal spheres fill, π/√18.
CLOSEST_PACKING = np.pi / np.sqrt(18.0)

# Positions and cells are hashed as whole multiples of this length (Å). The offset keeps
# coordinates that a file gives with few digits away from the places where rounding flips.
_ID_RESOLUTION = 1e-5
_ID_OFFSET = 0.1234567

# Metals pack closer than touching covalent spheres (Cordero's radii are those of bonds to
# light elements), so their spheres are counted at three quarters of the radius.
_METAL_RADIUS_FACTOR = 0.75

_MIN_VOLUME = 1e-3  # Å³


def kind_of(structure: Geometry) -> TargetKind:
    """Return ``'crystal'`` for a periodic structure and ``'molecule'`` for one without cell."""
    return "crystal" if isinstance(structure, Structure) else "molecule"


def to_atoms(structure: Geometry) -> Atoms:
    """Return the bare ASE ``Atoms`` (species, positions in Å, cell) of a pymatgen structure.

    What the structure states (:func:`~logan_campaign.core.documents.marks`) becomes a constraint
    and, in ``info``, the ``charge`` and ``spin`` (multiplicity) that calculators look for.

    Raises:
        StructureError: dummy species or partial occupancy, which ASE cannot represent.
    """
    if not structure.is_ordered:
        raise StructureError("structure has disordered sites (partial occupancy)")
    for site in structure:
        symbol = getattr(site.specie, "symbol", str(site.specie))
        if symbol not in chemical_symbols or symbol == "X":
            raise StructureError(f"unknown species {symbol!r}")
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = _bare(AseAtomsAdaptor.get_atoms(structure, msonable=False))
    said = marks(structure)
    if fixed := said.pop("fixed", None):
        atoms.set_constraint(FixAtoms(fixed))
    if isinstance(structure, Molecule) and is_open_shell(structure):
        atoms.info = {"charge": round(structure.charge), "spin": structure.spin_multiplicity}
    if "cluster" in said:
        atoms.info["cluster"] = True
    return atoms


def is_open_shell(structure: Geometry) -> bool:
    """Return whether a molecule states a charge or unpaired electrons; False for crystals."""
    return isinstance(structure, Molecule) and bool(
        structure.charge or structure.spin_multiplicity > 1
    )


def from_atoms(atoms: Atoms) -> Geometry:
    """Return the pymatgen structure of ``atoms``: species, positions and cell only.

    Periodic in all three directions gives a ``Structure``, in none a ``Molecule``
    (neutral; a box around it is dropped).

    Raises:
        StructureError: unknown species, or only some directions are periodic.
    """
    _check_species(atoms.numbers)
    if _is_periodic(atoms):
        from pymatgen.io.ase import AseAtomsAdaptor

        return AseAtomsAdaptor.get_structure(_bare(atoms))
    # Not AseAtomsAdaptor.get_molecule, which refuses odd numbers of electrons.
    return Molecule(atoms.get_chemical_symbols(), atoms.positions)


def from_arrays(numbers: ArrayLike, positions: ArrayLike, cell: ArrayLike | None) -> Geometry:
    """Return a structure from arrays; with ``cell`` a crystal, without one a molecule.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) Cartesian positions (Å).
        cell: (3, 3) lattice vectors as rows (Å), or None.
    """
    if cell is None:
        return from_atoms(Atoms(np.asarray(numbers), np.asarray(positions, dtype=float)))
    return from_atoms(
        Atoms(np.asarray(numbers), np.asarray(positions, dtype=float), cell=cell, pbc=True)
    )


def formula(structure: Geometry | Atoms) -> str:
    """Return the Hill formula of all atoms without spaces, e.g. ``'C4H10O'``, ``'O4Si2'``."""
    atoms = structure if isinstance(structure, Atoms) else to_atoms(structure)
    return atoms.get_chemical_formula(mode="hill", empirical=False)


def structure_id(structure: Geometry | Atoms) -> str:
    """Return ``'struct-…'``, the content hash of species, positions and cell.

    Positions and cell are rounded to 1e-5 Å, so that storing and reading back, or the last
    bits of a float, do not matter; order of atoms, origin and choice of cell do (equality of
    materials is decided by matching).

    Raises:
        StructureError: positions or cell are not finite.
    """
    said: dict[str, object] = {}
    if isinstance(structure, Atoms):
        numbers, positions = structure.numbers, structure.positions
        cell: np.ndarray | None = structure.cell.array if _is_periodic(structure) else None
    else:
        numbers, positions = structure.atomic_numbers, structure.cart_coords
        cell = structure.lattice.matrix if isinstance(structure, Structure) else None
        said = marks(structure)
    return content_id(
        "struct",
        {
            "numbers": [int(z) for z in numbers],
            "positions": _rounded(positions),
            "cell": None if cell is None else _rounded(cell),
            **said,
        },
    )


def spacegroup_symbol(structure: Structure, symprec: float = 0.1) -> str | None:
    """Return the international space-group symbol within ``symprec`` (Å), or None.

    None if spglib finds no symmetry at all, for example for colliding atoms.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    try:
        return SpacegroupAnalyzer(structure, symprec=symprec).get_space_group_symbol()
    except (SymmetryUndeterminedError, ValueError, TypeError):
        return None


def check_finite(atoms: Atoms, label: str = "") -> None:
    """Check that there are atoms, finite positions and a usable cell.

    Args:
        atoms: any atoms.
        label: prefix of the error.

    Raises:
        StructureError: with the reason in one line.
    """
    if len(atoms) == 0:
        raise StructureError(f"{label}structure has no atoms")
    if not np.isfinite(atoms.positions).all():
        raise StructureError(f"{label}positions are not finite")
    if not np.isfinite(atoms.cell.array).all():
        raise StructureError(f"{label}cell is not finite")
    periodic = atoms.cell.array[atoms.pbc]
    if np.linalg.matrix_rank(periodic, tol=1e-6) < len(periodic):
        raise StructureError(f"{label}cell has no volume")


def validate_atoms(atoms: Atoms) -> None:
    """Check that ``atoms`` is suitable for training and relaxation.

    At least one atom; known species; finite positions and cell; periodic in all directions
    or none; a cell of nonzero volume that is large enough; no two atoms, periodic images
    included, closer than half the sum of their covalent radii (Cordero et al.,
    doi 10.1039/b801115j, as tabulated in ASE).

    Raises:
        StructureError: with the reason in one line.
    """
    if len(atoms) > MAX_ATOMS:
        raise StructureError(f"structure has {len(atoms)} atoms, more than {MAX_ATOMS}")
    _check_species(atoms.numbers)
    check_finite(atoms)
    if _is_periodic(atoms):
        problem = cell_problem(atoms.numbers, atoms.cell.array, periodic=True)
        if problem:
            raise StructureError(problem)
    collision = closest_collision(atoms, MIN_DISTANCE_FACTOR)
    if collision is not None:
        raise StructureError(f"atoms too close: {collision}")


def in_compact_cell(atoms: Atoms) -> Atoms:
    """Return the same crystal in a cell of short vectors; molecules unchanged.

    The cost of a neighbour search grows with the skewness of a cell. Cells whose longest vector is
    at most twice that of the Minkowski-reduced cell are not changed.

    Args:
        atoms: with a cell of nonzero volume, or none.
    """
    if not atoms.pbc.all():
        return atoms
    reduced = reduced_cell(atoms.cell.array)
    if _longest(atoms.cell.array) <= 2.0 * _longest(reduced):
        return atoms
    compact = atoms.copy()
    compact.set_cell(reduced, scale_atoms=False)
    compact.wrap()
    return compact


def _longest(cell: np.ndarray) -> float:
    return float(np.linalg.norm(cell, axis=1).max())


def closest_collision(atoms: Atoms, factor: float) -> str | None:
    """See :func:`~logan_campaign.geometry.neighbours.closest_pair`; for cells of any shape."""
    return closest_pair(in_compact_cell(_bare(atoms)), factor)


def cell_problem(
    numbers: Sequence[int] | np.ndarray, cell: ArrayLike, periodic: bool
) -> str | None:
    """Return why a cell or box is too small for the atoms in any arrangement, or None.

    Two conditions, each necessary for any material that can be made:

    - Spheres of the covalent radii (three quarters of them for metals, which pack closer
      than that) fill no more of the cell than closest packing does, π/√18 = 0.74. For
      comparison: diamond fills 0.34, stishovite 0.35, tantalum 0.48.
    - In a periodic cell no lattice vector, after reduction, is shorter than the largest
      covalent radius: an atom would be closer to its own image than half the sum of radii.

    Args:
        numbers: atomic numbers of all atoms.
        cell: (3, 3) lattice vectors as rows, or (3,) lengths (Å).
        periodic: crystal cell, or box around a molecule.

    Returns:
        The reason in one line, or None.
    """
    numbers = np.asarray(numbers, dtype=int)
    cell = np.asarray(cell, dtype=float)
    if cell.shape == (3,):
        cell = np.diag(cell)
    name = "cell" if periodic else "box"
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        return f"{name} is not three finite vectors"
    volume = abs(float(np.linalg.det(cell)))
    if volume < _MIN_VOLUME:
        return f"{name} has no volume ({volume:.3g} Å³)"
    radii = covalent_radii[numbers]
    scale = np.array(
        [_METAL_RADIUS_FACTOR if Element.from_Z(int(z)).is_metal else 1.0 for z in numbers]
    )
    filled = float(4.0 / 3.0 * np.pi * ((scale * radii) ** 3).sum())
    if filled > CLOSEST_PACKING * volume:
        return (
            f"{name} of {volume:.1f} Å³ cannot hold {_count(numbers)}: "
            f"at least {filled / CLOSEST_PACKING:.1f} Å³ are needed"
        )
    if periodic:
        shortest = float(np.linalg.norm(reduced_cell(cell), axis=1).min())
        if shortest < radii.max():
            symbol = chemical_symbols[int(numbers[radii.argmax()])]
            return (
                f"cell cannot hold {_count(numbers)}: its shortest lattice vector is "
                f"{shortest:.2f} Å, and {symbol} needs {radii.max():.2f} Å to its own image"
            )
    return None


def _count(numbers: np.ndarray) -> str:
    return Formula.from_list([chemical_symbols[int(z)] for z in numbers]).format("hill")


def _check_species(numbers: np.ndarray) -> None:
    for z in numbers:
        if not 1 <= z < len(chemical_symbols):
            raise StructureError(f"unknown species (atomic number {int(z)})")


def _is_periodic(atoms: Atoms) -> bool:
    if atoms.pbc.all():
        return True
    if atoms.pbc.any():
        raise StructureError("periodic in some directions only; give all three or none")
    return False


def _bare(atoms: Atoms) -> Atoms:
    """Return a copy with only species, positions and, if periodic, cell."""
    if atoms.pbc.any():
        return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    return Atoms(atoms.numbers, atoms.positions)


def _rounded(values: ArrayLike) -> list[list[int]]:
    array = np.asarray(values, dtype=float)
    if not np.isfinite(array).all():
        raise StructureError("positions or cell are not finite")
    # Whole numbers have no -0.0 and no trailing digits.
    return [[int(x) for x in row] for row in np.rint(array / _ID_RESOLUTION + _ID_OFFSET).tolist()]
