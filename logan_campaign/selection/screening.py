"""Screening for implausible geometry, with a reason for each rejection.

Generated structures are rough, and relaxation repairs stretched and compressed bonds. The default
limits reject only geometries that it cannot repair: overlapping atoms, isolated atoms, fragmented
molecules. (Of generated C3H8O samples that are connected only at 2.0 to 2.5 times the sum of
covalent radii, 19 of 30 relaxed to a proper isomer with GFN2-xTB; at 1.8 to 2.0 times, 24 of 30.)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from logan_campaign.core.documents import Geometry, TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.core.settings import SpecModel
from logan_campaign.geometry.coordination import CoordinationRanges, count_neighbours
from logan_campaign.geometry.molecular_graphs import pool_graphs
from logan_campaign.geometry.neighbours import Bonds, find_bonds
from logan_campaign.geometry.structures import closest_collision, to_atoms

#: The volume range 'training' is that of the training set, widened by this fraction.
VOLUME_MARGIN = 0.1

# Structures per batch, to bound memory.
_CHUNK = 1024


class ScreeningReason(IntEnum):
    """Reasons for rejection; the first that applies is reported."""

    PLAUSIBLE = 0
    NOT_FINITE = 1
    NO_VOLUME = 2
    ATOMS_TOO_CLOSE = 3
    ISOLATED_ATOM = 4
    FRAGMENTS = 5
    WRONG_VALENCE = 6
    COORDINATION_OUTSIDE_THE_TRAINING_RANGE = 7
    VOLUME_PER_ATOM_OUT_OF_RANGE = 8

    @property
    def text(self) -> str:
        """The text with which every reason begins; '' for plausible structures."""
        return "" if self is ScreeningReason.PLAUSIBLE else self.name.lower().replace("_", " ")


_TEXTS = np.array([reason.text for reason in ScreeningReason])


class ScreeningSpec(SpecModel):
    """Limits of plausible geometry. Factors multiply sums of covalent radii."""

    min_distance_factor: float = Field(
        0.5, ge=0, lt=1, description="Atoms closer than this are too close"
    )
    bond_factor: float = Field(
        2.5, gt=1, le=5, description="Atoms closer than this are connected (C-C: 3.8 Å)"
    )
    allow_isolated_atoms: bool = Field(False, description="Keep structures with isolated atoms")
    allow_fragments: bool = Field(False, description="Molecules: keep fragmented ones")
    valence: bool = Field(
        False,
        description="Molecules: reject geometries that are not neutral closed-shell molecules",
    )
    coordination: Literal["training"] | None = Field(
        None,
        description="'training': reject structures with coordination numbers by species outside "
        "the range of the training set",
    )
    volume_per_atom: tuple[float, float] | Literal["training"] | None = Field(
        None,
        description="Crystals: smallest and largest volume per atom (Å³); 'training': range of the "
        "training set, widened by 10 %",
    )

    @model_validator(mode="after")
    def _volumes_are_a_range(self) -> ScreeningSpec:
        given = self.volume_per_atom
        if isinstance(given, tuple) and not 0 <= given[0] < given[1]:
            raise ValueError("volume_per_atom needs two volumes in Å³, the smaller one first")
        return self

    def learn(self, training: Iterable[Geometry]) -> CoordinationRanges | None:
        """Return the data of the training set that the limits need, None if none."""
        if self.coordination is None and self.volume_per_atom != "training":
            return None
        return CoordinationRanges.learn(training)

    def check(self, kind: TargetKind) -> None:
        """Check that the limits apply to this kind of target.

        Raises:
            InputError: one of them does not; one line.
        """
        if kind == "crystal" and self.valence:
            raise InputError("screen: 'valence' is for molecules; the target is a crystal")
        if kind == "molecule" and self.volume_per_atom is not None:
            raise InputError("screen: 'volume_per_atom' is for crystals; the target is a molecule")


def screen(
    structure: Geometry,
    spec: ScreeningSpec,
    periodic: bool,
    learned: CoordinationRanges | None = None,
) -> str | None:
    """Return why a structure is implausible, or None.

    Args:
        structure: the structure.
        spec: limits.
        periodic: whether periodic images count as neighbours.
        learned: data of the training set; without it, limits that need it do not apply.

    Returns:
        A reason that begins with a text of :class:`ScreeningReason`, such as
        ``'atoms too close: O3 and O7 are 0.41 Å apart (limit 0.66 Å)'``.
    """
    atoms = to_atoms(structure)
    found = screen_pool(
        atoms.positions[None], atoms.cell.array, atoms.numbers, periodic, spec, learned
    )
    reason = str(found[0])
    if reason == ScreeningReason.ATOMS_TOO_CLOSE.text:
        return f"{reason}: {_collision(atoms, periodic, spec)}"
    return reason or None


def screen_pool(
    positions: np.ndarray,
    cells: ArrayLike | None,
    numbers: ArrayLike,
    periodic: bool,
    spec: ScreeningSpec,
    learned: CoordinationRanges | None = None,
) -> np.ndarray:
    """Screen many structures of one composition.

    Args:
        positions: (n, n_atoms, 3) Cartesian positions (Å).
        cells: (n, 3, 3) or (3, 3) lattice vectors (Å); ignored unless ``periodic``.
        numbers: (n_atoms,) atomic numbers.
        periodic: crystals, whose periodic images count, or molecules.
        spec: limits.
        learned: as for :func:`screen`.

    Returns:
        (n,) texts of :class:`ScreeningReason`, '' for plausible structures.
    """
    positions = np.asarray(positions, dtype=np.float64)
    numbers = np.asarray(numbers, dtype=int)
    n = len(positions)
    codes = np.zeros(n, dtype=np.int8)
    codes[~np.isfinite(positions).all(axis=(1, 2))] = ScreeningReason.NOT_FINITE
    matrices: np.ndarray | None = None
    if periodic:
        matrices = np.broadcast_to(np.asarray(cells, dtype=np.float64), (n, 3, 3))
        finite = np.isfinite(matrices).all(axis=(1, 2))
        codes[(codes == 0) & ~finite] = ScreeningReason.NOT_FINITE
        volume = np.zeros(n)
        volume[finite] = np.abs(np.linalg.det(matrices[finite]))
        codes[(codes == 0) & (volume < 1e-3)] = ScreeningReason.NO_VOLUME
    todo = np.flatnonzero(codes == 0)
    for start in range(0, len(todo), _CHUNK):
        rows = todo[start : start + _CHUNK]
        parts = positions[rows], None if matrices is None else matrices[rows]
        codes[rows] = _judge(find_bonds(numbers, *parts, spec.bond_factor), *parts, spec)
    _judge_bonds(codes, positions, matrices, numbers, spec, learned)
    return _TEXTS[codes]


def _judge_bonds(
    codes: np.ndarray,
    positions: np.ndarray,
    cells: np.ndarray | None,
    numbers: np.ndarray,
    spec: ScreeningSpec,
    learned: CoordinationRanges | None,
) -> None:
    """Check valence, coordination and volume of structures plausible so far; modifies ``codes``."""
    todo = np.flatnonzero(codes == 0)
    if spec.valence and cells is None:
        wrong = pool_graphs(numbers, positions[todo]).smiles == ""
        codes[todo[wrong]] = ScreeningReason.WRONG_VALENCE
        todo = todo[~wrong]
    if spec.coordination is not None and learned is not None:
        parts = positions[todo], None if cells is None else cells[todo]
        bonds = find_bonds(numbers, *parts, learned.bond_factor)
        wrong = ~learned.accepts(numbers, count_neighbours(numbers, bonds, len(todo)))
        codes[todo[wrong]] = ScreeningReason.COORDINATION_OUTSIDE_THE_TRAINING_RANGE
        todo = todo[~wrong]
    limits = spec.volume_per_atom
    if limits == "training":
        seen = learned.volume if learned is not None else None
        limits = seen and (seen[0] * (1 - VOLUME_MARGIN), seen[1] * (1 + VOLUME_MARGIN))
    if limits is not None and cells is not None:
        volume = np.abs(np.linalg.det(cells[todo])) / len(numbers)
        wrong = (volume < limits[0]) | (volume > limits[1])
        codes[todo[wrong]] = ScreeningReason.VOLUME_PER_ATOM_OUT_OF_RANGE


def _judge(
    bonds: Bonds, positions: np.ndarray, cells: np.ndarray | None, spec: ScreeningSpec
) -> np.ndarray:
    """Return codes from the connectivity of structures, periodic images included."""
    n, n_atoms = positions.shape[:2]
    codes = np.zeros(n, dtype=np.int8)
    codes[bonds.structure[bonds.ratio < spec.min_distance_factor]] = ScreeningReason.ATOMS_TOO_CLOSE
    if n_atoms > 1 and not spec.allow_isolated_atoms:
        alone = np.ones((n, n_atoms), dtype=bool)
        alone[bonds.structure, bonds.first] = False
        codes[(codes == 0) & alone.any(axis=1)] = ScreeningReason.ISOLATED_ATOM
    if cells is None and not spec.allow_fragments:
        pieces = bonds.pieces(n, n_atoms)
        split = (pieces != pieces[:, :1]).any(axis=1)
        codes[(codes == 0) & split] = ScreeningReason.FRAGMENTS
    return codes


def _collision(atoms: Atoms, periodic: bool, spec: ScreeningSpec) -> str:
    looked_at = atoms.copy()
    looked_at.pbc = periodic
    return closest_collision(looked_at, spec.min_distance_factor) or "by rounding"
