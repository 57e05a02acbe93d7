"""Makers of atomate2 and of anybody's as levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, GPa, Hartree
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.core import trust
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.relaxation.backends.maker import MakerLevel, read_frames, stress_of
from logan_campaign.relaxation.levels import ASELevel, parse_level
from logan_campaign.relaxation.run import relax

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]])
COPPER.translate_sites([0], [0.02, 0, 0.01])
WATER = Molecule("OHH", [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
SALT = Structure(Lattice.cubic(5), ["Cl", "Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.4], [0, 0.5, 0]])


@pytest.fixture
def foreign(monkeypatch):
    """Return a function that makes a level of a Maker in ``foreign.py``."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def level(target="Stretch", **kwargs):
        return MakerLevel(target=f"foreign:{target}", kwargs=kwargs, isolate=False, relax_cell=True)

    return level


def test_a_force_field_maker_of_atomate2_relaxes_as_our_own_level_does(tmp_path):
    data = {
        "calculator": "maker",
        "target": "atomate2.ase.jobs:EmtRelaxMaker",
        "kwargs": {"relax_kwargs": {"fmax": 0.01}, "optimizer_kwargs": {"optimizer": "BFGS"}},
        "isolate": False,
        "relax_cell": True,
    }
    level = parse_level(data)
    level.check(["Cu"], "crystal")
    outcome = relax(COPPER, level, workdir=tmp_path)
    own = ASELevel(
        target="ase.calculators.emt:EMT", fmax=0.01, relax_cell=True, max_steps=500, isolate=False
    )
    expected = relax(COPPER, own, workdir=tmp_path)
    assert outcome.state == expected.state == "converged", outcome.reason
    assert outcome.energy_ev == pytest.approx(expected.energy_ev, abs=1e-4)
    assert outcome.max_force < 0.01
    assert outcome.energies_ev[0] == pytest.approx(expected.energies_ev[0], abs=1e-6)
    assert outcome.structure.volume == pytest.approx(expected.structure.volume, rel=1e-3)
    assert outcome.stress == pytest.approx(expected.trajectory["stress"][-1], abs=2e-3)
    assert next(tmp_path.glob("relax-*/task.json")).stat().st_size > 0


@pytest.mark.filterwarnings("ignore::UserWarning")  # pymatgen has advice on smearing
def test_a_vasp_maker_writes_its_inputs_and_a_missing_vasp_is_a_state(tmp_path):
    level = MakerLevel(
        target="atomate2.vasp.jobs.core:RelaxMaker",
        kwargs={
            "write_input_set_kwargs": {"potcar_spec": True},
            "run_vasp_kwargs": {"vasp_cmd": "no-such-vasp"},
        },
        isolate=False,
        relax_cell=True,
    )
    level.check(["Cu"], "crystal")
    outcome = relax(COPPER, level, workdir=tmp_path)
    assert outcome.state == "calculator_crashed"
    assert "no-such-vasp" in outcome.reason
    (folder,) = tmp_path.glob("relax-*/maker")
    assert "IBRION = 2" in (folder / "INCAR").read_text()
    assert (folder / "KPOINTS").exists()
    assert "Cu" in (folder / "POTCAR.spec").read_text()
    written = Structure.from_file(folder / "POSCAR")
    np.testing.assert_allclose(written.cart_coords, COPPER.cart_coords, atol=1e-6)


@pytest.mark.parametrize(
    ("trouble", "state", "what"),
    [
        ("", "converged", ""),
        ("unconverged", "not_converged", "reported by the task document"),
        ("memory", "out_of_memory", "none left"),
        ("apart", "dissociated", "fell into"),
        ("no energy", "calculator_crashed", "no final energy"),
        ("other atoms", "calculator_crashed", "atoms of the task document differ"),
    ],
)
def test_whatever_becomes_of_the_maker_is_a_state(foreign, trouble, state, what, tmp_path):
    level = foreign(trouble=trouble).model_copy(update={"relax_cell": False})
    outcome = relax(WATER, level, workdir=tmp_path)
    assert outcome.state == state, outcome.reason
    assert what in outcome.reason
    has_energy = state in ("converged", "not_converged", "dissociated")
    assert outcome.energy_ev == (-1.5 if has_energy else None)
    assert outcome.max_force is None  # the document has no forces


def test_atoms_come_back_in_the_order_in_which_they_went(foreign, tmp_path):
    outcome = relax(SALT, foreign(cell={"@module": "foreign", "@class": "Cell"}), workdir=tmp_path)
    assert outcome.structure.species == SALT.species
    np.testing.assert_allclose(outcome.structure.frac_coords, SALT.frac_coords, atol=1e-9)


def test_a_flow_of_several_jobs_ends_with_its_last(foreign, tmp_path):
    cell = {"@module": "foreign", "@class": "Cell", "stretch": 1.1}
    maker = {"@module": "foreign", "@class": "Stretch", "cell": cell}
    outcome = relax(SALT, foreign("Twice", maker=maker), workdir=tmp_path)
    assert outcome.structure.lattice.a == pytest.approx(5 * 1.21)


def test_a_cell_that_collapses_is_told(foreign, tmp_path):
    cell = {"@module": "foreign", "@class": "Cell", "stretch": 0.5}
    assert relax(SALT, foreign(cell=cell), workdir=tmp_path).state == "cell_collapsed"


def test_modules_of_nested_objects_need_trust_where_the_maker_s_own_is_trusted(
    foreign, monkeypatch, tmp_path
):
    nested = foreign(cell={"@module": "collections", "@class": "Counter"})
    assert trust.code_named_in(nested.model_dump()) == ["foreign", "collections"]
    monkeypatch.setenv(trust.VARIABLE, "foreign")
    assert relax(SALT, foreign(), workdir=tmp_path).state == "converged"
    outcome = relax(SALT, nested, workdir=tmp_path)
    assert outcome.state == "calculator_crashed"
    assert "--trust collections" in outcome.reason
    monkeypatch.setenv(trust.VARIABLE, "")
    assert "--trust foreign" in relax(SALT, foreign(), workdir=tmp_path).reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "foreign:Nothing"}, "cannot load"),
        ({"kwargs": {"wrong": 1}}, "does not take these kwargs"),
        ({"target": "foreign:Cell"}, "no method 'make'"),
        (
            {"kwargs": {"cell": {"@module": "foreign", "@class": "Cell", "x": 1}}},
            "cannot be created",
        ),
    ],
)
def test_what_is_no_maker_is_refused_in_one_line(foreign, settings, message):
    level = foreign().model_copy(update=settings)
    with pytest.raises(InputError, match=message) as caught:
        level.check(["Na"], "crystal")
    assert "\n" not in str(caught.value)


def _vasp_document():
    moved = SALT.get_sorted_structure()
    steps = [
        {"e_0_energy": -1.0, "forces": np.eye(3).tolist(), "structure": moved.as_dict()},
        {"e_0_energy": -2.0, "forces": np.zeros((3, 3)).tolist(), "structure": moved.as_dict()},
    ]
    moved.translate_sites([0], [0.01, 0, 0])
    steps[1]["structure"] = moved.as_dict()
    return {
        "@module": "emmet.core.tasks",
        "state": {"@module": "x", "@class": "TaskState", "value": "successful"},
        "calcs_reversed": [{"output": {"ionic_steps": steps}}],
        "output": {
            "structure": moved.as_dict(),
            "energy": -2.0,
            "forces": np.zeros((3, 3)).tolist(),
            "stress": (10 * np.eye(3)).tolist(),
        },
    }


def test_ionic_steps_of_vasp_are_frames_in_our_order_and_its_stress_has_our_sign():
    task = _vasp_document()
    frames = read_frames(task, to_atoms(SALT))
    assert [frame.energy for frame in frames] == [-1.0, -2.0]
    # sodium comes first in VASP's files and second in ours
    np.testing.assert_allclose(frames[0].forces, np.eye(3)[[1, 0, 2]])
    np.testing.assert_allclose(frames[1].positions[1] - frames[0].positions[1], [0.05, 0, 0])
    # VASP's positive pressure of 1 GPa is a negative stress
    assert stress_of(task) == pytest.approx([-GPa] * 3 + [0] * 3)


def test_energies_of_q_chem_are_turned_from_hartree():
    task = {
        "@module": "emmet.core.qc_tasks",
        "output": {
            "optimized_molecule": WATER.as_dict(),
            "final_energy": -76.0,
            "forces": np.eye(3).tolist(),
        },
    }
    (frame,) = read_frames(task, to_atoms(WATER))
    assert frame.energy == pytest.approx(-76 * Hartree)
    np.testing.assert_allclose(frame.forces, np.eye(3) * Hartree / Bohr)
