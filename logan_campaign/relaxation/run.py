"""Relax one structure at one level and return the outcome."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.core import progress
from logan_campaign.core.documents import RelaxationState, marked, marks
from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.core.ids import content_id
from logan_campaign.geometry.structures import check_finite, to_atoms
from logan_campaign.relaxation.base import Level
from logan_campaign.relaxation.checkpoint import Frame, computed
from logan_campaign.relaxation.engine import LoopResult, max_force, precheck
from logan_campaign.relaxation.isolation import physical_memory_mb, relax_isolated, take_over


@dataclass(frozen=True)
class RelaxationOutcome:
    """One relaxation; see :class:`logan_campaign.core.documents.RelaxationDoc` for the fields.

    ``trajectory`` holds positions (n, n_atoms, 3) Å, cell (n, 3, 3) Å, energy (n,) eV and
    forces (n, n_atoms, 3) eV/Å of the start and of each ionic step, n = n_steps + 1, and stress
    (n, 6) eV/Å³ if the cell was relaxed. It is None, and so are energy and force, if nothing was
    computed. ``energies_ev`` is the trajectory's energy; if active remedies change energies,
    ``energy_ev`` is that of the last frame without them. Under pressure these two are enthalpies;
    the trajectory's energies are not. ``notes`` contains the active SCF remedies and a molecule's
    box.
    """

    state: RelaxationState
    reason: str
    energy_ev: float | None
    max_force: float | None
    n_steps: int
    energies_ev: list[float]
    elapsed_s: float
    structure: Molecule | Structure
    trajectory: dict[str, np.ndarray] | None
    notes: dict[str, Any] = field(default_factory=dict)
    comparable: bool = True
    """Whether ``energy_ev`` is of the level's settings, without remedies that change it."""
    stress: list[float] | None = None
    """Stress of a crystal's last frame (eV/Å³, Voigt order); None if not computed."""
    cpu_s: float = 0.0
    """Processor time (s) of this call, worker processes included."""


def _moved(structure: Molecule | Structure, frame: Any) -> Molecule | Structure:
    species = [site.specie for site in structure]
    moved: Molecule | Structure = Molecule(species, frame.positions)
    if isinstance(structure, Structure):
        moved = Structure(Lattice(frame.cell), species, frame.positions, coords_are_cartesian=True)
    return marked(moved, **marks(structure))


def relaxation_key(structure: Molecule | Structure, level: Level) -> str:
    """Return the content id of relaxing this structure at this level."""
    atoms = to_atoms(structure)
    return content_id(
        "relax",
        {
            "level": level.model_dump(mode="json", exclude={"candidates_per_job"}),
            "numbers": atoms.numbers.tolist(),
            # Adding 0.0 turns -0.0, which JSON would preserve, into 0.0.
            "positions": (np.round(atoms.positions, 8) + 0.0).tolist(),
            "cell": (np.round(atoms.cell.array, 8) + 0.0).tolist(),
            "periodic": bool(atoms.pbc.any()),
            **marks(structure),
        },
    )


def relax(
    structure: Molecule | Structure,
    level: Level,
    *,
    workdir: Path | str = ".",
    before: Path | str | None = None,
    known: Sequence[Mapping[str, np.ndarray]] = (),
) -> RelaxationOutcome:
    """Relax a molecule or crystal at one level.

    Every outcome has a state. An isolated level works in a subfolder of ``workdir`` named after
    structure and level: called again, it continues from the last frame there. To continue after
    a budget has ended, call it with a new ``workdir`` and the old one as ``before``; if that is
    gone, start from the outcome's structure.

    Args:
        structure: the start; a ``Structure`` is periodic, a ``Molecule`` is not.
        level: calculator, tolerances and budgets.
        workdir: folder for the files of isolated levels.
        before: the ``workdir`` of a call with the same structure and level whose budget ended.
            Trajectory, optimizer and, with GPAW, density continue from there; steps are counted
            on, but the budgets start again.
        known: trajectories of earlier relaxations, as in :class:`RelaxationOutcome`; levels that
            learn use the last frames.

    Raises:
        StructureError: the start is not a valid structure (no atoms, NaN, partial occupation).
        InputError: the level does not support this kind of structure.
        LoganCampaignError: files cannot be written.
    """
    atoms = to_atoms(structure)
    check_finite(atoms)
    level.check_kind("crystal" if isinstance(structure, Structure) else "molecule")

    def on_step(step: int, energy: float, fmax: float) -> None:
        # without a total: relaxations end long before the most steps, so these say nothing
        progress.report("relax", step, 0, f"step {step}, {energy:.3f} eV, {fmax:.2f} eV/Å")

    how: dict[str, Any] = {"on_step": on_step}
    if level.learns:
        frames = [frame for trajectory in known for frame in _frames(trajectory)]
        how["known"] = frames[-level.learns :]
    cpu = _processor_time()
    result = precheck(atoms, level, level.max_memory_mb or physical_memory_mb())
    if result is None:
        key = relaxation_key(structure, level)
        folder = Path(workdir).absolute() / key
        # A calculator that crashed its process once is isolated from then on.
        marker = folder.with_suffix(".running")
        if level.isolate or marker.exists():
            if before is not None:
                take_over(Path(before).absolute() / key, folder)
            result = relax_isolated(atoms, level, folder=folder, **how)
        else:
            result = relax_here(atoms, level, folder=folder, **how)
    return _outcome(structure, level, result, _processor_time() - cpu)


def _frames(trajectory: Mapping[str, np.ndarray]) -> list[Atoms]:
    """Return the frames of a trajectory as atoms with results."""
    stresses = trajectory.get("stress", [None] * len(trajectory["energy"]))
    columns = (trajectory[key] for key in ("positions", "cell", "energy", "forces"))
    return [
        computed(Frame(x, cell, float(e), f, s), trajectory["numbers"], bool(cell.any()))
        for x, cell, e, f, s in zip(*columns, stresses, strict=True)
    ]


def _processor_time() -> float:
    # not os.times, whose resolution is 10 ms: a few steps of methanol in xTB take less
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def relax_here(atoms: Atoms, level: Level, *, folder: Path, **how: Any) -> LoopResult:
    """Relax in this process, for levels without isolation.

    Args:
        atoms: the start.
        level: the level.
        folder: for the level's files; a marker beside it exists while the relaxation runs.
        **how: passed to :meth:`Level.relax_atoms`.
    """
    marker = folder.with_suffix(".running")
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError as err:
        raise LoganCampaignError(f"cannot write a relaxation's files: {err.strerror}") from err
    deadline = None if level.max_time_s is None else time.monotonic() + level.max_time_s
    try:
        return level.relax_atoms(atoms, folder=folder, deadline=deadline, **how)
    finally:
        marker.unlink(missing_ok=True)


def pressure_energy(cell: np.ndarray, pressure_gpa: float) -> float:
    """Return pressure times volume (eV), by which an enthalpy exceeds the energy.

    Args:
        cell: vectors as rows, (3, 3) Å.
        pressure_gpa: pressure (GPa).
    """
    return pressure_gpa * GPa * abs(float(np.linalg.det(cell)))


def _outcome(
    structure: Molecule | Structure, level: Level, result: LoopResult, cpu_s: float
) -> RelaxationOutcome:
    frames = result.frames
    notes = dict(result.notes)
    stress = notes.pop("stress_ev_per_angstrom3", None)
    changed = "plain_energy_ev" in notes  # a remedy that changes energies is active
    plain = notes.pop("plain_energy_ev", None)
    if not frames:
        return RelaxationOutcome(
            state=result.state,
            reason=result.reason,
            energy_ev=None,
            max_force=None,
            n_steps=0,
            energies_ev=[],
            elapsed_s=result.elapsed_s,
            structure=structure,
            trajectory=None,
            notes=notes,
            cpu_s=cpu_s,
        )
    trajectory = {
        "numbers": np.array([site.specie.Z for site in structure]),
        "positions": np.array([frame.positions for frame in frames]),
        "cell": np.array([frame.cell for frame in frames]),
        "energy": np.array([frame.energy for frame in frames]),
        "forces": np.array([frame.forces for frame in frames]),
    }
    if all(frame.stress is not None for frame in frames):
        trajectory["stress"] = np.array([frame.stress for frame in frames])
    work = [pressure_energy(frame.cell, level.pressure_gpa) for frame in frames]
    return RelaxationOutcome(
        state=result.state,
        reason=result.reason,
        energy_ev=(frames[-1].energy if plain is None else plain) + work[-1],
        max_force=None if np.isnan(fmax := max_force(frames[-1].forces)) else fmax,
        n_steps=len(frames) - 1,
        energies_ev=[frame.energy + pv for frame, pv in zip(frames, work, strict=True)],
        elapsed_s=result.elapsed_s,
        structure=_moved(structure, frames[-1]),
        trajectory=trajectory,
        notes=notes,
        comparable=plain is not None or not changed,
        stress=stress,
        cpu_s=cpu_s,
    )
