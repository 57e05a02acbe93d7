"""ASE calculators that go wrong on purpose; targets of ``ASELevel`` in the tests."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, SCFError, all_changes


class Spring(Calculator):
    """Every pair of atoms on a spring of ``length`` Å; counts its evaluations in a file.

    Args:
        trouble: what to do at the evaluation number ``at``, counted from 1 in this process.
        log: file that gets one line per evaluation.
        delay_s: sleep in each evaluation.
        once: marker file; trouble comes only while it does not exist.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ASE's own way

    def __init__(
        self,
        trouble: str = "",
        at: int = 1,
        log: str = "",
        delay_s: float = 0.0,
        once: str = "",
        length: float = 1.0,
    ) -> None:
        super().__init__()
        self.trouble, self.at, self.log, self.delay_s, self.once = trouble, at, log, delay_s, once
        self.length, self.count = length, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.count += 1
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()}\n")
        time.sleep(self.delay_s)
        x = self.atoms.positions
        difference = x[:, None] - x[None]
        distance = np.linalg.norm(difference, axis=-1)
        np.fill_diagonal(distance, self.length)
        stretch = distance - self.length
        forces = -((stretch / distance)[..., None] * difference).sum(axis=1)
        self.results = {
            "energy": float(0.25 * (stretch**2).sum()),
            "forces": forces,
            "stress": np.zeros(6),
        }
        if self.trouble and self.count >= self.at:
            if self.once:
                marker = Path(f"{self.once}.{self.count}")
                if marker.exists():
                    return
                marker.touch()
            self.go_wrong()

    def go_wrong(self) -> None:
        match self.trouble:
            case "raise":
                raise KeyError("no such thing in /home/secret/place/file.txt at mongodb://u:p@host")
            case "scf":
                raise SCFError("went astray")
            case "nan":
                self.results["forces"] = np.full_like(self.results["forces"], np.nan)
            case "implode":
                self.results["stress"] = np.array([2.0, 2.0, 2.0, 0.0, 0.0, 0.0])
            case "attract":
                x = self.atoms.positions
                self.results["forces"] = 20.0 * (x[::-1] - x)
            case "repel":
                x = self.atoms.positions
                self.results["forces"] = 5.0 * (x - x[::-1])
            case "hang":
                time.sleep(3600)
            case "exit":
                os._exit(3)
            case "segfault":
                ctypes.string_at(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "quota":  # this much and no more goes into a file
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            case "hog":
                hoard = []
                while True:
                    hoard.append(np.empty(2**24))  # address space is enough


class Hole(Calculator):
    """A soft spring between each pair of neighbours whose rest length is next to nothing."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ASE's own way

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        length = 0.5
        x = self.atoms.positions
        difference = x[0] - x[1]
        distance = float(np.linalg.norm(difference))
        pull = -(distance - length) / distance * difference
        self.results = {
            "energy": 0.5 * (distance - length) ** 2,
            "forces": np.array([pull, -pull]),
        }
