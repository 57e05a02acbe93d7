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
from isomers import CHUNK, DESCENTS, MEMBERS, RANDOM, RESULT_FILE, SYSTEMS, queue_of, relaxed_at
from records import read, save_figure
from selection import PAPER, coupons

#: Of pools, in the order of the tables: descents with and without exchange of groups, the
#: paper's networks, no model.
POOLS = {
    "exchange": "`exchange`",
    "descent": "random starts",
    "wgan": "`wgan`",
    "none": "none",
}
STRATEGIES = {
    "graph": "`graph`",
    "kmeans": "`kmeans`, as the paper",
    "kmeans per model": "`kmeans` per model",
    "diverse": "`diverse`",
    "random draws": "drawn at random",
    "graph, 200 cheap": "`graph`, 200 of the rest relaxed too",
    RANDOM: "atoms at random",
}
LEVELS = {"lcao": "LCAO (dzp, LDA)", "pw": "plane waves (400 eV, LDA), the paper's"}
#: After how many relaxations the tables say what has been found, and for how many isomers they
#: say how many relaxations it takes.
CUTS = {"c5h12o": (15, 24, 38, 50), "c7h16o": (50, 100, 150)}
ENDS = {"c5h12o": (12, 14), "c7h16o": ()}


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
    return f"{low:g}" if low == high else f"{np.mean(values):.{digits}f} ({low:g}–{high:g})"


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


def pool_name(method: str, samples: int) -> str:
    """Return what a pool is called in the tables, with the number of its structures."""
    name = POOLS[method]
    return f"{name}, {MEMBERS * samples:,}" if samples else name


def show(result: dict[str, Any]) -> None:
    """Print tables in Markdown."""
    for system in SYSTEMS:
        print(f"\n{system}\n")
        mine = {key[1:]: rows for key, rows in groups(result).items() if key[0] == system}
        by_graph = {key[:2]: rows for key, rows in mine.items() if key[2] == "graph"}
        _show_pools([pool for pool in result["pools"] if pool["system"] == system], by_graph)
        mine = dict(sorted(mine.items(), key=lambda one: list(POOLS).index(one[0][0])))
        _show_without_energies(mine, system)
        if system == "c5h12o":
            _show_comparisons(result)
        _show_cheap_first(mine)
    _show_gpaw(result["gpaw"])


def _show_pools(
    pools: list[dict[str, Any]], by_graph: dict[tuple[str, int], list[dict[str, Any]]]
) -> None:
    """Print what pools hold, and the processor time of all steps up to the picks of `graph`."""
    print(
        "| pool | seeds | plausible (%) | isomers as they are (%) | different ones "
        "| CPU s: training | generation | screening and `graph` | GFN2-xTB of its picks |"
    )
    print("|" + " --- |" * 9)
    for method in POOLS:
        for samples in sorted({p["samples"] for p in pools if p["method"] == method}):
            mine = [p for p in pools if (p["method"], p["samples"]) == (method, samples)]
            picked = by_graph.get((method, samples), [])
            shares = [
                [round(100 * p[name] / p["n_generated"]) for p in mine]
                for name in ("n_plausible", "n_valid")
            ]
            selected = {r["seed"]: r["select_cpu_s"] for r in picked}
            spent = [
                [p["train_cpu_s"] for p in mine],
                [p["generate_cpu_s"] for p in mine],
                [p["screen_cpu_s"] + selected[p["seed"]] for p in mine if p["seed"] in selected],
                [r["relax_cpu_s"] for r in picked],
            ]
            cells = [
                pool_name(method, samples),
                f"{len(mine)}",
                *(_spread(share, 0) for share in shares),
                _spread([p["n_isomers"] for p in mine]),
                *(_seconds(one) for one in spent),
            ]
            print("| " + " | ".join(cells) + " |")


def _seconds(values: list[float | None]) -> str:
    """Return mean and range of processor times, nothing where they were not noted."""
    known = [round(value) for value in values if value is not None]
    return _spread(known, 0) if known else ""


def _show_without_energies(mine: dict[tuple[Any, ...], list[dict[str, Any]]], system: str) -> None:
    cuts, ends = CUTS[system], ENDS[system]
    print("\nisomers after so many relaxations, no energy used\n")
    heads = " | ".join([*(f"{k}" for k in cuts), *(f"for {n}" for n in ends)])
    print(f"| pool | strategy | seeds | {heads} | ionic steps |")
    print("|" + " --- |" * (len(cuts) + len(ends) + 4))
    for (method, samples, strategy), rows in mine.items():
        if rows[0]["n_cheap"]:
            continue
        cells = [
            _spread([r["curve"][k - 1] for r in rows])
            if all(len(r["curve"]) >= k for r in rows)
            else ""
            for k in cuts
        ]
        cells += [_needed(rows, n) for n in ends]
        print(
            f"| {pool_name(method, samples)} | {STRATEGIES.get(strategy, strategy)} | {len(rows)} "
            f"| {' | '.join(cells)} | {_steps(rows)} |"
        )


def _show_comparisons(result: dict[str, Any]) -> None:
    """Print what the isomers of C5H12O are compared with, as rows of the table above."""
    cuts, paper = CUTS["c5h12o"], result["paper"]
    drawn = [f"{14 * (1 - (13 / 14) ** k):.1f}" for k in cuts]
    drawn += [f"{result['coupon_collector'][n]}" for n in ENDS["c5h12o"]]
    print(f"| | uniform draws of isomers, expected | | {' | '.join(drawn)} | |")
    read_off = [f"{paper.get(k, '')}" for k in cuts]
    read_off += [str(min(k for k, n in paper.items() if n >= m)) for m in ENDS["c5h12o"]]
    print(f"| | the paper, read off afterwards | | {' | '.join(read_off)} | |")


def _show_cheap_first(mine: dict[tuple[Any, ...], list[dict[str, Any]]]) -> None:
    print("\nGFN2-xTB first\n")
    print(
        "| pool | strategy | seeds | cheap relaxations | their CPU s | costly relaxations "
        "| isomers |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (method, samples, strategy), rows in mine.items():
        print(
            f"| {pool_name(method, samples)} | {STRATEGIES.get(strategy, strategy)} | {len(rows)} "
            f"| {_spread([r['n_cheap'] + r['n_picks'] for r in rows], 0)} | "
            f"{_spread([round(r['cheap_cpu_s'] + r['relax_cpu_s']) for r in rows], 0)} | "
            f"{_spread([r['n_molecules'] for r in rows])} | "
            f"{_spread([r['n_found'] for r in rows])} |"
        )


def _show_gpaw(rows: list[dict[str, Any]]) -> None:
    print("\nGPAW, one structure of each isomer\n")
    print("| level | pool | seed | relaxations | isomers | ionic steps | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        # other pools that hold some of the same structures are not at their end
        if row["n_relaxed"] == row["n_planned"]:
            print(
                f"| {LEVELS[row['level']]} | {pool_name(row['method'], row['samples'])} | "
                f"{row['seed']} | {row['n_relaxed']} | {row['n_found']} | "
                f"{row['ionic_steps']:.0f} | {row['cpu_s'] / row['n_relaxed']:.0f} |"
            )


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
