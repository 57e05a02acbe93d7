"""Silica with its cell not given: which known polymorphs come out, as generated.

    python benchmarks/unknown_cell.py run --core 1                # resumes
    python benchmarks/unknown_cell.py report --json
    python benchmarks/unknown_cell.py figure --to docs/images/benchmark-unknown-cell.png

Structures with 6 and 12 atoms are made by descent at its defaults, without symmetry, in cells that
are learned or drawn; the range of volumes is that of the training set, 10 % wider. Three
training sets, all from `--training`:

    without known   less all that equals (StructureMatcher, loose) an AFLOW prototype of SiO2 or
                    one of the paper's three targets
    other sizes     less all with 6 or 12 atoms in the primitive cell
    whole           all crystals

Known are the AFLOW prototypes, the three targets and the whole of `--training`; unseen is what
no crystal of the training set equals at loose tolerances. Each sample is compared with all of them
at default tolerances and counted for the nearest. Known crystals that equal each other
at default tolerances are one kind. Nothing is relaxed. Beside it, with the volumes and the minimum
distances of the training set, atoms placed at random in drawn cells, a cell in which a hundred
beginnings find no room being drawn anew; and PyXtal's random crystals, a space group drawn evenly
for each and another where the group has no room for the atoms.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import records
import silica
from ase import Atoms
from ase.data import chemical_symbols

from logan_campaign.geometry.structures import from_atoms, to_atoms
from logan_campaign.matching import CrystalMatcher, KnownCrystals

#: In the order in which they are run.
SETS = ("without known", "other sizes", "whole")
LATTICES = ("learned", "drawn")
METHODS = ("descent", "random placement", "PyXtal")
ATOMS = {6: (8,) * 4 + (14,) * 2, 12: (8,) * 8 + (14,) * 4}

#: Random structures that are begun in a drawn cell before the next is drawn.
_BEGINNINGS = 100

_KEY = ("method", "set", "lattice", "n_atoms", "seed", "n_samples")


class Known:
    """The known crystals and what equals what."""

    def __init__(self, training: Path, data: Path) -> None:
        self.matcher = CrystalMatcher()
        self.loose = CrystalMatcher("loose", self.matcher)
        self.sought = silica.prototypes() + silica.published_targets(data)
        self.training = silica.training_set(training)
        self.entries = self.sought + self.training
        self.kinds = silica.kinds_of(self.entries, self.matcher)
        self.index = KnownCrystals(self.entries)
        self.sizes = {
            e.id: self.matcher.reduced(e.structure, e.id).key[1] for e in self.entries
        }  # fmt: skip

    def without(self, name: str) -> list[Any]:
        """Return the crystals of one of the training sets."""
        if name == "whole":
            return self.training
        if name == "other sizes":
            return [e for e in self.training if max(ATOMS) % self.sizes[e.id]]
        like = silica.near(self.training, self.sought, self.loose)
        return [e for e, is_near in zip(self.training, like, strict=True) if not is_near]

    def reachable(self, n_atoms: int, chosen: list[Any]) -> tuple[set[str], set[str]]:
        """Return kinds that cells of a size can hold: all, and those of which nothing was seen."""
        fitting = [e for e in self.entries if n_atoms % self.sizes[e.id] == 0]
        seen = silica.near(fitting, chosen, self.loose)
        kinds = {self.kinds[e.id] for e in fitting}
        return kinds, kinds - {
            self.kinds[e.id] for e, was in zip(fitting, seen, strict=True) if was
        }


def descent(chosen: list[Any], key: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return positions, cells and times of structures made by descent."""
    from logan_campaign.campaign.target import volume_range
    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target

    structures = [to_atoms(e.structure) for e in chosen]
    volumes = volume_range(structures)
    numbers = ATOMS[key["n_atoms"]]
    began = time.process_time()
    result = models.settings_from({"method": "descent"}).train(
        structures,
        Target(numbers, None, True, lattice=key["lattice"], volumes=volumes),
        seed=key["seed"],
        training_set_id=key["set"].replace(" ", "-"),
    )
    trained = time.process_time()
    assert result.model is not None  # a descent always has one
    pool = result.model.generate(key["n_samples"], seed=key["seed"])
    return (
        pool.positions,
        pool.cells,
        {
            "volumes": volumes,
            "train_cpu_s": round(trained - began, 1),
            "generate_cpu_s": round(time.process_time() - trained, 1),
        },
    )


def at_random(chosen: list[Any], key: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return positions, cells and times of atoms placed at random in drawn cells."""
    import jax
    from crystal_systems import random_placement

    from logan_campaign.campaign.target import volume_range
    from logan_campaign.generators.cells import post_processing
    from logan_campaign.generators.target import Target

    structures = [to_atoms(e.structure) for e in chosen]
    volumes = volume_range(structures)
    numbers = ATOMS[key["n_atoms"]]
    began = time.process_time()
    closest, n = silica.closest(structures), key["n_samples"]
    place = post_processing(Target(numbers, None, True, lattice="drawn", volumes=volumes))
    drawn = jax.random.normal(jax.random.key(key["seed"]), (10 * n, place.n_drawn))
    outputs = np.zeros((10 * n, place.n_outputs), dtype=np.float32)
    tried = np.asarray(place(outputs, drawn)[1], dtype=float)
    positions: list[np.ndarray] = []
    fitting: list[int] = []
    for k, cell in enumerate(tried):
        if len(positions) == n:
            break
        try:
            positions += list(
                random_placement(
                    np.array(numbers), cell, closest, 1, key["seed"] * 10 * n + k, _BEGINNINGS
                )
            )
        except ValueError:  # no room in this cell
            continue
        fitting.append(k)
    if len(positions) < n:
        raise SystemExit(f"{len(positions)} of {10 * n} drawn cells have room for the atoms")
    cells = tried[fitting]
    return (
        np.array(positions),
        cells,
        {
            "volumes": volumes,
            "n_cells_drawn": fitting[-1] + 1,
            "train_cpu_s": 0.0,
            "generate_cpu_s": round(time.process_time() - began, 1),
        },
    )


def symmetric(chosen: list[Any], key: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return positions, cells and times of PyXtal's random crystals, in their primitive cells.

    A volume per atom is drawn evenly for each; PyXtal's own draw about it may leave the range of
    volumes, and such crystals are drawn anew.
    """
    import spglib
    from ase.data import covalent_radii, vdw_radii
    from crystal_systems import smallest_distances
    from pyxtal import pyxtal
    from pyxtal.msg import Comp_CompatibilityError, VolumeError
    from pyxtal.tolerance import Tol_matrix

    from logan_campaign.campaign.target import volume_range

    structures = [to_atoms(e.structure) for e in chosen]
    low, high = volume_range(structures)
    numbers = np.array(ATOMS[key["n_atoms"]])
    kinds, counts = np.unique(numbers, return_counts=True)
    began = time.process_time()
    limits = Tol_matrix(prototype="atomic")
    for (a, b), least in smallest_distances(silica.closest(structures)).items():
        limits.set_tol(a, b, least)
    # PyXtal draws atoms' volumes between spheres of these radii
    spheres = 4 / 3 * np.pi * (covalent_radii[numbers] ** 3 + vdw_radii[numbers] ** 3) / 2
    rng = np.random.default_rng(key["seed"])
    positions: list[np.ndarray] = []
    cells: list[np.ndarray] = []
    n_drawn = 0
    while len(positions) < key["n_samples"]:
        n_drawn += 1
        crystal = pyxtal()
        try:
            crystal.from_random(
                dim=3,
                group=int(rng.integers(1, 231)),
                species=[chemical_symbols[z] for z in kinds],
                numIons=counts.tolist(),
                factor=float(rng.uniform(low, high) * len(numbers) / spheres.sum()),
                conventional=False,
                tm=limits,
                random_state=rng,
            )
        except (Comp_CompatibilityError, VolumeError):
            continue
        except RuntimeError as err:
            if "long time" not in str(err):
                raise
            continue  # PyXtal gives up: hardly any room
        if not crystal.valid:
            continue
        made = crystal.to_ase(resort=False)
        given = made.cell.array, made.get_scaled_positions(), made.numbers
        cell, fractional, found = spglib.find_primitive(given, symprec=1e-4)
        fits = low <= np.linalg.det(cell) / len(found) <= high
        if len(found) == len(numbers) and fits:
            order = np.argsort(found, kind="stable")
            positions.append(fractional[order] @ cell)
            cells.append(cell)
    return (
        np.array(positions),
        np.array(cells),
        {
            "volumes": (low, high),
            "n_drawn": n_drawn,
            "train_cpu_s": 0.0,
            "generate_cpu_s": round(time.process_time() - began, 1),
        },
    )


#: What makes structures, by method.
MAKERS = {"descent": descent, "random placement": at_random, "PyXtal": symmetric}


def judge(known: Known, numbers: np.ndarray, positions: Any, cells: Any) -> dict[str, Any]:
    """Return coordination, networks and the known crystals among structures."""
    began = time.process_time()
    right = silica.is_right(numbers, positions, cells)
    rows = np.flatnonzero(right)
    nets = Counter(silica.networks(numbers, positions[rows], cells[rows]))
    found: dict[str, dict[str, Any]] = {}
    volumes: dict[str, list[float]] = defaultdict(list)
    rms: dict[str, list[float]] = defaultdict(list)
    sizes = {e.id: e.structure.volume / len(e.structure) for e in known.entries}
    for k, (p, cell) in enumerate(zip(positions, cells, strict=True)):
        atoms = Atoms(numbers, p, cell=cell, pbc=True)
        match = known.matcher.match(from_atoms(atoms), known.index)
        if match is None:
            continue
        label = match.entry.label
        row = found.setdefault(
            label, {"known": label, "kind": known.kinds[match.entry.id], "n": 0, "n_right": 0}
        )
        row["n"] += 1
        row["n_right"] += bool(right[k])
        volumes[label].append(atoms.get_volume() / len(atoms) / sizes[match.entry.id])
        rms[label].append(match.rms)
    for label, row in found.items():
        row["rms"] = silica.summary(rms[label])
        row["volume_ratio"] = silica.summary(volumes[label])
    return {
        "n_right": int(right.sum()),
        "networks": sorted(nets.values(), reverse=True),
        "matched": sorted(found.values(), key=lambda row: -row["n"]),
        "judge_cpu_s": round(time.process_time() - began, 1),
    }


def run(args: argparse.Namespace) -> None:
    """Add the records that are not there yet."""
    from logan_campaign.descriptors.cache import enable_compilation_cache

    enable_compilation_cache()
    done = {tuple(r[name] for name in _KEY) for r in records.read(args.out)}
    known = Known(args.training, args.data)
    work = [
        dict(zip(_KEY, (method, which, lattice, n_atoms, seed, args.samples), strict=True))
        for method in args.methods
        for seed in args.seeds
        for which in args.sets
        for lattice in (args.lattices if method == "descent" else ("drawn",))
        for n_atoms in args.atoms
    ]
    for key in work:
        if tuple(key.values()) in done:
            continue
        chosen = known.without(key["set"])
        positions, cells, times = MAKERS[key["method"]](chosen, key)
        all_kinds, unseen = known.reachable(key["n_atoms"], chosen)
        row = {
            **key,
            "n_training": len(chosen),
            "kinds": sorted(all_kinds),
            "kinds_unseen": sorted(unseen),
            **times,
            **judge(known, np.array(ATOMS[key["n_atoms"]]), positions, cells),
            "environment": records.environment(),
        }
        records.append(args.out, row)
        print(json.dumps(row), flush=True)


def report(path: Path) -> list[dict[str, Any]]:
    """Return one row for each method, training set, kind of cell and size; seeds in order."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for r in records.read(path):
        groups[r["method"], r["set"], r["lattice"], r["n_atoms"]].append(r)
    table = []
    for (method, which, lattice, n_atoms), found in groups.items():
        found.sort(key=lambda r: r["seed"])
        unseen = set(found[0]["kinds_unseen"])
        came = [{m["kind"] for m in r["matched"]} for r in found]
        times: Counter[str] = Counter()
        for r in found:
            for m in r["matched"]:
                times[m["kind"]] += m["n"]
        cpu = [r["train_cpu_s"] + r["generate_cpu_s"] for r in found]
        table.append(
            {
                "method": method,
                "set": which,
                "lattice": lattice,
                "n_atoms": n_atoms,
                "seeds": [r["seed"] for r in found],
                "samples_each": [r["n_samples"] for r in found],
                "n_training": found[0]["n_training"],
                "right_percent": [round(100 * r["n_right"] / r["n_samples"], 1) for r in found],
                "networks": [len(r["networks"]) for r in found],
                "matched_percent": [
                    round(100 * sum(m["n"] for m in r["matched"]) / r["n_samples"], 1)
                    for r in found
                ],
                "kinds": f"{len(set().union(*came))} of {len(found[0]['kinds'])}",
                "unseen_kinds": f"{len(unseen & set().union(*came))} of {len(unseen)}",
                "unseen_kinds_each": [len(unseen & kinds) for kinds in came],
                "unseen_found": {kind: n for kind, n in times.most_common() if kind in unseen},
                "seen_found": {kind: n for kind, n in times.most_common() if kind not in unseen},
                "unseen_missed": sorted(unseen - set().union(*came)),
                "cpu_s_per_64": round(64 * sum(cpu) / sum(r["n_samples"] for r in found), 1),
                "load": [r["environment"]["load"] for r in found],
            }
        )
    return table


def show(table: list[dict[str, Any]]) -> str:
    """Return a table in Markdown; figures stand in the order of seeds."""
    lines = [
        "| method, cell | training set | atoms | right (%) | networks | equal to a known one (%) "
        "| unseen kinds | which, in all samples | CPU s for 64 |",
        "| --- |" + " --- |" * 8,
    ]
    for row in table:
        cells = [
            f"{row['method']}, {row['lattice']}",
            f"{row['set']} ({row['n_training']})",
            row["n_atoms"],
            *(
                ", ".join(map(str, row[k]))
                for k in ("right_percent", "networks", "matched_percent")
            ),
            f"{', '.join(map(str, row['unseen_kinds_each']))} of {row['unseen_kinds'].split()[-1]}",
            ", ".join(f"{_short(kind)} {n}" for kind, n in row["unseen_found"].items()),
            row["cpu_s_per_64"],
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def figure(path: Path, to: Path) -> None:
    """Draw how often each unseen kind of 12 atoms came out, by training set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = [
        row
        for row in report(path)
        if (row["method"], row["lattice"], row["n_atoms"]) == ("descent", "learned", 12)
        and row["set"] != "whole"
    ]
    names = [[*row["unseen_found"], *row["unseen_missed"]] for row in panels]
    heights = [len(each) for each in names]
    drawing, axes = plt.subplots(
        len(panels), figsize=(7, 0.26 * sum(heights) + 0.8 * len(panels)), sharex=True,
        squeeze=False, gridspec_kw={"height_ratios": heights}, constrained_layout=True,
    )  # fmt: skip
    for axis, row, each in zip(axes[:, 0], panels, names, strict=True):
        n = sum(row["samples_each"])
        counts = [row["unseen_found"].get(name, 0) for name in each]
        bars = axis.barh(range(len(each)), [100 * k / n for k in counts], color="#3b6ea5")
        axis.bar_label(bars, [str(k) if k else "none" for k in counts], padding=2, fontsize=7)
        axis.set_yticks(range(len(each)), [_short(name) for name in each], fontsize=8)
        axis.invert_yaxis()
        axis.set_title(
            f"12 atoms, cell learned, training set: {row['set']}; counts of {n}", fontsize=9
        )
        axis.margins(x=0.1)
    axes[-1, 0].set_xlabel("raw samples that equal it (%)")
    records.save_figure(drawing, to, dpi=100)


def _short(label: str) -> str:
    """Return a label without the prototype's symbol, where it has a name too."""
    return label.rpartition(" A2B_")[0] or label


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("run", "report", "figure"))
    parser.add_argument("--out", type=Path, default=records.RESULTS / "unknown-cell.jsonl")
    parser.add_argument("--data", type=Path, default=silica.DATA, help="folder of the targets")
    parser.add_argument("--training", type=Path, help="training set; by default mp-546794's")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--lattices", nargs="+", choices=LATTICES, default=list(LATTICES))
    parser.add_argument("--atoms", nargs="+", type=int, choices=ATOMS, default=list(ATOMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=256)
    records.common_options(parser)
    args = parser.parse_args()
    args.training = args.training or args.data / "mp-546794_training.extxyz"
    records.run_report_figure(parser, args, run, report, show, figure)


if __name__ == "__main__":
    main()
