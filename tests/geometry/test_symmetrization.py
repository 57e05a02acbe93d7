"""Crystals that are nearly symmetric, made so."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from logan_campaign.geometry.structures import from_atoms, spacegroup_symbol
from logan_campaign.geometry.symmetrization import find_operations, symmetrized


def quartz() -> Atoms:
    """Return α-quartz (P3_221), nine atoms."""
    return crystal(
        ["Si", "O"],
        [(0.4697, 0, 0), (0.4135, 0.2669, 0.1191)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
    )


def rattled(atoms: Atoms, stdev: float, seed: int) -> Atoms:
    """Return a copy whose atoms have moved at random."""
    copy = atoms.copy()
    copy.positions += np.random.default_rng(seed).normal(scale=stdev, size=copy.positions.shape)
    return copy


def group(atoms: Atoms, symprec: float) -> str | None:
    """Return the symbol of the space group."""
    return spacegroup_symbol(from_atoms(atoms), symprec)


def made(atoms: Atoms, symprec: float, fixed_cell: bool = True) -> tuple[Atoms, int]:
    """Return a crystal with the symmetry that it nearly has, and how many operations that are."""
    positions, cell, n = symmetrized(
        atoms.numbers, atoms.positions, atoms.cell.array, symprec, fixed_cell
    )
    return Atoms(atoms.numbers, positions, cell=cell, pbc=True), n


@pytest.mark.parametrize("seed", range(4))
def test_a_rattled_crystal_gets_its_space_group_back_to_rounding(seed: int) -> None:
    given = rattled(quartz(), 0.03, seed)
    assert group(given, 0.01) == "P1"
    found, n = made(given, 0.3)
    assert n == 6
    assert group(found, 1e-5) == "P3_221"
    assert np.array_equal(found.cell.array, given.cell.array)
    moved = np.linalg.norm(found.positions - given.positions, axis=1)
    assert 0 < moved.max() < 0.3
    # the mean of equivalent deviations is smaller than the deviations
    assert rms(found, quartz()) < rms(given, quartz())


def rms(one: Atoms, other: Atoms) -> float:
    """Return the root mean square distance (Å) of two crystals, their origins aligned."""
    away = one.positions - other.positions
    return float(np.sqrt(((away - away.mean(axis=0)) ** 2).sum(axis=1).mean()))


def test_what_is_symmetric_stays_as_it_is() -> None:
    once, n = made(rattled(quartz(), 0.03, 0), 0.3)
    twice, again = made(once, 0.3)
    assert n == again
    assert twice.positions == pytest.approx(once.positions, abs=1e-10)


def test_where_nothing_is_symmetric_nothing_moves() -> None:
    places = np.random.default_rng(3).uniform(size=(6, 3))
    cell = [[5.0, 0, 0], [0.7, 5.6, 0], [0.3, 0.9, 6.1]]
    given = Atoms("Si2O4", scaled_positions=places, cell=cell, pbc=True)
    found, n = made(given, 0.05)
    assert n == 1
    assert np.array_equal(found.positions, given.positions)


def test_atoms_keep_their_order_and_their_place_however_they_are_wrapped() -> None:
    given = rattled(quartz(), 0.03, 1)
    shifted = given.copy()
    shifted.positions[4] += 2 * given.cell[0] - given.cell[2]
    found, _ = made(given, 0.3)
    other, _ = made(shifted, 0.3)
    assert np.array_equal(found.numbers, given.numbers)
    assert other.positions - shifted.positions == pytest.approx(
        found.positions - given.positions, abs=1e-9
    )


def test_a_given_cell_allows_only_what_its_lattice_has() -> None:
    given = quartz()
    cell = given.cell.array.copy()
    cell[0] *= 1.02  # no longer hexagonal
    given.set_cell(cell, scale_atoms=True)
    assert group(given, 0.3) == "P3_221"
    fixed, n = made(given, 0.3)
    assert n < 6
    assert np.array_equal(fixed.cell.array, cell)
    assert n == 1 or group(fixed, 1e-4) != "P3_221"


def test_a_cell_that_was_not_given_gets_the_symmetry_of_its_lattice() -> None:
    given = rattled(quartz(), 0.02, 2)
    strain = np.eye(3) + 0.01 * np.random.default_rng(1).normal(size=(3, 3))
    given.set_cell(given.cell.array @ strain, scale_atoms=True)
    found, n = made(given, 0.4, fixed_cell=False)
    assert n == 6
    assert group(found, 1e-5) == "P3_221"
    a, b, _, alpha, beta, gamma = found.cell.cellpar()
    assert a == pytest.approx(b, rel=1e-9)
    assert (alpha, beta, gamma) == pytest.approx((90, 90, 120), abs=1e-6)
    assert found.cell.volume == pytest.approx(given.cell.volume, rel=1e-2)
    # strained, not turned: the deformation is symmetric
    deformation = np.linalg.inv(given.cell.array) @ found.cell.array
    assert deformation == pytest.approx(deformation.T, abs=1e-9)


def test_pure_translations_of_a_supercell_count() -> None:
    silicon = bulk("Si", "diamond", a=5.43) * (2, 2, 2)
    given = rattled(silicon, 0.02, 0)
    found, n = made(given, 0.3)
    alone = find_operations(silicon.numbers, silicon.positions, silicon.cell.array, 1e-4, True)
    assert n == alone.n
    assert group(found, 1e-5) == "Fd-3m"
    half = silicon.cell.array[0] / 2
    moved = found.copy()
    moved.positions += half
    assert sorted(map(tuple, np.round(moved.get_scaled_positions() % 1 % 1, 6))) == sorted(
        map(tuple, np.round(found.get_scaled_positions() % 1 % 1, 6))
    )


def test_atoms_on_top_of_each_other_are_left_to_screening() -> None:
    places = [[0.5, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]
    given = Atoms("SiO2", scaled_positions=places, cell=[4.0, 4.0, 4.0], pbc=True)
    found, n = made(given, 0.3)
    assert n == 1
    assert np.array_equal(found.positions, given.positions)
