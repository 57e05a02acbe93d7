"""Does what a round finds help the next? A continuous C5H12O campaign with and without feed-back.

    python benchmarks/rounds.py run --out DIR       # 2 x 2 campaigns of 4 rounds, resumes
    python benchmarks/rounds.py report --out DIR --json

Both variants have the same budget: models, steps, picks per round. Both pass over molecules
that an earlier round found. Only with feed-back are models of later rounds trained on these as
well; without it, later rounds are more members of the same ensemble. Relaxations are GFN2-xTB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

SEEDS = (0, 1)
ROUNDS = 4
N_ISOMERS = 14

SPEC: dict[str, Any] = {
    "target": {"kind": "molecule", "formula": "C5H12O", "box": [8.0, 7.0, 6.0]},
    "training": {
        "source": {
            "type": "builtin",
            "name": "alcohols-and-ethers",
            "formulas": ["C4H10O", "C6H14O"],
        }
    },
    "known": [{"type": "builtin", "name": "alcohols-and-ethers", "formulas": ["C5H12O"]}],
    "models": {
        "count": 2,
        "hyperparameters": {"steps": 1500, "n_max": 3, "r_cut": 5.0, "n_neighbour": 12},
    },
    "generate": {"per_model": 1000},
    "select": {"strategy": "graph", "n_picks": 8},
    "relax": {
        "levels": [
            {
                "name": "xtb",
                "calculator": "gfn2-xtb",
                "optimizer": "FIRE",
                "fmax": 0.05,
                "max_steps": 500,
            }
        ]
    },
    "rounds": {"models": "fresh", "stop": {"rounds": ROUNDS, "barren_rounds": None}},
    # every campaign is to start from nothing
    "match": {"other_campaigns": False},
}


def name_of(seed: int, feed_back: bool) -> str:
    """Return the name of one campaign."""
    return f"seed{seed}-{'with' if feed_back else 'without'}"


def run(out: Path) -> None:
    """Run all campaigns, or go on with them."""
    out.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for feed_back in (True, False):
            name = name_of(seed, feed_back)
            rounds = {**SPEC["rounds"], "learn": {"feed_back": feed_back}}
            spec = {"name": name, "seed": seed, **SPEC, "rounds": rounds}
            (out / f"{name}.yaml").write_text(yaml.safe_dump(spec))
            command = ["run", str(out / f"{name}.yaml"), "--store", str(out / name)]
            command += ["--workers", "1", "--quiet"]
            subprocess.run([sys.executable, "-m", "logan_campaign", *command], check=True)


def report(out: Path) -> list[dict[str, Any]]:
    """Return, per campaign, what was found after each round."""
    from logan_campaign.stores.open import open_store
    from logan_campaign.stores.queries import CampaignDatabase

    rows = []
    for seed in SEEDS:
        for feed_back in (True, False):
            name = name_of(seed, feed_back)
            if not (out / name).exists():
                continue
            with open_store(out / name) as stores:
                record = CampaignDatabase(stores).campaign(name)
                known: set[str] = set()
                relaxed, cpu_s = 0, 0.0
                curve = []
                for past in record.rounds:
                    known |= {f.known_id for f in past.found if f.known_id is not None}
                    relaxed += past.n_last_level
                    cpu_s += past.cpu_s
                    curve.append(
                        {
                            "round": past.index,
                            "relaxations": relaxed,
                            "isomers": len(known),
                            "other_new": sum(f.state == "new" for f in past.found),
                            "n_unseen": past.n_unseen,
                            "cpu_min": round(cpu_s / 60, 1),
                        }
                    )
                rows.append({"seed": seed, "feed_back": feed_back, "rounds": curve})
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw isomers found against relaxations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        x = [0, *(r["relaxations"] for r in row["rounds"])]
        y = [0, *(r["isomers"] for r in row["rounds"])]
        label = f"seed {row['seed']}, {'with' if row['feed_back'] else 'without'} feed-back"
        style = "-" if row["feed_back"] else "--"
        axes.plot(x, y, style, marker="o", color=f"C{row['seed']}", label=label)
    axes.axhline(N_ISOMERS, color="grey", lw=0.8)
    axes.set(xlabel="GFN2-xTB relaxations", ylabel="isomers of C5H12O found", ylim=(0, 15))
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the campaigns")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.out)
        return
    rows = report(arguments.out)
    plot(rows, arguments.out / "rounds.png")
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"seed {row['seed']}, {'with' if row['feed_back'] else 'without'} feed-back")
        for r in row["rounds"]:
            print(
                f"  round {r['round']}: {r['isomers']:2} isomers after {r['relaxations']:3} "
                f"relaxations, {r['cpu_min']:5.1f} CPU min"
            )


if __name__ == "__main__":
    main()
