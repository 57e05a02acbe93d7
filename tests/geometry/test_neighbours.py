"""The neighbour search and the bonds that it gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from logan_campaign.geometry.neighbours import find_bonds, neighbours


@pytest.mark.parametrize("seed", range(4))
def test_bonds_are_those_of_a_neighbour_list(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = np.eye(3) * rng.uniform(2.5, 5.0, 3) + rng.normal(0, 0.8, (5, 3, 3))
    numbers = np.array([6, 14, 8, 8])
    positions = rng.uniform(-5, 10, (5, 4, 3))
    bonds = find_bonds(numbers, positions, cells, 1.3)
    for k in range(5):
        atoms = Atoms(numbers, positions[k], cell=cells[k], pbc=True)
        expected = sorted(
            zip(*neighbor_list("ij", atoms, 1.3 * covalent_radii[numbers]), strict=True)
        )
        mine = bonds.structure == k
        assert sorted(zip(bonds.first[mine], bonds.second[mine], strict=True)) == expected
        vectors = (
            positions[k][bonds.second[mine]]
            + bonds.image[mine] @ cells[k]
            - positions[k][bonds.first[mine]]
        )
        sums = (
            covalent_radii[numbers][bonds.first[mine]] + covalent_radii[numbers][bonds.second[mine]]
        )
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1) / sums, bonds.ratio[mine])


@pytest.mark.parametrize("pbc", list(itertools.product([True, False], repeat=3)))
def test_neighbours_are_those_of_another_list_whatever_is_periodic(pbc: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(3)
    cell = np.array([[3.1, 0.0, 0.0], [-2.3, 2.9, 0.2], [0.4, 0.7, 2.6]])
    positions = rng.uniform(-4, 8, (6, 3))
    found = neighbours(positions, cell, 3.3, pbc)
    atoms = Atoms("C6", positions, cell=cell, pbc=pbc)
    first, second, image, distance = neighbor_list("ijSd", atoms, 3.3)
    expected = sorted(zip(first, second, *image.T, distance.round(9), strict=True))
    seen = zip(found.first, found.second, *found.image.T, found.distance.round(9), strict=True)
    assert sorted(seen) == expected


def test_atoms_on_one_another_are_neighbours_and_far_ones_cost_nothing() -> None:
    positions = np.array([[0, 0, 0], [0, 0, 0], [1e9, -1e9, 1e9]])
    for cell in (None, np.eye(3) * 5.0):
        found = neighbours(positions[:2], cell, 1.0)
        assert sorted(zip(found.first, found.second, strict=True)) == [(0, 1), (1, 0)]
        assert found.distance.tolist() == [0.0, 0.0]
    assert len(neighbours(positions, None, 1.0).first) == 2


def test_pieces_are_what_bonds_hold_together() -> None:
    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    torn = water + np.array([[0, 0, 0], [0, 0, 0], [0, 9.0, 0]])
    pieces = find_bonds([8, 1, 1], np.stack([water, torn]), None).pieces(2, 3)
    assert len(set(pieces[0])) == 1
    assert pieces[1, 0] == pieces[1, 1] != pieces[1, 2]
    assert not set(pieces[0]) & set(pieces[1])


def test_without_structures_there_are_no_bonds() -> None:
    assert len(find_bonds([6], np.zeros((0, 1, 3)), None).ratio) == 0
    assert find_bonds([6], np.zeros((2, 1, 3)), None).pieces(2, 1).tolist() == [[0], [1]]
