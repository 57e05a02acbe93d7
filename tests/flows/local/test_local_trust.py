"""Stored jobs call this package and what the user has named, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, Job
from runner_tools import memory_jobstore, memory_ledger

from logan_campaign.core import trust
from logan_campaign.core.trust import UntrustedError, check_document, check_job
from logan_campaign.flows.local import run_flow
from logan_campaign.flows.local.codec import loads, outline
from logan_campaign.flows.local.worker import run_job
from logan_campaign.relaxation.checks import load_target


def serialised(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = loads(outline(job)["job"])
    return found


def message(job: dict[str, Any], outputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"job": job, "outputs": outputs or [], "stores": []}


@pytest.fixture
def nothing_else_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.VARIABLE, "")


@pytest.mark.usefixtures("nothing_else_trusted")
def test_a_job_that_calls_the_shell_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = serialised(Job(os.system, function_args=(f"touch {mark}",)))
    with pytest.raises(UntrustedError, match=r"calls \w+\.system, .* give --trust \w+"):
        run_job(message(job))
    assert not mark.exists()


@pytest.mark.usefixtures("nothing_else_trusted")
def test_a_campaign_with_such_a_job_fails_with_that_reason(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = Job(os.system, function_args=(f"touch {mark}",))
    summary = run_flow(
        Flow([job]),
        jobstore=memory_jobstore(),
        ledger=memory_ledger(),
        work_dir=tmp_path / "work",
        n_workers=1,
    )
    assert not mark.exists()
    (failure,) = summary.failures
    assert "system, which is not part of logan-campaign" in failure.error


@pytest.mark.parametrize(
    "named",
    [
        {"@module": "os", "@callable": "system"},
        {"@module": "posix", "@callable": "system"},
        {"@module": "builtins", "@callable": "eval"},
        {"@module": "subprocess", "@class": "Popen"},
        {"@module": "ase.calculators.calculator", "@class": "FileIOCalculator"},
        # reached through this package, not part of it
        {"@module": "logan_campaign.core.trust", "@callable": "os.system"},
        {"@module": "logan_campaign.core.trust", "@callable": "importlib.import_module"},
        {"@module": "logan_campaign.cli.app", "@callable": "main"},
        {"@module": "logan_campaign.__main__", "@class": "X"},
        {"@module": "logan_campaign.no_such", "@class": "X"},
        {"@module": "logan_campaignx", "@class": "X"},
        {"@module": ["os"], "@class": "X"},
        {"@module": "jobflow.core.job", "@callable": "job"},
    ],
)
def test_no_other_name_is_admitted_anywhere_in_a_document(named: dict[str, Any]) -> None:
    for document in (
        named,
        {"a": [{"b": named}]},
        {"@module": "numpy", "@class": "array", "data": [named]},
    ):
        with pytest.raises(UntrustedError):
            check_document(document, [])


def test_documents_nested_beyond_the_stack_are_looked_through() -> None:
    document: Any = {"@module": "os", "@callable": "system"}
    for _ in range(100_000):
        document = [document]
    with pytest.raises(UntrustedError):
        check_document(document, [])


def test_named_modules_are_admitted_with_what_lies_below_them() -> None:
    job = serialised(Job(os.path.join, function_args=("a", "b")))
    with pytest.raises(UntrustedError):
        check_job(job, ["posixpat"])
    check_job(job, ["posixpath"])


def test_functions_of_this_package_that_are_no_jobs_are_not_called() -> None:
    job = serialised(Job(os.path.join))
    job["function"] = {
        "@module": "logan_campaign.results.export",
        "@callable": "write",
        "@bound": None,
    }
    with pytest.raises(UntrustedError, match="export"):
        check_job(job, [])


def test_targets_of_levels_and_scores_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(load_target("ase.calculators.emt:EMT"))
    monkeypatch.setenv(trust.VARIABLE, "")
    with pytest.raises(UntrustedError, match=r"--trust ase\.calculators\.emt"):
        load_target("ase.calculators.emt:EMT")
    with trust.restricted(["ase.calculators.emt"]):
        assert callable(load_target("ase.calculators.emt:EMT"))
    assert trust.trusted_modules() == frozenset()


def test_a_spec_says_which_modules_it_names() -> None:
    spec = {
        "relax": {"levels": [{"target": "a.b:C"}, {"name": "x"}]},
        "select": [{"target": "d:e"}],
    }
    assert trust.code_named_in({**spec, "target": {"formula": "H2"}}) == ["a.b", "d"]
