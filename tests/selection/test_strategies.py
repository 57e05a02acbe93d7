"""Strategies other than k-means, and sequences of strategies."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from pydantic import TypeAdapter, ValidationError
from rdkit import Chem

from logan_campaign.core.errors import InputError
from logan_campaign.geometry.coordination import CoordinationRanges
from logan_campaign.geometry.structures import from_atoms, spacegroup_symbol, to_atoms
from logan_campaign.selection import (
    CriticSelection,
    DiverseSelection,
    FrameworkSelection,
    GraphSelection,
    KMeansSelection,
    Pool,
    PreRelaxation,
    ScoreSelection,
    SelectionSpec,
    chart,
    select,
)
from logan_campaign.selection.diverse import farthest_points
from logan_campaign.selection.framework import _alternating
from logan_campaign.selection.ranking import mean_rank_of_others
from logan_campaign.selection.unusual import usual
from logan_campaign.sources import LoadedSet
from logan_campaign.sources.builtin import alcohols_and_ethers
from logan_campaign.sources.smiles import SmilesSource, embed

SMALL = {"n_max": 1, "r_cut": 4.0, "n_neighbour": 8}


@cache
def isomers() -> LoadedSet:
    """Return the seven isomers of C4H10O by force field, made once for all tests."""
    return SmilesSource(smiles=list(alcohols_and_ethers(4)), relax=False).load()


def molecules(copies: int = 6, stdev: float = 0.04, broken: int = 4) -> tuple[Pool, list[str]]:
    """Return a pool of the seven isomers of C4H10O, more of the first ones, and broken ones."""
    rng = np.random.default_rng(0)
    positions, smiles = [], []
    for number, entry in enumerate(isomers().entries):
        atoms = to_atoms(entry.structure)
        order = np.argsort(atoms.numbers, kind="stable")
        numbers = atoms.numbers[order]
        for _ in range(copies - number // 2):
            positions.append(atoms.positions[order] + rng.normal(0, stdev, (15, 3)))
            smiles.append(str(entry.smiles))
    for number in range(broken):
        torn = positions[number].copy()
        torn[numbers == 8] += 3.0 + number
        positions.append(torn)
        smiles.append("")
    n = len(positions)
    pool = Pool(
        numbers=numbers,
        positions=np.array(positions, dtype=np.float32),
        cells=np.tile(10 * np.eye(3), (n, 1, 1)),
        periodic=False,
        group=np.arange(n) % 2,
    )
    return pool, smiles


def test_graph_gives_one_pick_per_graph_and_says_what_it_stands_for() -> None:
    pool, smiles = molecules()
    chosen = select(pool, GraphSelection(n_picks=20, fill=False), seed=0)
    assert len(chosen.indices) == 7
    assert sorted(chosen.keys) == sorted(set(smiles) - {""})
    for row, key, cluster, number in zip(
        chosen.indices, chosen.keys, chosen.clusters, chosen.represents, strict=True
    ):
        assert smiles[row] == key
        assert number == smiles.count(key) == (chosen.labels == cluster).sum()
    assert chosen.represents.tolist() == sorted(chosen.represents, reverse=True)
    assert chosen.n_unusable == {"no valid molecular graph": 4}
    assert set(chosen.strategies) == {"graph"}


def test_graph_takes_the_clearest_of_each_graph() -> None:
    pool, _ = molecules(copies=1, broken=0)
    blurred = pool.positions + np.random.default_rng(1).normal(0, 0.12, pool.positions.shape)
    both = Pool(
        pool.numbers,
        np.concatenate([blurred, pool.positions]),
        np.concatenate([pool.cells] * 2),
        False,
        np.zeros(2 * len(pool), dtype=int),
    )
    chosen = select(both, GraphSelection(n_picks=len(pool), fill=False), seed=0)
    assert (chosen.indices >= len(pool)).all()


def test_places_left_over_go_to_what_has_no_graph() -> None:
    everything, smiles = molecules()
    # each graph once, so that others are to be expected, and what has none
    rows = [smiles.index(text) for text in dict.fromkeys(smiles) if text]
    pool = everything.take(np.array([*rows, *range(len(smiles) - 4, len(smiles))]))
    chosen = select(pool, GraphSelection(n_picks=9, descriptor=SMALL), seed=0)
    assert len(chosen.indices) == 9
    assert chosen.keys[7:] == [None, None]
    assert set(chosen.strategies[7:]) == {"graph: kmeans of the rest"}
    assert chosen.represents.sum() == len(pool)
    few = select(pool, GraphSelection(n_picks=3), seed=0)
    assert len(few.indices) == 3


def test_no_place_goes_to_what_has_no_graph_where_every_graph_was_seen_often() -> None:
    pool, smiles = molecules()
    chosen = select(pool, GraphSelection(n_picks=40, descriptor=SMALL), seed=0)
    assert len(chosen.indices) == len(set(smiles) - {""})
    assert chosen.n_unusable == {"no valid molecular graph": 4}
    broken = pool.take(np.arange(len(pool) - 4, len(pool)))
    assert len(select(broken, GraphSelection(n_picks=3, descriptor=SMALL), seed=0).indices) == 3


def test_further_representatives_stand_for_themselves() -> None:
    pool, _ = molecules()
    chosen = select(pool, GraphSelection(n_picks=12, per_key=2, fill=False), seed=0)
    assert len(set(chosen.indices.tolist())) == 12
    assert chosen.represents[7:].tolist() == [1] * 5
    assert chosen.represents.sum() == len(pool) - 4


def test_a_cheap_relaxation_finds_the_graph_that_the_raw_geometry_hides() -> None:
    pool, smiles = molecules(copies=4, broken=0)
    hidden = smiles[-1]
    rows = [k for k, text in enumerate(smiles) if text == hidden]
    # a hydrogen of a CH3 group too far out for any bond, as relaxation will notice
    for row in rows:
        away = pool.positions[row, 0] - pool.positions[row, 1:].mean(axis=0)
        pool.positions[row, 0] += 1.1 * away / np.linalg.norm(away)
    settings = GraphSelection(n_picks=10, pre_relax=PreRelaxation(n=1), descriptor=SMALL)
    raw = select(pool, settings.model_copy(update={"pre_relax": None, "fill": False}), seed=0)
    assert hidden not in raw.keys
    chosen = select(pool, settings, seed=0)
    assert chosen.keys[-1] == hidden
    assert chosen.strategies[-1] == "graph: relaxed by pre"
    assert int(chosen.indices[-1]) in rows
    assert list(chosen.starts) == [int(chosen.indices[-1])]
    assert chosen.represents[-1] == len(rows)
    [done] = chosen.cheap
    assert (done.level, done.n) == ("pre", 1)
    assert done.cpu_s > 0
    again = select(pool, settings, seed=0)
    np.testing.assert_array_equal(again.indices, chosen.indices)
    np.testing.assert_allclose(
        next(iter(again.starts.values())).positions, next(iter(chosen.starts.values())).positions
    )


def test_nothing_with_a_graph_is_one_clear_line() -> None:
    pool, _ = molecules()
    broken = pool.take(np.arange(len(pool) - 4, len(pool)))
    with pytest.raises(InputError, match="no valid molecular graph in all of 4 structures"):
        select(broken, GraphSelection(fill=False), seed=0)


def test_farthest_points_are_a_greedy_cover() -> None:
    points = np.random.default_rng(0).normal(size=(200, 3))
    picks, nearest = farthest_points(points, 12)
    distance = np.linalg.norm(points[:, None] - points[picks], axis=2)
    np.testing.assert_array_equal(nearest, distance.argmin(axis=1))
    between = np.linalg.norm(points[picks][:, None] - points[picks], axis=2)
    np.fill_diagonal(between, np.inf)
    # no structure is farther from all picks than the picks are from one another
    assert distance.min(axis=1).max() <= between.min() + 1e-9
    assert picks[0] == np.linalg.norm(points - points.mean(axis=0), axis=1).argmin()


def test_farthest_points_stop_where_all_places_are_taken() -> None:
    picks, nearest = farthest_points(np.repeat([[0.0, 0], [1, 0], [5, 0]], 3, axis=0), 10)
    assert sorted(picks.tolist()) == [0, 3, 6]
    assert np.bincount(nearest).tolist() == [3, 3, 3]


def test_diverse_covers_all_structures() -> None:
    pool, _ = molecules()
    chosen = select(pool, DiverseSelection(n_picks=5, descriptor=SMALL), seed=0)
    assert len(chosen.indices) == 5
    assert chosen.represents.sum() == len(pool)


def test_critics_of_other_models_decide() -> None:
    ranks = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 4]])
    # structures of model 0 are judged by models 1 and 2, and so on
    np.testing.assert_array_equal(
        mean_rank_of_others(ranks, np.array([0, 1, 2, 1])), [2.5, 2.0, 2.5, 4.0]
    )
    np.testing.assert_array_equal(mean_rank_of_others(ranks[:1], np.zeros(4, int)), ranks[0])
    pool, _ = molecules()
    with pytest.raises(InputError, match="needs trained models"):
        select(pool, CriticSelection(), seed=0)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module with functions that score."""
    module = ModuleType("scores_of_the_test")

    def extent(structures: list[Atoms], factor: float = 1.0) -> list[float]:
        return [factor * float(np.ptp(atoms.positions, axis=0).max()) for atoms in structures]

    module.extent = extent
    module.compact = lambda structures: [value < 6.0 for value in extent(structures)]
    module.none = lambda structures: [float("nan")] * len(structures)
    module.single = lambda structures: 1.0
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_a_function_of_the_users_ranks_or_filters(scores: str) -> None:
    pool, _ = molecules()
    size = np.ptp(np.asarray(pool.positions, dtype=float), axis=1).max(axis=1)
    order = np.argsort(size, kind="stable")
    lowest = select(pool, ScoreSelection(target=f"{scores}:extent", n_picks=3), seed=0)
    assert lowest.indices.tolist() == order[:3].tolist()
    highest = ScoreSelection(target=f"{scores}:extent", n_picks=2, keep="highest")
    assert set(select(pool, highest, seed=0).indices) == set(order[-2:])
    turned = ScoreSelection(target=f"{scores}:extent", n_picks=2, kwargs={"factor": -1.0})
    assert set(select(pool, turned, seed=0).indices) == set(order[-2:])
    passed = select(pool, ScoreSelection(target=f"{scores}:compact", keep="true"), seed=0)
    np.testing.assert_array_equal(passed.indices, np.flatnonzero(size < 6.0))
    assert passed.n_unusable == {f"refused by {scores}:compact": int((size >= 6.0).sum())}


def test_a_score_that_cannot_be_used_is_one_clear_line(scores: str) -> None:
    pool, _ = molecules()
    with pytest.raises(InputError, match="score scores none of"):
        select(pool, ScoreSelection(target=f"{scores}:none"), seed=0)
    with pytest.raises(InputError, match=r"returns shape \(\) for"):
        select(pool, ScoreSelection(target=f"{scores}:single"), seed=0)
    with pytest.raises(InputError, match="select: cannot load"):
        ScoreSelection(target="no_such_module:f").check(["C"], "molecule")
    with pytest.raises(InputError, match="does not take a list and these kwargs"):
        ScoreSelection(target=f"{scores}:extent", kwargs={"x": 1}).check(["C"], "molecule")


def test_in_a_sequence_each_strategy_picks_from_the_picks_before() -> None:
    pool, smiles = molecules()
    spec = [
        GraphSelection(n_picks=20, fill=False),
        DiverseSelection(n_picks=3, descriptor=SMALL),
    ]
    chosen = select(pool, spec, seed=0)
    assert set(chosen.strategies) == {"graph > diverse"}
    first = select(pool, spec[0], seed=0)
    assert set(chosen.indices) <= set(first.indices)
    # the three stand for all that the seven stood for
    assert chosen.represents.sum() == first.represents.sum() == len(pool) - 4
    assert chosen.keys == [smiles[row] for row in chosen.indices]
    assert chosen.n_unusable == first.n_unusable


def test_a_spec_is_one_strategy_or_a_list() -> None:
    adapter = TypeAdapter(SelectionSpec)
    assert isinstance(adapter.validate_python({"strategy": "kmeans"}), KMeansSelection)
    both = adapter.validate_python([{"strategy": "graph"}, {"strategy": "diverse"}])
    assert [step.strategy for step in both] == ["graph", "diverse"]
    for wrong in ([], {"strategy": "best"}, [{"strategy": "graph", "n_picks": 0}], "kmeans"):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_strategies_are_for_one_kind_of_target() -> None:
    with pytest.raises(InputError, match="'graph' is for molecules; the target is a crystal"):
        GraphSelection().check(["Si", "O"], "crystal")
    with pytest.raises(InputError, match="'framework' is for crystals; the target is a molecule"):
        FrameworkSelection().check(["C"], "molecule")
    with pytest.raises(InputError, match="gfn2-xtb"):
        FrameworkSelection(pre_relax=PreRelaxation()).check(["Si", "O"], "crystal")


def carbon() -> tuple[Pool, list[str]]:
    """Return a pool of two nets of four-coordinated carbon, in cells of four atoms."""
    diamond = bulk("C", "diamond", a=3.57).repeat((2, 1, 1))
    hexagonal = crystal(
        "C", [(1 / 3, 2 / 3, 0.0625)], spacegroup=194, cellpar=[2.52, 2.52, 4.12, 90, 90, 120]
    )
    structures, kinds = [], []
    for seed in range(6):
        for kind, atoms in (("diamond", diamond), ("lonsdaleite", hexagonal)):
            if kind == "diamond" or seed < 4:
                moved = atoms.copy()
                moved.rattle(0.04, seed=seed)
                structures.append(moved)
                kinds.append(kind)
    torn = diamond.copy()
    torn.positions[0] += 0.9
    structures.append(torn)
    kinds.append("torn")
    pool = Pool(
        numbers=diamond.numbers,
        positions=np.array([a.positions for a in structures]),
        cells=np.array([a.cell.array for a in structures]),
        periodic=True,
        group=np.zeros(len(structures), dtype=int),
        training=[from_atoms(bulk("C", "diamond", a=3.57))],
    )
    return pool, kinds


@pytest.mark.parametrize("group_by", ["topology", "match"])
def test_framework_gives_one_pick_per_net_with_learned_coordination(group_by: str) -> None:
    pool, kinds = carbon()
    chosen = select(pool, FrameworkSelection(group_by=group_by, fill=False), seed=0)
    assert [kinds[row] for row in chosen.indices] == ["diamond", "lonsdaleite"]
    assert chosen.represents.tolist() == [6, 4]
    assert chosen.n_unusable == {"environments no more usual than at random": 1}
    by_number = FrameworkSelection(group_by=group_by, fill=False, accept="coordination")
    chosen = select(pool, by_number, seed=0)
    assert [kinds[row] for row in chosen.indices] == ["diamond", "lonsdaleite"]
    assert chosen.n_unusable == {"coordination outside the training set's": 1}
    strategy = FrameworkSelection(group_by=group_by, n_picks=3, descriptor=SMALL)
    # each net was seen often: no other is to be expected
    assert len(select(pool, strategy, seed=0).indices) == 2
    once = [kinds.index(kind) for kind in ("diamond", "lonsdaleite", "torn")]
    filled = select(pool.take(np.array(once)), strategy, seed=0)
    assert sorted(filled.indices) == [0, 1, 2]


def test_a_symmetric_crystal_is_not_surpassed_by_its_own_displaced_copies() -> None:
    ordered = Atoms("CuAu", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[2.8, 2.8, 3.67])
    moved = ordered.positions + np.array([[0, 0, 0], [0.9, 0.9, 1.2]])
    pool = Pool(
        numbers=ordered.numbers,
        positions=np.array([ordered.positions, moved]),
        cells=np.repeat(ordered.cell.array[None], 2, axis=0),
        periodic=True,
        group=np.zeros(2, dtype=int),
        training=[from_atoms(bulk("Cu")), from_atoms(bulk("Au"))],
        fixed_cell=True,
    )
    misfit, fits = usual(pool, 0.01, symmetrize=0.4)
    assert misfit[0] < misfit[1]
    assert fits.tolist() == [True, False]
    # of a cell that may change, displaced copies are other crystals
    assert not usual(replace(pool, fixed_cell=False), 0.01, symmetrize=0.4)[1].any()


def space_group(atoms: Atoms, symprec: float) -> str | None:
    """Return the symbol of a crystal's space group."""
    return spacegroup_symbol(from_atoms(atoms), symprec)


@pytest.mark.parametrize("group_by", ["topology", "match"])
def test_framework_symmetrizes_what_it_picks(group_by: str) -> None:
    pool, kinds = carbon()
    before = pool.positions.copy()
    chosen = select(pool, FrameworkSelection(group_by=group_by, symmetrize=0.3, n_picks=2), seed=0)
    assert [kinds[row] for row in chosen.indices] == ["diamond", "lonsdaleite"]
    assert set(chosen.starts) == set(chosen.indices.tolist())
    assert np.array_equal(pool.positions, before)  # what was generated is kept
    assert set(chosen.strategies) == {"framework, symmetrized"}
    assert [key.split()[-1] for key in chosen.keys if key] == ["R-3m", "P6_3/mmc"]
    for row, symbol in zip(chosen.indices.tolist(), ("R-3m", "P6_3/mmc"), strict=True):
        assert space_group(pool.atoms(row), 0.001) == "P1"
        assert space_group(chosen.starts[row], 0.001) == symbol
        assert np.array_equal(chosen.starts[row].cell.array, pool.cells[row])
        assert np.abs(chosen.starts[row].positions - pool.positions[row]).max() < 0.3


def test_framework_puts_nets_with_more_symmetry_first() -> None:
    pool, kinds = carbon()
    shear = np.array([[1, 0.02, 0.03], [0, 1, 0.01], [0, 0, 1]])
    sheared = np.array(kinds) == "diamond"
    strain = np.where(sheared[:, None, None], shear, np.eye(3))
    given = replace(pool, positions=pool.positions @ strain, cells=pool.cells @ strain)
    plain = select(given, FrameworkSelection(accept="coordination", n_picks=2), seed=0)
    assert [kinds[row] for row in plain.indices] == ["diamond", "lonsdaleite"]
    chosen = select(
        given, FrameworkSelection(accept="coordination", n_picks=2, symmetrize=0.3), seed=0
    )
    # the given cells of diamond have lost their symmetry, those of lonsdaleite have not
    assert [kinds[row] for row in chosen.indices] == ["lonsdaleite", "diamond"]
    found = replace(given, fixed_cell=False)
    chosen = select(
        found, FrameworkSelection(accept="coordination", n_picks=2, symmetrize=0.3), seed=0
    )
    assert [kinds[row] for row in chosen.indices] == ["diamond", "lonsdaleite"]
    row = int(chosen.indices[0])
    assert np.abs(chosen.starts[row].cell.array - found.cells[row]).max() > 1e-3


def test_what_was_symmetrized_and_relaxed_goes_on_as_it_was_relaxed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copper = bulk("Cu", cubic=True)
    torn = copper.positions + np.array([[1.2, 0.0, 0.0], *np.zeros((3, 3))])
    pool = Pool(
        numbers=copper.numbers,
        positions=torn[None],
        cells=copper.cell.array[None],
        periodic=True,
        group=np.zeros(1, dtype=int),
        training=[from_atoms(copper)],
    )
    level = {"name": "pre", "calculator": "ase", "target": "ase.calculators.emt:EMT"}
    chosen = select(
        pool,
        FrameworkSelection(
            accept="coordination",
            symmetrize=0.1,
            pre_relax={"n": 1, "level": level},
            descriptor=SMALL,
        ),
        seed=0,
    )
    assert chosen.cheap[0].n_converged == 1
    assert space_group(chosen.starts[0], 0.05) == "Fm-3m"


def test_spec_without_symmetrize_reads_as_it_did_before_there_was_any() -> None:
    assert "symmetrize" not in FrameworkSelection().model_dump(mode="json")
    again = FrameworkSelection(symmetrize=0.2).model_dump(mode="json")
    assert again["symmetrize"] == 0.2
    assert FrameworkSelection(**again).symmetrize == 0.2
    for wrong in (0, -0.1, 2, True):
        with pytest.raises(ValidationError, match="symmetrize"):
            FrameworkSelection(symmetrize=wrong)


@pytest.mark.parametrize("group_by", ["topology", "match"])
def test_a_calculator_of_the_specs_repairs_a_torn_net(
    group_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copper = bulk("Cu", cubic=True)
    torn = np.repeat(copper.positions[None], 3, axis=0)
    torn[:, 0] += np.array([[1.2, 0.0, 0.0], [0.0, 1.2, 0.1], [0.1, 1.2, 0.0]])
    pool = Pool(
        numbers=copper.numbers,
        positions=torn,
        cells=np.repeat(copper.cell.array[None], 3, axis=0),
        periodic=True,
        group=np.zeros(3, dtype=int),
        training=[from_atoms(bulk("Cu"))],
    )
    level = {"calculator": "ase", "name": "emt", "target": "ase.calculators.emt:EMT"}
    settings = FrameworkSelection(
        accept="coordination",
        group_by=group_by,
        pre_relax={"n": 2, "level": level},
        descriptor=SMALL,
    )
    settings.check(["Cu"], "crystal")
    chosen = select(pool, settings, seed=0)
    [row] = chosen.indices
    assert chosen.strategies == ["framework: relaxed by emt"]
    assert chosen.represents.tolist() == [3]
    assert (chosen.cheap[0].n, chosen.cheap[0].n_converged) == (2, 2)
    # EMT takes no time here: it is that of the processes in which it ran
    assert chosen.cheap[0].cpu_s > 0.3
    [found] = CoordinationRanges.learn([from_atoms(chosen.starts[int(row)])]).ranges.values()
    assert found == (12, 12)
    # beside whole copper, what the relaxation gives is nothing new
    beside = Pool(
        numbers=pool.numbers,
        positions=np.concatenate([torn, copper.positions[None]]),
        cells=np.repeat(copper.cell.array[None], 4, axis=0),
        periodic=True,
        group=np.zeros(4, dtype=int),
        training=pool.training,
    )
    both = select(beside, settings, seed=0)
    assert (both.indices.tolist(), both.represents.tolist()) == ([3], [4])
    unlearned = replace(pool, training=[])
    with pytest.raises(InputError, match="needs the training set"):
        select(unlearned, settings, seed=0)


def test_the_map_places_known_structures_where_they_would_stand() -> None:
    pool, _ = molecules()
    spec = KMeansSelection(n_picks=4, descriptor=SMALL)
    chosen = select(pool, spec, seed=0)
    known = [from_atoms(pool.atoms(row)) for row in (0, 9)]
    drawn = chart(pool, chosen, [spec], known)
    np.testing.assert_allclose(drawn.places, chosen.pca, atol=1e-9)
    np.testing.assert_allclose(drawn.known, drawn.places[[0, 9]], atol=1e-3)


def test_graphs_with_separated_charges_are_left_out_where_the_same_atoms_have_others() -> None:
    # a carbonyl ylide, and two of the molecules that its atoms form otherwise
    smiles = ["[CH-]=[O+]CC", "CCC=O", "CC(C)=O"]
    shapes = [embed(Chem.MolFromSmiles(text)) for text in smiles]
    shapes = [shape[np.argsort(shape.numbers, kind="stable")] for shape in shapes]
    pool = Pool(
        numbers=shapes[0].numbers,
        positions=np.array([shape.positions for shape in shapes]),
        cells=np.tile(10 * np.eye(3), (3, 1, 1)),
        periodic=False,
        group=np.zeros(3, dtype=int),
    )
    chosen = select(pool, GraphSelection(n_picks=3, fill=False), seed=0)
    assert sorted(filter(None, chosen.keys)) == ["CC(C)=O", "CCC=O"]
    every = select(pool, GraphSelection(n_picks=3, fill=False, separated_charges=True), seed=0)
    assert len(every.keys) == 3
    # with nothing better at hand they are what there is
    alone = select(pool.take(np.array([0])), GraphSelection(n_picks=1, fill=False), seed=0)
    assert len(alone.keys) == 1


def test_groups_come_in_turn_from_the_front_of_both_ranks() -> None:
    keys = np.array(["a", "b", "c", "d", ""], dtype=object)
    symmetric = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    usual = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    rank = _alternating(keys, symmetric, usual)
    order = [key for key in keys[np.argsort(-rank)] if key]
    assert order == ["a", "d", "b", "c"]
