"""The hull of what a campaign computed itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.stability import (
    HullEntry,
    above_hull,
    element_level,
    element_structure,
    hull_of,
)
from logan_campaign.core.errors import InputError
from logan_campaign.relaxation.levels import ASELevel, GPAWLevel, XTBLevel

SILICON, OXYGEN = HullEntry("si", "Si2", -10.0), HullEntry("o", "O2", -10.0)


def test_the_lowest_phase_is_on_the_hull_and_a_polymorph_above_it_by_its_difference():
    found = above_hull(
        [SILICON, OXYGEN, HullEntry("low", "O4Si2", -42.0), HullEntry("high", "O2Si", -20.7)]
    )
    assert found == pytest.approx({"si": 0, "o": 0, "low": 0, "high": 0.1}, abs=1e-9)


def test_a_phase_that_falls_apart_is_above_its_parts():
    # SiO as 1/2 (Si + SiO2): (-5 - 21) / 2 = -13 per formula unit
    found = above_hull(
        [SILICON, OXYGEN, HullEntry("dioxide", "O2Si", -21.0), HullEntry("oxide", "OSi", -12.0)]
    )
    assert found["oxide"] == pytest.approx(0.5)


def test_a_further_phase_can_only_raise_energies_above_the_hull():
    entries = [SILICON, OXYGEN, HullEntry("a", "O2Si", -20.0)]
    alone = above_hull(entries)
    beside = above_hull([*entries, HullEntry("b", "O2Si", -21.0), HullEntry("c", "OSi", -14.0)])
    assert all(beside[name] >= alone[name] - 1e-12 for name in alone)
    assert beside["a"] > alone["a"]


def test_without_an_element_there_is_no_hull():
    assert above_hull([SILICON, HullEntry("a", "O2Si", -20.0)]) == {}
    assert above_hull([]) == {}


def test_a_phase_falls_into_the_phases_on_the_hull_by_shares_of_its_atoms():
    entries = [
        SILICON,
        OXYGEN,
        HullEntry("dioxide", "O4Si2", -42.0),
        HullEntry("oxide", "OSi", -12.0),
    ]
    hull = hull_of(entries)
    assert hull is not None
    assert [entry.id for entry in hull.stable] == ["o", "si", "dioxide"]
    # SiO = 1/2 Si + 1/2 SiO2: half an atom of two, and one and a half
    assert hull.stability()["oxide"].decomposition == pytest.approx({"si": 0.25, "dioxide": 0.75})
    assert hull.stability()["dioxide"] == (0.0, {"dioxide": 1.0})
    assert hull.energy_at("SiO") == pytest.approx((-5 - 21) / 4)
    assert hull.formation("SiO2", -21.0) == pytest.approx((-21 + 5 + 10) / 3)
    with pytest.raises(ValueError, match="Cu"):
        hull.energy_at("CuO")


@settings(deadline=None, max_examples=50)  # the first imports pymatgen's diagrams
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(-3, 3)).filter(
            lambda x: any(x[:2])
        ),
        max_size=8,
    )
)
def test_no_phase_is_below_the_hull_and_what_is_on_it_costs_what_its_parts_cost(drawn):
    entries = [SILICON, OXYGEN]
    entries += [
        HullEntry(str(i), f"Si{si}O{o}", -5.0 * (si + o) + (si + o) * energy)
        for i, (si, o, energy) in enumerate(drawn)
    ]
    hull = hull_of(entries)
    assert hull is not None
    per_atom = {
        entry.id: entry.energy_ev / Composition(entry.formula).num_atoms for entry in entries
    }
    for entry in entries:
        above, parts = hull.stability()[entry.id]
        assert above >= 0
        assert sum(parts.values()) == pytest.approx(1)
        assert set(parts) <= {phase.id for phase in hull.stable}
        mixed = sum(share * per_atom[name] for name, share in parts.items())
        assert per_atom[entry.id] - mixed == pytest.approx(above, abs=1e-8)


def test_elements_come_as_they_are():
    assert len(element_structure("Si")) == 2
    assert element_structure("Si").volume == pytest.approx(5.43**3 / 4)
    oxygen = element_structure("O")
    assert oxygen.get_distance(0, 1) == pytest.approx(1.21, abs=0.02)
    with pytest.raises(InputError, match="no structure is known for the element P"):
        element_structure("P")


def test_an_element_is_computed_with_the_level_s_energies_but_a_cell_and_a_spin_of_its_own():
    paper = GPAWLevel.from_preset("paper")
    silicon, oxygen = element_level(paper, "Si"), element_level(paper, "O")
    assert (silicon.ecut_ev, silicon.xc, silicon.setups) == (paper.ecut_ev, paper.xc, paper.setups)
    assert silicon.relax_cell
    assert not silicon.spinpol
    assert (oxygen.relax_cell, oxygen.spinpol, oxygen.kpts) == (False, True, (1, 1, 1))
    assert element_level(ASELevel(target="ase.calculators.emt:EMT"), "Cu").relax_cell
    with pytest.raises(InputError, match="not for crystals"):
        element_level(XTBLevel(), "Si")


def test_molecules_have_no_hull(tmp_path):
    spec = CampaignSpec.model_validate(
        {
            "name": "none",
            "target": {"kind": "molecule", "formula": "C2H6O"},
            "training": {"source": {"type": "smiles", "smiles": ["CCO"], "relax": False}},
            "select": {"strategy": "kmeans", "n_picks": 2},
            "relax": {"levels": [{"calculator": "gfn2-xtb"}], "hull": {}},
        }
    )
    with pytest.raises(InputError, match="molecules have no hull"):
        spec.check(tmp_path)
