"""Random structures: what was asked for, from a seed alone, without a training set."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.build import bulk

from logan_campaign.core.errors import InputError
from logan_campaign.generators import models
from logan_campaign.generators.random.settings import RandomStructures
from logan_campaign.generators.target import Symmetry, Target
from logan_campaign.geometry.molecular_graphs import pool_graphs
from logan_campaign.geometry.neighbours import find_bonds
from logan_campaign.geometry.spacegroups import group_number
from logan_campaign.geometry.structures import from_arrays, spacegroup_symbol

BOX = ((8.0, 0, 0), (0, 7.0, 0), (0, 0, 6.0))


def generator(target: Target, **settings: int) -> models.Model:
    method = RandomStructures(**settings)
    assert not method.needs_training
    found = method.train([], target, seed=0, training_set_id="").model
    assert found is not None
    return models.load(found.to_bytes())


def test_molecules_have_valid_bonds_and_all_isomers_appear() -> None:
    target = Target((8, 6, 6, 6, *[1] * 8), BOX, False)
    made = generator(target)
    pool = made.generate(60, seed=1)
    graphs = pool_graphs(np.array(target.numbers), pool.positions)
    assert {"CCCO", "CC(C)O", "CCOC"} == set(graphs.smiles)
    assert np.array_equal(pool.positions[:7], made.generate(7, seed=1).positions)
    assert not np.allclose(pool.positions[:7], made.generate(7, seed=2).positions)
    assert np.allclose(pool.positions.mean(axis=(0, 1)), [4.0, 3.5, 3.0], atol=0.5)


def test_radicals_and_clusters_are_atoms_at_random_places() -> None:
    for target in (Target((6, 1, 1, 1), BOX, False), Target((2,) * 4, BOX, False, cluster=True)):
        pool = generator(target, tries=2).generate(5, seed=0)
        assert np.isfinite(pool.positions).all()
        assert len({p.tobytes() for p in pool.positions}) == 5


def test_crystals_have_the_space_groups_and_cells_that_were_asked_for() -> None:
    cell = bulk("NaCl", "rocksalt", a=5.6).cell.array
    fixed = Target(
        (17, 11), tuple(map(tuple, cell)), True, symmetry=Symmetry(((225, 1.0), (216, 1.0)), 20)
    )
    pool = generator(fixed).generate(20, seed=0)
    assert np.allclose(pool.cells, cell)
    found = {spacegroup_symbol(from_arrays(np.array([17, 11]), p, cell)) for p in pool.positions}
    assert found == {"Fm-3m", "F-43m"}


def test_without_a_wish_crystals_have_many_space_groups_and_volumes_within_the_range() -> None:
    numbers = np.array([13, 8, 8])
    target = Target((13, 8, 8), None, True, lattice="drawn", volumes=(9.0, 14.0))
    made = generator(target)
    pool = made.generate(16, seed=3)
    assert np.array_equal(pool.positions[:5], made.generate(5, seed=3).positions)
    volumes = np.abs(np.linalg.det(pool.cells)) / 3
    assert volumes.min() > 8.99
    assert volumes.max() < 14.01
    symbols = Counter(
        spacegroup_symbol(from_arrays(numbers, p, c))
        for p, c in zip(pool.positions, pool.cells, strict=True)
    )
    assert len(symbols) > 6
    systems = {
        1 + sum(group_number(str(s)) >= n for n in (3, 16, 75, 143, 168, 195)) for s in symbols
    }
    assert len(systems) > 2


def test_more_tries_keep_atoms_further_apart() -> None:
    target = Target(
        (29,) * 6, None, True, lattice="learned", volumes=(10.0, 12.0),
        symmetry=Symmetry(((1, 1.0),), 20),
    )  # fmt: skip

    def shortest(tries: int) -> float:
        pool = generator(target, tries=tries).generate(16, seed=0)
        bonds = find_bonds(np.array(target.numbers), pool.positions, pool.cells, 2.0)
        return float(np.mean([bonds.ratio[bonds.structure == row].min() for row in range(16)]))

    assert shortest(16) > shortest(1) + 0.1


def test_nothing_was_learned_to_score_by() -> None:
    made = generator(Target((6, 1, 1, 1, 1), BOX, False))
    with pytest.raises(InputError, match="has no scores"):
        made.scores(np.zeros((1, 5, 3)), np.eye(3))
    assert made.arrays() == {}
