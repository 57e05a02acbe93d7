"""Training: deterministic, resumable, and honest about failure."""

import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from pydantic import ValidationError
from systems import TARGET, hyperparameters, same_bits, training_set

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.generators.base import TrainingResult
from logan_campaign.generators.environments import (
    RealEnvironments,
    real_environments,
    training_species,
)
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan import Hyperparameters, train
from logan_campaign.generators.wgan import training as training_module
from logan_campaign.generators.wgan.step import Problem, program_for
from logan_campaign.generators.wgan.training import distinct_share


def run(**more: Any) -> TrainingResult:
    arguments: dict[str, Any] = {"seed": 1, "training_set_id": "set-1", **more}
    return train(training_set(), TARGET, hyperparameters(), **arguments)


@pytest.fixture(scope="module")
def trained() -> TrainingResult:
    return run()


def weights(result: TrainingResult) -> Any:
    assert result.model is not None
    return result.model.generator, result.model.critic


def test_training_returns_a_model_and_a_history_of_one_length(trained: TrainingResult) -> None:
    assert trained.state == "trained"
    assert trained.reason == ""
    assert trained.steps == 20
    assert trained.history["step"] == list(range(1, 21))
    assert {len(v) for v in trained.history.values()} == {20}
    assert all(0 < v <= 1 for v in trained.history["distinct_share"])
    assert trained.model is not None
    assert trained.model.id == hyperparameters().model_id("set-1", TARGET, 1)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(
    trained: TrainingResult,
) -> None:
    assert same_bits(weights(run()), weights(trained))
    assert not same_bits(weights(run(seed=2)), weights(trained))


def test_a_continued_training_gives_the_same_bits(
    trained: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "member.safetensors"

    class Interrupted(Exception):
        pass

    def interrupt(report: progress.Progress) -> None:
        if report.completed >= 8:
            raise Interrupted

    with progress.listening(interrupt), pytest.raises(Interrupted):
        run(checkpoint=checkpoint, checkpoint_every_s=0.0)
    assert checkpoint.exists()
    reports: list[progress.Progress] = []
    with progress.listening(reports.append):
        continued = run(checkpoint=checkpoint)
    assert 0 < reports[0].completed < 20
    assert same_bits(weights(continued), weights(trained))
    assert continued.history == trained.history
    assert list(tmp_path.iterdir()) == [checkpoint]


@pytest.mark.parametrize("damage", ["truncated", "foreign", "another model"])
def test_a_checkpoint_that_does_not_fit_is_ignored_with_a_warning(
    damage: str, trained: TrainingResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "member.safetensors"
    if damage == "foreign":
        checkpoint.write_bytes(b"not a checkpoint at all")
    else:
        run(checkpoint=checkpoint, seed=5 if damage == "another model" else 1)
        if damage == "truncated":
            checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        result = run(checkpoint=checkpoint)
    assert "training starts again" in caplog.text
    assert same_bits(weights(result), weights(trained))


def test_a_training_that_diverges_is_returned_as_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*args: Any, **kwargs: Any) -> RealEnvironments:
        real = real_environments(*args, **kwargs)
        return real._replace(features=np.full_like(real.features, np.nan))

    monkeypatch.setattr(training_module, "real_environments", broken)
    result = run(checkpoint=tmp_path / "checkpoint")
    assert result.state == "failed"
    assert result.model is None
    assert result.reason.startswith("diverged")
    assert "\n" not in result.reason
    assert result.steps < 20
    assert not (tmp_path / "checkpoint").exists()


def test_a_training_whose_samples_collapse_is_returned_as_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem.of(TARGET, hyperparameters(), (1, 6, 8))
    program = program_for(problem)
    init = program.jit_init

    def dead(key: jax.Array) -> Any:
        state = init(key)
        return state._replace(generator=jax.tree.map(lambda a: 0 * a, state.generator))

    monkeypatch.setattr(program, "jit_init", dead)
    result = run()
    assert result.state == "failed"
    assert result.reason.startswith("collapsed")
    assert result.history["distinct_share"][-1] == 1 / 64


def test_distinct_share_counts_structures_up_to_a_tolerance() -> None:
    rows = np.random.default_rng(0).random((8, 5))
    assert distinct_share(rows) == 1.0
    assert distinct_share(np.vstack([rows, rows + 1e-6])) == 0.5
    assert distinct_share(np.ones((4, 3))) == 0.25


def test_every_copy_is_rattled_differently_and_by_the_given_amount() -> None:
    single = [molecule("H2O")]
    target = Target((8,), ((3, 0, 0), (0, 3, 0), (0, 0, 3)), False)

    def environments(**changes: Any) -> np.ndarray:
        h = hyperparameters(rattle_copies=6, **changes)
        return np.asarray(real_environments(single, target, h, (1, 8), seed=4).features)

    rattled = environments(rattle_stdev=0.05)
    assert len(np.unique(rattled, axis=0)) == len(rattled) == 6
    still = environments(rattle_stdev=0.0)
    assert len(np.unique(still, axis=0)) == 1
    assert 0 < np.abs(rattled - still).max() < 0.5
    assert np.array_equal(rattled, environments(rattle_stdev=0.05))


def test_real_environments_are_sorted_by_species_and_limited_on_request() -> None:
    h = hyperparameters(rattle_copies=2, environments_per_species=1)
    structures = training_set()
    species = training_species(structures, TARGET)
    real = real_environments(structures, TARGET, h, species, seed=0)
    assert len(real.features) == len(structures) * 2 * 3
    one_hot = np.asarray(real.features)[:, -3:]
    for number, start, count in zip(TARGET.numbers, real.starts, real.counts, strict=True):
        rows = one_hot[start : start + count]
        assert count == 6
        assert (rows[:, species.index(number)] == 1).all()
    everything = real_environments(
        structures, TARGET, hyperparameters(rattle_copies=2), species, seed=0
    )
    assert len(everything.features) == 2 * sum(len(atoms) for atoms in structures)


def test_input_that_cannot_be_used_is_refused_in_one_line() -> None:
    h, box = hyperparameters(), ((6, 0, 0), (0, 6, 0), (0, 0, 6))
    keywords: dict[str, Any] = {"seed": 0, "training_set_id": "set-1"}
    with pytest.raises(InputError, match="no structures"):
        train([], TARGET, h, **keywords)
    with pytest.raises(InputError, match="7"):
        train(training_set(), Target((7, 1, 1, 1), box, False), h, **keywords)
    with pytest.raises(StructureError, match="finite"):
        train([Atoms("OH", [[0, 0, 0], [0, 0, np.inf]])], TARGET, h, **keywords)
    with pytest.raises(InputError, match="too small"):
        Target((6,) * 20, ((2, 0, 0), (0, 2, 0), (0, 0, 2)), True)
    with pytest.raises(InputError, match="no atoms"):
        Target((), box, False)
    with pytest.raises(InputError, match="finite"):
        Target((1,), ((np.nan, 0, 0), (0, 6, 0), (0, 0, 6)), False)


def test_hyperparameters_are_closed_checked_and_described() -> None:
    defaults = Hyperparameters()
    assert (defaults.r_cut, defaults.n_max, defaults.n_neighbour) == (5.0, 3, 12)
    assert defaults.steps == 60_001
    for wrong in ({"n_max": 7}, {"r_cut": 0}, {"learning_rate": -1}, {"layers": 3}):
        with pytest.raises(ValidationError):
            Hyperparameters.model_validate(wrong)
    assert all(field.description for field in Hyperparameters.model_fields.values())


def test_a_models_id_follows_from_its_inputs_and_nothing_else() -> None:
    first = hyperparameters().model_id("set-1", TARGET, 1)
    assert first == hyperparameters().model_id("set-1", TARGET, 1)
    others = {
        hyperparameters().model_id("set-2", TARGET, 1),
        hyperparameters().model_id("set-1", Target(TARGET.numbers, TARGET.cell, True), 1),
        hyperparameters(steps=21).model_id("set-1", TARGET, 1),
        hyperparameters().model_id("set-1", TARGET, 2),
    }
    assert len(others | {first}) == 5
