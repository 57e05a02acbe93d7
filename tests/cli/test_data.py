"""The command ``data``: what it keeps, what it says, what it leaves alone when things go wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk, molecule
from ase.io import write
from local_servers import (
    LOCAL_KEY,
    MaterialsProjectServer,
    dropped,
    on,
    remembered_fields,
    status,
    summary_documents,
)
from mp_api.client.routes.materials.summary import SummaryRester

from logan_campaign.cli import main
from logan_campaign.sources import transfer

Command = Callable[..., str]
QUERY = ("data", "pull", "mp", "--formula", "ZnO", "--ehull", "0", "0.02")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGAN_CAMPAIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("LOGAN_CAMPAIGN_STORE", raising=False)
    monkeypatch.setattr(transfer, "BACKOFF_S", (0.0, 0.0, 0.0))
    return tmp_path


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MaterialsProjectServer]:
    made = summary_documents([bulk("ZnO", "zincblende", a=4.2 + 0.1 * k) for k in range(4)])
    with MaterialsProjectServer(made) as running:
        monkeypatch.setenv("MP_API_ENDPOINT", running.url + "/")
        monkeypatch.setenv("MP_API_KEY", LOCAL_KEY)
        monkeypatch.setattr(SummaryRester, "available_fields", remembered_fields())
        yield running


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the program in this process; return its output, or its error if it must fail."""

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["logan-campaign", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured.err
        return captured.out if code == 0 else captured.err

    return run


@pytest.fixture
def shown(command: Command) -> Callable[..., Any]:
    return lambda *arguments: json.loads(command(*arguments, "--json"))


def whole(folder: Path) -> dict[str, bytes]:
    """Return all files of the store."""
    return {p.name: p.read_bytes() for p in (folder / "training-data").glob("*.sqlite")}


def test_any_source_can_be_pulled_as_a_spec_writes_it(folder: Path, command: Command) -> None:
    write(folder / "NaCl.cif", bulk("NaCl", "rocksalt", a=5.64))
    of = "{type: files, path: NaCl.cif}"
    query = f"{{type: substitute, to: KBr, by: similarity, of: {of}}}"
    assert "1 structures (1 BrK)" in command("data", "pull", "source", query)
    assert "nothing new" in command("data", "pull", "source", query)
    assert "no source is called 'x'" in command("data", "pull", "source", "type: x", code=2)
    wrong = command("data", "pull", "source", "a: [", code=2)
    assert wrong == "error: the source is not valid YAML: 'a: ['\n"


def test_a_pull_is_recorded_and_the_next_says_what_changed(
    server: MaterialsProjectServer, command: Command, shown: Callable[..., Any]
) -> None:
    assert "first pull, 4 structures" in command(*QUERY)
    again = command(*QUERY)
    assert "nothing new" in again
    (listed,) = shown("data", "list")
    assert (listed["n_structures"], listed["n_pulls"]) == (4, 2)

    document = server.documents["mp-900002"]
    lattice = document["structure"]["lattice"]
    lattice["matrix"] = [[1.01 * x for x in row] for row in lattice["matrix"]]
    document["last_updated"] = "2026-03-03T00:00:00"
    assert "1 changed (mp-900002: structure)" in command(*QUERY)
    found = shown("data", "show", shown("data", "list")[0]["set_id"])
    assert [len(p["changes"]["changed"]) for p in found["pulls"][1:]] == [0, 1]
    assert found["origin"]["version"] == "made-up-2026.11"
    assert found["query"]["energy_above_hull"] == [0.0, 0.02]
    assert {s["label"] for s in found["structures"]} == set(server.documents)


def test_the_key_is_in_nothing_that_is_kept_or_said(
    server: MaterialsProjectServer, command: Command, folder: Path
) -> None:
    said = command(*QUERY) + command("data", "list", "--json")
    server.faults = [on("summary", status(403))]
    said += command(*QUERY, code=2)
    kept = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert LOCAL_KEY not in said
    assert LOCAL_KEY.encode() not in kept


def test_credentials_in_an_address_are_refused_and_not_repeated(command: Command) -> None:
    for arguments in (
        ("optimade", "--filter", "nsites=1", "--provider", "https://me:hush@example.org"),
        ("qm9", "--formula", "CH4", "--url", "https://me:hush@example.org/a"),
    ):
        line = command("data", "pull", *arguments, code=2)
        assert "credentials" in line
        assert "hush" not in line


def test_a_failed_pull_leaves_the_store_as_it_was(
    server: MaterialsProjectServer,
    command: Command,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.faults = [on("summary", status(500))] * 40
    line = command(*QUERY, code=2)
    assert line.startswith("error: the Materials Project: the server answered HTTP 500")
    assert not (folder / "training-data").exists()  # nothing was there, nothing is

    server.faults.clear()
    command(*QUERY)
    before = whole(folder)
    for fault in (status(401), status(500), dropped):
        server.faults = [on("summary", fault)] * 40
        assert command(*QUERY, code=2).count("\n") == 1
    monkeypatch.delenv("MP_API_KEY")
    assert "MP_API_KEY" in command(*QUERY, code=2)
    assert whole(folder) == before
    server.faults.clear()
    monkeypatch.setenv("MP_API_KEY", LOCAL_KEY)
    assert "nothing new" in command(*QUERY)


def outdated(server: MaterialsProjectServer) -> None:
    """Let all structures be fetched again."""
    for document in server.documents.values():
        document["last_updated"] = "2026-04-04T00:00:00"


def test_a_pull_interrupted_in_the_middle_leaves_the_store_as_it_was(
    server: MaterialsProjectServer, command: Command, folder: Path
) -> None:
    command(*QUERY)
    before = whole(folder)
    outdated(server)

    def interrupt(path: str) -> bool:
        # to the thread that waits for the answer, as the kernel sends Ctrl-C: a signal to the
        # server's own thread would be seen only after the answer, or lost in a destructor
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.5)  # no answer before the signal is seen to
        return False

    server.faults = [on("structure", interrupt)]
    assert "continues from here" in command(*QUERY, code=130)
    assert whole(folder) == before
    server.faults.clear()
    assert "nothing new" in command(*QUERY)


def test_a_pull_killed_in_the_middle_leaves_the_store_as_it_was(
    server: MaterialsProjectServer, command: Command, folder: Path
) -> None:
    command(*QUERY)
    before = whole(folder)
    outdated(server)
    reached, go_on = threading.Event(), threading.Event()

    def hang(path: str) -> bool:
        reached.set()
        go_on.wait(60)
        return False

    server.faults = [on("structure", hang)]  # the listing is done, the structures are not
    process = subprocess.Popen([sys.executable, "-m", "logan_campaign", *QUERY])
    assert reached.wait(120)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    server.faults.clear()
    go_on.set()
    assert whole(folder) == before
    assert "nothing new" in command(*QUERY)


def test_files_smiles_and_lists_are_imported_through_the_same_door(
    command: Command, shown: Callable[..., Any], folder: Path
) -> None:
    write(folder / "two.extxyz", [molecule("CH3CH2OH"), molecule("CH3OCH3")])
    assert "first pull, 2 structures" in command("data", "import", "two.extxyz")
    assert "nothing new" in command("data", "import", "two.extxyz")
    write(folder / "two.extxyz", [molecule("CH3CH2OH"), molecule("CH4")])
    changed = shown("data", "import", "two.extxyz")["changes"]
    assert changed["changed"] == [{"label": "two.extxyz#1", "what": "structure"}]
    assert shown("data", "import", "--smiles", "C")["n_structures"] == 1
    assert "give one of" in command("data", "import", code=2)
    assert "no such file" in command("data", "import", "absent.xyz", code=2)
    assert len(shown("data", "list")) == 2


def test_rejected_structures_are_counted_and_listed(command: Command, folder: Path) -> None:
    broken = molecule("CH4")
    broken.positions[1] = broken.positions[2]
    write(folder / "b.extxyz", [broken, molecule("CH4")])
    said = command("data", "import", "b.extxyz")
    assert "1 rejected left out" in said
    assert "rejected b.extxyz#" in said
    listed = command("data", "list")
    name = next(word for word in listed.split() if word.startswith("set-"))
    assert "b.extxyz#0: " in command("data", "show", name, "--rejected")


def test_a_set_is_removed_whole_and_only_it(
    command: Command, shown: Callable[..., Any], folder: Path
) -> None:
    for name in ("CH4", "NH3"):
        write(folder / f"{name}.xyz", molecule(name))
        command("data", "import", f"{name}.xyz")
    first, second = (item["set_id"] for item in shown("data", "list"))
    assert "removed" in command("data", "remove", first)
    assert [item["set_id"] for item in shown("data", "list")] == [second]
    assert "no set" in command("data", "remove", first, code=2)
    assert len(shown("data", "show", second)["structures"]) == 1


def test_check_lists_the_training_entries_that_equal_a_target(
    command: Command, shown: Callable[..., Any], folder: Path
) -> None:
    zno = bulk("ZnO", "zincblende", a=4.6)
    near = zno.copy()
    near.positions[1] += 0.25
    write(folder / "training.extxyz", [zno, bulk("MgO", "rocksalt", a=4.2)])
    write(folder / "targets.extxyz", [zno * (2, 1, 1), near, bulk("NaCl", "rocksalt", a=5.6)])
    command("data", "import", "training.extxyz")
    name = shown("data", "list")[0]["set_id"]
    found = shown("data", "check", "targets.extxyz", "--against", name)
    assert [leak["target"] for leak in found] == [f"targets.extxyz#{k}" for k in range(3)]
    assert [m["tolerance"] for m in found[0]["matches"]] == ["strict", "default", "loose"]
    assert found[0]["matches"][0]["entry"] == "training.extxyz#0"
    assert found[0]["matches"][0]["rms_normalised"] == pytest.approx(0.0, abs=1e-6)
    distances = [m["rms_normalised"] for m in found[1]["matches"]]
    assert {m["tolerance"] for m in found[1]["matches"]} >= {"default", "loose"}
    assert min(distances) > 0.01
    assert found[2]["matches"] == []
    table = command("data", "check", "targets.extxyz", "--against", "training.extxyz")
    assert "2 of 3 targets equal a training entry at default tolerances" in table
    assert "neither a file nor the id" in command(
        "data", "check", "absent", "--against", name, code=2
    )
