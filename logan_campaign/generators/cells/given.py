"""Atoms that are added to given ones, which stay: adsorbates, intercalates, completed fragments."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii

from logan_campaign.core.errors import InputError
from logan_campaign.generators.cells.base import arrays
from logan_campaign.generators.cells.fixed import FixedCell
from logan_campaign.generators.target import Target

#: Atoms start where the nearest given atom is this far away, in sums of covalent radii.
_START = (0.8, 1.6)
_N_TRIED = 20_000


@arrays("cell", "exact_cell", "edge", "given", "origin", "room")
class BesideGiven(FixedCell):
    """Free atoms, the first of the target, in a fixed cell or box with given ones.

    A molecule's box is centred on the given atoms. Free atoms start near given ones: in the vacuum
    above a surface nothing would attract them.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.given = np.array(target.given)
        free, held = np.split(np.array(target.numbers), [-len(self.given)])
        self.n_atoms, self.n_outputs = len(free), 3 * len(free)
        middle = self.exact_cell.sum(axis=0) / 2.0
        self.origin = np.zeros(3) if self.periodic else self.given.mean(axis=0) - middle
        self.room = self._room(covalent_radii[free].min() + covalent_radii[held])

    def _room(self, touching: np.ndarray) -> np.ndarray:
        """Return outputs (n, 3) of places for single atoms.

        Args:
            touching: (n_given,) distance (Å) at which an atom touches each given one.
        """
        from scipy.spatial import KDTree

        inside = np.random.default_rng(0).uniform(0.02, 0.98, (_N_TRIED, 3))
        steps = [(-1, 0, 1) if self.periodic else (0,)] * 3
        images = np.array(list(itertools.product(*steps))) @ self.exact_cell
        wrapped = self.given - self.origin
        if self.periodic:
            wrapped = (wrapped @ np.linalg.inv(self.exact_cell) % 1.0) @ self.exact_cell
        tree = KDTree((images[:, None] + wrapped).reshape(-1, 3))
        distance, nearest = tree.query(inside @ self.exact_cell)
        ratio = distance / touching[nearest % len(touching)]
        found = inside[(ratio > _START[0]) & (ratio < _START[1])]
        if not len(found):
            raise InputError("target.fixed: there is no room for an atom beside the given ones")
        return 4.0 * (found - 0.5) if self.periodic else np.log(found / (1.0 - found))

    def __call__(self, outputs: jax.Array, drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
        free, cell = super().__call__(outputs, drawn)
        given = jnp.broadcast_to(
            jnp.asarray(self.given, free.dtype), (len(free), *self.given.shape)
        )
        return jnp.concatenate([free + jnp.asarray(self.origin, free.dtype), given], axis=1), cell

    def initial_outputs(self, key: jax.Array, n: int) -> jax.Array:
        """See :class:`PostProcessing`; places near given atoms."""
        room = jnp.asarray(self.room, jnp.float32)
        return jax.random.choice(key, room, (n, self.n_atoms)).reshape(n, self.n_outputs)
