"""What every kind of post-processing promises."""

from __future__ import annotations

from typing import Protocol

import jax
import numpy as np


class PostProcessing(Protocol):
    """Turns raw numbers into structures; it is here that symmetries and cells are imposed.

    Two kinds of raw numbers describe a structure: those that are learned, or optimised
    directly, and those that are drawn and tell apart what nothing should choose between.
    Called with ``outputs`` (n, n_outputs) and ``drawn`` (n, n_drawn), standard-normal, it
    returns positions (n, N, 3) in Å and cell vectors as rows, (3, 3) for all or (n, 3, 3),
    in Å. Positions and cells are differentiable by the outputs.

    Attributes:
        n_outputs: learned or optimised numbers per structure.
        n_drawn: drawn numbers per structure.
        cell: (3, 3) cell vectors of all structures (Å); None where they differ.
    """

    n_outputs: int
    n_drawn: int
    cell: np.ndarray | None

    def __call__(self, outputs: jax.Array, drawn: jax.Array) -> tuple[jax.Array, jax.Array]: ...

    def initial_biases(self, key: jax.Array, spread: float) -> jax.Array:
        """Return where a network's outputs (n_outputs,) start, ``spread`` apart."""

    def initial_outputs(self, key: jax.Array, n: int) -> jax.Array:
        """Return outputs (n, n_outputs) of structures whose atoms are placed at random."""

    def translations(self, r_cut: float) -> np.ndarray | None:
        """Return the lattice translations (n_images, 3) that hold for every cell it makes.

        As :func:`logan_campaign.descriptors.lattice.translations`; for one cell, those of its
        most compact form. None for molecules.
        """
