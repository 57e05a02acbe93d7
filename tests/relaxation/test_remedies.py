"""Energies of relaxations that needed a remedy: compared only where they are of one kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.calculator import SCFError
from pymatgen.core import Molecule

from logan_campaign.relaxation.levels import XTBLevel
from logan_campaign.relaxation.run import relax

PAIR = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.2]])


@pytest.fixture
def springs(monkeypatch):
    """Return a function that lets levels have springs whose energy smearing lowers by 1 eV."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from misbehaving import Spring

    def install(fails):
        made = []

        class Smeared(Spring):
            def calculate(self, atoms=None, *args, **kwargs):
                if fails(self.applied, self.atoms if atoms is None else atoms):
                    raise SCFError("went astray")
                super().calculate(atoms, *args, **kwargs)
                self.results["energy"] -= "smearing" in self.applied

        def make(_, atoms, setup):
            made.append(Smeared())
            made[-1].applied = list(setup.remedies)
            return made[-1]

        monkeypatch.setattr(XTBLevel, "make_calculator", make)
        return made

    return install


def test_the_energy_of_a_relaxation_with_smearing_is_computed_once_more_without(springs):
    # stretched it needs smearing, at its minimum no longer
    made = springs(
        lambda applied, atoms: "smearing" not in applied and atoms.get_distance(0, 1) > 1.1
    )
    outcome = relax(Molecule("CC", PAIR.positions), XTBLevel(fmax=0.001))
    assert outcome.state == "converged"
    assert outcome.notes == {"remedies": ["mixing", "smearing"], "box_angstrom": None}
    assert made[-1].applied == ["mixing"]  # what only helps stays on
    assert outcome.comparable
    assert outcome.energy_ev == pytest.approx(0.0, abs=1e-5)
    assert outcome.energies_ev[-1] == pytest.approx(-1.0, abs=1e-5)  # as the steps saw it


def test_an_energy_that_only_smearing_gives_is_marked(springs):
    springs(lambda applied, _: "smearing" not in applied)
    outcome = relax(Molecule("CC", PAIR.positions), XTBLevel(fmax=0.001))
    assert outcome.state == "converged"
    assert not outcome.comparable
    assert outcome.energy_ev == pytest.approx(-1.0, abs=1e-5)


def test_remedies_that_change_no_energy_leave_it_comparable(springs):
    made = springs(lambda applied, _: not applied)
    outcome = relax(Molecule("CC", PAIR.positions), XTBLevel(fmax=0.001))
    assert outcome.notes["remedies"] == ["mixing"]
    assert outcome.comparable
    assert outcome.energy_ev == outcome.energies_ev[-1]
    assert len(made) == 2
