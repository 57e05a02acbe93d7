"""What the user gets wrong: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from logan_campaign.cli import main
from logan_campaign.core import doctor
from logan_campaign.stores import sqlite
from logan_campaign.stores.database import acquire

SPEC = """\
name: small
target: {kind: molecule, formula: C2H6O, box: [6.0, 5.0, 5.0]}
training: {source: {type: smiles, smiles: [CCC, CO]}}
models: {count: 1, hyperparameters: {steps: 10}}
select: {strategy: kmeans, n_picks: 2}
relax: {levels: [{name: xtb, calculator: gfn2-xtb}]}
"""

# ASE takes what has a Lattice for periodic
BOXED = """\
3
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3
O 0.0 0.0 0.0
H 0.96 0.0 0.0
H -0.24 0.93 0.0
"""


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]
Refused = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "boxed.xyz").write_text(BOXED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the program in this process; starting Python anew each time takes seconds."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["logan-campaign", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        captured = capsys.readouterr()
        return Done(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture
def refused(folder: Path, command: Command) -> Callable[..., str]:
    """Run a command that must be refused; return its one line."""

    def run(*arguments: str) -> str:
        before = sorted(path.name for path in folder.iterdir())
        done = command(*arguments)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        assert sorted(path.name for path in folder.iterdir()) == before  # nothing half-written
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.source={type: files, path: nowhere.xyz}", "nowhere.xyz"),
        ("training.source={type: files, path: spec.yaml}", "spec.yaml"),
        ("training.source={type: smiles, smiles: []}", "training"),
        ("training.source={type: smiles, smiles: [CXC]}", "CXC"),
        ("training.source={type: smiles, smiles: [CCC]}", "no O"),
        ("training.source={type: builtin, name: sio2-prototypes}", "contains crystals"),
        ("known=[{type: files, path: boxed.xyz}]", "set 'kind: molecule'"),
        ("target.formula=Qq2", "Qq"),
        ("target.box=[1.0, 1.0, 1.0]", "box"),
        ("models.cuont=2", "did you mean 'count'"),
        ("relax.levels.0.calculator=vasp", "vasp"),
        ("relax.levels.0={name: g, calculator: gpaw, xc: NOPE}", "NOPE"),
        ("relax.levels.0={name: g, calculator: gpaw, setups: nosuchset}", "nosuchset"),
    ],
)
def test_a_spec_that_cannot_work_is_refused_before_anything_runs(
    refused: Refused, override: str, expected: str
) -> None:
    assert expected in refused("run", "spec.yaml", "--set", override)


def test_a_missing_spec_is_refused(refused: Refused) -> None:
    assert "there is no file nowhere.yaml" in refused("run", "nowhere.yaml")


def test_an_empty_training_file_is_refused(folder: Path, refused: Refused) -> None:
    (folder / "empty.xyz").write_text("")
    line = refused("run", "spec.yaml", "--set", "training.source={type: files, path: empty.xyz}")
    assert "empty.xyz" in line


def test_reading_where_there_is_no_campaign_is_refused(refused: Refused) -> None:
    for arguments in (["status", "small"], ["results", "small"], ["show", "small", "cand-0"]):
        assert "small" in refused(*arguments)


def test_a_store_that_is_no_database_is_refused(folder: Path, refused: Refused) -> None:
    (folder / "notes.sqlite").write_text("these are notes\n" * 100)
    assert "notes.sqlite" in refused("run", "spec.yaml", "--store", "notes.sqlite")


def test_a_server_that_is_not_there_is_refused_without_showing_the_password(
    refused: Refused,
) -> None:
    uri = "mongodb://me:s3cret@127.0.0.1:9/campaigns"
    line = refused("run", "spec.yaml", "--store", uri)
    assert "127.0.0.1:9" in line
    assert "s3cret" not in line


def test_a_folder_that_cannot_be_written_is_refused(folder: Path, refused: Refused) -> None:
    (folder / "file").write_text("")
    assert "file" in refused("run", "spec.yaml", "--store", "file/below")


def test_init_refuses_to_overwrite(folder: Path, refused: Refused) -> None:
    assert "spec.yaml exists" in refused("init", "spec.yaml")
    assert (folder / "spec.yaml").read_text() == SPEC


def test_a_locked_store_is_named(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the wait for the lock is cut short: 30 s otherwise
    monkeypatch.setattr(sqlite, "acquire", lambda path, _timeout_s: acquire(path, 0.2))
    path = folder / "busy.sqlite"
    assert command("results", "busy.sqlite").returncode == 2
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        done = command("run", "spec.yaml", "--store", "busy.sqlite")
    finally:
        holder.close()
    assert done.returncode == 2
    assert "locked" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["run"], ["status"], ["results"], ["show"], ["lineage"], ["export"], ["init"], ["doctor"]],
    ids=lambda a: a[0] if a else "all",
)
def test_every_command_has_help(command: Command, arguments: list[str]) -> None:
    done = command(*arguments, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["2024.yaml"], ["my spec.yaml"], ["a b.yaml", "--formula=CH4"]]
)
def test_init_writes_nothing_that_run_would_refuse(refused: Refused, arguments: list[str]) -> None:
    assert "the spec would not be valid" in refused("init", *arguments)


def test_doctor_shows_extras_in_remedies(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = doctor.Check("MongoDB", False, False, "[Errno 2]", "pip install 'a[mongo]'")
    monkeypatch.setattr(doctor, "diagnose", lambda store: [missing])
    said = command("doctor").stdout
    assert "[Errno 2]" in said
    assert "pip install 'a[mongo]'" in said
