"""How long the first and the second query of a QM9-sized archive take, and how much memory.

The archive has QM9's format and size but not its molecules: the 39 isomers C4H10O and
C6H14O, and several thousand other real molecules repeated with their atoms moved until
there are 133,885. Each pull is the command of its own process, held to one core::

    python benchmarks/qm9_pull.py --json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import support  # noqa: F401  makes the next importable
from ase.formula import Formula
from qm9_archive import QM9_SIZE, Molecule, embed, filler, grow, uncharacterized_text, write_archive

from logan_campaign.sources.builtin import alcohols_and_ethers

WANTED = ("C4H10O", "C6H14O")
UNCHARACTERIZED = range(QM9_SIZE - 3054, QM9_SIZE)


def make(path: Path, n: int, n_distinct: int) -> None:
    """Write the archive and, beside it, the list of uncharacterized molecules."""
    first = [embed(smiles) for c in (4, 6) for smiles in alcohols_and_ethers(c)]
    others = []
    for smiles in grow(n_distinct):
        molecule = embed(smiles)
        if molecule is not None and _formula(molecule) not in WANTED:
            others.append(molecule)
    found = [molecule for molecule in first if molecule is not None]
    write_archive(path, filler(found, others, n))
    path.with_name("uncharacterized.txt").write_text(uncharacterized_text(UNCHARACTERIZED))


def _formula(molecule: Molecule) -> str:
    return Formula.from_list(molecule.symbols).format("hill")


_QUERY = """
import json, resource, sys, time
from pathlib import Path
from logan_campaign.sources import QM9Source
source = QM9Source(formulas=sys.argv[2].split(","), path=sys.argv[1])
begun, cpu = time.perf_counter(), time.process_time()
loaded = source.load()
print(json.dumps({
    "wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu,
    "n": len(loaded.entries), "n_rejected": len(loaded.rejected),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def query(archive: Path, cache: Path) -> dict[str, float]:
    """Return time (s) and peak memory (MB) of one query in a process of its own."""
    command = [sys.executable, "-c", _QUERY, str(archive), ",".join(WANTED)]
    done = subprocess.run(command, env=_environment(cache), capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def command(archive: Path, cache: Path, store: Path) -> dict[str, float]:
    """Return time (s) of the whole command ``data pull qm9``, start of Python included."""
    arguments = [sys.executable, "-m", "logan_campaign", "data", "pull", "qm9"]
    for formula in WANTED:
        arguments += ["--formula", formula]
    arguments += ["--archive", str(archive), "--store", str(store), "--json"]
    begun = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(arguments, env=_environment(cache), capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_s": time.perf_counter() - begun,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "n": json.loads(done.stdout)["n_structures"],
    }


def _environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "LOGAN_CAMPAIGN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Write the archive if it is not there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="kept there; by default a temporary file")
    parser.add_argument("--molecules", type=int, default=QM9_SIZE)
    parser.add_argument("--distinct", type=int, default=4000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = arguments.archive or Path(folder) / "dsgdb9nsd.xyz.tar.bz2"
        begun = time.perf_counter()
        if not archive.exists():
            make(archive, arguments.molecules, arguments.distinct)
        made = time.perf_counter() - begun
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        cache, store = Path(folder) / "cache", Path(folder) / "store"
        found = {
            "molecules": arguments.molecules,
            "archive_mb": archive.stat().st_size / 1e6,
            "made_s": made,
            "first": query(archive, cache),
            "second": query(archive, cache),
            "index_mb": sum(p.stat().st_size for p in (cache / "qm9").iterdir()) / 1e6,
            "command_second": command(archive, cache, store),
        }
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name in ("first", "second", "command_second"):
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in found[name].items())
        print(f"{name}: {numbers}")


if __name__ == "__main__":
    main()
