"""Base class of all kinds of post-processing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

Class = TypeVar("Class")


def arrays(*names: str) -> Callable[[type[Class]], type[Class]]:
    """Return a class decorator: programs take these attributes as arrays, not as constants.

    Then one compiled program serves all objects whose arrays have the same shapes. Other
    attributes are compiled in, and must be hashable.
    """

    def register(cls: type[Class]) -> type[Class]:
        def flatten(place: Class) -> tuple[list[Any], tuple[tuple[str, Any], ...]]:
            every = vars(place)
            static = tuple((name, every[name]) for name in sorted(every) if name not in names)
            return [every.get(name) for name in names], static

        def unflatten(static: tuple[tuple[str, Any], ...], leaves: list[Any]) -> Class:
            place = object.__new__(cls)
            vars(place).update(static, **dict(zip(names, leaves, strict=True)))
            return place

        jax.tree_util.register_pytree_node(cls, flatten, unflatten)
        return cls

    return register


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

    def padded(self, n_atoms: int) -> PostProcessing:
        """Return that of crystals with ``n_atoms`` atoms, of which the first ones are used."""

    def translations(self, r_cut: float) -> np.ndarray | None:
        """Return lattice translations (n_images, 3) that suffice for all its cells.

        As :func:`logan_campaign.descriptors.lattice.translations`; for a fixed cell, those of its
        reduced form. None for molecules.
        """
