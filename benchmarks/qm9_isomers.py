"""Which isomers that QM9 knows are found by what `init` writes, from neighbouring compositions.

    pip install qm9pack                                    # or: pip install --target DIR qm9pack
    python benchmarks/qm9_isomers.py run [--qm9 DIR] [--formulas C5H10O …] [--seeds 0]
    python benchmarks/qm9_isomers.py report --json

The training set is that of the spec: molecules of QM9 with one CH2 more and one less, none of the
composition itself. Samples are raw: a sample is valid if it has a molecular graph, and nothing is
relaxed. `--exchange 0` starts every descent from random positions. Results go to
`benchmarks/results/qm9_isomers.jsonl`, one record for each member; `run` goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from records import RESULTS, append, environment, read

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli.starting import starting_spec
from logan_campaign.core.processors import pin_to_cores
from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.flows.rounds import member_seed
from logan_campaign.geometry.molecular_graphs import pool_graphs
from logan_campaign.geometry.molecules import canonical_smiles
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.sources.base import LoadedSet

RESULT_FILE = RESULTS / "qm9_isomers.jsonl"

#: Nothing was tuned on these; settings were chosen on C4H8O, C4H7N, C4H6O, C5H8 and C5H8O.
FORMULAS = ("C5H10O", "C5H10O2", "C6H12O", "C3H7NO", "C6H6", "C5H11N", "C7H10O2")

#: Ten common isomers of C5H10O; QM9 does not hold allyl ethyl ether.
COMMON = {
    "pentanal": "CCCCC=O",
    "2-pentanone": "CCCC(C)=O",
    "3-pentanone": "CCC(=O)CC",
    "cyclopentanol": "OC1CCCC1",
    "tetrahydropyran": "C1CCOCC1",
    "2-methyltetrahydrofuran": "CC1CCCO1",
    "3-methylbutanal": "CC(C)CC=O",
    "pivaldehyde": "CC(C)(C)C=O",
    "allyl ethyl ether": "C=CCOCC",
    "3-methyl-2-butanone": "CC(C)C(C)=O",
}


@lru_cache
def spec_of(formula: str) -> CampaignSpec:
    """Return the spec that `init` writes for a molecule."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        text, _ = starting_spec("molecule", formula, "qm9-isomers", str(path))
        path.write_text(text)
        return CampaignSpec.from_file(path)


@lru_cache
def sets_of(formula: str, qm9: Path | None) -> list[LoadedSet]:
    """Return the training set and the known set of a spec, QM9 from the given place."""
    spec, found = spec_of(formula), []
    for source in (spec.training.source, *spec.known):
        if source.type == "qm9" and qm9 is not None:
            source = source.model_copy(update={"path": str(qm9.absolute())})
        found.append(source.load())
    return found


def run_member(formula: str, seed: int, member: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the record of one member: how many samples have which graph."""
    spec = spec_of(formula)
    training, *_ = sets_of(formula, options.qm9)
    structures = [to_atoms(entry.structure) for entry in training.entries]
    target = spec.check(Path.cwd()).to_gan(structures)
    settings: Any = spec.models.members()[member]
    if options.exchange is not None:
        settings = settings.model_copy(update={"exchange": options.exchange})
    own, n = member_seed(seed, member), options.samples // spec.models.count
    begun = time.process_time()
    model = settings.train(structures, target, seed=own, training_set_id="").model
    positions = model.generate(n, seed=own).positions
    spent = time.process_time() - begun
    graphs = pool_graphs(np.array(target.numbers), positions).preferred()
    return {
        **key_of(formula, seed, member, options),
        "n": n,
        "n_training": len(structures),
        "cpu_s": round(spent, 1),
        "settings": settings.model_dump(mode="json"),
        "graphs": dict(Counter(graphs[graphs != ""].tolist()).most_common()),
        **environment(),
    }


def key_of(formula: str, seed: int, member: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return what names a piece of work."""
    return {
        "kind": "member",
        "formula": formula,
        "seed": seed,
        "member": member,
        "samples": options.samples,
        "exchange": options.exchange,
    }


def run(options: argparse.Namespace) -> None:
    """Generate the members that are missing, and note which isomers QM9 knows."""
    enable_compilation_cache()
    for seed in options.seeds:
        # first members first: what is found by then is found with all of them
        for member in range(spec_of(options.formulas[0]).models.count):
            for formula in options.formulas:
                records = read(options.results)
                if not any(r["kind"] == "known" and r["formula"] == formula for r in records):
                    known = sets_of(formula, options.qm9)[1]
                    smiles = sorted({entry.smiles for entry in known.entries if entry.smiles})
                    append(options.results, {"kind": "known", "formula": formula, "smiles": smiles})
                key = key_of(formula, seed, member, options).items()
                if not any(key <= r.items() for r in map(_plain, records)):
                    append(options.results, run_member(formula, seed, member, options))
                    print(formula, "seed", seed, "member", member, flush=True)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in record.items() if not isinstance(v, dict | list)}


def report(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each composition, seed and setting; ``samples`` are those there are."""
    known = {r["formula"]: set(r["smiles"]) for r in records if r["kind"] == "known"}
    common = {canonical_smiles(text) for text in COMMON.values()}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in records:
        if r["kind"] == "member":
            key = (r["formula"], r["seed"], r["samples"], r["exchange"])
            groups.setdefault(key, []).append(r)
    rows = []
    for (formula, seed, _, exchange), members in groups.items():
        total = sum((Counter(r["graphs"]) for r in members), Counter[str]())
        n = sum(r["n"] for r in members)
        row = {
            "formula": formula,
            "seed": seed,
            "exchange": exchange,
            "n_training": members[0]["n_training"],
            "samples": n,
            "valid": round(total.total() / n, 3),
            "distinct": len(total),
            "distinct_per_1000": round(1000 * len(total) / n),
            "known": len(known[formula]),
            "found": len(known[formula] & set(total)),
            "found_per_1000": round(1000 * len(known[formula] & set(total)) / n),
            "samples_known": round(sum(total[s] for s in known[formula]) / n, 3),
            "rings_of_5_or_6": sum(_has_large_ring(s) for s in total),
            "cpu_s": round(sum(r["cpu_s"] for r in members)),
            "missed": sorted(known[formula] - set(total)) if len(known[formula]) <= 150 else None,
        }
        if formula == "C5H10O":
            row["common"] = len(common & set(total))
        rows.append(row)
    return rows


def _has_large_ring(smiles: str) -> bool:
    mol = Chem.MolFromSmiles(smiles)
    return mol is not None and any(len(ring) in (5, 6) for ring in Chem.GetSymmSSSR(mol))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--qm9", type=Path, help="archive, or folder of qm9pack")
    parser.add_argument("--formulas", nargs="+", default=FORMULAS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--samples", type=int, default=3000, help="of all members together")
    parser.add_argument("--exchange", type=float, help="instead of what init writes")
    parser.add_argument("--results", type=Path, default=RESULT_FILE)
    parser.add_argument("--core", type=int, help="processor core to use")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.what == "run":
        if options.core is not None:
            pin_to_cores([options.core])
        run(options)
        return
    rows = report(read(options.results))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items() if name != "missed"))


if __name__ == "__main__":
    main()
