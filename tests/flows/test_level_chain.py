"""The chain of levels where nothing, or nothing good, is left to relax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.calculators.calculator import Calculator
from jobflow import Flow, JobStore, run_locally
from jobflow.core.flow import get_flow
from maggma.stores import MemoryStore
from pymatgen.core import Molecule

from logan_campaign.flows.data import TrainingSetMaker
from logan_campaign.flows.levels import RelaxLevelMaker, RelaxLevelsMaker
from logan_campaign.flows.relax import ASECalculatorRelaxMaker, LevelRelaxMaker
from logan_campaign.relaxation.levels import ASELevel
from logan_campaign.schemas import ScreeningDoc, Verdict
from logan_campaign.sources import SmilesSource

WATER = Molecule(["O", "H", "H"], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
HERE = __name__


def broken() -> Calculator:
    """Return a calculator that never computes anything."""
    raise RuntimeError("no licence")


def level(name: str, target: str = "ase.calculators.emt:EMT") -> LevelRelaxMaker:
    return ASECalculatorRelaxMaker(
        name=f"relax {name}",
        level=ASELevel(name=name, target=target, fmax=1.0, max_steps=20, isolate=False),
    )


@pytest.fixture
def outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run levels on candidates; return the JobStore's documents by their type."""
    monkeypatch.chdir(tmp_path)

    def run(makers: list[LevelRelaxMaker], states: list[str]) -> dict[str, list[dict[str, Any]]]:
        verdicts = [
            Verdict(candidate_id=f"cand-{i}", state=state)  # type: ignore[arg-type]
            for i, state in enumerate(states)
        ]
        screening = ScreeningDoc(
            campaign_id="camp-0",
            before_level=makers[0].level.name,
            known_set_ids=[],
            verdicts=verdicts,
            structures={v.candidate_id: WATER for v in verdicts if v.state == "pending"},
        )
        known = TrainingSetMaker(source=SmilesSource(smiles=["C"], relax=False)).make()
        levels = RelaxLevelsMaker(makers=makers).make(screening, [known.output])
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        flow = Flow([known, levels])
        flow.update_metadata({"campaign_id": "camp-0"})
        run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
        found: dict[str, list[dict[str, Any]]] = {}
        for doc in store.query({"output.doc_type": {"$exists": True}}):
            assert doc["metadata"]["campaign_id"] == "camp-0"
            documents = found.setdefault(doc["output"]["doc_type"], [])
            if doc["output"] not in documents:  # a job that was replaced repeats the last one's
                documents.append(doc["output"])
        return found

    return run


@pytest.mark.parametrize("states", [[], ["rejected", "duplicate"]], ids=["none", "none passed"])
def test_without_candidates_every_level_ends_with_no_verdicts(
    outcome: Any, states: list[str]
) -> None:
    found = outcome([level("one"), level("two")], states)
    assert "relaxation" not in found
    (between,) = found["screening"]
    assert (between["before_level"], between["verdicts"]) == ("two", [])
    (classified,) = found["classification"]
    assert classified["verdicts"] == []


def test_candidates_that_all_fail_keep_their_reason_and_go_no_further(outcome: Any) -> None:
    found = outcome([level("one", f"{HERE}:broken"), level("two")], ["pending", "pending"])
    assert {r["state"] for r in found["relaxation"]} == {"calculator_crashed"}
    (between,) = found["screening"]
    assert [v["state"] for v in between["verdicts"]] == ["failed", "failed"]
    assert "no licence" in between["verdicts"][0]["reason"]
    (classified,) = found["classification"]
    assert classified["verdicts"] == []


def test_places_of_levels_count_up_and_copies_stop_between_them(outcome: Any) -> None:
    found = outcome([level("one"), level("two")], ["pending", "pending"])
    reached = sorted((r["candidate_id"], r["level"], r["level_index"]) for r in found["relaxation"])
    assert reached == [("cand-0", "one", 0), ("cand-0", "two", 1), ("cand-1", "one", 0)]
    assert len({r["id"] for r in found["relaxation"]}) == 3
    (classified,) = found["classification"]
    assert [v["state"] for v in classified["verdicts"]] == ["new"]


def test_what_a_level_adds_refers_to_nothing_outside_itself() -> None:
    # jobflow-remote refuses it otherwise
    screening = ScreeningDoc(
        campaign_id="camp-0",
        before_level="one",
        known_set_ids=[],
        verdicts=[Verdict(candidate_id="cand-0", state="pending")],
        structures={"cand-0": WATER},
    )
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    response = RelaxLevelMaker(maker=level("one")).make(screening).run(store)
    assert next(job.name for job in get_flow(response.replace).jobs) == "relax one cand-0"
