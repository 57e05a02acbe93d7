"""What training, generation, selection and matching cost, beside each other, in one table.

    python benchmarks/speed.py run --pools DIR --core 0     # DIR: of benchmarks/selection.py pools
    python benchmarks/speed.py report --json

Runs the benchmarks of the single parts, each in a process of its own, and keeps their figures in
`benchmarks/results/speed.jsonl`; a part that is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from records import RESULTS, append, environment, read

RESULT_FILE = RESULTS / "speed.jsonl"

#: For orientation: the published code on a processor like this one, per step over the bound of
#: its matrix products, and its compilation (s).
PUBLISHED_OVER_BOUND = 12.0
PUBLISHED_COMPILE_S = (240, 360)


def parts(pools: Path | None, core: int) -> dict[str, list[str]]:
    """Return the command of each part."""
    here = Path(__file__).parent
    one = ["--core", str(core), "--json"]
    found = {
        f"training step, {system}": [str(here / "train_step.py"), "--system", system, *one]
        for system in ("c5h12o", "sio2-bessel", "sio2-gaussian")
    }
    found["generation, 24,000 structures"] = [str(here / "generation.py"), "--cores", "1", "--json"]
    found["matching, 2,000 raw SiO2 structures grouped"] = [
        *(str(here / "matching.py"), "--part", "growth", "--raw", "2000", *one)
    ]
    if pools is not None:
        found["selection, graphs of 24,000 structures"] = [
            *(str(here / "selection.py"), "speed", "--out", str(pools), *one)
        ]
    return found


def run(pools: Path | None, core: int, results: Path) -> None:
    """Measure the parts that are not there yet."""
    done = {record["part"] for record in read(results)}
    for part, command in parts(pools, core).items():
        if part in done:
            continue
        print(part, flush=True)
        answer = subprocess.run(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True
        )
        append(results, {"part": part, "figures": json.loads(answer.stdout), **environment()})


def table(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each part takes, what it is compared with, and the ratio."""
    rows = []
    for record in records:
        part, figures = record["part"], record["figures"]
        if part.startswith("training step"):
            over = 1 / figures["cpu_bound_fraction"]
            rows.append(
                {
                    "part": part,
                    "takes": f"{figures['cpu_ms_per_step']:.1f} ms",
                    "beside": f"matrix products alone "
                    f"{figures['cpu_ms_per_step'] / over:.1f} ms; published code "
                    f"about {PUBLISHED_OVER_BOUND:g} times these",
                    "ratio": f"{over:.2f} times the bound, "
                    f"{PUBLISHED_OVER_BOUND / over:.1f} times less than published",
                }
            )
            low, high = (seconds / figures["cpu_compile_s"] for seconds in PUBLISHED_COMPILE_S)
            rows.append(
                {
                    "part": part.replace("training step", "compilation"),
                    "takes": f"{figures['cpu_compile_s']:.1f} s, "
                    f"{figures['cpu_cached_compile_s']:.1f} s from cache",
                    "beside": "published code 4 to 6 min",
                    "ratio": f"{low:.0f} to {high:.0f} times less",
                }
            )
        elif part.startswith("matching"):
            growth = figures["growth"][0]
            rows.append(
                {
                    "part": part,
                    "takes": f"{growth['cpu_exact_s']:.0f} s",
                    "beside": f"StructureMatcher on every pair {growth['brute_force_s']:.0f} s",
                    "ratio": f"{growth['speedup']:.0f} times less",
                }
            )
        else:
            seconds = figures.get("graphs_cpu_s", figures.get("cpu_generate_s"))
            rows.append({"part": part, "takes": f"{seconds:.2f} s", "beside": "", "ratio": ""})
    return rows


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--pools", type=Path, help="folder of the ensembles, for the selection")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULT_FILE)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.what == "run":
        run(options.pools, options.core, options.results)
        return
    rows = table(read(options.results))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| | takes | beside it | ratio |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row['part']} | {row['takes']} | {row['beside']} | {row['ratio']} |")


if __name__ == "__main__":
    main()
