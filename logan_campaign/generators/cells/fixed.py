"""Atoms in a fixed cell or box."""

from __future__ import annotations

import copy
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii
from jax.scipy.special import logit

from logan_campaign.descriptors.lattice import translations
from logan_campaign.generators.cells.base import arrays
from logan_campaign.generators.target import Target
from logan_campaign.geometry.lattice import reduced_cell

#: Ratio of the volume for random positions in a box to that of the covalent spheres: about the
#: van der Waals volume of a small molecule.
_SPREAD_VOLUME = 10.0


@arrays("cell", "exact_cell", "edge")
class FixedCell:
    """Atoms in the target's fixed cell.

    Molecules: sigmoid of the outputs times the box, so that no atom leaves it. Crystals: fractional
    coordinates 1/2 + output/4 (the slope of the sigmoid at its centre) modulo 1, so that atoms can
    cross cell faces.
    """

    n_drawn = 0

    def __init__(self, target: Target) -> None:
        self.n_atoms = len(target.numbers)
        self.n_outputs = 3 * self.n_atoms
        self.periodic = target.periodic
        self.exact_cell = target.cell_array
        self.cell: np.ndarray | None = target.cell_array.astype(np.float32)
        spheres = 4.0 / 3.0 * np.pi * (covalent_radii[list(target.numbers)] ** 3).sum()
        box = abs(np.linalg.det(self.exact_cell))
        self.edge = np.float32(min(0.98, (_SPREAD_VOLUME * spheres / box) ** (1.0 / 3.0)))

    def __call__(self, outputs: jax.Array, drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = outputs.reshape(len(outputs), self.n_atoms, 3)
        fractional = (0.5 + outputs / 4.0) % 1.0 if self.periodic else jax.nn.sigmoid(outputs)
        cell = jnp.asarray(self.cell)
        # Written out: a matrix product with three rows is slower and less accurate on some devices.
        positions = sum(fractional[..., k, None] * cell[k] for k in range(3))
        return jnp.asarray(positions), cell

    def outputs_of(self, positions: jax.Array | np.ndarray) -> jax.Array:
        """Return the outputs (n, n_outputs) of given positions of molecules.

        Molecules are centred in the box; atoms outside are moved to its walls.

        Args:
            positions: (n, N, 3) (Å).
        """
        positions = jnp.asarray(positions, jnp.float32)
        middle = jnp.asarray(self.exact_cell.sum(axis=0) / 2.0, jnp.float32)
        moved = positions - positions.mean(axis=1, keepdims=True) + middle
        inside = moved @ jnp.linalg.inv(jnp.asarray(self.exact_cell, jnp.float32))
        return logit(jnp.clip(inside, 0.01, 0.99)).reshape(len(positions), -1)

    def initial_biases(self, key: jax.Array, spread: float) -> jax.Array:
        """See :class:`PostProcessing`."""
        return jnp.float32(spread) * jax.random.normal(key, (self.n_outputs,), jnp.float32)

    def initial_outputs(self, key: jax.Array, n: int) -> jax.Array:
        """See :class:`PostProcessing`.

        Crystals: uniform in the cell. Molecules: uniform in a box of equal shape and centre, with
        ten times the total volume of the covalent spheres, or in the whole box if that is
        smaller.
        """
        uniform = jax.random.uniform(key, (n, self.n_outputs), jnp.float32, -0.5, 0.5)
        if self.periodic:
            return 4.0 * uniform
        return logit(0.5 + self.edge * uniform)

    def padded(self, n_atoms: int) -> Self:
        """See :class:`PostProcessing`."""
        wider = copy.copy(self)
        wider.n_atoms, wider.n_outputs = n_atoms, 3 * n_atoms
        return wider

    def translations(self, r_cut: float) -> np.ndarray | None:
        """See :class:`PostProcessing`."""
        if not self.periodic:
            return None
        return translations(reduced_cell(self.exact_cell), r_cut)
