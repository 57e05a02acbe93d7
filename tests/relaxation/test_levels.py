"""Levels: what a spec may say, and what is found out before a job starts."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from logan_campaign.core.errors import InputError
from logan_campaign.relaxation.levels import (
    ASELevel,
    GPAWLevel,
    XTBLevel,
    parse_level,
)


def test_the_calculator_tells_which_level_it_is():
    assert isinstance(parse_level({"calculator": "gfn2-xtb"}), XTBLevel)
    assert isinstance(parse_level({"calculator": "gpaw"}), GPAWLevel)
    assert isinstance(parse_level({"calculator": "ase", "target": "a.b:c"}), ASELevel)


@pytest.mark.parametrize(
    "level",
    [
        XTBLevel(fmax=0.1),
        GPAWLevel.from_preset("production", smearing={"width": 0.2}),
        GPAWLevel(mode="pw", kpts=(2, 3, 4), setups={"O": "paw"}, davidson_iterations=1),
        ASELevel(target="ase.calculators.emt:EMT", kwargs={"asap_cutoff": True}),
    ],
)
def test_a_level_survives_json(level):
    assert parse_level(json.loads(json.dumps(level.model_dump(mode="json")))) == level


def test_what_is_dumped_is_what_ids_were_made_from_before_later_settings():
    dumped = GPAWLevel(mode="pw").model_dump(mode="json")
    later = {"davidson_iterations", "magnetic_moments", "magnetic_order", "hubbard_u"}
    later |= {"pressure_gpa", "potential"}
    assert dumped.keys() == GPAWLevel.model_fields.keys() - later
    changed = GPAWLevel(mode="pw", davidson_iterations=2).model_dump(mode="json")
    assert changed == {**dumped, "davidson_iterations": 2}


def test_a_preset_gives_way_to_what_is_set():
    paper = GPAWLevel.from_preset("paper")
    assert (paper.mode, paper.ecut_ev, paper.xc, paper.kpts) == ("pw", 400.0, "LDA", (2, 2, 2))
    assert (paper.fmax, paper.max_steps, paper.relax_cell) == (0.05, 1000, False)
    assert paper.optimizer == "FIRE"
    changed = parse_level({"calculator": "gpaw", "preset": "paper", "ecut_ev": 500, "fmax": 0.01})
    assert (changed.ecut_ev, changed.fmax, changed.mode) == (500, 0.01, "pw")


@pytest.mark.parametrize(
    "data",
    [
        {"calculator": "gpaw", "ecut": 400},
        {"calculator": "gpaw", "preset": "best"},
        {"calculator": "gpaw", "mode": "lcao", "relax_cell": True},
        {"calculator": "gpaw", "kpts": [2, 2]},
        {"calculator": "gpaw", "processes": 2, "isolate": False},
        {"calculator": "gpaw", "mode": "lcao", "davidson_iterations": 1},
        {"calculator": "gpaw", "mode": "pw", "davidson_iterations": 0},
        {"calculator": "gpaw", "continuations": -1},
        {"calculator": "gpaw", "energy_window_ev_per_atom": 0},
        {"calculator": "gpaw", "kpts": [0, 2, 2]},
        {"calculator": "gpaw", "convergence": {"energie": 1e-3}},
        {"calculator": "gfn2-xtb", "relax_cell": True},
        {"calculator": "gfn2-xtb", "fmax": 0},
        {"calculator": "gfn2-xtb", "name": "a/b"},
        {"calculator": "ase", "target": "os:system('ls')"},
        {"calculator": "vasp"},
    ],
)
def test_nonsense_in_a_level_is_refused(data):
    with pytest.raises(ValidationError):
        parse_level(data)


@pytest.mark.parametrize(
    ("level", "species", "kind"),
    [
        (XTBLevel(), ["H", "C", "O"], "molecule"),
        (GPAWLevel(), ["H", "C", "O"], "molecule"),
        (GPAWLevel.from_preset("paper"), ["Si", "O"], "crystal"),
        (GPAWLevel.from_preset("production"), ["Si", "O"], "crystal"),
        (GPAWLevel(xc="GGA_X_PBE_SOL+GGA_C_PBE_SOL"), ["Si", "O"], "crystal"),
        (ASELevel(target="ase.calculators.emt:EMT"), ["Cu"], "crystal"),
    ],
)
def test_levels_that_can_run_pass_the_check(level, species, kind):
    pytest.importorskip("gpaw")
    level.check(species, kind)


@pytest.mark.parametrize(
    ("level", "species", "kind", "message"),
    [
        (XTBLevel(), ["Si", "O"], "crystal", "for molecules"),
        (XTBLevel(), ["U"], "molecule", "no parameters for U"),
        (XTBLevel(), ["Xx"], "molecule", "unknown element"),
        (GPAWLevel(xc="LDB"), ["Si"], "crystal", "unknown functional 'LDB'"),
        (GPAWLevel(xc="SCAN"), ["Si"], "crystal", "only TPSS, revTPSS, M06-L"),
        (GPAWLevel(xc="GLLBSC"), ["Si"], "crystal", "no forces for functionals of type GLLB"),
        (GPAWLevel(xc="PBEsol", setups_xc="XYZ"), ["Si"], "crystal", "Si.XYZ.*LDA, PBE"),
        (GPAWLevel(xc="PBE"), ["Po"], "crystal", "PAW dataset.*for Po.*pip install gpaw-data"),
        (GPAWLevel(setups="odd"), ["C"], "molecule", "C.odd.LDA.*available for LDA, PBE"),
        (GPAWLevel(basis="qzp"), ["C"], "molecule", "basis set.*C.qzp"),
        (ASELevel(target="ase.calculators.emt:NoSuch"), ["Cu"], "crystal", "cannot load"),
        (ASELevel(target="no_such_module:f"), ["Cu"], "crystal", "cannot load"),
        (ASELevel(target="nothing"), ["Cu"], "crystal", "no entry point"),
        (ASELevel(target="math:pi"), ["Cu"], "crystal", "cannot be called"),
        (
            ASELevel(target="ase.calculators.abc:GetPropertiesMixin", kwargs={"wrong": 1}),
            ["Cu"],
            "crystal",
            "does not take",
        ),
        (
            ASELevel(target="ase.calculators.emt:EMT", relax_cell=True),
            ["Cu"],
            "molecule",
            "no cell",
        ),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(level, species, kind, message):
    with pytest.raises(InputError, match=message) as caught:
        level.check(species, kind)
    assert "\n" not in str(caught.value)
    assert f"level '{level.name}'" in str(caught.value)


def test_a_missing_gpaw_is_named_with_the_way_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gpaw.setup", None)
    with pytest.raises(InputError, match=r"pip install gpaw.*conda-forge"):
        GPAWLevel().check(["H"], "molecule")


def test_processes_are_refused_where_gpaw_has_no_mpi():
    cgpaw = pytest.importorskip("gpaw").cgpaw
    if cgpaw.have_mpi:
        pytest.skip("this GPAW has MPI")
    with pytest.raises(InputError, match=r"level 'gpaw': processes: 2 needs a GPAW built with MPI"):
        GPAWLevel(processes=2).check(["H"], "molecule")
