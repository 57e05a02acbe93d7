"""Processor time that commands take from their start to their end.

    python benchmarks/start.py [FOLDER OF A CAMPAIGN] [--runs 5] [--json]

User and system time of a process of its own, of several runs the lowest and the median; the
first run of each command, which may compile bytecode, does not count. Bytecode goes to a
folder of its own, so that it is there whatever the environment says.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = [sys.executable, "-c", "from logan_campaign.cli import main; main()"]
#: A spec with a mistake that only validation finds.
WRONG = "name: wrong\ntarget: {kind: molecule, formula: C2H6O, box: [6, 5, 5]}\nrelaxx: 1\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("campaign", nargs="?", help="folder of a campaign, for 'results'")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "wrong.yaml")
        spec.write_text(WRONG, encoding="utf-8")
        commands = {
            "--version": ["--version"],
            "--help": ["--help"],
            "run, with a mistake in the spec": ["run", str(spec)],
        }
        if options.campaign:
            commands["results"] = ["results", options.campaign]
        found = {
            name: measured(command, options.runs, folder) for name, command in commands.items()
        }
    if options.as_json:
        print(json.dumps(found, indent=2))
        return
    for name, times in found.items():
        print(f"{name:32} {min(times):5.2f} s at best, {statistics.median(times):5.2f} s median")


def measured(command: list[str], runs: int, folder: str) -> list[float]:
    """Return the processor times (s) of a command, after a run that does not count."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    for _ in range(runs + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*PROGRAM, *command], env=environment, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return times[1:]


if __name__ == "__main__":
    main()
