"""Relaxation under pressure: enthalpies instead of energies."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure
from scipy.optimize import minimize_scalar

from logan_campaign.campaign.spec import RelaxSpec
from logan_campaign.campaign.stability import element_level
from logan_campaign.core.errors import InputError
from logan_campaign.relaxation.levels import ASELevel, GPAWLevel, XTBLevel
from logan_campaign.relaxation.run import relax

EMT_LEVEL = ASELevel(target="ase.calculators.emt:EMT", relax_cell=True, fmax=0.001, isolate=False)


def enthalpy(volume, pressure_gpa):
    """Return E + pV (eV/atom) of fcc copper at a volume (Å³/atom)."""
    atoms = bulk("Cu", "fcc", a=(4 * volume) ** (1 / 3))
    atoms.calc = EMT()
    return atoms.get_potential_energy() + pressure_gpa * GPa * volume


@pytest.mark.parametrize("pressure_gpa", [-2.0, 0.0, 10.0, 40.0])
def test_the_relaxed_volume_is_where_energy_plus_pressure_times_volume_is_lowest(pressure_gpa):
    lowest = minimize_scalar(
        enthalpy, (8.0, 13.0), args=(pressure_gpa,), bounds=(7.0, 14.0), method="bounded"
    )
    start = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]])
    found = relax(start, EMT_LEVEL.model_copy(update={"pressure_gpa": pressure_gpa}))
    assert found.state == "converged"
    assert found.structure.volume / 4 == pytest.approx(lowest.x, rel=2e-3)
    assert found.energy_ev / 4 == pytest.approx(lowest.fun, abs=2e-4)
    assert found.energies_ev[-1] == found.energy_ev <= found.energies_ev[0]
    # the trajectory keeps energies, which belong to its forces
    work = pressure_gpa * GPa * found.structure.volume
    assert found.trajectory["energy"][-1] + work == pytest.approx(found.energy_ev)
    np.testing.assert_allclose(found.stress[:3], -pressure_gpa * GPa, atol=2e-3)


def test_the_pressure_of_a_spec_is_that_of_all_its_levels():
    levels = [{"calculator": "ase", "target": "ase.calculators.emt:EMT", "relax_cell": True}]
    spec = RelaxSpec.model_validate({"levels": levels, "pressure_gpa": 5})
    assert spec.levels[0].pressure_gpa == 5
    assert RelaxSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert "pressure_gpa" not in str(RelaxSpec.model_validate({"levels": levels}).model_dump())


@pytest.mark.parametrize(
    ("level", "message"),
    [({"relax_cell": False}, "must relax the cell"), ({"pressure_gpa": 3}, "the same pressure")],
)
def test_a_pressure_that_cannot_be_kept_is_refused(level, message):
    base = {"calculator": "ase", "target": "ase.calculators.emt:EMT", "relax_cell": True}
    with pytest.raises(ValidationError, match=message):
        RelaxSpec.model_validate({"levels": [base | level], "pressure_gpa": 5})


def test_molecules_have_no_pressure():
    with pytest.raises(InputError, match="pressure_gpa is for crystals"):
        XTBLevel(pressure_gpa=1.0).check(["C"], "molecule")
    with pytest.raises(InputError, match="O is a molecule, which has no enthalpy"):
        element_level(GPAWLevel.from_preset("paper", pressure_gpa=1.0), "O")
