"""The training program kept on disk gives what the traced one gives, and is not traced again."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import TARGET, crystal_target, crystals, hyperparameters, training_set

from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.generators.environments import real_environments, training_species
from logan_campaign.generators.wgan.step import Problem, Program
from logan_campaign.generators.wgan.stored import stored_program, stored_run


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    before = jax.config.jax_compilation_cache_dir
    directory = enable_compilation_cache(tmp_path / "cache")
    assert directory is not None
    yield directory
    jax.config.update("jax_compilation_cache_dir", before)


def problem(**changes: Any) -> tuple[Program, Any, jax.Array]:
    structures = training_set()
    small = {"n_max": 1, "critic_updates": 1, "penalty_updates": 1, "critic_widths": (4,)}
    settings = hyperparameters(**{**small, **changes})
    species = training_species(structures, TARGET)
    program = Program(Problem.of(TARGET, settings, species))
    real = real_environments(structures, TARGET, settings, species, seed=1)
    return program, real, jax.random.key(2)


def two_steps(program: Program, run: Any, real: Any, key: jax.Array) -> list[np.ndarray]:
    """Run one step and one more, on a state fresh from init and on one that came out."""
    state = program.jit_init(jax.random.key(3))
    for stop in (1, 2):
        state = run(state, real, key, jnp.int32(stop))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_a_stored_program_gives_the_same_bits_and_is_not_traced_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program, real, key = problem()
    state = program.jit_init(jax.random.key(3))
    expected = two_steps(program, program.jit_run, real, key)
    first = two_steps(program, stored_run(program, state, real, key), real, key)
    (path,) = cache.glob("*.stablehlo")

    traced = []

    def run(*arguments: Any) -> Any:
        traced.append(1)
        return Program.run(again, *arguments)

    again, _, _ = problem()
    monkeypatch.setattr(again, "run", run)
    second = two_steps(program, stored_run(again, state, real, key), real, key)
    assert not traced
    for a, b, c in zip(expected, first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)

    path.write_bytes(path.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        third = two_steps(program, stored_run(again, state, real, key), real, key)
    assert traced
    assert "damaged" in caplog.text
    for a, b in zip(expected, third, strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_problem_is_another_stored_program(tmp_path: Path) -> None:
    for changes in ({}, {}, {"learning_rate": 1e-2}, {"batch_size": 4}):
        program, real, key = problem(**changes)
        stored_program(program, tmp_path, jax.eval_shape(program.init, key), real, key)
    assert len(list(tmp_path.glob("*.stablehlo"))) == 3


def test_a_program_that_calls_lapack_is_not_stored(tmp_path: Path) -> None:
    # a process that read it would die: JAX loads LAPACK only while it traces
    target, structures = crystal_target(), crystals()
    settings = hyperparameters(n_max=0, critic_updates=1, penalty_updates=1)
    species = training_species(structures, target)
    program = Program(Problem.of(target, settings, species))
    real = real_environments(structures, target, settings, species, seed=1)
    key = jax.random.key(2)
    state = jax.eval_shape(program.init, key)
    stored = stored_program(program, tmp_path, state, real, key)
    traced = jax.jit(program.run).lower(state, real, key, jnp.int32(1)).as_text()
    assert (stored is None) == ("lapack" in traced)
    assert bool(list(tmp_path.iterdir())) == (stored is not None)
