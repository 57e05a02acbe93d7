"""Campaigns in a live queue, with a real server, runner and workers: extended, and packed."""

from __future__ import annotations

import json

import pytest
import yaml
from fault_tools import MakeRig, assert_same, spec
from kill_resume import contents

#: Long enough to be extended in.
SLOW = {"kwargs": {"delay_s": 3.0}}


@pytest.mark.long
def test_campaign_is_extended_while_it_runs_and_after_it_has_stopped(make_rig: MakeRig) -> None:
    content = {**spec(**SLOW), "rounds": {"stop": {"rounds": 1, "barren_rounds": None}}}
    rig = make_rig()
    rig.submit(content)
    rig.start_runner()

    def extend(n: int) -> None:
        said = json.loads(rig.cli("extend", rig.location, "--set", f"rounds={n}", "--json"))
        assert said["rounds"] == n

    def rounds() -> int:
        return len({doc["round"] for doc in rig.database.candidates.find()})

    rig.wait(lambda: rig.running("^relax"))
    extend(2)
    rig.wait_for_end()
    rig.build()
    assert rounds() == 2
    before = {doc["id"]: doc for doc in rig.database.candidates.find()}
    extend(3)
    rig.wait_for_end()
    rig.build()
    assert rounds() == 3
    # nothing that was there before is another now
    after = {doc["id"]: doc for doc in rig.database.candidates.find()}
    kept = ("round", "model_id", "sample_index", "energy_ev", "state")
    for name, doc in before.items():
        assert {k: after[name][k] for k in kept} == {k: doc[k] for k in kept}

    # and it is what the same spec comes to on this machine, extended likewise
    (rig.folder / "local.yaml").write_text(yaml.safe_dump(content))
    store = str(rig.folder / "local")
    rig.cli("run", "local.yaml", "--store", store, "-q")
    rig.cli("extend", store, "--set", "rounds=3")
    rig.cli("run", "local.yaml", "--store", store, "-q")
    assert_same(contents(store, "small"), rig)


@pytest.mark.long
def test_short_jobs_share_one_job_of_the_scheduler(make_rig: MakeRig) -> None:
    content = {**spec(), "select": {"strategy": "kmeans", "n_picks": 12}}
    rig = make_rig("--batch")
    rig.submit(content)
    rig.start_runner()
    rig.wait_for_end()
    jobs = list(rig.database.jobs.find())
    assert sum(doc["job"]["name"].startswith("relax fast") for doc in jobs) >= 8
    assert {doc["state"] for doc in jobs} == {"COMPLETED"}
    # all of them, training and relaxations, in what the scheduler takes for one job
    assert len({doc["remote"]["process_id"] for doc in jobs}) == 1
    assert rig.database.batches.count_documents({}) == 1
