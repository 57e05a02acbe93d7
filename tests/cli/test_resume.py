"""A campaign goes on after whatever stopped it, and ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import kill_resume
import pytest
from ase.build import molecule
from ase.io import read, write

from logan_campaign.cli import main
from logan_campaign.flows import CampaignMaker
from logan_campaign.sources import Preview
from logan_campaign.stores.open import open_store
from logan_campaign.stores.queries import CampaignDatabase

SPEC = """\
name: small
target: {kind: molecule, formula: CH4O, box: [5.0, 4.5, 4.5]}
training: {source: {type: files, path: training.xyz}}
known: [{type: files, path: known.xyz}]
models: {count: 1, hyperparameters: {steps: 250, n_max: 2, n_neighbour: 5, r_cut: 4.0}}
generate: {per_model: 20}
select: {strategy: kmeans, n_picks: 4}
relax: {levels: [{name: xtb, calculator: gfn2-xtb, fmax: 0.1, max_steps: 100}]}
"""

#: A size of files (bytes) that the store of SPEC outgrows half-way.
FULL_AT = 900_000


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a refusal."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


Command = Callable[..., Done]


def prepare(folder: Path) -> Path:
    """Write a spec and its files; return the spec."""
    write(folder / "training.xyz", [molecule("CH3CH2OH"), molecule("CH3OCH3")])
    write(folder / "known.xyz", molecule("CH3OH"))
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)
    return spec


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the program in this process (its workers have their own): starting takes seconds."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["logan-campaign", *arguments])
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the campaign of SPEC leaves where nothing goes wrong."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = kill_resume.start(prepare(folder), "small", folder, ["--workers", "1"])
    assert process.wait(300) == 0, (folder / "run.log").read_text()
    assert kill_resume.doubled_or_lost(str(folder / "small")) == []
    found = kill_resume.contents(str(folder / "small"), "small")
    assert len(found["candidates"]) == 4
    return {**found, "store": str(folder / "small")}


def given_files(folder: Path) -> dict[str, bytes]:
    """Read the files beside the store; the log grows as long as the campaign is at work."""
    return {p.name: p.read_bytes() for p in folder.glob("*.*") if p.name != "run.log"}


def assert_same(undisturbed: dict[str, Any], store: str) -> None:
    assert kill_resume.doubled_or_lost(store) == []
    # no tolerance: GFN2-xTB relaxations begin anew, and weights are the same to the bit
    assert kill_resume.differences(undisturbed, kill_resume.contents(store, "small")) == []


def c_o_distances(campaign: dict[str, Any]) -> dict[int, float]:
    """Return the distance of C and O in each candidate as generated (Å), by place in the pool."""
    with open_store(campaign["store"]) as stores:
        found = {}
        for candidate in CampaignDatabase(stores).candidates():
            heavy = [site for site in candidate.raw_structure if site.specie.symbol != "H"]
            found[candidate.sample_index] = heavy[0].distance(heavy[1])
    return found


class Live:
    """A run in a process of its own; a context that leaves none behind."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "small" / "work" / "small"
        self.process = kill_resume.start(folder / "spec.yaml", "small", folder, ["--workers", "1"])

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def until(self, found: Callable[[], object], within_s: float = 120.0) -> Any:
        deadline = time.monotonic() + within_s
        while not (result := found()):
            assert self.process.poll() is None, (self.folder / "run.log").read_text()
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)
        return result

    def kill(self) -> None:
        """Kill the runner alone; what it has started must notice by itself."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL
        assert kill_resume.left_over(self.folder) == []

    def checkpoint(self) -> list[Path]:
        return list(self.work.glob("*/checkpoint.safetensors"))

    def log_says(self, pattern: str) -> re.Match[str] | None:
        texts = [path.read_text() for path in self.work.glob("*/job.log")]
        return next((m for text in texts if (m := re.search(pattern, text))), None)

    def jobs_done(self) -> int:
        return int(kill_resume.jobs_done(str(self.folder / "small")))


def test_killed_campaign_ends_as_if_it_had_not_been(
    folder: Path, undisturbed: dict[str, Any], command: Command
) -> None:
    moments = random.Random(20)
    with Live(folder) as run:
        run.until(run.checkpoint)
        files = given_files(folder)
        done = run.jobs_done()
        refused = command("run", "spec.yaml")
        assert refused.code == 2
        assert refused.error == (
            f"error: campaign '{undisturbed['id']}' is already running (pid {run.process.pid})"
        )
        assert given_files(folder) == files
        assert done == 3
        time.sleep(moments.uniform(0, 0.5))
        run.kill()
        [checkpoint] = run.checkpoint()
    with Live(folder) as run:
        step = int(run.until(lambda: run.log_says(r"continuing model-\w+ from step (\d+)"))[1])
        assert 0 < step < 250
        assert run.checkpoint() == [checkpoint]
        run.until(lambda: run.jobs_done() >= 7)
        time.sleep(moments.uniform(0, 0.5))  # some of the relaxations
        run.kill()
    finished = command("run", "spec.yaml", "--workers", "1")
    assert finished.code == 0, finished.err
    assert "is finished" in finished.out
    assert_same(undisturbed, "small")
    assert kill_resume.left_over(folder) == []
    assert [path for path in run.work.iterdir() if path.is_dir()] == []


def test_failed_job_stops_the_rest_and_the_same_command_goes_on_once_it_is_mended(
    folder: Path,
    undisturbed: dict[str, Any],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = CampaignMaker.check_sources
    training, aside = folder / "training.xyz", folder / "aside.xyz"

    def check_and_lose_the_file(maker: CampaignMaker) -> list[Preview]:
        found = check(maker)
        training.rename(aside)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(CampaignMaker, "check_sources", check_and_lose_the_file)
        failed = command("run", "spec.yaml", "--workers", "1", "--quiet")
    assert failed.code == 1
    first, *others = failed.err.splitlines()
    assert re.fullmatch(r"failed: training set: .*training\.xyz.*", first), failed.err
    # these can do without some of the jobs before them, but not without all
    assert [line.split(": ")[1] for line in others] == ["select", "classify"]
    found = json.loads(command("status", "small", "--json").out)
    assert [f["name"] for f in found["failures"]] == ["training set", "select", "classify"]
    ended = {stage: set(counts) for stage, counts in found["stages"].items()}
    assert ended["pull"] == {"failed", "completed"}  # the training set, and the known one
    assert ended["train"] == ended["generate"] == ended["screen"] == {"cancelled"}
    aside.rename(training)
    mended = command("run", "spec.yaml", "--workers", "1", "--quiet")
    assert (mended.code, mended.err) == (0, "")
    assert_same(undisturbed, "small")


def test_relaxation_whose_process_dies_costs_its_candidate_only(
    folder: Path, undisturbed: dict[str, Any], command: Command
) -> None:
    # the same picks: only what comes after them differs
    stretched = sorted((far, place) for place, far in c_o_distances(undisturbed).items())
    deadly, dead_place = (stretched[-2][0] + stretched[-1][0]) / 2, stretched[-1][1]
    level = "{name: springs, calculator: ase, target: 'steerable:Springs', isolate: false, "
    level += f"max_steps: 5, kwargs: {{deadly: {deadly}}}}}"
    words = ["run", "spec.yaml", "--workers", "1", "--quiet", "--set", f"relax.levels=[{level}]"]
    words += ["--set", "match.before_relaxation=false"]  # every pick is relaxed
    done = command(*words)
    assert done.code == 0
    results = json.loads(command("results", "small", "--json").out)
    assert {c["sample_index"] for c in results} == {place for _, place in stretched}
    [dead] = [c for c in results if c["sample_index"] == dead_place]
    assert dead["state"] == "failed"
    # The job was started again, and then shielded itself from its calculator.
    assert "calculator crashed: worker ended with exit code 3" in dead["reason"]
    assert done.err == ""
    assert json.loads(command("status", "small", "--json").out)["failures"] == []
    assert command(*words)[::2] == (0, "")
    assert json.loads(command("results", "small", "--json").out) == results


@pytest.mark.long
def test_mongodb_gives_the_same_campaign(
    folder: Path, undisturbed: dict[str, Any], command: Command, mongo_uri: str
) -> None:
    at = ["--store", mongo_uri]
    done = command("run", "spec.yaml", "--workers", "1", "--quiet", *at)
    assert (done.code, done.err) == (0, "")
    assert_same(undisturbed, mongo_uri)
    assert json.loads(command("status", "small", "--json", *at).out)["state"] == "finished"
    results = json.loads(command("results", "small", "--json", *at).out)
    assert {c["id"] for c in results} == undisturbed["candidates"].keys()
    best = results[0]
    assert best["energy_ev"] == undisturbed["candidates"][best["id"]]["energy_ev"]
    shown = json.loads(command("show", "small", best["id"], "--json", *at).out)
    assert shown["model_id"] in undisturbed["models"]
    lineage = command("lineage", "small", best["id"], *at).out
    assert shown["model_id"] in lineage
    assert shown["training_set_id"] in lineage
    assert command("export", "small", "found.extxyz", *at).code == 0
    assert len(read(folder / "found.extxyz", ":")) > 0


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let this process, and those that it starts, write no file beyond a size (bytes)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.long
def test_full_disk_ends_the_run_with_one_line_and_it_goes_on_once_there_is_room(
    folder: Path, undisturbed: dict[str, Any], command: Command
) -> None:
    with files_up_to(FULL_AT):
        full = command("run", "spec.yaml", "--workers", "1", "--quiet")
    assert full.code == 2
    assert full.err.splitlines() == [full.error]
    assert re.search("no space left for job 'train 0'|nothing was written", full.error)
    assert kill_resume.doubled_or_lost("small") == []
    assert 0 < kill_resume.jobs_done("small") < undisturbed["documents"]["ledger"] - 1
    done = command("run", "spec.yaml", "--workers", "1", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert_same(undisturbed, "small")
