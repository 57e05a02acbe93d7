"""Rounds of a chemical system: one model for all compositions, and choices that can be repeated."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from logan_campaign.campaign.allocation import Progress, choose
from logan_campaign.campaign.rounds import EXHAUSTED
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.core.documents import RoundDoc
from logan_campaign.flows import CampaignMaker
from logan_campaign.flows.reference import phases_of
from logan_campaign.flows.rounds import RoundMaker
from logan_campaign.generators import models
from logan_campaign.generators.base import HISTORY_KEYS, TrainingResult
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.generators.pools import GeneratedPool
from logan_campaign.generators.target import Target

SPEC: dict[str, Any] = {
    "name": "alloys",
    "target": {"chemical_system": "Cu-Au", "kind": "crystal", "max_atoms": 3},
    "training": {"source": {"type": "builtin", "name": "elements", "formulas": ["Cu", "Au"]}},
    "models": {"count": 1},
    "generate": {"per_model": 8},
    "select": {"strategy": "kmeans", "n_picks": 2},
    "relax": {
        "levels": [
            {
                "name": "emt",
                "calculator": "ase",
                "target": "ase.calculators.emt:EMT",
                "relax_cell": True,
                "fmax": 0.2,
                "isolate": False,
                "candidates_per_job": 2,
            }
        ]
    },
    "rounds": {"batch": 2, "stop": {"rounds": 3, "barren_rounds": 1}},
}


@dataclass(frozen=True)
class Decorated:
    """A model that puts the atoms on the sites of a strained fcc crystal, in random order."""

    target: Target
    id: str = "model-decorated"

    def generate(self, n: int, *, seed: int) -> GeneratedPool:
        """Return the structures."""
        rng = np.random.default_rng([seed, len(self.target.numbers)])
        cells, positions = [], []
        for _ in range(n):
            cell = bulk("Cu", a=3.8).cell.array.copy()
            cell[2] *= len(self.target.numbers)
            sites = np.arange(len(self.target.numbers))[:, None] * bulk("Cu", a=3.8).cell.array[2]
            positions.append(rng.permutation(sites))
            cells.append(cell * rng.uniform(0.97, 1.05))
        return GeneratedPool(np.array(positions, np.float32), np.array(cells))

    def for_target(self, target: Target) -> Decorated:
        """Return the same for other atoms."""
        return replace(self, target=target)

    def to_bytes(self) -> bytes:
        """Return nothing: it is not read."""
        return b"decorated"


@pytest.fixture
def decorated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace descents, which take long to compile, and the descriptors of the selection."""
    elements = Target((29, 79), None, True, "learned", (10.0, 20.0))

    def train(self: Any, *_: Any, **__: Any) -> TrainingResult[Any]:
        history: dict[str, list[Any]] = {name: [] for name in HISTORY_KEYS}
        return TrainingResult(Decorated(elements), history, "trained", "", 0, 0.1)

    def lengths(positions: np.ndarray, cells: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
        return np.linalg.norm(cells, axis=2) + positions.std(axis=1)

    monkeypatch.setattr(DescentHyperparameters, "train", train)
    monkeypatch.setattr(models, "load", lambda _: Decorated(elements))
    for module in ("base", "chart"):
        selection = import_module(f"logan_campaign.selection.{module}")
        monkeypatch.setattr(selection, "structure_descriptors", lengths)


@pytest.mark.usefixtures("decorated")
def test_each_round_goes_where_the_documents_of_those_before_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maker = CampaignMaker(spec=CampaignSpec.model_validate(SPEC))
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(maker.make(), store=store, create_folders=True, raise_immediately=True, log=False)

    def outputs(kind: str) -> list[dict[str, Any]]:
        return [d["output"] for d in store.query({"output.doc_type": kind}, load=True)]

    rounds = sorted(map(RoundDoc.model_validate, outputs("round")), key=lambda doc: doc.index)
    assert [doc.decision for doc in rounds][-1] == "stop"
    spec, cells = maker.spec, ["AuCu", "Au2Cu", "AuCu2"]
    assert [target.formula for target in spec.targets] == cells
    phases = phases_of(outputs("reference"))
    assert {phase.formula for phase in phases} == {"Cu", "Au"}
    for index, doc in enumerate(rounds):
        seen = phases if index else []
        progress = Progress(cells, rounds[:index], seen, doc.stop["barren_rounds"])
        assert [share.target for share in doc.shares] == choose(progress, spec.policy, 2)
    assert {share.formula for doc in rounds for share in doc.shares} == set(cells)
    total = Counter(f.formula for doc in rounds for f in doc.found)
    assert total.keys() <= set(cells)
    assert total["AuCu"] > 0

    # one training a round, whose model serves both compositions
    assert len(outputs("model")) == len(rounds)
    pools = outputs("pool")
    assert len(pools) == sum(len(doc.shares) for doc in rounds)
    assert len({pool["id"] for pool in pools}) == len(pools)
    for pool in pools:
        assert Counter(pool["symbols"]) in [Counter(t.symbols) for t in spec.targets]


@pytest.mark.usefixtures("decorated")
def test_when_every_composition_is_exhausted_sets_are_pulled_anew_before_the_campaign_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = {**SPEC["target"], "max_atoms": 2}
    rounds = {"stop": {"rounds": 8, "barren_rounds": 1}, "refresh": {"every_rounds": 20}}
    spec = CampaignSpec.model_validate({**SPEC, "target": target, "rounds": rounds})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    flow = CampaignMaker(spec=spec).make()
    run_locally(flow, store=store, create_folders=True, raise_immediately=True, log=False)
    docs = store.query({"output.doc_type": "round"}, load=True)
    past = sorted((RoundDoc.model_validate(d["output"]) for d in docs), key=lambda doc: doc.index)
    assert past[-1].reason == EXHAUSTED
    assert [doc.found != [] for doc in past] == [True, False, False]
    assert [doc.refreshed_at != "" for doc in past] == [False, False, True]


def test_without_feed_back_one_training_serves_all_rounds() -> None:
    alone = {**SPEC["rounds"], "learn": {"feed_back": False}}
    spec = CampaignSpec.model_validate({**SPEC, "rounds": alone})
    maker = CampaignMaker(spec=spec)
    first = maker.make()
    [judge] = [job for job, _ in first.iterflow() if job.name == "next round"]
    rounds: RoundMaker = judge.function.__self__.maker
    links = judge.function.__self__.links.after("r0", {"all": ["m0"], "0": []})
    assert sorted(map(len, (links.phases, links.rounds))) == [1, 2]
    jobs = [job for job, _ in rounds.follow(links, 1, [1, 2]).iterflow()]
    assert not [job for job in jobs if job.name.startswith("train")]
    generators = [job for job in jobs if job.name.startswith("generate")]
    assert [job.function_args[0].uuid for job in generators] == ["m0", "m0"]
    assert [job.function_args[1].hill_formula for job in generators] == ["Au2Cu", "AuCu2"]
    # with feed-back there is something new to learn
    learning = RoundMaker(
        spec=CampaignSpec.model_validate(SPEC), campaign_id="camp-0", targets=rounds.targets
    )
    names = [job.name for job, _ in learning.follow(links, 1, [1, 2]).iterflow()]
    assert names.count("train 0") == 1
    assert names.count("generate 0") == 2


def test_networks_are_trained_for_each_composition() -> None:
    networks = {"count": 1, "hyperparameters": {"method": "wgan"}}
    flow = CampaignMaker(spec=CampaignSpec.model_validate({**SPEC, "models": networks})).make()
    trained = [job for job, _ in flow.iterflow() if job.name == "train 0"]
    assert [job.function_args[1].hill_formula for job in trained] == ["AuCu", "Au2Cu"]
