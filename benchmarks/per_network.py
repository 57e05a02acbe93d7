"""How many structures of each network selection by framework should pick, before others.

    python benchmarks/per_network.py run --seeds 0 1     # goes on where it was
    python benchmarks/per_network.py report --json

The five crystals that settings are chosen on (``samplers.py``) are left out with their near
matches in turn; an ensemble of descents, as for the targets of ``sio2_targets.py``, gives
structures in the crystal's cell. Selection by framework picks 20 of them with 1, 2, 4 or up to
20 representatives of each network; places that are left go to k-means representatives of what
has no valid network. All that is picked is relaxed with GFN1-xTB, as in ``sio2_coarse.py``, and
so is the crystal. What matches it then at default tolerances and differs by 10 meV/atom at most
is near it. The lists are in the records, written down before the first relaxation.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import crystal_pools
import crystal_systems
import numpy as np
import sio2_targets as targets
from records import RESULTS, alone, append, environment, read, run_or_report
from samplers import CRYSTALS
from silica import is_right
from sio2_coarse import NEAR_MEV, coarse

#: Representatives of each network at most, of 20 picks.
PER_NETWORK = (1, 2, 4, 20)
N_PICKS = targets.N_PICKS


def settings() -> dict[str, Any]:
    """Return the selections that are compared, by name."""
    from logan_campaign.selection import FrameworkSelection

    return {str(k): FrameworkSelection(n_picks=N_PICKS, per_key=k) for k in PER_NETWORK}


def lists(pool: Any, compared: dict[str, Any], seed: int) -> tuple[dict[str, list[int]], Any]:
    """Return the starts that each setting picks, in order, and the positions (Å) of all."""
    from logan_campaign.selection import select

    starts: dict[bytes, int] = {}
    positions, chosen = [], {}
    for name, setting in compared.items():
        picked = select(pool, setting, seed)
        chosen[name] = []
        for row in picked.indices.tolist():
            moved = picked.starts.get(row)
            one = pool.positions[row] if moved is None else moved.positions
            if one.tobytes() not in starts:
                starts[one.tobytes()] = len(positions)
                positions.append(one)
            chosen[name].append(starts[one.tobytes()])
    return chosen, np.array(positions)


def relax(atoms: Any, sought: Any, work: Path) -> dict[str, Any]:
    """Relax a structure at the cheap level; compare it with the crystal that was left out."""
    from logan_campaign.geometry.structures import spacegroup_symbol, to_atoms

    outcome = targets.relaxed(atoms, coarse(), work / "coarse")
    structure = outcome.pop("structure")
    outcome["spacegroup"] = spacegroup_symbol(structure, 0.1)
    after = to_atoms(structure)
    right = is_right(after.numbers, after.positions[None], after.cell.array[None])
    found = targets.matches(sought, structure) if sought is not None else {}
    return {**outcome, "right": bool(right[0]), **found, "structure": structure}


def run(args: argparse.Namespace, compared: dict[str, Any]) -> None:
    """Generate, select by each of several settings, and relax what has not been."""
    from logan_campaign.descriptors.cache import enable_compilation_cache

    enable_compilation_cache()
    known = crystal_systems.read_crystals(args.crystals)
    append(args.out, {"kind": "run", **environment()})
    for seed in args.seeds:
        for place in args.only:
            named = {"crystal": place, "seed": seed}
            records = [
                r for r in read(args.out) if named.items() <= r.items() and r["kind"] != "run"
            ]
            sought = known[place]
            cell, numbers = sought.cell.array, sought.numbers
            planned = [r for r in records if r["kind"] == "lists"]
            known_lists = {name for record in planned for name in record["lists"]}
            missing = {k: one for k, one in compared.items() if k not in known_lists}
            starts = [one for record in planned for one in record["positions"]]
            if missing:
                training = crystal_systems.without_near(known, sought)  # the crystal itself too
                begun = time.process_time()
                pool, n_samples = crystal_pools.descent_pool(numbers, cell, training, seed)
                chosen, positions = lists(pool, missing, seed)
                grains = np.rint(positions / targets.GRAIN).astype(int).tolist()
                new = [one for one in grains if one not in starts]
                starts += new
                record = {
                    "kind": "lists",
                    **named,
                    "n_atoms": len(numbers),
                    "n_samples": n_samples,
                    "n_plausible": len(pool),
                    "cpu_s": round(time.process_time() - begun, 1),
                    "lists": {
                        name: [starts.index(grains[pick]) for pick in picks]
                        for name, picks in chosen.items()
                    },
                    "positions": new,  # after those of earlier lists
                }
                append(args.out, record)
            done = {r["start"] for r in records if r["kind"] == "start"}
            if len(done) == len(starts):
                continue
            own = relax(sought, None, args.work)
            if not any(r["kind"] == "crystal" for r in records):
                kept = {k: v for k, v in own.items() if k != "structure"}
                append(args.out, {"kind": "crystal", **named, **kept})
            for start, one in enumerate(starts):
                if start not in done:
                    atoms = targets.crystal(numbers, cell, one)
                    found = relax(atoms, own["structure"], args.work)
                    structure = found.pop("structure")
                    grains = np.rint(structure.cart_coords / targets.GRAIN).astype(int).tolist()
                    record = {"kind": "start", **named, "start": start, **found, "grains": grains}
                    append(args.out, record)
            print(f"no. {place}, seed {seed}: {len(starts)} starts", flush=True)


def figures(
    planned: dict[str, Any], records: list[dict[str, Any]], setting: str
) -> list[dict[str, Any]]:
    """Return a line for each list of a crystal and a seed; ``setting``: what differs."""
    zero = next(r["energy_ev"] for r in records if r["kind"] == "crystal")
    starts = {r["start"]: r for r in records if r["kind"] == "start"}
    table = []
    for name, picks in planned["lists"].items():
        ranked = [starts[k] for k in picks if k in starts]
        above = [
            1000 * (r["energy_ev"] - zero) / planned["n_atoms"] if r["energy_ev"] else np.inf
            for r in ranked
        ]
        near = [
            rank
            for rank, (r, e) in enumerate(zip(ranked, above, strict=True), 1)
            if r["match"] in ("strict", "default") and abs(e) <= NEAR_MEV
        ]
        # one minimum for each energy, to 1 meV/atom: enough to count by
        minima = {round(e) for r, e in zip(ranked, above, strict=True) if r["right"]}
        table.append(
            {
                "crystal": planned["crystal"],
                "atoms": planned["n_atoms"],
                "seed": planned["seed"],
                setting: name,
                "picks": len(picks),
                "relaxed": len(ranked),
                "near_ranks": near,
                "right": sum(r["right"] for r in ranked),
                "minima": len(minima),
                "lowest_mev": round(min(above), 1) if above else None,
                # earlier records do not say
                "symmetric": sum(r["spacegroup"] not in ("P1", None) for r in ranked)
                if all("spacegroup" in r for r in ranked)
                else None,
                "ionic_steps": sum(r["n_steps"] for r in ranked),
                "cpu_s": round(sum(r["cpu_s"] for r in ranked), 1),
            }
        )
    return table


def report(args: argparse.Namespace, setting: str = "per_network") -> list[dict[str, Any]]:
    """Return the figures of all lists; ``setting``: what differs between them."""
    records = read(args.out)
    table = []
    for planned in records:
        if planned["kind"] == "lists":
            named = {k: planned[k] for k in ("crystal", "seed")}
            own = [r for r in records if named.items() <= r.items()]
            table += figures(planned, own, setting)
    return table


def command_line(
    description: str, out: Path, compared: Callable[[], dict[str, Any]], setting: str
) -> None:
    """Run the command line of a comparison of selections on the five crystals."""
    parser = argparse.ArgumentParser(description=description.split("\n", 1)[0])
    parser.add_argument(
        "--crystals",
        type=Path,
        default=targets.DATA / "mp-546794_training.extxyz",
        help="file with the SiO2 crystals",
    )
    parser.add_argument("--work", type=Path, default=Path(f"{out.stem}.work"), help="frames")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--only", nargs="+", type=int, choices=CRYSTALS, default=list(CRYSTALS))

    def run_alone(args: argparse.Namespace) -> None:
        with alone(args.work):
            run(args, compared())

    run_or_report(parser, out, run_alone, partial(report, setting=setting))


if __name__ == "__main__":
    command_line(__doc__, RESULTS / "per_network.jsonl", settings, "per_network")
