"""Any atomate2 or jobflow Maker as a level: its task document becomes a relaxation.

The Maker's job, or the jobs of its flow in sequence, run in the relaxation's process and folder
with an in-memory store. For the campaign it is a relaxation like any other: with budgets of time
and memory and a final state, in batches, for reference energies and for the hull.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, JsonValue

from logan_campaign.core.trust import check_values
from logan_campaign.relaxation.base import LEVEL_NAME, Level
from logan_campaign.relaxation.checks import check_target, load_target

if TYPE_CHECKING:
    from ase import Atoms

    from logan_campaign.core.documents import RelaxationState, TargetKind
    from logan_campaign.relaxation.checkpoint import Checkpoint, Frame
    from logan_campaign.relaxation.engine import LoopResult

#: The Maker's work directory, and its task document, in the relaxation's folder.
ROOM, TASK = "maker", "task.json"

#: Alternative names of the same field in atomate2 and emmet.
_STRUCTURE = ("structure", "molecule", "mol_or_struct", "final_mol_or_struct", "optimized_molecule")
_ENERGY = ("energy", "e_0_energy", "final_energy")
#: Documents whose stress is in kbar with the opposite sign.
_IN_KBAR = ("atomate2.ase", "atomate2.forcefields", "emmet.core.tasks")
#: Documents whose energies are in Hartree and forces in Hartree per Bohr.
_ATOMIC_UNITS = ("emmet.core.qc_tasks", "emmet.core.qchem")

_STATES: dict[str, RelaxationState] = {
    "memory": "out_of_memory",
    "collided": "atoms_collided",
    "scf": "scf_not_converged",
}


class MakerLevel(Level):
    """Any Maker of atomate2 or jobflow whose ``make`` takes a structure: VASP, CP2K, FHI-aims, …

    The Maker's settings determine the relaxation. A spec with such a level runs code, so it must
    come from someone you trust. ``kwargs`` are stored with every result and must not contain keys
    or passwords.
    """

    calculator: Literal["maker"] = "maker"
    name: str = Field("maker", pattern=LEVEL_NAME, description="Name")
    isolate: bool = Field(
        True,
        description="Run in a separate process; max_time_s and max_memory_mb need it",
    )
    max_time_s: float | None = Field(7200.0, gt=0, description="Wall-time budget (s); null: none")
    relax_cell: bool = Field(
        False,
        description="Whether the Maker relaxes the cell of crystals; passed to Makers with an "
        "argument of that name",
    )
    target: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="The Maker, as 'module:class'",
    )
    kwargs: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Arguments of the Maker; nested objects as {'@module': …, '@class': …, …}",
    )

    def check(self, species: Iterable[str], kind: TargetKind) -> None:
        """Check that the Maker exists and accepts the arguments. See :meth:`Level.check`."""
        super().check(species, kind)
        check_target(self.where, self.target, self.kwargs)
        try:
            maker = self.maker()
        except Exception as err:  # noqa: BLE001 - a Maker of anybody's may raise anything
            self.refuse(f"{self.target!r} cannot be created: {' '.join(str(err).split())}")
        if not callable(getattr(maker, "make", None)):
            self.refuse(f"{self.target!r} is not a Maker: it has no method 'make'")

    def maker(self) -> Any:
        """Return the Maker."""
        import inspect

        from monty.json import MontyDecoder

        check_values(self.kwargs)
        made = load_target(self.target)
        arguments = MontyDecoder().process_decoded(self.kwargs)
        if "relax_cell" in inspect.signature(made).parameters:
            arguments.setdefault("relax_cell", self.relax_cell)
        return made(**arguments)

    def relax_atoms(
        self,
        start: Atoms,
        *,
        folder: Path,
        earlier_steps: int = 0,
        checkpoint: Checkpoint | None = None,
        deadline: float | None = None,
        on_step: Callable[[int, float, float], None] | None = None,
    ) -> LoopResult:
        """Run the Maker; frames of a checkpoint are put first. See :meth:`Level.relax_atoms`."""
        from logan_campaign.relaxation import engine

        began = time.monotonic()
        frames, note = checkpoint.load() if checkpoint is not None else ([], {})
        before = float(note.get("elapsed_s", 0.0))
        atoms = _at(start, frames[-1]) if frames else start
        room = folder / ROOM
        shutil.rmtree(room, ignore_errors=True)  # left by a process that was killed
        room.mkdir(parents=True)
        notes: dict[str, Any] = {"remedies": [], "box_angstrom": None}
        n_before = len(frames)
        try:
            task = self._run(atoms, room)
            notes["task_document"] = str(task.get("@class", "plain"))
            frames += read_frames(task, atoms)
            notes["stress_ev_per_angstrom3"] = stress_of(task) if start.pbc.any() else None
            state, what = _judged(task, frames, start)
            (folder / TASK).write_text(json.dumps(task, default=str))
        except Exception as err:  # noqa: BLE001 - as with calculators
            state = _STATES.get(engine.classify(err), "calculator_crashed")
            what = engine.describe(err)
        elapsed = before + time.monotonic() - began
        if checkpoint is not None:
            for frame in frames[n_before:]:
                checkpoint.append(frame, {"elapsed_s": elapsed})
            checkpoint.close()
        if frames and on_step is not None:
            on_step(len(frames) - 1, frames[-1].energy, engine.max_force(frames[-1].forces))
        return engine.LoopResult(state, engine.with_advice(state, what), frames, elapsed, notes)

    def _run(self, atoms: Atoms, room: Path) -> Mapping[str, Any]:
        """Return the task document of the Maker's last job, as plain JSON.

        Raises:
            Exception: whatever a job raises.
        """
        from jobflow import CURRENT_JOB, JobStore, run_locally
        from jobflow.core.reference import find_and_resolve_references
        from maggma.stores import MemoryStore
        from pymatgen.core import Molecule, Structure

        from logan_campaign.core.documents import marked

        numbers, positions = atoms.numbers, atoms.positions
        charge, multiplicity = atoms.info.get("charge", 0), atoms.info.get("spin")
        structure: Molecule | Structure = Molecule(numbers, positions, charge, multiplicity)
        if atoms.pbc.any():
            structure = Structure(atoms.cell.array, numbers, positions, coords_are_cartesian=True)
        marked(structure, fixed=[k for held in atoms.constraints for k in held.index])
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        flow = self.maker().make(structure)
        outside = CURRENT_JOB.job, CURRENT_JOB.store
        try:
            run_locally(flow, log=False, store=store, root_dir=room, raise_immediately=True)
        finally:
            CURRENT_JOB.job, CURRENT_JOB.store = outside
        task = find_and_resolve_references(flow.output, store, deserialize=False)
        if not isinstance(task, Mapping):
            raise TypeError(f"{self.target} returns a {type(task).__name__}, not a task document")
        return task


def read_frames(task: Mapping[str, Any], start: Atoms) -> list[Frame]:
    """Return the ionic steps of a task document, the final structure last.

    Args:
        task: the document as plain JSON.
        start: start of the relaxation; frames have its atoms in its order.

    Returns:
        Frames; forces are NaN if the document has none.

    Raises:
        ValueError: the document has no energy or structure, or different atoms.
    """
    output = task.get("output") or {}
    final = {**task, **{k: v for k, v in output.items() if v is not None}}
    if _first(final, _ENERGY) is None or _first(final, _STRUCTURE) is None:
        raise ValueError("the task document has no final energy or structure")
    steps = output.get("ionic_steps")
    if steps is None:
        calculations = reversed(task.get("calcs_reversed") or [])
        steps = [s for c in calculations for s in (c.get("output") or {}).get("ionic_steps") or []]
    whole = [s for s in steps if None not in (_first(s, _ENERGY), _first(s, _STRUCTURE))]
    frames: list[Frame] = []
    for step in [*whole, final]:
        frame = _frame(step, start, _is_of(task, _ATOMIC_UNITS))
        same = frames and all(
            np.allclose(getattr(frames[-1], name), getattr(frame, name), rtol=0, atol=1e-6)
            for name in ("positions", "cell")
        )
        if same and np.isnan(frame.forces).any():
            continue
        frames[-1:] = [frame] if same else [*frames[-1:], frame]
    return frames


def stress_of(task: Mapping[str, Any]) -> list[float] | None:
    """Return the final stress (eV/Å³, Voigt order); None for documents of unknown units."""
    from ase.units import GPa

    found = (task.get("output") or {}).get("stress")
    if found is None or not _is_of(task, _IN_KBAR):
        return None
    s = -0.1 * GPa * np.array(found, dtype=float)
    return [float(s[ij]) for ij in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]


def has_converged(task: Mapping[str, Any]) -> bool:
    """Return whether a task document is converged: yes unless it states otherwise."""
    state = task.get("state")
    state = state.get("value") if isinstance(state, Mapping) else state
    return task.get("is_force_converged") is not False and (
        state is None or str(state).lower().startswith("success")
    )


def _judged(
    task: Mapping[str, Any], frames: list[Frame], start: Atoms
) -> tuple[RelaxationState, str]:
    from logan_campaign.relaxation import engine

    converged = has_converged(task)
    final = _at(start, frames[-1])
    volume = abs(float(np.linalg.det(start.cell.array)))
    if converged and (fault := engine.fault_at_rest(final, volume if volume else None)):
        return fault
    if fault := engine.fell_apart(final, at_rest=converged):
        return fault
    if converged:
        return "converged", ""
    fmax = engine.max_force(frames[-1].forces)
    return "not_converged", f"reported by the task document after {len(frames) - 1} steps" + (
        "" if np.isnan(fmax) else f", fmax is {fmax:.3f} eV/Å"
    )


def _first(step: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((step[name] for name in names if step.get(name) is not None), None)


def _is_of(task: Mapping[str, Any], modules: tuple[str, ...]) -> bool:
    return str(task.get("@module", "")).startswith(modules)


def _at(start: Atoms, frame: Frame) -> Atoms:
    moved = start.copy()
    moved.positions = frame.positions
    moved.cell = frame.cell
    return moved


def _frame(step: Mapping[str, Any], start: Atoms, atomic_units: bool) -> Frame:
    from ase.units import Bohr, Hartree
    from monty.json import MontyDecoder

    from logan_campaign.relaxation.checkpoint import Frame

    structure = MontyDecoder().process_decoded(_first(step, _STRUCTURE))
    numbers = np.array(structure.atomic_numbers)
    if sorted(numbers) != sorted(start.numbers):
        raise ValueError("the atoms of the task document differ from those of the start")
    # programs sort atoms by element but keep the order within an element
    order = np.empty(len(numbers), dtype=int)
    order[np.argsort(start.numbers, kind="stable")] = np.argsort(numbers, kind="stable")
    forces = step.get("forces")
    forces = np.full((len(numbers), 3), np.nan) if forces is None else np.array(forces, dtype=float)
    cell = structure.lattice.matrix if start.pbc.any() else np.zeros((3, 3))
    return Frame(
        np.array(structure.cart_coords)[order],
        np.array(cell),
        float(_first(step, _ENERGY)) * (Hartree if atomic_units else 1.0),
        forces[order] * (Hartree / Bohr if atomic_units else 1.0),
    )
