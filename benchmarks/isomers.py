"""How many relaxations find all isomers: C5H12O and C7H16O from the alcohols and ethers around.

    python benchmarks/isomers.py pools --work DIR --seeds 0 1 2 3 4     # 12 models per seed
    python benchmarks/isomers.py picks --work DIR --seeds 0 1 2 3 4     # fixes what is relaxed
    python benchmarks/isomers.py relax --work DIR                       # GFN2-xTB
    python benchmarks/isomers.py gpaw --work DIR --level lcao --seeds 0
    python benchmarks/isomers_report.py --json                          # tables
    python benchmarks/isomers_report.py --figure docs/images

Models learn from the 39 isomers of C4H10O and C6H14O, the published geometries if they are
beside the checkout and the built-in ones otherwise. Every strategy names its structures and
their order before any of them is relaxed; `picks` writes both down, once. Structures and pools
stay in DIR, figures go to `benchmarks/results/isomers.jsonl`. All commands go on where they
stopped. Times are processor time on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from records import RESULTS, alone, append, environment, read
from selection import random_placement
from selection_pools import BOX, NUMBERS, PUBLISHED, load, make, training_set

from logan_campaign.core.processors import pin_to_cores

MEMBERS = 12
#: Structures of one model in one file of a pool.
CHUNK = 250
#: Structures of random placement, and the strategy's name.
N_RANDOM, RANDOM = 30, "random placement"
RESULT_FILE = RESULTS / "isomers.jsonl"


class System(NamedTuple):
    """A composition, with what is fixed for it beforehand.

    Attributes:
        n_carbon: carbon atoms of C_nH_(2n+2)O.
        numbers: atomic numbers.
        box: edges (Å).
        k_keyed: picks of `graph`.
        k: picks of the other strategies.
    """

    n_carbon: int
    numbers: tuple[int, ...]
    box: tuple[tuple[float, ...], ...]
    k_keyed: int
    k: int


def _system(n_carbon: int, k_keyed: int, k: int) -> System:
    numbers = (1,) * (2 * n_carbon + 2) + (6,) * n_carbon + (8,)
    # the paper's box, as much of it per atom
    grown = (len(numbers) / len(NUMBERS)) ** (1 / 3)
    return System(
        n_carbon,
        numbers,
        tuple(tuple(round(float(x) * grown, 3) for x in row) for row in BOX),
        k_keyed,
        k,
    )


SYSTEMS = {"c5h12o": _system(5, 24, 50), "c7h16o": _system(7, 150, 150)}

#: Settings by turns: the paper's cutoffs, and all descents, as `graph` passes over bad ones.
VARIED = [{"method": "descent", "keep": 1.0, "r_cut": r_cut} for r_cut in (5.0, 6.0)]

#: What the methods of this project add, by the names in the results.
DESCENTS: dict[str, dict[str, float]] = {"descent": {}, "exchange": {"exchange": 0.75}}


# Pools


def files_of(
    work: Path, name: str, method: str, seed: int, member: int, samples: int
) -> list[tuple[Path, int]]:
    """Return the files of a member's structures, and how many each holds.

    Descents stand alone, so that a pool can grow; exchanges build on what was there before.
    """
    stem = f"{name}-{method}-seed{seed}-{member:02d}"
    if method == "descent":
        n_chunks = -(-samples // CHUNK)
        return [(work / "pools" / f"{stem}-{chunk}.npz", CHUNK) for chunk in range(n_chunks)]
    return [(work / "pools" / f"{stem}-of-{samples}.npz", samples)]


def descend(
    work: Path, name: str, method: str, seed: int, samples: int, source: Path | None
) -> None:
    """Add the files of a seed's pool that are not there yet, for all members in turn."""
    from logan_campaign.descriptors.cache import enable_compilation_cache
    from logan_campaign.flows.rounds import member_seed
    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target

    enable_compilation_cache()
    system = SYSTEMS[name]
    training, structures = training_set(source)
    target = Target(system.numbers, system.box, periodic=False)
    files = [files_of(work, name, method, seed, member, samples) for member in range(MEMBERS)]
    for chunk, together in enumerate(zip(*files, strict=True)):
        for member, (path, n) in enumerate(together):
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            own = member_seed(seed, member)
            settings = VARIED[member % len(VARIED)] | DESCENTS[method]
            begun = time.process_time()
            result = models.settings_from(settings).train(
                structures,
                target,
                seed=own,
                training_set_id=training,
            )
            trained = time.process_time()
            assert result.model is not None
            positions = result.model.generate(n, seed=own + chunk).positions
            done = time.process_time()
            beside = path.with_suffix(".part.npz")
            np.savez_compressed(
                beside, positions=positions, cpu_s=[trained - begun, done - trained]
            )
            beside.replace(path)
        n_done = sum(n for _, n in files[0][: chunk + 1])
        print(f"{name}, {method}, seed {seed}: {n_done} structures per model", flush=True)


def pool_of(work: Path, name: str, method: str, seed: int, samples: int) -> Any:
    """Return positions, members and the CPU seconds of training and generation, or None."""
    if method == "wgan":
        ensemble = load(work / "wgan", seed, MEMBERS)
        if ensemble is None:
            return None
        return ensemble.positions, ensemble.member, ensemble.cpu_s
    spent, positions, member = np.zeros(2), [], []
    for index in range(MEMBERS):
        for path, _ in files_of(work, name, method, seed, index, samples):
            if not path.exists():
                return None
            with np.load(path, allow_pickle=False) as archive:
                positions.append(archive["positions"])
                spent += archive["cpu_s"]
            member.append(np.full(len(positions[-1]), index))
    return np.concatenate(positions), np.concatenate(member), spent.tolist()


# Picks


def picks(work: Path, name: str, method: str, seed: int, samples: int) -> Iterator[dict[str, Any]]:
    """Yield what each strategy picks from one pool, in order, and what the pool is like."""
    from logan_campaign.geometry.molecular_graphs import pool_graphs
    from logan_campaign.relaxation.levels import XTBLevel
    from logan_campaign.selection import (
        DiverseSelection,
        GraphSelection,
        KMeansSelection,
        Pool,
        PreRelaxation,
        select,
    )
    from logan_campaign.selection.screening import ScreeningSpec, screen_pool

    system, made = SYSTEMS[name], pool_of(work, name, method, seed, samples)
    if made is None:
        print(f"{name}, {method}, seed {seed}: the pool is not complete", flush=True)
        return
    positions, member, spent = made
    numbers = np.array(system.numbers)
    begun = time.process_time()
    passed = screen_pool(positions, None, numbers, False, ScreeningSpec()) == ""
    screened = time.process_time() - begun
    pool = Pool(
        numbers,
        positions[passed],
        np.tile(np.array(system.box), (int(passed.sum()), 1, 1)),
        False,
        member[passed],
        workdir=work,
    )
    key = {"system": name, "method": method, "seed": seed, "samples": samples}
    graphs = pool_graphs(numbers, pool.positions).smiles
    yield {
        "kind": "pool",
        **key,
        "n_generated": len(positions),
        "n_plausible": len(pool),
        "n_valid": int((graphs != "").sum()),
        "n_isomers": len(set(graphs) - {""}),
        "train_cpu_s": spent and spent[0],
        "generate_cpu_s": spent and spent[1],
        "screen_cpu_s": screened,
        **environment(),
    }
    wide = {"n_components": 10, "standardise": True}
    pre = XTBLevel(name="pre", optimizer="FIRE", fmax=0.1, max_steps=200)
    strategies: dict[str, Any] = {
        "graph": GraphSelection(n_picks=system.k_keyed, **wide),
        "kmeans": KMeansSelection(n_picks=system.k),
        "kmeans per model": KMeansSelection(n_picks=max(1, system.k // MEMBERS), scope="per_model"),
        "diverse": DiverseSelection(n_picks=system.k, **wide),
        "random draws": None,
        "graph, 200 cheap": GraphSelection(
            n_picks=system.k_keyed, pre_relax=PreRelaxation(n=200, level=pre), **wide
        ),
    }
    for strategy, spec in strategies.items():
        begun = time.process_time()
        if spec is None:
            rows = np.random.default_rng(seed).permutation(len(pool))[: system.k].tolist()
            starts, cheap = {}, []
        else:
            chosen = select(pool, spec, seed)
            rows, starts, cheap = chosen.indices.tolist(), chosen.starts, chosen.cheap
        spent_s = time.process_time() - begun
        cheap_s = sum(done.cpu_s for done in cheap)
        found = [pool.positions[r] if r not in starts else starts[r].positions for r in rows]
        yield {
            "kind": "picks",
            **key,
            "strategy": strategy,
            "structures": keep(work, system, found),
            "select_cpu_s": spent_s - cheap_s,
            "n_cheap": sum(done.n for done in cheap),
            "cheap_cpu_s": cheap_s,
        }


def without_models(work: Path, name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the picks of the baselines: atoms at random, and all graphs, embedded by RDKit.

    Atoms are placed in the box that descents start in, a middle part of the molecule's.
    """
    from ase.data import covalent_radii

    from logan_campaign.geometry.structures import to_atoms
    from logan_campaign.sources import SmilesSource
    from logan_campaign.sources.builtin import alcohols_and_ethers

    system = SYSTEMS[name]
    key = {"kind": "picks", "system": name, "method": "none", "seed": seed, "samples": 0}
    cost = {"n_cheap": 0, "cheap_cpu_s": 0.0}
    begun = time.process_time()
    spheres = 4 / 3 * np.pi * (covalent_radii[list(system.numbers)] ** 3).sum()
    edge = min(1.0, (10 * spheres / np.linalg.det(np.array(system.box))) ** (1 / 3))
    box = tuple(tuple(edge * x for x in row) for row in system.box)
    placed = random_placement(seed, N_RANDOM, system.numbers, box)
    yield {
        **key,
        "strategy": RANDOM,
        "structures": keep(work, system, list(placed)),
        "select_cpu_s": time.process_time() - begun,
        **cost,
    }
    begun = time.process_time()
    smiles = list(alcohols_and_ethers(system.n_carbon))
    loaded = SmilesSource(type="smiles", smiles=smiles, seed=seed, relax=False).load()
    embedded = []
    for entry in loaded.entries:
        atoms = to_atoms(entry.structure)
        embedded.append(atoms.positions[np.argsort(atoms.numbers, kind="stable")])
    yield {
        **key,
        "strategy": "all graphs, RDKit",
        "structures": keep(work, system, embedded),
        "select_cpu_s": time.process_time() - begun,
        **cost,
    }


def keep(work: Path, system: System, found: list[np.ndarray]) -> list[str]:
    """Write structures down, by their ids, which are returned."""
    from logan_campaign.geometry.structures import from_arrays, structure_id

    path, ids = work / "structures.jsonl", []
    there = {record["id"] for record in read(path)}
    for positions in found:
        rounded = np.round(np.asarray(positions, dtype=float), 5)
        ids.append(structure_id(from_arrays(np.array(system.numbers), rounded, None)))
        if ids[-1] not in there:
            append(path, {"id": ids[-1], "positions": rounded.tolist()})
            there.add(ids[-1])
    return ids


# Relaxations


def levels() -> dict[str, Any]:
    """Return the levels by name: FIRE to 0.05 eV/Å, the paper's budget."""
    from logan_campaign.relaxation.levels import GPAWLevel, XTBLevel

    steps: dict[str, Any] = {"optimizer": "FIRE", "fmax": 0.05, "max_steps": 1000}
    common = {**steps, "xc": "LDA", "vacuum_angstrom": 3.0}
    return {
        "xtb": XTBLevel(name="xtb", **steps),
        "lcao": GPAWLevel(name="lcao", mode="lcao", basis="dzp", **common),
        "pw": GPAWLevel(name="pw", mode="pw", ecut_ev=400.0, **common),
    }


def relax_one(
    work: Path, results: Path, system: str, start: str, level: str, positions: Any
) -> None:
    """Relax one structure, write its figures down, and keep where it ended."""
    from logan_campaign.geometry.molecules import perceive
    from logan_campaign.geometry.structures import from_arrays
    from logan_campaign.relaxation.run import relax

    structure = from_arrays(np.array(SYSTEMS[system].numbers), np.array(positions), None)
    outcome = relax(structure, levels()[level], workdir=work / "relax")
    smiles = perceive(outcome.structure).smiles if outcome.state == "converged" else None
    final = np.round(outcome.structure.cart_coords, 5).tolist()
    append(work / "relaxed.jsonl", {"id": start, "level": level, "positions": final})
    append(
        results,
        {
            "kind": "relaxed",
            "system": system,
            "structure": start,
            "level": level,
            "state": outcome.state,
            "smiles": smiles,
            "n_steps": outcome.n_steps,
            "energy_ev": outcome.energy_ev,
            "cpu_s": round(outcome.cpu_s, 2),
        },
    )


def relax_random(work: Path, results: Path, system: str, start: str, positions: Any) -> None:
    """Relax atoms that were placed at random: BFGS, 500 steps.

    A level would give up before its first step, since such a start is in many pieces.
    """
    from ase import Atoms
    from ase.optimize import BFGS
    from tblite.exceptions import TBLiteRuntimeError

    from logan_campaign.geometry.molecules import perceive_arrays
    from logan_campaign.relaxation.levels import Setup, XTBLevel

    begun, numbers = time.process_time(), np.array(SYSTEMS[system].numbers)
    record: dict[str, Any] = {"kind": "relaxed", "system": system, "structure": start}
    record |= {"level": "xtb", "smiles": None, "n_steps": None, "energy_ev": None}
    final = Atoms(numbers, np.array(positions))
    final.calc = XTBLevel().make_calculator(final, Setup())
    try:
        converged = BFGS(final, logfile=None).run(fmax=0.05, steps=500)
        record["energy_ev"] = float(final.get_potential_energy())
        record["state"] = "converged" if converged else "not_converged"
        record["smiles"] = perceive_arrays(numbers, final.positions).smiles if converged else None
    except (TBLiteRuntimeError, RuntimeError):
        record["state"] = "scf_not_converged"
    append(results, record | {"cpu_s": round(time.process_time() - begun, 2)})


def relax_all(work: Path, results: Path, minutes: float, strategies: list[str] | None) -> None:
    """Relax with GFN2-xTB all that was picked, the first picks of every strategy first."""
    end = time.monotonic() + 60 * minutes
    records = read(results)
    done = set(relaxed_at(records, "xtb"))
    positions = {r["id"]: r["positions"] for r in read(work / "structures.jsonl")}
    planned = [
        r
        for r in records
        if r["kind"] == "picks" and (strategies is None or r["strategy"] in strategies)
    ]
    queue = sorted(
        (rank, number, r["system"], name, r["strategy"] == RANDOM)
        for number, r in enumerate(planned)
        for rank, name in enumerate(r["structures"])
    )
    missing = {name for *_, name, _ in queue} - done - set(positions)
    if missing:
        print(f"{len(missing)} picks are not in {work} and are left out: run 'picks' there first")
    for count, (_, _, system, name, is_random) in enumerate(queue):
        if name in done or name in missing:
            continue
        done.add(name)
        if time.monotonic() > end:
            raise SystemExit("time is up: run again to go on")
        if is_random:
            relax_random(work, results, system, name, positions[name])
        else:
            relax_one(work, results, system, name, "xtb", positions[name])
        if count % 100 == 0:
            print(f"{count} of {len(queue)}", flush=True)


def relax_gpaw(
    work: Path, results: Path, level: str, start: str, options: argparse.Namespace
) -> None:
    """Relax the picks of `graph` with GPAW: as generated, or what GFN2-xTB made of them.

    After GFN2-xTB one structure of each isomer goes on, the one picked first, and what is no
    isomer does not.
    """
    end = time.monotonic() + 60 * options.minutes
    begin = read(work / "structures.jsonl") if start == "raw" else read(work / "relaxed.jsonl")
    positions = {r["id"]: r["positions"] for r in begin if r.get("level", "xtb") == "xtb"}
    records = read(results)
    done = relaxed_at(records, level)
    for seed in options.seeds:
        for name, label in queue_of(records, options.method, seed, options.samples, start):
            if label in done:
                continue
            if time.monotonic() > end:
                raise SystemExit("time is up: run again to go on")
            relax_one(work, results, "c5h12o", label, level, positions[name])
            print(f"seed {seed}: {label} at {level}", flush=True)


def queue_of(
    records: list[dict[str, Any]], method: str, seed: int, samples: int, start: str
) -> list[tuple[str, str]]:
    """Return structure and label of what GPAW gets of one seed of C5H12O, in order."""
    wanted = {"system": "c5h12o", "method": method, "seed": seed, "samples": samples}
    (plan,) = [r for r in records if r["kind"] == "picks" and r["strategy"] == "graph"
               and all(r[k] == v for k, v in wanted.items())]  # fmt: skip
    if start == "raw":
        return [(name, name) for name in plan["structures"]]
    became = relaxed_at(records, "xtb")
    first: dict[str, str] = {}
    for name in plan["structures"]:
        if (smiles := became[name]["smiles"]) is not None:
            first.setdefault(smiles, name)
    return [(name, f"{name} > xtb") for name in first.values()]


def relaxed_at(records: list[dict[str, Any]], level: str) -> dict[str, dict[str, Any]]:
    """Return the finished relaxations of a level, by structure."""
    return {r["structure"]: r for r in records if r["kind"] == "relaxed" and r["level"] == level}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pools", "picks", "relax", "gpaw"))
    parser.add_argument("--work", type=Path, required=True, help="folder of pools and structures")
    parser.add_argument("--system", choices=SYSTEMS, default="c5h12o")
    parser.add_argument("--method", choices=(*DESCENTS, "wgan"), default="descent")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--samples", type=int, default=CHUNK, help="structures per model")
    parser.add_argument("--steps", type=int, default=2500, help="generator updates of wgan")
    parser.add_argument("--level", choices=("lcao", "pw"), default="lcao")
    parser.add_argument("--start", choices=("raw", "xtb"), default="xtb", help="what GPAW gets")
    parser.add_argument("--strategies", nargs="+", help="relax: only what these have picked")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so long")
    parser.add_argument("--results", type=Path, default=RESULT_FILE)
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    pin_to_cores([options.core])
    if options.method == "descent" and options.samples % CHUNK:
        parser.error(f"--samples is not a multiple of {CHUNK}")
    source = PUBLISHED if PUBLISHED.exists() else None
    if options.what == "relax":
        with alone(options.work, "relax.lock"):
            relax_all(options.work, options.results, options.minutes, options.strategies)
    elif options.what == "gpaw":
        with alone(options.work, f"gpaw-{options.level}.lock"):
            relax_gpaw(options.work, options.results, options.level, options.start, options)
    elif options.what == "pools" and options.method == "wgan":
        make(options.work / "wgan", options.seeds, MEMBERS, options.steps, options.samples, source)
    elif options.what == "pools":
        for seed in options.seeds:
            descend(options.work, options.system, options.method, seed, options.samples, source)
    else:
        write_picks(options)


def write_picks(options: argparse.Namespace) -> None:
    """Fix what every strategy picks, where that has not been done."""
    for seed in options.seeds:
        there = [r for r in read(options.results) if r["kind"] == "picks" and r["seed"] == seed]
        here = [r for r in there if r["system"] == options.system]
        name, method, samples = options.system, options.method, options.samples
        if not any(r["method"] == "none" for r in here):
            for record in list(without_models(options.work, name, seed)):
                append(options.results, record)
        if not any(r["method"] == method and r["samples"] == samples for r in here):
            for record in list(picks(options.work, name, method, seed, samples)):
                append(options.results, record)
                print(name, seed, record.get("strategy", "pool"), flush=True)


if __name__ == "__main__":
    main()
