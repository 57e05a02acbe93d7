"""The ionic loop: one structure, one level, one state from the closed list.

Imports only ASE. Runs in the caller's process for cheap calculators and in a worker process
for the others. Any exception of a calculator ends as a state with its reason.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE
from ase.optimize.optimize import Optimizer
from ase.units import GPa

from logan_campaign.geometry.neighbours import BOND_FACTOR
from logan_campaign.relaxation import geometry
from logan_campaign.relaxation.base import CalculatorLevel, Level, Setup
from logan_campaign.relaxation.box import Box
from logan_campaign.relaxation.checkpoint import Checkpoint, Frame, computed
from logan_campaign.relaxation.optimizers import OPTIMIZERS
from logan_campaign.relaxation.symmetry import SymmetryFrame

if TYPE_CHECKING:  # documents import pymatgen, which the worker process does not need
    from logan_campaign.core.documents import RelaxationState

#: Remedies that change the energy; the others change only the convergence.
CHANGE_ENERGY = frozenset({"smearing"})

#: FIRE's state between steps. BFGS rebuilds its Hessian from the frames; the other optimizers
#: are reset by an interruption.
_FIRE_STATE = ("vel", "dt", "a", "Nsteps")

#: Log of the calculator in the relaxation's folder.
LOG = "calculator.txt"

#: Advice to the user for each state, appended to every reason.
ADVICE: dict[str, str] = {
    "not_converged": "allow continuations, which start from the final structure, or raise "
    "max_steps or max_time_s",
    "scf_not_converged": "allow more SCF iterations, or smearing and spin if the level has "
    "them, or leave it out",
    "dissociated": "it is not a single molecule at this level; try another start if unsure",
    "atoms_collided": "leave it out, or screen with a larger minimum distance",
    "cell_collapsed": "relax at fixed cell first, or leave it out",
    "calculator_crashed": "see the level's log in the job's folder; `logan-campaign doctor` checks "
    "the installation",
    "out_of_memory": "give the level more memory (max_memory_mb), or a smaller cutoff or cell",
    "timed_out": "raise max_time_s, allow continuations, or choose a cheaper level",
}


class CalculatorFailure(Exception):
    """The calculator raised an exception, ``cause``."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Guard:
    """Wraps a calculator, to distinguish its errors from ours."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._calculator = self._call(build)
        self.name = getattr(self._calculator, "name", type(self._calculator).__name__)

    @staticmethod
    def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except PropertyNotImplementedError:
            raise  # ASE handles it and falls back on another property
        except Exception as err:  # a calculator may raise anything
            raise CalculatorFailure(err) from err

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        keywords = {"force_consistent": True} if force_consistent else {}
        energy = self._call(self._calculator.get_potential_energy, atoms, **keywords)
        if not np.isfinite(energy):
            raise CalculatorFailure(ArithmeticError("the energy is not a finite number"))
        return float(energy)

    def write(self, path: Path) -> None:
        # With wave functions: without them, GPAW starts from scratch.
        self._call(self._calculator.write, str(path), mode="all")

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        forces = np.array(self._call(self._calculator.get_forces, atoms), dtype=float)
        if not np.isfinite(forces).all():
            raise CalculatorFailure(ArithmeticError("the forces are not finite numbers"))
        return forces

    def get_stress(self, atoms: Atoms) -> np.ndarray:
        try:
            stress = np.array(self._call(self._calculator.get_stress, atoms), dtype=float)
        except PropertyNotImplementedError as err:
            raise CalculatorFailure(err) from err  # there is no fallback
        if not np.isfinite(stress).all():
            raise CalculatorFailure(ArithmeticError("the stress is not finite"))
        return stress


class LoopResult(NamedTuple):
    """How the ionic loop ended."""

    state: RelaxationState
    reason: str
    frames: list[Frame]  # the start and one frame per ionic step
    elapsed_s: float  # over all starts
    notes: dict[str, Any]  # active remedies, box of a molecule


def with_advice(state: str, what: str) -> str:
    """Return a reason with advice, on one line."""
    return f"{' '.join(what.split())}: {ADVICE[state]}" if state in ADVICE else ""


def precheck(atoms: Atoms, level: Level, limit_mb: float) -> LoopResult | None:
    """Return the state of a start that need not be computed, or None.

    Args:
        atoms: the start, without a box if it is a molecule.
        level: the level.
        limit_mb: available memory (MiB).
    """

    def ended(state: RelaxationState, what: str) -> LoopResult:
        return LoopResult(state, with_advice(state, what), [], 0.0, {})

    if atoms.pbc.any() and (problem := geometry.collapse(atoms)):
        return ended("cell_collapsed", problem)
    if problem := geometry.collision(atoms):
        return ended("atoms_collided", problem)
    box = level.box(atoms)
    boxed = atoms if box is None else box.put(atoms)
    needed = level.estimate_memory_mb(boxed)
    if needed > limit_mb:
        lengths = " x ".join(f"{length:.0f}" for length in boxed.cell.lengths())
        what = f"a cell of {lengths} Å needs about {needed:.0f} MiB of {limit_mb:.0f}"
        return ended("out_of_memory", what)
    return None


class _Loop:
    def __init__(
        self,
        start: Atoms,
        level: CalculatorLevel,
        *,
        folder: Path,
        earlier_steps: int = 0,
        checkpoint: Checkpoint | None = None,
        deadline: float | None = None,
        on_step: Callable[[int, float, float], None] | None = None,
        known: Sequence[Atoms] = (),
    ) -> None:
        self.level = level
        self.known = known
        self.earlier_steps = earlier_steps
        self.checkpoint = checkpoint
        self.deadline = deadline
        self.log_file = folder / LOG if folder.is_dir() else None
        self.on_step = on_step
        self.periodic = bool(start.pbc.any())
        self.start_volume = abs(float(np.linalg.det(start.cell.array)))
        self.began = time.monotonic()
        self.last_step_at = self.began
        self.slowest_step = 0.0
        self.rebuilt_at = -1
        self.stress: list[float] | None = None  # of the last frame, if it converged
        self.optimizer: Optimizer | None = None
        self.frame: SymmetryFrame | None = None
        self.plain_energy: float | None = None

        self.written_at = self.began
        self.writing_s = 0.0

        # Of several MPI processes, only the first reads and writes files and checks the time.
        self.world = level.world()
        self.master = self.world is None or self.world.rank == 0
        self.frames, note = self._agree(lambda: checkpoint.load() if checkpoint else ([], {}))
        self.elapsed_before = float(note.get("elapsed_s", 0.0))
        self.optimizer_state: dict[str, Any] = note.get("optimizer", {})
        self.remedies: list[str] = list(note.get("remedies", []))
        self.box = Box(**note["box"]) if note.get("box") else None
        # fractional, so that it follows a relaxed cell
        self.origin = np.array(note.get("origin", [0.0, 0.0, 0.0]))
        self.atoms = start.copy()
        if self.frames:
            self.atoms.positions = self.frames[-1].positions
            if self.periodic:
                self.atoms.cell = self.frames[-1].cell
        self.box = self.box or level.box(start)
        if self.box is not None:
            self.atoms = self.box.put(self.atoms)
        else:
            self.atoms.positions += self._shift()

    def _agree(self, value: Callable[[], Any]) -> Any:
        """Return ``value()`` of the first MPI process."""
        if self.world is None:
            return value()
        from gpaw.mpi import broadcast

        return broadcast(value() if self.master else None, comm=self.world)

    @property
    def n_steps(self) -> int:
        return max(len(self.frames) - 1, 0)

    def free_positions(self) -> np.ndarray:
        """Positions (Å) in the frame of the start, without shifts of box and origin."""
        return self.atoms.positions - self._shift()

    def _shift(self) -> np.ndarray:
        """Shift (Å) of the calculator's atoms relative to the frames."""
        if self.box is not None:
            return np.array(self.box.shift)
        return np.asarray(self.origin @ self.atoms.cell.array)

    def _find_symmetry(self) -> None:
        """Shift a crystal to the origin at which the calculator finds most symmetry.

        Energy, forces and stress do not depend on it; frames keep their original positions.
        """
        if not self.periodic:
            return
        restart = self.checkpoint.restart_file if self.checkpoint else None
        if self._agree(lambda: restart is not None and restart.exists()):
            return  # density and wave functions keep the origin that they were computed with
        self.atoms.positions = self.free_positions()
        self.frame = self.level.frame(self.atoms)
        self.origin = np.zeros(3) if self.frame is None else self.frame.shift
        self.atoms.positions += self._shift()

    def run(self) -> LoopResult:
        try:
            while True:
                try:
                    state, what = self._optimise()
                    break
                except CalculatorFailure as failure:
                    ended = self._remedy(failure.cause)
                    if ended is not None:
                        state, what = ended
                        break
        finally:
            if self.checkpoint is not None:
                self.checkpoint.close()
        if state in ("converged", "not_converged"):
            state, what = fell_apart(self.atoms, at_rest=state == "converged") or (state, what)
        if state != "not_converged":
            self._forget_wavefunctions()
        notes: dict[str, Any] = {
            "remedies": self.remedies,
            "box_angstrom": self.box and self.box.lengths,
            "stress_ev_per_angstrom3": self.stress,
        }
        if CHANGE_ENERGY.intersection(self.remedies):
            notes["plain_energy_ev"] = self.plain_energy
        if self.level.learns:
            notes["surrogate"] = self._foretold()
        if self.frame is not None:
            notes["symmetry_operations"] = len(self.frame.rotations)
        return LoopResult(state, with_advice(state, what), self.frames, self._elapsed(), notes)

    def _elapsed(self) -> float:
        return self.elapsed_before + time.monotonic() - self.began

    def _calculator(self, applied: Collection[str]) -> _Guard:
        return _Guard(
            lambda: self.level.make_calculator(
                self.atoms,
                Setup(
                    applied,
                    self.frame,
                    self.log_file,
                    self.checkpoint.restart_file if self.checkpoint else None,
                ),
            )
        )

    def _optimise(self) -> tuple[RelaxationState, str]:
        self._find_symmetry()
        self.atoms.calc = self._calculator(self.remedies)
        cell_too = self.periodic and self.level.relax_cell
        target: Any = self.atoms
        if cell_too:
            target = FrechetCellFilter(self.atoms, scalar_pressure=self.level.pressure_gpa * GPa)
        self.optimizer = optimizer = self._make_optimizer(target)
        self._restore(optimizer)
        steps_left = max(self.level.max_steps - (self.n_steps - self.earlier_steps), 0)
        for converged in optimizer.irun(fmax=self.level.fmax, steps=steps_left):
            self._record(optimizer)
            if converged:
                if ended := fault_at_rest(self.atoms, self.start_volume if cell_too else None):
                    return ended
                self._add_stress()
                self._add_plain_energy()
                return "converged", ""
            if ended := self._hopeless():
                return ended
            if self._out_of_time():
                return (
                    "not_converged",
                    f"the budget of {self.level.max_time_s:g} s ended after {self.n_steps} steps "
                    f"with fmax {self._max_force():.3f} eV/Å",
                )
        return (
            "not_converged",
            f"fmax is {self._max_force():.3f} eV/Å after all {self.n_steps} steps",
        )

    def _make_optimizer(self, target: Any) -> Optimizer:
        if not self.level.learns:
            return OPTIMIZERS[self.level.optimizer](target, logfile=None)
        # JAX is not needed otherwise
        from logan_campaign.potentials.surrogate import SurrogateOptimizer

        own = [computed(frame, self.atoms.numbers, self.periodic) for frame in self.frames[:-1]]
        return SurrogateOptimizer(
            target,
            known=[*self.known, *own],
            settings=self.level.potential,
            agree=self._agree,
            logfile=None,
        )

    def _foretold(self) -> dict[str, Any]:
        about = getattr(self.optimizer, "summary", dict)
        return {"known_frames": len(self.known), **about()}

    def _max_force(self) -> float:
        return max_force(self.frames[-1].forces)

    def _record(self, optimizer: Optimizer) -> None:
        positions = self.free_positions()
        cell = self.atoms.cell.array.copy() if self.periodic else np.zeros((3, 3))
        last = self.frames[-1] if self.frames else None
        # The shift of the box changes the last digits of positions that were read.
        if (
            last is not None
            and np.allclose(positions, last.positions, rtol=0, atol=1e-9)
            and (np.allclose(cell, last.cell, rtol=0, atol=1e-9))
        ):
            return  # the frame from which the relaxation was restarted
        frame = Frame(
            positions,
            cell,
            float(self.atoms.get_potential_energy()),
            np.array(self.atoms.get_forces()),
            np.array(self.atoms.get_stress()) if self.periodic and self.level.relax_cell else None,
        )
        self.frames.append(frame)
        now = time.monotonic()
        self.slowest_step = max(self.slowest_step * 0.9, now - self.last_step_at)
        self.last_step_at = now
        self.optimizer_state = self._capture(optimizer)
        if self.checkpoint is not None and self.master:
            note = {
                "elapsed_s": self._elapsed(),
                "optimizer": self.optimizer_state,
                "remedies": self.remedies,
                "box": self.box._asdict() if self.box else None,
                "origin": self.origin.tolist(),
            }
            self.checkpoint.append(frame, note)
        self._keep_wavefunctions()
        if self.on_step is not None and self.master:
            self.on_step(self.n_steps, frame.energy, max_force(frame.forces))

    def _keep_wavefunctions(self) -> None:
        """Write the calculator's restart file, unless this takes over a tenth of the time."""
        level, checkpoint = self.level, self.checkpoint
        if checkpoint is None or not level.keeps_restart_file:
            return
        begun = time.monotonic()
        if not self._agree(lambda: begun - self.written_at > 10 * self.writing_s):
            return
        beside = checkpoint.restart_file.with_suffix(".part")
        self.atoms.calc.write(beside)
        if self.master:
            beside.replace(checkpoint.restart_file)
        self.written_at = time.monotonic()
        self.writing_s = self.written_at - begun

    def _forget_wavefunctions(self) -> None:
        if self.checkpoint is not None and self.master:
            self.checkpoint.restart_file.unlink(missing_ok=True)

    def _add_stress(self) -> None:
        """Compute the stress of a crystal's last frame at fixed cell."""
        if self.frames[-1].stress is not None:
            self.stress = self.frames[-1].stress.tolist()
            return
        fixed = self.periodic and not self.level.relax_cell
        if not fixed or not self.level.has_stress:
            return
        try:
            stress = np.array(self.atoms.get_stress())
        except (PropertyNotImplementedError, CalculatorFailure):
            return  # optional: not every ASE calculator provides it
        self.stress = stress.tolist()

    def _add_plain_energy(self) -> None:
        """Compute the last frame's energy without the remedies that change it.

        If that fails, the energy is not comparable with those of other candidates.
        """
        if not CHANGE_ENERGY.intersection(self.remedies):
            return
        if self._out_of_time():
            return
        self._forget_wavefunctions()  # computed with other occupations
        helpful = [name for name in self.remedies if name not in CHANGE_ENERGY]
        plain = self.atoms.copy()
        try:
            plain.calc = self._calculator(helpful)
            self.plain_energy = float(plain.get_potential_energy())
        except CalculatorFailure:
            return  # as expected without the remedy; the energy is marked

    def _capture(self, optimizer: Optimizer) -> dict[str, Any]:
        # With a cell filter, velocities are relative to the start cell of this process.
        if not isinstance(optimizer, FIRE) or self.level.relax_cell:
            return {}
        state = {name: getattr(optimizer, name) for name in _FIRE_STATE}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in state.items()}

    def _restore(self, optimizer: Optimizer) -> None:
        if isinstance(optimizer, BFGS) and not self.level.relax_cell:
            shift = self._shift()
            for frame in self.frames:
                position, forces = (frame.positions + shift).ravel(), frame.forces.ravel()
                optimizer.update(position, forces, optimizer.pos0, optimizer.forces0)
                optimizer.pos0, optimizer.forces0 = position, forces
        if isinstance(optimizer, FIRE):
            for name, value in self.optimizer_state.items():
                setattr(optimizer, name, np.array(value) if name == "vel" and value else value)

    def _out_of_time(self) -> bool:
        # The parent kills at the deadline: do not start a step that cannot end before it.
        deadline = self.deadline
        if deadline is None:
            return False
        return bool(self._agree(lambda: time.monotonic() + self.slowest_step > deadline))

    def _hopeless(self) -> tuple[RelaxationState, str] | None:
        if self.periodic:
            if self.level.relax_cell and (
                problem := geometry.collapse(self.atoms, self.start_volume)
            ):
                return "cell_collapsed", problem
        elif self.n_steps % 10 == 0:
            parts = geometry.fragments(self.atoms, geometry.FAR_FACTOR)
            if len(parts) > 1:
                return "dissociated", f"{', '.join(parts)} move apart after {self.n_steps} steps"
        if problem := geometry.collision(self.atoms):
            return "atoms_collided", f"{problem} after {self.n_steps} steps"
        return None

    def _remedy(self, cause: BaseException) -> tuple[RelaxationState, str] | None:
        """Apply the next remedy and return None, or return the final state."""
        if self.optimizer is not None:
            self.optimizer_state = self._capture(self.optimizer)
        kind = classify(cause)
        if kind == "memory":
            return "out_of_memory", describe(cause)
        if kind == "collided":
            return "atoms_collided", describe(cause)
        if kind == "scf":
            ladder = self.level.remedies
            if len(self.remedies) < len(ladder):
                self.remedies.append(ladder[len(self.remedies)][0])
                self._forget_wavefunctions()
                return None
            tried = f" (tried {', '.join(self.remedies)})" if self.remedies else ""
            return (
                "scf_not_converged",
                f"no self-consistency after {self.n_steps} steps: {describe(cause)}{tried}",
            )
        if kind in ("symmetry", "boundary") and self.rebuilt_at != len(self.frames):
            # Once per step: a new calculator finds the remaining symmetry, and a molecule
            # that has outgrown its box gets a new one.
            self.rebuilt_at = len(self.frames)
            self._forget_wavefunctions()
            if kind == "boundary" and self.box is not None:
                parts = geometry.fragments(self.atoms)
                if len(parts) > 1:
                    return "dissociated", f"{', '.join(parts)} left the box"
                free = self.atoms.copy()
                free.positions = self.free_positions()
                self.box = self.level.box(free) or self.box
                self.atoms = self.box.put(free)
            return None
        return "calculator_crashed", describe(cause)


def fault_at_rest(atoms: Atoms, start_volume: float | None) -> tuple[RelaxationState, str] | None:
    """Return the fault of a stationary geometry as state and reason, or None.

    Args:
        atoms: the geometry.
        start_volume: volume (Å³) before the cell was relaxed; None at fixed cell.
    """
    if start_volume is not None and (problem := geometry.collapse(atoms, start_volume)):
        return "cell_collapsed", problem
    if problem := geometry.overlap(atoms):
        return "atoms_collided", f"at rest {problem}"
    return None


def fell_apart(atoms: Atoms, *, at_rest: bool) -> tuple[RelaxationState, str] | None:
    """Return 'dissociated' and the parts of a molecule that is in pieces, None if it is not."""
    if atoms.pbc.any():
        return None
    # What is still on its way may come together again; parts of clusters attract each other.
    near = at_rest and not atoms.info.get("cluster")
    parts = geometry.fragments(atoms, BOND_FACTOR if near else geometry.FAR_FACTOR)
    return ("dissociated", f"fell into {', '.join(parts)}") if len(parts) > 1 else None


def classify(cause: BaseException) -> str:
    """Classify a calculator's exception."""
    names = {cls.__name__ for cls in type(cause).__mro__}
    text = str(cause)
    if "MemoryError" in names:
        return "memory"
    if names & {"SymmetryBrokenError"} or "Broken symmetry" in text:
        return "symmetry"
    if names & {"AtomsTooClose", "GridBoundsError", "AtomsTooCloseToBoundary"}:
        return "boundary" if "boundary" in text or "GridBoundsError" in names else "collided"
    if names & {"ConvergenceError", "SCFError", "KohnShamConvergenceError"}:
        return "scf"
    if "CalculationFailed" in names and re.search(r"not converge|convergence", text, re.I):
        return "scf"
    return "other"


def describe(cause: BaseException) -> str:
    """Return an exception as one short line, without paths or addresses."""
    text = " ".join(str(cause).split())
    name = type(cause).__name__
    return shorten(f"{name}: {text}" if text else name)


def shorten(text: str, limit: int = 300) -> str:
    """Return text that is safe to store: one line, no folders, no credentials."""
    text = re.sub(r"\b[a-zA-Z][\w+.-]*://\S+", "<address>", " ".join(text.split()))
    text = re.sub(r"(?:/[\w.@+-]+)+/(?=[\w.@+-])", "", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def max_force(forces: np.ndarray) -> float:
    """Return the largest norm (eV/Å) of the forces, shape (n_atoms, 3)."""
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))


def run_loop(start: Atoms, level: CalculatorLevel, *, folder: Path, **how: Any) -> LoopResult:
    """Relax ``start`` with the calculator of ``level``; see its ``relax_atoms``."""
    return _Loop(start, level, folder=folder, **how).run()
