"""Base class of all kinds of post-processing."""

from __future__ import annotations

from typing import Protocol

import jax
import numpy as np


class PostProcessing(Protocol):
    """Converts raw numbers to structures, and imposes cells and symmetry.

    Two kinds of raw numbers describe a structure: outputs, which are learned or optimised directly,
    and drawn numbers, for choices that are left to chance.
    Called with ``outputs`` (n, n_outputs) and ``drawn`` (n, n_drawn), standard-normal, it
    returns positions (n, N, 3) and lattice vectors as rows, (3, 3) for all structures or
    (n, 3, 3), in Å. Positions and cells are differentiable with respect to the outputs.

    Attributes:
        n_outputs: learned or optimised numbers per structure.
        n_drawn: drawn numbers per structure.
        cell: (3, 3) lattice vectors of all structures (Å); None if they differ.
    """

    n_outputs: int
    n_drawn: int
    cell: np.ndarray | None

    def __call__(self, outputs: jax.Array, drawn: jax.Array) -> tuple[jax.Array, jax.Array]: ...

    def initial_biases(self, key: jax.Array, spread: float) -> jax.Array:
        """Return initial output biases (n_outputs,) of a network, with atoms ``spread`` apart."""

    def initial_outputs(self, key: jax.Array, n: int) -> jax.Array:
        """Return outputs (n, n_outputs) of structures with random positions."""

    def translations(self, r_cut: float) -> np.ndarray | None:
        """Return lattice translations (n_images, 3) that suffice for all its cells.

        As :func:`logan_campaign.descriptors.lattice.translations`; for a fixed cell, those of its
        reduced form. None for molecules.
        """
