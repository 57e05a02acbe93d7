"""Structures by descent: what is learned, what the descents promise, and the files."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from pydantic import ValidationError
from scipy.spatial.distance import cdist, pdist

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.generators import models
from logan_campaign.generators.cells.fixed import FixedCell
from logan_campaign.generators.descent import DescentHyperparameters, DescentModel
from logan_campaign.generators.descent.exchange import Family, exchange_groups, groups
from logan_campaign.generators.descent.program import program_for
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan import Hyperparameters
from logan_campaign.geometry.molecular_graphs import pool_graphs

BOX = ((5.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, 5.0))
WATER = Target((1, 1, 8), BOX, periodic=False)
SETTINGS = DescentHyperparameters(r_cut=4.0, n_max=2, n_neighbour=3, descent_steps=150, keep=0.5)


@pytest.fixture(scope="module")
def water() -> DescentModel:
    return DescentModel.fit([molecule("H2O")], WATER, SETTINGS, seed=0, training_set_id="set-water")


@pytest.fixture(scope="module")
def samples(water: DescentModel) -> np.ndarray:
    return water.generate(40, seed=3).positions


def test_descents_end_in_the_only_molecule_that_was_shown(samples: np.ndarray) -> None:
    shape = np.stack([Atoms("HHO", p).get_all_distances()[np.triu_indices(3, 1)] for p in samples])
    bond = molecule("H2O").get_distance(0, 1)
    right = (np.abs(shape[:, 1:] - bond) < 0.1).all(axis=1) & (np.abs(shape[:, 0] - 1.53) < 0.15)
    assert right.mean() > 0.9


def test_structures_start_on_their_own(samples: np.ndarray) -> None:
    centred = samples - samples.mean(axis=1, keepdims=True)
    apart = np.abs(centred[:, None] - centred[None]).max(axis=(2, 3))
    assert (apart[np.triu_indices(len(samples), 1)] > 1e-3).all()


def test_the_first_structures_are_the_same_for_every_number(
    water: DescentModel, samples: np.ndarray
) -> None:
    np.testing.assert_array_equal(water.generate(3, seed=3).positions, samples[:3])
    assert not np.array_equal(water.generate(3, seed=4).positions, samples[:3])
    assert water.generate(0, seed=3).positions.shape == (0, 3, 3)


def test_what_looks_like_the_training_set_has_the_lower_score(
    water: DescentModel, samples: np.ndarray
) -> None:
    true = molecule("H2O")[[1, 2, 0]].positions + 2.5
    stretched = true * 1.2
    low, high = water.scores(np.array([true, stretched]), np.array(BOX))
    assert low < high
    assert water.scores(samples, np.array(BOX)).max() < high


def test_scores_do_not_change_under_rotation_and_exchange(water: DescentModel) -> None:
    rng = np.random.default_rng(0)
    shape = rng.uniform(-1, 1, (3, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    same = np.array([shape, shape @ turn, shape[[1, 0, 2]]]) + 2.5
    scores = water.scores(same, np.array(BOX))
    np.testing.assert_allclose(scores, scores[0], rtol=2e-3)


def test_gradient_of_the_misfit_agrees_with_finite_differences(water: DescentModel) -> None:
    program = program_for(water.problem)
    state = jax.jit(program.init, static_argnums=1)(jax.random.key(1), 2)
    width = jnp.float32(0.5)

    @jax.jit
    def total(outputs: jax.Array) -> jax.Array:
        return program.misfit(water.references, *program.place(outputs, state.drawn), width).sum()

    slope = np.asarray(jax.jit(jax.grad(total))(state.outputs))
    at = np.unravel_index(np.abs(slope).argmax(), slope.shape)
    step = np.zeros_like(slope)
    step[at] = 2e-3
    difference = (total(state.outputs + step) - total(state.outputs - step)) / 4e-3
    assert float(difference) == pytest.approx(float(slope[at]), rel=0.02)


def test_crowding_counts_each_pair_of_atoms_and_images_once() -> None:
    cell = ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0))
    target = Target((8, 14), cell, periodic=True)
    crystal = Atoms("SiO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True)
    model = DescentModel.fit([crystal], target, SETTINGS, seed=0, training_set_id="set-x")
    program = program_for(model.problem)
    edge = 32.0 ** (1 / 3)  # 64 Å³ for two atoms
    across = np.array([[[0.1, 0.0, 0.0], [3.1, 0.0, 0.0]]], dtype=np.float32)
    # at 3 Å in the cell, and at 1 Å across the face
    expected = (1 - 3 / edge) ** 2 + (1 - 1 / edge) ** 2
    found = program.crowding(jnp.asarray(across), jnp.asarray(np.array(cell), jnp.float32))
    assert float(found[0]) == pytest.approx(expected, rel=1e-4)


def test_a_model_survives_its_file(water: DescentModel) -> None:
    again = models.load(water.to_bytes())
    assert isinstance(again, DescentModel)
    assert again.id == water.id
    assert again.to_bytes() == water.to_bytes()
    np.testing.assert_array_equal(
        again.generate(2, seed=0).positions, water.generate(2, seed=0).positions
    )


def test_a_damaged_or_foreign_file_is_refused(water: DescentModel) -> None:
    content = water.to_bytes()
    with pytest.raises(ModelFileError, match="safetensors"):
        models.load(content[:-10])
    other = content.replace(b"logan-campaign descent model", b"logan-campaign ascents model")
    with pytest.raises(ModelFileError, match="no model of descent or wgan"):
        models.load(other)
    newer = content.replace(b'algorithm_version\\": 1', b'algorithm_version\\": 9')
    assert newer != content
    with pytest.raises(ModelFileError, match="version 9"):
        models.load(newer)


def test_environments_that_are_all_equal_are_refused() -> None:
    still = SETTINGS.model_copy(update={"rattle_stdev": 0.0, "rattle_copies": 1})
    with pytest.raises(InputError, match=r"atomic number 1 .* equal"):
        DescentModel.fit(
            [molecule("H2")], Target((1, 1), BOX, False), still, seed=0, training_set_id="s"
        )


def test_a_schedule_that_widens_is_refused() -> None:
    with pytest.raises(ValidationError, match="last_bandwidth"):
        DescentHyperparameters(first_bandwidth=0.1, last_bandwidth=0.2)


def test_an_exchange_that_widens_is_refused() -> None:
    with pytest.raises(ValidationError, match="larger than exchange_bandwidth"):
        DescentHyperparameters(exchange_bandwidth=0.1)


def test_the_ids_of_trained_networks_do_not_know_of_methods() -> None:
    assert "method" not in Hyperparameters().model_dump(mode="json")
    said = SETTINGS.model_dump(mode="json")
    assert models.settings_from(said) == SETTINGS
    assert models.settings_from(Hyperparameters().model_dump(mode="json")) == Hyperparameters()


def test_a_descent_has_no_weights_to_go_on_from(water: DescentModel) -> None:
    assert not SETTINGS.can_start(water, [molecule("H2O")], WATER)
    with pytest.raises(InputError, match="no weights"):
        Hyperparameters(steps=1).train(
            [molecule("H2O")],
            WATER,
            seed=0,
            training_set_id="set-water",
            start=water,
        )


ETHANOL = molecule("CH3CH2OH")
ETHANOL = ETHANOL[np.argsort(ETHANOL.numbers, kind="stable")]


def test_groups_are_atoms_with_the_lighter_ones_nearest_to_them() -> None:
    led = groups(ETHANOL.positions, ETHANOL.numbers)
    formulas = sorted(ETHANOL[atoms].get_chemical_formula() for atoms in led)
    assert formulas == ["CH2", "CH3", *6 * ["H"], "HO"]


@pytest.mark.parametrize("seed", range(12))
def test_groups_change_places_rigidly_and_point_inward_as_before(seed: int) -> None:
    before, numbers = ETHANOL.positions, ETHANOL.numbers
    after = exchange_groups(before, numbers, np.random.default_rng(seed))
    led = groups(before, numbers)
    places = cdist(after, before) < 1e-9
    (pair,) = ((a, b) for a in range(9) for b in range(a) if places[a, b] and places[b, a])
    first, second = (led[atom] for atom in pair)
    assert sorted(numbers[first]) != sorted(numbers[second])
    others = np.setdiff1d(np.arange(9), [*first, *second])
    np.testing.assert_array_equal(after[others], before[others])

    def inward(group: np.ndarray) -> np.ndarray:
        outside = np.setdiff1d(np.arange(9), group)
        vector = before[outside[cdist(before[group[:1]], before[outside]).argmin()]]
        return (vector - before[group[0]]) / np.linalg.norm(vector - before[group[0]])

    for group, other in ((first, second), (second, first)):
        np.testing.assert_allclose(pdist(after[group]), pdist(before[group]), atol=1e-9)
        old = (before[group] - before[group[0]]) @ inward(group)
        new = (after[group] - before[other[0]]) @ inward(other)
        np.testing.assert_allclose(new, old, atol=1e-9)


def test_a_share_of_the_blocks_begins_with_molecules_once_there_are_some() -> None:
    family = Family(ETHANOL.numbers, 0.75, seed=0)
    assert family.starts(1, 4) is None
    family.add(np.array([ETHANOL.positions, 3.0 * ETHANOL.positions]))
    assert [len(molecules) for molecules in family.members.values()] == [1]
    turns = [family.starts(block, 4) is not None for block in range(8)]
    assert turns == [False, True, True, True] * 2


def test_with_exchange_the_first_structures_are_the_same_for_every_number() -> None:
    target = Target(tuple(ETHANOL.numbers), BOX, periodic=False)
    settings = SETTINGS.model_copy(update={"keep": 1.0, "exchange": 0.75, "n_neighbour": 8})
    given = ([ETHANOL], target)
    model = DescentModel.fit(*given, settings, seed=0, training_set_id="set-ethanol")
    made = model.generate(160, seed=1).positions
    np.testing.assert_array_equal(model.generate(100, seed=1).positions, made[:100])
    plain = settings.model_copy(update={"exchange": 0.0})
    without = DescentModel.fit(*given, plain, seed=0, training_set_id="set-ethanol")
    np.testing.assert_array_equal(without.generate(64, seed=1).positions, made[:64])
    assert not np.array_equal(without.generate(100, seed=1).positions, made[:100])
    # the parents are ethanol, and its groups find their way back into it
    graphs = pool_graphs(ETHANOL.numbers, made[64:128]).smiles
    assert (graphs == "CCO").mean() > 0.3


def test_positions_of_a_molecule_follow_from_their_outputs() -> None:
    place = FixedCell(Target(tuple(ETHANOL.numbers), BOX, periodic=False))
    positions, _ = place(place.outputs_of(ETHANOL.positions[None]), jnp.zeros((1, 0)))
    np.testing.assert_allclose(pdist(positions[0]), pdist(ETHANOL.positions), atol=1e-4)


def test_exchange_is_part_of_a_models_id_only_where_it_is_used() -> None:
    def made(**said: float) -> str:
        return SETTINGS.model_copy(update=said).model_id("set", WATER, 0)

    assert made(exchange=0.5) != made() == made(exchange_steps=50)
    assert made(exchange=0.5, exchange_steps=50) != made(exchange=0.5)


def test_exchange_is_refused_for_crystals() -> None:
    settings = SETTINGS.model_copy(update={"exchange": 0.5})
    crystal = Target((1, 1, 8), BOX, periodic=True)
    with pytest.raises(InputError, match="'exchange' is for molecules"):
        DescentModel.fit([molecule("H2O")], crystal, settings, seed=0, training_set_id="set-water")
