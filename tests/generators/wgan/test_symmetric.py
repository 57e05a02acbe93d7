"""Crystals with space groups: what spglib finds in them, fixed cells, gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spglib

from logan_campaign.core.errors import InputError
from logan_campaign.generators.cells import SymmetricCrystal, check_symmetry, post_processing
from logan_campaign.generators.target import Symmetry, Target
from logan_campaign.geometry.spacegroups import primitive_group

#: mp-546794: I-42d, primitive (Å).
CELL = (
    (5.13584237, 0.0, 0.0),
    (0.15785282, 5.13341595, 0.0),
    (-2.64684759, -2.56670798, 3.57534402),
)

SIX, NINE, TWELVE = ((8, 8, 14) * n for n in (2, 3, 4))


def place_for(numbers: Any, lattice: Any, *groups: int) -> SymmetricCrystal:
    volumes = None if lattice == "fixed" else (9.0, 17.0)
    cell = CELL if lattice == "fixed" else None
    symmetry = Symmetry(tuple((group, 1.0) for group in groups), 30)
    place = post_processing(Target(numbers, cell, True, lattice, volumes, symmetry))
    assert isinstance(place, SymmetricCrystal)
    return place


def check(place: SymmetricCrystal, numbers: Any, n: int) -> None:
    """Check that spglib finds at least as many operations as each structure's group has."""
    first, second = jax.random.split(jax.random.key(0))
    drawn = jax.random.normal(second, (n, place.n_drawn))
    positions, cells = jax.jit(place)(place.initial_outputs(first, n), drawn)
    rows = np.asarray(place.which(drawn))
    for k in range(n):
        number = int(place.table.group[rows[k]])
        cell = np.asarray(cells if cells.ndim == 2 else cells[k], float)
        fractional = np.asarray(positions[k], float) @ np.linalg.inv(cell)
        assert (fractional > -1e-4).all()
        assert (fractional < 1 + 1e-4).all()
        found = spglib.get_symmetry_dataset(
            (cell.tolist(), fractional.tolist(), list(numbers)), symprec=2e-3
        )
        wanted = primitive_group(number)
        assert found is not None
        assert len(found.rotations) % len(wanted.rotations) == 0, (number, found.number)
        if len(found.rotations) == len(wanted.rotations):
            # no more than asked for: then it is the group itself, or its mirror image
            assert found.number == number


@pytest.mark.parametrize(
    ("numbers", "lattice", "groups"),
    [
        (SIX, "learned", (2, 15, 122, 136, 227)),
        pytest.param(SIX, "learned", (1, 5, 82, 141), marks=pytest.mark.long),
        pytest.param(NINE, "drawn", (3, 144, 152, 154, 180), marks=pytest.mark.long),
        pytest.param(
            TWELVE,
            "drawn",
            (14, 19, 33, 92, 96, 122, 148, 161, 167, 194, 198),
            marks=pytest.mark.long,
        ),
    ],
)
def test_spglib_finds_the_space_group(numbers: Any, lattice: str, groups: Any) -> None:
    check(place_for(numbers, lattice, *groups), numbers, 16)


def test_every_group_asked_for_is_made_as_often_as_its_weight_says() -> None:
    symmetry = Symmetry(((122, 3.0), (2, 1.0)), 10)
    place = post_processing(Target(SIX, None, True, "drawn", (9.0, 17.0), symmetry))
    assert isinstance(place, SymmetricCrystal)
    drawn = jax.random.normal(jax.random.key(0), (2000, place.n_drawn))
    groups = place.table.group[np.asarray(place.which(drawn))]
    assert (groups == 122).mean() == pytest.approx(0.75, abs=0.03)


def test_a_fixed_cell_takes_the_groups_of_its_lattice_and_refuses_others() -> None:
    place = place_for(SIX, "fixed", 2, 5, 15, 82, 122, 152)  # no hexagonal one: left out
    assert set(place.table.group) == {2, 5, 15, 82, 122}
    check(place, SIX, 16)
    np.testing.assert_allclose(place(jnp.zeros((1, place.n_outputs)), jnp.zeros((1, 1)))[1], CELL)
    with pytest.raises(InputError, match=r"P6_122 .178.* no Wyckoff positions fit"):
        place_for(SIX, "fixed", 178)
    with pytest.raises(InputError, match=r"P4_2/mnm .136.*fixed cell"):
        place_for(SIX, "fixed", 136)


def test_atoms_keep_the_targets_order() -> None:
    place = place_for(NINE, "drawn", 152)
    site = place.table.site
    for row in site:
        kinds = [{NINE[a] for a in range(9) if row[a] == s} for s in range(row.max() + 1)]
        assert all(len(found) == 1 for found in kinds)


@pytest.mark.long  # compiling a Jacobian through a cell's reduction takes a while
def test_equivalent_atoms_move_together() -> None:
    place = place_for(NINE, "learned", 152)
    outputs = place.initial_outputs(jax.random.key(3), 1)
    drawn = jnp.zeros((1, place.n_drawn))

    def positions(outputs: jax.Array) -> jax.Array:
        return place(outputs, drawn)[0]

    jacobian = np.asarray(jax.jit(jax.jacobian(positions))(outputs))[0, :, :, 0]
    row = place.table.site[int(place.which(drawn)[0])]
    cell, step = np.asarray(place(outputs, drawn)[1][0]), 0.01
    evaluate = jax.jit(positions)
    for k in range(place.n_coordinates):
        move = step * np.eye(place.n_outputs)[None, k]
        ends = [np.asarray(evaluate(outputs + s * move))[0] for s in (1, -1)]
        # an atom on a cell face may come out on either side
        fractional = (ends[0] - ends[1]) @ np.linalg.inv(cell)
        change = (fractional - np.rint(fractional)) @ cell
        np.testing.assert_allclose(jacobian[:, :, k], change / 2 / step, atol=2e-3)
        moved = np.abs(jacobian[:, :, k]).max(axis=1) > 1e-5
        assert not moved[row != k // 3].any()
        assert moved[row == k // 3].all() or not moved.any()


def test_symmetry_is_for_crystals_and_needs_possible_groups() -> None:
    with pytest.raises(InputError, match="molecule"):
        Target(SIX, CELL, False, symmetry=Symmetry(((2, 1.0),), 5))
    for groups in ((), ((231, 1.0),), ((2, 0.0),)):
        with pytest.raises(InputError, match="space group"):
            Symmetry(groups, 5)
    target = Target((8, 14), None, True, "drawn", (9.0, 17.0), Symmetry(((230, 1.0),), 5))
    with pytest.raises(InputError, match="Ia-3d"):
        check_symmetry(target)
