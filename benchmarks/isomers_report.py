"""Tables and figure of the isomers that benchmarks/isomers.py found.

python benchmarks/isomers_report.py [--json]
python benchmarks/isomers_report.py --figure docs/images
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from isomers import RESULT_FILE, is_level, queue_of
from records import read
from selection import PAPER, coupons


def curve(plan: dict[str, Any], became: dict[str, Any]) -> list[int]:
    """Return how many isomers are found after each relaxation."""
    found: set[str] = set()
    counts = []
    for name in plan["structures"]:
        smiles = became[name]["smiles"]
        found |= {smiles} - {None}
        counts.append(len(found))
    return counts


def report(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return all figures of the tables."""
    became = {r["structure"]: r for r in records if is_level(r, "relaxed", "xtb")}
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
                "relaxations_for": {n: _first(counts, n) for n in (12, 14)},
                "n_true": sum(r["smiles"] is not None for r in mine),
                "ionic_steps": float(np.mean([r["n_steps"] for r in mine])),
                "relax_cpu_s": sum(r["cpu_s"] for r in mine),
                "select_cpu_s": plan["select_cpu_s"],
                "n_cheap": plan["n_cheap"],
                "cheap_cpu_s": plan["cheap_cpu_s"],
                "curve": counts,
            }
        )
    gpaw = []
    for level in ("lcao", "pw"):
        after = {r["structure"]: r for r in records if is_level(r, "relaxed", level)}
        for plan in (r for r in records if r["kind"] == "picks" and r["strategy"] == "graph"):
            if plan["system"] != "c5h12o" or plan["method"] != "descent":
                continue
            for start in ("raw", "xtb"):
                if start == "xtb" and not all(n in became for n in plan["structures"]):
                    continue
                labels = [n for _, n in queue_of(records, plan["seed"], plan["samples"], start)]
                there = [after[name] for name in labels if name in after]
                if there:
                    gpaw.append(
                        {
                            "level": level,
                            "start": start,
                            "seed": plan["seed"],
                            "samples": plan["samples"],
                            "n_planned": len(labels),
                            "n_relaxed": len(there),
                            "n_found": len({r["smiles"] for r in there} - {None}),
                            "ionic_steps": float(np.mean([r["n_steps"] for r in there])),
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


def _first(counts: list[int], n: int) -> int | None:
    return next((k + 1 for k, found in enumerate(counts) if found >= n), None)
