"""What one Davidson iteration at a time costs GPAW's plane waves, and what two do.

    python benchmarks/davidson.py run      # ten minutes; goes on where it was
    python benchmarks/davidson.py report --json

Each system has its SCF cycle brought to its end with GPAW's two iterations and with one. Then the
atoms are moved, as from one ionic step to the next, and again, by 0.02 Å each; counted are the
second and the third cycle, which begin with the wave functions of the one before. Then low
cristobalite is relaxed whole (BFGS, 0.05 eV/Å, cell fixed), from a little and from far away.
Processor time of one core; energies must agree.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from records import RESULTS, append, environment, read, run_or_report
from silica import prototypes

from logan_campaign.geometry.structures import from_atoms, to_atoms
from logan_campaign.relaxation.levels import GPAWLevel, Setup, Smearing
from logan_campaign.relaxation.run import relax

#: GPAW's own, and the other.
ITERATIONS = (2, 1)

#: Displacement of each coordinate before a further cycle (Å, standard deviation), and its seed.
MOVED, SEED = 0.02, 0

CYCLES = 3


def _prototype(label: str, moved: float = 0.0) -> Atoms:
    """Return a silica prototype, its atoms moved (Å) where no symmetry should help."""
    known = {crystal.label: crystal.structure for crystal in prototypes()}
    atoms = to_atoms(next(known[name] for name in known if name.startswith(label)))
    atoms.positions += np.random.default_rng(SEED).normal(0, moved, atoms.positions.shape)
    return atoms


def _ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.center(vacuum=3.0)
    return atoms


_PAPER = GPAWLevel.from_preset("paper")
SYSTEMS: dict[str, tuple[Callable[[], Atoms], GPAWLevel]] = {
    "SiO2, 12 atoms moved by 0.1 Å, 400 eV": (lambda: _prototype("low (alpha)", 0.1), _PAPER),
    "alpha quartz, 600 eV": (
        lambda: _prototype("quartz (alpha)"),
        _PAPER.model_copy(update={"ecut_ev": 600.0}),
    ),
    "Al, 4 atoms, 400 eV": (
        lambda: bulk("Al", "fcc", 4.05, cubic=True),
        _PAPER.model_copy(
            update={"kpts": (4, 4, 4), "smearing": Smearing(name="fermi-dirac", width=0.1)}
        ),
    ),
    "MgO, 8 atoms, 500 eV": (
        lambda: bulk("MgO", "rocksalt", 4.21, cubic=True),
        _PAPER.model_copy(update={"ecut_ev": 500.0}),
    ),
    "ethanol, 400 eV": (_ethanol, _PAPER),
}

#: Whole relaxations: how far the atoms of low cristobalite are moved before (Å).
RELAXED = {"low cristobalite, from 0.1 Å": 0.1, "low cristobalite, from 0.4 Å": 0.4}


def measure(system: str, iterations: int) -> dict[str, Any]:
    """Return processor time, SCF iterations and energy of each cycle but the first."""
    make, level = SYSTEMS[system]
    level = level.model_copy(update={"davidson_iterations": iterations})
    atoms = make()
    atoms.calc = level.make_calculator(atoms, Setup())
    rng = np.random.default_rng(SEED)
    # moved before the first cycle too: GPAW must not begin with symmetry that is then lost
    cycles = []
    for _ in range(CYCLES):
        atoms.positions += rng.normal(0, MOVED, atoms.positions.shape)
        begun = time.process_time()
        energy = atoms.get_potential_energy()
        atoms.get_forces()
        cycles.append(
            {
                "cpu_s": round(time.process_time() - begun, 2),
                "scf_iterations": int(atoms.calc.get_number_of_iterations()),
                "energy_ev": energy,
            }
        )
    return {"system": system, "davidson_iterations": iterations, "cycles": cycles[1:]}


def relaxed(system: str, iterations: int) -> dict[str, Any]:
    """Return processor time and steps of a whole relaxation."""
    level = _PAPER.model_copy(
        update={"davidson_iterations": iterations, "optimizer": "BFGS", "isolate": False}
    )
    outcome = relax(from_atoms(_prototype("low (alpha)", RELAXED[system])), level)
    return {
        "system": system,
        "davidson_iterations": iterations,
        "state": outcome.state,
        "n_steps": outcome.n_steps,
        "cpu_s": round(outcome.cpu_s, 1),
        "energy_ev": outcome.energy_ev,
    }


def run(args: argparse.Namespace) -> None:
    """Measure what has not been."""
    done = {(r["system"], r["davidson_iterations"]) for r in read(args.out) if r["kind"] != "run"}
    work = [(measure, "measured", s) for s in SYSTEMS] + [(relaxed, "relaxed", s) for s in RELAXED]
    left = [(*one, k) for one in work for k in ITERATIONS if (one[2], k) not in done]
    if left:
        append(args.out, {"kind": "run", **environment()})
    for function, kind, system, iterations in left:
        record = {"kind": kind, **function(system, iterations)}
        append(args.out, record)
        print(record, flush=True)


def report(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a line per system: means over the cycles, and how far the energies are apart."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for record in read(args.out):
        if record["kind"] == "measured":
            found.setdefault(record["system"], {})[record["davidson_iterations"]] = record["cycles"]
    table = []
    for system, by_iterations in found.items():
        if set(by_iterations) != set(ITERATIONS):
            continue
        row: dict[str, Any] = {"system": system}
        for k in ITERATIONS:
            for name in ("cpu_s", "scf_iterations"):
                mean = np.mean([cycle[name] for cycle in by_iterations[k]])
                row[f"{name} ({k})"] = round(float(mean), 1)
        two, one = ([c["energy_ev"] for c in by_iterations[k]] for k in ITERATIONS)
        row["energies differ by (eV)"] = float(f"{np.abs(np.subtract(two, one)).max():.0e}")
        table.append(row)
    table += [
        {k: v for k, v in record.items() if k != "kind"}
        for record in read(args.out)
        if record["kind"] == "relaxed"
    ]
    return table


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    run_or_report(parser, RESULTS / "davidson.jsonl", run, report)


if __name__ == "__main__":
    main()
