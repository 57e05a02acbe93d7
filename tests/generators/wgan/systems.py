"""A small problem whose programs compile fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan import Hyperparameters

TARGET = Target((8, 1, 6, 1, 1, 1), ((5, 0, 0), (0, 4.5, 0), (0, 0, 4)), False)

SETTINGS: dict[str, Any] = {
    "n_max": 2,
    "r_cut": 4.0,
    "n_neighbour": 4,
    "latent_size": 4,
    "generator_widths": (16, 8),
    "critic_widths": (16, 8),
    "batch_size": 3,
    "critic_updates": 2,
    "penalty_updates": 3,
    "rattle_copies": 4,
    "learning_rate": 1e-3,
    "steps": 20,
}


def training_set() -> list[Atoms]:
    return [molecule(name) for name in ("CH3OH", "CH3CH2OH", "CH3OCH3")]


def hyperparameters(**changes: Any) -> Hyperparameters:
    return Hyperparameters(**{**SETTINGS, **changes})


def crystal_target() -> Target:
    cell = ((3.9, 0.0, 0.0), (1.2, 3.8, 0.0), (0.3, -0.4, 4.2))
    return Target((12, 8, 12, 8), cell, True)


def crystals() -> list[Atoms]:
    return [bulk("MgO", "rocksalt", a=4.21), bulk("MgO", "zincblende", a=4.6)]


def same_bits(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(np.asarray(x), np.asarray(y))
        for x, y in zip(_leaves(a), _leaves(b), strict=True)
    )


def _leaves(tree: Any) -> list[Any]:
    import jax

    return jax.tree.leaves(tree)
