"""Relaxations on trial: known geometries, raw generated structures in levels, kills, convergence.

    python benchmarks/relaxation.py validate --out FOLDER      # minutes: known geometries
    python benchmarks/relaxation.py raw --out FOLDER           # an hour: 40 raw structures
    python benchmarks/relaxation.py alone --out FOLDER         # a few of them by GPAW alone
    python benchmarks/relaxation.py kills --out FOLDER         # ten kills in mid-relaxation
    python benchmarks/relaxation.py converge --out FOLDER      # the preset 'production'
    python benchmarks/relaxation.py table --out FOLDER --json

Every result is one line of ``FOLDER/results.jsonl``; what stands there already is not done
again, so a stopped run goes on where it was. ``--until HH:MM`` (UTC) begins nothing later.
Processor times are those of the relaxation and its worker process; wall times mean little on
a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from logan_campaign.generators.target import Target

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
from ase import Atoms
from ase.build import molecule
from ase.spacegroup import crystal
from ase.units import GPa
from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from logan_campaign.core import progress
from logan_campaign.relaxation.levels import GPAWLevel, LevelSpec, OptimizerName, XTBLevel
from logan_campaign.relaxation.run import RelaxationOutcome, relax

TARGET = Path(__file__).parents[2] / "shared" / "data" / "sio2" / "mp-546794_target.extxyz"

#: The lattice of the paper's target with six atoms, and that of low cristobalite (Å).
SIX_ATOMS = (
    (5.13584237, 0, 0),
    (0.15785282, 5.13341595, 0),
    (-2.64684759, -2.56670798, 3.57534402),
)
TWELVE_ATOMS = ((4.971, 0, 0), (0, 4.971, 0), (0, 0, 6.922))

#: Levels per system; budgets (wall time) are small on purpose: the benchmark is unattended.
MOLECULE_LEVELS: tuple[LevelSpec, ...] = (
    XTBLevel(name="xtb", optimizer="FIRE", max_steps=500, max_time_s=60, isolate=True),
    GPAWLevel.from_preset(
        "screening", name="lcao", optimizer="BFGS", fmax=0.1, max_steps=60, max_time_s=120
    ),
)
CRYSTAL_LEVELS: tuple[LevelSpec, ...] = (
    GPAWLevel(
        name="coarse",
        mode="pw",
        ecut_ev=250,
        kpts=(1, 1, 1),
        optimizer="FIRE",
        fmax=0.15,
        max_steps=150,
        max_time_s=120,
    ),
    GPAWLevel.from_preset("paper", name="pw", optimizer="BFGS", max_steps=150, max_time_s=120),
)
SYSTEMS: dict[str, tuple[int, tuple[LevelSpec, ...]]] = {
    "c5h12o": (20, MOLECULE_LEVELS),
    "sio2-6": (10, CRYSTAL_LEVELS),
    "sio2-12": (10, CRYSTAL_LEVELS),
}


class Results:
    """The lines of one file, by the name of the task."""

    def __init__(self, folder: Path, until: str | None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "results.jsonl"
        self.rows: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                row = json.loads(line)
                self.rows[row["task"]] = row
        self.end = None
        if until:
            hour, minute = (int(part) for part in until.split(":"))
            self.end = datetime.now(UTC).replace(hour=hour, minute=minute, second=0)

    def do(self, task: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Return the row of a task, made now unless it is there or it is too late."""
        if task in self.rows:
            return self.rows[task]
        if self.end is not None and datetime.now(UTC) >= self.end:
            return None
        row = {"task": task, **work()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[task] = row
        print(json.dumps({k: v for k, v in row.items() if k != "structure"}), flush=True)
        return row


def _processor_time() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def timed(
    structure: Molecule | Structure, level: LevelSpec, folder: Path
) -> tuple[RelaxationOutcome, dict[str, Any]]:
    """Relax, and return the outcome and what there is to say of it."""
    begun, cpu = time.perf_counter(), _processor_time()
    outcome = relax(structure, level, workdir=folder)
    return outcome, {
        "level": level.name,
        "state": outcome.state,
        "reason": outcome.reason,
        "steps": outcome.n_steps,
        "energy_ev": outcome.energy_ev,
        "max_force": outcome.max_force,
        "remedies": outcome.notes.get("remedies", []),
        "cpu_s": round(_processor_time() - cpu, 2),
        "wall_s": round(time.perf_counter() - begun, 2),
        "structure": outcome.structure.as_dict(),
    }


# --- known geometries ---------------------------------------------------------------------


def _molecule(name: str) -> Molecule:
    atoms = molecule(name)
    return Molecule(atoms.get_chemical_symbols(), atoms.positions)


def _quartz() -> Structure:
    """Return alpha quartz as measured (L. Levien et al., Am. Mineral. 65, 920 (1980))."""
    return AseAtomsAdaptor.get_structure(
        crystal(
            ("Si", "O"),
            [(0.4697, 0.0, 2 / 3), (0.4135, 0.2669, 0.7858)],
            spacegroup=154,
            cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
        )
    )


def validate(results: Results) -> None:
    """Known geometries at converged settings, LDA in plane waves."""
    free = GPAWLevel(
        mode="pw", ecut_ev=800, vacuum_angstrom=4.0, fmax=0.01, optimizer="BFGS", max_time_s=None
    )

    def water() -> dict[str, Any]:
        outcome, row = timed(_molecule("H2O"), free, results.folder)
        s = outcome.structure
        return row | {
            "oh_angstrom": (s.get_distance(0, 1) + s.get_distance(0, 2)) / 2,
            "angle_degree": s.get_angle(1, 0, 2),
        }

    def carbon_dioxide() -> dict[str, Any]:
        outcome, row = timed(_molecule("CO2"), free, results.folder)
        return row | {"co_angstrom": outcome.structure.get_distance(0, 1)}

    def silicon() -> dict[str, Any]:
        level = GPAWLevel(
            mode="pw",
            ecut_ev=500,
            kpts=(8, 8, 8),
            relax_cell=True,
            fmax=0.005,
            optimizer="BFGS",
            max_time_s=None,
        )
        cubic = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
        outcome, row = timed(cubic.get_primitive_structure(), level, results.folder)
        return row | {"a_angstrom": (4 * outcome.structure.volume) ** (1 / 3)}

    def quartz() -> dict[str, Any]:
        level = GPAWLevel(
            mode="pw",
            ecut_ev=800,
            kpts=(3, 3, 2),
            relax_cell=True,
            fmax=0.02,
            optimizer="BFGS",
            max_time_s=None,
        )
        outcome, row = timed(_quartz(), level, results.folder)
        lattice = outcome.structure.lattice
        return row | {
            "volume_per_sio2": lattice.volume / 3,
            "a_angstrom": lattice.a,
            "c_angstrom": lattice.c,
        }

    def target() -> dict[str, Any]:
        from ase.io import read

        structure = AseAtomsAdaptor.get_structure(read(TARGET))
        return timed(structure, GPAWLevel.from_preset("paper", max_steps=0), results.folder)[1]

    if TARGET.exists():
        results.do("validate mp-546794", target)
    results.do("validate H2O", water)
    results.do("validate CO2", carbon_dioxide)
    results.do("validate Si", silicon)
    results.do("validate quartz", quartz)


# --- raw structures -----------------------------------------------------------------------


def raw_structures(system: str, folder: Path) -> list[Molecule | Structure]:
    """Return the first structures of a briefly trained model, none left out."""
    file = folder / f"raw-{system}.json"
    if not file.exists():
        file.write_text(json.dumps([s.as_dict() for s in _generate(system, folder)]))
    kind = Molecule if system == "c5h12o" else Structure
    return [kind.from_dict(entry) for entry in json.loads(file.read_text())]


def _generate(system: str, folder: Path) -> Iterator[Molecule | Structure]:
    from logan_campaign.generators import wgan
    from logan_campaign.geometry.structures import to_atoms
    from logan_campaign.sources import BuiltinSource

    n, _ = SYSTEMS[system]
    if system == "c5h12o":
        source = BuiltinSource(name="alcohols-and-ethers", formulas=["C4H10O", "C6H14O"])
        target = Target((6,) * 5 + (1,) * 12 + (8,), ((8, 0, 0), (0, 7, 0), (0, 0, 6)), False)
        settings: dict[str, Any] = {"steps": 2000, "n_max": 3, "r_cut": 5.0}
    else:
        source = BuiltinSource(name="sio2-prototypes")
        units = int(system.rpartition("-")[2]) // 3
        cell = SIX_ATOMS if units == 2 else TWELVE_ATOMS
        target = Target((8,) * 2 * units + (14,) * units, cell, True)
        settings = {
            "steps": 1000,
            "n_max": 4,
            "r_cut": 4.0,
            "n_neighbour": 12,
            "learning_rate": 10**-3.5,
            "rattle_copies": 10,
            "rattle_stdev": 0.03,
            "environments_per_species": 20,
        }
    entries = source.load().entries
    structures = [to_atoms(entry.structure) for entry in entries]
    result = wgan.train(
        structures,
        target,
        wgan.Hyperparameters(**settings),
        seed=0,
        training_set_id="set-none",
        checkpoint=folder / f"{system}.checkpoint",
    )
    if result.model is None:
        raise SystemExit(f"{system}: {result.reason}")
    pool = wgan.generate(result.model, n, seed=0)
    for positions, cell in zip(pool.positions, pool.cells, strict=True):
        atoms = Atoms(target.numbers, positions=positions, cell=cell, pbc=target.periodic)
        if target.periodic:
            yield AseAtomsAdaptor.get_structure(atoms)
        else:
            yield Molecule(atoms.get_chemical_symbols(), atoms.positions.astype(float))


def raw(results: Results, systems: list[str], budget_s: float | None) -> None:
    """Relax raw structures through the levels; a bad end ends a structure's way.

    Args:
        results: where they go.
        systems: names.
        budget_s: wall-time budget of each relaxation instead of the levels' own.
    """
    for system in systems:
        structures = raw_structures(system, results.folder)
        for level_index in range(len(SYSTEMS[system][1])):
            for k, structure in enumerate(structures):
                _one_level(results, system, k, structure, level_index, budget_s)


def _one_level(
    results: Results,
    system: str,
    k: int,
    start: Molecule | Structure,
    level_index: int,
    budget_s: float | None,
) -> None:
    levels = SYSTEMS[system][1]
    if level_index:
        before = results.rows.get(f"raw {system} {k} {levels[level_index - 1].name}")
        # A cheap level need not converge for the next one to have a better start.
        if before is None or before["state"] not in ("converged", "not_converged"):
            return
        start = type(start).from_dict(before["structure"])
    level = levels[level_index]
    if budget_s is not None:
        level = level.model_copy(update={"max_time_s": budget_s})
    folder = results.folder / "work"
    results.do(f"raw {system} {k} {level.name}", lambda: timed(start, level, folder)[1])


def alone(results: Results, systems: list[str], count: int) -> None:
    """Relax those that came through all levels by the last level alone, without budgets."""
    for system in systems:
        last = SYSTEMS[system][1][-1]
        level = last.model_copy(update={"max_time_s": 1500.0, "max_steps": 400})
        n = 0
        for k, structure in enumerate(raw_structures(system, results.folder)):
            through = results.rows.get(f"raw {system} {k} {last.name}")
            if through is None or through["state"] != "converged" or n >= count:
                continue
            n += 1
            results.do(
                f"alone {system} {k}",
                lambda s=structure, v=level: timed(s, v, results.folder / "work")[1],
            )


# --- kills --------------------------------------------------------------------------------


def kills(results: Results, count: int) -> None:
    """Kill the worker in mid-relaxation, and compare with a relaxation left alone."""
    _kills(results, count, "FIRE")
    _kills(results, count, "BFGS")


def _kills(results: Results, count: int, optimizer: OptimizerName) -> None:
    level = GPAWLevel(
        name="lcao",
        grid_spacing_angstrom=0.25,
        optimizer=optimizer,
        fmax=0.02,
        max_steps=300,
        max_time_s=None,
    )
    water = _molecule("H2O")
    start = Molecule(water.species, 1.08 * water.cart_coords)

    def work() -> dict[str, Any]:
        undisturbed, row = timed(start, level, results.folder / "undisturbed")
        folder = results.folder / "killed"
        killed_at: list[int] = []

        def listen(report: progress.Progress) -> None:
            step = report.completed
            if len(killed_at) < count and step > (killed_at[-1] if killed_at else 0):
                killed_at.append(step)
                workers = psutil.Process().children()
                workers[-1].send_signal(signal.SIGKILL)

        with progress.listening(listen):
            disturbed, killed = timed(start, level, folder)
        moved = np.abs(
            disturbed.structure.distance_matrix - undisturbed.structure.distance_matrix
        ).max()
        assert disturbed.energy_ev is not None
        assert undisturbed.energy_ev is not None
        difference = disturbed.energy_ev - undisturbed.energy_ev
        return killed | {
            "kills": len(killed_at),
            "killed_at_steps": killed_at,
            "undisturbed_steps": row["steps"],
            "undisturbed_cpu_s": row["cpu_s"],
            "largest_change_of_a_distance_angstrom": float(moved),
            "energy_difference_mev_per_atom": 1000 * difference / len(start),
        }

    results.do(f"kills {count} {optimizer}", work)


# --- convergence --------------------------------------------------------------------------


def converge(results: Results) -> None:
    """Errors of plane-wave cutoffs and k-points with PBE, for the preset ``production``.

    Alpha quartz and silicon, atoms displaced; each also at 3% smaller volume, so that a
    difference of energies is looked at, as in comparing polymorphs.
    """
    quartz = _quartz()
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    silicon = silicon.get_primitive_structure()
    rng = np.random.default_rng(0)
    for structure in (quartz, silicon):
        for k in range(len(structure)):
            structure.translate_sites([k], rng.normal(scale=0.03, size=3), frac_coords=False)
    cases: list[tuple[str, Structure, dict[str, Any]]] = [
        *(
            (f"quartz ecut {ecut}", quartz, {"ecut_ev": ecut, "kpts": (1, 1, 1)})
            for ecut in (400, 500, 600, 700, 800, 1000)
        ),
        *((f"quartz k {n}", quartz, {"ecut_ev": 400, "kpts": (n, n, n)}) for n in (1, 2, 3)),
        *(
            (f"silicon density {d}", silicon, {"ecut_ev": 400, "kpts": {"density": d}})
            for d in (2, 3, 4, 5)
        ),
    ]
    for name, structure, settings in cases:
        level = GPAWLevel.model_validate(
            {"mode": "pw", "xc": "PBE", "max_steps": 0, "max_time_s": None, "fmax": 99, **settings}
        )

        def work(s: Structure = structure, v: GPAWLevel = level) -> dict[str, Any]:
            small = s.copy()
            small.scale_lattice(0.97 * s.volume)
            whole, row = timed(s, v, results.folder / "work")
            pressed, other = timed(small, v, results.folder / "work")
            assert whole.trajectory is not None
            assert whole.energy_ev is not None
            assert pressed.energy_ev is not None
            return {
                "state": row["state"],
                "energy_ev_per_atom": whole.energy_ev / len(s),
                "difference_ev_per_atom": (pressed.energy_ev - whole.energy_ev) / len(s),
                "forces": whole.trajectory["forces"][-1].tolist(),
                "stress": whole.stress,
                "cpu_s": row["cpu_s"] + other["cpu_s"],
            }

        results.do(f"converge {name}", work)


def convergence_table(results: Results) -> list[dict[str, Any]]:
    """Return errors against the finest setting of each series."""
    series = {
        "quartz ecut": [400, 500, 600, 700, 800, 1000],
        "quartz k": [1, 2, 3],
        "silicon density": [2, 3, 4, 5],
    }
    rows = []
    for name, values in series.items():
        found = {v: results.rows.get(f"converge {name} {v}") for v in values}
        finest = found[values[-1]]
        for value, row in found.items():
            if row is None or finest is None or row is finest:
                continue
            forces = np.array(row["forces"]) - np.array(finest["forces"])
            difference = row["difference_ev_per_atom"] - finest["difference_ev_per_atom"]
            stress = np.array(row["stress"]) - np.array(finest["stress"])
            rows.append(
                {
                    "series": f"{name} {value}, against {values[-1]}",
                    "energy_mev_per_atom": 1000
                    * (row["energy_ev_per_atom"] - finest["energy_ev_per_atom"]),
                    "difference_mev_per_atom": 1000 * difference,
                    "largest_force_error_mev_per_angstrom": 1000 * float(np.abs(forces).max()),
                    "largest_stress_error_gpa": float(np.abs(stress).max() / GPa),
                    "cpu_s": row["cpu_s"],
                }
            )
    return rows


# --- table --------------------------------------------------------------------------------


def table(results: Results) -> list[dict[str, Any]]:
    """Return states, steps and processor time per system and level, and what levels save."""
    rows = []
    for system, (_, levels) in SYSTEMS.items():
        for level in levels:
            found = [
                row
                for task, row in results.rows.items()
                if task.startswith(f"raw {system} ") and row["level"] == level.name
            ]
            if not found:
                continue
            rows.append(
                {
                    "system": system,
                    "level": level.name,
                    "relaxations": len(found),
                    "states": dict(Counter(row["state"] for row in found)),
                    "steps_median": statistics.median(row["steps"] for row in found),
                    "steps_max": max(row["steps"] for row in found),
                    "cpu_s_median": statistics.median(row["cpu_s"] for row in found),
                    "cpu_s_sum": round(sum(row["cpu_s"] for row in found), 1),
                }
            )
        pairs = []
        for task, row in results.rows.items():
            if task.startswith(f"alone {system} "):
                k = task.rpartition(" ")[2]
                through = [results.rows[f"raw {system} {k} {level.name}"] for level in levels]
                pairs.append((row, through))
        if pairs:
            rows.append(
                {
                    "system": system,
                    "level": "GPAW alone",
                    "relaxations": len(pairs),
                    "states": dict(Counter(row["state"] for row, _ in pairs)),
                    "steps_median": statistics.median(row["steps"] for row, _ in pairs),
                    "steps_max": max(row["steps"] for row, _ in pairs),
                    "cpu_s_sum": round(sum(row["cpu_s"] for row, _ in pairs), 1),
                    "same_in_levels_cpu_s_sum": round(
                        sum(row["cpu_s"] for _, through in pairs for row in through), 1
                    ),
                    "same_in_levels_last_steps": [through[-1]["steps"] for _, through in pairs],
                    "energy_alone_minus_levels_ev": [
                        None
                        if row["energy_ev"] is None
                        else round(row["energy_ev"] - through[-1]["energy_ev"], 4)
                        for row, through in pairs
                    ],
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["validate", "raw", "alone", "kills", "converge", "table"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--count", type=int, default=2, help="structures per system for 'alone'")
    parser.add_argument("--budget", type=float, help="wall time of each of the 'raw' (s)")
    parser.add_argument("--until", help="begin nothing after this time, HH:MM in UTC")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()
    results = Results(options.out, options.until)
    match options.what:
        case "validate":
            validate(results)
        case "raw":
            raw(results, options.systems, options.budget)
        case "alone":
            alone(results, options.systems, options.count)
        case "kills":
            kills(results, 10)
        case "converge":
            converge(results)
    if options.what == "table":
        for row in [*table(results), *convergence_table(results)]:
            print(
                json.dumps(row) if options.json else "  ".join(f"{k} {v}" for k, v in row.items())
            )


if __name__ == "__main__":
    main()
