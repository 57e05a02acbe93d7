"""The methods that a campaign can train and generate with, behind one interface.

``wgan`` is the method of the paper: a generator and a critic of local environments
(:mod:`logan_campaign.generators.wgan`). ``descent`` keeps the critic's idea, that structures
are right when each atom's environment is, and does without both networks
(:mod:`logan_campaign.generators.descent`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.generators import descent, wgan
from logan_campaign.generators.descent import DescentHyperparameters, DescentModel
from logan_campaign.generators.model_files import file_kind
from logan_campaign.generators.pools import GeneratedPool
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan import Hyperparameters, LoganModel, TrainingResult

Method = Literal["wgan", "descent"]
Settings = Hyperparameters | DescentHyperparameters
Model = LoganModel | DescentModel

#: What is used where a spec does not say; docs/benchmarks/descent.md has the figures behind it.
DEFAULT_METHOD: Method = "descent"

#: What can be set for each method.
SETTINGS: dict[Method, type[Settings]] = {
    "wgan": Hyperparameters,
    "descent": DescentHyperparameters,
}


def settings_from(said: Mapping[str, Any]) -> Settings:
    """Return the settings in a record, whose method is the paper's where it names none.

    Raises:
        InputError: for a method that is not known.
    """
    method = said.get("method", "wgan")
    if method not in SETTINGS:
        raise InputError(f"method {method!r} is unknown: use {' or '.join(SETTINGS)}")
    return SETTINGS[method].model_validate(said)


def algorithm_version(settings: Settings) -> int:
    """Return the version of the algorithm that settings are for."""
    if isinstance(settings, Hyperparameters):
        return wgan.ALGORITHM_VERSION
    return descent.ALGORITHM_VERSION


def model_id(
    training_set_id: str,
    target: Target,
    settings: Settings,
    seed: int,
    start_id: str | None = None,
) -> str:
    """Return the id of the model that these inputs give; see :func:`train`."""
    if isinstance(settings, Hyperparameters):
        return wgan.model_id(training_set_id, target, settings, seed, start_id)
    return descent.model_id(training_set_id, target, settings, seed)


def train(
    structures: Sequence[Atoms],
    target: Target,
    settings: Settings,
    *,
    seed: int,
    training_set_id: str,
    start: Model | None = None,
    checkpoint: Path | None = None,
) -> TrainingResult[Model]:
    """Train one model by the method that the settings are for.

    Args:
        structures: training set, periodic where their ``pbc`` says so.
        target: atoms and cell to generate.
        settings: everything that can be set.
        seed: of every random choice.
        training_set_id: id of ``structures``, kept in the model.
        start: model to go on from, see :func:`can_start`; None for a fresh one.
        checkpoint: file to continue from if it fits and to write now and then, where the
            method takes long enough to need one.

    Raises:
        InputError: for structures, a target or a start that cannot be used.
    """
    if isinstance(settings, Hyperparameters):
        if isinstance(start, DescentModel):
            raise InputError(f"training cannot go on from {start.id}, which has no weights")
        return wgan.train(
            structures,
            target,
            settings,
            seed=seed,
            training_set_id=training_set_id,
            start=start,
            checkpoint=checkpoint,
        )
    if start is not None:
        raise InputError("a model of the method 'descent' has no weights to go on from")
    begun = time.monotonic()
    model = DescentModel.fit(
        structures, target, settings, seed=seed, training_set_id=training_set_id
    )
    history: dict[str, list[Any]] = {name: [] for name in wgan.HISTORY_KEYS}
    return TrainingResult(model, history, "trained", "", 0, time.monotonic() - begun)


def can_start(
    start: Model, structures: Sequence[Atoms], target: Target, settings: Settings
) -> bool:
    """Return whether a training can go on from a model: never for the method 'descent'."""
    if isinstance(start, DescentModel) or isinstance(settings, DescentHyperparameters):
        return False
    return wgan.can_start(start, structures, target, settings)


def load(content: bytes) -> Model:
    """Return the model in the contents of a file of any method.

    Raises:
        ModelFileError: if the bytes are truncated, foreign or of an unknown version.
    """
    kind = file_kind(content)
    if kind == descent.FORMAT:
        return DescentModel.from_bytes(content)
    if kind == wgan.FORMAT:
        return LoganModel.from_bytes(content)
    raise ModelFileError(f"the file is no model of {' or '.join(SETTINGS)}")


def generate(model: Model, n: int, *, seed: int) -> GeneratedPool:
    """Return ``n`` structures; the first ones are the same for every ``n``.

    Args:
        model: trained model.
        n: how many.
        seed: of latent vectors, or of random starts.

    Raises:
        InputError: if ``n`` is negative.
    """
    if isinstance(model, DescentModel):
        return model.generate(n, seed=seed)
    return wgan.generate(model, n, seed=seed)


def scores(model: Model, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return (n,) what a model says of structures; lower looks more real.

    Args:
        model: trained model, whose critic, or whose misfit, is asked.
        positions: (n, N, 3) of the target's atoms (Å).
        cells: (n, 3, 3) or (3, 3) cell vectors (Å).

    Raises:
        InputError: if the shapes do not fit or crystals have another cell.
    """
    if isinstance(model, DescentModel):
        return model.scores(positions, cells)
    return wgan.critic_scores(model, positions, cells)
