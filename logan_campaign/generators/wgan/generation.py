"""Generation of structures, and the critic's opinion of structures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign.generators.pools import GeneratedPool, collect, judge, model_arrays
from logan_campaign.generators.wgan.model import LoganModel
from logan_campaign.generators.wgan.step import program_for

_CHUNK = 512


def generate(model: LoganModel, n: int, *, seed: int) -> GeneratedPool:
    """Return ``n`` structures; the first ones are the same for every ``n``.

    Args:
        model: trained model.
        n: how many.
        seed: of the latent vectors.

    Raises:
        InputError: if ``n`` is negative.
    """
    program = program_for(model.problem)
    key = jax.random.key(seed % 2**63)

    def draw(block: int, start: int) -> tuple[jax.Array, jax.Array]:
        return program.jit_sample(model.generator, key, _CHUNK, jnp.int32(start))

    return collect(model.target, n, _CHUNK, draw)


def critic_scores(model: LoganModel, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the critic's mean score of each structure's atoms; lower looks more real.

    Args:
        model: trained model.
        positions: (n, N, 3) of the target's atoms (Å).
        cells: (n, 3, 3) or (3, 3) cell vectors (Å). Crystals must have the model's cell, or,
            where that is not fixed, one of the shapes that it can have.

    Returns:
        Array of shape (n,).

    Raises:
        InputError: if the shapes do not fit or crystals have another cell.
    """
    program = program_for(model.problem)
    positions, each = model_arrays(
        model.target, program.images, program.descriptor.r_cut, positions, cells
    )
    return judge(positions, each, _CHUNK, lambda *block: program.jit_scores(model.critic, *block))
