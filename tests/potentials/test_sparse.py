"""A learned potential: derivatives, invariances, recovery of a known potential, limits."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.potentials.features import VOIGT, features, spectra
from logan_campaign.potentials.settings import PotentialSettings
from logan_campaign.potentials.sparse import SparsePotential

SETTINGS = PotentialSettings(r_cut=3.5, n_max=3, copies=2, n_inducing=100)


def crystal(seed: int, amount: float = 0.1) -> Atoms:
    """Return CuAu3 of displaced atoms in a strained cell."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Au", cubic=True, a=4.0)
    atoms.symbols[0] = "Cu"
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, amount, (4, 3))
    return atoms


def learned(frames: list[Atoms], settings: PotentialSettings = SETTINGS) -> SparsePotential:
    potential = SparsePotential((29, 79), settings)
    for atoms in frames:
        atoms.calc = EMT()
        potential.learn(atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
    potential.fit()
    return potential


@pytest.fixture(scope="module")
def potential() -> SparsePotential:
    return learned([crystal(seed) for seed in range(24)])


def energy(potential: SparsePotential, atoms: Atoms) -> float:
    return potential.predict(atoms, error=False).energy


def test_spectra_alone_are_those_that_have_derivatives(potential: SparsePotential) -> None:
    atoms = crystal(106)
    np.testing.assert_allclose(
        spectra(potential.basis, atoms), features(potential.basis, atoms).spectra, atol=1e-12
    )


def test_forces_are_derivatives_of_the_energy(potential: SparsePotential) -> None:
    atoms, step = crystal(100), 1e-4
    forces = potential.predict(atoms).forces
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        there, back = atoms.copy(), atoms.copy()
        there.positions[atom, axis] += step
        back.positions[atom, axis] -= step
        slope = (energy(potential, there) - energy(potential, back)) / (2 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-5)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)


def test_stress_is_the_derivative_by_strain(potential: SparsePotential) -> None:
    atoms, step = crystal(101), 1e-5
    stress = potential.predict(atoms).stress
    for value, (i, j) in zip(stress, VOIGT, strict=True):
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        there, back = atoms.copy(), atoms.copy()
        there.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
        back.set_cell(atoms.cell @ (np.eye(3) - strain), scale_atoms=True)
        slope = (energy(potential, there) - energy(potential, back)) / (2 * step)
        assert value == pytest.approx(slope / atoms.get_volume(), abs=1e-6)


def test_rotations_translations_and_the_order_of_atoms_change_nothing(
    potential: SparsePotential,
) -> None:
    atoms = crystal(102)
    before = potential.predict(atoms)
    turned = atoms.copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    turned.translate((0.3, -1.0, 2.0))
    after = potential.predict(turned)
    assert after.energy == pytest.approx(before.energy, abs=1e-8)
    np.testing.assert_allclose(
        np.linalg.norm(after.forces, axis=1), np.linalg.norm(before.forces, axis=1), atol=1e-8
    )
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(
        potential.predict(atoms[order]).forces, before.forces[order], atol=1e-9
    )


def test_twice_the_cell_has_twice_the_energy(potential: SparsePotential) -> None:
    atoms = bulk("CuAu", "cesiumchloride", a=3.1)
    atoms.rattle(0.1, seed=0)
    double = energy(potential, atoms * (1, 1, 2))
    assert double == pytest.approx(2 * energy(potential, atoms), abs=1e-8)


def test_nothing_jumps_where_atoms_enter_the_cutoff(potential: SparsePotential) -> None:
    def pair(distance: float) -> float:
        return energy(potential, Atoms("CuAu", positions=[(0, 0, 0), (0, 0, distance)]))

    r_cut = SETTINGS.r_cut
    assert pair(r_cut - 1e-4) == pytest.approx(pair(r_cut + 1e-4), abs=1e-8)
    assert pair(1.0) > pair(2.5) + 1.0  # repelled, although no frame has such a pair


def test_a_known_potential_is_recovered_better_with_more_frames(
    potential: SparsePotential,
) -> None:
    few = learned([crystal(seed) for seed in range(6)])
    tests = [crystal(seed) for seed in range(200, 206)]
    errors = {}
    for name, one in (("few", few), ("many", potential)):
        wrong, deviations = [], []
        for atoms in tests:
            atoms.calc = EMT()
            found = one.predict(atoms)
            wrong.append((found.energy - atoms.get_potential_energy()) / len(atoms))
            deviations.append(found.error)
        # standard deviations say how large the errors are
        assert 0.1 < np.sqrt(np.mean(np.square(wrong))) / np.mean(deviations) < 5
        errors[name] = np.sqrt(np.mean(np.square(wrong)))
    assert errors["many"] < 2e-3  # eV/atom; these differ by 0.05
    assert errors["many"] < 0.7 * errors["few"]


def test_what_was_learned_comes_back(potential: SparsePotential) -> None:
    for seed in (0, 23):
        atoms = crystal(seed)
        atoms.calc = EMT()
        found = potential.predict(atoms)
        assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=4e-3)
        np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=0.1)


def test_far_from_what_is_known_energies_are_less_certain(potential: SparsePotential) -> None:
    near, far = potential.predict(crystal(0)), potential.predict(crystal(104, 0.4))
    assert far.error > 3 * near.error


def test_frames_and_environments_are_bounded() -> None:
    small = SETTINGS.model_copy(update={"max_frames": 3, "n_inducing": 10})
    found = learned([crystal(seed) for seed in range(5)], small)
    assert len(found.frames) == 3
    assert [int((found.kinds == k).sum()) for k in (0, 1)] == [10, 10]
    again = learned([crystal(seed) for seed in range(5)], small)
    assert again.id == found.id


def test_a_file_gives_the_same_potential(potential: SparsePotential) -> None:
    content = potential.to_bytes()
    found = SparsePotential.from_bytes(content)
    atoms = crystal(105)
    assert found.predict(atoms).energy == potential.predict(atoms).energy
    assert found.id == potential.id
    with pytest.raises(ModelFileError):
        SparsePotential.from_bytes(content[:100])


def test_errors_say_what_is_wrong(potential: SparsePotential) -> None:
    with pytest.raises(InputError, match="47"):
        potential.predict(bulk("Ag", cubic=True))
    with pytest.raises(InputError, match="at least one frame"):
        SparsePotential((29,)).fit()
