"""What the silica benchmarks start from and in which order: fair baselines, no second chances."""

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from crystal_pools import picked
from crystal_systems import (
    LOOSE,
    STRICT,
    find_templates,
    matcher,
    random_placement,
    smallest_distances,
)
from per_network import figures
from pymatgen.io.ase import AseAtomsAdaptor
from sio2_coarse import lowest_distinct
from sio2_targets import GRAIN, Row, alike, first_alike, next_start, progress_of

from logan_campaign.geometry.structures import from_atoms, spacegroup_symbol
from logan_campaign.selection import Pool

QUARTZ = crystal(
    ("Si", "O"),
    [(0.4697, 0, 0), (0.4135, 0.2669, 0.7858)],
    spacegroup=154,
    cellpar=[4.913, 4.913, 5.405, 90, 90, 120],
)
CRISTOBALITE = crystal(
    ("Si", "O"),
    [(0.3003, 0.3003, 0), (0.2392, 0.1044, 0.1787)],
    spacegroup=92,
    cellpar=[4.971, 4.971, 6.922, 90, 90, 90],
)


def in_other_vectors(atoms: Atoms, change: np.ndarray) -> np.ndarray:
    """Return a cell of the same lattice, turned in space."""
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    return change @ atoms.cell.array @ turn


def stretched(atoms: Atoms) -> Atoms:
    """Return a copy that is longer by a tenth in one direction."""
    longer = atoms.copy()
    longer.set_cell(atoms.cell.array * [1, 1, 1.1], scale_atoms=True)
    return longer


def test_a_crystal_is_its_own_template_in_any_choice_of_cell_vectors():
    cell = in_other_vectors(QUARTZ, np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1]]))
    numbers = np.sort(QUARTZ.numbers)
    (template,) = find_templates(numbers, cell, [QUARTZ])
    assert template.strain == pytest.approx(0, abs=1e-6)
    made = Atoms(numbers, template.positions, cell=cell, pbc=True)
    assert matcher(STRICT).fit(
        AseAtomsAdaptor.get_structure(QUARTZ), AseAtomsAdaptor.get_structure(made)
    )


def test_templates_fill_supercells_and_stand_in_the_order_of_their_strain():
    cell = in_other_vectors(CRISTOBALITE, np.array([[2, 0, 0], [1, 1, 0], [0, 0, 1]]))
    numbers = np.sort(np.tile(CRISTOBALITE.numbers, 2))
    # 24 atoms hold cristobalite twice, which a larger cell of it is too; quartz has 9
    known = [CRISTOBALITE.repeat(2), QUARTZ, stretched(CRISTOBALITE), CRISTOBALITE]
    found = find_templates(numbers, 1.02 * cell, known)
    assert [one.place for one in found] == [0, 3, 2]
    strains = [one.strain for one in found]
    # an even stretch by 2 % in three directions
    assert strains[0] == pytest.approx(np.sqrt(3) * np.log(1.02), abs=1e-6)
    made = Atoms(numbers, found[0].positions, cell=1.02 * cell, pbc=True)
    assert matcher(LOOSE).fit(
        AseAtomsAdaptor.get_structure(CRISTOBALITE), AseAtomsAdaptor.get_structure(made)
    )


def test_random_atoms_are_no_nearer_than_in_the_training_set():
    known = [QUARTZ, CRISTOBALITE]
    numbers, cell = np.sort(QUARTZ.numbers), 1.2 * QUARTZ.cell.array
    least = smallest_distances(known)
    for positions in random_placement(numbers, cell, known, 3, seed=0):
        made = Atoms(numbers, positions, cell=cell, pbc=True)
        first, second, distance = neighbor_list("ijd", made, 4.0)
        pairs = np.sort(numbers[np.stack([first, second], axis=1)], axis=1)
        for pair, d in zip(pairs.tolist(), distance, strict=True):
            assert d > least[tuple(pair)] - 1e-6


def test_rows_take_turns_and_end_with_their_first_hit_or_their_last_start():
    rows = [Row("mp-554151", "logan", "without"), Row("mp-555235", "logan", "without")]
    plans = {rows[0]: {"ids": ["a", "b", "c"]}, rows[1]: {"ids": ["d", "e"]}}
    turns, results = [], []
    while (turn := next_start(plans, results, None)) is not None:
        row, rank = turn
        name = plans[row]["ids"][rank - 1]
        turns.append(name)
        results.append({"kind": "relaxation", "id": name, "found": name == "b"})
    assert turns == ["a", "d", "b", "e"]
    assert next_start(plans, results[:2], None, up_to=1) is None
    assert [r["id"] for r in progress_of(plans[rows[0]], results)] == ["a", "b"]


def test_of_equal_coarse_minima_only_the_lowest_goes_on():
    order = np.argsort(QUARTZ.numbers, kind="stable")
    numbers, cell = QUARTZ.numbers[order], QUARTZ.cell.array
    moved = QUARTZ.positions[order] + [0.3, -0.2, 0.1]
    turned = QUARTZ.positions[order] @ np.diag([1, -1, -1])  # a two-fold axis of the lattice
    other = random_placement(numbers, 1.2 * cell, [CRISTOBALITE], 1, seed=0)[0] / 1.2
    found = {
        "higher": (-1.0, QUARTZ.positions[order]),
        "lower": (-2.0, moved),
        "lost": (None, moved),
    }
    found |= {"equal": (-1.5, turned), "other": (-1.2, other), "lost": (None, moved)}
    minima = [
        {"id": name, "energy_ev": energy, "grains": np.rint(positions / GRAIN).astype(int)}
        for name, (energy, positions) in found.items()
    ]
    assert [r["id"] for r in lowest_distinct(minima, cell, numbers)] == ["lower", "other"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"spacegroup": "P1"}, True),
        ({"match": "default"}, False),
        ({"above_target_mev": -5.1}, False),
        ({"above_target_mev": None}, False),
        ({"state": "not_converged"}, False),
    ],
)
def test_a_hit_may_have_another_space_group_and_nothing_else(changes, expected):
    tight = {"state": "converged", "match": "strict", "above_target_mev": -4.9, "spacegroup": "Cc"}
    record = {"tight": tight | changes}
    assert alike(record) is expected
    assert not alike({})  # nothing that was worth going on with
    assert first_alike([{}, record]) == (2 if expected else None)


def test_only_a_match_of_the_same_energy_is_near_the_crystal_that_was_left_out():
    def start(number: int, mev: float, match: str | None) -> dict:
        energy = -100 + 10 * mev / 1000  # ten atoms
        return {"kind": "start", "start": number, "energy_ev": energy, "match": match} | {
            "right": match is not None,
            "n_steps": 5,
            "cpu_s": 1.0,
        }

    records = [
        {"kind": "crystal", "energy_ev": -100.0},
        start(0, 50, "default"),
        start(1, 4, None),
        start(2, 9.9, "default"),
        start(3, -10.1, "strict"),
        start(4, 10.3, "strict"),
        start(5, -3, "strict"),
    ]
    planned = {"crystal": 1, "seed": 0, "n_atoms": 10}
    planned["lists"] = {"1": [0, 1, 2], "2": [5, 0, 4, 2, 3]}
    one, two = figures(planned, records, "per_network")
    assert (one["per_network"], two["per_network"]) == ("1", "2")
    assert one["symmetric"] is None
    assert (one["near_ranks"], one["minima"], one["lowest_mev"]) == ([3], 2, 4.0)
    # 9.9 and 10.3 count as one minimum
    assert (two["near_ranks"], two["minima"], two["lowest_mev"]) == ([1, 4], 4, -10.1)
    assert two["ionic_steps"] == 25


@pytest.mark.parametrize("settings", [{}, {"symmetrize": 0.4}])
def test_lists_go_on_with_the_same_networks_and_hold_structures_as_they_are_relaxed(settings):
    order = np.argsort(QUARTZ.numbers, kind="stable")
    quartz = QUARTZ[order]
    rng = np.random.default_rng(0)
    samples = quartz.positions + rng.normal(scale=0.03, size=(8, *quartz.positions.shape))
    pool = Pool(
        numbers=quartz.numbers,
        positions=samples,
        cells=np.repeat(quartz.cell.array[None], 8, axis=0),
        periodic=True,
        group=np.zeros(8, dtype=int),
        training=[from_atoms(QUARTZ)],
    )
    positions, rows, first = picked(pool, 5, 0, True, **settings)
    assert len(first.indices) == 1
    assert rows[0] == first.indices[0]
    assert len(set(rows.tolist())) == len(positions) == 5
    for row, one in zip(rows, positions, strict=True):
        assert np.abs(one - samples[row]).max() < 0.4
        symbol = spacegroup_symbol(
            from_atoms(Atoms(quartz.numbers, one, cell=quartz.cell, pbc=True)), 0.001
        )
        assert symbol == ("P3_221" if settings else "P1")
    alone, _, _ = picked(pool, 5, 0, False, **settings)
    assert len(alone) == 1
