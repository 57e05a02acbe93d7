"""Match rate, as the crystal-prediction literature counts it: leave one out, cell given.

    python benchmarks/match_rate.py run --core 1                 # resumes
    python benchmarks/match_rate.py report --json
    python benchmarks/match_rate.py figure --to docs/images/benchmark-match-rate.png

Every crystal of `--training` with at most 18 atoms but the five that settings were chosen on
(samplers.py) is left out in turn, 24 in all: no choice is made. What equals it at the loose
tolerances of StructureMatcher (0.3/0.5/10) is left out too. From the rest, and from the atoms and
the cell of the crystal, come 150 raw samples of each method; selection by framework, whose
coordination is learned from the rest, orders 20 of them before any is compared; nothing is relaxed.
Where networks and clusters of the rest are fewer than 20, the list ends, or goes on with further
representatives of the same networks ("extended"), which is reported apart.
Templates stand in their own order, that of the lattice's strain, and are undefined where there
is none. Random placement gives 20, as they come: there is nothing to select them by, and in
dense cells one takes thousands of beginnings.

The crystal is matched at k if any of the first k picks equals it, the rms is that of the
nearest one of them, over (volume per atom)^(1/3), and its mean is taken over the crystals that are
matched.

    descent            structures by descent at its defaults
    wgan               the paper's method, smaller, as in samplers.py; 12 atoms at most
    random placement   at random, minimum distances of the rest
    PyXtal             symmetric random crystals in the cell
    templates          the rest's crystals mapped into the cell, rattled

"descent, symmetrized" and "PyXtal, symmetrized" are the same samples, selected with
``symmetrize`` at the tolerance that ``symmetrize.py`` chose on the five crystals.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import records
import silica
from ase import Atoms
from samplers import _CRYSTAL_WGAN, CRYSTALS

from logan_campaign.geometry.structures import from_atoms, to_atoms
from logan_campaign.matching import CrystalMatcher

METHODS = (
    "descent",
    "descent, symmetrized",
    "random placement",
    "PyXtal",
    "PyXtal, symmetrized",
    "templates",
    "wgan",
)
SYMMETRIZE = 0.4
N_SAMPLES, N_PICKS, MOST_ATOMS, MOST_ATOMS_WGAN, WGAN_STEPS = 150, 20, 18, 12, 1500
AT = (1, 5, 20)

#: Those of the 24 that equal one of the five, at loose tolerances: reported without them too.
LIKE_THE_FIVE = (1, 2, 70, 90, 94, 100, 149)

_KEY = ("method", "crystal", "seed")


class Case:
    """One crystal that is left out.

    Args:
        crystals: all of the set.
        place: which of them.
        matchers: by tolerance.
    """

    def __init__(
        self, crystals: list[Any], place: int, matchers: dict[str, CrystalMatcher]
    ) -> None:
        others = [e for k, e in enumerate(crystals) if k != place]
        like = silica.near(others, [crystals[place]], matchers["loose"])
        self.n_near = int(like.sum())
        self.rest = [
            to_atoms(e.structure) for e, is_near in zip(others, like, strict=True) if not is_near
        ]
        atoms = to_atoms(crystals[place].structure)
        self.sought = crystals[place].structure
        self.matchers = matchers
        self.numbers = np.sort(atoms.numbers)
        self.cell = np.array(atoms.cell.array)

    @cached_property
    def closest(self) -> list[Atoms]:
        """The crystals of the rest that hold its smallest distances."""
        return silica.closest(self.rest)

    def rms(self, tolerance: str, positions: np.ndarray) -> float | None:
        """Return how far a structure is from the crystal that was left out, if it equals it."""
        atoms = Atoms(self.numbers, positions, cell=self.cell, pbc=True)
        found = self.matchers[tolerance].distance(from_atoms(atoms), self.sought)
        return None if found is None else round(found.rms, 4)


def samples(case: Case, method: str, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return (n, n_atoms, 3) Å in the order in which they were made, and their cost."""
    import crystal_systems

    began = time.process_time()
    if method in ("random placement", "PyXtal", "templates"):
        make = {
            "random placement": crystal_systems.random_placement,
            "PyXtal": crystal_systems.symmetric_random,
            "templates": crystal_systems.templates,
        }[method]
        is_copied = method == "templates"
        training = case.rest if is_copied else case.closest
        n = N_SAMPLES if method == "PyXtal" else N_PICKS
        row: dict[str, Any] = {}
        try:
            made = make(case.numbers, case.cell, training, n, seed)
        except ValueError as err:
            # no room for the atoms at these distances: no samples, and so no match
            made, row = np.empty((0, len(case.numbers), 3)), {"failed": str(err)}
        return made, row | {"make_cpu_s": round(time.process_time() - began, 1)}
    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target

    said: dict[str, Any] = {"method": method}
    if method == "wgan":
        said |= {**_CRYSTAL_WGAN, "steps": WGAN_STEPS}
    target = Target(tuple(case.numbers.tolist()), tuple(map(tuple, case.cell.tolist())), True)
    result = models.settings_from(said).train(case.rest, target, seed=seed, training_set_id="sio2")
    if result.model is None:
        raise SystemExit(f"{method}: {result.reason}")
    made = result.model.generate(N_SAMPLES, seed=seed).positions.astype(float)
    return made, {"make_cpu_s": round(time.process_time() - began, 1)}


def picks_of(
    case: Case, made: np.ndarray, seed: int, **settings: Any
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return up to 20 of the samples, in the order of selection by framework.

    Args:
        case: what was left out.
        made: (n, n_atoms, 3) samples (Å).
        seed: of the selection.
        settings: of the selection, where they differ from its defaults.

    Returns:
        Positions (k, n_atoms, 3) Å as they go on; whose sample each is; and how many of them
        are picks of the strategy, the others being more of the same networks.
    """
    import crystal_pools

    from logan_campaign.selection import Pool
    from logan_campaign.selection.screening import ScreeningSpec, screen_pool

    cells = np.repeat(case.cell[None], len(made), axis=0)
    good = np.flatnonzero(
        screen_pool(made, cells, case.numbers, True, ScreeningSpec()) == ""
    )  # fmt: skip
    if not len(good):
        return made[:0], good, 0
    pool = Pool(
        numbers=case.numbers,
        positions=made[good],
        cells=cells[good],
        periodic=True,
        group=np.zeros(len(good), dtype=int),
        training=[from_atoms(atoms) for atoms in case.rest],
    )
    positions, rows, first = crystal_pools.picked(pool, N_PICKS, seed, True, **settings)
    return positions, good[rows], len(first.indices)


def figures(case: Case, method: str, seed: int) -> dict[str, Any]:
    """Return what one method makes of one crystal."""
    source, symmetrized, _ = method.partition(", symmetrized")
    settings = {"symmetrize": SYMMETRIZE} if symmetrized else {}
    made, row = samples(case, source, seed)
    began = time.process_time()
    picked, picks, n_first = made, np.arange(len(made)), len(made)
    if len(made) > N_PICKS:
        picked, picks, n_first = picks_of(case, made, seed, **settings)
    row["select_cpu_s"] = round(time.process_time() - began, 1)
    began = time.process_time()
    cells = np.repeat(case.cell[None], len(made), axis=0)
    right = silica.is_right(case.numbers, made, cells) if len(made) else np.zeros(0, dtype=bool)
    nets = silica.networks(case.numbers, made[right], cells[right]) if right.any() else []
    row |= {
        "n_samples": len(made),
        "n_right": int(right.sum()),
        "n_networks": len(set(nets)),
        "n_first": n_first,
        "right_picks": right[picks].tolist(),
    }
    for tolerance in case.matchers:
        rms = [case.rms(tolerance, positions) for positions in made]
        row[f"n_{tolerance}"] = sum(found is not None for found in rms)
        row[tolerance] = [case.rms(tolerance, positions) for positions in picked]
    return row | {"match_cpu_s": round(time.process_time() - began, 1)}


def run(args: argparse.Namespace) -> None:
    """Add the records that are not there yet."""
    from logan_campaign.descriptors.cache import enable_compilation_cache

    enable_compilation_cache()
    done = {tuple(r[name] for name in _KEY) for r in records.read(args.out)}
    crystals = silica.training_set(args.training)
    default = CrystalMatcher()
    matchers = {"loose": CrystalMatcher("loose", default), "default": default}
    chosen = [
        k
        for k, e in enumerate(crystals)
        if len(e.structure) <= MOST_ATOMS and k not in CRYSTALS
    ]  # fmt: skip
    cases: dict[int, Case] = {}
    for seed, method, place in itertools.product(args.seeds, args.methods, chosen):
        n_atoms = len(crystals[place].structure)
        if (method, place, seed) in done or (method == "wgan" and n_atoms > MOST_ATOMS_WGAN):
            continue
        if place not in cases:
            cases[place] = Case(crystals, place, matchers)
        row = {
            "method": method,
            "crystal": place,
            "seed": seed,
            "n_atoms": n_atoms,
            "n_near_left_out": cases[place].n_near,
            **figures(cases[place], method, seed),
            "environment": records.environment(),
        }
        records.append(args.out, row)
        shown = {k: v for k, v in row.items() if k != "environment"}
        print(json.dumps(shown), flush=True)


def results(path: Path) -> list[dict[str, Any]]:
    """Return the records, of each piece of work the last."""
    return list({tuple(r[name] for name in _KEY): r for r in records.read(path)}.values())


def best_of(row: dict[str, Any], tolerance: str, k: int, extended: bool) -> float | None:
    """Return the least rms among the first k picks, None where none matches."""
    last = k if extended else min(k, row.get("n_first", k))
    found = [rms for rms in row[tolerance][:last] if rms is not None]
    return min(found) if found else None


def score(rows: list[dict[str, Any]], tolerance: str, extended: bool) -> dict[str, Any]:
    """Return match rates (%) and mean rms at 1, 5 and 20 picks over crystals and seeds."""
    result: dict[str, Any] = {}
    for k in AT:
        best = [best_of(row, tolerance, k, extended) for row in rows]
        matched = [rms for rms in best if rms is not None]
        by_seed: Counter[int] = Counter()
        for row, rms in zip(rows, best, strict=True):
            by_seed[row["seed"]] += rms is not None
        n_seed = Counter(row["seed"] for row in rows)
        result[f"at_{k}"] = {
            "rate": round(100 * len(matched) / len(rows), 1),
            "each_seed": [f"{by_seed[s]}/{n_seed[s]}" for s in sorted(n_seed)],
            "rms": round(float(np.mean(matched)), 3) if matched else None,
        }
    return result


def report(path: Path) -> list[dict[str, Any]]:
    """Return one row for each method and set of crystals."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for r in results(path):
        groups[r["method"]].append(r)
    table = []
    for method in METHODS:
        rows = groups.get(method, [])
        unlike = [r for r in rows if r["crystal"] not in LIKE_THE_FIVE]
        parts = {"all": rows, "unlike the five": unlike}
        if method == "templates":
            parts["defined"] = [r for r in rows if r["n_samples"]]
        for n_atoms in sorted({r["n_atoms"] for r in rows}):
            parts[f"{n_atoms} atoms"] = [r for r in rows if r["n_atoms"] == n_atoms]
        for part, found in parts.items():
            if not found:
                continue
            n = sum(r["n_samples"] for r in found)
            table.append(
                {
                    "method": method,
                    "crystals": part,
                    "n_crystals": len({r["crystal"] for r in found}),
                    "seeds": sorted({r["seed"] for r in found}),
                    "loose": score(found, "loose", False),
                    "default": score(found, "default", False),
                    "loose_extended": score(found, "loose", True),
                    "default_extended": score(found, "default", True),
                    "right_percent": round(100 * sum(r["n_right"] for r in found) / n, 1)
                    if n
                    else None,
                    "loose_raw_percent": round(100 * sum(r["n_loose"] for r in found) / n, 1)
                    if n
                    else None,
                    "default_raw_percent": round(100 * sum(r["n_default"] for r in found) / n, 1)
                    if n
                    else None,
                    "picks": round(
                        float(np.mean([r.get("n_first", len(r["loose"])) for r in found])), 1
                    ),
                    "cpu_s": round(
                        float(np.mean([r["make_cpu_s"] + r["select_cpu_s"] for r in found])), 1
                    ),
                }
            )
    return table


def show(table: list[dict[str, Any]]) -> str:
    """Return two tables in Markdown: match rates, and what the raw samples are."""
    rates = ["", "| method | crystals | at 1 | at 5 | at 20 | default, at 1 | at 5 | at 20 |"]
    raw = ["", "| method | atoms | crystals | right (%) | equal, loose (%) | default (%) | CPU s |"]
    rates.append("| --- |" + " --- |" * 7)
    raw.append("| --- |" + " --- |" * 6)
    for row in table:
        seeds = len(row["seeds"])
        count = f"{row['n_crystals']}" + (f", {seeds} seeds" if seeds > 1 else "")
        if not row["crystals"].endswith("atoms"):
            part = "" if row["crystals"] == "all" else f" ({row['crystals']})"
            for more in ("", "_extended"):
                is_selected = row["method"] not in ("templates", "random placement")
                if more and (row["picks"] >= N_PICKS or not is_selected):
                    continue
                cells = [
                    "none" if found["rms"] is None else f"{found['rate']:.0f} %, {found['rms']:.3f}"
                    for tolerance in ("loose", "default")
                    for found in row[tolerance + more].values()
                ]
                name = row["method"] + part + (", extended" if more else "")
                rates.append(f"| {name} | {count} | " + " | ".join(cells) + " |")
        # what is symmetrized comes from the same samples
        elif row["right_percent"] is not None and "symmetrized" not in row["method"]:
            n_atoms = row["crystals"].split()[0]
            raw.append(
                f"| {row['method']} | {n_atoms} | {count} | {row['right_percent']} "
                f"| {row['loose_raw_percent']} | {row['default_raw_percent']} | {row['cpu_s']} |"
            )
    return "\n".join([*rates, *raw])


def figure(path: Path, to: Path) -> None:
    """Draw match rates against the number of picks, at both tolerances."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for r in results(path):
        groups[r["method"]].append(r)
    drawing, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, constrained_layout=True)
    ks = range(1, N_PICKS + 1)
    for axis, tolerance in zip(axes, ("loose", "default"), strict=True):
        for method in METHODS:
            if not (rows := groups.get(method, [])):
                continue
            rates = [
                100 * np.mean([best_of(r, tolerance, k, True) is not None for r in rows])
                for k in ks
            ]
            few = len({r["crystal"] for r in rows})
            axis.step(ks, rates, where="post", label=f"{method} ({few} crystals)")
        axis.set_xlabel("picks")
        axis.set_xticks((1, 5, 10, 15, 20))
        axis.set_title(f"{tolerance} tolerances", fontsize=10)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(0, 103)
    axes[0].set_ylabel("crystals matched (%)")
    axes[1].legend(fontsize=7, loc="center right")
    records.save_figure(drawing, to)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("run", "report", "figure"))
    parser.add_argument("--out", type=Path, default=records.RESULTS / "match-rate.jsonl")
    parser.add_argument(
        "--training",
        type=Path,
        default=silica.DATA / "mp-546794_training.extxyz",
        help="file with the SiO2 crystals",
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS[:6]))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    records.common_options(parser)
    args = parser.parse_args()
    records.run_report_figure(parser, args, run, report, show, figure)


if __name__ == "__main__":
    main()
