"""The silica targets with a cheap level first: the starts of ``sio2_targets.py``, all 20 of a row.

    python benchmarks/sio2_coarse.py relax --minutes 60    # goes on where it was
    python benchmarks/sio2_coarse.py report --json
    python benchmarks/sio2_coarse.py figure

``relax`` takes the rows in turn. All starts of a row are relaxed at a coarse level first (GFN1-xTB
at the Γ point, doi:10.1021/acs.jctc.7b00118, BFGS to 0.1 eV/Å, at most 300 steps, fixed cell), in
the order of the plan and past any hit. Of what that gives, structures that equal one of lower
energy at strict tolerances are passed over, and the three lowest in energy are relaxed at the
paper's level, until one is found to be the target by the rule of ``sio2_targets.py``. The target
itself goes through the coarse level too: if it did not stay, the level could not lead to it.

By default the rows without near matches. Records go to ``benchmarks/results/sio2_coarse.jsonl``,
where the coarse minima are kept too; frames of what runs are in ``--work``, which may be that of
``sio2_targets.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import sio2_targets as targets
from ase import Atoms
from records import RESULTS, alone, append, environment, read, save_figure
from sio2_targets import GRAIN, METHODS, N_PICKS, NEAR, TARGETS, Row

from logan_campaign.core.processors import pin_to_cores

#: How many of a row's coarse minima are relaxed at the paper's level; fixed beforehand.
N_COSTLY = 3

#: A coarse minimum that matches the target and differs by no more is near it (meV/atom).
NEAR_MEV = 10.0


def coarse() -> Any:
    """Return the cheap level.

    The five crystals that settings were chosen on stay themselves in it at strict tolerances, and
    so do the targets; that was seen before any start was relaxed.
    """
    from logan_campaign.relaxation.levels import ASELevel

    return ASELevel(
        name="coarse",
        target="tblite.ase:TBLite",
        kwargs={"method": "GFN1-xTB", "verbosity": 0},
        optimizer="BFGS",
        fmax=0.1,
        max_steps=300,
        max_time_s=None,
    )


def relax_coarse(args: argparse.Namespace, name: str, atoms: Atoms) -> dict[str, Any]:
    """Relax a structure at the cheap level and compare it with the relaxed target."""
    target = targets.target_of(args.data, args.work, args.full, name)
    outcome = targets.relaxed(atoms, coarse(), args.work / "coarse")
    structure = outcome.pop("structure")
    grains = np.rint(structure.cart_coords / GRAIN).astype(int).tolist()
    return {**outcome, **targets.matches(target["structure"], structure), "grains": grains}


def lowest_distinct(
    minima: list[dict[str, Any]], cell: np.ndarray, numbers: np.ndarray
) -> list[dict[str, Any]]:
    """Return coarse minima by energy, less those that equal a lower one at strict tolerances."""
    import crystal_systems

    from logan_campaign.geometry.structures import from_atoms

    same = crystal_systems.matcher(crystal_systems.STRICT)
    kept: list[tuple[dict[str, Any], Any]] = []
    for record in sorted(
        (r for r in minima if r["energy_ev"] is not None), key=lambda r: r["energy_ev"]
    ):
        structure = from_atoms(targets.crystal(numbers, cell, record["grains"]))
        if not any(same.fit(other, structure) for _, other in kept):
            kept.append((record, structure))
    return [record for record, _ in kept]


def minima_of(planned: dict[str, Any], records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the coarse relaxations of a row so far, in the order of the plan."""
    by_id = {r["id"]: r for r in records if r["kind"] == "coarse"}
    return [by_id[name] for name in planned["ids"][:N_PICKS] if name in by_id]


def costly_of(row: Row, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the relaxations of a row at the paper's level."""
    mine = [r for r in records if r["kind"] == "costly"]
    return [r for r in mine if (r["target"], r["method"], r["near"]) == tuple(row)]


def relax_all(args: argparse.Namespace) -> None:
    """Relax in turn until all rows have ended, or the time has."""
    import crystal_systems

    plans = targets.plans_of(args.plan)
    rows = [Row(t, m, near) for near in args.near for t in args.targets for m in args.methods]
    rows = [row for row in rows if row in plans]
    with alone(args.work), targets.alarm(args.minutes):
        append(args.results, {"kind": "run", **environment()})
        for name in args.targets:
            if not any(r["kind"] == "target" and r["target"] == name for r in read(args.results)):
                atoms = crystal_systems.read_crystals(args.data / f"{name}_target.extxyz")[0]
                targets.write(
                    args, {"kind": "target", "target": name, **relax_coarse(args, name, atoms)}
                )
        for rank in range(N_PICKS):
            for row in rows:
                ids = plans[row]["ids"]
                done = {r["id"] for r in read(args.results) if r["kind"] == "coarse"}
                if rank >= len(ids) or ids[rank] in done:
                    continue
                print(f"{row.target} {row.method} {row.near}: start {rank + 1}", flush=True)
                atoms = targets.starts(args, plans[row])[rank]
                named = {"id": ids[rank], "target": row.target, "method": row.method}
                targets.write(
                    args, {"kind": "coarse", **named, **relax_coarse(args, row.target, atoms)}
                )
        for row in rows:
            confirm(args, row, plans[row])
        print("all rows have ended", flush=True)


def confirm(args: argparse.Namespace, row: Row, planned: dict[str, Any]) -> None:
    """Relax a row's lowest coarse minima at the paper's level, until the target is found."""
    import crystal_systems

    records = read(args.results)
    target = crystal_systems.read_crystals(args.data / f"{row.target}_target.extxyz")[0]
    cell, numbers = target.cell.array, target.numbers
    chosen = lowest_distinct(minima_of(planned, records), cell, numbers)[:N_COSTLY]
    for place, minimum in enumerate(chosen, 1):
        done = [r for r in costly_of(row, records) if r["id"] == minimum["id"]]
        if not done:
            print(f"{row.target} {row.method} {row.near}: lowest {place}", flush=True)
            atoms = targets.crystal(numbers, cell, minimum["grains"])
            relaxed_target = targets.target_of(args.data, args.work, args.full, row.target)
            named = {"kind": "costly", **row._asdict(), "place": place, "id": minimum["id"]}
            done = [{**named, **targets.tried(args.work, relaxed_target, atoms)}]
            targets.write(args, done[0])
        if done[0]["found"]:
            return


def table(args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the targets and of all rows that have begun, equal ones once."""
    records = read(args.results)
    own = {r["target"]: r for r in records if r["kind"] == "target"}
    plans = targets.plans_of(args.plan)
    rows = []
    earlier: list[list[str]] = []
    for row, planned in plans.items():
        if planned["ids"] in earlier:
            continue  # the same starts
        earlier.append(planned["ids"])
        done = minima_of(planned, records)
        if not done:
            continue
        costly = costly_of(row, records)
        zero = own[row.target]["energy_ev"]
        above = {
            k: round(1000 * (r["energy_ev"] - zero) / len(r["grains"]), 1)
            for k, r in enumerate(done, 1)
            if r["energy_ev"] is not None
        }
        alike = [k for k in above if done[k - 1]["match"] in ("strict", "default")]
        rows.append(
            {
                **row._asdict(),
                "starts": min(N_PICKS, len(planned["ids"])),
                "relaxed": len(done),
                "converged": sum(r["state"] == "converged" for r in done),
                "match_ranks": alike,
                "near_ranks": [k for k in alike if abs(above[k]) <= NEAR_MEV],
                "ionic_steps_median": statistics.median(r["n_steps"] for r in done),
                "cpu_min": round(sum(r["cpu_s"] for r in done) / 60, 1),
                "above_target_mev": list(above.values()),
                "costly": len(costly),
                "found_at": next((r["place"] for r in costly if r["found"]), None),
                "alike_at": targets.first_alike(costly),
                "costly_cpu_min": round(
                    sum(r["cpu_s"] + r.get("tight", {}).get("cpu_s", 0.0) for r in costly) / 60, 1
                ),
            }
        )
    rows.sort(
        key=lambda r: (
            NEAR.index(r["near"]),
            TARGETS.index(r["target"]),
            METHODS.index(r["method"]),
        )
    )
    kept = ("target", "state", "n_steps", "cpu_s", "energy_ev", "match", "rms")
    return {"targets": [{k: r[k] for k in kept} for r in own.values()], "rows": rows}


def text(result: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| target | method | starts relaxed | match the target | of them near it, by rank "
        "| ionic steps, median "
        "| CPU min | lowest, median above the target (meV/atom) | then at the paper's level "
        "| whatever the space group |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        ended = row["relaxed"] == row["starts"]
        ranks = row["near_ranks"]
        energies = row["above_target_mev"]
        spread = f"{min(energies):.0f}, {statistics.median(energies):.0f}" if energies else ""
        if row["found_at"]:
            then = f"found, relaxation {row['found_at']} ({row['costly_cpu_min']:g} CPU min)"
        elif row["costly"]:
            then = f"none in {row['costly']} ({row['costly_cpu_min']:g} CPU min)"
        else:
            then = "not begun"
        near = "" if row["near"] == "without" else ", near matches left in"
        cells = [
            row["target"],
            row["method"] + near,
            f"{row['relaxed']}" if ended else f"{row['relaxed']} of {row['starts']} so far",
            f"{len(row['match_ranks'])}",
            f"{', '.join(map(str, ranks[:5]))}{', …' if len(ranks) > 5 else ''} ({len(ranks)})"
            if ranks
            else "none",
            f"{row['ionic_steps_median']:g}",
            f"{row['cpu_min']:g}",
            spread,
            then,
            f"relaxation {row['alike_at']}" if row["alike_at"] else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        f"\n{r['target']} itself: {r['state']} in {r['n_steps']} steps, match {r['match']}, "
        f"rms {r['rms']}"
        for r in result["targets"]
    ]
    return "\n".join(lines)


def draw(args: argparse.Namespace, folder: Path) -> str:
    """Draw energies above the target after the coarse level, by method."""
    from matplotlib.figure import Figure

    rows = [
        r for r in table(args)["rows"] if r["near"] == "without" and r["relaxed"] == r["starts"]
    ]
    shown = [t for t in TARGETS if any(r["target"] == t for r in rows)]
    methods = [m for m in METHODS if any(r["method"] == m for r in rows)]
    figure = Figure(figsize=(3.6 * len(shown) + 0.6, 3.4), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        for k, method in enumerate(methods):
            for row in rows:
                if (row["target"], row["method"]) != (name, method):
                    continue
                energies = row["above_target_mev"]
                # side by side in the order of the plan, so that equal ones can be counted
                places = k + np.linspace(-0.3, 0.3, N_PICKS)[: len(energies)]
                axes.scatter(places, energies, s=14, color=targets.COLOURS[method], alpha=0.8)
        axes.axhspan(-5, 5, color="0.85", zorder=0)
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(methods)), methods, rotation=30, ha="right")
        axes.set_xlim(-0.5, len(methods) - 0.5)
        axes.set_yscale("symlog", linthresh=10)
        axes.minorticks_off()
    # for all panels, and once all are drawn
    panels[0].set_ylim(bottom=-15, top=1.5 * max(e for r in rows for e in r["above_target_mev"]))
    panels[0].set_ylabel("energy above the target,\ncoarse level (meV/atom)")
    path = folder / "benchmark-sio2-coarse.png"
    save_figure(figure, path)
    return path.name


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("relax", "report", "figure"))
    parser.add_argument("--data", type=Path, default=targets.DATA, help="folder of the targets")
    parser.add_argument("--work", type=Path, default=Path("sio2.work"), help="frames, restarts")
    parser.add_argument("--plan", type=Path, default=RESULTS / "sio2_plan.jsonl")
    parser.add_argument("--results", type=Path, default=RESULTS / "sio2_coarse.jsonl")
    parser.add_argument(
        "--full",
        type=Path,
        default=RESULTS / "sio2_targets.jsonl",
        help="results of sio2_targets.py, where the relaxed targets are",
    )
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--near", nargs="+", choices=NEAR, default=["without"])
    parser.add_argument("--minutes", type=float, help="'relax' stops after so much wall time")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="of 'figure'")
    parser.add_argument("--core", type=int, default=0, help="processor core to keep to")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.what == "relax":
        pin_to_cores([args.core])
        relax_all(args)
    elif args.what == "figure":
        print(draw(args, args.out))
    else:
        result = table(args)
        print(json.dumps(result, indent=1) if args.json else text(result))


if __name__ == "__main__":
    main()
