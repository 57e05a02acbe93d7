"""Training of one member of the ensemble, with checkpoints and reasons of failure."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.core.files import write_atomically
from logan_campaign.core.model_files import read_tensors, write_tensors
from logan_campaign.generators.base import HISTORY_KEYS, TrainingResult
from logan_campaign.generators.environments import real_environments, training_species
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan.model import LoganModel
from logan_campaign.generators.wgan.settings import Hyperparameters
from logan_campaign.generators.wgan.step import N_DISTINCT, Problem, State, program_for
from logan_campaign.generators.wgan.stored import stored_run

logger = logging.getLogger(__name__)

CHECKPOINT_FORMAT = "logan-campaign checkpoint"

#: Number of history records per training.
_RECORDS = 100

#: Time before the first checkpoint (s), and the largest fraction of time for later ones.
_FIRST_CHECKPOINT_S = 1.0
_CHECKPOINT_SHARE = 0.01

#: Samples whose mean descriptors differ by less than this fraction of their norm are equal.
DISTINCT_TOLERANCE = 1e-3


def train(
    structures: Sequence[Atoms],
    target: Target,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    training_set_id: str,
    start: LoganModel | None = None,
    checkpoint: Path | None = None,
    checkpoint_every_s: float = 20.0,
) -> TrainingResult[LoganModel]:
    """Train one model; the same inputs and seed give the same model on one device.

    Args:
        structures: training set, periodic according to their ``pbc``.
        target: atoms and cell to generate.
        hyperparameters: all hyperparameters.
        seed: seed of weights, rattling, resampling and latent variables.
        training_set_id: id of ``structures``, stored in the model.
        start: model to continue from, see :func:`can_start`; the state of the optimiser is not
            kept. None for new weights.
        checkpoint: file to continue from, if it matches, and to write periodically; the last
            checkpoint is left in place. Results after continuing are identical to the last bit.
        checkpoint_every_s: longest interval between checkpoints (s); shorter as long as writing
            takes less than a hundredth of the time.

    Returns:
        The model and its history. A training that diverges or collapses does not raise, but
        returns state 'failed' with the reason.

    Raises:
        InputError: structures, target or start are unusable.
    """
    begun = time.monotonic()
    species = training_species(structures, target)
    program = program_for(Problem.of(target, hyperparameters, species))
    if start is not None and start.problem != program.problem:
        raise InputError(
            f"training cannot continue from {start.id}, which was trained for other atoms, another "
            "cell, other elements or other hyperparameters; leave out the start"
        )
    start_id = None if start is None else start.id
    identity = hyperparameters.model_id(training_set_id, target, seed, start_id)
    real = jax.device_put(
        real_environments(structures, target, hyperparameters, species, seed=seed)
    )
    key = jax.random.key(seed % 2**63)
    init_key, run_key, sample_key = jax.random.split(key, 3)
    state = program.jit_init(init_key)
    if start is not None:
        state = state._replace(
            generator=jax.tree.map(jnp.asarray, start.generator),
            critic=jax.tree.map(jnp.asarray, start.critic),
        )
    history: dict[str, list[Any]] = {name: [] for name in HISTORY_KEYS}
    earlier_s = 0.0
    if checkpoint is not None:
        found = _read_checkpoint(Path(checkpoint), identity, state)
        if found is not None:
            state, history, earlier_s = found
            logger.info("continuing %s from step %d", identity, int(state.step))
    run = stored_run(program, state, real, run_key)
    total = hyperparameters.steps
    every = max(1, total // _RECORDS)
    chunk, saved = 1, time.monotonic()
    pause = min(_FIRST_CHECKPOINT_S, checkpoint_every_s)
    reason = ""
    done = int(state.step)
    progress.report("train", done, total)
    while done < total and not reason:
        stop = min(done + chunk, (done // every + 1) * every, total)
        started = time.monotonic()
        state = jax.block_until_ready(run(state, real, run_key, jnp.int32(stop)))
        took = time.monotonic() - started
        # About one report per second on any machine; chunks do not affect results.
        chunk = int(np.clip((stop - done) / max(took, 1e-6), 1, 2 * chunk + 1))
        done = stop
        metrics = [float(value) for value in state.metrics]
        if not np.isfinite(metrics).all():
            reason = (
                f"diverged: the losses are not finite at step {done}; "
                "lower the learning rate or use another seed"
            )
        if done % every == 0 or done == total or reason:
            share = (
                0.0
                if reason
                else distinct_share(
                    np.asarray(program.jit_fingerprints(state.generator, sample_key))
                )
            )
            for name, value in zip(HISTORY_KEYS, [done, *metrics, share], strict=True):
                history[name].append(value)
        progress.report("train", done, total, f"wasserstein {metrics[3]:.3f}")
        if checkpoint is not None and (time.monotonic() - saved > pause or done == total):
            started = time.monotonic()
            elapsed = earlier_s + started - begun
            _write_checkpoint(Path(checkpoint), identity, state, history, elapsed)
            saved = time.monotonic()
            pause = min((saved - started) / _CHECKPOINT_SHARE, checkpoint_every_s)
    if not reason and history["distinct_share"][-1] * N_DISTINCT <= 1.0:
        reason = (
            f"collapsed: all samples are the same structure after {done} steps; "
            "use another seed, more steps or a lower learning rate"
        )
    model = None
    if not reason:
        model = LoganModel(
            jax.tree.map(np.asarray, state.generator),
            jax.tree.map(np.asarray, state.critic),
            hyperparameters,
            species,
            target,
            training_set_id,
            seed,
            done,
            start_id,
        )
    return TrainingResult(
        model,
        history,
        "failed" if reason else "trained",
        reason,
        done,
        earlier_s + time.monotonic() - begun,
    )


def can_start(
    start: LoganModel,
    structures: Sequence[Atoms],
    target: Target,
    hyperparameters: Hyperparameters,
) -> bool:
    """Return whether training can continue from the weights of a model.

    Atoms, cell, elements of the training set and all hyperparameters except the number of steps
    must be the same.
    """
    species = training_species(structures, target)
    return start.problem == Problem.of(target, hyperparameters, species)


def distinct_share(fingerprints: np.ndarray) -> float:
    """Return the fraction of distinct rows, within a tolerance.

    Args:
        fingerprints: (n, n_features) structure descriptors.
    """
    scale = float(np.linalg.norm(fingerprints, axis=1).mean())
    representatives: list[np.ndarray] = []
    for row in fingerprints:
        if not any(
            np.linalg.norm(row - other) < DISTINCT_TOLERANCE * scale for other in representatives
        ):
            representatives.append(row)
    return len(representatives) / len(fingerprints)


def _write_checkpoint(
    path: Path, identity: str, state: State, history: dict[str, list[Any]], elapsed_s: float
) -> None:
    leaves = jax.tree.leaves(state)
    # NaN has no JSON form; diverged trainings are neither saved nor continued.
    if not all(np.isfinite(value) for value in state.metrics):
        return
    header = {"model_id": identity, "history": history, "elapsed_s": elapsed_s}
    tensors = {f"leaf.{k}": np.asarray(leaf) for k, leaf in enumerate(leaves)}
    write_atomically(path, write_tensors(CHECKPOINT_FORMAT, header, tensors))


def _read_checkpoint(
    path: Path, identity: str, template: State
) -> tuple[State, dict[str, list[Any]], float] | None:
    """Return state, history and elapsed time; None, with a warning, if they do not match."""
    if not path.exists():
        return None
    try:
        header, tensors = read_tensors(CHECKPOINT_FORMAT, path.read_bytes())
        if header["model_id"] != identity:
            raise ModelFileError(f"it belongs to {header['model_id']}")
        leaves, structure = jax.tree.flatten(template)
        found = [tensors[f"leaf.{k}"] for k in range(len(leaves))]
        for a, b in zip(found, leaves, strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise ModelFileError("its arrays have other shapes")
        state = jax.tree.unflatten(structure, [jnp.asarray(a) for a in found])
        return state, dict(header["history"]), float(header["elapsed_s"])
    except (ModelFileError, OSError, KeyError, ValueError, TypeError) as err:
        logger.warning("ignoring checkpoint %s, training starts again: %s", path, err)
        return None
