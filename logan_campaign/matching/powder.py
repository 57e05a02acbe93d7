"""Similarity of a crystal's powder pattern with a measured one.

The measure is the weighted cross-correlation of R. de Gelder, R. Wehrens and J. A. Hageman,
J. Comput. Chem. 22, 273 (2001), doi:10.1002/1096-987X(200102)22:3<273::AID-JCC1001>3.0.CO;2-0, with
a triangle as weight: 1 for patterns that differ by a factor only, and reflections that are shifted
by less than the triangle's half width still count. ``pyxtal.XRD.Similarity`` computes the same in
interpreted loops, which is too slow to scan cells; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.signal import fftconvolve

from logan_campaign.core.errors import InputError

#: Radiation by default, with the wavelength of pymatgen.
RADIATION = "CuKa"
#: Half width of the triangle, step of the grid and standard deviation of lines (degrees of 2θ).
HALF_WIDTH, STEP, WIDTH = 1.0, 0.04, 0.08
#: Width of the window whose median is taken for the background (degrees).
_BACKGROUND = 10.0
#: Factors that the lengths of a cell are multiplied by, to find the best: up to 4 % either way.
SCALES = tuple(float(x) for x in np.round(np.linspace(0.96, 1.04, 41), 4))
#: Fewest points of a pattern that is compared.
_LEAST = 50


class Likeness(NamedTuple):
    """How alike two patterns are: ``similarity`` from 0 to 1, with the cell scaled by ``scale``."""

    similarity: float
    scale: float


class Pattern:
    """A measured powder pattern, on an even grid and without its background.

    Args:
        two_theta: diffraction angles 2θ (degrees), ascending.
        intensity: intensities in any unit, one per angle.
        radiation: a name that pymatgen's ``XRDCalculator`` knows, such as 'CuKa' or 'MoKa'.

    Raises:
        InputError: too few or unordered points, no intensity, or unknown radiation.
    """

    def __init__(
        self, two_theta: np.ndarray, intensity: np.ndarray, radiation: str = RADIATION
    ) -> None:
        from pymatgen.analysis.diffraction.xrd import WAVELENGTHS, XRDCalculator

        if radiation not in WAVELENGTHS:
            raise InputError(f"radiation {radiation!r} is none of {', '.join(WAVELENGTHS)}")
        if len(two_theta) < _LEAST:
            raise InputError(f"a pattern needs at least {_LEAST} points, not {len(two_theta)}")
        if not (np.isfinite(two_theta).all() and np.isfinite(intensity).all()):
            raise InputError("a pattern needs finite angles and intensities")
        if (np.diff(two_theta) <= 0).any() or two_theta[0] <= 0 or two_theta[-1] >= 180:
            raise InputError("angles of a pattern must rise, between 0 and 180 degrees")
        self._calculator = XRDCalculator(radiation)
        self.grid = np.arange(two_theta[0], two_theta[-1] + 1e-9, STEP)
        measured = np.interp(self.grid, two_theta, intensity)
        window = min(int(_BACKGROUND / STEP), len(measured))
        self.intensity = measured - median_filter(measured, window, mode="nearest")
        n = round(HALF_WIDTH / STEP)
        self._triangle = 1 - np.abs(np.arange(-n, n + 1)) / n
        self._smeared = self._smear(self.intensity)
        self._norm = float(self.intensity @ self._smeared)
        if not self._norm > 0:
            raise InputError("a pattern needs an intensity above its background")

    @classmethod
    def read(cls, path: Path, radiation: str = RADIATION) -> Pattern:
        """Read angles and intensities from the first two columns of a text file.

        Columns are separated by blanks, commas or semicolons. Comments and headings before the
        first numbers are left out.

        Raises:
            InputError: no such file, or it holds no pattern.
        """
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        rows: list[tuple[float, float]] = []
        for number, line in enumerate(lines, 1):
            words = [word for word in re.split(r"[\s,;]+", line) if word]
            if not words or words[0][0] in "#!'":
                continue
            try:
                rows.append((float(words[0]), float(words[1])))
            except (ValueError, IndexError):
                if rows:
                    raise InputError(f"{path}, line {number}: not two numbers") from None
        try:
            angles, intensities = np.reshape(rows, (-1, 2)).T
            return cls(angles, intensities, radiation)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def likeness(self, crystal: Structure) -> Likeness:
        """Return how alike the crystal's simulated pattern is, for the best scale of its cell.

        All lengths of the cell are scaled together by the factors in :data:`SCALES`, since computed
        cells are commonly off by one to two per cent. Intensities are those of the given cell.
        """
        low, high = self._sines(self.grid[[0, -1]]) * np.array([min(SCALES), max(SCALES)])
        ends = 2 * np.degrees(np.arcsin([low, min(high, 1.0)]))
        found = self._calculator.get_pattern(crystal, scaled=False, two_theta_range=tuple(ends))
        sines, heights = self._sines(np.asarray(found.x)), np.asarray(found.y)
        return max(
            (Likeness(self._alike(sines / scale, heights), scale) for scale in SCALES),
            key=lambda one: (one.similarity, -abs(one.scale - 1)),
        )

    def _alike(self, sines: np.ndarray, heights: np.ndarray) -> float:
        """Return the similarity with reflections at these sines of θ."""
        inside = sines < 1
        edges = np.append(self.grid, self.grid[-1] + STEP) - STEP / 2
        at = 2 * np.degrees(np.arcsin(sines[inside]))
        lines = np.histogram(at, edges, weights=heights[inside])[0]
        profile = gaussian_filter1d(lines, WIDTH / STEP, mode="constant")
        norm = float(profile @ self._smear(profile)) * self._norm
        return max(0.0, float(profile @ self._smeared) / norm**0.5) if norm > 0 else 0.0

    def _smear(self, profile: np.ndarray) -> np.ndarray:
        return np.asarray(fftconvolve(profile, self._triangle, mode="same"))

    @staticmethod
    def _sines(two_theta: np.ndarray) -> np.ndarray:
        return np.sin(np.radians(two_theta / 2))


def similarities(
    crystals: Sequence[Atoms], pattern: str, radiation: str = RADIATION
) -> list[float]:
    """Return the similarity of crystals with a measured pattern, a ``target`` of ``score``.

    Args:
        crystals: the structures.
        pattern: path of the pattern's file; see :meth:`Pattern.read`.
        radiation: of the pattern.
    """
    measured = Pattern.read(Path(pattern), radiation)
    return [measured.likeness(AseAtomsAdaptor.get_structure(one)).similarity for one in crystals]
