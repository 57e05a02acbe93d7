"""A campaign in a real queue: submitted once, steered, and without passwords in view."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
import yaml

pytest.importorskip("jobflow_remote", reason="needs the extra 'remote'")

import jobflow_remote

from logan_campaign.campaign.classification import NO_JOB
from logan_campaign.cli import main
from logan_campaign.cli.common import say_how_jobs_ended
from logan_campaign.flows.remote.project import connected, load_project
from logan_campaign.flows.remote.queue import RemoteFlow
from logan_campaign.flows.remote.registry import WAITING
from logan_campaign.stores.open import open_store

SPEC = """\
name: small
target: {kind: molecule, formula: CH4O, box: [5.0, 4.5, 4.5]}
training: {source: {type: smiles, smiles: [CCO, COC]}}
models: {count: 2}
select: {strategy: kmeans, n_picks: 2}
relax: {levels: [{name: cheap, calculator: gfn2-xtb}]}
"""


class Command:
    """Runs commands in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, *arguments: object, code: int = 0) -> str:
        self.monkeypatch.setattr("sys.argv", ["logan-campaign", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self.capfd.readouterr()
        assert (ended.value.code or 0) == code, (out, err)
        return err if code == 2 else out


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    monkeypatch.setattr(jobflow_remote.SETTINGS, "projects_folder", str(tmp_path / "projects"))
    monkeypatch.chdir(tmp_path)
    return Command(monkeypatch, capfd)


@pytest.fixture
def database(mongod: str, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """URI of a database that nobody uses, and the database."""
    name = f"queue_{abs(hash(str(tmp_path))):x}"
    with pymongo.MongoClient(mongod) as client:
        yield f"{mongod}/{name}", client[name]
        client.drop_database(name)


def init(command: Command, uri: str, *options: object, code: int = 0) -> str:
    # jobs are not started here
    return command("remote", "init", "-p", "p", "--mongo", uri, *options, code=code)


def states(database: Any) -> dict[str, str]:
    return {doc["job"]["name"]: doc["state"] for doc in database.jobs.find()}


def test_campaign_is_submitted_once_and_steered(
    command: Command, database: tuple[str, Any], tmp_path: Path
) -> None:
    uri, db = database
    init(command, uri, "--worker", "a", "--worker", "b")
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    assert "no worker 'c'" in command("submit", spec, "-p", "p", "-w", "c", code=2)
    done = json.loads(command("submit", spec, "-p", "p", "--place", "train=b", "--json"))
    n = db.jobs.count_documents({})
    assert done["n_jobs"] == n
    assert "is already in project 'p'" in command("submit", spec, "-p", "p", code=2)
    changed = ("--set", "seed=7")
    assert "another spec" in command("submit", spec, "-p", "p", *changed, code=2)
    assert db.jobs.count_documents({}) == n
    # a submission that was killed half-way is made whole
    db.jobs.delete_many({})
    command("submit", spec, "-p", "p", "--place", "train=b")
    assert db.jobs.count_documents({}) == n
    assert db.flows.count_documents({}) == 1

    with connected(load_project("p")) as controller:
        flow = RemoteFlow(controller, done["id"])
        before = states(db)
        assert set(before.values()) == {"WAITING", "READY"}
        assert flow.pause().n_jobs == n
        status = flow.status()
        assert status.halted == "paused"
        assert status.counts == {"paused": n}
        assert not status.finished
        assert flow.resume().n_jobs == n
        assert states(db) == before
        assert flow.cancel().n_jobs == n
        assert flow.status().halted == "cancelled"
        assert flow.resume().n_jobs == n
        assert states(db) == before

        # a job that failed, and one that could only fail because of it
        db.jobs.update_one({"job.name": "training set"}, {"$set": {"state": "COMPLETED"}})
        error = "Traceback\n  at mongodb://me:secret@host/db\nValueError: it was wrong"
        db.jobs.update_one({"job.name": "train 0"}, {"$set": {"state": "FAILED", "error": error}})
        db.jobs.update_one({"job.name": "generate 0"}, {"$set": {"state": "FAILED"}})
        status = flow.status()
        assert [f.error for f in status.failures] == ["ValueError: it was wrong"]
        assert status.by_stage["generate"] == {"cancelled": 1, "waiting": 1}
        assert flow.retry_failed().n_jobs >= 1
        assert states(db)["train 0"] == "READY"
        assert states(db)["generate 0"] == "WAITING"

        # elsewhere, what has not been started; the campaign stays the same
        assert "no worker" in command(
            "submit", spec, "-p", "p", "--move", "--place", "train=c", code=2
        )
        moved = json.loads(
            command("submit", spec, "-p", "p", "--move", "--place", "train=a", "-w", "b", "--json")
        )
        assert moved["id"] == done["id"]
        workers = {doc["job"]["name"]: doc["worker"] for doc in db.jobs.find()}
        assert workers["train 0"] == workers["train 1"] == "a"
        assert workers["generate 0"] == workers["classify"] == "b"
    assert "no campaign yet" in command("status", "jf://p", code=2)


def test_what_the_queue_knows_of_a_job_without_a_result_is_told(
    command: Command, database: tuple[str, Any], tmp_path: Path
) -> None:
    uri, db = database
    init(command, uri)
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    id_ = json.loads(command("submit", spec, "-p", "p", "--json"))["id"]
    error = "the job was cancelled in the scheduler's queue (scancel)"
    names = ("relax cheap cand-1", "train 0", "train 1")
    states_ = ("FAILED", "SUBMITTED", "SUBMITTED")
    for old, name, state in zip(("classify", *names[1:]), names, states_, strict=True):
        change = {"state": state, "job.name": name, "error": error, "remote.process_id": name}
        db.jobs.update_one({"job.name": old}, {"$set": change})
    db[WAITING].insert_one({"_id": "local", "reasons": {"train 0": "Resources"}})
    for name, reason in (("cand-1", NO_JOB), ("cand-2", NO_JOB), ("cand-3", "dissociated")):
        db.candidates.insert_one({"id": name, "campaign_id": id_, "reason": reason})
    with open_store("jf://p") as stores:
        say_how_jobs_ended(stores, [id_])
    with connected(load_project("p")) as controller:
        assert RemoteFlow(controller, id_).status().waiting == (("Resources", 1),)
    reasons = {doc["id"]: doc["reason"] for doc in db.candidates.find()}
    assert reasons == {"cand-1": error, "cand-2": NO_JOB, "cand-3": "dissociated"}


def test_a_round_that_ended_a_campaign_in_the_queue_is_judged_again(
    command: Command, database: tuple[str, Any], tmp_path: Path
) -> None:
    uri, db = database
    init(command, uri)
    (tmp_path / "spec.yaml").write_text(SPEC + "rounds: {stop: {rounds: 2}}\n")
    done = json.loads(command("submit", "spec.yaml", "-p", "p", "--json"))
    with connected(load_project("p")) as controller:
        flow = RemoteFlow(controller, done["id"])
        assert flow.judge_again().n_jobs == 1  # nothing to do: it reads the rules when it starts
        assert states(db)["next round"] == "WAITING"
        db.jobs.update_many({}, {"$set": {"state": "COMPLETED"}})
        assert flow.judge_again().n_jobs == 1
        assert states(db)["next round"] == "READY"


def test_init_twice_changes_nothing_and_check_finds_what_is_wrong(
    command: Command, database: tuple[str, Any], tmp_path: Path
) -> None:
    uri, db = database
    init(command, uri)
    path = tmp_path / "projects" / "p.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    db.jobs.insert_one({"uuid": "kept", "db_id": "0", "index": 1})
    init(command, uri)
    assert path.read_text() == text
    assert db.jobs.count_documents({"uuid": "kept"}) == 1
    assert "--force" in init(command, uri, "--max-jobs", "3", code=2)
    assert path.read_text() == text
    init(command, uri, "--max-jobs", "3", "--force")
    assert "max_jobs: 3" in path.read_text()
    db.jobs.delete_many({})

    def findings(change: dict[str, Any]) -> list[str]:
        content = yaml.safe_load(text)
        content |= change
        path.write_text(yaml.safe_dump(content))
        found = json.loads(command("remote", "check", "-p", "p", "--json", code=1))
        assert not found["ok"]
        lines = [f"{c['name']}: {c['message']}" for c in found["checks"] if not c["ok"]]
        assert not any("\n" in line for line in lines)
        return lines

    good = yaml.safe_load(text)
    assert findings({}) == [
        "runner: none is running: 'logan-campaign remote start', or 'jf runner start'"
    ]
    without = {**good["jobstore"], "additional_stores": {}}
    assert any("no additional store named 'data'" in f for f in findings({"jobstore": without}))
    memory = {
        "docs_store": {"type": "MemoryStore"},
        "additional_stores": {"data": {"type": "MemoryStore"}},
    }
    assert any("must be a MongoStore" in f for f in findings({"jobstore": memory}))
    assert any("there is none" in f for f in findings({"workers": {}}))
    worker = good["workers"]["local"]

    def with_worker(**change: Any) -> dict[str, Any]:
        return {"workers": {"local": {**worker, **change}}}

    nowhere = {"execution_cmd": "/nowhere/python -m logan_campaign.flows.remote.execute {}"}
    assert any("Python does not start" in f for f in findings(with_worker(**nowhere)))
    assert any("work_dir /proc/no" in f for f in findings(with_worker(work_dir="/proc/no")))
    assert any("absolute path" in f for f in findings(with_worker(work_dir="relative")))
    gone = {"store": {**good["queue"]["store"], "uri": "mongodb://me:secret@127.0.0.1:9/x"}}
    gone["store"]["mongoclient_kwargs"] = {"serverSelectionTimeoutMS": 300}
    found = findings({"queue": gone})
    assert any("queue: database of project 'p': not reachable" in f for f in found)
    assert not any("secret" in f for f in found)
    path.write_text("name: [")
    assert "cannot be read" in command("remote", "check", "-p", "p", code=1)
    path.unlink()
    assert "no project 'p'" in command("remote", "check", "-p", "p", code=2)


def test_passwords_stand_nowhere(
    command: Command,
    database: tuple[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secret = "hunter2-very-secret"
    uri, db = database
    host = uri.removeprefix("mongodb://")
    said = [init(command, f"mongodb://me:{secret}@{host}", code=2)]
    assert "belongs in the environment" in said[0]
    name = "LOGAN_CAMPAIGN_MONGO_PASSWORD"
    said.append(init(command, f"mongodb://me@{host}", code=2))
    assert f"export {name}" in said[-1]
    db.command("createUser", "me", pwd=secret, roles=["readWrite"])
    try:
        monkeypatch.setenv(name, "wrong")
        said.append(init(command, f"mongodb://me@{host}", code=2))
        assert "authentication failed" in said[-1]
        monkeypatch.setenv(name, secret)
        said.append(init(command, f"mongodb://me@{host}"))
        (tmp_path / "spec.yaml").write_text(SPEC)
        said.append(command("submit", "spec.yaml", "-p", "p"))
        said.append(command("remote", "check", "-p", "p", code=1))
        said.append(command("build", "jf://p", "--json"))
        # others that hold a password themselves are spoken of without it
        location = f"mongodb://me:{secret}@127.0.0.1:9/x?serverSelectionTimeoutMS=300"
        said.append(command("status", location, code=2))
        said.append(command("build", location, code=2))
    finally:
        db.command("dropUser", "me")
    documents = [str(doc) for c in db.list_collection_names() for doc in db[c].find()]
    files = [p.read_bytes().decode(errors="replace") for p in tmp_path.rglob("*") if p.is_file()]
    assert documents
    assert files
    for text in (*said, *documents, *files, caplog.text):
        assert secret not in text
