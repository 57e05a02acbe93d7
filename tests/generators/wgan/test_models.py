"""Model files, generation and scores."""

import stat
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from systems import TARGET, crystal_target, hyperparameters, same_bits

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.descriptors import power_spectrum
from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.generators.cells import FixedCell
from logan_campaign.generators.target import Symmetry, Target
from logan_campaign.generators.wgan import LoganModel, critic_scores, generate, generation
from logan_campaign.generators.wgan.networks import init_generator, score
from logan_campaign.generators.wgan.step import Program

#: A fixed cell leaves nothing to be drawn.
NOTHING = jnp.zeros((0, 0))


def untrained(target: Target = TARGET) -> LoganModel:
    """Return a model with random weights: files and generation need no training."""
    species = tuple(sorted(set(target.numbers)))
    model = LoganModel((), (), hyperparameters(), species, target, "set-1", 3, 20)
    state = Program(model.problem).init(jax.random.key(0))
    return LoganModel(
        state.generator, state.critic, hyperparameters(), species, target, "set-1", 3, 20
    )


@pytest.fixture(scope="module")
def model() -> LoganModel:
    return untrained()


def test_a_model_file_gives_back_the_model(model: LoganModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = LoganModel.load(path)
    assert same_bits((again.generator, again.critic), (model.generator, model.critic))
    assert again.to_bytes() == model.to_bytes()
    for name in ("id", "hyperparameters", "species", "target", "training_set_id", "seed", "steps"):
        assert getattr(again, name) == getattr(model, name)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_truncated_and_foreign_files_are_refused_in_one_line(
    model: LoganModel, tmp_path: Path
) -> None:
    content = model.to_bytes()
    other = content.replace(b"logan-campaign model", b"something else, mine")
    newer = content.replace(b'algorithm_version\\": 1', b'algorithm_version\\": 9')
    assert other != content
    assert newer != content
    for damaged in (b"", content[:5], content[:200], content[:-1], b"{}" * 50, other, newer):
        with pytest.raises(ModelFileError) as caught:
            LoganModel.from_bytes(damaged)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelFileError, match="cannot read"):
        LoganModel.load(tmp_path / "missing")


def test_generation_depends_on_the_seed_and_not_on_number_or_chunks(
    model: LoganModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[progress.Progress] = []
    with progress.listening(reports.append):
        pool = generate(model, 700, seed=1)
    assert pool.positions.shape == (700, 6, 3)
    assert pool.positions.dtype == np.float32
    np.testing.assert_array_equal(pool.cells, np.broadcast_to(TARGET.cell_array, (700, 3, 3)))
    assert [r.task for r in reports] == ["generate"] * len(reports)
    assert reports[-1].completed == 700
    np.testing.assert_array_equal(generate(model, 700, seed=1).positions, pool.positions)
    np.testing.assert_array_equal(generate(model, 5, seed=1).positions, pool.positions[:5])
    assert not np.array_equal(generate(model, 5, seed=2).positions, pool.positions[:5])
    monkeypatch.setattr(generation, "_CHUNK", 100)
    np.testing.assert_allclose(
        generate(model, 700, seed=1).positions, pool.positions, rtol=1e-6, atol=1e-6
    )
    assert generate(model, 0, seed=1).positions.shape == (0, 6, 3)
    with pytest.raises(InputError):
        generate(model, -1, seed=1)


def test_molecules_stay_in_the_box_and_crystals_cross_its_faces() -> None:
    outputs = 40.0 * jax.random.normal(jax.random.key(0), (50, 18))
    positions, _ = FixedCell(TARGET)(outputs, NOTHING)
    fractional = np.asarray(positions) @ np.linalg.inv(TARGET.cell_array)
    assert ((fractional >= 0) & (fractional <= 1)).all()
    place = FixedCell(crystal_target())

    def at(x: float) -> np.ndarray:
        positions, cell = place(jnp.full((1, 12), x), NOTHING)
        return np.asarray(positions[0] @ jnp.linalg.inv(cell))

    np.testing.assert_allclose(at(2.02), at(2.02 + 4.0), atol=1e-5)  # once round the cell
    np.testing.assert_allclose(at(2.02) - at(1.98), 0.01 - 1.0, atol=1e-5)  # over a face
    gradient = jax.grad(lambda x: place(jnp.full((1, 12), x), NOTHING)[0].sum())(2.0)
    assert np.isfinite(gradient)
    assert abs(gradient) > 0.1


def test_atoms_start_spread_out_or_at_the_centre_as_published() -> None:
    def spread(initial_spread: float) -> float:
        h = hyperparameters(initial_spread=initial_spread)
        generator = init_generator(jax.random.key(2), h, FixedCell(TARGET))
        return float(jnp.std(generator[-1][1]))

    assert spread(0.0) == 0.0
    assert spread(1.0) > 0.5


#: A cell that is learned, with any of three space groups; magnesium first.
OPEN_TARGET = Target(
    (12, 12, 8, 8),
    None,
    True,
    "learned",
    (9.0, 12.0),
    Symmetry(((2, 1.0), (12, 1.0), (99, 1.0)), 5),
)


@pytest.mark.parametrize(
    "target", [TARGET, crystal_target(), OPEN_TARGET], ids=["molecule", "crystal", "open"]
)
def test_critic_scores_are_means_over_the_atoms_descriptors(target: Target) -> None:
    model = untrained(target)
    pool = generate(model, 3, seed=2)
    found = critic_scores(model, pool.positions, pool.cells)
    h = model.hyperparameters
    for value, positions, cell in zip(found, *pool, strict=True):
        atoms = Atoms(target.numbers, positions, cell=cell, pbc=target.periodic)
        descriptors = power_spectrum(
            atoms,
            species=model.species,
            radial=h.radial,
            r_cut=h.r_cut,
            n_max=h.n_max,
            n_neighbour=h.n_neighbour,
        )
        expected = score(model.critic, jnp.asarray(descriptors, jnp.float32)).mean()
        assert value == pytest.approx(float(expected), abs=1e-4)
    with pytest.raises(InputError):
        critic_scores(model, pool.positions[:, :2], pool.cells)
    if target.periodic:
        with pytest.raises(InputError, match="cell"):
            critic_scores(model, pool.positions, 0.5 * pool.cells)
    assert LoganModel.from_bytes(model.to_bytes()).target == target


def test_the_compilation_cache_is_private_and_refused_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        directory = enable_compilation_cache()
        assert directory == tmp_path / "logan-campaign" / "jax"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert jax.config.jax_compilation_cache_dir == str(directory)
        link = tmp_path / "link"
        link.symlink_to(directory)
        assert enable_compilation_cache(link) is None
        (tmp_path / "file").write_text("")
        assert enable_compilation_cache(tmp_path / "file") is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
