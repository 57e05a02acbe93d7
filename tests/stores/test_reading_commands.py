"""What the reading commands say of campaigns that are far from finished, or odd."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import Flow, JobStore, job
from pymatgen.analysis.diffraction.xrd import XRDCalculator

from logan_campaign.cli import main
from logan_campaign.cli.read import _alike
from logan_campaign.core.documents import Document, ModelDoc, ReferenceDoc, Verdict
from logan_campaign.flows.local import Ledger
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store

from .made_up import CrystalsWithHull, MadeUpCampaign, MadeUpCrystals

Read = Callable[..., str]


@job
def nothing() -> None:
    """Stand in for the campaign's jobs, of which only the documents are made up."""


@pytest.fixture
def read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Read:
    """Store a made-up campaign up to a stage, and return what a command says of it."""

    def read(campaign: MadeUpCampaign, upto: int | None, command: str, *options: str) -> str:
        place = tmp_path / f"{type(campaign).__name__}-{upto}"
        with open_store(place, create=True) as stores:
            ledger = Ledger(stores.ledger, campaign.id, {"campaign": "demo"})
            if ledger.root() is None:
                ledger.begin(Flow([nothing()]))
            campaign.store(JobStore(stores.docs, additional_stores={"data": stores.data}), upto)
            CampaignBuilder.from_stores(stores).build()
        argv = ["logan-campaign", command, str(place), *options]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return captured.out

    return read


def read_json(read: Read, *arguments: Any) -> Any:
    return json.loads(read(*arguments, "--json"))


@pytest.mark.parametrize("upto", [1, 3, 5, 7, 11])
def test_every_stage_of_a_campaign_can_be_read(read: Read, upto: int) -> None:
    campaign = MadeUpCampaign()
    n_candidates = 6 if upto >= 5 else 0
    assert "demo" in read(campaign, upto, "status")
    status = read_json(read, campaign, upto, "status")
    assert sum(status["candidates"].values()) == n_candidates
    assert f"{n_candidates} candidates" in read(campaign, upto, "results")
    found = read_json(read, campaign, upto, "results")
    assert len(found) == n_candidates
    for candidate in found:
        assert {"id", "state", "formula", "smiles", "level", "energy_ev"} <= candidate.keys()


def test_a_campaign_of_which_all_models_failed_shows_why(read: Read) -> None:
    class Failed(MadeUpCampaign):
        def models(self) -> list[Document]:
            found = [model for model in super().models() if isinstance(model, ModelDoc)]
            empty = {name: [] for name in type(found[0].history).model_fields}
            changes = {
                "state": "failed",
                "reason": "diverged: the losses are not finite",
                "weights": "",
                "history": type(found[0].history)(**empty),
            }
            return [model.model_copy(update=changes) for model in found]

    said = " ".join(read(Failed(), 4, "status").split())
    assert "diverged" in said
    assert "candidates: none yet" in said
    assert "found 0 of 1 in the known set" in said
    model = Failed().models()[0].id  # type: ignore[attr-defined]
    assert "diverged" in read(Failed(), 4, "show", model)
    assert model in read(Failed(), 4, "lineage", model)


def test_what_looks_like_markup_is_shown_as_it_is(read: Read) -> None:
    class Pyrrole(MadeUpCampaign):
        def verdicts(self) -> list[Verdict]:
            odd = {"smiles": "c1cc[nH]c1", "reason": "see [/tmp/log] and [red]"}
            return [verdict.model_copy(update=odd) for verdict in super().verdicts()]

    table = read(Pyrrole(), None, "results")
    assert "c1cc[nH]c1" in table
    assert "see [/tmp/log] and [red]" in table
    assert "c1cc[nH]c1" in read(Pyrrole(), None, "show", "cand-a4")


def test_a_known_energy_that_did_not_converge_is_not_compared_with(read: Read) -> None:
    class Unconverged(MadeUpCampaign):
        def reference(self) -> list[Document]:
            (found,) = super().reference()
            assert isinstance(found, ReferenceDoc)
            changed = [r.model_copy(update={"state": "not_converged"}) for r in found.references]
            return [found.model_copy(update={"references": changed})]

    assert read_json(read, MadeUpCampaign(), None, "status")["reference"] is not None
    assert read_json(read, Unconverged(), None, "status")["reference"] is None


def test_known_crystals_count_in_any_cell(read: Read) -> None:
    class Doubled(MadeUpCrystals):
        def sets(self) -> list[Document]:
            return [
                doc.model_copy(update={"formulas": {"O4Si2": 1}})  # type: ignore[attr-defined]
                for doc in super().sets()
            ]

        def stages(self) -> list[Sequence[Document]]:
            return [
                [
                    doc.model_copy(update={"kind": "crystal", "formula": "O2Si"})
                    if doc.doc_type == "campaign"  # type: ignore[attr-defined]
                    else doc
                    for doc in stage
                ]
                for stage in super().stages()
            ]

    (known,) = read_json(read, Doubled(), None, "status")["known"]
    assert (known["n_entries"], known["n_found"]) == (1, 1)


@pytest.mark.parametrize(
    ("pairs", "missing"), [(["H-H"], ["H-O"]), (["H-H", "H-O"], []), (None, []), ([], ["H-O"])]
)
def test_species_never_seen_side_by_side_are_named(
    read: Read, pairs: list[str] | None, missing: list[str]
) -> None:
    class Apart(MadeUpCampaign):
        def sets(self) -> list[Document]:
            training, known = super().sets()
            # pairs of known structures are not learned
            return [
                training.model_copy(update={"pairs": pairs}),
                known.model_copy(update={"pairs": ["H-O"]}),
            ]

    assert read_json(read, Apart(), None, "status")["unseen_pairs"] == missing
    said = "no training structure has this pair of species side by side: H-O"
    assert (said in read(Apart(), None, "status")) == bool(missing)
    assert read_json(read, Apart(), 1, "status")["unseen_pairs"] == []  # before it is pulled


def test_a_composition_may_be_written_in_any_order(read: Read) -> None:
    for formula in ("SiO2", "O2Si"):
        assert "6 candidates" in read(MadeUpCrystals(), None, "results", "--formula", formula)


def test_raw_structures_are_exported_without_the_energy_of_the_relaxed_ones(
    read: Read, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    read(MadeUpCampaign(), None, "export", str(path))
    assert all(c["energy_ev"] is not None and c["level"] for c in json.loads(path.read_text()))
    read(MadeUpCampaign(), None, "export", str(path), "--raw", "--force")
    for candidate in json.loads(path.read_text()):
        assert not {"energy_ev", "energy_per_atom_ev", "level"} & candidate.keys()


def test_energies_above_the_hull_are_shown_where_the_elements_were_computed(read: Read) -> None:
    found = {c["id"]: c for c in read_json(read, CrystalsWithHull(), None, "results")}
    above = {name[-1]: c["energy_above_hull_ev_per_atom"] for name, c in found.items()}
    # -20.5 eV per SiO2 is the lowest, and below the elements' -15
    assert above["2"] == pytest.approx(0.0, abs=1e-9)
    assert above["1"] == pytest.approx(0.5 / 3)
    assert above["3"] == pytest.approx(1.5 / 3)
    assert above["4"] is None  # its relaxation failed
    assert found["cand-a1"]["decomposition"] == "1 SiO2"
    assert found["cand-a2"]["decomposition"] is None  # it is on the hull
    hull = read_json(read, CrystalsWithHull(), None, "status")["hull"]
    assert {phase["formula"] for phase in hull["phases"]} == {"Si2", "O2", "O2Si"}
    assert (hull["n_unique"], hull["n_stable"]) == (2, 1)
    assert "hull at gpaw: " in read(CrystalsWithHull(), None, "status")
    assert "above hull (meV/atom)" in read(CrystalsWithHull(), None, "results")
    assert "above hull (meV/atom)" not in read(MadeUpCrystals(), None, "results")
    # elements are no known entries that a candidate could beat
    assert read_json(read, CrystalsWithHull(), None, "status")["reference"]["known"] == "O2"


def test_results_by_a_measured_pattern(read: Read, tmp_path: Path) -> None:
    angles = np.arange(10.0, 80.0, 0.05)
    counts = np.zeros_like(angles)
    path = tmp_path / "measured.xy"
    lines = XRDCalculator().get_pattern(MadeUpCrystals().structure(12), two_theta_range=(10, 80))
    for angle, height in zip(lines.x, lines.y, strict=True):
        counts = counts + height * np.exp(-0.5 * ((angles - angle) / 0.08) ** 2)
    np.savetxt(path, np.column_stack([angles, counts]))
    found = read_json(read, MadeUpCrystals(), None, "results", "--all", "--pxrd", str(path))
    alike = [one["similarity"] for one in found]
    assert alike == sorted(alike, reverse=True)
    assert alike[0] > 0.9
    assert len(found) == 6
    assert all(0.96 <= one["scale"] <= 1.04 for one in found)
    first = read_json(read, MadeUpCrystals(), None, "results", "--all", "--pxrd", str(path),
                      "--limit", "2", "--page", "2")  # fmt: skip
    assert [one["id"] for one in first] == [one["id"] for one in found[2:4]]
    assert f"{alike[0]:.3f}" in read(
        MadeUpCrystals(), None, "results", "--all", "--pxrd", str(path)
    )


def test_results_lead_with_what_was_found_and_count_the_rest(read: Read) -> None:
    class Rejected(MadeUpCampaign):
        def verdicts(self) -> list[Verdict]:
            reasons = {"failed": "no energy after 300 steps"}
            found = super().verdicts()
            return [v.model_copy(update={"reason": reasons.get(v.state, v.reason)}) for v in found]

    said = read(Rejected(), None, "results")
    rows = [line.split()[:2] for line in said.splitlines() if line.startswith("cand-")]
    assert {state for _, state in rows} == {"new", "rediscovered"}
    assert "2 of 6 candidates" in said
    counted = read_json(read, Rejected(), None, "status")["candidates"]
    for state in ("duplicate", "rejected", "failed"):
        assert f"not shown: {counted[state]} {state} (--state {state})" in said
    assert said.count("not connected") == said.count("no energy") == 1
    everything = read(Rejected(), None, "results", "--all")
    assert sum(line.startswith("cand-") for line in everything.splitlines()) == 6
    assert "not shown" not in everything
    assert len(read_json(read, Rejected(), None, "results")) == 6


def test_reasons_that_differ_in_numbers_are_told_once() -> None:
    reasons = Counter({f"atoms {n} and {n + 1} collide": 2 for n in range(8)})
    reasons.update({"": 3, "no energy": 1})
    assert _alike(reasons) == {"atoms 0 and 1 collide": 16, "no energy": 1}


def test_show_says_what_a_person_reads_first(read: Read) -> None:
    molecule = read(MadeUpCampaign(), None, "show", "cand-a2")
    assert "2 H–O 0.962 Å" in molecule  # of water as it was made up
    for level in ("xtb", "gpaw"):
        assert any(line.startswith(level) for line in molecule.splitlines())
    crystal = read(MadeUpCrystals(), None, "show", "cand-a2")
    for text in ("SiO2", "a, b, c; α, β, γ", "space group", "Wyckoff sites", "g/cm³"):
        assert text in crystal
    assert "schema_version" not in molecule + crystal
    document = read_json(read, MadeUpCampaign(), None, "show", "cand-a2")
    assert {"schema_version", "raw_structure", "structure", "relaxations"} <= document.keys()


def test_tables_for_terminals_are_not_wider_and_nothing_is_cut(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logan_campaign.cli.common._PIPE_WIDTH", 80)
    for command in (["results", "--all"], ["status"]):
        said = read(CrystalsWithHull(), None, *command)
        rows = [line for line in said.splitlines() if "warning" not in line and ": " not in line]
        assert max(map(len, rows)) <= 80
        assert "…" not in said
