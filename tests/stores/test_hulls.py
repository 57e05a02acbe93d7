"""The hull of a campaign's records, and how it grew round by round."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobflow import JobStore

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.core.documents import Document, ReferenceDoc, ReferenceEnergy
from logan_campaign.stores.found import relaxed_references
from logan_campaign.stores.hulls import add_hull
from logan_campaign.stores.open import open_store
from logan_campaign.stores.records import CandidateRecord

from .made_up import MadeUpCampaign


def element(symbol: str, per_atom: float = 0.0) -> ReferenceEnergy:
    return ReferenceEnergy(
        structure_id=f"struct-{symbol}",
        label=symbol,
        set_id="",
        role="element",
        formula=f"{symbol}4",
        level="emt",
        state="converged",
        reason="",
        energy_ev=4 * per_atom,
        energy_per_atom_ev=per_atom,
        relaxation_id=f"relax-{symbol}",
    )


def candidate(name: str, formula: str, n_atoms: int, per_atom: float, index: int, state="new"):
    return CandidateRecord.model_construct(
        id=name,
        formula=formula,
        n_atoms=n_atoms,
        kind="crystal",
        level="emt",
        round=index,
        state=state,
        spacegroup="P1",
        energy_ev=n_atoms * per_atom,
        material_id=f"mat-{name}",
        energy_above_hull_ev_per_atom=None,
        decomposition=None,
        pressure_gpa=None,
    )


ELEMENTS = [element("Cu"), element("Au")]


def hull_of(candidates, references=ELEMENTS, **settings):
    return add_hull(candidates, references, "emt", lambda record: record.energy_ev, settings)


def test_a_phase_is_on_the_hull_from_its_round_until_a_lower_one_comes():
    found = [
        candidate("high", "AuCu", 2, -0.02, 0),
        candidate("low", "Au2Cu2", 4, -0.05, 1),
        candidate("third", "AuCu3", 4, -0.04, 2),
        candidate("rich", "Au3Cu", 4, -0.01, 2, "rediscovered"),
    ]
    hull = hull_of(found, window_ev_per_atom=0.02)
    spans = {
        phase.id: (phase.since, phase.until) for phase in hull.phases if phase.role != "element"
    }
    assert spans == {"high": (0, 1), "low": (1, None), "third": (2, None)}
    assert [{p.id for p in hull.at(k)} - {"struct-Cu", "struct-Au"} for k in (0, 1, 2, None)] == [
        {"high"},
        {"low"},
        {"low", "third"},
        {"low", "third"},
    ]
    above = {record.id: record.energy_above_hull_ev_per_atom for record in found}
    assert above == pytest.approx({"high": 0.03, "low": 0, "third": 0, "rich": 0.015}, abs=1e-9)
    assert [record.decomposition for record in found] == [
        "1 CuAu",
        None,
        None,
        "0.5 CuAu + 0.5 Au",
    ]
    assert (hull.n_stable, hull.n_unique, hull.n_new, hull.n_stable_new) == (3, 4, 3, 2)


def test_the_hull_after_the_last_round_does_not_depend_on_the_rounds():
    energies = {"AuCu": -0.05, "AuCu3": -0.02, "Au3Cu": -0.04, "Au2Cu": -0.03, "AuCu2": -0.045}
    n_atoms = {"AuCu": 2, "AuCu3": 4, "Au3Cu": 4, "Au2Cu": 3, "AuCu2": 3}

    def stable(order):
        made = [candidate(f, f, n_atoms[f], energies[f], k) for k, f in enumerate(order)]
        return {phase.id for phase in hull_of(made).at()}

    first = stable(list(energies))
    assert stable(list(reversed(energies))) == first
    at_once = [candidate(f, f, n_atoms[f], e, 0) for f, e in energies.items()]
    assert {phase.id for phase in hull_of(at_once).at()} == first


def test_candidates_with_an_element_that_was_not_computed_have_no_place_on_it():
    found = [candidate("a", "AuCu", 2, -0.02, 0), candidate("b", "AuPd", 2, -0.5, 0)]
    hull = hull_of(found)
    assert {phase.id for phase in hull.at()} == {"struct-Cu", "struct-Au", "a"}
    assert found[1].energy_above_hull_ev_per_atom is None
    assert hull_of(found, references=[]) is None


def test_elements_are_computed_once_per_store_and_level(tmp_path: Path):
    class WithElements(MadeUpCampaign):
        def reference(self) -> list[Document]:
            return [ReferenceDoc(campaign_id=self.id, references=ELEMENTS)]

    def spec(level: str, **relax) -> CampaignSpec:
        emt = {"calculator": "ase", "target": "ase.calculators.emt:EMT", "name": level}
        return CampaignSpec.model_validate(
            {
                "name": "next",
                "target": {"kind": "crystal", "formula": "CuAu"}
                | {"cell": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]},
                "training": {"source": {"type": "builtin", "name": "sio2-prototypes"}},
                "select": {"strategy": "kmeans"},
                "relax": {"levels": [emt], **relax},
            }
        )

    with open_store(tmp_path, create=True) as stores:
        WithElements().store(JobStore(stores.docs, {"data": stores.data}))
        found = relaxed_references(stores, spec("emt", hull={}))
        assert {one.relaxation_id for one in found} == {"relax-Cu", "relax-Au"}
        assert relaxed_references(stores, spec("other", hull={})) == []
        assert relaxed_references(stores, spec("emt")) == []
