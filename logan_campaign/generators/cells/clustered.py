"""Atoms of a cluster in a box, which start packed together."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii

from logan_campaign.generators.cells.base import arrays
from logan_campaign.generators.cells.fixed import FixedCell
from logan_campaign.generators.target import Target

#: Atoms repel each other below this share of the sum of their covalent radii.
_TOUCHING = 0.95
#: Pull towards the centre, beside the repulsion, and steps of the packing.
_PULL, _N_STEPS, _MOMENTUM = 0.06, 300, 0.9


@arrays("cell", "exact_cell", "edge", "touching", "length")
class ClusterInBox(FixedCell):
    """Atoms in a box whose random starts are dense packings, as compact clusters are."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        radii = covalent_radii[list(target.numbers)]
        self.touching = np.float32(_TOUCHING * (radii[:, None] + radii))
        self.length = self.touching.mean()

    def initial_outputs(self, key: jax.Array, n: int) -> jax.Array:
        """See :class:`PostProcessing`; soft spheres at rest in a harmonic well."""
        length = self.length
        start = length * (self.n_atoms / 2.0) ** (1.0 / 3.0)
        positions = start * jax.random.normal(key, (n, self.n_atoms, 3), jnp.float32) / 2.0

        def energy(positions: jax.Array) -> jax.Array:
            between = positions[:, :, None] - positions[:, None]
            itself = jnp.eye(self.n_atoms)
            # the root has no derivative at 0, the distance of an atom to itself
            distance = jnp.sqrt((between**2).sum(axis=-1) + itself + 1e-6)
            overlap = jnp.maximum(0.0, 1.0 - distance / self.touching) * (1.0 - itself)
            away = positions - positions.mean(axis=1, keepdims=True)
            return (overlap**2).sum() / 2.0 + _PULL * (away**2).sum() / length**2

        slope = jax.grad(energy)
        step = length**2 / 50.0  # the stiffest modes, of twelve contacts, stay stable

        def move(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            positions, velocity = carry
            velocity = _MOMENTUM * velocity - step * slope(positions)
            return positions + velocity, velocity

        packed, _ = jax.lax.fori_loop(0, _N_STEPS, move, (positions, jnp.zeros_like(positions)))
        return self.outputs_of(packed)
