"""What running a campaign costs besides its physics: relaxations that take no time.

    python benchmarks/overhead.py --local 1000 3000 10000 --remote 100 300 --json

Candidates are relaxed with EMT for no step, as one level of a campaign: one job each, added to
the flow by the job that starts the level, and gathered by one at its end.

* ``--local``: on this machine with ``run_flow`` and the embedded store, one worker. The
  overhead per job is the wall time from the first relaxation's end to the last one's, less
  what the relaxations took themselves, per job: the process is there already.
* ``--remote``: through a real MongoDB server and jobflow-remote, one local worker, two jobs at
  a time, with plain workers and with a batch worker (``batch``); Python starts for each job, and
  ``--per-job`` says how many candidates each job relaxes.

Processor time per job (with the relaxation itself) depends less on what else the machine does;
with ``--remote`` it is that of the runner, of the server, and of all the rest: jobs, the shells
around them, and batch workers. Memory is the largest resident set of the runner
and of a job's process (MB).
Needs the extras ``remote`` and ``dev`` for ``--remote``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from jobflow import Flow, JobStore

from logan_campaign.core.documents import ScreeningDoc, Verdict
from logan_campaign.flows.levels import RelaxLevelMaker
from logan_campaign.flows.local import Event, JobFinished, Ledger, Tick, run_flow
from logan_campaign.flows.relax import maker_for
from logan_campaign.geometry.structures import from_arrays
from logan_campaign.relaxation.levels import ASELevel
from logan_campaign.stores.open import open_store

_RELAX = "relax instant"
_KINDS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "batch": ("--batch",),
}

_PR_SET_CHILD_SUBREAPER = 36


def level_flow(n: int, per_job: int = 1) -> Flow:
    """Return a flow that relaxes ``n`` candidates for no step, ``per_job`` in each job."""
    random = np.random.default_rng(0)
    numbers, ids = [6, 8, 1, 1, 1, 1], [f"cand-{k:016x}" for k in range(n)]
    structures = {
        name: from_arrays(numbers, random.uniform(0, 3.0, (6, 3)), np.diag([5.0, 5.0, 5.0]))
        for name in ids
    }
    screening = ScreeningDoc(
        campaign_id="camp-overhead",
        before_level="instant",
        known_set_ids=[],
        verdicts=[Verdict(candidate_id=name, state="pending") for name in ids],
        structures=structures,
    )
    level = ASELevel(
        name="instant",
        target="ase.calculators.emt:EMT",
        max_steps=0,
        isolate=False,
        candidates_per_job=per_job,
    )
    return Flow([RelaxLevelMaker(maker=maker_for(level)).make(screening)], name="overhead")


class Memory:
    """The largest resident sets seen: of a process, and of one of its children."""

    def __init__(self, pid: int | None = None) -> None:
        self.process = psutil.Process(pid)
        self.runner = self.worker = 0.0
        self.cpu_s: dict[int, float] = {}
        self._looked = 0.0

    def look(self, now: bool = False) -> None:
        """Look, once per second at most if not ``now``."""
        if not now and time.monotonic() - self._looked < 1.0:
            return
        self._looked = time.monotonic()
        try:
            self.runner = max(self.runner, self.process.memory_info().rss / 1e6)
            for child in self.process.children():
                self.worker = max(self.worker, child.memory_info().rss / 1e6)
                self.cpu_s[child.pid] = sum(child.cpu_times()[:2])
            self.cpu_s[self.process.pid] = sum(self.process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            return  # it has just ended


def local(n: int) -> dict[str, Any]:
    """Run ``n`` relaxations on this machine."""
    memory = Memory()
    ends: list[float] = []
    before: dict[int, float] = {}

    def follow(event: Event) -> None:
        if isinstance(event, JobFinished) and event.name.startswith(_RELAX):
            if not ends:
                memory.look(now=True)
                before.update(memory.cpu_s)
            ends.append(time.perf_counter())
        if isinstance(event, Tick):
            memory.look()

    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(folder, create=True) as stores,
    ):
        begun = time.perf_counter()
        summary = run_flow(
            level_flow(n),
            jobstore=JobStore(stores.docs, additional_stores={"data": stores.data}),
            ledger=Ledger(stores.ledger, "overhead"),
            work_dir=Path(folder) / "work",
            n_workers=1,
            on_event=follow,
            transaction=stores.transaction,
        )
        wall = time.perf_counter() - begun
        assert not summary.failures, summary.failures[0]
        documents = stores.docs.query(
            {"output.doc_type": "relaxation"}, properties=["output.elapsed_s"]
        )
        physics = sum(doc["output"]["elapsed_s"] for doc in documents)
        size = sum(path.stat().st_size for path in Path(folder).glob("campaign.sqlite*"))
    relaxing = ends[-1] - ends[0]
    half = len(ends) // 2
    return {
        "n": n,
        "wall_s": wall,
        "overhead_ms_per_job": 1000 * (relaxing - physics) / n,
        "first_half_ms_per_job": 1000 * (ends[half] - ends[0]) / half,
        "second_half_ms_per_job": 1000 * (ends[-1] - ends[half]) / (len(ends) - half),
        "cpu_ms_per_job": 1000 * (sum(memory.cpu_s.values()) - sum(before.values())) / n,
        "runner_cpu_ms_per_job": 1000 * (memory.cpu_s[os.getpid()] - before[os.getpid()]) / n,
        "before_first_s": ends[0] - begun,
        "after_last_s": begun + wall - ends[-1],
        "runner_mb": memory.runner,
        "worker_mb": memory.worker,
        "store_mb": size / 1e6,
    }


def remote(n: int, kind: str, per_job: int) -> dict[str, Any]:
    """Run ``n`` relaxations through jobflow-remote, ``per_job`` in each job."""
    import support  # noqa: F401  makes the next importable
    from mongod import Server
    from remote_rig import Rig

    os.environ["OMP_NUM_THREADS"] = "1"
    # what jobs and runner leave behind becomes a child of this process, so that its time counts
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        server = Server(Path(folder) / "mongod")
        rig = None
        try:
            rig = Rig(Path(folder) / f"{kind}{n}", server.uri, "--max-jobs", "2", *_KINDS[kind])
            _submit(rig, n, per_job)
            begun, spent = time.perf_counter(), _cpu_of_children()
            runner = rig.start_runner()
            memory = Memory(runner.pid)

            def ended() -> bool:
                memory.look()
                states = rig.states()
                return (
                    bool(states)
                    and states.keys() <= {"COMPLETED"}
                    and sum(states.values()) > n // per_job
                )

            rig.wait(ended, within_s=60 + 20.0 * n)
            wall = time.perf_counter() - begun
            fields = ["start_time", "end_time", "created_on"]
            docs = list(rig.database.jobs.find({"job.name": {"$regex": f"^{_RELAX}"}}, fields))
            added = min(doc["created_on"] for doc in docs)
            last = max(doc["end_time"] for doc in docs)
            inside = sum((doc["end_time"] - doc["start_time"]).total_seconds() for doc in docs)
            mongod = psutil.Process(server.process.pid)
            memory.look(now=True)
            row = {
                "n": n,
                "kind": kind,
                "per_job": per_job,
                "wall_s": wall,
                "wall_s_per_job": (last - added).total_seconds() / n,
                "inside_job_s": inside / n,
                "scheduler_jobs": _scheduler_jobs(rig),
                "runner_cpu_s_per_job": memory.cpu_s[runner.pid] / n,
                "mongod_cpu_s_per_job": sum(mongod.cpu_times()[:2]) / n,
                "runner_mb": memory.runner,
                "mongod_mb": mongod.memory_info().rss / 1e6,
                "load": os.getloadavg()[0],
            }
        finally:
            if rig is not None:
                rig.close()
            server.stop()
    _reap()
    total = (_cpu_of_children() - spent) / n
    own = row["runner_cpu_s_per_job"] + row["mongod_cpu_s_per_job"]
    return {**row, "rest_cpu_s_per_job": total - own}


def _scheduler_jobs(rig: Any) -> int:
    """Return what the scheduler took the jobs for: as many, or batches of them."""
    found = [rig.database[name].count_documents({}) for name in ("batches", "jobs")]
    return int(found[0] or found[1])


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap() -> None:
    """End what is left of a run, and count its time."""
    for child in psutil.Process().children():
        child.terminate()
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _submit(rig: Any, n: int, per_job: int) -> None:
    """Submit as the command does, but a flow that is no campaign's."""
    import subprocess

    code = (
        "import sys, overhead\n"
        "from logan_campaign.flows.remote import project, queue\n"
        "with project.connected(project.load_project(None)) as controller:\n"
        "    flow = overhead.level_flow(*map(int, sys.argv[1:]))\n"
        "    queue.submit(flow, 'camp-overhead', 'overhead', controller, {})\n"
    )
    environment = {**rig.environment, "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", code, str(n), str(per_job)], env=environment, check=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--local", type=int, nargs="*", default=[], metavar="N")
    parser.add_argument("--remote", type=int, nargs="*", default=[], metavar="N")
    parser.add_argument("--kinds", nargs="*", default=list(_KINDS), choices=list(_KINDS))
    parser.add_argument("--per-job", type=int, default=1, help="with --remote")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for n in arguments.local or ([] if arguments.remote else [1000]):
        rows.append({"where": "local", **local(n)})
        _show(rows[-1], arguments.json)
    for n in arguments.remote:
        for kind in arguments.kinds:
            rows.append({"where": "remote", **remote(n, kind, arguments.per_job)})
            _show(rows[-1], arguments.json)
    here = [row for row in rows if row["where"] == "local"]
    if arguments.json:
        figures = {"local_overhead_ms_per_job": here[-1]["overhead_ms_per_job"]} if here else {}
        for kind in arguments.kinds:
            there = [row for row in rows if row.get("kind") == kind]
            if there:
                figures[f"remote_{kind}_s_per_job"] = there[-1]["wall_s_per_job"]
        print(json.dumps({**figures, "runs": rows}, indent=2))
    return 0


def _show(row: dict[str, Any], quiet: bool) -> None:
    text = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
    print(text, file=sys.stderr if quiet else sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
