"""Generation of structures, and their scores by the critic."""

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
        n: number of structures.
        seed: seed of the latent variables.

    Raises:
        InputError: ``n`` is negative.
    """
    program = program_for(model.problem)
    key = jax.random.key(seed % 2**63)

    def draw(block: int, start: int) -> tuple[jax.Array, jax.Array]:
        return program.jit_sample(model.generator, key, _CHUNK, jnp.int32(start))

    return collect(model.target, n, _CHUNK, draw)


def critic_scores(model: LoganModel, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the critic's mean score of each structure's atoms; lower is more realistic.

    Args:
        model: trained model.
        positions: (n, N, 3) of the target's atoms (Å).
        cells: (n, 3, 3) or (3, 3) lattice vectors (Å). Crystals must have the model's cell, or
            a shape in its range if it is variable.

    Returns:
        Array of shape (n,).

    Raises:
        InputError: the shapes do not match, or crystals have a different cell.
    """
    program = program_for(model.problem)
    positions, each = model_arrays(
        model.target, program.images, program.descriptor.r_cut, positions, cells
    )
    return judge(positions, each, _CHUNK, lambda *block: program.jit_scores(model.critic, *block))
