"""The chain of levels where nothing, or nothing good, is left to relax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ase.calculators.calculator import Calculator
from ase.io import write
from jobflow import Flow, JobStore, run_locally
from jobflow.core.flow import get_flow
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.campaign.spec import TurnsSpec
from logan_campaign.core.documents import ScreeningDoc, Verdict
from logan_campaign.flows.data import TrainingSetMaker
from logan_campaign.flows.levels import RelaxLevelMaker, RelaxLevelsMaker
from logan_campaign.flows.reference import ElementMaker, ReferenceMaker
from logan_campaign.flows.relax import ASECalculatorRelaxMaker, LevelRelaxMaker, batched, maker_for
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.relaxation.backends.maker import MakerLevel
from logan_campaign.relaxation.levels import ASELevel
from logan_campaign.sources import FilesSource, SmilesSource

WATER = Molecule(["O", "H", "H"], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
HERE = __name__


def to_molecule(smiles: str) -> Molecule:
    """Return one geometry of a molecule."""
    return SmilesSource(smiles=[smiles], relax=False).load(Path()).entries[0].structure


def broken() -> Calculator:
    """Return a calculator that never computes anything."""
    raise RuntimeError("no licence")


def level(
    name: str, target: str = "ase.calculators.emt:EMT", candidates_per_job: int | None = None
) -> LevelRelaxMaker:
    return ASECalculatorRelaxMaker(
        name=f"relax {name}",
        level=ASELevel(
            name=name,
            target=target,
            fmax=1.0,
            max_steps=20,
            isolate=False,
            candidates_per_job=candidates_per_job,
        ),
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


def test_candidates_of_a_cheap_level_share_jobs(outcome: Any) -> None:
    found = outcome([level("one", candidates_per_job=3)], ["pending"] * 7)
    assert "relaxation" not in found
    batches = [[r["candidate_id"] for r in doc["relaxations"]] for doc in found["relaxations"]]
    assert sorted(map(len, batches)) == [2, 2, 3]
    assert sorted(name for batch in batches for name in batch) == [f"cand-{i}" for i in range(7)]
    (classified,) = found["classification"]
    assert [v["state"] for v in classified["verdicts"]] == ["new", *["duplicate"] * 6]


def test_a_batch_that_is_started_again_goes_on_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maker = level("one")
    starts = {f"cand-{i}": WATER for i in range(3)}
    relaxed = type(maker).make_many.original
    whole = relaxed(maker, starts, "camp-0", 0).relaxations
    (tmp_path / f"{whole[1].id}.json").unlink()
    monkeypatch.setattr(
        maker, "_relaxed", lambda name, *rest, **how: whole[1] if name == "cand-1" else 0
    )
    again = relaxed(maker, starts, "camp-0", 0).relaxations
    assert [doc.id for doc in again] == [doc.id for doc in whole]
    assert [doc.energy_ev for doc in again] == [doc.energy_ev for doc in whole]


def test_levels_that_share_a_folder_do_not_take_each_other_s_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # as jobflow's run_locally does without create_folders
    starts = {"cand-0": WATER, "cand-1": WATER}
    for index, name in enumerate(("one", "two")):
        maker = level(name)
        found = type(maker).make_many.original(maker, starts, "camp-0", index).relaxations
        assert {(doc.level, doc.level_index) for doc in found} == {(name, index)}


def test_groups_of_names_are_of_about_one_size() -> None:
    assert [len(group) for group in batched(map(str, range(9)), 8)] == [4, 5]
    assert list(batched([], 8)) == []
    assert list(batched("ab", 1)) == [("a",), ("b",)]


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


class Still(Calculator):
    """No forces: every geometry is a minimum."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ASE's own way

    def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
        super().calculate(atoms, *args, **kwargs)
        self.results = {"energy": -1.0, "forces": 0.0 * atoms.positions}


class Picky(Calculator):
    """Constant forces of zero; refuses atoms that stand far from the origin."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ASE's own way

    def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
        super().calculate(atoms, *args, **kwargs)
        if atoms.positions[:, 0].mean() > 5:
            raise RuntimeError("too far away")
        self.results = {"energy": -1.0, "forces": 0.0 * atoms.positions}


@pytest.mark.parametrize(("substitutes", "reached"), [(0, 1), (1, 2)])
def test_where_the_one_that_stands_for_others_fails_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, substitutes: int, reached: int
) -> None:
    monkeypatch.chdir(tmp_path)
    far = WATER.copy()
    far.translate_sites(vector=[20, 0, 0])
    verdicts = [
        Verdict(candidate_id="cand-0", state="pending"),
        *(Verdict(candidate_id=f"cand-{i}", state="duplicate", match="cand-0") for i in (1, 2)),
    ]
    screening = ScreeningDoc(
        campaign_id="camp-0",
        before_level="one",
        known_set_ids=[],
        verdicts=verdicts,
        reserves={"cand-0": ["cand-1", "cand-2"]},
        structures={"cand-0": far, "cand-1": WATER, "cand-2": WATER},
    )
    known = TrainingSetMaker(source=SmilesSource(smiles=["C"], relax=False)).make()
    levels = RelaxLevelsMaker(makers=[level("one", f"{HERE}:Picky")], substitutes=substitutes)
    flow = Flow([known, levels.make(screening, [known.output])])
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
    relaxed = {d["output"]["candidate_id"] for d in store.query({"output.doc_type": "relaxation"})}
    assert len(relaxed) == reached
    classified = store.query_one({"output.doc_type": "classification"})["output"]["verdicts"]
    states = {v["candidate_id"]: (v["state"], v["match"]) for v in classified}
    assert states.pop("cand-0") == ("failed", None)
    if substitutes:
        assert states == {"cand-1": ("new", None), "cand-2": ("duplicate", "cand-1")}
    else:
        assert states == {}


def test_elements_and_competing_phases_are_relaxed_as_the_level_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    phases = [
        Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.75), ["Au", "Cu"], sites)
        for sites in ([[0, 0, 0], [0, 0.5, 0.5]], [[0, 0, 0], [0.5, 0.5, 0.5]])
    ]
    phases.append(Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.1), ["Ag"], [[0, 0, 0]]))
    write("phases.extxyz", [to_atoms(phase) for phase in phases])
    emt = level("emt")
    source = FilesSource(path="phases.extxyz")
    competing = TrainingSetMaker(source=source, role="known", base=str(tmp_path)).make()
    jobs = [
        competing,
        ReferenceMaker(maker=emt, species=["Au", "Cu"]).make([], "camp-0", [competing.output]),
    ]
    element = ElementMaker(maker=emt, symbol="Cu").make("camp-0")
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    for work in (Flow(jobs), element):
        run_locally(work, store=store, create_folders=True, ensure_success=True, log=False)
    found = [
        reference
        for doc in store.query({"output.doc_type": "reference"}, sort={"completed_at": 1})
        for reference in doc["output"]["references"]
    ]
    assert [(r["role"], r["formula"], r["level"]) for r in found] == [
        ("competing", "AuCu3", "emt"),  # silver is no part of the target
        ("competing", "AuCu", "emt"),
        ("element", "Cu", "emt"),
    ]
    assert found[2]["energy_ev"] == pytest.approx(-0.007, abs=0.01)  # EMT's reference state


@pytest.mark.parametrize(
    ("turns", "states"),
    [
        (None, ["new", "rediscovered", "new", "rediscovered"]),
        (TurnsSpec(), ["new", "rediscovered", "selected", "selected"]),
        (TurnsSpec(until_found=2), ["new", "rediscovered", "new", "rediscovered"]),
        (TurnsSpec(at_a_time=3), ["new", "rediscovered", "new", "selected"]),
    ],
)
def test_by_turns_the_last_level_stops_once_enough_known_entries_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: TurnsSpec | None, states: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shapes = [to_molecule(smiles) for smiles in ("CCO", "COC", "CC=O", "C1CO1")]
    screening = ScreeningDoc(
        campaign_id="camp-0",
        before_level="one",
        known_set_ids=[],
        verdicts=[Verdict(candidate_id=f"cand-{i}", state="pending") for i in range(4)],
        structures={f"cand-{i}": shape for i, shape in enumerate(shapes)},
    )
    sets = [
        TrainingSetMaker(source=SmilesSource(smiles=smiles, relax=False), role=role).make()
        for smiles, role in ((["C"], "training"), (["COC", "C1CO1"], "known"))
    ]
    maker = RelaxLevelsMaker(makers=[level("one", f"{HERE}:Still")], turns=turns)
    flow = Flow([*sets, maker.make(screening, [s.output for s in sets])])
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
    (found,) = store.query({"output.doc_type": "classification"})
    assert [v["state"] for v in found["output"]["verdicts"]] == states
    relaxed = {d["output"]["candidate_id"] for d in store.query({"output.doc_type": "relaxation"})}
    assert len(relaxed) == 4 - states.count("selected")


def test_what_a_maker_of_atomate2_relaxes_is_recorded_and_classified(outcome: Any) -> None:
    emt = MakerLevel(
        name="emt",
        target="atomate2.ase.jobs:EmtRelaxMaker",
        kwargs={"relax_kwargs": {"fmax": 1.0}},
        isolate=False,
    )
    found = outcome([level("one"), maker_for(emt)], ["pending"])
    first, second = sorted(found["relaxation"], key=lambda doc: doc["level_index"])
    assert (second["calculator"], second["state"]) == ("maker", "converged")
    assert second["settings"]["target"] == emt.target
    assert second["settings"]["task_document"] == "AseMoleculeTaskDoc"
    assert second["energy_ev"] <= first["energy_ev"] + 1e-6
    (classified,) = found["classification"]
    assert [v["state"] for v in classified["verdicts"]] == ["new"]
