"""GPAW levels: known values, boxes, remedies. Small systems on coarse grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Molecule, Structure

pytest.importorskip("gpaw")

from logan_campaign.relaxation.backends.gpaw.calculator import gpaw_parameters
from logan_campaign.relaxation.backends.gpaw.functionals import data_sets, functional, setups_name
from logan_campaign.relaxation.backends.gpaw.level import REMEDIES
from logan_campaign.relaxation.engine import classify
from logan_campaign.relaxation.levels import GPAWLevel
from logan_campaign.relaxation.run import relax

TARGET = Path(__file__).parents[2].parent / "shared" / "data" / "sio2" / "mp-546794_target.extxyz"
COARSE = GPAWLevel(grid_spacing_angstrom=0.28, optimizer="BFGS")


@pytest.fixture
def silicon():
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.4), ["Si"], [[0, 0, 0]])


def test_hydrogen_relaxes_to_its_bond_length_in_lcao(tmp_path):
    hydrogen = Molecule(["H", "H"], [[10, 10, 10], [10, 10, 10.9]])
    outcome = relax(hydrogen, COARSE, workdir=tmp_path)
    assert outcome.state == "converged"
    # LDA: 0.766 Å; the coarse grid and the small basis cost 0.02 Å.
    assert outcome.structure.get_distance(0, 1) == pytest.approx(0.766, abs=0.03)
    assert isinstance(outcome.structure, Molecule)
    # It comes back where it stood, not in the corner of its box.
    np.testing.assert_allclose(outcome.structure.center_of_mass, [10, 10, 10.45], atol=0.02)
    assert outcome.notes["box_angstrom"] == pytest.approx(
        [6.72, 6.72, 7.84]
    )  # multiples of 4 x 0.28 Å
    assert not list(tmp_path.glob("*/relax.gpw"))  # of use to nobody any more
    assert "gpaw" in next(tmp_path.glob("relax-*/calculator.txt")).read_text().lower()


def test_silicon_in_plane_waves_relaxes_positions_and_says_what_it_cost(silicon, tmp_path):
    primitive = silicon.get_primitive_structure()
    primitive.translate_sites([1], [0.02, 0.0, 0.0], frac_coords=False)
    level = GPAWLevel(mode="pw", ecut_ev=150, kpts=(2, 2, 2), optimizer="BFGS", fmax=0.03)
    outcome = relax(primitive, level, workdir=tmp_path)
    assert outcome.state == "converged"
    assert outcome.n_steps >= 1
    bond = outcome.structure.get_distance(0, 1)
    assert bond == pytest.approx(5.4 * np.sqrt(3) / 4, abs=0.01)
    assert outcome.elapsed_s > 0


def test_lcao_on_a_crystal_asks_for_no_stress(silicon, tmp_path):
    level = GPAWLevel(mode="lcao", basis="sz(dzp)", grid_spacing_angstrom=0.35, max_steps=0)
    with pytest.raises(ValueError, match="basis"):
        GPAWLevel(basis="sz(dzp); rm")
    outcome = relax(silicon.get_primitive_structure(), level, workdir=tmp_path)
    assert outcome.energy_ev is not None
    assert outcome.state == "converged"  # the forces vanish by symmetry


def test_an_scf_that_fails_climbs_the_ladder(tmp_path):
    hydrogen = Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.77]])
    level = COARSE.model_copy(update={"max_scf_iterations": 2})
    outcome = relax(hydrogen, level, workdir=tmp_path)
    assert outcome.state == "scf_not_converged"
    assert outcome.notes["remedies"] == ["mixing", "smearing"]


@pytest.mark.parametrize("optimizer", ["FIRE", "BFGS"])
def test_symmetry_that_breaks_on_the_way_gets_a_new_calculator(monkeypatch, optimizer, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from gpaw.new.symmetry import SymmetryBrokenError
    from misbehaving import Spring

    made = []

    class SymmetricSpring(Spring):
        def calculate(self, atoms=None, *args, **kwargs):
            if len(made) == 1 and self.count == 2:
                raise SymmetryBrokenError
            super().calculate(atoms, *args, **kwargs)

    def make(*_, **__):
        made.append(SymmetricSpring())
        return made[-1]

    monkeypatch.setattr(GPAWLevel, "make_calculator", make)
    pair = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.1]], cell=[9, 9, 9], pbc=True)
    level = GPAWLevel(mode="pw", ecut_ev=100, optimizer=optimizer, fmax=1e-4)
    broken = level.relax_atoms(pair, folder=tmp_path)
    assert len(made) == 2
    made.append(None)  # from now on nothing breaks
    whole = level.relax_atoms(pair, folder=tmp_path)
    assert broken.state == whole.state == "converged"
    np.testing.assert_allclose(broken.frames[-1].positions, whole.frames[-1].positions, atol=1e-9)


@pytest.mark.parametrize(
    ("length", "state", "box"),
    [
        (1.95, "converged", 2.0 + 1.95),  # still one molecule: 1.3 x 2 x 0.76 Å is a bond
        (4.0, "dissociated", 2.0 + 0.32),
    ],
)
def test_a_molecule_that_outgrows_its_box_gets_a_new_one(monkeypatch, length, state, box, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from gpaw.utilities import check_atoms_too_close_to_boundary
    from misbehaving import Spring

    class BoxedSpring(Spring):
        def calculate(self, atoms=None, *args, **kwargs):
            check_atoms_too_close_to_boundary(atoms)
            super().calculate(atoms, *args, **kwargs)

    monkeypatch.setattr(GPAWLevel, "make_calculator", lambda *_: BoxedSpring(length=length))
    pair = Atoms("C2", positions=[[0, 0, 0], [0, 0, 0.32]])
    level = GPAWLevel(mode="pw", vacuum_angstrom=1.0, fmax=0.005)
    result = level.relax_atoms(pair, folder=tmp_path)
    assert result.state == state, result.reason
    assert result.notes["box_angstrom"][2] == pytest.approx(box, abs=0.15)
    steps = np.diff([frame.positions for frame in result.frames], axis=0)
    assert np.abs(steps).max() < 0.201  # as far as BFGS goes: frames do not jump with the box


def test_parameters_are_plain_and_fit_the_boundary_conditions():
    paper = GPAWLevel.from_preset("paper")
    crystal = gpaw_parameters(paper, periodic=True)
    assert crystal["mode"] == {"name": "pw", "ecut": 400.0}
    assert crystal["kpts"] == [2, 2, 2]
    assert crystal["symmetry"] == {"tolerance": 1e-3}
    molecule = gpaw_parameters(paper, periodic=False)
    assert "kpts" not in molecule
    everything = gpaw_parameters(paper, periodic=True, applied=[name for name, _ in REMEDIES])
    assert everything["mixer"]["beta"] < 0.05
    assert everything["occupations"]["width"] == 0.2
    assert {"nbands", "eigensolver"} <= everything.keys()


def test_davidson_iterations_change_the_way_and_not_where_it_ends(silicon, tmp_path):
    start = silicon.get_primitive_structure()
    start.translate_sites([1], [0.1, 0.05, 0.0], frac_coords=False)
    level = GPAWLevel(
        mode="pw", ecut_ev=150, kpts=(2, 2, 2), max_steps=0, convergence={"density": 1e-6}
    )
    one_at_a_time = level.model_copy(update={"davidson_iterations": 1})
    n_iterations, energies = [], []
    for folder, each in (("a", level), ("b", one_at_a_time)):
        energies.append(relax(start, each, workdir=tmp_path / folder).energy_ev)
        (log,) = (tmp_path / folder).glob("relax-*/calculator.txt")
        n_iterations.append(log.read_text().count("|iter:"))
    assert energies[1] == pytest.approx(energies[0], abs=1e-6)
    assert n_iterations[1] > n_iterations[0]


def test_memory_grows_with_the_cell():
    small, large = Atoms("H", cell=[6] * 3), Atoms("H", cell=[60] * 3)
    ratio = COARSE.estimate_memory_mb(large) / COARSE.estimate_memory_mb(small)
    assert ratio == pytest.approx(1000)


def test_gpaw_s_exceptions_are_known():
    from gpaw import KohnShamConvergenceError, PoissonConvergenceError
    from gpaw.new.symmetry import SymmetryBrokenError
    from gpaw.old.grid_descriptor import GridBoundsError
    from gpaw.utilities import AtomsTooClose

    assert classify(KohnShamConvergenceError()) == "scf"
    assert classify(PoissonConvergenceError()) == "scf"
    assert classify(SymmetryBrokenError()) == "symmetry"
    assert classify(GridBoundsError()) == "boundary"
    assert classify(AtomsTooClose("Atoms too close to boundary")) == "boundary"
    assert classify(AtomsTooClose("Atoms are too close, e.g. 0.001 Å")) == "collided"


@pytest.mark.skipif(not TARGET.exists(), reason="needs ../shared beside the checkout")
def test_the_paper_preset_gives_the_published_energy(tmp_path):
    from ase.io import read
    from pymatgen.io.ase import AseAtomsAdaptor

    structure = AseAtomsAdaptor.get_structure(read(TARGET))
    level = GPAWLevel.from_preset("paper", max_steps=0)
    outcome = relax(structure, level, workdir=tmp_path)
    assert outcome.energy_ev == pytest.approx(-44.495123, abs=1e-4)
    assert outcome.state == "converged"


@pytest.mark.parametrize("optimizer", ["FIRE", "BFGS"])
def test_steps_that_ended_go_on_elsewhere_with_trajectory_optimizer_and_density(
    tmp_path, optimizer
):
    hydrogen = Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.9]])
    level = COARSE.model_copy(update={"optimizer": optimizer, "max_steps": 2, "fmax": 1e-4})
    first = relax(hydrogen, level, workdir=tmp_path / "a")
    assert (first.state, first.n_steps) == ("not_converged", 2)
    (kept,) = (tmp_path / "a").glob("relax-*/relax.gpw")
    further = relax(hydrogen, level, workdir=tmp_path / "b", before=tmp_path / "a")
    assert (further.state, further.n_steps) == ("not_converged", 4)
    assert further.energies_ev[:3] == first.energies_ev
    log = next((tmp_path / "b").glob("relax-*/calculator.txt")).read_text()
    assert "Reading from" in log
    assert kept.name in log
    whole = relax(
        hydrogen, level.model_copy(update={"max_steps": 4, "isolate": False}), workdir=tmp_path
    )
    assert further.energies_ev == pytest.approx(whole.energies_ev, abs=1e-4)


def test_functionals_take_the_data_sets_of_their_like():
    names = {
        "LDA": "LDA",
        "LDA_X+LDA_C_PZ": "LDA",
        "GGA_X_PBE+GGA_C_PBE": "PBE",
        "PBEsol": "PBE",
        "GGA_XC_B97_D": "PBE",
        "RPBE": "RPBE",
        "HSE06": "PBE",
    }
    assert {xc: setups_name(xc) for xc in names} == names
    assert setups_name("PBEsol", "revPBE") == "revPBE"
    assert functional("PBEsol").name == "PBEsol"
    found = data_sets(("O", "Si"), ("paw", "paw"), "PBE")
    assert {symbol: text.split()[0] for symbol, text in found.items()} == {
        "O": "O.PBE",
        "Si": "Si.PBE",
    }
    assert all(len(text.split()[1]) == 32 for text in found.values())


def test_a_libxc_name_gives_the_energy_of_the_functional_it_stands_for(tmp_path):
    hydrogen = Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.75]])
    energies = [
        relax(
            hydrogen,
            COARSE.model_copy(update={"xc": xc, "max_steps": 0, "isolate": False}),
            workdir=tmp_path,
        ).energy_ev
        for xc in ("PBE", "GGA_X_PBE+GGA_C_PBE", "PBEsol")
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-3)
    assert abs(energies[2] - energies[0]) > 0.1


@pytest.mark.parametrize(
    "nonsense",
    [
        Molecule(["H"], [[3, 3, 3]]),
        Molecule(["H", "H", "H"], [[0, 0, 0], [0, 0, 0.31], [0, 0.31, 0]]),
    ],
    ids=["a single atom", "an odd number of electrons much too close together"],
)
def test_nonsense_ends_in_a_state(nonsense, tmp_path):
    level = COARSE.model_copy(update={"max_steps": 1, "isolate": False, "max_time_s": 60.0})
    outcome = relax(nonsense, level, workdir=tmp_path)
    assert outcome.state in ("converged", "not_converged", "dissociated")
    assert outcome.energy_ev is not None
    assert np.isfinite(outcome.energies_ev).all()
