"""Force calls of GPAW with and without a potential that learns from them.

    python benchmarks/energies.py run           # hours; goes on where it was
    python benchmarks/energies.py report --json

For each system and seed, six structures as descents make them are relaxed in turn at one level of
GPAW, with BFGS and with ``optimizer: surrogate``, where later ones learn from earlier ones. What
is counted: force calls and processor time (fitting included) of all six, and the distinct minima
(within 5 meV/atom and equal at default tolerances) that each way ends in. ``force_calls_ratio`` and
``cpu_ratio`` compare only what both have to do: up to the relaxation after which the minima that
both know are known.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms
from ase.io import read as read_structures
from records import RESULTS, append, environment, read, run_or_report

from logan_campaign.geometry.structures import from_atoms, to_atoms
from logan_campaign.matching import CrystalMatcher
from logan_campaign.relaxation.levels import GPAWLevel, Level
from logan_campaign.relaxation.run import relax

N_STARTS, WITHIN = 6, 5e-3  # eV/atom

CRISTOBALITE = ((4.971, 0.0, 0.0), (0.0, 4.971, 0.0), (0.0, 0.0, 6.922))

#: Numbers of the atoms, cell (Å; None: learned), what is learned from, and the level.
SYSTEMS: dict[str, dict[str, Any]] = {
    "silica": {
        "numbers": (8,) * 8 + (14,) * 4,
        "cell": CRISTOBALITE,
        "level": {"ecut_ev": 400.0, "kpts": (2, 2, 1)},
    },
    "silica-cell": {
        "numbers": (8,) * 4 + (14,) * 2,
        "cell": None,
        "level": {"ecut_ev": 800.0, "kpts": {"density": 1.5}, "relax_cell": True},
    },
    "MgSiO3": {  # in the cell of the ilmenite type, from the battery
        "numbers": (8,) * 6 + (12,) * 2 + (14,) * 2,
        "cell": "MgSiO3_ilm",
        "learn": ("MgO", "cristobalite", "quartz", "stishovite"),
        "level": {"ecut_ev": 400.0, "kpts": (2, 2, 2)},
    },
}


def level(system: str, optimizer: str) -> Level:
    """Return the level of a system."""
    own = SYSTEMS[system]["level"]
    return GPAWLevel(
        name=optimizer, mode="pw", xc="LDA", fmax=0.05, max_steps=150, max_time_s=None,
        optimizer=optimizer, **own,
    )  # fmt: skip


def battery_structures(path: Path | None) -> dict[str, Atoms]:
    """Return the structures of the battery by their name."""
    if path is None:
        raise SystemExit("MgSiO3 is learned from the battery: give --structures")
    return {atoms.info["name"]: atoms for atoms in read_structures(path, ":")}


def starts(system: str, seed: int, battery: Path | None) -> list[Any]:
    """Return raw structures, the same in every run."""
    from logan_campaign.campaign.target import volume_range
    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target
    from logan_campaign.sources import BuiltinSource

    own = SYSTEMS[system]
    cell = own["cell"]
    if "learn" in own:
        battery_of = battery_structures(battery)
        crystals = [battery_of[name] for name in own["learn"]]
        cell = battery_of[cell].cell.array
    else:
        entries = BuiltinSource(type="builtin", name="sio2-prototypes").load().entries
        crystals = [to_atoms(entry.structure) for entry in entries]
    if cell is None:
        volumes = volume_range(crystals)
        target = Target(own["numbers"], None, True, lattice="learned", volumes=volumes)
    else:
        target = Target(own["numbers"], np.array(cell), True)
    trained = models.settings_from({"method": "descent"}).train(
        crystals, target, seed=seed, training_set_id=f"energies-{system}"
    )
    assert trained.model is not None  # a descent always has one
    pool = trained.model.generate(N_STARTS, seed=seed)
    return [
        from_atoms(Atoms(own["numbers"], x, cell=c, pbc=True))
        for x, c in zip(pool.positions, pool.cells, strict=True)
    ]


def run(results: Path, systems: list[str], seeds: list[int], battery: Path | None) -> None:
    """Relax what is not in the results yet."""
    done = {(r["system"], r["seed"], r["optimizer"], r["start"]): r for r in read(results)}
    for seed in seeds:
        for system in systems:
            todo = starts(system, seed, battery)
            for optimizer in ("BFGS", "surrogate"):
                known: list[dict[str, np.ndarray]] = []
                for k, structure in enumerate(todo):
                    kept = results.with_suffix("") / f"{system}-{seed}-{optimizer}-{k}.npz"
                    if (system, seed, optimizer, k) not in done:
                        with tempfile.TemporaryDirectory() as folder:
                            found = relax(
                                structure, level(system, optimizer), workdir=folder, known=known
                            )
                        trajectory = found.trajectory or {}
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        np.savez_compressed(kept, **trajectory)
                        record = {
                            "system": system,
                            "seed": seed,
                            "optimizer": optimizer,
                            "start": k,
                            "state": found.state,
                            "force_calls": len(found.energies_ev),
                            "cpu_s": round(found.cpu_s, 1),
                            "energy_per_atom_ev": found.energy_ev / len(structure)
                            if found.energy_ev is not None
                            else None,
                            "structure": found.structure.as_dict(),
                            "surrogate": found.notes.get("surrogate"),
                            **environment(),
                        }
                        append(results, record)
                        shown = ("state", "force_calls", "cpu_s", "energy_per_atom_ev")
                        print(system, seed, optimizer, k, *(record[n] for n in shown), flush=True)
                    with np.load(kept, allow_pickle=False) as arrays:
                        known.append(dict(arrays))


def report(results: Path) -> list[dict[str, Any]]:
    """Return the figures of each system and seed that both ways have finished."""
    from pymatgen.core import Structure

    matcher, rows = CrystalMatcher(), []
    records = read(results)
    for system, seed in sorted({(r["system"], r["seed"]) for r in records}):
        ways = {
            way: sorted(
                (r for r in records if (r["system"], r["seed"], r["optimizer"])
                 == (system, seed, way)),
                key=lambda r: r["start"],
            )
            for way in ("BFGS", "surrogate")
        }  # fmt: skip
        if any(len(each) < N_STARTS for each in ways.values()):
            continue
        minima: list[tuple[float, Structure]] = []
        seen: dict[str, list[int]] = {}
        for way, each in ways.items():
            seen[way] = []
            for one in each:
                structure = Structure.from_dict(one["structure"])
                energy = one["energy_per_atom_ev"]
                place = next(
                    (
                        k
                        for k, (e, s) in enumerate(minima)
                        if abs(e - energy) < WITHIN and matcher.same(s, structure)
                    ),
                    len(minima),
                )
                if place == len(minima):
                    minima.append((energy, structure))
                seen[way].append(place)
        both = set(seen["BFGS"]) & set(seen["surrogate"])
        until = {
            way: 1 + max(seen[way].index(k) for k in both) if both else N_STARTS for way in ways
        }
        row: dict[str, Any] = {
            "system": system,
            "seed": seed,
            "minima": {way: len(set(seen[way])) for way in ways},
            "in_both": len(both),
            "failed": {w: sum(r["state"] != "converged" for r in ways[w]) for w in ways},
        }
        for key in ("force_calls", "cpu_s"):
            total = {way: round(sum(r[key] for r in each), 1) for way, each in ways.items()}
            needed = {w: round(sum(r[key] for r in ways[w][: until[w]]), 1) for w in ways}
            name = "force_calls_ratio" if key == "force_calls" else "cpu_ratio"
            row |= {
                key: total,
                f"{key}_until_known": needed,
                name: round(total["BFGS"] / total["surrogate"], 2),
                f"{name}_until_known": round(needed["BFGS"] / needed["surrogate"], 2),
            }
        rows.append(row)
    return rows


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--structures", type=Path, help="extended XYZ file with the battery")
    run_or_report(
        parser,
        RESULTS / "energies.jsonl",
        lambda args: run(args.out, args.systems, args.seeds, args.structures),
        lambda args: report(args.out),
    )


if __name__ == "__main__":
    main()
