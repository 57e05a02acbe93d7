"""How many relaxations until the paper's three silica targets are found, by four methods.

    python benchmarks/sio2_targets.py plan --near without       # picks and their order, once
    python benchmarks/sio2_targets.py plan --near with
    python benchmarks/sio2_targets.py raw                       # which starts match as they are
    python benchmarks/sio2_targets.py relax --minutes 60        # goes on where it was, for days
    python benchmarks/sio2_targets.py relax --up-to 8           # of each row, and no further yet
    python benchmarks/sio2_targets.py relax --only mp-546794:logan:without
    python benchmarks/sio2_targets.py relax --optimizer BFGS    # in a results file of their own
    python benchmarks/sio2_targets.py plan --seed 1             # in files of its own, as "relax"
    python benchmarks/sio2_targets.py report --json
    python benchmarks/sio2_targets.py figure

The target's atoms and cell are given. ``plan`` writes the ordered starts of each row (target,
method, with or without the target's near matches in the training set) before any of them is
relaxed; the target's sites play no part in it. ``relax`` relaxes them in that order by GPAW as
the paper did (PW 400 eV, LDA, 2x2x2 k-points, FIRE, fmax 0.05 eV/Å, at most 1,000 steps, fixed
cell) and ends a row with its first hit or after 20.

A hit: a relaxed structure that matches the relaxed target at StructureMatcher's default (or
strict) tolerances is relaxed further to 0.01 eV/Å, as the target itself is, with the same
settings. It is the target if then they match at strict tolerances (0.1/0.1/3), the space groups
at symprec 0.1 are the same, and the energies differ by no more than 5 meV/atom. What does not
match by default is not relaxed further and counts as not found.

Every finished relaxation is one line of the results. A relaxation that is stopped, or killed
at any moment, goes on from its last ionic step: its frames are in ``--work``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
from ase import Atoms
from records import RESULTS, alone, append, environment, read

from logan_campaign.core.processors import pin_to_cores

TARGETS = ("mp-546794", "mp-554151", "mp-555235")
METHODS = (
    "logan",
    "logan-2",
    "logan-sym",
    "logan-sym-2",
    "wgan",
    "templates",
    "pyxtal",
    "pyxtal-sym",
    "random",
)
NEAR = ("without", "with")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "sio2"

#: Relaxations of a row at most; fixed beforehand.
N_PICKS = 20

#: Energies of a hit and its target differ by no more than this (meV/atom).
WINDOW_MEV = 5.0

#: Of the methods in figures.
COLOURS = {
    "logan": "#1b6ca8",
    "logan-2": "#7fb3d5",
    "logan-sym": "#6a4c93",
    "logan-sym-2": "#b392d6",
    "wgan": "#d9a441",
    "templates": "#c8553d",
    "pyxtal": "#588157",
    "pyxtal-sym": "#a3b18a",
    "random": "#8d8d8d",
}

#: Settings of the selection of what is selected. All but those of ``logan`` were chosen by
#: ``per_network.py`` and ``symmetrize.py``, on other crystals, each after the rows above it had
#: been seen. ``wgan`` has the paper's networks in place of descents, ``pyxtal-sym`` 400 crystals as
#: in ``pyxtal``.
SELECTED: dict[str, dict[str, Any]] = {
    "logan": {},
    "logan-2": {"per_key": 2},
    "logan-sym": {"symmetrize": 0.4},
    "logan-sym-2": {"symmetrize": 0.4, "per_key": 2},
    "wgan": {"symmetrize": 0.4},
    "pyxtal-sym": {"symmetrize": 0.4},
}

#: Positions of a plan are whole numbers of this length (Å).
GRAIN = 1e-5


class Row(NamedTuple):
    """One line of the table: what is relaxed in order until the target is found."""

    target: str
    method: str
    near: str


def plans_of(path: Path) -> dict[Row, dict[str, Any]]:
    """Return what is planned, by row."""
    return {Row(p["target"], p["method"], p["near"]): p for p in read(path)}


def stages() -> list[list[Row]]:
    """Return the rows in the order of their urgency; within a stage they take turns."""
    six, *twelve = TARGETS
    first = [
        [Row(six, "logan", "without")],
        [Row(t, "logan", "without") for t in twelve],
        [Row(t, "templates", "without") for t in TARGETS]
        + [Row(six, "pyxtal", "without"), Row(six, "random", "without")],
    ]
    named = {row for stage in first for row in stage}
    rest = [Row(t, m, near) for near in NEAR for t in TARGETS for m in METHODS]
    return [*first, [row for row in rest if row not in named]]


# --- what is relaxed, and in which order -----------------------------------------------------


def plan(args: argparse.Namespace) -> None:
    """Write the starts of the rows that have none yet."""
    import crystal_pools
    import crystal_systems

    from logan_campaign.descriptors.cache import enable_compilation_cache
    from logan_campaign.geometry.structures import structure_id

    enable_compilation_cache()
    done = plans_of(args.plan)
    for row in [row for stage in stages() for row in stage]:
        if row in done or row.near not in args.near or row.method not in args.methods:
            continue
        target = crystal_systems.read_crystals(args.data / f"{row.target}_target.extxyz")[0]
        training = crystal_systems.read_crystals(args.data / f"{row.target}_training.extxyz")
        n_all = len(training)
        if row.near == "without":
            training = crystal_systems.without_near(training, target)
        begun = time.process_time()
        given = (target.numbers, target.cell.array, training, N_PICKS, args.seed)
        figures: dict[str, Any] = {}
        if row.method in SELECTED:
            make_pool = {
                "wgan": crystal_pools.wgan_pool,
                "pyxtal-sym": crystal_pools.symmetric_pool,
            }.get(row.method, crystal_pools.descent_pool)
            settings = SELECTED[row.method]
            positions, figures = crystal_pools.selected(*given, make_pool, **settings)
        else:
            make = {
                "templates": crystal_systems.templates,
                "pyxtal": crystal_systems.symmetric_random,
                "random": crystal_systems.random_placement,
            }[row.method]
            positions = make(*given)
        grains = np.rint(np.asarray(positions) / GRAIN).astype(int).tolist()
        cell = target.cell.array
        record = {
            **row._asdict(),
            "seed": args.seed,
            "n_training": len(training),
            "n_near_left_out": n_all - len(training),
            "cpu_s": round(time.process_time() - begun, 1),
            **figures,
            "ids": [structure_id(crystal(target.numbers, cell, one)) for one in grains],
            # those of templates come from the reference set, and are made again from it
            "positions": None if row.method == "templates" else grains,
            "load": environment()["load"],
        }
        append(args.plan, record)
        shown = {k: v for k, v in record.items() if k not in ("ids", "positions", "represents")}
        print(json.dumps({**shown, "picks": len(grains)}), flush=True)


def crystal(numbers: np.ndarray, cell: np.ndarray, grains: list[list[int]]) -> Atoms:
    """Return a start from its whole numbers."""
    return Atoms(numbers, np.array(grains) * GRAIN, cell=cell, pbc=True)


def starts(args: argparse.Namespace, planned: dict[str, Any]) -> list[Atoms]:
    """Return the structures of a line of the plan.

    Raises:
        SystemExit: if they are not those whose ids the plan has.
    """
    import crystal_systems

    from logan_campaign.geometry.structures import structure_id

    target = crystal_systems.read_crystals(args.data / f"{planned['target']}_target.extxyz")[0]
    grains = planned["positions"]
    if grains is None:
        training = crystal_systems.read_crystals(args.data / f"{planned['target']}_training.extxyz")
        if planned["near"] == "without":
            training = crystal_systems.without_near(training, target)
        given = (target.numbers, target.cell.array, training, N_PICKS, planned["seed"])
        made = crystal_systems.templates(*given)
        grains = np.rint(made / GRAIN).astype(int).tolist()
    found = [crystal(target.numbers, target.cell.array, one) for one in grains]
    if [structure_id(atoms) for atoms in found] != planned["ids"]:
        raise SystemExit(f"{planned['target']}, {planned['method']}: not the starts of the plan")
    return found


def raw(args: argparse.Namespace) -> None:
    """Print which starts of the plan match the published target as they are, by rank."""
    import crystal_systems

    from logan_campaign.geometry.structures import from_atoms

    for planned in read(args.plan):
        file = args.data / f"{planned['target']}_target.extxyz"
        target = from_atoms(crystal_systems.read_crystals(file)[0])
        found = [matches(target, from_atoms(atoms)) for atoms in starts(args, planned)]
        named = {k: planned[k] for k in Row._fields}
        ranks = [{"rank": k, **one} for k, one in enumerate(found, 1) if one["match"]]
        print(json.dumps({**named, "matches": ranks}), flush=True)


# --- relaxations -----------------------------------------------------------------------------


class TimeUp(Exception):
    """The minutes are over."""


@contextmanager
def alarm(minutes: float | None) -> Iterator[None]:
    """Raise :class:`TimeUp` in the main thread when the minutes are over, or on SIGTERM."""

    def end(*_: Any) -> None:
        raise TimeUp

    signal.signal(signal.SIGALRM, end)
    signal.signal(signal.SIGTERM, end)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes if minutes else 0)
    try:
        yield
    except TimeUp:
        print("time is up; the relaxation that was running goes on next time", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def paper(fmax: float, optimizer: str = "FIRE") -> Any:
    """Return the paper's level, whose optimizer is FIRE.

    One Davidson iteration at a time takes starts at random to self-consistency in less time.
    """
    from logan_campaign.relaxation.levels import GPAWLevel

    return GPAWLevel.from_preset(
        "paper",
        optimizer=optimizer,
        fmax=fmax,
        max_steps=1000,
        max_time_s=None,
        davidson_iterations=1,
    )


def relaxed(atoms: Atoms, level: Any, folder: Path) -> dict[str, Any]:
    """Relax one structure at a level, or go on with it.

    Processor time of all pieces counts; it is noted after each ionic step, so that what a kill
    took is less than one step's.
    """
    from logan_campaign.core import progress
    from logan_campaign.geometry.structures import from_atoms
    from logan_campaign.relaxation.run import relax, relaxation_key

    structure = from_atoms(atoms)
    clock = folder / f"{relaxation_key(structure, level)}.cpu"
    folder.mkdir(parents=True, exist_ok=True)
    earlier = float(clock.read_text()) if clock.exists() else 0.0

    def note(_: progress.Progress) -> None:
        workers = psutil.Process().children(recursive=True)
        spent = sum(sum(worker.cpu_times()[:2]) for worker in workers)
        beside = clock.with_suffix(".part")
        beside.write_text(f"{earlier + spent:.1f}")
        beside.replace(clock)

    with progress.listening(note):
        outcome = relax(structure, level, workdir=folder)
    cpu_s = earlier + outcome.cpu_s
    first = None if outcome.trajectory is None else outcome.trajectory["forces"][0]
    return {
        "structure": outcome.structure,
        "state": outcome.state,
        "n_steps": outcome.n_steps,
        "cpu_s": round(cpu_s, 1),
        "energy_ev": outcome.energy_ev,
        "start_energy_ev": outcome.energies_ev[0] if outcome.energies_ev else None,
        "start_fmax": None if first is None else float(np.linalg.norm(first, axis=1).max()),
        "remedies": outcome.notes.get("remedies", []),
    }


def matches(first: Any, second: Any) -> dict[str, Any]:
    """Return which tolerances two crystals match at, and their rms at the strictest."""
    import crystal_systems as systems

    named = {"strict": systems.STRICT, "default": systems.DEFAULT, "loose": systems.LOOSE}
    for name, tolerance in named.items():
        found = systems.matcher(tolerance).get_rms_dist(first, second)
        if found is not None:
            return {"match": name, "rms": round(float(found[0]), 4)}
    return {"match": None, "rms": None}


@cache
def target_of(
    data: Path, work: Path, results: Path, name: str, optimizer: str = "FIRE"
) -> dict[str, Any]:
    """Return the record of a target's own relaxation to 0.01 eV/Å, with its structure."""
    import crystal_systems

    from logan_campaign.geometry.structures import spacegroup_symbol

    atoms = crystal_systems.read_crystals(data / f"{name}_target.extxyz")[0]
    outcome = relaxed(atoms, paper(0.01, optimizer), work / "targets")
    structure = outcome.pop("structure")
    if outcome["state"] != "converged":
        raise SystemExit(f"{name}: its own relaxation ended as {outcome['state']}")
    record = {
        "kind": "target",
        "target": name,
        "n_atoms": len(atoms),
        "spacegroup": spacegroup_symbol(structure, 0.1),
        **outcome,
    }
    if not any(r["kind"] == "target" and r["target"] == name for r in read(results)):
        append(results, record)
        print(json.dumps(record), flush=True)
    return {**record, "structure": structure}


def tried(
    work: Path, target: dict[str, Any], atoms: Atoms, optimizer: str = "FIRE"
) -> dict[str, Any]:
    """Relax a structure at the paper's level; return whether it is the target, and all figures."""
    from logan_campaign.geometry.structures import from_atoms, spacegroup_symbol, to_atoms

    outcome = relaxed(atoms, paper(0.05, optimizer), work / "starts")
    structure = outcome.pop("structure")
    record: dict[str, Any] = {
        "level": "paper",
        "optimizer": optimizer,
        "n_atoms": len(atoms),
        **outcome,
        "raw": matches(target["structure"], from_atoms(atoms)),
        "found": False,
    }
    if outcome["energy_ev"] is not None:
        record |= {
            "spacegroup": spacegroup_symbol(structure, 0.1),
            "above_target_mev": above(outcome["energy_ev"], target, len(atoms)),
            **matches(target["structure"], structure),
        }
    if record.get("match") in ("strict", "default"):
        further = relaxed(to_atoms(structure), paper(0.01, optimizer), work / "hits")
        end = further.pop("structure")
        energy = further["energy_ev"]
        tight = {
            **further,
            "spacegroup": spacegroup_symbol(end, 0.1),
            "above_target_mev": None if energy is None else above(energy, target, len(atoms)),
            **matches(target["structure"], end),
        }
        record["tight"] = tight
        record["found"] = alike(record) and tight["spacegroup"] == target["spacegroup"]
    return record


def alike(record: dict[str, Any]) -> bool:
    """Return whether a relaxation ended in the target but for the space group, which may differ."""
    tight = record.get("tight")
    if tight is None or tight["state"] != "converged" or tight["above_target_mev"] is None:
        return False
    return tight["match"] == "strict" and abs(tight["above_target_mev"]) <= WINDOW_MEV


def first_alike(records: Sequence[dict[str, Any]]) -> int | None:
    """Return the place, from 1, of the first relaxation that is :func:`alike`."""
    return next((k for k, r in enumerate(records, 1) if alike(r)), None)


def write(args: argparse.Namespace, record: dict[str, Any]) -> None:
    """Append a line to the results, with the machine's load, and show it."""
    append(args.results, {**record, "load": environment()["load"]})
    print(json.dumps(record), flush=True)


def above(energy: float, target: dict[str, Any], n_atoms: int) -> float:
    """Return energy above the target's (meV/atom)."""
    return round(1000 * (energy - target["energy_ev"]) / n_atoms, 2)


def progress_of(planned: dict[str, Any], results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the relaxations of a row so far, up to its first hit, in order of rank.

    A start that another row of the target has too is relaxed once.
    """
    by_id = {r["id"]: r for r in results if r["kind"] == "relaxation"}
    done = []
    for name in planned["ids"][:N_PICKS]:
        if name not in by_id:
            break
        done.append(by_id[name])
        if by_id[name]["found"]:
            break
    return done


def next_start(
    plans: dict[Row, dict[str, Any]],
    results: list[dict[str, Any]],
    only: Row | None,
    up_to: int = N_PICKS,
) -> tuple[Row, int] | None:
    """Return the row whose turn it is, and the rank (from 1) of its start; None at the end.

    No row goes on beyond ``up_to`` relaxations.
    """
    for stage in stages():
        waiting = []
        for row in stage:
            if row not in plans or (only is not None and row != only):
                continue
            done = progress_of(plans[row], results)
            ended = done and done[-1]["found"]
            if not ended and len(done) < min(up_to, len(plans[row]["ids"])):
                waiting.append((len(done), row))
        if waiting:
            n, row = min(waiting, key=lambda one: one[0])
            return row, n + 1
    return None


def relax_all(args: argparse.Namespace) -> None:
    """Relax in turn until all rows have ended, or the time has."""
    only = Row(*args.only.split(":")) if args.only else None
    with alone(args.work), alarm(args.minutes):
        append(args.results, {"kind": "run", **environment()})
        while True:
            plans = plans_of(args.plan)
            turn = next_start(plans, read(args.results), only, args.up_to)
            if turn is None:
                print("all rows have ended, or are at --up-to", flush=True)
                return
            row, rank = turn
            print(f"{row.target} {row.method} {row.near}: rank {rank}", flush=True)
            atoms = starts(args, plans[row])[rank - 1]
            named = {"rank": rank, "id": plans[row]["ids"][rank - 1]}
            target = target_of(args.data, args.work, args.results, row.target, args.optimizer)
            found = tried(args.work, target, atoms, args.optimizer)
            write(args, {"kind": "relaxation", **row._asdict(), **named, **found})


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("plan", "raw", "relax", "report", "figure"))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of targets and sets")
    parser.add_argument("--work", type=Path, default=Path("sio2.work"), help="frames, restarts")
    parser.add_argument(
        "--results",
        type=Path,
        help="default: benchmarks/results/sio2_targets[_bfgs][_seedN].jsonl",
    )
    parser.add_argument(
        "--optimizer",
        choices=("FIRE", "BFGS"),
        default="FIRE",
        help="the paper has FIRE",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--plan", type=Path, help="default: sio2_plan[_seedN].jsonl there")
    parser.add_argument("--near", nargs="+", choices=NEAR, default=list(NEAR), help="of 'plan'")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="of 'plan'"
    )
    parser.add_argument("--minutes", type=float, help="'relax' stops after so much wall time")
    parser.add_argument("--only", metavar="TARGET:METHOD:NEAR", help="'relax' this row alone")
    parser.add_argument(
        "--up-to", type=int, default=N_PICKS, metavar="N", help="'relax' no row beyond this rank"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="of 'figure'")
    parser.add_argument("--core", type=int, default=0, help="processor core to keep to")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    seeded = f"_seed{args.seed}" if args.seed else ""
    args.plan = args.plan or RESULTS / f"sio2_plan{seeded}.jsonl"
    if args.results is None:
        suffix = "" if args.optimizer == "FIRE" else "_bfgs"
        args.results = RESULTS / f"sio2_targets{suffix}{seeded}.jsonl"
    if args.what in ("plan", "raw", "relax"):
        pin_to_cores([args.core])
        {"plan": plan, "raw": raw, "relax": relax_all}[args.what](args)
        return
    import sio2_report

    if args.what == "figure":
        print(sio2_report.draw(args.plan, args.results, args.out))
        return
    table = sio2_report.table(args.plan, args.results)
    print(json.dumps(table, indent=1) if args.json else sio2_report.text(table))


if __name__ == "__main__":
    main()
