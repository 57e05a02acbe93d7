"""Relaxation in the caller's process: geometries, laws and states."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.relaxation import geometry
from logan_campaign.relaxation.engine import describe, shorten
from logan_campaign.relaxation.levels import ASELevel, GPAWLevel, XTBLevel
from logan_campaign.relaxation.run import relax


def ase_molecule(name, rattle=0.0):
    atoms = molecule(name)
    atoms.rattle(rattle, seed=3)
    return Molecule(atoms.get_chemical_symbols(), atoms.positions)


def distances(structure):
    return structure.distance_matrix[np.triu_indices(len(structure), 1)]


def test_gfn2_xtb_relaxes_water_to_its_known_shape():
    stretched = Molecule(["O", "H", "H"], [[0, 0, 0], [1.1, 0, 0], [0.1, 1.05, 0]])
    outcome = relax(stretched, XTBLevel(fmax=0.01))
    assert outcome.state == "converged"
    assert outcome.reason == ""
    # Experiment: 0.958 Å and 104.5°; GFN2-xTB is within 0.01 Å and 3° of it.
    assert outcome.structure.get_distance(0, 1) == pytest.approx(0.958, abs=0.01)
    assert outcome.structure.get_distance(0, 2) == pytest.approx(0.958, abs=0.01)
    assert outcome.structure.get_angle(1, 0, 2) == pytest.approx(104.5, abs=3.5)


def test_the_outcome_agrees_with_its_trajectory():
    start = ase_molecule("CH3CH2OH", rattle=0.05)
    outcome = relax(start, XTBLevel())
    trajectory = outcome.trajectory
    assert trajectory["positions"].shape == (outcome.n_steps + 1, 9, 3)
    assert trajectory["cell"].shape == (outcome.n_steps + 1, 3, 3)
    assert outcome.n_steps > 3
    np.testing.assert_allclose(trajectory["positions"][0], start.cart_coords)
    np.testing.assert_allclose(trajectory["positions"][-1], outcome.structure.cart_coords)
    np.testing.assert_allclose(trajectory["energy"], outcome.energies_ev)
    largest = np.linalg.norm(trajectory["forces"][-1], axis=1).max()
    assert outcome.max_force == pytest.approx(largest)
    assert outcome.max_force <= 0.05
    assert outcome.energy_ev == outcome.energies_ev[-1] < outcome.energies_ev[0]


def test_energy_and_shape_do_not_depend_on_where_a_molecule_stands():
    start = ase_molecule("CH3OH", rattle=0.05)
    turned = start.copy()
    turned.rotate_sites(theta=0.7, axis=[1, 2, 3], anchor=[0, 0, 0])
    turned.translate_sites(vector=[5.0, -3.0, 11.0])
    here, there = relax(start, XTBLevel()), relax(turned, XTBLevel())
    assert here.energy_ev == pytest.approx(there.energy_ev, abs=1e-4)
    np.testing.assert_allclose(distances(here.structure), distances(there.structure), atol=2e-3)


def test_order_and_kinds_of_atoms_stay():
    start = ase_molecule("CH3OH")
    outcome = relax(start, XTBLevel())
    assert [s.specie.symbol for s in outcome.structure] == [s.specie.symbol for s in start]


def test_a_radical_and_a_single_atom_are_no_trouble():
    radical = relax(Molecule(["O", "H"], [[0, 0, 0], [1.0, 0, 0]]), XTBLevel())
    assert radical.state == "converged"
    atom = relax(Molecule(["Ar"], [[0.0, 0.0, 0.0]]), XTBLevel())
    assert (atom.state, atom.n_steps, atom.max_force) == ("converged", 0, 0.0)


def test_emt_finds_coppers_lattice_constant():
    start = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.75), ["Cu"], [[0, 0, 0]])
    outcome = relax(
        start,
        ASELevel(target="ase.calculators.emt:EMT", relax_cell=True, fmax=0.005, isolate=False),
    )
    assert outcome.state == "converged"
    assert isinstance(outcome.structure, Structure)
    assert outcome.structure.volume ** (1 / 3) == pytest.approx(3.59, abs=0.02)


def test_stress_is_told_where_there_is_one(misbehaving, triangle):
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.4), ["Cu"], [[0, 0, 0]])
    level = ASELevel(target="ase.calculators.emt:EMT", isolate=False, max_steps=20)
    fixed = relax(copper, level)
    assert sum(fixed.stress[:3]) < -0.1  # compressed: it pushes outwards
    assert "stress" not in fixed.trajectory
    free = relax(copper, level.model_copy(update={"relax_cell": True, "fmax": 0.005}))
    assert free.trajectory["stress"].shape == (free.n_steps + 1, 6)
    np.testing.assert_allclose(free.trajectory["stress"][0], fixed.stress, atol=1e-6)
    np.testing.assert_allclose(free.stress, 0.0, atol=2e-3)
    assert relax(triangle, misbehaving()).stress is None


def test_a_fixed_cell_stays():
    start = Structure(Lattice.cubic(3.75), ["Cu"] * 4, np.random.default_rng(0).random((4, 3)))
    outcome = relax(start, ASELevel(target="ase.calculators.emt:EMT", max_steps=5, isolate=False))
    np.testing.assert_array_equal(outcome.structure.lattice.matrix, start.lattice.matrix)


def test_progress_is_reported_at_each_step():
    seen = []
    with progress.listening(seen.append):
        outcome = relax(ase_molecule("H2O"), XTBLevel())
    assert [report.completed for report in seen] == list(range(outcome.n_steps + 1))
    assert all(report.task == "relax" and "eV/Å" in report.note for report in seen)
    assert {report.total for report in seen} == {0}  # nobody knows how many there will be


# --- states -------------------------------------------------------------------------------


def test_steps_that_run_out_are_not_converged():
    outcome = relax(ase_molecule("CH3CH2OH", rattle=0.1), XTBLevel(max_steps=3))
    assert outcome.state == "not_converged"
    assert outcome.n_steps == 3
    assert "max_steps" in outcome.reason


def test_relaxing_on_from_where_the_steps_ran_out_converges():
    outcome = relax(ase_molecule("CH3CH2OH", rattle=0.1), XTBLevel(max_steps=10))
    assert outcome.state == "not_converged"
    further = relax(outcome.structure, XTBLevel())
    assert further.state == "converged"
    assert further.energies_ev[0] == pytest.approx(outcome.energy_ev, abs=1e-5)


def test_time_that_runs_out_between_steps_is_not_converged(misbehaving, triangle):
    outcome = relax(triangle, misbehaving(delay_s=0.05, max_time_s=0.3, fmax=1e-9))
    assert outcome.state == "not_converged"
    assert 1 <= outcome.n_steps < 6
    assert "max_time_s" in outcome.reason


def test_coincident_atoms_have_collided_before_anything_is_computed():
    start = Molecule(["C", "O", "H"], [[0, 0, 0], [0.1, 0, 0], [1.0, 1.0, 0]])
    for level in (XTBLevel(), GPAWLevel()):
        outcome = relax(start, level)
        assert outcome.state == "atoms_collided"
        assert outcome.energy_ev is None
        assert outcome.trajectory is None
        assert outcome.structure == start
        assert "0.10 Å" in outcome.reason


def test_atoms_that_collide_across_a_cell_face_are_seen():
    start = Structure(Lattice.cubic(4), ["Cu", "Cu"], [[0.01, 0.5, 0.5], [0.99, 0.5, 0.5]])
    outcome = relax(start, ASELevel(target="ase.calculators.emt:EMT"))
    assert outcome.state == "atoms_collided"


def test_atoms_that_run_into_each_other_have_collided(misbehaving):
    pair = Molecule(["C", "C"], [[0, 0, 0], [1.4, 0, 0]])
    outcome = relax(pair, misbehaving(trouble="attract"))
    assert outcome.state == "atoms_collided"
    assert outcome.n_steps > 0


def test_a_pair_that_flies_apart_has_dissociated(misbehaving):
    pair = Molecule(["C", "O"], [[0, 0, 0], [1.2, 0, 0]])
    outcome = relax(pair, misbehaving(trouble="repel"))
    assert outcome.state == "dissociated"
    assert "C, O" in outcome.reason
    assert outcome.n_steps < 500


def test_a_converged_pair_of_molecules_is_no_molecule():
    one, other = ase_molecule("H2O"), ase_molecule("H2O")
    other.translate_sites(vector=[0, 0, 8.0])
    both = Molecule(one.species + other.species, [*one.cart_coords, *other.cart_coords])
    outcome = relax(both, XTBLevel())
    assert outcome.state == "dissociated"
    assert "H2O, H2O" in outcome.reason


def test_a_cell_that_is_flat_from_the_start_has_collapsed():
    start = Structure(Lattice.orthorhombic(8, 8, 0.4), ["Cu", "Cu"], [[0, 0, 0], [0.5, 0.5, 0]])
    outcome = relax(start, ASELevel(target="ase.calculators.emt:EMT"))
    assert outcome.state == "cell_collapsed"


def test_a_cell_that_implodes_has_collapsed(misbehaving):
    start = Structure(Lattice.cubic(4), ["C", "C"], [[0, 0, 0], [0.3, 0.3, 0.3]])
    outcome = relax(start, misbehaving(trouble="implode", relax_cell=True))
    assert outcome.state == "cell_collapsed"


def test_a_failing_scf_is_retried_with_each_remedy_and_then_said_so():
    outcome = relax(ase_molecule("H2O"), XTBLevel(max_scf_iterations=1))
    assert outcome.state == "scf_not_converged"
    assert outcome.notes["remedies"] == ["mixing", "smearing"]
    assert "tried mixing, smearing" in outcome.reason


def test_ase_s_own_scf_error_is_known(misbehaving, triangle):
    assert relax(triangle, misbehaving(trouble="scf")).state == "scf_not_converged"


def test_whatever_a_calculator_raises_is_a_state_with_what_was_done_so_far(misbehaving, triangle):
    outcome = relax(triangle, misbehaving(trouble="raise", at=4))
    assert outcome.state == "calculator_crashed"
    assert outcome.n_steps == 2
    assert len(outcome.energies_ev) == 3
    assert "KeyError" in outcome.reason


def test_reasons_are_one_line_without_folders_or_addresses(misbehaving, triangle):
    reason = relax(triangle, misbehaving(trouble="raise")).reason
    assert "file.txt" in reason
    assert "secret" not in reason
    assert "u:p" not in reason
    assert "\n" not in reason
    assert describe(ValueError()) == "ValueError"
    assert len(shorten("x" * 1000)) == 300


def test_forces_that_are_no_numbers_are_a_crash(misbehaving, triangle):
    outcome = relax(triangle, misbehaving(trouble="nan", at=3))
    assert outcome.state == "calculator_crashed"
    assert np.isfinite(outcome.trajectory["forces"]).all()


def test_a_cell_too_large_for_the_memory_is_refused_before_it_starts():
    huge = Structure(Lattice.cubic(200), ["H"], [[0, 0, 0]])
    outcome = relax(huge, GPAWLevel(max_memory_mb=4000))
    assert outcome.state == "out_of_memory"
    assert "200 x 200 x 200" in outcome.reason


# --- bad input ------------------------------------------------------------------------------


def test_coordinates_that_are_no_numbers_are_refused():
    with pytest.raises(StructureError, match="not finite"):
        relax(Molecule(["H", "H"], [[0, 0, 0], [0, 0, float("nan")]]), XTBLevel())


def test_partly_occupied_sites_are_refused():
    alloy = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="partial occupancy"):
        relax(alloy, ASELevel(target="ase.calculators.emt:EMT"))


def test_xtb_refuses_a_crystal():
    crystal = Structure(Lattice.cubic(4), ["Si"], [[0, 0, 0]])
    with pytest.raises(InputError, match="molecules"):
        relax(crystal, XTBLevel())


@pytest.mark.parametrize("symbol", ["C", "Au"])
def test_atoms_at_rest_that_overlap_have_collided(symbol):
    pair = Molecule([symbol] * 2, [[0, 0, 0], [2.0, 0, 0]])
    outcome = relax(pair, ASELevel(target="misbehaving:Hole", isolate=False, fmax=0.01))
    assert outcome.state == "atoms_collided"
    assert "at rest" in outcome.reason
    assert "0.5" in outcome.reason


def test_no_bond_of_nature_counts_as_an_overlap():
    # the shortest there are, by the sum of the covalent radii
    for name, length in (("Cr2", 1.68), ("Mo2", 1.94), ("H2", 0.74), ("N2", 1.10), ("CO", 1.13)):
        assert not geometry.overlap(Atoms(name, [[0, 0, 0], [0, 0, length]]))


def test_a_cell_that_cannot_be_relaxed_is_not_converged(misbehaving):
    start = Structure(Lattice.cubic(4), ["C", "C"], [[0, 0, 0], [0.3, 0.3, 0.3]])
    level = ASELevel(
        target="misbehaving:Hole", isolate=False, relax_cell=True, fmax=1000.0, name="stiff"
    )
    outcome = relax(start, level)
    assert outcome.state == "calculator_crashed"
    assert "stress" in outcome.reason
