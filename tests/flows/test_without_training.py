"""Campaigns of random structures: no training set, no training, the same records as others."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import JobStore, run_locally

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.core.errors import InputError
from logan_campaign.flows import CampaignMaker
from logan_campaign.results import Results
from logan_campaign.results.report.methods import methods
from logan_campaign.results.reproduce import reproduce
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store

SPEC: dict[str, Any] = {
    "name": "chance",
    "target": {
        "formulas": ["CuAu", "Cu2Au"],
        "kind": "crystal",
        "max_atoms": 3,
        "symmetry": {"groups": ["P1", "Pm"]},
    },
    "models": {"count": 2, "hyperparameters": {"method": "random", "tries": 4}},
    "generate": {"per_model": 6},
    "select": {"strategy": "framework", "accept": "all", "n_picks": 2},
    "relax": {
        "levels": [
            {
                "name": "emt",
                "calculator": "ase",
                "target": "ase.calculators.emt:EMT",
                "relax_cell": True,
                "fmax": 0.3,
                "isolate": False,
                "candidates_per_job": 2,
            }
        ]
    },
    "rounds": {"stop": {"rounds": 2, "barren_rounds": None}},
}


def test_rounds_run_without_a_training_set_and_every_candidate_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lengths(positions: np.ndarray, cells: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
        return np.linalg.norm(cells, axis=2) + positions.std(axis=1)

    for module in ("base", "chart"):  # descriptors take long to compile
        selection = import_module(f"logan_campaign.selection.{module}")
        monkeypatch.setattr(selection, "structure_descriptors", lengths)
    monkeypatch.chdir(tmp_path)
    flow = CampaignMaker(spec=CampaignSpec.model_validate(SPEC)).make()
    with open_store(tmp_path / "store", create=True) as stores:
        jobs = JobStore(stores.docs, {"data": stores.data})
        run_locally(flow, store=jobs, raise_immediately=True, log=False)
        CampaignBuilder.from_stores(stores).build()
    with Results.open(tmp_path / "store") as results:
        campaign = results.campaign()
        record = campaign.record
        assert record.training_set_ids == []
        assert [past.index for past in record.rounds] == [0, 1]
        assert record.rounds[0].started_at < record.rounds[0].finished_at
        generators = campaign.models  # one per composition: members differ in seeds alone
        assert {(g.state, g.training_set_id) for g in generators} == {("untrained", None)}
        assert [len(g.pools) for g in generators] == [2, 2]
        candidates = list(campaign.candidates())
        assert {c.model_id for c in candidates} == {g.id for g in generators}
        assert {c.training_set_id for c in candidates} == {None}
        assert reproduce(results, candidates[-1].id).reproduced
        with pytest.raises(InputError, match="needs no training"):
            reproduce(results, candidates[0].id, retrain=True)
        text = " ".join(methods(record, campaign.models, []))
        assert "at random, without training" in text
        assert "trained on" not in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": {}}, "'descent' learns from a training set"),
        ({"target": {**SPEC["target"], "symmetry": {"groups": "training"}}}, "name groups"),
        ({"relax": {**SPEC["relax"], "reference": True}}, "add a source to 'known'"),
    ],
)
def test_what_needs_a_training_set_is_refused_in_one_line(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        CampaignSpec.model_validate(SPEC | change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"select": {"strategy": "framework", "n_picks": 2}}, "set 'accept: all'"),
        ({"select": {"strategy": "critic", "n_picks": 2}}, "needs trained models"),
        ({"screen": {"volume_per_atom": "training"}}, "needs a training set"),
    ],
)
def test_strategies_and_limits_that_learn_are_refused_before_anything_runs(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        CampaignSpec.model_validate(SPEC | change).check(Path())
