"""Ionic steps that ASE's optimizers take from structures as descents make them.

    python benchmarks/optimizers.py run           # half an hour; goes on where it was
    python benchmarks/optimizers.py report --json

The same starts are relaxed by every optimizer, with GFN2-xTB (C5H12O, learned from the built-in
C4H10O and C6H14O) and GFN1-xTB (SiO2, 12 atoms in the cell of low cristobalite, learned from
the built-in prototypes, cell fixed), from the raw structure to ``fmax`` 0.05 eV/Å. Then the
minimum of FIRE, moved by 0.05 Å, is relaxed again, as at the next level of a campaign. Besides
the steps: how many relaxations converge, and how many end where FIRE ends (the same molecule,
or a match at strict tolerances), or lower or higher.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms
from records import RESULTS, append, environment, read, run_or_report

from logan_campaign.geometry.structures import from_atoms, to_atoms
from logan_campaign.relaxation.levels import ASELevel, LevelSpec, OptimizerName, XTBLevel
from logan_campaign.relaxation.run import relax

OPTIMIZERS: tuple[OptimizerName, ...] = ("FIRE", "FIRE2", "LBFGS", "BFGS")

#: Starts per system, how many of them come from one ensemble member, displacement of minima (Å).
N_STARTS, PER_MEMBER, MOVED = {"C5H12O": 48, "SiO2": 16}, 12, 0.05

#: Atomic numbers, cell (Å), built-in set and what of it is learned from.
BOX = ((8.0, 0.0, 0.0), (0.0, 7.0, 0.0), (0.0, 0.0, 6.0))
CRISTOBALITE = ((4.971, 0.0, 0.0), (0.0, 4.971, 0.0), (0.0, 0.0, 6.922))
SYSTEMS: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "C5H12O": (
        (1,) * 12 + (6,) * 5 + (8,),
        BOX,
        {"name": "alcohols-and-ethers", "formulas": ["C4H10O", "C6H14O"]},
    ),
    "SiO2": ((8,) * 8 + (14,) * 4, CRISTOBALITE, {"name": "sio2-prototypes"}),
}


def starts(system: str) -> Iterator[Atoms]:
    """Yield raw structures, the same in every run."""
    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target
    from logan_campaign.sources import BuiltinSource

    numbers, cell, source = SYSTEMS[system]
    periodic = system == "SiO2"
    entries = BuiltinSource.model_validate({"type": "builtin", **source}).load().entries
    training = [to_atoms(entry.structure) for entry in sorted(entries, key=lambda e: e.id)]
    settings = models.settings_from({"method": "descent"})
    target = Target(numbers, cell, periodic=periodic)
    n_left = N_STARTS[system]
    for member in range(math.ceil(n_left / PER_MEMBER)):
        trained = settings.train(training, target, seed=member, training_set_id=system)
        if trained.model is None:
            raise SystemExit(f"{system}: {trained.reason}")
        made = trained.model.generate(PER_MEMBER, seed=member)
        for positions in made.positions[: n_left - member * PER_MEMBER]:
            yield Atoms(numbers, positions, cell=cell if periodic else None, pbc=periodic)


def level(system: str, optimizer: OptimizerName) -> LevelSpec:
    """Return the level that a system is relaxed at."""
    common = {"name": "xtb", "optimizer": optimizer, "fmax": 0.05, "max_steps": 1000}
    if system == "C5H12O":
        return XTBLevel.model_validate({**common, "max_time_s": None})
    return ASELevel.model_validate(
        {
            **common,
            "max_time_s": None,
            "target": "tblite.ase:TBLite",
            "kwargs": {"method": "GFN1-xTB", "verbosity": 0},
            "isolate": False,
        }
    )


def figures(system: str, atoms: Atoms, optimizer: OptimizerName) -> tuple[dict[str, Any], Atoms]:
    """Relax a start by one optimizer; return what there is to say of it, and where it ended."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = relax(from_atoms(atoms), level(system, optimizer), workdir=folder)
    found = {
        "state": outcome.state,
        "n_steps": outcome.n_steps,
        "energy_ev": outcome.energy_ev,
        "cpu_s": round(outcome.cpu_s, 2),
    }
    return found, to_atoms(outcome.structure)


def same(system: str, first: Atoms, second: Atoms) -> bool:
    """Return whether two relaxed structures are one: molecule, or strict match of crystals."""
    from logan_campaign.geometry.molecules import perceive_arrays
    from logan_campaign.matching import CrystalMatcher

    if system == "SiO2":
        return CrystalMatcher("strict").same(from_atoms(first), from_atoms(second))
    graphs = {perceive_arrays(one.numbers, one.positions).smiles for one in (first, second)}
    return len(graphs) == 1


def run(args: argparse.Namespace) -> None:
    """Relax what has not been relaxed yet."""
    append(args.out, {"kind": "run", **environment()})
    done = {(r["system"], r["start"]) for r in read(args.out) if r["kind"] == "start"}
    for system in SYSTEMS:
        if all((system, k) in done for k in range(N_STARTS[system])):
            continue
        for k, atoms in enumerate(starts(system)):
            if (system, k) in done:
                continue
            raw = {optimizer: figures(system, atoms, optimizer) for optimizer in OPTIMIZERS}
            _, reference = raw["FIRE"]
            moved = reference.copy()
            moved.positions += np.random.default_rng(k).normal(0, MOVED, moved.positions.shape)
            again = {optimizer: figures(system, moved, optimizer) for optimizer in OPTIMIZERS}
            record: dict[str, Any] = {"kind": "start", "system": system, "start": k}
            for stage, ended in (("raw", raw), ("again", again)):
                record[stage] = {
                    optimizer: {**found, "as_fire": same(system, reference, end)}
                    for optimizer, (found, end) in ended.items()
                }
            append(args.out, record)
            print(json.dumps(record), flush=True)


def report(path: Path) -> list[dict[str, Any]]:
    """Return a line per system, stage and optimizer."""
    records = [r for r in read(path) if r["kind"] == "start"]
    lines = []
    for system in SYSTEMS:
        mine = [r for r in records if r["system"] == system]
        for stage in ("raw", "again"):
            for optimizer in OPTIMIZERS:
                each = [r[stage][optimizer] for r in mine]
                if not each:
                    continue
                pairs = [(r[stage][optimizer], r[stage]["FIRE"]) for r in mine]
                both = [(a, b) for a, b in pairs if a["state"] == b["state"] == "converged"]
                ratio = sum(a["n_steps"] for a, _ in both) / sum(b["n_steps"] for _, b in both)
                steps = [a["n_steps"] for a in each]
                above = [1000 * (a["energy_ev"] - b["energy_ev"]) for a, b in both]
                lines.append(
                    {
                        "system": system,
                        "from": stage,
                        "optimizer": optimizer,
                        "starts": len(each),
                        "converged": sum(a["state"] == "converged" for a in each),
                        "steps_median": statistics.median(steps),
                        "steps_most": max(steps),
                        "steps_by_fire_s": round(ratio, 2),
                        "as_fire": sum(a["as_fire"] for a, _ in both),
                        "mev_above_fire_s_median": round(statistics.median(above), 1),
                        "lower_by_10_mev": sum(one < -10 for one in above),
                        "higher_by_10_mev": sum(one > 10 for one in above),
                        "cpu_s": round(sum(a["cpu_s"] for a in each), 1),
                    }
                )
    return lines


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    run_or_report(parser, RESULTS / "optimizers.jsonl", run, lambda args: report(args.out))


if __name__ == "__main__":
    main()
