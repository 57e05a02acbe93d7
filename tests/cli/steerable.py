"""ASE calculators for the resume tests; targets of ``ASELevel``."""

from __future__ import annotations

import os

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Springs(Calculator):
    """Every pair of atoms on a spring of 1.2 Å; ends its process for some first geometries.

    Args:
        deadly: end the process if C and O are at first further apart than this (Å).
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ASE's own way

    def __init__(self, deadly: float = np.inf) -> None:
        super().__init__()
        self.deadly = deadly

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions
        heavy = np.flatnonzero(self.atoms.numbers > 1)
        if np.linalg.norm(x[heavy[0]] - x[heavy[1]]) > self.deadly:
            os._exit(3)
        self.deadly = np.inf  # only the first geometry counts
        difference = x[:, None] - x[None]
        distance = np.linalg.norm(difference, axis=-1)
        np.fill_diagonal(distance, 1.2)
        stretch = distance - 1.2
        self.results = {
            "energy": float(0.25 * (stretch**2).sum()),
            "forces": -((stretch / distance)[..., None] * difference).sum(axis=1),
        }
