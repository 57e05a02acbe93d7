"""Structures by descent: what is learned, what the descents promise, and the files."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pydantic import ValidationError
from rdkit import Chem
from scipy.spatial.distance import pdist

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.descriptors.environments import atom_spectra
from logan_campaign.generators import models
from logan_campaign.generators.cells.fixed import FixedCell
from logan_campaign.generators.descent import (
    DescentHyperparameters,
    DescentModel,
    exchange,
    reference,
)
from logan_campaign.generators.descent import program as program_module
from logan_campaign.generators.descent.exchange import Family
from logan_campaign.generators.descent.graphs import (
    any_molecule,
    embed,
    exchange_bonds,
    with_hydrogens,
)
from logan_campaign.generators.descent.program import crowding, init, program_for
from logan_campaign.generators.descent.reference import fit
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan import Hyperparameters
from logan_campaign.geometry.lewis import name_of, skeleton
from logan_campaign.geometry.molecular_graphs import pool_graphs
from logan_campaign.sources.builtin import alcohols_and_ethers

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
    system = program.with_references(water.references)
    channels = reference.channels_of(program.compiled, periodic=False)
    state = init(system, jax.random.key(1), 2, program.first)

    @jax.jit
    def total(outputs: jax.Array) -> jax.Array:
        return program_module.misfit(
            channels, system, *system.place(outputs, state.drawn), 0.5
        ).sum()

    slope = np.asarray(jax.jit(jax.grad(total))(state.outputs))
    at = np.unravel_index(np.abs(slope).argmax(), slope.shape)
    step = np.zeros_like(slope)
    step[at] = 2e-3
    difference = (total(state.outputs + step) - total(state.outputs - step)) / 4e-3
    assert float(difference) == pytest.approx(float(slope[at]), rel=0.02)


def test_crowding_counts_each_pair_of_atoms_and_images_once() -> None:
    cell = ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0))
    edge = 32.0 ** (1 / 3)  # 64 Å³ for two atoms
    # the third atom fills up the arrays
    across = jnp.array([[[0.1, 0.0, 0.0], [3.1, 0.0, 0.0], [2.0, 2.0, 2.0]]])
    # at 3 Å in the cell, and at 1 Å across the face
    expected = (1 - 3 / edge) ** 2 + (1 - 1 / edge) ** 2
    found = crowding(jnp.array([True, True, False]), across, jnp.array(cell))
    assert float(found[0]) == pytest.approx(expected, rel=1e-4)


CUBE = tuple(map(tuple, (4.2 * np.eye(3)).tolist()))


def _as_without_padding(model: DescentModel, positions: np.ndarray) -> np.ndarray:
    """Return misfits by the spectra of the atoms alone, at the real cutoff."""
    target = model.target
    h = model.hyperparameters.for_target(target)
    channels = reference.channels_of(h.descriptor(model.species), target.periodic)
    total = np.zeros(len(positions))
    for row, places in enumerate(positions):
        atoms = Atoms(target.numbers, places, cell=target.cell, pbc=target.periodic)
        spectra = atom_spectra(channels.descriptor, atoms, np.arange(len(atoms)))
        for own, z in zip(model.references, sorted(set(target.numbers)), strict=True):
            features = channels.split(spectra[np.array(target.numbers) == z])
            total[row] += reference.misfits(own, features, jnp.float32(1.0)).sum()
    return total / len(target.numbers)


@pytest.mark.parametrize(
    ("numbers", "periodic", "training"),
    [
        ((8,) * 6 + (14,) * 3, True, [bulk("SiO", "rocksalt", 4.2), bulk("Si")]),
        ((1, 1, 6, 8), False, [molecule("H2O"), molecule("CH4"), molecule("CO2")]),
        ((1,) * 6 + (6,) * 3, False, [molecule("C3H8")]),
    ],
)
def test_what_fills_up_a_program_changes_no_misfit(
    numbers: tuple[int, ...], periodic: bool, training: list[Atoms]
) -> None:
    target = Target(numbers, CUBE if periodic else BOX, periodic)
    model = DescentModel.fit(
        training, target, DescentHyperparameters(rattle_copies=8), seed=0, training_set_id="x"
    )
    box = np.diag(target.cell_array)
    positions = np.random.default_rng(1).uniform(0, 1, (5, len(numbers), 3)) * box
    found = model.scores(positions, target.cell_array)
    np.testing.assert_allclose(found, _as_without_padding(model, positions), rtol=2e-3)


def test_one_program_serves_targets_of_similar_size() -> None:
    settings = DescentHyperparameters(rattle_copies=4, descent_steps=2, keep=1.0)
    compiled = []
    for numbers, edge in (((3,) * 5 + (9,) * 4, 5.0), ((3,) * 4 + (9,) * 6, 5.3)):
        cell = tuple(map(tuple, (edge * np.eye(3)).tolist()))
        target = Target(numbers, cell, True)
        crystal = bulk("LiF", "rocksalt", 4.0)
        model = DescentModel.fit([crystal], target, settings, seed=0, training_set_id="x")
        assert model.generate(3, seed=0).positions.shape == (3, len(numbers), 3)
        compiled.append(program_module._descents._cache_size())
    assert compiled[0] == compiled[1]


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
    newer = content.replace(b'algorithm_version\\": 3', b'algorithm_version\\": 9')
    assert newer != content
    with pytest.raises(ModelFileError, match="version 9"):
        models.load(newer)


def test_a_cell_of_one_atom_sets_the_unit_by_atoms_that_move_on_their_own() -> None:
    copper = bulk("Cu")
    target = Target((29,), tuple(map(tuple, copper.cell.array)), True)
    alone, repeated = (
        fit([atoms], target, DescentHyperparameters(rattle_copies=400), seed=0)[0]
        for atoms in (copper, copper * (2, 2, 2))
    )
    assert alone.points.shape == repeated.points.shape == (1, 1, alone.points.shape[-1])
    size = [np.linalg.svd(np.asarray(r.projection[0]), compute_uv=False) for r in (alone, repeated)]
    assert np.allclose(*size, rtol=0.15)


def test_the_unit_does_not_depend_on_how_different_the_training_structures_are() -> None:
    carbon = [bulk("C", "diamond", a=a) for a in (3.57, 3.57, 4.6)]
    target = Target((6,) * 2, tuple(map(tuple, carbon[0].cell.array)), True)
    settings = DescentHyperparameters(rattle_copies=200, r_cut=4.0)
    narrow = fit(carbon[:2], target, settings, seed=0)[0]
    broad = fit(carbon, target, settings, seed=0)[0]
    assert narrow.points.shape[1] == 1  # equal environments are one
    assert broad.points.shape[1] == 2
    widths = [
        1 / np.linalg.svd(np.asarray(r.projection[0]), compute_uv=False) for r in (narrow, broad)
    ]
    assert widths[1].max() < 1.5 * widths[0].max()


def test_pairs_of_species_that_no_structure_holds_are_not_compared() -> None:
    oxides = [bulk("SrO", "rocksalt", a=5.16), bulk("TiO", "rocksalt", a=4.18)]
    target = Target((8, 8, 8, 22, 38), ((3.905, 0, 0), (0, 3.905, 0), (0, 0, 3.905)), True)
    oxygen, titanium, strontium = fit(oxides, target, DescentHyperparameters(), seed=0)
    # pairs O-O, O-Ti, O-Sr, Ti-Ti, Ti-Sr, Sr-Sr, then all species alike
    assert oxygen.channels.tolist() == [0, 1, 2, 3, 5, 6]
    assert titanium.channels.tolist() == [0, 1, 3, 6]
    assert strontium.channels.tolist() == [0, 2, 5, 6]
    # around oxygen, titanium is compared with that in TiO, whatever SrO has
    held = np.asarray(oxygen.weights[1]) > 0
    assert held.sum() == 1


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


def family_of(*smiles: str, share: float = 0.75) -> Family:
    """Return a family of isomers, with misfits 0, 1, ... in order."""
    molecules = [with_hydrogens(Chem.MolFromSmiles(text)) for text in smiles]
    family = Family(np.array([a.GetAtomicNum() for a in molecules[0].GetAtoms()]), share, seed=0)
    for misfit, mol in enumerate(molecules):
        family.add(embed(mol, 1)[None], np.array([float(misfit)]))
    return family


def neighbours(smiles: str, n: int) -> set[str]:
    """Return the graphs of ``n`` exchanges in a molecule."""
    rng, mol = np.random.default_rng(0), with_hydrogens(Chem.MolFromSmiles(smiles))
    return {name_of(skeleton(exchange_bonds(mol, rng))).smiles for _ in range(n)}


PARENTS = ["CCO", "C1CCOC1", "CC(=O)N", "C#CC", "CS(C)=O", "OP(C)C", "ClC1CC1Br", "C[N+](=O)[O-]"]


@pytest.mark.parametrize("parent", PARENTS)
def test_an_exchange_keeps_atoms_valences_and_connection(parent: str) -> None:
    mol = with_hydrogens(Chem.MolFromSmiles(parent))
    before = skeleton(mol)

    def valences(molecule: Chem.Mol) -> list[int]:
        return Chem.GetAdjacencyMatrix(molecule, useBO=True).sum(axis=0).tolist()

    for seed in range(3):
        after = exchange_bonds(mol, np.random.default_rng(seed))
        again = exchange_bonds(mol, np.random.default_rng(seed))
        assert Chem.MolToSmiles(after) == Chem.MolToSmiles(again)
        assert [a.GetAtomicNum() for a in after.GetAtoms()] == [
            a.GetAtomicNum() for a in mol.GetAtoms()
        ]
        assert valences(after) == valences(mol)
        assert len(Chem.GetMolFrags(after)) == 1
        # other than the parent, unless it is the only one
        assert skeleton(after) != before or parent == "C[N+](=O)[O-]"


def test_exchanges_open_and_close_rings_and_move_hydrogens_and_double_bonds() -> None:
    assert {"C=CC", "C1CC1"} <= {*neighbours("C=CC", 5), *neighbours("C1CC1", 5)}
    found = neighbours("CCC=O", 60)
    assert {"CC(C)=O", "C=CCO", "C1COC1", "CC1CO1", "C=COC", "OC1CC1"} <= found


def test_every_isomer_is_reached_by_exchanges_alone() -> None:
    found, new = {"CCCCO"}, {"CCCCO"}
    while new:
        new = set().union(*(neighbours(smiles, 40) for smiles in new)) - found
        found |= new
    assert found == set(alcohols_and_ethers(4))


def test_a_molecule_without_isomers_stays_as_it_is() -> None:
    assert neighbours("C", 2) == {"C"}
    methane = with_hydrogens(Chem.MolFromSmiles("C"))
    assert exchange_bonds(methane, np.random.default_rng(0)) is methane


def test_starts_are_whole_molecules_in_the_order_of_the_targets_atoms() -> None:
    numbers = np.array([8, 6, 1, 1, 1, 6, 1, 1, 1])
    family = Family(numbers, 0.75, seed=0)
    family.add(ETHANOL.positions[np.argsort(np.argsort(numbers, kind="stable"))][None], np.ones(1))
    assert set(family.members) == {"CCO"}
    starts = family.starts(1, 6)
    assert set(pool_graphs(numbers, starts).smiles) == {"COC"}
    spread = np.ptp(starts, axis=1)
    assert (spread[:, 0] > spread[:, 2]).all()
    other = Family(numbers, 0.75, seed=0)
    other.members, other.misfits = family.members, family.misfits
    np.testing.assert_array_equal(starts, other.starts(1, 6))
    assert not np.allclose(starts, family.starts(2, 6))


@pytest.mark.parametrize("formula", ["C6H6", "C2H5NO2", "C3H7Cl", "H2", "P2S3", "CHBr3", "H2O2"])
def test_a_random_graph_is_one_molecule_of_the_atoms(formula: str) -> None:
    numbers = Atoms(formula).numbers
    for seed in range(5):
        mol = any_molecule(numbers, np.random.default_rng(seed))
        assert [atom.GetAtomicNum() for atom in mol.GetAtoms()] == sorted(numbers)
        assert len(Chem.GetMolFrags(mol)) == 1
        again = any_molecule(numbers, np.random.default_rng(seed))
        assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(again)


@pytest.mark.parametrize("formula", ["CH3", "NaCu", "CH6", "C2H8O", "He"])
def test_atoms_that_are_no_molecule_have_no_graph_and_start_at_random(formula: str) -> None:
    numbers = Atoms(formula).numbers
    assert any_molecule(numbers, np.random.default_rng(0)) is None
    assert Family(numbers, 0.75, seed=0).starts(1, 4) is None


def test_starts_are_random_graphs_while_none_has_been_found() -> None:
    numbers = Atoms("C4H6").numbers
    starts = Family(numbers, 0.75, seed=0).starts(1, 12)
    graphs = pool_graphs(numbers, starts).smiles
    assert (graphs != "").mean() > 0.7
    assert len(set(graphs)) > 3


def test_graphs_of_lower_misfit_have_more_children(monkeypatch: pytest.MonkeyPatch) -> None:
    family = family_of("CC(C)=O", "C=COC")
    parents: list[str] = []

    def noted(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
        parents.append(name_of(skeleton(mol)).smiles)
        return mol

    monkeypatch.setattr(exchange, "exchange_bonds", noted)
    family.starts(1, 80)
    assert parents.count("CC(C)=O") > 1.8 * parents.count("C=COC") > 0


def test_a_share_of_the_blocks_begins_with_molecules() -> None:
    family = Family(ETHANOL.numbers, 0.75, seed=0)
    family.add(np.array([ETHANOL.positions, 3.0 * ETHANOL.positions]), np.zeros(2))
    assert list(family.members) == ["CCO"]
    turns = [family.starts(block, 4) is not None for block in range(8)]
    assert turns == [False, True, True, True] * 2


def test_with_exchange_the_first_structures_are_the_same_for_every_number() -> None:
    target = Target(tuple(ETHANOL.numbers), BOX, periodic=False)
    short = {"keep": 1.0, "exchange": 0.75, "n_neighbour": 8, "descent_steps": 40}
    settings = SETTINGS.model_copy(update={**short, "exchange_steps": 15})
    model = DescentModel.fit([ETHANOL], target, settings, seed=0, training_set_id="set-ethanol")
    made = model.generate(128, seed=1).positions
    np.testing.assert_array_equal(model.generate(70, seed=1).positions, made[:70])
    # whether or not the short descents from random positions have found a molecule
    assert (pool_graphs(ETHANOL.numbers, made[64:128]).smiles != "").mean() > 0.8


def test_positions_of_a_molecule_follow_from_their_outputs() -> None:
    place = FixedCell(Target(tuple(ETHANOL.numbers), BOX, periodic=False))
    positions, _ = place(place.outputs_of(ETHANOL.positions[None]), jnp.zeros((1, 0)))
    np.testing.assert_allclose(pdist(positions[0]), pdist(ETHANOL.positions), atol=1e-4)


def test_exchange_is_part_of_a_models_id_only_where_it_is_used() -> None:
    def made(**said: float) -> str:
        return SETTINGS.model_copy(update=said).model_id("set", WATER, 0)

    assert made(exchange=0.5) != made() == made(exchange_steps=70)
    assert made(exchange=0.5, exchange_steps=70) != made(exchange=0.5)


def test_exchange_is_refused_for_crystals() -> None:
    settings = SETTINGS.model_copy(update={"exchange": 0.5})
    crystal = Target((1, 1, 8), BOX, periodic=True)
    with pytest.raises(InputError, match="'exchange' is for molecules"):
        DescentModel.fit([molecule("H2O")], crystal, settings, seed=0, training_set_id="set-water")
