"""Jobs run where the spec says, also those that are added while the campaign runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jobflow import CURRENT_JOB, Flow, Job, JobStore, OnMissing
from maggma.stores import MemoryStore

from logan_campaign.campaign.placement import STAGES, Placement, with_overrides
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.core.documents import ScreeningDoc, StructureEntry, Verdict
from logan_campaign.core.errors import InputError
from logan_campaign.flows import CampaignMaker, RelaxLevelMaker
from logan_campaign.flows.links import RoundLinks
from logan_campaign.flows.relax import maker_for
from logan_campaign.flows.remote.routing import place, settings_for
from logan_campaign.flows.rounds import RoundMaker
from logan_campaign.flows.stages import SETTINGS, placed, settings_of, stage, task_of
from logan_campaign.geometry.structures import from_arrays

SPEC = """\
name: small
target: {kind: molecule, formula: CH4O, box: [5.0, 4.5, 4.5]}
training: {source: {type: smiles, smiles: [CCO, COC]}}
known: [{type: smiles, smiles: [CO]}]
models: {count: 2}
select: {strategy: kmeans, n_picks: 2}
relax: {levels: [{name: cheap, calculator: gfn2-xtb}, {name: good, calculator: gfn2-xtb}]}
workers:
  default: login
  train: gpu
  relax: {worker: cpu, resources: {ntasks: 4}, time_limit_s: 60}
  relax.good: {resources: {ntasks: 8}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


def config(job: Job) -> dict[str, Any]:
    return job.config.manager_config


def test_workers_do_not_change_what_a_campaign_is(path: Path) -> None:
    one = CampaignMaker.from_file(path)
    other = CampaignMaker.from_file(path, ["workers={train: cpu}"])
    assert one.spec.workers != other.spec.workers
    assert one.spec.id == other.spec.id
    assert one.campaign_id == other.campaign_id
    assert "workers" not in one.spec.model_dump()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workers={trane: gpu}", "no stage 'trane'"),
        ("workers={relax.dear: gpu}", "no level 'dear'; there are cheap, good"),
        ("workers={train: {}, pull: {worker: ''}}", "pull"),
        ("workers={train: {time_limit_s: -1}}", "time_limit_s"),
        ("workers={train: {exec_config: named, time_limit_s: 9}}", "not the name of one"),
    ],
)
def test_unusable_section_is_refused_in_one_line(path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        CampaignSpec.from_file(path, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stages_run_on_their_workers(path: Path) -> None:
    maker = CampaignMaker.from_file(path)
    flow = place(maker.make(), maker.spec.workers)
    jobs = {job.name: config(job) for job, _ in flow.iterflow()}
    assert jobs["train 0"]["worker"] == jobs["train 1"]["worker"] == "gpu"
    others = {name: c["worker"] for name, c in jobs.items() if not name.startswith("train ")}
    assert set(others.values()) == {"login"}
    assert jobs["training set"]["resources"] == {}


@pytest.mark.parametrize(("level", "ntasks"), [("cheap", 4), ("good", 8)])
def test_relaxations_added_later_run_on_theirs(path: Path, level: str, ntasks: int) -> None:
    maker = CampaignMaker.from_file(path)
    spec = next(found for found in maker.spec.relax.levels if found.name == level)
    molecule = from_arrays([6, 8, 1, 1, 1, 1], [[float(i), 0, 0] for i in range(6)], None)
    screening = ScreeningDoc(
        campaign_id="camp-1",
        before_level=level,
        known_set_ids=[],
        verdicts=[
            Verdict(candidate_id="cand-a", state="pending"),
            Verdict(candidate_id="cand-b", state="duplicate", match="cand-a"),
        ],
        reserves={"cand-a": ["cand-b"]},
        structures={"cand-a": molecule, "cand-b": molecule},
    )
    job = RelaxLevelMaker(maker=maker_for(spec)).make(screening)
    place(Flow([job]), maker.spec.workers)
    assert config(job)["worker"] == "login"
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    added = {j.name: j for j, _ in job.run(store).replace.iterflow()}
    relaxation = added[f"relax {level} cand-a"]
    assert config(relaxation)["worker"] == "cpu"
    assert config(relaxation)["resources"] == {"ntasks": ntasks}
    # the time limit is the stage's, not the level's own
    exported = config(relaxation)["exec_config"]["export"]
    assert exported == ({"LOGAN_CAMPAIGN_TIME_LIMIT_S": 60} if level == "cheap" else {})
    assert config(added["substitutes"])["worker"] == "login"
    # and what those add in their turn
    settings = dict(config(added["substitutes"])[SETTINGS])
    assert settings_of(stage("relax") | {"level": level}, settings) == config(relaxation)


def test_every_job_of_a_campaign_has_its_stage(path: Path) -> None:
    rounds = ["rounds={stop: {rounds: 3}}", "relax.reference=true"]
    maker = CampaignMaker.from_file(path, rounds)
    entry = StructureEntry(
        id="struct-1",
        label="methanol",
        formula="CH4O",
        structure=from_arrays([6, 8], [[0.0, 0, 0], [1.4, 0, 0]], None),
    )
    maker.others = [entry]
    example = Path(__file__).parents[3] / "examples" / "sio2.yaml"
    crystal = CampaignMaker.from_file(example, ["relax.hull={elements: true}"])
    found = [job for m in (maker, crystal) for job, _ in m.make().iterflow()]
    makers = RoundMaker(
        spec=maker.spec, campaign_id="camp-1", targets=maker.targets(maker.spec.check(path.parent))
    )
    links = RoundLinks(training="a", known=["b"], rounds=["c"])
    found += [job for job, _ in makers.follow(links, 1, [0]).iterflow()]
    stages = {job.name: job.metadata.get("stage") for job in found}
    assert {name for name, stage in stages.items() if stage not in STAGES} == set()
    assert stages["others' results"] == stages["found set"] == stages["learned set"] == "pull"
    assert stages["training set"] == stages["known set"] == "pull"
    assert stages["train 0"] == "train"
    assert stages["leakage"] == stages["classify"] == stages["screen"] == "match"
    assert stages["reference energies"] == stages["element Si"] == "relax"
    tasks = {job.name: task_of(job.metadata, job.name) for job in found}
    same = ("screen", "compare", "classify", "leakage", "select", "start level", "next round")
    assert {name: tasks[name] for name in same if name in tasks} == {
        name: name for name in same if name in tasks
    }
    assert (tasks["train 0"], tasks["element Si"]) == ("train", "element")
    assert (tasks["known set"], tasks["reference energies"]) == ("pull", "reference")


def test_a_later_round_runs_where_the_stages_say(path: Path) -> None:
    maker = CampaignMaker.from_file(path, ["rounds={stop: {rounds: 3}}"])
    flow = place(maker.make(), maker.spec.workers)
    judge = next(job for job, _ in flow.iterflow() if job.name == "next round")
    targets = maker.targets(maker.spec.check(path.parent))
    later = RoundMaker(spec=maker.spec, campaign_id="camp-1", targets=targets).follow(
        RoundLinks(training="a", known=["b"], rounds=["c"]), 1, [0]
    )
    CURRENT_JOB.job = judge  # as while it runs
    try:
        placed(later)
    finally:
        CURRENT_JOB.reset()
    workers = {job.name: config(job)["worker"] for job, _ in later.iterflow()}
    assert workers["train 0"] == "gpu"
    assert workers["found set"] == "login"
    for job, _ in later.iterflow():
        assert OnMissing(job.config.on_missing_references) is not OnMissing.ERROR, job.name


def test_moved_jobs_get_what_submitted_ones_would(path: Path) -> None:
    maker = CampaignMaker.from_file(path)
    flow = place(maker.make(), maker.spec.workers)
    for job, _ in flow.iterflow():
        assert settings_for(job.metadata, maker.spec.workers) == config(job)


def test_failure_is_passed_on_instead_of_waited_for(path: Path) -> None:
    flow = place(CampaignMaker.from_file(path).make(), {})
    for job, parents in flow.iterflow():
        if parents:
            assert OnMissing(job.config.on_missing_references) is not OnMissing.ERROR, job.name


def test_command_line_has_the_last_word(path: Path) -> None:
    spec = CampaignSpec.from_file(path)
    placements = with_overrides(spec.workers, "here", ["train=there", "relax.good=far"])
    assert placements["default"] == Placement(worker="here")
    assert placements["train"].worker == "there"
    assert placements["relax"] == spec.workers["relax"]
    # resources were meant for the other worker
    assert placements["relax.good"] == Placement(worker="far")
    for wrong in ("train", "train=", "trane=there"):
        with pytest.raises(InputError, match="--place"):
            with_overrides(spec.workers, None, [wrong])
