"""Helpers of the runner's tests."""

from __future__ import annotations

import json
import random
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobflow import Flow, JobStore, run_locally
from jobflow.core.reference import OnMissing
from maggma.stores import MemoryStore

from logan_campaign.flows.local import Ledger
from logan_campaign.flows.local.codec import dumps, loads
from logan_campaign.flows.local.graph import Graph
from logan_campaign.flows.local.ledger import serialise
from logan_campaign.flows.local.worker import run_job


def memory_jobstore() -> JobStore:
    store = JobStore(
        MemoryStore("docs", key="uuid"),
        additional_stores={"data": MemoryStore("data", key="blob_uuid")},
    )
    store.connect()
    return store


def memory_ledger(flow_id: str = "flow") -> Ledger:
    store = MemoryStore("ledger", key="id")
    store.connect()
    return Ledger(store, flow_id)


def outputs(store: JobStore) -> list[str]:
    """Return what all jobs have put out, without the uuids of jobs made at run time."""
    found = []
    for document in store.query({}, properties=["name"]):
        uuid, index = document["uuid"], document["index"]
        output = store.get_output(uuid, which=index, load=True, on_missing=OnMissing.NONE)
        found.append(f"{document['name']} {index} {json.dumps(output, default=repr)}")
    return sorted(found)


def run_by_jobflow(flow: Flow) -> list[str]:
    """Run with jobflow's own runner and return the outputs. Resolves the flow's references."""
    store = memory_jobstore()
    with warnings.catch_warnings():
        # jobflow warns that the order of unconnected jobs is arbitrary
        warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
        # jobflow uses monty's cd, which newer versions of monty deprecate
        warnings.filterwarnings("ignore", "cd is deprecated", FutureWarning)
        run_locally(flow, store=store, log=False)
    return outputs(store)


def run_in_any_order(flow: Flow, seed: int) -> tuple[list[str], Graph]:
    """Run in this process, in a random one of the orders that the graph allows."""
    choose = random.Random(seed)
    store, graph = memory_jobstore(), Graph(serialise(flow))
    running = []
    while not graph.done:
        while node := graph.take():
            running.append(node)
        node = running.pop(choose.randrange(len(running)))
        known = latest(store)
        message = {"job": loads(node.job["job"]), "outputs": known, "stores": ["data"]}
        try:
            result = loads(dumps(run_job(loads(dumps(message)))))
        except Exception:  # noqa: BLE001  (a failed job, whatever it raised)
            graph.fail(node.key)
            continue
        store.docs_store.update(result["documents"], key=["uuid", "index"])
        for name, blobs in result["blobs"].items():
            store.additional_stores[name].update(blobs, key="blob_uuid")
        graph.complete(node.key, result["response"])
    return outputs(store), graph


def latest(store: JobStore) -> list[dict[str, Any]]:
    documents = store.query({}, properties=["output"], sort={"index": 1}, load=True)
    by_uuid = {d["uuid"]: {k: d[k] for k in ("uuid", "index", "output")} for d in documents}
    return list(by_uuid.values())


def live_processes(marker: Path) -> Iterator[int]:
    """Yield the pids of processes that have ``marker`` as, or above, their directory."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                cwd = (entry / "cwd").resolve(strict=True)
                dead = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except OSError:
                continue  # gone, or not ours
            if not dead and cwd.is_relative_to(marker.resolve()):
                yield int(entry.name)


def wait_until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
