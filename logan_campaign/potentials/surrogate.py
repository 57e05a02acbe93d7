"""An ASE optimizer that walks on a potential learned from the forces it has asked for.

After every force call, the potential is fitted to all frames so far, also those of earlier
relaxations, and relaxed; where that ends, within a trust radius, is the next geometry. Forces that
are below ``fmax`` end a relaxation, as with any optimizer: the potential decides where to look, not
what is a minimum. Similar: J. A. Garrido Torres et al., J. Chem. Phys. 153, 234116 (2020), doi
10.1063/5.0017665, with kernels of whole structures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS
from ase.optimize.optimize import Optimizer

from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.potentials.settings import PotentialSettings
from logan_campaign.potentials.sparse import SparsePotential

#: First, smallest and largest trust radius (Å).
_TRUST, _LEAST, _MOST = 0.15, 0.02, 0.6

#: The radius halves where the energy falls by less than the first share of what was foretold, and
#: grows by a half where it falls by more than the second after a step of at least half the radius.
_POOR, _GOOD = 0.25, 0.75

#: Noise of forces as a share of ``fmax``. With a tenth and more, the potential had its minimum
#: where the largest force was still above ``fmax``, and walked no further.
_NOISE = 0.02

#: Steps on the potential for one force call, and its fmax as a share of the relaxation's.
_STEPS, _FINER = 60, 0.3

#: A walk goes on from the geometry of lowest energy if the last one is higher by more (eV/atom).
_RETURN = 5e-3

#: Curvature (eV/Å²) of a step along the forces, as in ASE's BFGS. It is taken where the potential
#: moves by less than this share of it.
_CURVATURE, _STAYS = 70.0, 0.2

#: Curvature (eV/Å²) along which all atoms together follow their mean force, and the longest step
#: (Å). Forces from a grid do not add up to zero: 12 atoms of silica in plane waves of 400 eV had a
#: mean of 0.03 eV/Å, which changes sign within half the grid's spacing. No potential of distances
#: can have such a force, and none of the atoms comes below ``fmax`` with it.
_DRIFT, _FARTHEST_DRIFT = 2.0, 0.05


class PotentialCalculator(Calculator):
    """ASE's interface to a potential."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: SparsePotential) -> None:
        Calculator.__init__(self)
        self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Compute all properties."""
        Calculator.calculate(self, atoms, properties, system_changes)
        assert self.atoms is not None
        found = self.potential.predict(self.atoms, error=False)
        self.results = {
            "energy": found.energy,
            "free_energy": found.energy,
            "forces": found.forces,
            "stress": found.stress,
        }


class SurrogateOptimizer(Optimizer):
    """Relax on a potential that learns from every force call.

    Args:
        atoms: atoms or a filter of them, with a calculator.
        known: geometries of earlier relaxations, each with its energy, forces and, if it is known,
            stress as results of a calculator.
        settings: of the potential.
        agree: returns the result of a function in the first of several MPI processes to all.
        **kwargs: ASE's.
    """

    def __init__(
        self,
        atoms: Any,
        *,
        known: Iterable[Atoms] = (),
        settings: PotentialSettings | None = None,
        agree: Callable[[Callable[[], Any]], Any] = lambda value: value(),
        **kwargs: Any,
    ) -> None:
        super().__init__(atoms, **kwargs)
        enable_compilation_cache()
        self._bare: Atoms = getattr(atoms, "atoms", atoms)
        copied = self._bare.copy()
        # a filter counts strain from the cell at which it was made: this one is made now, too
        self._copy = copied if atoms is self._bare else type(atoms)(copied, **_of_filter(atoms))
        self._copied = copied
        self._known = list(known)
        self._settings = settings
        self._agree = agree
        self.potential: SparsePotential | None = None
        self.trust = _TRUST
        #: Foretold energies: error and standard deviation (eV/atom), one for each force call.
        self.foretold: list[tuple[float, float]] = []
        self._best: tuple[float, np.ndarray] | None = None
        self._expected: float | None = None
        self._length = 0.0

    def step(self, gradient: np.ndarray | None = None) -> None:
        """Learn the forces here and go to where the potential is lowest."""
        optimizable = self.optimizable
        x, value = optimizable.get_x().copy(), float(optimizable.get_value())
        slope = optimizable.get_gradient()
        stress = self._bare.get_stress() if self._copy is not self._copied else None
        potential = self._potential()
        if potential.frames:
            before = potential.predict(self._bare)
            energy = self._bare.get_potential_energy()
            self.foretold.append(((before.energy - energy) / len(self._bare), before.error))
        forces = self._bare.get_forces()
        drift = self._drift(forces)
        potential.learn(self._bare, self._bare.get_potential_energy(), forces - drift, stress)
        self._adjust(value)
        if self._best is None or value < self._best[0]:
            self._best = value, x
        lowest, there = self._best
        begin = there if value > lowest + _RETURN * len(self._bare) else x
        together = np.zeros((len(x) // 3, 3))
        together[: len(forces)] = drift / _DRIFT
        together *= min(1.0, _FARTHEST_DRIFT / max(_longest(together), 1e-12))
        # all MPI processes walk, and go where the first one came
        found = self._walk(begin, x, slope) + together.ravel()
        optimizable.set_x(self._agree(lambda: found))

    def summary(self) -> dict[str, float]:
        """Return how right foretold energies were; nothing before any is known.

        ``energy_error_ev_per_atom`` is their root mean square error, ``calibration`` that in units
        of the standard deviations that were given with them.
        """
        if not self.foretold:
            return {}
        error, deviation = np.array(self.foretold).T
        found = {"energy_error_ev_per_atom": error, "calibration": error / deviation}
        return {name: float(np.sqrt(np.mean(each**2))) for name, each in found.items()}

    def _potential(self) -> SparsePotential:
        if self.potential is None:
            own = self._settings or PotentialSettings()
            if own.force_noise is None:
                own = own.model_copy(update={"force_noise": _NOISE * (self.fmax or 0.05)})
            numbers = {int(z) for one in self._known for z in one.numbers}
            self.potential = SparsePotential(tuple(numbers | set(self._bare.numbers)), own)
            for one in self._known[-own.max_frames :]:
                results = one.calc.results
                forces = results["forces"] - self._drift(results["forces"])
                self.potential.learn(one, results["energy"], forces, results.get("stress"))
            if self._known:
                self.potential.fit()
        return self.potential

    def _drift(self, forces: np.ndarray) -> np.ndarray:
        """Return the mean force (3,), zero where atoms are held."""
        return np.zeros(3) if self._bare.constraints else forces.mean(axis=0)

    def _adjust(self, value: float) -> None:
        """Adjust the trust radius to how much of the foretold fall has come."""
        if self._best is None or self._expected is None:
            return
        fall, foretold = self._best[0] - value, max(self._best[0] - self._expected, 1e-6)
        if fall < _POOR * foretold:
            self.trust = max(0.5 * self.trust, _LEAST)
        elif fall > _GOOD * foretold and self._length > 0.5 * self.trust:
            self.trust = min(1.5 * self.trust, _MOST)

    def _walk(self, begin: np.ndarray, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Return where the fitted potential is lowest, within the trust radius of ``begin``."""
        potential = self._potential()
        potential.fit()
        self._copied.calc = PotentialCalculator(potential)
        walker = BFGS(self._copy, logfile=None, maxstep=0.1)
        along = walker.optimizable
        along.set_x(begin)
        found = begin
        for _ in walker.irun(fmax=_FINER * (self.fmax or 0.05), steps=_STEPS):
            found = along.get_x().copy()
            far = _longest(found - begin)
            if far > self.trust:
                found = begin + (found - begin) * self.trust / far
                break
        downhill = -slope / _CURVATURE
        if not _longest(found - x) > _STAYS * _longest(downhill):  # also if it is not a number
            found = x + downhill * min(1.0, 0.1 / _longest(downhill))
        self._length = _longest(found - begin)
        along.set_x(found)
        self._expected = float(along.get_value())
        self._copied.calc = None
        return found


def _of_filter(atoms: Any) -> dict[str, Any]:
    return {"scalar_pressure": atoms.scalar_pressure}


def _longest(step: np.ndarray) -> float:
    """Return the largest distance (Å) that an atom, or a vector of the cell, moves."""
    return float(np.linalg.norm(step.reshape(-1, 3), axis=1).max())
