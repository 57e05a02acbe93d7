"""How few relaxations find all isomers: selection strategies on ensembles of C5H12O models.

    python benchmarks/selection.py pools --out DIR     # trains 3 x 12 models, over an hour
    python benchmarks/selection.py compare --out DIR --json
    python benchmarks/selection.py speed --out DIR     # graphs of all structures of an ensemble
    python benchmarks/selection.py map --out DIR       # the PCA map, as a picture

The number of picks K is fixed beforehand. What a pick is, is judged by relaxing it with
GFN2-xTB; every relaxation is done once and kept in DIR, as are models and pools. Ensembles
that are not complete are left out; the output says which were used.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from records import append, read, save_figure
from selection_pools import BOX, NUMBERS, PUBLISHED, Ensemble, load, make

from logan_campaign.core.processors import pin_to_cores

#: Numbers of picks, fixed beforehand.
PICKS = (15, 20, 38, 50)

#: The 14 isomers, and what others need for them.
N_ISOMERS = 14
PAPER = {15: 12, 38: 14}


@dataclass
class Truth:
    """What structures relax to, each computed once and kept in a file."""

    path: Path
    numbers: tuple[int, ...] = NUMBERS
    cpu_s: float = 0.0

    def __post_init__(self) -> None:
        self.known: dict[str, Any] = {record["id"]: record for record in read(self.path)}

    def of(self, positions: np.ndarray) -> dict[str, Any]:
        """Return ``smiles`` (None where it is no isomer) and ``cpu_s`` of one structure."""
        from logan_campaign.geometry.molecules import perceive
        from logan_campaign.geometry.structures import from_arrays, structure_id
        from logan_campaign.relaxation.levels import XTBLevel
        from logan_campaign.relaxation.run import relax

        structure = from_arrays(np.array(self.numbers), positions, None)
        name = structure_id(structure)
        if name not in self.known:
            begun = time.process_time()
            outcome = relax(structure, XTBLevel(name="truth", fmax=0.1, optimizer="LBFGS"))
            smiles = perceive(outcome.structure).smiles if outcome.state == "converged" else None
            record = {
                "id": name,
                "smiles": smiles,
                "state": outcome.state,
                "cpu_s": time.process_time() - begun,
            }
            append(self.path, record)
            self.known[name] = record
        found = self.known[name]
        self.cpu_s += found["cpu_s"]
        return found


def pool_of(ensemble: Ensemble) -> Any:
    """Return what selection sees of an ensemble: what the default screening lets pass."""
    from logan_campaign.generators.wgan import LoganModel
    from logan_campaign.selection import Pool
    from logan_campaign.selection.screening import ScreeningSpec, screen_pool

    numbers = np.array(NUMBERS)
    reasons = screen_pool(ensemble.positions, None, numbers, False, ScreeningSpec())
    keep = reasons == ""
    return Pool(
        numbers=numbers,
        positions=ensemble.positions[keep],
        cells=np.tile(np.array(BOX), (int(keep.sum()), 1, 1)),
        periodic=False,
        group=ensemble.member[keep],
        models=[LoganModel.load(path) for path in ensemble.models],
    )


def strategies(k: int, members: int) -> dict[str, tuple[str, Any]]:
    """Return name: (table, strategy) for K picks."""
    from logan_campaign.relaxation.levels import XTBLevel
    from logan_campaign.selection import (
        CriticSelection,
        DiverseSelection,
        GraphSelection,
        KMeansSelection,
        PreRelaxation,
    )

    per_model = max(1, k // members)
    pre = XTBLevel(name="pre", optimizer="FIRE", fmax=0.1, max_steps=200)
    wide = {"n_components": 10, "standardise": True}
    raw, cheap = "no energy", "cheap levels first"
    return {
        "kmeans (paper)": (raw, KMeansSelection(n_picks=k)),
        "kmeans, 10 components, standardised": (raw, KMeansSelection(n_picks=k, **wide)),
        "kmeans per model": (
            raw,
            KMeansSelection(n_picks=per_model, scope="per_model"),
        ),
        "diverse": (raw, DiverseSelection(n_picks=k, **wide)),
        "critic": (raw, CriticSelection(n_picks=k)),
        "critic > kmeans": (
            raw,
            [CriticSelection(n_picks=4000), KMeansSelection(n_picks=k, **wide)],
        ),
        "graph": (raw, GraphSelection(n_picks=k, **wide)),
        "graph, GFN2-xTB of 50": (
            cheap,
            GraphSelection(n_picks=k, pre_relax=PreRelaxation(n=50, level=pre), **wide),
        ),
        "graph, GFN2-xTB of 200": (
            cheap,
            GraphSelection(n_picks=k, pre_relax=PreRelaxation(n=200, level=pre), **wide),
        ),
    }


def random_placement(
    seed: int,
    n: int,
    numbers: tuple[int, ...] = NUMBERS,
    box: tuple[tuple[float, ...], ...] = BOX,
) -> np.ndarray:
    """Return (n, n_atoms, 3) Å: atoms at random in the box, none nearer than 0.6 bond lengths."""
    from ase.data import covalent_radii

    rng = np.random.default_rng(seed)
    radii = covalent_radii[np.array(numbers)]
    edges = np.diag(np.array(box))
    found = np.empty((n, len(numbers), 3))
    for k in range(n):
        placed = 0
        while placed < len(numbers):
            trial = rng.uniform(0, 1, 3) * edges
            distance = np.linalg.norm(found[k, :placed] - trial, axis=1)
            if np.all(distance > 0.6 * (radii[:placed] + radii[placed])):
                found[k, placed] = trial
                placed += 1
    return found


def compare(folder: Path, seeds: list[int], members: int, report: Callable[[str], None]) -> Any:
    """Return the figures of all strategies on all complete ensembles."""
    from logan_campaign.descriptors.cache import enable_compilation_cache
    from logan_campaign.geometry.molecular_graphs import pool_graphs
    from logan_campaign.selection import Selection, select

    enable_compilation_cache()
    truth = Truth(folder / "relaxed.jsonl")
    rows: list[dict[str, Any]] = []
    pools: list[dict[str, Any]] = []
    for seed in seeds:
        ensemble = load(folder, seed, members)
        if ensemble is None:
            report(f"seed {seed}: not complete, left out")
            continue
        whole = pool_of(ensemble)
        graphs = pool_graphs(whole.numbers, whole.positions)
        pools.append(
            {
                "seed": seed,
                "n_generated": len(ensemble.positions),
                "n_plausible": len(whole),
                "n_valid_graph": int((graphs.smiles != "").sum()),
                "n_isomers_in_raw_graphs": len(set(graphs.smiles) - {""}),
                "n_isomers_per_member": [
                    len(set(graphs.smiles[whole.group == m]) - {""}) for m in range(members)
                ],
            }
        )
        exhausted: dict[str, tuple[Selection, float]] = {}
        # graphs first: the others take most of the relaxations
        for name in reversed(strategies(PICKS[0], members)):
            for k in PICKS:
                table, spec = strategies(k, members)[name]
                if name not in exhausted:
                    begun = time.process_time()
                    chosen = select(whole, spec, seed)
                    spent = time.process_time() - begun
                    if table == "cheap levels first" and len(chosen.indices) < k:
                        # fewer than K: a larger K gives the same
                        exhausted[name] = chosen, spent
                else:
                    chosen, spent = exhausted[name]
                found = []
                for row in chosen.indices.tolist():
                    start = chosen.starts.get(row)
                    positions = whole.positions[row] if start is None else start.positions
                    found.append(truth.of(positions))
                rows.append(
                    {
                        "table": table,
                        "strategy": name,
                        "k": k,
                        "seed": seed,
                        "n_picks": len(found),
                        **_score([record["smiles"] for record in found]),
                        "n_cheap": sum(done.n for done in chosen.cheap),
                        "cheap_cpu_s": sum(done.cpu_s for done in chosen.cheap),
                        "select_cpu_s": spent - sum(done.cpu_s for done in chosen.cheap),
                        "relax_cpu_s": sum(record["cpu_s"] for record in found),
                    }
                )
                report(f"seed {seed}, K {k}, {name}: {rows[-1]['n_isomers']} isomers")
        placed = [truth.of(positions) for positions in random_placement(seed, max(PICKS))]
        rows += [
            {
                "table": "cheap levels first",
                "strategy": "random placement, GFN2-xTB of K",
                "k": k,
                "seed": seed,
                "n_picks": k,
                **_score([record["smiles"] for record in placed[:k]]),
                "n_cheap": k,
                "cheap_cpu_s": sum(record["cpu_s"] for record in placed[:k]),
                "select_cpu_s": 0.0,
                "relax_cpu_s": 0.0,
            }
            for k in PICKS
        ]
    return {
        "picks": PICKS,
        "seeds": [pool["seed"] for pool in pools],
        "members": members,
        "pools": pools,
        "rows": rows,
        "floor": N_ISOMERS,
        "coupon_collector": {n: coupons(n) for n in (12, 14)},
        "uniform_draws": {k: N_ISOMERS * (1 - (1 - 1 / N_ISOMERS) ** k) for k in PICKS},
        "paper": PAPER,
        "truth_cpu_s": truth.cpu_s,
    }


def _score(smiles: list[str | None]) -> dict[str, Any]:
    isomers = sorted({text for text in smiles if text is not None})
    return {
        "n_isomers": len(isomers),
        "n_relaxed_to_an_isomer": sum(text is not None for text in smiles),
        "isomers": isomers,
    }


def coupons(n: int) -> float:
    """Return how many uniform draws of 14 isomers show ``n`` of them, on average."""
    return sum(N_ISOMERS / (N_ISOMERS - seen) for seen in range(n))


def show(result: Any) -> None:
    """Print the tables."""
    for pool in result["pools"]:
        print(
            f"seed {pool['seed']}: {pool['n_generated']} generated, {pool['n_plausible']} "
            f"plausible, {pool['n_valid_graph']} with a valid graph, of "
            f"{pool['n_isomers_in_raw_graphs']} isomers"
        )
    for table in ("no energy", "cheap levels first"):
        print(f"\nIsomers found of {N_ISOMERS}, {table}: mean (lowest-highest) over seeds")
        heads = "".join(f"{f'K={k}':>14}" for k in result["picks"])
        print(f"{'':36}{heads}   cheap relaxations")
        rows = [row for row in result["rows"] if row["table"] == table]
        for name in reversed(dict.fromkeys(row["strategy"] for row in rows)):
            cells = []
            mine = [row for row in rows if row["strategy"] == name]
            for k in result["picks"]:
                found = [row["n_isomers"] for row in mine if row["k"] == k]
                cells.append(f"{np.mean(found):.1f} ({min(found)}-{max(found)})")
            last = [row for row in mine if row["k"] == result["picks"][-1]]
            cheap = (
                f"   {np.mean([r['n_cheap'] for r in last]):.0f}, "
                f"{np.mean([r['cheap_cpu_s'] for r in last]):.0f} s"
                if last[0]["n_cheap"]
                else ""
            )
            print(f"{name:36}" + "".join(f"{cell:>14}" for cell in cells) + cheap)
    uniform = "".join(f"{result['uniform_draws'][k]:>14.1f}" for k in result["picks"])
    print(f"\n{'uniform draws of valid isomers':36}{uniform}")
    paper = "".join(f"{result['paper'].get(k, '-'):>14}" for k in result["picks"])
    print(f"{'paper (read off afterwards)':36}{paper}")
    print(
        f"floor: {N_ISOMERS} picks for 14; coupon collector: "
        + ", ".join(f"{draws:.1f} for {n}" for n, draws in result["coupon_collector"].items())
    )


def speed(folder: Path, seeds: list[int], members: int) -> Any:
    """Return the time that the graphs of all structures take."""
    from logan_campaign.geometry.molecular_graphs import pool_graphs

    positions = []
    for seed in seeds:
        for index in range(members):
            path = folder / f"seed{seed}-member{index:02d}.npz"
            if path.exists():
                with np.load(path, allow_pickle=False) as archive:
                    positions.append(archive["positions"])
    together = np.concatenate(positions)
    whole = np.concatenate([together] * (24_000 // len(together) + 1))[:24_000]
    begun, cpu = time.perf_counter(), time.process_time()
    graphs = pool_graphs(np.array(NUMBERS), whole)
    return {
        "n": len(whole),
        "n_different": min(len(together), len(whole)),
        "graphs_s": time.perf_counter() - begun,
        "graphs_cpu_s": time.process_time() - cpu,
        "n_valid": int((graphs.smiles != "").sum()),
    }


def draw(folder: Path, seed: int, members: int) -> Path:
    """Draw the map of 20 k-means clusters of one ensemble, with the known isomers."""
    from matplotlib.figure import Figure

    from logan_campaign.selection import KMeansSelection, chart, select
    from logan_campaign.sources import BuiltinSource

    ensemble = load(folder, seed, members)
    if ensemble is None:
        raise SystemExit(f"the ensemble of seed {seed} is not complete")
    pool = pool_of(ensemble)
    spec = KMeansSelection(n_picks=20)
    chosen = select(pool, spec, seed)
    known = BuiltinSource(type="builtin", name="alcohols-and-ethers", formulas=["C5H12O"]).load()
    drawn = chart(pool, chosen, [spec], [entry.structure for entry in known.entries])
    truth = Truth(folder / "relaxed.jsonl")
    found = [r for r in chosen.indices.tolist() if truth.of(pool.positions[r])["smiles"]]
    places, picks = drawn.places[:, :2], drawn.places[chosen.indices]
    figure = Figure(figsize=(7.0, 5.6), layout="constrained")
    axes = figure.add_subplot(xlabel="first component", ylabel="second component")
    axes.scatter(*places.T, c=chosen.labels, cmap="tab20", s=2, alpha=0.5, rasterized=True)
    axes.scatter(*picks[:, :2].T, c="black", s=16, label="picked")
    rings = {"facecolors": "none", "edgecolors": "black", "s": 70}
    axes.scatter(*places[found].T, **rings, label="a molecule after relaxation")
    axes.scatter(*drawn.known[:, :2].T, c="red", marker="x", s=45, label="known")
    for limits, values in zip((axes.set_xlim, axes.set_ylim), places.T, strict=True):
        limits(*np.nanquantile(values, [0.001, 0.999]))  # a few broken ones lie far out
    axes.legend(frameon=False)
    axes.set_title(f"C5H12O: {len(pool)} structures of {members} models, 20 clusters")
    path = folder / f"map-seed{seed}.png"
    save_figure(figure, path, dpi=120)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pools", "compare", "speed", "map"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pin_to_cores([options.core])
    if options.what == "pools":
        source = PUBLISHED if PUBLISHED.exists() else None
        make(options.out, options.seeds, options.members, options.steps, options.samples, source)
    elif options.what == "map":
        print(draw(options.out, options.seeds[0], options.members))
    elif options.what == "speed":
        result = speed(options.out, options.seeds, options.members)
        print(json.dumps(result, indent=1))
    else:
        result = compare(
            options.out,
            options.seeds,
            options.members,
            lambda text: None if options.json else print(text, flush=True),
        )
        if not result["pools"]:
            raise SystemExit("no complete ensemble: run 'pools' first")
        if options.json:
            print(json.dumps(result, indent=1))
        else:
            show(result)


if __name__ == "__main__":
    main()
