"""Frames of a relaxation on disk, one appended per ionic step.

ASE's trajectory format updates its count of frames last, so readers ignore a frame that was
truncated by a kill.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter
from ase.io.ulm import InvalidULMFileError

_INFO = "logan_campaign"


class Frame(NamedTuple):
    """One geometry with its computed properties."""

    positions: np.ndarray  # (n_atoms, 3) Å
    cell: np.ndarray  # (3, 3) Å; zero for molecules
    energy: float  # eV
    forces: np.ndarray  # (n_atoms, 3) eV/Å
    stress: np.ndarray | None = None  # (6,) eV/Å³, Voigt order; None if not computed


def computed(frame: Frame, numbers: np.ndarray, periodic: bool) -> Atoms:
    """Return a frame's atoms with a calculator that holds its results."""
    atoms = Atoms(numbers, positions=frame.positions, cell=frame.cell, pbc=periodic)
    results = {"energy": frame.energy, "forces": frame.forces}
    if frame.stress is not None:
        results["stress"] = frame.stress
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


class Checkpoint:
    """The trajectory file of one relaxation.

    Args:
        path: the file; it need not exist.
        atoms: provides elements and periodicity.
    """

    def __init__(self, path: Path, atoms: Atoms) -> None:
        self.path = path
        self._atoms = atoms
        self._writer: TrajectoryWriter | None = None

    @property
    def restart_file(self) -> Path:
        """Path of the calculator's restart file: density and wave functions."""
        return self.path.with_suffix(".gpw")

    def load(self) -> tuple[list[Frame], dict[str, Any]]:
        """Return the frames and the note of the last one; empty if there are none.

        A file that cannot be read, or belongs to other atoms, is renamed.
        """
        if not self.path.exists():
            return [], {}
        try:
            with TrajectoryReader(str(self.path)) as reader:
                images = [reader[k] for k in range(len(reader))]
        except (InvalidULMFileError, OSError, ValueError, KeyError, IndexError):
            # Killed while writing the header: only the first frame is lost.
            images = []
        if not images or (images[0].numbers != self._atoms.numbers).any():
            self.path.replace(self.path.with_suffix(".damaged"))
            return [], {}
        frames = [
            Frame(
                image.positions.copy(),
                image.cell.array.copy(),
                float(image.get_potential_energy()),
                np.array(image.get_forces()),
                _stress(image),
            )
            for image in images
        ]
        return frames, dict(images[-1].info.get(_INFO, {}))

    def append(self, frame: Frame, note: dict[str, Any]) -> None:
        """Write and flush one frame and a note of JSON values."""
        if self._writer is None:
            self._writer = TrajectoryWriter(str(self.path), mode="a")
        atoms = computed(frame, self._atoms.numbers, bool(self._atoms.pbc.any()))
        atoms.info[_INFO] = note
        self._writer.write(atoms)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _stress(image: Atoms) -> np.ndarray | None:
    stress = image.calc.results.get("stress")
    return None if stress is None else np.array(stress)
