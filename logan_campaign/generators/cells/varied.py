"""Crystals with variable cells: drawn, or learned with the positions."""

from __future__ import annotations

import copy
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from logan_campaign.generators.cells.base import arrays
from logan_campaign.generators.cells.lattices import (
    MAX_STRAIN,
    STRAIN_SPREAD,
    STRAINS,
    bounded,
    covering_translations,
    product,
    reduction,
    strained,
    unimodular_inverse,
)
from logan_campaign.generators.target import Target

#: Number of sampled cells per reference cell for the table of translations.
_SAMPLED = 2000

#: Safety factor on the cutoff radius of the table, since cells are sampled.
_MARGIN = 1.05


@arrays("low", "high", "references", "projectors")
class CellShapes:
    """Cells of bounded volume and shape, from six numbers.

    Drawn: the volume is uniform within its range, the strain normal, then bounded. Learned: the
    same with outputs instead of drawn numbers, and a sigmoid instead of the normal distribution
    function.

    Args:
        target: provides the range of volumes.
        references: (k, 3, 3) unstrained cells of volume 1.
        projectors: (k, 5, 5) projector of strains for each of them.
    """

    def __init__(
        self,
        target: Target,
        references: np.ndarray | None = None,
        projectors: np.ndarray | None = None,
    ) -> None:
        assert target.volumes is not None  # set for cells that are not fixed
        self.learned = target.lattice == "learned"
        self.n_numbers = 1 + len(STRAINS)
        self.low, self.high = (v * len(target.numbers) for v in target.volumes)
        self.references = np.eye(3)[None] if references is None else references
        self.projectors = np.eye(len(STRAINS))[None] if projectors is None else projectors

    def __call__(self, numbers: jax.Array, which: jax.Array | None = None) -> jax.Array:
        """Return cells (n, 3, 3) (Å), not reduced.

        Args:
            numbers: (n, n_numbers) outputs or drawn numbers.
            which: (n,) index of each cell's reference; the first by default.
        """
        dtype = numbers.dtype
        chosen = jnp.zeros(len(numbers), jnp.int32) if which is None else which
        share = jax.nn.sigmoid(numbers[:, 0]) if self.learned else norm.cdf(numbers[:, 0])
        volumes = self.low + (self.high - self.low) * share
        projectors = jnp.asarray(self.projectors, dtype)[chosen]
        strains = jnp.einsum("nij,nj->ni", projectors, STRAIN_SPREAD * numbers[:, 1:])
        references = jnp.asarray(self.references, dtype)[chosen]
        return strained(references, bounded(strains), volumes)

    def random(self, key: jax.Array, n: int) -> jax.Array:
        """Return numbers (n, n_numbers) whose learned cells are distributed like drawn ones."""
        numbers = jax.random.normal(key, (n, self.n_numbers), jnp.float32)
        # the logistic function at 1.7 x approximates the normal distribution function at x
        return numbers.at[:, 0].multiply(1.7)

    def translations(self, r_cut: float) -> np.ndarray:
        """Return translations that suffice for all reduced cells, from a sample of the smallest."""
        rng = np.random.default_rng(0)
        found = []
        for reference, projector in zip(self.references, self.projectors, strict=True):
            strains = rng.normal(size=(_SAMPLED, len(STRAINS))) @ projector.T
            lengths = np.maximum(np.linalg.norm(strains, axis=1, keepdims=True), 1e-9)
            # uniform up to the bound, a third of them on it
            scale = np.minimum(1.0, 1.5 * rng.random((_SAMPLED, 1)) ** 0.2) * MAX_STRAIN
            smallest = jnp.full(_SAMPLED, self.low)
            cells = strained(
                jnp.asarray(reference), jnp.asarray(strains / lengths * scale), smallest
            )
            found.append(np.asarray(product(reduction(cells), cells)))
        return covering_translations(np.concatenate(found), _MARGIN * r_cut)


def in_reduced_cells(fractional: jax.Array, cells: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return positions (n, N, 3) wrapped into the reduced cells (n, 3, 3), and the cells (Å).

    Args:
        fractional: (n, N, 3) coordinates in the cells given.
        cells: (n, 3, 3) (Å).
    """
    matrices = reduction(cells)
    reduced = product(matrices, cells)
    return product(product(fractional, unimodular_inverse(matrices)) % 1.0, reduced), reduced


@arrays("shapes")
class VariedCell:
    """Atoms at general positions in drawn or learned cells.

    Fractional coordinates are those of :class:`FixedCell` for crystals. Every cell is
    Niggli-reduced.
    """

    cell: np.ndarray | None = None

    def __init__(self, target: Target) -> None:
        self.n_atoms = len(target.numbers)
        self.shapes = CellShapes(target)
        self.n_drawn = 0 if self.shapes.learned else self.shapes.n_numbers
        self.n_outputs = 3 * self.n_atoms + self.shapes.n_numbers - self.n_drawn

    def __call__(self, outputs: jax.Array, drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
        atoms = outputs[:, : 3 * self.n_atoms].reshape(-1, self.n_atoms, 3)
        numbers = outputs[:, 3 * self.n_atoms :] if self.shapes.learned else drawn
        return in_reduced_cells((0.5 + atoms / 4.0) % 1.0, self.shapes(numbers))

    def initial_biases(self, key: jax.Array, spread: float) -> jax.Array:
        """See :class:`PostProcessing`."""
        return jnp.float32(spread) * jax.random.normal(key, (self.n_outputs,), jnp.float32)

    def initial_outputs(self, key: jax.Array, n: int) -> jax.Array:
        """See :class:`PostProcessing`."""
        first, second = jax.random.split(key)
        n_positions = 3 * self.n_atoms
        atoms = jax.random.uniform(first, (n, n_positions), jnp.float32, -2.0, 2.0)
        if not self.shapes.learned:
            return atoms
        return jnp.concatenate([atoms, self.shapes.random(second, n)], axis=1)

    def padded(self, n_atoms: int) -> Self:
        """See :class:`PostProcessing`."""
        wider = copy.copy(self)
        wider.n_outputs += 3 * (n_atoms - self.n_atoms)
        wider.n_atoms = n_atoms
        return wider

    def translations(self, r_cut: float) -> np.ndarray | None:
        """See :class:`PostProcessing`."""
        return self.shapes.translations(r_cut)
