"""What stored jobs may call: this package's jobs, and what the user names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, Job
from monty.json import MontyEncoder
from pymatgen.core import Molecule

from logan_campaign.core import trust
from logan_campaign.flows import GPAWStaticMaker, TrainMaker
from logan_campaign.flows.levels import RelaxLevelMaker
from logan_campaign.flows.local.codec import loads, outline
from logan_campaign.flows.local.worker import run_job
from logan_campaign.flows.relax import maker_for
from logan_campaign.flows.stages import place_jobs
from logan_campaign.relaxation.levels import ASELevel, GPAWLevel, LevelSpec, XTBLevel


def stored(job: Job | Flow) -> dict[str, Any]:
    """Return a job as a store holds it."""
    return dict(loads(outline(job)["job"]))


def ordinary() -> dict[str, Any]:
    """Return a job of this package, as stored."""
    return stored(TrainMaker().make([Molecule("O", [[0, 0, 0]])]))


def in_a_queue(job: Job) -> dict[str, Any]:
    """Return a job as jobflow-remote stores it, placed on a worker."""
    objects = pytest.importorskip("qtoolkit.core.data_objects", reason="needs 'remote'")
    placement = objects.ProcessPlacement.SAME_NODE
    resources = objects.QResources(queue_name="main", process_placement=placement)
    place_jobs(job, {"default": {"worker": "one", "resources": resources}})
    return dict(json.loads(json.dumps(job, cls=MontyEncoder)))


@pytest.mark.parametrize(
    "level", [XTBLevel(), GPAWLevel(), ASELevel(target="ase.calculators.emt:EMT")]
)
def test_what_a_campaign_stores_in_a_queue_needs_no_trust(level: LevelSpec) -> None:
    screening = {"campaign_id": "camp-0", "verdicts": []}
    job = in_a_queue(RelaxLevelMaker(maker=maker_for(level)).make(screening))
    assert "QResources" in json.dumps(job)
    trust.check_job(job, [])
    trust.check_document(job, [])


CALLS = [
    {"@module": "os", "@callable": "system"},
    {"@module": "builtins", "@callable": "eval"},
    {"@module": "subprocess", "@callable": "Popen"},
    # reached through this package, defined elsewhere
    {"@module": "logan_campaign.core.trust", "@callable": "os.system"},
    {"@module": "logan_campaign.core.trust", "@callable": "importlib.import_module"},
    # of this package, but no jobs
    {"@module": "logan_campaign.flows.remote.execute", "@callable": "execute"},
    {"@module": "logan_campaign.flows.local.worker", "@callable": "main"},
    {"@module": "logan_campaign.core.trust", "@callable": "restricted"},
    {"@module": "logan_campaign.cli.app", "@callable": "app"},
    # a name that only looks like this package's
    {"@module": "logan_campaign_evil", "@callable": "make"},
    # a method of one class, bound to an object of another
    {
        "@module": "logan_campaign.flows.train",
        "@callable": "TrainMaker.make",
        "@bound": {"@module": "subprocess", "@class": "Popen", "args": "true"},
    },
    # a class beside a callable, of which decoders take one
    {"@module": "os", "@class": "TrainMaker", "@callable": "system"},
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call['@module']}.{call['@callable']}")
def test_a_stored_job_calls_no_other_code(
    call: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trust.VARIABLE, "")
    marker = tmp_path / "ran"
    job = {**ordinary(), "function": call, "function_args": [f"touch {marker}"]}
    with pytest.raises(trust.UntrustedError, match=str(call["@callable"])):
        run_job({"job": job, "outputs": [], "stores": ["data"]})
    assert not marker.exists()


@pytest.mark.parametrize("call", [*CALLS[:5], *CALLS[8:]], ids=lambda call: call["@module"])
def test_nothing_inside_arguments_and_inputs_names_other_code(call: dict[str, Any]) -> None:
    for place in ("function_args", "function_kwargs", "metadata", "config"):
        job = {**ordinary(), place: {"deep": [{"er": [call]}]}}
        with pytest.raises(trust.UntrustedError):
            trust.check_job(job, [])
    with pytest.raises(trust.UntrustedError):
        trust.check_document([{"uuid": "a", "output": {"x": call}}], [])


def test_without_the_gate_the_attack_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack is real: what a program of the user's own passes is not looked at."""
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    marker = tmp_path / "ran"
    function = {"@module": "os", "@callable": "system"}
    job = {**ordinary(), "function": function, "function_args": [f"touch {marker}"]}
    job |= {"function_kwargs": {}, "output_schema": None}
    run_job({"job": job, "outputs": [], "stores": ["data"]})
    assert marker.exists()


def test_a_reference_reaches_no_private_attribute() -> None:
    reference = {
        "@module": "jobflow.core.reference",
        "@class": "OutputReference",
        "uuid": "a",
        "attributes": [["a", "__init__"], ["a", "__globals__"], ["i", "os"]],
    }
    with pytest.raises(trust.UntrustedError, match="private"):
        trust.check_job({**ordinary(), "function_args": [reference]}, [])


def test_jobs_of_this_package_are_admitted() -> None:
    trust.check_job(ordinary(), [])
    # its method is inherited from another package
    trust.check_job(stored(GPAWStaticMaker().make(Molecule("O", [[0, 0, 0]]))), [])


def test_named_modules_are_admitted_and_no_others() -> None:
    job = {**ordinary(), "function": {"@module": "mine.jobs", "@callable": "run"}}
    trust.check_job(job, ["mine"])
    for other in ("min", "mine.job", "yours"):
        with pytest.raises(trust.UntrustedError, match=r"--trust mine\.jobs"):
            trust.check_job(job, [other])


def test_deeply_nested_documents_are_checked_to_the_bottom() -> None:
    deep: Any = {"@module": "os", "@callable": "system"}
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(trust.UntrustedError, match=r"os\.system"):
        trust.check_document(deep, [])


def test_a_spec_that_is_not_the_users_own_names_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.VARIABLE, "")
    with pytest.raises(trust.UntrustedError, match=r"os:system.*--trust os"):
        trust.check_callable("os:system")
    monkeypatch.setenv(trust.VARIABLE, "os")
    trust.check_callable("os:system")
    assert "os" in os.environ[trust.VARIABLE]


def test_the_code_that_a_spec_names_is_found_wherever_it_stands() -> None:
    spec = {"select": {"by": [{"target": "a.b:c"}]}, "levels": [{"target": "d:e"}, {"target": "x"}]}
    assert sorted(trust.code_named_in(spec)) == ["a.b", "d"]
