"""What a chemical system means: compositions, sizes of cells, and what is left out."""

from __future__ import annotations

from math import comb, gcd
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pymatgen.core import Composition

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.system import MAX_CELLS, SystemSpec, Wanted, is_balanced
from logan_campaign.core.errors import InputError


def system(**said: Any) -> SystemSpec:
    return SystemSpec.model_validate({"kind": "crystal", **said})


def names(**said: Any) -> set[str]:
    return {one.reduced for one in system(**said).wanted()}


class TestCrystals:
    def test_of_a_binary_all_cells_of_two_elements(self) -> None:
        wanted = system(chemical_system="Cu-Au", max_atoms=8).wanted()
        # x copper among n atoms, both present
        assert len(wanted) == sum(n - 1 for n in range(2, 9))
        assert len({one.reduced for one in wanted}) == sum(
            gcd(x, n) == 1 for n in range(2, 9) for x in range(1, n)
        )
        assert [one.n_atoms for one in wanted] == sorted(one.n_atoms for one in wanted)
        assert Wanted("AuCu", 2, "Au2Cu2") in wanted

    def test_of_a_ternary_its_binaries_too(self) -> None:
        wanted = system(chemical_system="Al-Ni-Pd", max_atoms=6).wanted()
        n_cells = sum(comb(n + 2, 2) - 3 for n in range(2, 7))
        assert len(wanted) == n_cells
        assert {"AlNi", "NiPd", "AlPd", "AlNiPd"} <= {one.reduced for one in wanted}

    def test_salts_are_balanced_and_alloys_need_not_be(self) -> None:
        found = names(chemical_system="Mg-Si-O", max_atoms=7)
        assert {"MgO", "O2Si", "Mg2Si", "Mg2O4Si"} <= found
        assert found.isdisjoint({"MgO2", "OSi2", "Mg3O"})
        assert "Mg3O" in names(chemical_system="Mg-O", max_atoms=7, charge_balanced=False)

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.dictionaries(
            st.sampled_from(["Li", "Fe", "Ti", "Si", "P", "S", "O", "Cl"]),
            st.integers(1, 5),
            min_size=2,
            max_size=3,
        )
    )
    def test_balance_is_that_of_pymatgens_guesses(self, counts: dict[str, int]) -> None:
        formula = "".join(f"{symbol}{n}" for symbol, n in counts.items())
        if not set(counts) <= {"Li", "Fe", "Ti"}:
            assert is_balanced(formula) == bool(Composition(counts).oxi_state_guesses())

    def test_a_range_goes_through_all_numbers(self) -> None:
        wanted = system(formulas=["Li(1-4)P(1)S(2-7)"], max_atoms=12, formula_units=[1, 1]).wanted()
        assert all(one.units == 1 and "P" in one.formula for one in wanted)
        found = {one.reduced for one in wanted}
        assert "Li3PS4" in found
        assert found <= names(chemical_system="Li-P-S", max_atoms=12)

    def test_formula_units_and_atoms_limit_cells(self) -> None:
        wanted = system(formulas=["SiO2", "MgSiO3"], max_atoms=12, formula_units=[2, 3]).wanted()
        assert {(one.reduced, one.units) for one in wanted} == {
            ("O2Si", 2),
            ("O2Si", 3),
            ("MgO3Si", 2),
        }

    def test_what_is_named_comes_and_goes(self) -> None:
        said: dict[str, Any] = {"chemical_system": "Mg-Si-O", "max_atoms": 5}
        every = names(**said)
        assert names(**said, include=["MgO2"]) == every | {"MgO2"}
        assert names(**said, exclude=["MgO"]) == every - {"MgO"}
        without = names(**said, exclude=["Mg-Si"])
        assert every - without == {"Mg2Si", "Mg2Si3"} & every

    def test_groups_without_positions_for_the_atoms_leave_a_cell_out(self) -> None:
        groups = {"groups": [225]}
        wanted = system(chemical_system="Cu-Au", max_atoms=5, symmetry=groups).wanted()
        # 4a, 4b and 8c: one, one and two atoms of a primitive cell
        of_four = {"AuCu3", "Au2Cu2", "Au3Cu"}
        assert {one.formula for one in wanted} == {"AuCu", "Au2Cu", "AuCu2"} | of_four


class TestMolecules:
    def test_saturation_limits_hydrogens(self) -> None:
        found = names(kind="molecule", chemical_system="C-H-O", max_heavy_atoms=3)
        assert {"C3H8", "C2H6O", "CH2O2", "CO2", "CH4"} <= found
        assert found.isdisjoint({"C3H10", "C2H5O", "C3", "O", "CH6O"} - {"C3"})
        assert all(sum(Composition(f).values()) > 1 for f in found)

    def test_hydrocarbons_have_even_hydrogens_up_to_saturation(self) -> None:
        found = names(kind="molecule", chemical_system="C-H", max_heavy_atoms=6)
        assert len([f for f in found if "H" in f]) == sum(n + 1 for n in range(1, 7))

    def test_radicals_have_odd_hydrogens(self) -> None:
        found = names(kind="molecule", chemical_system="C-H", max_heavy_atoms=2, multiplicity=2)
        assert found == {"CH", "CH3", "C2H", "C2H3", "C2H5"}

    def test_multiples_are_other_molecules(self) -> None:
        wanted = system(kind="molecule", formulas=["CH2O", "C2H4O2"]).wanted()
        assert [one.formula for one in wanted] == ["CH2O", "C2H4O2"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"chemical_system": "Cu-Xx"}, "no element 'Xx'"),
        ({"chemical_system": "Cu"}, "at least two elements"),
        ({"chemical_system": "Cu, Au"}, "should match pattern"),
        ({"formulas": ["Li(3-2)"]}, "is empty"),
        ({"formulas": ["nonsense"]}, "not a chemical formula"),
        ({"chemical_system": "Cu-Au", "formulas": ["CuAu"]}, "either"),
        ({"chemical_system": "Cu-Au", "formula_units": [3, 1]}, "smallest first"),
        ({"chemical_system": "C-W", "kind": "molecule"}, "valences of W"),
        ({"chemical_system": "Cu-Au", "cell": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]}, "drawn"),
    ],
)
def test_what_means_nothing_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        system(**said)


def test_too_many_and_none_are_refused() -> None:
    with pytest.raises(InputError, match=f"more than {MAX_CELLS}"):
        system(chemical_system="Al-Cu-Ni-Pd-Pt", max_atoms=16).wanted()
    with pytest.raises(InputError, match="no composition is left"):
        system(formulas=["Mg2SiO4"], max_atoms=6).wanted()


class TestSpec:
    BASE: dict[str, Any] = {  # noqa: RUF012 - never changed
        "name": "s",
        "target": {"chemical_system": "Cu-Au", "kind": "crystal", "max_atoms": 4},
        "training": {"source": {"type": "builtin", "name": "elements", "formulas": ["Cu", "Au"]}},
        "select": {"strategy": "diverse", "n_picks": 2},
        "relax": {
            "levels": [
                {
                    "name": "emt",
                    "calculator": "ase",
                    "target": "ase.calculators.emt:EMT",
                    "relax_cell": True,
                }
            ]
        },
        "rounds": {},
    }

    def test_crystals_of_a_system_have_a_hull_and_its_rule(self) -> None:
        spec = CampaignSpec.model_validate(self.BASE)
        assert spec.relax.hull is not None
        assert spec.relax.hull.elements
        assert spec.policy.policy == "hull"
        assert [t.formula for t in spec.targets][:2] == ["AuCu", "Au2Cu"]
        assert spec.check(Path()).symbols == ["Cu", "Au"]

    def test_a_stored_spec_is_the_same_spec(self) -> None:
        spec = CampaignSpec.model_validate(self.BASE)
        assert CampaignSpec.model_validate(spec.model_dump(mode="json")).id == spec.id

    def test_several_compositions_take_rounds_of_their_own(self) -> None:
        with pytest.raises(ValidationError, match="add a section 'rounds'"):
            CampaignSpec.model_validate({**self.BASE, "rounds": None})
        by_hand = {"targets": [{"formula": "CuAu", "kind": "crystal", "cell": "drawn"}]}
        with pytest.raises(ValidationError, match="several compositions itself"):
            CampaignSpec.model_validate({**self.BASE, "rounds": by_hand})

    def test_mistakes_name_the_key_of_the_target_that_was_meant(self, tmp_path: Path) -> None:
        path = tmp_path / "s.yaml"
        for said, message in (
            ("{chemical_system: Cu-Au, kind: crystal, max_atom: 3}", "did you mean 'max_atoms'"),
            ("{formula: Cu, kind: crystal, cel: drawn}", "did you mean 'cell'"),
            ("{kind: crystal}", "target.formula: this key is required"),
        ):
            path.write_text(f"name: s\ntarget: {said}\n")
            with pytest.raises(InputError, match=message):
                CampaignSpec.from_file(path)
