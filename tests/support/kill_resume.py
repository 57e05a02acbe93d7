"""Kill a campaign again and again; it must end as if nothing had happened.

    python tests/support/kill_resume.py examples/demo.yaml --kills 10

runs the campaign once undisturbed, then once more with SIGKILLs at random moments and the
same command after each, and compares what the two have left: candidates with what became of
them, models with their weights, the number of documents in each collection. Nothing may be
doubled or without an owner, and no process may outlive its runner. The exit code is 1 if
anything differs.

Energies are compared with a tolerance: a relaxation that goes on from its last frame starts
its optimizer anew, and ends at the same minimum by another path.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from jobflow import JobStore

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.stores.collections import CAMPAIGN_DATABASE
from logan_campaign.stores.open import CampaignStores, open_store
from logan_campaign.stores.queries import CampaignDatabase

#: How long what a killed runner had started may take to go (s).
GONE_WITHIN_S = 5.0

#: Of a candidate: what does not depend on when and where it was worked on.
_CANDIDATE = {
    "order",
    "state",
    "reason",
    "formula",
    "model_id",
    "training_set_id",
    "pool_id",
    "sample_index",
    "cluster",
    "represents",
    "smiles",
    "spacegroup",
    "level",
    "energy_ev",
    "match",
    "match_label",
    "material_id",
}
_MODEL = {"index", "state", "reason", "steps", "seed", "training_set_id", "hyperparameters"}


def contents(location: str, name: str) -> dict[str, Any]:
    """Return what a campaign has left, in a form to compare.

    Args:
        location: folder, file or URI of its store, which holds no other campaign.
        name: its name.
    """
    with open_store(location) as stores:
        database = CampaignDatabase(stores)
        record = database.campaign(name)
        candidates = {
            c.id: c.model_dump(mode="json", include=_CANDIDATE)
            | {"relaxations": [f"{r.level}: {r.state}" for r in c.relaxations]}
            for c in database.candidates(record.id, structures=False)
        }
        models = {
            m.id: m.model_dump(mode="json", include=_MODEL)
            | {"history": _digest(m.history.model_dump(mode="json"))}
            for m in database.models(record.id)
        }
        for document in _jobstore(stores).query({"output.doc_type": "model"}, load=True):
            weights = document["output"]["weights"]
            models[document["output"]["id"]]["weights"] = _digest(weights)
        return {
            "id": record.id,
            "candidates": candidates,
            "models": models,
            "documents": {store: _store(stores, store).count() for store in _names()},
        }


def doubled_or_lost(location: str) -> list[str]:
    """Return what is wrong with the documents of a store; empty if nothing is."""
    with open_store(location) as stores:
        wrong = []
        for name in CAMPAIGN_DATABASE:
            keys = [doc["id"] for doc in _store(stores, name).query({}, properties=["id"])]
            wrong += [f"{name}: {key} occurs {n} times" for key, n in _repeated(keys)]
        documents = list(stores.docs.query({}))
        outputs = [(doc["uuid"], doc["index"]) for doc in documents]
        wrong += [f"outputs: {key} occurs {n} times" for key, n in _repeated(outputs)]
        entries = list(stores.ledger.query({"doc_type": "job"}))
        recorded = [(e["uuid"], e["index"]) for e in entries if e["state"] == "completed"]
        wrong += [f"ledger: {key} occurs {n} times" for key, n in _repeated(recorded)]
        wrong += [f"outputs: {key} is not on record" for key in {*outputs} - {*recorded}]
        wrong += [f"ledger: the output of {key} is missing" for key in {*recorded} - {*outputs}]
        wanted = {blob for doc in documents for blob in _blobs(doc["output"])}
        there = [blob["blob_uuid"] for blob in stores.data.query({}, properties=["blob_uuid"])]
        wrong += [f"blobs: {key} occurs {n} times" for key, n in _repeated(there)]
        wrong += [f"blobs: {key} has no owner" for key in {*there} - wanted]
        wrong += [f"blobs: {key} is missing" for key in wanted - {*there}]
        return wrong


def differences(one: dict[str, Any], other: dict[str, Any], energy_ev: float = 0.0) -> list[str]:
    """Return where two campaigns' :func:`contents` differ, one line each.

    Args:
        one: the reference.
        other: what is compared with it.
        energy_ev: tolerance of energies (eV).
    """
    found = []
    for kind in ("candidates", "models"):
        a, b = one[kind], other[kind]
        found += [f"{kind}: {key} is missing" for key in sorted(a.keys() - b.keys())]
        found += [f"{kind}: {key} is new" for key in sorted(b.keys() - a.keys())]
        for key in sorted(a.keys() & b.keys()):
            for name in sorted({*a[key], *b[key]}):
                x, y = a[key].get(name), b[key].get(name)
                if name == "energy_ev" and None not in (x, y) and abs(x - y) <= energy_ev:
                    continue
                if x != y:
                    found.append(f"{kind}: {key}: {name} is {y}, not {x}")
    for name, number in one["documents"].items():
        if other["documents"][name] != number:
            found.append(f"{name}: {other['documents'][name]} documents, not {number}")
    return found


def largest_energy_difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference of a candidate's energies (eV)."""
    pairs = [
        (candidate["energy_ev"], other["candidates"][key]["energy_ev"])
        for key, candidate in one["candidates"].items()
        if key in other["candidates"]
    ]
    return max((abs(x - y) for x, y in pairs if x is not None and y is not None), default=0.0)


def processes_below(folder: Path) -> Iterator[int]:
    """Yield the other processes that work in a folder or below it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                cwd = (entry / "cwd").resolve(strict=True)
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue  # gone, or somebody else's
            if state != "Z" and cwd.is_relative_to(folder.resolve()):
                yield int(entry.name)


def left_over(folder: Path, within_s: float = GONE_WITHIN_S) -> list[int]:
    """Return the processes that still work below a folder after a moment."""
    deadline = time.monotonic() + within_s
    while (found := list(processes_below(folder))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def start(spec: Path, store: str, folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """Start the campaign, or go on with it; its messages go to ``run.log`` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "logan_campaign", "run", str(spec), "--store", store]
    with (folder / "run.log").open("ab") as log:
        return subprocess.Popen([*command, *options], cwd=folder, stdout=log, stderr=log)


def run_with_kills(
    spec: Path, store: str, folder: Path, options: list[str], stretches_s: list[float]
) -> dict[str, Any]:
    """Run the campaign to its end, killing it after each of the given times (s)."""
    begun = time.monotonic()
    kills, orphans = [], []
    for stretch_s in [*stretches_s, None]:
        process = start(spec, store, folder, options)
        try:
            code = process.wait(stretch_s)
        except subprocess.TimeoutExpired:
            # This process only: what it has started must notice by itself.
            process.send_signal(signal.SIGKILL)
            process.wait()
            orphans += left_over(folder)
            kills.append({"after_s": round(stretch_s or 0.0, 2), "jobs_done": jobs_done(store)})
            continue
        break
    return {
        "exit_code": code,
        "kills": kills,
        "left_over_processes": orphans + left_over(folder),
        "elapsed_s": round(time.monotonic() - begun, 1),
    }


def jobs_done(store: str) -> int:
    """Return how many jobs have ended, by the record."""
    with open_store(store, create=True) as stores:
        return int(stores.ledger.count({"doc_type": "job"}))


def _names() -> list[str]:
    return [*CAMPAIGN_DATABASE, "outputs", "blobs", "ledger"]


def _store(stores: CampaignStores, name: str) -> Any:
    special = {"outputs": stores.docs, "blobs": stores.data, "ledger": stores.ledger}
    return special[name] if name in special else stores.collection(name)  # type: ignore[arg-type]


def _jobstore(stores: CampaignStores) -> JobStore:
    return JobStore(stores.docs, additional_stores={"data": stores.data})


def _digest(obj: Any) -> str:
    return hashlib.sha256(json.dumps(obj, sort_keys=True).encode()).hexdigest()[:16]


def _repeated(keys: list[Any]) -> list[tuple[Any, int]]:
    return [(key, n) for key, n in Counter(keys).items() if n > 1]


def _blobs(obj: Any) -> Iterator[str]:
    if isinstance(obj, dict):
        if "blob_uuid" in obj:
            yield obj["blob_uuid"]
        for value in obj.values():
            yield from _blobs(value)
    elif isinstance(obj, list):
        for value in obj:
            yield from _blobs(value)


def _duration_s(store: str) -> float:
    """Return how long a finished campaign took, by its record (s)."""
    with open_store(store) as stores:
        begun = stores.ledger.query_one({"doc_type": "flow"})["created_at"]
        ended = max(e["ended_at"] for e in stores.ledger.query({"doc_type": "job"}))
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()


def main() -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("spec", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--set", action="append", default=[], help="as for run; absolute paths")
    parser.add_argument("--workers", type=int, help="as for run")
    parser.add_argument("--reference", help="store of an uninterrupted run of the same spec")
    parser.add_argument("--folder", type=Path, help="where to run; kept")
    parser.add_argument("--store", help="store of the killed run, e.g. mongodb://host/new-database")
    parser.add_argument("--tolerance", type=float, default=0.02, help="of energies (eV)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    options = [word for setting in arguments.set for word in ("--set", setting)]
    if arguments.workers:
        options += ["--workers", str(arguments.workers)]
    spec = arguments.spec.absolute()
    name = CampaignSpec.from_file(spec, arguments.set).name

    with tempfile.TemporaryDirectory(prefix="kill-resume-") as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        reference = arguments.reference
        if reference is None:
            reference = str(folder / "reference")
            code = start(spec, reference, folder / "reference", options).wait()
            if code:
                print((folder / "reference" / "run.log").read_text(), file=sys.stderr)
                return code
        duration_s = _duration_s(reference)
        moments = random.Random(arguments.seed)
        # On average they add up to the undisturbed duration; what each costs comes on top.
        stretches = [
            moments.uniform(0, 2 * duration_s / arguments.kills) for _ in range(arguments.kills)
        ]
        store = arguments.store or str(folder / "killed")
        run = run_with_kills(spec, store, folder / "killed", options, stretches)
        if run["exit_code"]:
            print((folder / "killed" / "run.log").read_text(), file=sys.stderr)
            return int(run["exit_code"])
        expected, found = contents(reference, name), contents(store, name)
        report = {
            "reference_s": round(duration_s, 1),
            **run,
            "documents": found["documents"],
            "candidates": dict(Counter(c["state"] for c in found["candidates"].values())),
            "largest_energy_difference_ev": largest_energy_difference(expected, found),
            "doubled_or_lost": doubled_or_lost(store),
            "differences": differences(expected, found, arguments.tolerance),
        }
    good = not (report["differences"] or report["doubled_or_lost"] or run["left_over_processes"])
    if arguments.json:
        print(json.dumps({"same": good, **report}, indent=2))
        return 0 if good else 1
    print(f"undisturbed: {report['reference_s']} s; killed {len(run['kills'])} times: ", end="")
    print(f"{run['elapsed_s']} s")
    for kill in run["kills"]:
        print(f"  killed after {kill['after_s']} s with {kill['jobs_done']} jobs done")
    print("documents: " + ", ".join(f"{n} {what}" for what, n in report["documents"].items()))
    print("candidates: " + ", ".join(f"{n} {what}" for what, n in report["candidates"].items()))
    print(f"largest difference of energies: {report['largest_energy_difference_ev']:.2e} eV")
    for line in (*report["doubled_or_lost"], *report["differences"]):
        print(f"WRONG: {line}")
    for pid in run["left_over_processes"]:
        print(f"WRONG: process {pid} outlived its runner")
    print("the same" if good else "NOT the same")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
