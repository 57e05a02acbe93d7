"""A candidate made again is the same, and what is not the same is said."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore

from logan_campaign.cli import main
from logan_campaign.core.processors import single_threaded
from logan_campaign.generators.wgan import LoganModel
from logan_campaign.results import Results
from logan_campaign.results.reproduce import describe, reproduce
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store

#: Trains and generates as a job of a campaign does: in a process of one core and thread.
MAKE = """
import json, os, sys
from logan_campaign.core.processors import pin_to_cores
pin_to_cores([min(os.sched_getaffinity(0))])
import base64
from dataclasses import replace
import jax
from logan_campaign.generators import wgan
from logan_campaign.flows.data import TrainingSetMaker
from logan_campaign.flows.generate import GenerateMaker
from logan_campaign.flows.train import TrainMaker
from logan_campaign.generators.wgan import Hyperparameters
from logan_campaign.core.documents import CampaignDoc, Candidate, ModelDoc, SelectionDoc
from logan_campaign.core.documents import TrainingHistory
from logan_campaign.core.arrays import pack_arrays, unpack_arrays
from logan_campaign.sources import SmilesSource
from logan_campaign.campaign.target import TargetGeometry

target = TargetGeometry(
    kind="molecule", symbols=["H"] * 4 + ["C", "O"], cell=((5, 0, 0), (0, 5, 0), (0, 0, 5))
)
tiny = Hyperparameters(steps=3, n_max=1, n_neighbour=3, rattle_copies=2)
source = SmilesSource(smiles=["CCO", "COC"], relax=False)
training = TrainingSetMaker.make.original(TrainingSetMaker(source=source))
if sys.argv[1] == "trained":
    model = TrainMaker.make.original(TrainMaker(hyperparameters=tiny, seed=1), training, target)
else:  # fresh weights generate as well as trained ones, and cost no compilation
    blank = wgan.LoganModel((), (), tiny, (1, 6, 8), target.to_gan(), training.id, 1, 0)
    state = wgan.step.program_for(blank.problem).init(jax.random.key(1))
    fresh = replace(blank, generator=state.generator, critic=state.critic)
    model = ModelDoc(
        id=fresh.id, index=0, state="trained", reason="", training_set_id=training.id,
        algorithm_version=wgan.Hyperparameters.algorithm_version, seed=1, formula="CH4O",
        hyperparameters=tiny.model_dump(mode="json"), steps=0, elapsed_s=0,
        history=dict.fromkeys(TrainingHistory.model_fields, []), device="cpu",
        weights=base64.b64encode(fresh.to_bytes()).decode(),
    )
pool = GenerateMaker.make.original(GenerateMaker(n_structures=8, seed=5), model, target)
arrays = unpack_arrays(pool.pool)
pick = Candidate(
    id="cand-1", model_id=model.id, pool_id=pool.id, sample_index=6, strategy="kmeans",
    cluster=0, represents=1, structure=target.geometry(arrays["positions"][6], arrays["cell"][6]),
)
campaign = CampaignDoc(
    id="camp-1", name="tiny", formula="CH4O", kind="molecule", spec={}, spec_id="spec-1", seed=1,
    levels=["xtb"],
)
selection = SelectionDoc(
    campaign_id="camp-1", strategy="kmeans", settings={}, n_generated=8, n_unusable={},
    explained_variance=[], pool_ids=[pool.id], candidates=[pick], map=pack_arrays({}),
)
from monty.json import jsanitize
documents = [campaign, training, model, pool, selection]
print(json.dumps([jsanitize(d.model_dump(), recursive_msonable=True) for d in documents]))
"""


def made(kind: str, folder: Path) -> list[dict[str, Any]]:
    """Return the documents of a tiny campaign whose model is 'trained' or 'fresh'."""
    done = subprocess.run(
        [sys.executable, "-c", MAKE, kind],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=single_threaded(os.environ),
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return made("fresh", tmp_path_factory.mktemp("made"))


def store(documents: list[dict[str, Any]], folder: Path) -> Path:
    with open_store(folder, create=True) as stores:
        jobstore = JobStore(stores.docs, {"data": stores.data})
        for number, output in enumerate(documents):
            jobstore.update(
                {
                    "uuid": f"job-{number}",
                    "index": 1,
                    "output": output,
                    "completed_at": f"2026-01-01T00:0{number}:00",
                    "metadata": {"campaign_id": "camp-1", "campaign": "tiny"},
                    "hosts": [],
                    "name": "job",
                },
                key=["uuid", "index"],
                save={"data": ["structures", "weights", "pool", "map"]},
            )
        CampaignBuilder.from_stores(stores).build()
    return folder


def reproduced(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *options: str,
) -> tuple[int, dict[str, Any]]:
    argv = ["logan-campaign", "reproduce", str(place), "cand-1", "--json", *options]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert captured.out, captured.err
    return int(ended.value.code or 0), json.loads(captured.out)


@pytest.mark.long
def test_training_again_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = store(made("trained", tmp_path), tmp_path)
    code, found = reproduced(place, monkeypatch, capsys, "--retrain")
    assert found["structure"]["equal"]
    assert found["training"]["equal"]
    assert found["training"]["max_deviation"] == 0
    assert found["differences"] == []
    assert (code, found["reproduced"]) == (0, True)


def test_generating_again_gives_the_same_bits(
    documents: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = store(documents, tmp_path)
    with Results.open(place) as results:
        sample = results.pool(documents[3]["id"]).positions[6]
        raw = results.candidate("cand-1").raw_structure
        assert raw is not None
        assert (raw.cart_coords == sample).all()
    code, found = reproduced(place, monkeypatch, capsys)
    assert found["structure"]["equal"]
    assert found["structure"]["max_deviation"] == 0
    assert found["training"] is None
    assert found["differences"] == []
    assert (code, found["reproduced"]) == (0, True)


def test_what_differs_is_told_and_the_versions_that_do(
    documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    changed: list[dict[str, Any]] = json.loads(json.dumps(documents))
    model = LoganModel.from_bytes(base64.b64decode(changed[2]["weights"]))
    *others, (weights, bias) = model.generator
    moved = replace(model, generator=(*others, (weights, bias + 0.001)))
    changed[2]["weights"] = base64.b64encode(moved.to_bytes()).decode()
    changed[3]["software"]["jax"] = "0.0.1"
    changed[2]["device"] = "abacus"
    with Results.open(store(changed, tmp_path)) as results:
        found = reproduce(results, "cand-1")
    told = {(d.what, d.recorded) for d in found.differences}
    assert told == {("jax", "0.0.1"), ("device", "abacus")}
    assert not found.structure.equal
    assert 1e-4 < found.structure.max_deviation < 0.1
    assert not found.reproduced
    assert any("jax 0.0.1, here" in line for line in describe(found))
