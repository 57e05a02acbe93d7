"""Energies of elements: computed once, then taken from the store."""

from __future__ import annotations

from logan_campaign.flows.reference import ElementMaker
from logan_campaign.flows.relax import maker_for
from logan_campaign.relaxation.levels import ASELevel


def element(done=(), **settings):
    level = ASELevel(target="ase.calculators.emt:EMT", isolate=False, relax_cell=True, **settings)
    maker = ElementMaker(maker=maker_for(level), symbol="Cu", done=list(done))
    [found] = ElementMaker.make.original(maker, "camp-a").references
    return found


def test_an_element_is_computed_once_at_each_level_and_pressure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = element()
    assert (first.role, first.state, first.label) == ("element", "converged", "Cu")
    held = first.model_copy(update={"energy_ev": -123.0, "label": "what another campaign said"})
    assert element([held]).energy_ev == -123.0
    assert element([held]).label == "Cu"
    # other settings give other energies, which are not taken over
    for settings in ({"fmax": 0.02}, {"pressure_gpa": 10.0}):
        other = element([held], **settings)
        assert other.relaxation_id != first.relaxation_id
        assert other.energy_ev != -123.0
    assert element([held], pressure_gpa=10.0).energy_ev > first.energy_ev
