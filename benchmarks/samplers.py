"""What samples are worth and what they cost: the GAN as published, and structures by descent.

    python benchmarks/samplers.py run --out DIR --system c4h10o     # resumes
    python benchmarks/samplers.py run --out DIR --system sio2       # needs --crystals FILE
    python benchmarks/samplers.py report --out DIR --json

Settings are chosen on C4H10O, learned from C3H8O and C5H12O, and on five SiO2 crystals that
are left out of the training set together with their near matches (loose tolerances); C5H12O,
learned from C4H10O and C6H14O, only confirms the choice.

Molecules: 150 samples, drawn in equal shares from the models of an ensemble, are relaxed with
GFN2-xTB; counted are those that become an isomer of the composition, and the different ones.
Crystals: coordination (every Si with 4 O, every O with 2 Si) and matches with the crystal that
was left out, both of raw samples. Times are processor time; each line of the results is one
ensemble with one seed, with the machine's load beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from records import append, read, show
from selection import Truth
from selection_pools import BOX

from logan_campaign.core.processors import pin_to_cores

N_SAMPLES = 150
MEMBERS = 8

#: target's atoms, what is learned from, isomers there are
MOLECULES = {
    "c4h10o": ((1,) * 10 + (6,) * 4 + (8,), ["C3H8O", "C5H12O"], 7),
    "c5h12o": ((1,) * 12 + (6,) * 5 + (8,), ["C4H10O", "C6H14O"], 14),
}

#: Places of the crystals in mp-546794_training.extxyz: of those with up to 18 atoms, one with
#: 9, two with 12 and two with 18, by numpy's default_rng(0).
CRYSTALS = (56, 21, 99, 18, 87)
N_MATCHED = 48

#: Settings for molecules and for crystals of each variant.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "wgan, faithful": (
        {"method": "wgan", "initial_spread": 0.0, "n_neighbour": 12},
        {"method": "wgan", "initial_spread": 0.0},
    ),
    "wgan": ({"method": "wgan", "n_neighbour": 12}, {"method": "wgan"}),
    "descent": ({"method": "descent", "r_cut": 5.0, "keep": 0.3}, {"method": "descent"}),
}

#: The paper's settings for crystals, in a common smaller size.
_CRYSTAL_WGAN = {
    "r_cut": 4.0,
    "n_max": 3,
    "n_neighbour": 12,
    "learning_rate": 10**-3.5,
    "rattle_copies": 10,
    "rattle_stdev": 0.03,
    "environments_per_species": 20,
}


def molecules(out: Path, system: str, variant: str, seed: int, steps: int) -> dict[str, Any]:
    """Return the figures of one ensemble of molecules."""
    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target
    from logan_campaign.geometry.molecules import perceive_arrays
    from logan_campaign.geometry.structures import to_atoms
    from logan_campaign.sources import BuiltinSource

    numbers, formulas, _ = MOLECULES[system]
    loaded = BuiltinSource(type="builtin", name="alcohols-and-ethers", formulas=formulas).load()
    entries = sorted(loaded.entries, key=lambda entry: entry.id)
    structures = [to_atoms(entry.structure) for entry in entries]
    said = dict(VARIANTS[variant][0])
    if said["method"] == "wgan":
        said["steps"] = steps
    settings = models.settings_from(said)
    truth = Truth(out / f"relaxed-{system}.jsonl", numbers)
    row: dict[str, Any] = {"train_cpu_s": 0.0, "generate_cpu_s": 0.0}
    samples: list[np.ndarray] = []
    for member in range(MEMBERS):
        began = time.process_time()
        result = settings.train(
            structures,
            Target(numbers, BOX, periodic=False),
            seed=1000 * seed + member,
            training_set_id=system,
        )
        row["train_cpu_s"] += time.process_time() - began
        if result.model is None:
            continue
        n = N_SAMPLES // MEMBERS + (member < N_SAMPLES % MEMBERS)
        began = time.process_time()
        samples += list(result.model.generate(n, seed=member).positions)
        row["generate_cpu_s"] += time.process_time() - began
    raw = [perceive_arrays(np.array(numbers), p.astype(float)).smiles for p in samples]
    became = [truth.of(p)["smiles"] for p in samples]
    return row | {
        "n_samples": len(samples),
        "share_raw_valid": sum(s is not None for s in raw) / len(samples),
        "n_raw_distinct": len(set(raw) - {None}),
        "share_true": sum(s is not None for s in became) / len(samples),
        "n_distinct": len(set(became) - {None}),
    }


def crystals(file: Path, index: int, variant: str, seed: int, steps: int) -> dict[str, Any]:
    """Return the figures of one model of one crystal that was left out."""
    import silica
    from ase.io import read as read_structures
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.ase import AseAtomsAdaptor

    from logan_campaign.generators import models
    from logan_campaign.generators.target import Target

    known = read_structures(file, ":")
    atoms = known[index][np.argsort(known[index].numbers, kind="stable")]
    sought = AseAtomsAdaptor.get_structure(atoms)
    loose = StructureMatcher(0.3, 0.5, 10)
    structures = [
        other
        for k, other in enumerate(known)
        if k != index and not loose.fit(sought, AseAtomsAdaptor.get_structure(other))
    ]
    numbers = np.array(atoms.numbers)
    target = Target(tuple(numbers.tolist()), tuple(map(tuple, atoms.cell.array.tolist())), True)
    said = dict(VARIANTS[variant][1])
    if said["method"] == "wgan":
        said |= {**_CRYSTAL_WGAN, "steps": steps}
    began = time.process_time()
    result = models.settings_from(said).train(structures, target, seed=seed, training_set_id="sio2")
    row: dict[str, Any] = {
        "n_atoms": len(numbers),
        "n_near_left_out": len(known) - 1 - len(structures),
        "train_cpu_s": time.process_time() - began,
    }
    if result.model is None:
        return row | {"n_samples": 0, "failed": result.reason}
    began = time.process_time()
    pool = result.model.generate(N_SAMPLES, seed=seed)
    row["generate_cpu_s"] = time.process_time() - began
    right = silica.is_right(numbers, pool.positions, pool.cells)
    default = StructureMatcher(0.2, 0.3, 5)
    matched = 0
    for positions in pool.positions[:N_MATCHED]:
        atoms.positions = positions
        matched += bool(default.fit(sought, AseAtomsAdaptor.get_structure(atoms)))
    found: list[str] = []
    if right.any():
        found = silica.networks(numbers, pool.positions[right], pool.cells[right])
    return row | {
        "n_samples": N_SAMPLES,
        "share_coordinated": float(right.mean()),
        "n_topologies": len(set(found)),
        "share_matched": matched / N_MATCHED,
    }


def run(args: argparse.Namespace) -> None:
    """Add the lines that are not there yet."""
    from logan_campaign.descriptors.cache import enable_compilation_cache

    enable_compilation_cache()
    args.out.mkdir(parents=True, exist_ok=True)
    done = {
        (r["system"], r["variant"], r["seed"], r["steps"])
        for r in read(args.out / "samplers.jsonl")
    }
    systems = [f"sio2-{k}" for k in CRYSTALS] if args.system == "sio2" else [args.system]
    for seed in args.seeds:
        for variant in args.variants:
            for system in systems:
                steps = 0 if variant == "descent" else args.steps
                if (system, variant, seed, steps) in done:
                    continue
                key = {"system": system, "variant": variant, "seed": seed, "steps": steps}
                if system in MOLECULES:
                    figures = molecules(args.out, system, variant, seed, steps)
                else:
                    index = int(system.removeprefix("sio2-"))
                    figures = crystals(args.crystals, index, variant, seed, steps)
                row = {**key, **figures, "load": round(os.getloadavg()[0], 1)}
                append(args.out / "samplers.jsonl", row)
                print(json.dumps(row), flush=True)


def report(out: Path) -> list[dict[str, Any]]:
    """Return one row for each system, variant and number of steps: means over seeds."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in read(out / "samplers.jsonl"):
        groups.setdefault((row["system"], row["variant"], row["steps"]), []).append(row)
    table = []
    for (system, variant, steps), found in groups.items():
        mean = {
            name: round(float(np.mean([r[name] for r in found])), 3)
            for name in found[0]
            if name not in ("system", "variant", "steps", "seed", "failed")
            and all(name in r for r in found)
        }
        each = [r.get("n_distinct", r.get("share_coordinated")) for r in found]
        table.append(
            {"system": system, "variant": variant, "steps": steps, "each_seed": each, **mean}
        )
    return table


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--system", choices=(*MOLECULES, "sio2"), default="c4h10o")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=2000, help="generator updates of the GAN")
    parser.add_argument(
        "--crystals",
        type=Path,
        default=Path("../shared/data/sio2/mp-546794_training.extxyz"),
        help="file with the SiO2 crystals",
    )
    parser.add_argument("--core", type=int, default=0, help="processor core to keep to")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.what == "run":
        pin_to_cores([args.core])
        run(args)
        return
    show(report(args.out), args.json)


if __name__ == "__main__":
    main()
