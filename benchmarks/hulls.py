"""Convex hulls that campaigns find, beside what enumerating everything finds.

    python benchmarks/hulls.py oracle            # an hour; goes on where it was
    python benchmarks/hulls.py run               # the campaigns; goes on where it was
    python benchmarks/hulls.py report --json

The oracle of Cu-Au relaxes every derivative structure of fcc and bcc of up to eight atoms, cell
and positions, with EMT, the potential of the campaigns. Al-Ni-Pd has no oracle: its hulls are
compared with that of the phases of all campaigns together.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import yaml
from ase.calculators.emt import EMT
from ase.filters import UnitCellFilter
from ase.optimize import BFGS
from derivatives import derivatives
from pymatgen.core import Composition
from records import RESULTS, append, environment, read, show

from logan_campaign.campaign.stability import Hull, HullEntry, element_structure, hull_of
from logan_campaign.geometry.structures import formula, from_atoms, spacegroup_symbol, to_atoms

SEEDS = (0, 1, 2)
#: Largest force (eV/Å) of oracle and campaigns.
FMAX = 0.02
#: Energy (eV/atom) within which a phase counts as found and a hull as the oracle's.
NEAR = 0.002

#: Number of relaxations of each system's campaigns.
SYSTEMS = {"Cu-Au": 126, "Al-Ni-Pd": 300}
#: What each rule changes in the spec.
RULES: dict[str, dict[str, Any]] = {
    "hull": {"rounds.policy": "hull"},
    "round_robin": {"rounds.policy": "round_robin"},
    "random": {"rounds.policy": "round_robin", "models.hyperparameters": {"method": "random"}},
}


def oracle(args: argparse.Namespace) -> None:
    """Relax every derivative structure of fcc and bcc of copper and gold."""
    species = ("Cu", "Au")
    done = {record["label"] for record in read(args.oracle) if record["kind"] == "relaxed"}
    append(args.oracle, {"kind": "run", **environment()})
    pure = [element_structure(symbol) for symbol in species]
    volumes = [structure.volume / len(structure) for structure in pure]
    for lattice in ("fcc", "bcc"):
        for place, start in enumerate(derivatives(lattice, species, range(1, 9), volumes)):
            label = f"{lattice} {place}"
            if label in done:
                continue
            began = time.process_time()
            atoms = to_atoms(start)
            atoms.calc = EMT()
            # the same minima as with the filter of the campaigns, at half the time
            converged = BFGS(UnitCellFilter(atoms), logfile=None).run(fmax=FMAX, steps=400)
            record = {
                "kind": "relaxed",
                "label": label,
                "formula": formula(start),
                "state": "converged" if converged else "not_converged",
                "energy_ev": round(atoms.get_potential_energy(), 6),
                "spacegroup": spacegroup_symbol(from_atoms(atoms)),
                "cpu_s": round(time.process_time() - began, 2),
            }
            append(args.oracle, record)


def spec_of(system: str, rule: str, seed: int) -> dict[str, Any]:
    """Return the spec of a campaign that knows the elements alone."""
    spec: dict[str, Any] = {
        "name": f"{system}-{rule}-{seed}",
        "seed": seed,
        "target": {
            "chemical_system": "-".join(sorted(system.split("-"))),
            "kind": "crystal",
            "max_atoms": 8 if system == "Cu-Au" else 6,
        },
        "training": {
            "source": {"type": "builtin", "name": "elements", "formulas": system.split("-")}
        },
        "models": {
            "count": 1,
            "hyperparameters": {"method": "descent", "n_neighbour": 16, "descent_steps": 150},
        },
        "generate": {"per_model": 32},
        "select": {"strategy": "diverse", "n_picks": 3},
        "relax": {
            "levels": [
                {
                    "calculator": "ase",
                    "target": "ase.calculators.emt:EMT",
                    "name": "emt",
                    "relax_cell": True,
                    "isolate": False,
                    "fmax": FMAX,
                    "candidates_per_job": 10,
                }
            ],
            "hull": {},
        },
        "rounds": {
            "batch": 4,
            "stop": {"rounds": 1000, "relaxations": SYSTEMS[system], "barren_rounds": None},
            "learn": {"energy_window_ev_per_atom": 0.1},
        },
    }
    for path, value in RULES[rule].items():
        *parents, last = path.split(".")
        section = spec
        for name in parents:
            section = section.setdefault(name, {})
        section[last] = value
    return spec


def run(args: argparse.Namespace) -> None:
    """Run the campaigns that have not ended, one after another."""
    from logan_campaign.results import Results

    done = {(r["system"], r["rule"], r["seed"]) for r in read(args.out) if r["kind"] == "found"}
    args.folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for system in SYSTEMS:
            for rule in RULES if system == "Cu-Au" else ("hull", "round_robin"):
                name = f"{system}-{rule}-{seed}"
                if (system, rule, seed) in done or args.only not in name:
                    continue
                spec = args.folder / f"{name}.yaml"
                spec.write_text(yaml.safe_dump(spec_of(system, rule, seed)))
                store = args.folder / name
                command = ["run", str(spec), "--store", str(store), "--workers", "1", "--quiet"]
                subprocess.run([sys.executable, "-m", "logan_campaign", *command], check=True)
                with Results.open(store) as results:
                    record = results.campaign().record
                hull = record.hull
                assert hull is not None  # of a campaign with its elements
                relaxed = 0
                history = []
                for past in record.rounds:
                    relaxed += past.n_last_level
                    phases = {
                        p.formula: round(p.energy_per_atom_ev, 6) for p in hull.at(past.index)
                    }
                    if not history or history[-1]["phases"] != phases:
                        history.append({"relaxations": relaxed, "phases": phases})
                append(
                    args.out,
                    {
                        "kind": "found",
                        "system": system,
                        "rule": rule,
                        "seed": seed,
                        "relaxations": relaxed,
                        "rounds": len(record.rounds),
                        "cpu_s": round(sum(past.cpu_s for past in record.rounds), 1),
                        "stopped": record.rounds[-1].reason,
                        "history": history,
                        **environment(),
                    },
                )


def hull_from(phases: Iterable[tuple[str, float]]) -> Hull:
    """Return the hull of formulas and their energies (eV/atom)."""
    entries = [
        HullEntry(f"{place}", name, energy * Composition(name).num_atoms)
        for place, (name, energy) in enumerate(phases)
    ]
    hull = hull_of(entries)
    assert hull is not None  # elements are among them
    return hull


def compared(best: Hull, phases: Mapping[str, float]) -> tuple[int, float]:
    """Return how many phases of the best hull are found, and by how much a hull is above it.

    Args:
        best: the hull to compare with.
        phases: formulas on the other hull, with their energies (eV/atom).
    """
    own = hull_from(phases.items())
    mine = {
        Composition(name).reduced_formula: energy
        for name, energy in phases.items()
        if not Composition(name).is_element
    }
    sought = [entry for entry in best.stable if not Composition(entry.formula).is_element]
    found = [
        entry
        for entry in sought
        if mine.get(Composition(entry.formula).reduced_formula, 1e9)
        <= best.energy_at(entry.formula) + NEAR
    ]
    # the difference of two hulls is largest at a corner of the lower one
    gaps = [own.energy_at(e.formula) - best.energy_at(e.formula) for e in best.stable]
    return len(found), max(gaps)


def report(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a line per system, rule and seed."""
    relaxed = [r for r in read(args.oracle) if r["kind"] == "relaxed"]
    table = []
    campaigns = [record for record in read(args.out) if record["kind"] == "found"]
    for system in dict.fromkeys(record["system"] for record in campaigns):
        mine = [record for record in campaigns if record["system"] == system]
        has_oracle = system == "Cu-Au"
        phases = [(n, e) for r in mine for n, e in r["history"][-1]["phases"].items()]
        if has_oracle:
            phases = [
                (r["formula"], r["energy_ev"] / Composition(r["formula"]).num_atoms)
                for r in relaxed
                if r["state"] == "converged"
            ]
        best = hull_from(phases)
        n_phases = len([e for e in best.stable if not Composition(e.formula).is_element])
        for record in sorted(mine, key=lambda r: (r["rule"], r["seed"])):
            steps = [(s["relaxations"], *compared(best, s["phases"])) for s in record["history"]]
            enough = [n for n, found, gap in steps if found >= 0.9 * n_phases and gap <= NEAR]
            _, found, gap = steps[-1]
            table.append(
                {
                    "system": system,
                    "rule": record["rule"],
                    "seed": record["seed"],
                    "hull_phases": n_phases,
                    "found": found,
                    "at_most_above_mev_per_atom": round(1000 * gap, 2),
                    "relaxations": record["relaxations"],
                    "relaxations_until_there": enough[0] if enough else None,
                    "oracle_relaxations": len(relaxed) if has_oracle else None,
                    "cpu_s": record["cpu_s"],
                    "growth_mev_per_atom": [[n, round(1000 * gap, 2)] for n, _, gap in steps],
                }
            )
    return table


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("oracle", "run", "report"))
    parser.add_argument("--only", default="", help="run what has this in its name")
    parser.add_argument("--folder", type=Path, default=Path("hulls"), help="of the campaigns")
    parser.add_argument("--oracle", type=Path, default=RESULTS / "hulls_oracle.jsonl")
    parser.add_argument("--out", type=Path, default=RESULTS / "hulls.jsonl")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.what == "report":
        show(report(args), args.json)
    else:
        (oracle if args.what == "oracle" else run)(args)


if __name__ == "__main__":
    main()
