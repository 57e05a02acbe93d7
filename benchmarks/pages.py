"""How long the browser's pages take, and how much memory it needs, on a database.

    python benchmarks/queries.py --make many --sizes 100000
    python benchmarks/pages.py many --json

Starts ``logan-campaign serve``, asks for every kind of page several times, one after the
other, and reports the first and the median time of each, and the largest memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from logan_campaign.results import Results

REPEATS = 4
_START_S = 120.0


def addresses(store: str) -> list[str]:
    """Return one address of every kind of page, and lists by every filter and order."""
    with Results.open(store) as results:
        record = results.campaigns()[0]
        candidate = results.candidates(state="new").first()
        material = results.materials().first()
        model = results.database.models(record.id)[-1].id
    if candidate is None or material is None:
        raise SystemExit(f"{store} holds no new candidate")
    campaign = f"/campaigns/{record.id}"
    formula, level = candidate.formula, record.levels[-1]
    filters = ["", "state=new", f"state=rediscovered&level={level}", f"formula={formula}"]
    filters += [f"smiles={candidate.smiles}", f"model={model}", f"material={material.id}"]
    filters += ["round=0", "max_energy=0.05", "max_energy=0.5&state=new", "page=100"]
    filters += [f"sort={name}" for name in ("order", "energy", "energy_above_hull")]
    filters += [f"sort={name}&descending=true" for name in ("best", "energy")]
    return [
        "/",
        campaign,
        f"{campaign}/progress",
        *(f"{campaign}/candidates?{text}" for text in filters),
        "/candidates",
        "/candidates?state=new",
        "/candidates?page=100",
        f"/candidates/{candidate.id}",
        f"/candidates/{candidate.id}/download/extxyz",
        f"/lineage/{candidate.id}",
        f"/models/{model}",
        "/materials",
        f"{campaign}/materials",
        f"/materials/{material.id}",
        f"/sets/{record.training_set_ids[0]}",
        "/optimade/v1/structures",
    ]


def ask(address: str) -> float:
    """Return how long an answer takes (s)."""
    started = time.perf_counter()
    with urllib.request.urlopen(address) as answer:
        answer.read()
    return time.perf_counter() - started


def memory_mb(pid: int) -> float:
    """Return the largest resident memory of a process so far (MB)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no memory figures here")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--port", type=int, default=8650)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pages = addresses(options.store)
    base = f"http://127.0.0.1:{options.port}"
    command = [sys.executable, "-m", "logan_campaign", "serve", options.store]
    server = subprocess.Popen([*command, "--port", str(options.port)])
    try:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                ask(f"{base}/")
                break
            except urllib.error.URLError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.2)
        rows = {}
        for page in pages:
            first, *others = [ask(base + page) for _ in range(REPEATS)]
            rows[page] = {"first_ms": 1e3 * first, "median_ms": 1e3 * statistics.median(others)}
        found = {
            "slowest_ms": max(row["median_ms"] for row in rows.values()),
            "memory_mb": memory_mb(server.pid),
            "pages": rows,
        }
    finally:
        server.terminate()
        server.wait()
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for page, row in rows.items():
        print(f"{row['first_ms']:8.0f} {row['median_ms']:8.0f} ms  {page}")
    print(f"slowest {found['slowest_ms']:.0f} ms; at most {found['memory_mb']:.0f} MB")


if __name__ == "__main__":
    main()
