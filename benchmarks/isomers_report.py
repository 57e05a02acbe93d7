"""Tables and figure of the isomers that benchmarks/isomers.py found.

python benchmarks/isomers_report.py [--json]
python benchmarks/isomers_report.py --figure docs/images
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from isomers import CHUNK, DESCENTS, RESULT_FILE, SYSTEMS, queue_of, relaxed_at
from records import read, save_figure
from selection import PAPER, coupons


@cache
def isomers(system: str) -> frozenset[str]:
    """Return the alcohols and ethers of a composition, which are what is looked for.

    A few relaxations end at another molecule of the same formula, an oxonium ylide.
    """
    from logan_campaign.sources.builtin import alcohols_and_ethers

    return frozenset(alcohols_and_ethers(SYSTEMS[system].n_carbon))


def curve(plan: dict[str, Any], became: dict[str, Any]) -> list[int]:
    """Return how many isomers are found after each relaxation."""
    found: set[str] = set()
    counts = []
    for name in plan["structures"]:
        found |= {became[name]["smiles"]} & isomers(plan["system"])
        counts.append(len(found))
    return counts


def report(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return all figures of the tables."""
    became = relaxed_at(records, "xtb")
    rows = []
    for plan in (r for r in records if r["kind"] == "picks"):
        if not all(name in became for name in plan["structures"]):
            continue
        mine = [became[name] for name in plan["structures"]]
        counts = curve(plan, became)
        rows.append(
            {key: plan[key] for key in ("system", "method", "seed", "samples", "strategy")}
            | {
                "n_picks": len(mine),
                "n_found": counts[-1],
                "n_molecules": len({r["smiles"] for r in mine} - {None}),
                "relaxations_for": {n: _first(counts, n) for n in (12, 14)},
                "n_true": sum(r["smiles"] in isomers(plan["system"]) for r in mine),
                "ionic_steps": _mean_steps(mine),
                "relax_cpu_s": sum(r["cpu_s"] for r in mine),
                "select_cpu_s": plan["select_cpu_s"],
                "n_cheap": plan["n_cheap"],
                "cheap_cpu_s": plan["cheap_cpu_s"],
                "curve": counts,
            }
        )
    gpaw = []
    for level in ("lcao", "pw"):
        after = relaxed_at(records, level)
        for plan in (r for r in records if r["kind"] == "picks" and r["strategy"] == "graph"):
            if plan["system"] != "c5h12o" or plan["method"] not in DESCENTS:
                continue
            for start in ("raw", "xtb"):
                if start == "xtb" and not all(n in became for n in plan["structures"]):
                    continue
                key = (plan["method"], plan["seed"], plan["samples"], start)
                labels = [n for _, n in queue_of(records, *key)]
                there = [after[name] for name in labels if name in after]
                if there:
                    gpaw.append(
                        {
                            "level": level,
                            "start": start,
                            "method": plan["method"],
                            "seed": plan["seed"],
                            "samples": plan["samples"],
                            "n_planned": len(labels),
                            "n_relaxed": len(there),
                            "n_found": len({r["smiles"] for r in there} & isomers(plan["system"])),
                            "ionic_steps": _mean_steps(there),
                            "cpu_s": sum(r["cpu_s"] for r in there),
                        }
                    )
    return {
        "pools": [r for r in records if r["kind"] == "pool"],
        "rows": rows,
        "gpaw": gpaw,
        "floor": 14,
        "coupon_collector": {n: round(coupons(n), 1) for n in (12, 14)},
        "paper": PAPER,
    }


def _mean_steps(relaxed: list[dict[str, Any]]) -> float | None:
    """Return the mean of those that ended at an isomer: others stop early, or never."""
    steps = [
        r["n_steps"]
        for r in relaxed
        if r["smiles"] in isomers(r["system"]) and r["n_steps"] is not None
    ]
    return float(np.mean(steps)) if steps else None


def _first(counts: list[int], n: int) -> int | None:
    return next((k + 1 for k, found in enumerate(counts) if found >= n), None)


def _spread(values: list[float], digits: int = 1) -> str:
    low, high = min(values), max(values)
    mean = f"{np.mean(values):.{digits}f}"
    return mean if low == high else f"{mean} ({low:g}–{high:g})"


def _needed(rows: list[dict[str, Any]], n: int) -> str:
    """Return mean and range of the relaxations for n isomers, and in how many seeds."""
    reached = [r["relaxations_for"][n] for r in rows if r["relaxations_for"][n] is not None]
    if not reached:
        return f"never in {len(rows)}"
    censored = "" if len(reached) == len(rows) else f", {len(reached)} of {len(rows)} seeds"
    return _spread(reached) + censored


def _steps(rows: list[dict[str, Any]]) -> str:
    found = [r["ionic_steps"] for r in rows if r["ionic_steps"] is not None]
    return f"{np.mean(found):.0f}" if found else ""


def groups(result: dict[str, Any]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return the rows of all seeds by system, method, samples and strategy."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        key = tuple(row[name] for name in ("system", "method", "samples", "strategy"))
        found.setdefault(key, []).append(row)
    return found


def show(result: dict[str, Any]) -> None:
    """Print tables in Markdown."""
    print("| system, method, samples per model | seeds | plausible | valid | isomers | CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    pools: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for pool in result["pools"]:
        key = tuple(pool[name] for name in ("system", "method", "samples"))
        pools.setdefault(key, []).append(pool)
    for key, mine in pools.items():
        cpu = [p["train_cpu_s"] + p["generate_cpu_s"] for p in mine if p["train_cpu_s"] is not None]
        shares = [
            _spread([round(100 * p[name] / p["n_generated"], 1) for p in mine]) + " %"
            for name in ("n_plausible", "n_valid")
        ]
        print(
            f"| {key[0]}, {key[1]}, {key[2]} | {len(mine)} | {shares[0]} | {shares[1]} | "
            f"{_spread([p['n_isomers'] for p in mine])} | "
            f"{_spread([round(s) for s in cpu], 0) if cpu else ''} |"
        )
    cut = (15, 20, 24, 38, 50, 100, 150)
    for system in dict.fromkeys(key[0] for key in groups(result)):
        print(f"\n{system}, no energy used: isomers after so many relaxations")
        heads = " | ".join(f"{k}" for k in cut)
        print(f"| | seeds | {heads} | for 12 | for 14 | ionic steps | true |")
        print("|" + " --- |" * (len(cut) + 6))
        for (name, method, samples, strategy), rows in groups(result).items():
            if name != system or rows[0]["n_cheap"]:
                continue
            cells = [
                _spread([r["curve"][k - 1] for r in rows])
                if all(len(r["curve"]) >= k for r in rows)
                else ""
                for k in cut
            ]
            print(
                f"| {strategy}, {method} {samples or ''} | {len(rows)} | {' | '.join(cells)} | "
                f"{_needed(rows, 12)} | {_needed(rows, 14)} | "
                f"{_steps(rows)} | "
                f"{100 * np.mean([r['n_true'] / r['n_picks'] for r in rows]):.0f} % |"
            )
        print(f"\n{system}, GFN2-xTB first")
        print("| | cheap relaxations | their CPU s | costly relaxations | isomers |")
        print("| --- | --- | --- | --- | --- |")
        for (name, method, samples, strategy), rows in groups(result).items():
            if name == system:
                print(
                    f"| {strategy}, {method} {samples or ''} | "
                    f"{_spread([r['n_cheap'] + r['n_picks'] for r in rows], 0)} | "
                    f"{_spread([round(r['cheap_cpu_s'] + r['relax_cpu_s']) for r in rows], 0)} | "
                    f"{_spread([r['n_molecules'] for r in rows])} | "
                    f"{_spread([r['n_found'] for r in rows])} |"
                )
    for row in result["gpaw"]:
        print(" | ".join(f"{name} {value}" for name, value in row.items()))


def draw(result: dict[str, Any], folder: Path) -> Path:
    """Draw isomers against relaxations for C5H12O."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    picks = np.arange(1, 51)
    mine = {
        (system, method, samples, strategy): rows
        for (system, method, samples, strategy), rows in groups(result).items()
        # strategies are compared on one pool, pools by one strategy
        if system == "c5h12o"
        and not rows[0]["n_cheap"]
        and (strategy == "graph" or (method, samples) in (("exchange", CHUNK), ("none", 0)))
    }
    names = {"descent": "random starts"}
    order = sorted(
        mine, key=lambda key: (key[1] == "none", key[3] != "graph", key[1] != "exchange")
    )
    for number, key in enumerate(order):
        _, method, samples, strategy = key
        # past its last pick a strategy finds no more
        curves = [np.pad(r["curve"], (0, 150), mode="edge")[: len(picks)] for r in mine[key]]
        label = (
            strategy
            if method == "none"
            else f"{strategy}, {names.get(method, method)} ({12 * samples:,})"
        )
        # what no model is needed for is drawn over the best, which it may equal
        style = {"ls": "--", "lw": 1.2, "zorder": 3} if method == "none" else {"ls": ":"}
        if strategy == "graph":
            style = {"ls": "-", "lw": max(1.0, 5 - 1.2 * number)}  # equal ones can be told apart
        colour = f"C{number % 10}"
        axes.plot(picks, np.mean(curves, axis=0), color=colour, label=label, **style)
        low, high = np.min(curves, axis=0), np.max(curves, axis=0)
        axes.fill_between(picks, low, high, color=colour, alpha=0.1, lw=0)
    uniform = 14 * (1 - (1 - 1 / 14) ** picks)
    axes.plot(picks, uniform, color="0.5", lw=1, label="uniform draws of isomers")
    axes.plot(list(PAPER), list(PAPER.values()), "k*", ms=9, label="paper, read off afterwards")
    axes.axhline(14, color="0.8", lw=0.8, zorder=0)
    axes.set(xlabel="relaxations", ylabel="isomers of C5H12O found", xlim=(0, 50), ylim=(0, 14.6))
    axes.legend(fontsize=7, loc="lower right")
    path = folder / "benchmark-isomers.png"
    save_figure(figure, path)
    return path


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULT_FILE)
    parser.add_argument("--figure", type=Path, help="folder to draw the figure into")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    result = report(read(options.results))
    if options.figure:
        print(draw(result, options.figure))
    elif options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
