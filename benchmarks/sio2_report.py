"""Table and figures of ``sio2_targets.py``."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from records import read, save_figure
from sio2_targets import (
    COLOURS,
    METHODS,
    N_PICKS,
    NEAR,
    TARGETS,
    Row,
    first_alike,
    plans_of,
    progress_of,
)


def table(plan: Path, results: Path) -> dict[str, Any]:
    """Return the figures of targets and of all rows that are planned."""
    found = read(results)
    plans = plans_of(plan)
    rows = []
    for near in NEAR:
        for target in TARGETS:
            for method in METHODS:
                row = Row(target, method, near)
                if row in plans:
                    rows.append(_row(row, plans[row], progress_of(plans[row], found)))
    spent = sum(
        r["cpu_s"] + r.get("tight", {}).get("cpu_s", 0.0)
        for r in found
        if r["kind"] in ("relaxation", "target")
    )
    return {
        "targets": [r for r in found if r["kind"] == "target"],
        "rows": rows,
        "relaxation_cpu_h": round(spent / 3600, 2),
        "runs": [r for r in found if r["kind"] == "run"],
    }


def _row(row: Row, planned: dict[str, Any], done: list[dict[str, Any]]) -> dict[str, Any]:
    picks = min(N_PICKS, len(planned["ids"]))
    hit = next((k for k, r in enumerate(done, 1) if r["found"]), None)
    energies = [r.get("above_target_mev") for r in done]
    known = [e for e in energies if e is not None]
    return {
        **row._asdict(),
        "seed": planned["seed"],
        "n_near_left_out": planned["n_near_left_out"],
        "ids": planned["ids"],
        "picks": picks,
        "plan_cpu_s": planned["cpu_s"],
        "relaxed": len(done),
        "found_at": hit,
        "alike_at": first_alike(done),
        "outcome": _outcome(hit, len(done), picks),
        "states": dict(Counter(r["state"] for r in done)),
        "ionic_steps": [r["n_steps"] for r in done],
        "ionic_steps_median": statistics.median(r["n_steps"] for r in done) if done else None,
        "cpu_min": round(
            sum(r["cpu_s"] + r.get("tight", {}).get("cpu_s", 0.0) for r in done) / 60, 1
        ),
        "cpu_s_per_step": round(
            sum(r["cpu_s"] for r in done) / max(1, sum(r["n_steps"] + 1 for r in done)), 1
        ),
        "above_target_mev": energies,
        "lowest_mev": min(known, default=None),
        "default_matches": sum(r.get("match") in ("strict", "default") for r in done),
    }


def _outcome(hit: int | None, n: int, picks: int) -> str:
    """Return how a row stands; a row that is not at its end is censored there."""
    if hit is not None:
        return f"found, relaxation {hit}"
    if picks == 0:
        return "undefined"
    if n == 0:
        return "not begun"
    if n == N_PICKS:
        return f"none in {n}"
    return f"none in {n}, which are all" if n == picks else f"none in {n} so far"


def text(result: dict[str, Any]) -> str:
    """Return the table as Markdown: rows that have begun, equal starts once."""
    lines = [
        "| target | near matches in training | method | picks | outcome "
        "| whatever the space group | ionic steps, median | CPU min "
        "| lowest above the target, meV/atom |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    earlier: list[list[str]] = []
    for row in result["rows"]:
        if (row["picks"] and not row["relaxed"]) or (row["ids"] and row["ids"] in earlier):
            continue
        earlier.append(row["ids"])
        lowest = row["lowest_mev"]
        cells = [
            row["target"],
            f"left out ({row['n_near_left_out']})" if row["near"] == "without" else "left in",
            row["method"],
            str(row["picks"]),
            row["outcome"],
            "" if row["alike_at"] is None else f"relaxation {row['alike_at']}",
            "" if row["ionic_steps_median"] is None else f"{row['ionic_steps_median']:g}",
            f"{row['cpu_min']:g}" if row["relaxed"] else "",
            "" if lowest is None else f"{lowest:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        f"\n{t['target']}: {t['spacegroup']}, {t['energy_ev']:.6f} eV relaxed to 0.01 eV/Å "
        f"in {t['n_steps']} steps, {t['cpu_s'] / 60:.1f} CPU min"
        for t in result["targets"]
    ]
    lines.append(f"\nall relaxations: {result['relaxation_cpu_h']} CPU h")
    return "\n".join(lines)


def draw(plan: Path, results: Path, folder: Path) -> list[str]:
    """Draw energies of what was relaxed, and targets found against relaxations."""
    from matplotlib.figure import Figure

    rows = [row for row in table(plan, results)["rows"] if row["relaxed"]]
    # starts that near matches make no difference to are relaxed once, and drawn once
    seen: set[Any] = set()
    own = []
    for row in rows:
        figures = (row["target"], row["method"], *row["above_target_mev"])
        if figures not in seen:
            seen.add(figures)
            own.append(row)
    nears = [near for near in NEAR if any(r["near"] == near for r in own)]
    shown = [m for m in METHODS if any(r["method"] == m for r in rows)]
    everything = [e for row in rows for e in row["above_target_mev"] if e is not None]
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    for axes, target in zip(figure.subplots(1, 3, sharey=True), TARGETS, strict=True):
        for k, method in enumerate(shown):
            for near, shift, marker in (("without", -0.14, "o"), ("with", 0.14, "s")):
                mine = [
                    r
                    for r in own
                    if (r["target"], r["method"], r["near"]) == (target, method, near)
                ]
                energies = [e for r in mine for e in r["above_target_mev"] if e is not None]
                axes.scatter(
                    np.full(len(energies), k + shift),
                    energies,
                    marker=marker,
                    s=16,
                    facecolors=COLOURS[method] if near == "without" else "none",
                    edgecolors=COLOURS[method],
                    linewidths=0.8,
                    alpha=0.8,
                )
        axes.axhspan(-5, 5, color="0.85", zorder=0)
        axes.set_title(target, fontsize=10)
        axes.set_xticks(range(len(shown)), shown, rotation=30, ha="right")
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(min(-15.0, *everything), max(1000.0, *everything) * 1.3)
        axes.set_yticks([-10, 0, 10, 100, 1000], ["−10", "0", "10", "100", "1000"])
        axes.minorticks_off()
    figure.axes[0].set_ylabel("energy above the target (meV/atom)")
    said = "near matches left out" + ("; open: left in" if "with" in nears else "")
    figure.suptitle(f"Relaxed structures, filled: {said}; grey: ±5", fontsize=10)
    energies_path = folder / "benchmark-sio2-energies.png"
    save_figure(figure, energies_path)

    figure = Figure(figsize=(1.6 + 3.4 * len(nears), 3.4), layout="constrained")
    panels = figure.subplots(1, len(nears), sharey=True, squeeze=False)[0]
    for axes, near in zip(panels, nears, strict=True):
        for k, method in enumerate(shown):
            mine = [r for r in rows if (r["method"], r["near"]) == (method, near)]
            hits = sorted(r["found_at"] for r in mine if r["found_at"] is not None)
            reached = max((r["relaxed"] for r in mine), default=0)
            if not reached:
                continue
            x = [0, *hits, max(reached, *hits) if hits else reached]
            y = [0, *range(1, len(hits) + 1), len(hits)]
            # lines that would lie on one another are set apart a little
            axes.step(x, np.array(y) + 0.03 * k, where="post", c=COLOURS[method], label=method)
            axes.plot(x[-1], y[-1] + 0.03 * k, "|", c=COLOURS[method], ms=9)
        left = "left out" if near == "without" else "left in"
        axes.set_title(f"near matches {left}", fontsize=10)
        axes.set_xlabel("relaxations of each target")
        axes.set_xlim(0, N_PICKS)
        axes.set_ylim(-0.1, 3.3)
        axes.set_yticks(range(4))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("targets found")
    lines = {line.get_label(): line for axes in panels for line in axes.lines}
    lines = {method: lines[method] for method in shown if method in lines}
    figure.legend(lines.values(), lines.keys(), loc="outside right", fontsize=8)
    success_path = folder / "benchmark-sio2-success.png"
    save_figure(figure, success_path)
    return [energies_path.name, success_path.name]
