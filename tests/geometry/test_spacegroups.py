"""Space groups in primitive cells and the ways to fill their Wyckoff positions."""

from __future__ import annotations

import numpy as np
import pytest

from logan_campaign.core.errors import InputError
from logan_campaign.geometry.lattice import reduced_cell
from logan_campaign.geometry.spacegroups import (
    assignments,
    group_number,
    group_symbol,
    point_group,
    primitive_group,
    settings_in,
)

#: One of each lattice system and centring, chiral ones and non-symmorphic ones.
GROUPS = [1, 2, 5, 14, 15, 19, 38, 62, 70, 88, 92, 122, 136, 148, 154, 167, 180, 194, 205, 216, 227]


@pytest.mark.parametrize("number", [*GROUPS, 230])
def test_positions_are_orbits_of_the_operations(number: int) -> None:
    group = primitive_group(number)
    rng = np.random.default_rng(number)
    for position in group.positions:
        orbit = position.maps @ rng.random(3) + position.shifts
        moved = np.einsum("gij,nj->gni", group.rotations, orbit) + group.translations[:, None]
        difference = moved[:, :, None] - orbit[None, None]
        same = (np.abs(difference - np.rint(difference)) < 1e-6).all(axis=-1)
        assert (same.sum(axis=2) == 1).all()
        assert len(group.rotations) % len(orbit) == 0
        assert (len(np.unique(position.maps.reshape(len(orbit), -1), axis=0)) > 0) == (
            len(orbit) > 0
        )


@pytest.mark.parametrize("number", GROUPS)
def test_operations_are_isometries_of_the_groups_cell(number: int) -> None:
    group = primitive_group(number)
    rotations = point_group(group)
    unit = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), unit, atol=1e-9)
    assert np.linalg.det(group.cell) == pytest.approx(1.0)


def test_known_crystals_are_among_the_assignments() -> None:
    def letters(number: int, counts: list[int]) -> set[tuple[tuple[str, ...], ...]]:
        group = primitive_group(number)
        return {
            tuple(
                tuple(sorted(group.positions[k].letter for s, k in way if s == species))
                for species in range(len(counts))
            )
            for way in assignments(group, counts, 1000)
        }

    assert (("c",), ("a",)) in letters(152, [6, 3])  # quartz, oxygen first
    assert (("b",), ("a",)) in letters(92, [8, 4])  # cristobalite
    assert (("f",), ("a",)) in letters(136, [4, 2])  # stishovite
    assert (("c",), ("a",)) in letters(227, [4, 2])  # beta cristobalite, primitive


def test_assignments_hold_the_atoms_and_no_point_twice() -> None:
    group = primitive_group(47)  # Pmmm: 27 positions, very many ways
    found = assignments(group, [6, 12], 40)
    assert len(found) == len(set(found)) == 40
    assert found == assignments(group, [6, 12], 40)
    for way in found:
        held = [0, 0]
        for species, k in way:
            held[species] += len(group.positions[k].shifts)
        assert held == [6, 12]
        points = [k for _, k in way if group.positions[k].dof == 0]
        assert len(points) == len(set(points))
    assert assignments(primitive_group(227), [1, 1], 10) == []


def test_a_lattice_has_the_settings_that_its_metric_allows() -> None:
    def count(number: int, cell: list[list[float]]) -> int:
        return len(settings_in(primitive_group(number), np.array(cell, dtype=float)))

    orthorhombic = [[4, 0, 0], [0, 5, 0], [0, 0, 6]]
    assert count(3, orthorhombic) == 3  # a twofold axis along a, b or c
    assert count(19, orthorhombic) == 2  # which differ by their origin
    assert count(62, orthorhombic) == 6  # Pnma and its permutations
    assert count(92, orthorhombic) == 0
    assert count(92, [[4, 0, 0], [0, 4, 0], [0, 0, 6]]) > 0
    assert count(122, [[4, 0, 0], [0, 4, 0], [0, 0, 6]]) == 0  # another centring
    assert count(2, [[4, 0, 0], [0.3, 5, 0], [0.4, 0.5, 6]]) == 1
    centred = reduced_cell(np.array([[-2, 2, 3], [2, -2, 3], [2, 2, -3.0]]))
    assert count(122, centred.tolist()) > 0


def test_groups_go_by_number_or_symbol() -> None:
    assert group_number("P4_12_12") == group_number("92") == group_number(92) == 92
    assert group_symbol(227) == "Fd-3m"
    for wrong in ("P9", 0, 231, "quartz"):
        with pytest.raises(InputError, match="space group"):
            group_number(wrong)
