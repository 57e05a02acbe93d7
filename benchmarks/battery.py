"""Textbook crystals of any chemistry: learn from these, find that one.

    python benchmarks/battery.py run --structures FILE --cases FILE --seeds 0 [--cell given|learned]
    python benchmarks/battery.py report --json

`--structures` is an extended XYZ file whose crystals have names (`info['name']`), `--cases` a JSON
file `{"cases": [{"target": name, "training": [names]}]}`. What equals the target at the loose
tolerances of StructureMatcher (0.3/0.5/10) is left out of its training set. A case that is then
without a species of its target also learns from the file's other crystals with species replaced,
and is listed under `from_substitutes`. The settings are those that `init` writes; models, samples
and picks are as in a campaign; nothing is relaxed.

    accepted       selection accepts the right crystal
    random_accepted  share of 1,000 random placements that it accepts (%)
    below_random   the right crystal's misfit is below that of all random placements
    found_10       one of the first ten picks equals it at default tolerances
    found_20       with the cell not given: one of the first twenty
    median_cpu_s   processor time of a case: models, samples and selection

Random placements are atoms at random places in the target's cell, pushed apart to 0.7 times the sum
of their covalent radii. Those that equal the target, as happens in cells of two atoms, are left
out. `--method P1` makes crystals by descent without space groups; `--method random` selects in the
same way from random placements, `--method PyXtal` from symmetric random crystals. Every case is one
record; `run` goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import records
from ase import Atoms
from ase.io import read, write

from logan_campaign.core.errors import InputError
from logan_campaign.geometry.placement import random_placements
from logan_campaign.geometry.structures import from_atoms
from logan_campaign.matching import CrystalMatcher

RESULT_FILE = records.RESULTS / "battery.jsonl"
METHODS = ("descent", "P1", "random", "PyXtal")
N_RANDOM = 1000
SYMMETRIZE, SYMMETRY = 0.4, {"groups": "lattice", "p1": 0.5, "max_assignments": 20}

#: Placements in larger cells never equal the target, and comparing takes long.
_FEW_ATOMS = 7

_KEY = ("case", "method", "cell", "seed")


class Case:
    """A crystal to find, and what to learn from.

    Args:
        given: the case in the file.
        structures: by name.
    """

    def __init__(self, given: dict[str, Any], structures: dict[str, Atoms]) -> None:
        self.target = structures[given["target"]]
        self.right = from_atoms(self.target)
        loose = CrystalMatcher("loose")
        self.near = [
            name
            for name in given["training"]
            if loose.same(self.right, from_atoms(structures[name]))
        ]
        self.training = [structures[n] for n in given["training"] if n not in self.near]
        self.matcher = CrystalMatcher("default")
        held = set[str]().union(*(atoms.symbols for atoms in self.training))
        self.lacking = sorted(set(self.target.symbols) - held)
        if self.lacking:
            others = [a for a in structures.values() if not loose.same(self.right, from_atoms(a))]
            self.training += [
                atoms
                for atoms in substitutes(others, self.target.get_chemical_formula())
                if not loose.same(self.right, from_atoms(atoms))
            ]

    def equals(self, positions: np.ndarray, cell: np.ndarray) -> bool:
        """Return whether a structure is the crystal to find."""
        atoms = Atoms(self.target.numbers, positions, cell=cell, pbc=True)
        return self.matcher.same(from_atoms(atoms), self.right)


def substitutes(crystals: list[Atoms], formula: str) -> list[Atoms]:
    """Return crystals with species replaced by those of a formula, near on Pettifor's scale."""
    from logan_campaign.geometry.structures import to_atoms
    from logan_campaign.sources import FilesSource
    from logan_campaign.sources.substitute import SubstituteSource

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crystals.extxyz"
        write(path, [Atoms(a.symbols, a.positions, cell=a.cell, pbc=True) for a in crystals])
        source = SubstituteSource(of=FilesSource(path=str(path)), to=formula, by="similarity")
        found = source.load(Path(folder)).entries
    return [to_atoms(e.structure) for e in found if "replaced" in (e.properties or {})]


def samples(case: Case, settings: dict[str, Any], options: argparse.Namespace, seed: int) -> Any:
    """Return positions (n, N, 3) and cells (n, 3, 3) in Å of all members, in their order."""
    from logan_campaign.campaign.target import SymmetrySpec
    from logan_campaign.cli.starting import volumes_for
    from logan_campaign.flows.rounds import member_seed
    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target

    numbers = tuple(int(z) for z in case.target.numbers)
    n_members, per_model = settings["models"]["count"], settings["generate"]["per_model"]
    cell = case.target.cell.array
    if options.cell == "given":
        rows = tuple(map(tuple, cell))
        symmetry = None
        if options.method == "descent":
            symmetry = SymmetrySpec.model_validate(SYMMETRY).resolve((), rows)
        target = Target(numbers, rows, True, symmetry=symmetry)
    else:
        low, high = volumes_for(case.target.get_chemical_formula())
        target = Target(numbers, None, True, lattice="learned", volumes=(low, high))
    if options.method == "random":
        cells = np.repeat(cell[None], n_members * per_model, axis=0)
        return random_placements(case.target.numbers, cells, np.random.default_rng(seed)), cells
    if options.method == "PyXtal":
        from crystal_systems import symmetric_random

        n = n_members * per_model
        made = symmetric_random(case.target.numbers, cell, case.training, n, seed)
        return made, np.repeat(cell[None], n, axis=0)
    varied = settings["models"].get("vary", {})
    parts = []
    for member in range(n_members):
        said = dict(settings["models"]["hyperparameters"])
        for name, values in varied.items():
            said[name] = values[member % len(values)]
        own = member_seed(seed, 0, member)
        trained = models.settings_from(said).train(
            case.training, target, seed=own, training_set_id="battery"
        )
        made = trained.model.generate(per_model, seed=own)
        cells = np.broadcast_to(made.cells, (per_model, 3, 3))
        parts.append((np.asarray(made.positions, float), np.asarray(cells, float)))
    positions, cells = (np.concatenate(column) for column in zip(*parts, strict=True))
    return positions, cells


def figures(case: Case, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the figures of one case and seed."""
    from logan_campaign.campaign.spec_yaml import parse_yaml
    from logan_campaign.cli.starting import starting_spec
    from logan_campaign.selection import Pool, select
    from logan_campaign.selection.framework import FrameworkSelection
    from logan_campaign.selection.screening import ScreeningSpec, screen_pool
    from logan_campaign.selection.unusual import usual

    numbers, cell = case.target.numbers, case.target.cell.array
    formula = case.target.get_chemical_formula()
    text, _ = starting_spec("crystal", formula, "battery", "battery.yaml")
    settings = parse_yaml(text)
    began = time.process_time()
    positions, cells = samples(case, settings, options, seed)
    generated = time.process_time()
    strategy = FrameworkSelection(**settings["select"])
    if options.cell == "learned":
        strategy = strategy.model_copy(update={"n_picks": 20})
    else:
        # as `init --like FILE` writes
        strategy = strategy.model_copy(update={"symmetrize": SYMMETRIZE})

    def pool(places: np.ndarray, vectors: np.ndarray) -> Pool:
        return Pool(
            numbers=numbers,
            positions=places,
            cells=vectors,
            periodic=True,
            group=np.zeros(len(places), dtype=int),
            training=[from_atoms(atoms) for atoms in case.training],
            fixed_cell=options.cell == "given",
        )

    good = screen_pool(positions, cells, numbers, True, ScreeningSpec()) == ""
    chosen = select(pool(positions[good], cells[good]), strategy, seed)
    selected = time.process_time()
    picks = []
    for row in chosen.indices.tolist():
        start = chosen.starts.get(row)
        place = positions[good][row] if start is None else start.positions
        vectors = cells[good][row] if start is None else start.cell.array
        picks.append(case.equals(place, vectors))
    hits = sum(map(case.equals, positions[good], cells[good]))
    row: dict[str, Any] = {
        "found_at": picks.index(True) + 1 if any(picks) else None,
        "n_picks": len(picks),
        "n_samples": len(positions),
        "n_screened": int((~good).sum()),
        "n_equal": hits,
        "generate_cpu_s": round(generated - began, 1),
        "select_cpu_s": round(selected - generated, 1),
        "left_out": case.near,
        "lacking": case.lacking,
    }
    if options.cell == "given":
        every = np.repeat(cell[None], N_RANDOM, axis=0)
        random = random_placements(numbers, every, np.random.default_rng([seed, 1]))
        if len(numbers) <= _FEW_ATOMS:
            random = random[[not case.equals(places, cell) for places in random]]
        together = np.concatenate([case.target.positions[None], random])
        cells = np.repeat(cell[None], len(together), axis=0)
        misfit, fits = usual(pool(together, cells), strategy.chance, strategy.symmetrize)
        row |= {
            "accepted": bool(fits[0]),
            "random_accepted": round(float(100 * fits[1:].mean()), 2) if len(random) else None,
            "n_random": len(random),
            "rank": int((misfit[1:] < misfit[0]).sum()),
            "misfit": round(float(misfit[0]), 3),
            "lowest_random": round(float(misfit[1:].min()), 3) if len(random) else None,
        }
    return row


def run(options: argparse.Namespace) -> None:
    """Add the records that are not there yet."""
    from logan_campaign.descriptors.cache import enable_compilation_cache

    enable_compilation_cache()
    structures = {
        atoms.info["name"]: atoms[np.argsort(atoms.numbers, kind="stable")]
        for atoms in read(options.structures, ":")
    }
    cases = json.loads(Path(options.cases).read_text())["cases"]
    done = {tuple(r[k] for k in _KEY) for r in records.read(options.out)}
    chosen = range(len(cases)) if options.only is None else options.only
    for seed in options.seeds:
        for number in chosen:
            given = cases[number]
            name = f"{number} {given['target']} from {', '.join(given['training'])}"
            key = {"case": name, "method": options.method, "cell": options.cell, "seed": seed}
            if tuple(key.values()) in done:
                continue
            try:
                row = figures(Case(given, structures), options, seed)
            except (InputError, ValueError) as err:  # one case does not stop the others
                row = {"failed": f"{type(err).__name__}: {err}"}
            records.append(options.out, {**key, **row, "environment": records.environment()})
            print(json.dumps({**key, **row}), flush=True)


def report(path: Path, method: str, cell: str) -> dict[str, Any]:
    """Return means over seeds of how many cases succeed, and what was missed."""
    rows = [r for r in records.read(path) if (r["method"], r["cell"]) == (method, cell)]
    seeds = sorted({r["seed"] for r in rows})

    def count(holds: Callable[[dict[str, Any]], bool]) -> float | None:
        if not seeds:
            return None
        each = [sum(holds(r) for r in rows if r["seed"] == s and "failed" not in r) for s in seeds]
        return round(mean(each), 2)

    def found(row: dict[str, Any], within: int) -> bool:
        return row["found_at"] is not None and row["found_at"] <= within

    worked = [r for r in rows if "failed" not in r]
    random = [r["random_accepted"] for r in worked if r.get("random_accepted") is not None]
    return {
        "method": method,
        "cell": cell,
        "seeds": seeds,
        "cases": len({r["case"] for r in rows}),
        "accepted": count(lambda r: bool(r.get("accepted"))),
        "random_accepted_percent": round(mean(random), 2) if random else None,
        "below_random": count(lambda r: r.get("rank") == 0),
        "found_10": count(lambda r: found(r, 10)),
        "found_20": count(lambda r: found(r, 20)),
        "median_cpu_s": round(median(r["generate_cpu_s"] + r["select_cpu_s"] for r in worked), 1)
        if worked
        else None,
        "not_accepted": sorted({r["case"] for r in worked if r.get("accepted") is False}),
        "not_below_random": sorted({f"{r['case']}: {r['rank']}" for r in worked if r.get("rank")}),
        "not_found": sorted({r["case"] for r in worked if not found(r, 10)}),
        "from_substitutes": sorted({r["case"] for r in worked if r.get("lacking")}),
        "failed": sorted({f"{r['case']}: {r['failed']}" for r in rows if "failed" in r}),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "report"):
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, default=RESULT_FILE)
        command.add_argument("--method", choices=METHODS, default="descent")
        command.add_argument("--cell", choices=("given", "learned"), default="given")
        if name == "run":
            command.add_argument("--structures", type=Path, required=True)
            command.add_argument("--cases", type=Path, required=True)
            command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
            command.add_argument("--only", type=int, nargs="+", help="numbers of cases, from 0")
        else:
            command.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.command == "run":
        run(options)
        return
    found = report(options.out, options.method, options.cell)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(
            f"{name}: {value}"
            if not isinstance(value, list)
            else "\n  ".join([f"{name}:", *map(str, value)])
        )


if __name__ == "__main__":
    main()
