"""Generation of structures, and the critic's opinion of structures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError
from logan_campaign.generators.pools import GeneratedPool, model_arrays
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
    if n < 0:
        raise InputError(f"cannot generate {n} structures")
    program = program_for(model.problem)
    key = jax.random.key(seed % 2**63)
    positions = np.empty((n, len(model.target.numbers), 3), dtype=np.float32)
    cells = np.empty((n, 3, 3))
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        p, c = program.jit_sample(model.generator, key, _CHUNK, jnp.int32(start))
        positions[start:stop] = np.asarray(p)[: stop - start]
        fixed = model.target.lattice == "fixed"
        cells[start:stop] = model.target.cell_array if fixed else np.asarray(c)[: stop - start]
        progress.report("generate", stop, n)
    return GeneratedPool(positions, cells)


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
    output = np.empty(len(positions), dtype=np.float32)
    for start in range(0, len(positions), _CHUNK):
        stop = min(start + _CHUNK, len(positions))
        rows = np.minimum(np.arange(start, start + _CHUNK), len(positions) - 1)
        part = program.jit_scores(
            model.critic, positions[rows], None if each is None else each[rows]
        )
        output[start:stop] = np.asarray(part)[: stop - start]
    return output
