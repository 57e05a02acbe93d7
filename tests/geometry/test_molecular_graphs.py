"""Graphs of many molecules at once are those that one molecule at a time gets."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from logan_campaign.geometry.molecular_graphs import pool_graphs
from logan_campaign.geometry.molecules import perceive_arrays
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.sources import SmilesSource
from logan_campaign.sources.builtin import alcohols_and_ethers


@pytest.fixture(scope="module")
def isomers() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return numbers, positions and SMILES of the 14 isomers of C5H12O, atoms in one order."""
    loaded = SmilesSource(smiles=list(alcohols_and_ethers(5)), relax=False).load()
    numbers, positions, smiles = None, [], []
    for entry in loaded.entries:
        atoms = to_atoms(entry.structure)
        order = np.argsort(atoms.numbers, kind="stable")
        numbers = atoms.numbers[order]
        positions.append(atoms.positions[order])
        smiles.append(str(entry.smiles))
    assert numbers is not None
    return numbers, np.array(positions), smiles


def test_known_isomers_are_recognised(
    isomers: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    numbers, positions, smiles = isomers
    found = pool_graphs(numbers, positions)
    assert found.smiles.tolist() == smiles
    # nearest unbonded atoms are well beyond the longest bond
    assert (found.clarity > 1.3).all()


def test_rough_geometries_get_the_graph_that_one_at_a_time_gets(
    isomers: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    numbers, positions, _ = isomers
    rng = np.random.default_rng(0)
    rough = np.concatenate(
        [positions + rng.normal(0, stdev, positions.shape) for stdev in (0.1, 0.2, 0.3)]
    )
    found = pool_graphs(numbers, rough)
    one_by_one = [perceive_arrays(numbers, p, rough=True).smiles or "" for p in rough]
    agree = np.mean([a == b for a, b in zip(found.smiles, one_by_one, strict=True)])
    # a first look that follows RDKit's own tolerances decides a few doubtful ones otherwise
    assert agree >= 0.95
    valid = found.smiles != ""
    assert 0 < valid.sum() < len(valid)
    np.testing.assert_array_equal(found.clarity > 0, valid)


def test_order_of_atoms_place_and_orientation_do_not_matter(
    isomers: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    numbers, positions, smiles = isomers
    rng = np.random.default_rng(1)
    order = rng.permutation(len(numbers))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = pool_graphs(numbers[order], positions[:, order] @ turn + [3.0, -2.0, 9.0])
    assert moved.smiles.tolist() == smiles


def test_multiple_bonds_are_found_and_impossible_valences_are_not() -> None:
    for name, smiles in (("C6H6", "c1ccccc1"), ("CO2", "O=C=O"), ("HCN", "C#N"), ("H2O", "O")):
        atoms = molecule(name)
        assert pool_graphs(atoms.numbers, atoms.positions[None]).smiles.tolist() == [smiles]
    radical = molecule("CH3CH2O")
    assert pool_graphs(radical.numbers, radical.positions[None]).smiles.tolist() == [""]


def test_fragments_and_missing_numbers_have_no_graph() -> None:
    pair = molecule("H2O") + molecule("H2O")
    pair.positions[3:] += 5.0
    broken = np.stack([pair.positions, np.full(pair.positions.shape, np.nan)])
    found = pool_graphs(pair.numbers, broken)
    assert found.smiles.tolist() == ["", ""]
    assert found.clarity.tolist() == [0.0, 0.0]
    assert pool_graphs(pair.numbers, broken[:0]).smiles.shape == (0,)
