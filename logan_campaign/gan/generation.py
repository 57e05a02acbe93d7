"""Generation of structures, and the critic's opinion of structures."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign import progress
from logan_campaign.errors import InputError
from logan_campaign.gan.model import LoganModel
from logan_campaign.gan.networks import score
from logan_campaign.gan.step import Problem, Program, program_for

_CHUNK = 512


class GeneratedPool(NamedTuple):
    """Generated structures of one composition.

    Attributes:
        positions: (n, N, 3) float32 (Å).
        cells: (n, 3, 3) float64 cell vectors as rows (Å).
    """

    positions: np.ndarray
    cells: np.ndarray


def _program(model: LoganModel) -> Program:
    # The number of steps shapes nothing: models that differ in it alone share a program.
    hyperparameters = model.hyperparameters.model_copy(update={"steps": 1})
    return program_for(Problem(model.target, hyperparameters, model.species))


def generate(model: LoganModel, n: int, *, seed: int) -> GeneratedPool:
    """Return ``n`` structures; the first ones are the same for every ``n``.

    Args:
        model: trained model.
        n: how many.
        seed: of the latent vectors.

    Raises:
        InputError: if ``n`` is negative.
    """
    if n < 0:
        raise InputError(f"cannot generate {n} structures")
    program = _program(model)
    key = jax.random.key(seed % 2**63)
    positions = np.empty((n, len(model.target.numbers), 3), dtype=np.float32)
    cells = np.empty((n, 3, 3))
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        p, c = program.jit_sample(model.generator, key, _CHUNK, jnp.int32(start))
        positions[start:stop] = np.asarray(p)[: stop - start]
        cells[start:stop] = (
            model.target.cell_array if c.ndim == 2 else np.asarray(c)[: stop - start]
        )
        progress.report("generate", stop, n)
    return GeneratedPool(positions, cells)


def critic_scores(model: LoganModel, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the critic's mean score of each structure's atoms; lower looks more real.

    Args:
        model: trained model.
        positions: (n, N, 3) of the target's atoms (Å).
        cells: (n, 3, 3) or (3, 3) cell vectors (Å); must be the model's own.

    Returns:
        Array of shape (n,).
    """
    program = _program(model)
    n_atoms = len(model.target.numbers)
    if positions.ndim != 3 or positions.shape[1:] != (n_atoms, 3):
        raise InputError(f"positions of shape {positions.shape} do not fit {n_atoms} atoms")

    @jax.jit
    def scores(part: jax.Array) -> jax.Array:
        return score(model.critic, program.describe(part)).reshape(-1, n_atoms).mean(axis=1)

    output = np.empty(len(positions), dtype=np.float32)
    for start in range(0, len(positions), _CHUNK):
        stop = min(start + _CHUNK, len(positions))
        rows = np.minimum(np.arange(start, start + _CHUNK), len(positions) - 1)
        output[start:stop] = np.asarray(scores(positions[rows]))[: stop - start]
    return output
