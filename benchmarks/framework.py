"""How many networks the picks of a crystal ensemble hold, and whether the target is among them.

    python benchmarks/framework.py --target mp-554151 --json

Trains an ensemble on a target's published training set (`--data`) with the paper's four sets of
hyperparameters, fewer steps, in the target's cell; picks K structures by each strategy; and counts
what they hold as generated, before any relaxation: distinct networks (coordination sequences of
all atoms), groups that StructureMatcher forms at default tolerances, and those that match the
target. Training sets can hold near matches of their target: ``training_like_target`` says how
many, and ``--leave-out`` trains without them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from crystal_pools import WGAN, WGAN_PER_MEMBER

from logan_campaign.campaign.spec import ModelsSpec
from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.flows.rounds import member_seed
from logan_campaign.generators import wgan
from logan_campaign.generators.target import Target
from logan_campaign.geometry.coordination import topology
from logan_campaign.geometry.neighbours import BOND_FACTOR, find_bonds
from logan_campaign.geometry.structures import from_atoms
from logan_campaign.matching import CrystalMatcher
from logan_campaign.selection import (
    DiverseSelection,
    FrameworkSelection,
    KMeansSelection,
    Pool,
    SelectionBase,
    select,
)
from logan_campaign.selection.screening import ScreeningSpec, screen_pool

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "sio2"


def pool_of(options: argparse.Namespace) -> tuple[Pool, Any, dict[str, Any]]:
    """Train and generate, as far as that has not been done; return what passes the screening."""
    target = read(options.data / f"{options.target}_target.extxyz")
    training = read(options.data / f"{options.target}_training.extxyz", ":")
    same = CrystalMatcher().same
    n_like = sum(same(from_atoms(target), from_atoms(atoms)) for atoms in training)
    if options.leave_out:
        n_like = 0
        training = [a for a in training if not same(from_atoms(target), from_atoms(a))]
    cell = tuple(tuple(map(float, row)) for row in target.cell.array)
    numbers = np.sort(target.numbers)
    said = {**WGAN, "hyperparameters": {**WGAN["hyperparameters"], "steps": options.steps}}
    settings = ModelsSpec.model_validate(said).members()
    enable_compilation_cache()
    options.work.mkdir(parents=True, exist_ok=True)
    positions, member, cpu = [], [], 0.0
    for index, hyperparameters in enumerate(settings):
        without = "-without" if options.leave_out else ""
        path = options.work / f"{options.target}-{options.steps}{without}-{index}.npz"
        if not path.exists():
            begun, seed = time.process_time(), member_seed(options.seed, index)
            trained = wgan.train(
                training,
                Target(tuple(numbers.tolist()), cell, True),
                hyperparameters,
                seed=seed,
                training_set_id="set-benchmark",
            )
            if trained.model is None:
                raise SystemExit(f"member {index}: {trained.reason}")
            made = wgan.generate(trained.model, options.per_model, seed=seed).positions
            np.savez_compressed(path, positions=made, cpu_s=time.process_time() - begun)
            print(f"member {index}: {time.process_time() - begun:.0f} s", flush=True)
        with np.load(path, allow_pickle=False) as kept:
            positions.append(kept["positions"])
            cpu += float(kept["cpu_s"])
        member += [index] * len(positions[-1])
    found = np.concatenate(positions)
    cells = np.repeat(np.array(cell)[None], len(found), axis=0)
    good = screen_pool(found, cells, numbers, True, ScreeningSpec()) == ""
    pool = Pool(
        numbers=numbers,
        positions=found[good],
        cells=cells[good],
        periodic=True,
        group=np.array(member)[good],
        training=[from_atoms(atoms) for atoms in training],
    )
    row = {
        "target": options.target,
        "steps": options.steps,
        "cpu_training_s": cpu,
        "generated": len(found),
        "plausible": len(pool),
        "training": len(training),
        "training_like_target": n_like,
    }
    return pool, from_atoms(target), row


def held(pool: Pool, rows: np.ndarray, target: Any) -> dict[str, int]:
    """Return what structures of a pool hold, as generated."""
    matcher = CrystalMatcher()
    structures = [from_atoms(pool.atoms(int(row))) for row in rows]
    networks = {
        topology(pool.numbers, find_bonds(pool.numbers, positions[None], cell[None], BOND_FACTOR))
        for positions, cell in zip(pool.positions[rows], pool.cells[rows], strict=True)
    }
    return {
        "picks": len(rows),
        "networks": len(networks),
        "groups": len(matcher.group(structures)),
        "like_target": sum(matcher.same(target, structure) for structure in structures),
    }


def main() -> None:
    """Train, select and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--target", default="mp-554151")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of targets and sets")
    parser.add_argument("--work", type=Path, default=Path("framework.work"))
    parser.add_argument("--steps", type=int, default=WGAN["hyperparameters"]["steps"])
    parser.add_argument("--per-model", type=int, default=WGAN_PER_MEMBER)
    parser.add_argument("--picks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--leave-out", action="store_true", help="train without what equals the target"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pool, target, row = pool_of(options)
    n, settings = options.picks, {"fill": False}
    strategies: dict[str, SelectionBase] = {
        "kmeans": KMeansSelection(n_picks=n),
        "diverse": DiverseSelection(n_picks=n),
        "framework": FrameworkSelection(n_picks=n, **settings),
        "framework, match": FrameworkSelection(n_picks=n, group_by="match", **settings),
        "framework, coverage 0.98": FrameworkSelection(n_picks=n, coverage=0.98, **settings),
    }
    row["strategies"] = {}
    for name, spec in strategies.items():
        begun = time.process_time()
        chosen = select(pool, spec, options.seed)
        row["strategies"][name] = {
            **held(pool, chosen.indices, target),
            "unusable": sum(chosen.n_unusable.values()),
            "cpu_s": round(time.process_time() - begun, 1),
        }
    sample = np.random.default_rng(options.seed).choice(len(pool), min(200, len(pool)), False)
    row["random"] = held(pool, np.sort(sample), target)
    if options.json:
        print(json.dumps(row, indent=1))
        return
    print({key: value for key, value in row.items() if key != "strategies"})
    for name, found in row["strategies"].items():
        print(f"{name:25} {found}")


if __name__ == "__main__":
    main()
