"""What it is worth that GPAW sees the symmetry of picks that were made symmetric.

    python benchmarks/gpaw_symmetry.py run     # an hour of one core; goes on where it was
    python benchmarks/gpaw_symmetry.py report --json

The five crystals that settings are chosen on (``samplers.py``), seed 0: of each the first pick
with ``symmetrize`` at 0.4 Å, as ``symmetrize.py`` has written it down, is relaxed with GPAW's
preset ``paper`` and BFGS at fixed cell: once with the origin on its elements and operations with
translations, once as GPAW takes it by itself. Space groups at 0.01 Å.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import crystal_systems
import sio2_targets as targets
from records import RESULTS, append, environment, read, run_or_report
from samplers import CRYSTALS

TOLERANCE = "0.4"
SYMPREC = 0.01


def starts() -> dict[int, list[list[int]]]:
    """Return the positions, in grains, of the first symmetrized pick for each crystal."""
    found = {}
    records = [r for r in read(RESULTS / "symmetrize.jsonl") if r["kind"] == "lists"]
    for place in CRYSTALS:
        own = [r for r in records if r["crystal"] == place and r["seed"] == 0]
        positions = [one for record in own for one in record["positions"]]
        pick = next(r["lists"][TOLERANCE][0] for r in own if TOLERANCE in r["lists"])
        found[place] = positions[pick]
    return found


def relaxed(atoms: Any, plain: bool) -> dict[str, Any]:
    """Relax a pick; ``plain``: as GPAW takes it by itself."""
    from logan_campaign.geometry.structures import from_atoms, spacegroup_symbol
    from logan_campaign.relaxation.levels import GPAWLevel
    from logan_campaign.relaxation.run import relax

    change = {"optimizer": "BFGS", "isolate": False, "max_steps": 100, "max_time_s": 3600.0}
    level = GPAWLevel.from_preset("paper").model_copy(update=change)
    start = from_atoms(atoms)
    kept = GPAWLevel.frame
    if plain:
        GPAWLevel.frame = lambda self, atoms: None  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:  # nothing of the other is gone on with
            outcome = relax(start, level, workdir=Path(folder))
    finally:
        GPAWLevel.frame = kept  # type: ignore[method-assign]
    return {
        "frame": not plain,
        "state": outcome.state,
        "n_steps": outcome.n_steps,
        "cpu_s": round(outcome.cpu_s, 1),
        "energy_ev": outcome.energy_ev,
        "operations": outcome.notes.get("symmetry_operations"),
        "spacegroup_before": spacegroup_symbol(start, SYMPREC),
        "spacegroup_after": spacegroup_symbol(outcome.structure, SYMPREC),
    }


def run(args: argparse.Namespace) -> None:
    """Relax what has not been."""
    known = crystal_systems.read_crystals(args.crystals)
    append(args.out, {"kind": "run", **environment()})
    for place, positions in starts().items():
        for plain in (False, True):
            done = [r for r in read(args.out) if r["kind"] == "relaxation"]
            if any(r["crystal"] == place and r["frame"] is not plain for r in done):
                continue
            sought = known[place]
            atoms = targets.crystal(sought.numbers, sought.cell.array, positions)
            found = {"kind": "relaxation", "crystal": place, "n_atoms": len(atoms)}
            append(args.out, {**found, **relaxed(atoms, plain)})


def report(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures of all relaxations."""
    return [record for record in read(args.out) if record["kind"] == "relaxation"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--crystals",
        type=Path,
        default=targets.DATA / "mp-546794_training.extxyz",
        help="file with the SiO2 crystals",
    )
    run_or_report(parser, RESULTS / "gpaw_symmetry.jsonl", run, report)
