"""Rounds as jobs: each adds the next, learns from those before, and repeats none of their finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule
from ase.io import write
from jobflow import Flow, JobStore, run_locally
from jobflow.core.flow import get_flow
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder

from logan_campaign.cli import main
from logan_campaign.core.documents import RoundDoc, StructureEntry, TrainingSetDoc
from logan_campaign.flows import CampaignMaker
from logan_campaign.flows.learned import LearnedSetMaker
from logan_campaign.flows.links import OpenFlow, RoundLinks
from logan_campaign.flows.rounds import RoundMaker
from logan_campaign.geometry.structures import formula, from_atoms, structure_id
from logan_campaign.stores.open import open_store
from logan_campaign.stores.queries import CampaignDatabase

SPEC = """\
name: again
target: {kind: molecule, formula: CH4O, box: [5.0, 4.5, 4.5]}
training: {source: {type: smiles, smiles: [CCO, COC]}}
known: [{type: smiles, smiles: [CO]}]
models:
  count: 1
  hyperparameters: {steps: 250, n_max: 2, n_neighbour: 5, r_cut: 4.0}
generate: {per_model: 20}
select: {strategy: kmeans, n_picks: 3}
relax: {levels: [{name: xtb, calculator: gfn2-xtb, fmax: 0.1, max_steps: 150}]}
rounds:
  models: continue
  steps: 50
  stop: {rounds: 1, barren_rounds: null}
"""


@pytest.fixture
def maker(tmp_path: Path) -> CampaignMaker:
    path = tmp_path / "again.yaml"
    path.write_text(SPEC)
    return CampaignMaker.from_file(path)


def follow(maker: CampaignMaker, **rounds: Any) -> Flow:
    spec = maker.spec
    assert spec.rounds is not None
    spec = spec.model_copy(update={"rounds": spec.rounds.model_copy(update=rounds)})
    targets = maker.targets(spec.target.resolve(Path()))
    links = RoundLinks(training="t", known=["k"], rounds=["r0"], models={"0": ["m0"]})
    return RoundMaker(spec=spec, campaign_id="camp-0", targets=targets).follow(links, 1, [0])


def test_a_later_round_may_refer_to_jobs_that_have_run(maker: CampaignMaker) -> None:
    flow = get_flow(follow(maker))  # as jobflow-remote asks, without allowing anything
    again = json.loads(json.dumps(flow, cls=MontyEncoder), cls=MontyDecoder)
    # the other end need not know that flows can be open
    assert type(again) is Flow
    names = [job.name for job, _ in again.iterflow()]
    assert {"found set", "learned set", "train 0", "select", "next round"} <= set(names)
    wanted = {uuid for job, _ in again.iterflow() for uuid in job.input_uuids}
    assert {"t", "k", "r0", "m0"} <= wanted


def test_without_feed_back_models_learn_from_the_training_set_alone(maker: CampaignMaker) -> None:
    assert maker.spec.rounds is not None
    alone = maker.spec.rounds.learn.model_copy(update={"feed_back": False})
    jobs = {job.name: job for job, _ in follow(maker, learn=alone).iterflow()}
    assert "learned set" not in jobs
    assert jobs["train 0"].function_args[0].uuid == "t"


def test_fresh_models_start_from_nothing(maker: CampaignMaker) -> None:
    for models, wanted in (("fresh", set()), ("continue", {"m0"})):
        jobs = {job.name: job for job, _ in follow(maker, models=models, steps=None).iterflow()}
        assert set(jobs["train 0"].input_uuids) & {"m0"} == wanted


def test_an_open_flow_names_what_it_refers_to(maker: CampaignMaker) -> None:
    flow = follow(maker)
    assert isinstance(flow, OpenFlow)
    assert {"t", "k", "r0", "m0"} <= set(flow.job_uuids)


def entry(name: str, energy: float) -> StructureEntry:
    structure = from_atoms(molecule(name))
    return StructureEntry(
        id=structure_id(structure),
        label=f"cand-{name}",
        formula=formula(structure),
        structure=structure,
        energy_ev=energy * len(structure),
    )


def training_set(*entries: StructureEntry) -> TrainingSetDoc:
    return TrainingSetDoc(
        id="set-0",
        role="training",
        name="base",
        query={},
        n_structures=len(entries),
        formulas={},
        species=[],
        structure_ids=[e.id for e in entries],
        labels=[e.label for e in entries],
        n_duplicates=0,
        rejected=[],
        structures=list(entries),
    )


def judged(*entries: StructureEntry) -> RoundDoc:
    counts: dict[str, Any] = dict.fromkeys(("index", "n_generated", "n_picked"), 0)
    return RoundDoc.model_construct(**counts, structures=list(entries))


def test_what_is_learned_lies_within_the_energy_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoundDoc, "model_validate", lambda doc: doc)
    ethanol, ether = entry("CH3CH2OH", -5.0), entry("CH3OCH3", -4.8)
    base, found = training_set(entry("CH3OH", 0.0)), [judged(ethanol), judged(ether)]

    def learned(**settings: Any) -> TrainingSetDoc:
        return LearnedSetMaker(**settings).make.original(LearnedSetMaker(**settings), base, found)

    assert learned().labels == ["cand-CH3OH", "cand-CH3CH2OH", "cand-CH3OCH3"]
    # per composition: methanol's energy has nothing to say about C2H6O
    near = learned(energy_window_ev_per_atom=0.1)
    assert near.labels == ["cand-CH3OH", "cand-CH3CH2OH"]
    assert near.query["candidates"] == ["cand-CH3CH2OH"]
    assert learned(role="found").labels == ["cand-CH3CH2OH", "cand-CH3OCH3"]
    assert learned(role="found").role == "found"


@pytest.mark.long
def test_jobflow_run_locally_takes_rounds_unchanged(
    maker: CampaignMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert maker.spec.rounds is not None
    longer = maker.spec.rounds.stop.model_copy(update={"rounds": 2})
    rounds = maker.spec.rounds.model_copy(update={"stop": longer})
    maker.spec = maker.spec.model_copy(update={"rounds": rounds})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(maker.make(), store=store, create_folders=True, ensure_success=True, log=False)
    docs = [d["output"] for d in store.query({"output.doc_type": "round"}, load=True)]
    assert sorted((d["index"], d["decision"]) for d in docs) == [(0, "continue"), (1, "stop")]
    found = [f["label"] for d in docs for f in d["found"]]
    assert len(found) == len(set(found))
    campaigns = {d["metadata"]["campaign"] for d in store.query({}, properties=["metadata"])}
    assert campaigns == {"again"}  # a later round's jobs belong to it as well


def test_a_campaign_that_has_stopped_is_extended_without_losing_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # which of so few samples of a short training are plausible hangs on the last digits
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    # an own training set: files, so that the workers need no RDKit to embed it
    write("training.xyz", [molecule("CH3CH2OH"), molecule("CH3OCH3")])
    text = SPEC.replace("{type: smiles, smiles: [CCO, COC]}", "{type: files, path: training.xyz}")
    Path("again.yaml").write_text(text)

    def command(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["logan-campaign", *arguments])
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        done = capfd.readouterr()
        assert code == 0, done.err
        return done.out

    command("run", "again.yaml", "-q", "--workers", "1")
    before = json.loads(command("results", "again", "--json"))
    assert "is finished" in command("run", "again.yaml", "-q")  # nothing is left to do
    assert json.loads(command("results", "again", "--json")) == before

    rules = json.loads(command("extend", "again", "--set", "rounds=2", "--json"))
    assert rules["rounds"] == 2
    command("run", "again.yaml", "-q", "--workers", "1")
    with open_store("again") as stores:
        database = CampaignDatabase(stores)
        record = database.campaign("again")
        assert [(r.index, r.decision) for r in record.rounds] == [(0, "continue"), (1, "stop")]
        assert [s.round for s in record.selections] == [0, 1]
        candidates = list(database.candidates(record.id))
        assert [c.id for c in candidates if c.round == 0] == [
            c["id"] for c in sorted(before, key=lambda c: [k.id for k in candidates].index(c["id"]))
        ]
        found = {f.candidate_id: f for r in record.rounds for f in r.found}
        labels = [f.label for f in found.values()]
        assert len(labels) == len(set(labels))
        # a copy of what the first round found leads back to it
        for c in candidates:
            if c.round == 1 and c.state == "duplicate":
                assert any(c.match == other.id for other in candidates)
        later = [m for m in database.models(record.id) if m.round == 1]
        (first,) = (m for m in database.models(record.id) if m.round == 0)
        assert [m.start_id for m in later] == [first.id]
        assert [m.steps for m in later] == [50]
        if found and record.rounds[0].found:
            text = command("lineage", "again", later[0].id)
            assert record.rounds[0].found[0].candidate_id in text
