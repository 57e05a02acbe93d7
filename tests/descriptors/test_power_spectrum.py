"""Laws, limits and known values of the descriptor of one structure."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from scipy.spatial.transform import Rotation
from scipy.special import eval_legendre

from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.descriptors import power_spectrum
from logan_campaign.descriptors.radial import radial_functions

VECTORS = Path(__file__).parents[3] / "shared" / "reference" / "descriptor_vectors.json"

SETTINGS: list[dict[str, Any]] = [
    {"radial": "bessel", "r_cut": 4.5, "n_max": 3, "n_neighbour": 7},
    {"radial": "gaussian", "r_cut": 4.5, "n_max": 4, "n_neighbour": 40},
    {"radial": "bessel", "r_cut": 3.5, "n_max": 6, "n_neighbour": 40, "cutoff": "smooth"},
]


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=3)  # away from symmetric, equal distances
    return atoms


def crystal() -> Atoms:
    rng = np.random.default_rng(5)
    cell = np.array([[4.1, 0.0, 0.0], [-1.3, 3.9, 0.2], [0.4, 0.7, 4.6]])
    positions = rng.random((5, 3)) @ cell
    return Atoms([14, 8, 8, 14, 8], positions, cell=cell, pbc=True)


def describe(atoms: Atoms, settings: dict[str, Any], **more: Any) -> np.ndarray:
    return power_spectrum(atoms, species=sorted(set(atoms.numbers)), **{**settings, **more})


def direct_spectrum(atoms: Atoms, settings: dict[str, Any]) -> np.ndarray:
    """The definition, written as a double loop over pairs of neighbours."""
    species = sorted(set(atoms.numbers))
    r_cut, n_max, n_neighbour = settings["r_cut"], settings["n_max"], settings["n_neighbour"]
    reach = range(-4, 5) if atoms.pbc.any() else range(1)
    shifts = [np.array([i, j, k]) @ atoms.cell for i in reach for j in reach for k in reach]
    rows = []
    for i, centre in enumerate(atoms.positions):
        found = []
        for j, other in enumerate(atoms.positions):
            for shift in shifts:
                vector = other + shift - centre
                if (i != j or np.abs(shift).max() > 0) and np.linalg.norm(vector) < r_cut:
                    found.append((np.linalg.norm(vector), vector, atoms.numbers[j]))
        found = sorted(found, key=lambda x: x[0])[:n_neighbour]
        r = np.array([x[0] for x in found])
        unit = np.array([x[1] for x in found]) / r[:, None]
        cosines = np.clip(unit @ unit.T, -1.0, 1.0)
        kinds = np.array([x[2] for x in found])
        row = []
        for a, first in enumerate(species):
            for second in species[a:]:
                for order in range(n_max + 1):
                    g = radial_functions(settings["radial"], order, n_max, r, r_cut)
                    legendre = (2 * order + 1) / (4 * np.pi) * eval_legendre(order, cosines)
                    block = legendre[np.ix_(kinds == first, kinds == second)]
                    row.extend(gn[kinds == first] @ block @ gn[kinds == second] for gn in g)
        rows.append(row + [float(atoms.numbers[i] == z) for z in species])
    return np.array(rows)


@pytest.mark.parametrize("settings", SETTINGS[:2])
@pytest.mark.parametrize("atoms", [ethanol(), crystal()], ids=["molecule", "crystal"])
def test_density_coefficients_give_the_double_sum_over_neighbours(
    atoms: Atoms, settings: dict[str, Any]
) -> None:
    expected = direct_spectrum(atoms, settings)
    np.testing.assert_allclose(describe(atoms, settings), expected, atol=1e-10)
    single = describe(atoms, settings, dtype=np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-4 * np.abs(expected).max())


def test_known_values_of_carbon_monoxide() -> None:
    # One neighbour at r: P = (2l+1)/(4π) g(r)², whatever the direction.
    atoms = Atoms("CO", [[0.0, 0.0, 0.0], [0.3, -0.4, 1.0]])
    r = np.linalg.norm(atoms.positions[1])
    p = power_spectrum(atoms, species=[6, 8], radial="gaussian", r_cut=3.0, n_max=1, n_neighbour=4)
    g = [np.exp(-((r / d) ** 2)) - np.exp(-((3.0 / d) ** 2)) for d in (1.0, 3.0)]
    oxygen_pairs = [g[0] ** 2, g[1] ** 2, 3 * g[0] ** 2]
    np.testing.assert_allclose(p[0, 6:9], np.array(oxygen_pairs) / (4 * np.pi), rtol=1e-12)
    np.testing.assert_array_equal(p[:, 9:], np.eye(2))
    assert (p[0, :6] == 0).all()


def test_reference_vectors() -> None:
    if not VECTORS.exists():
        pytest.skip("reference vectors are not beside the checkout")
    for case in json.loads(VECTORS.read_text())["cases"]:
        atoms = Atoms(
            case["numbers"],
            case["positions_angstrom"],
            cell=case["cell_angstrom"],
            pbc=case["pbc"],
        )
        settings = {
            "species": case["species_order"],
            "radial": case["radial"],
            "r_cut": case["r_cut_angstrom"],
            "n_max": case["n_max"],
            "n_neighbour": case["n_neighbour"],
        }
        expected = np.array(case["descriptor"])
        for dtype, tolerance in ((np.float64, 1e-6), (np.float32, 1e-4)):
            found = power_spectrum(atoms, dtype=dtype, **settings)
            np.testing.assert_allclose(
                found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max()
            )


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("make", [ethanol, crystal], ids=["molecule", "crystal"])
def test_rotation_and_translation_change_nothing(make: Any, settings: dict[str, Any]) -> None:
    atoms, moved = make(), make()
    rotation = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    moved.set_cell(moved.cell.array @ rotation.T)
    moved.set_positions(moved.positions @ rotation.T + [0.3, -1.7, 2.2])
    np.testing.assert_allclose(describe(moved, settings), describe(atoms, settings), atol=1e-9)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("make", [ethanol, crystal], ids=["molecule", "crystal"])
def test_reordering_atoms_reorders_rows(make: Any, settings: dict[str, Any]) -> None:
    atoms = make()
    order = np.random.default_rng(2).permutation(len(atoms))
    np.testing.assert_allclose(
        describe(atoms[order], settings), describe(atoms, settings)[order], atol=1e-10
    )


@pytest.mark.parametrize("settings", SETTINGS)
def test_lattice_translations_of_single_atoms_change_nothing(settings: dict[str, Any]) -> None:
    atoms, moved = crystal(), crystal()
    moved.positions[1] += np.array([2, -1, 3]) @ moved.cell
    moved.positions[4] += np.array([-1, 0, 0]) @ moved.cell
    np.testing.assert_allclose(describe(moved, settings), describe(atoms, settings), atol=1e-9)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    "matrix",
    [[[2, 0, 0], [0, 1, 0], [0, 0, 3]], [[1, 0, 0], [4, 1, 0], [-2, 3, 1]]],
    ids=["supercell", "skewed"],
)
def test_the_choice_of_cell_changes_nothing(settings: dict[str, Any], matrix: Any) -> None:
    atoms = crystal()
    other = make_supercell(atoms, matrix)
    rows = {tuple(np.round(row, 7)) for row in describe(atoms, settings)}
    np.testing.assert_allclose(
        np.sort(describe(other, settings), axis=0),
        np.sort(np.repeat(describe(atoms, settings), len(other) // len(atoms), axis=0), axis=0),
        atol=1e-8,
    )
    assert len(rows) == len(atoms)


def test_a_cell_far_smaller_than_the_cutoff_has_all_its_images() -> None:
    settings = {"radial": "bessel", "r_cut": 6.0, "n_max": 2, "n_neighbour": 200}
    primitive, cubic = bulk("Cu"), bulk("Cu", cubic=True)
    p = describe(primitive, settings)
    np.testing.assert_allclose(describe(cubic, settings), np.repeat(p, 4, axis=0), atol=1e-9)
    # 78 atoms of fcc copper lie within 6 Å: fewer images would give another descriptor.
    assert not np.allclose(p, describe(primitive, {**settings, "n_neighbour": 70}), atol=1e-6)
    np.testing.assert_allclose(p, describe(primitive, {**settings, "n_neighbour": 78}), atol=1e-9)


def test_a_slab_repeats_only_where_it_is_periodic() -> None:
    settings = {"radial": "bessel", "r_cut": 4.0, "n_max": 2, "n_neighbour": 60}
    atoms = Atoms("Si", [[0.1, 0.2, 0.3]], cell=[2.5, 2.7, 3.0], pbc=[True, True, False])
    wide = atoms.copy()
    wide.set_cell([2.5, 2.7, 50.0])
    wide.pbc = True
    open_cell = atoms.copy()
    open_cell.set_cell([[2.5, 0, 0], [0, 2.7, 0], [0, 0, 0]])
    p = describe(atoms, settings)
    np.testing.assert_allclose(describe(wide, settings), p, atol=1e-10)
    np.testing.assert_allclose(describe(open_cell, settings), p, atol=1e-10)


@pytest.mark.parametrize("settings", SETTINGS)
def test_an_atom_crossing_the_cutoff_makes_no_jump(settings: dict[str, Any]) -> None:
    settings = {**settings, "n_neighbour": 40}

    def at(r: float) -> np.ndarray:
        return describe(Atoms("OHH", [[0, 0, 0], [0.9, 0.2, 0], [0, 0, r]]), settings)[0]

    r_cut = settings["r_cut"]
    np.testing.assert_allclose(at(r_cut - 1e-6), at(r_cut + 1e-6), atol=1e-5)
    if settings["radial"] == "bessel":  # the Gaussian basis is continuous, not smooth, here
        slope = (at(r_cut) - at(r_cut - 1e-4)) / 1e-4
        np.testing.assert_allclose(slope, 0.0, atol=1e-5)


def test_the_smooth_cutoff_counts_equal_distances_equally_where_the_published_one_does_not() -> (
    None
):
    directions = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0.6, 0.8]])
    settings = {"radial": "bessel", "r_cut": 4.0, "n_max": 2, "n_neighbour": 3}

    def shell(order: list[int], cutoff: str) -> np.ndarray:
        atoms = Atoms("Si" + "O" * 4, np.vstack([np.zeros(3), 1.6 * directions[order]]))
        return describe(atoms, {**settings, "cutoff": cutoff})[0]

    one, other = [0, 1, 2, 3], [3, 2, 1, 0]
    assert np.abs(shell(one, "faithful") - shell(other, "faithful")).max() > 1e-3
    np.testing.assert_allclose(shell(one, "smooth"), shell(other, "smooth"), atol=1e-10)


def test_the_smooth_cutoff_is_smooth_where_neighbours_change_places() -> None:
    settings = {"radial": "gaussian", "r_cut": 4.0, "n_max": 2, "n_neighbour": 3}

    def along(x: float, cutoff: str) -> np.ndarray:
        positions = [[0, 0, 0], [1.5, 0, 0], [0, 1.55, 0], [0, 0, 2.0 + x], [-2.0, 0.1, 0]]
        return describe(Atoms("SiO4", positions), {**settings, "cutoff": cutoff})[0]

    x = np.linspace(-0.05, 0.05, 41)
    jumps = {}
    for cutoff in ("faithful", "smooth"):
        values = np.array([along(v, cutoff) for v in x])
        jumps[cutoff] = np.abs(np.diff(values, n=2, axis=0)).max()
    assert jumps["smooth"] < 0.01 * jumps["faithful"]


def test_coincident_atoms_give_finite_descriptors() -> None:
    atoms = Atoms("SiO2", [[0, 0, 0], [0, 0, 0], [0.0, 1.5, 0.0]])
    for settings in SETTINGS:
        assert np.isfinite(describe(atoms, settings)).all()


def test_an_isolated_atom_has_only_its_species() -> None:
    p = power_spectrum(Atoms("O"), species=[1, 8], radial="bessel", r_cut=3, n_max=2, n_neighbour=4)
    np.testing.assert_array_equal(p[0], [0.0] * 18 + [0.0, 1.0])


def test_double_precision_here_changes_nothing_elsewhere() -> None:
    describe(ethanol(), SETTINGS[0])
    assert not jax.config.jax_enable_x64
    assert jnp.zeros(1).dtype == jnp.float32


@pytest.mark.parametrize(
    "change",
    [
        {"radial": "fourier"},
        {"cutoff": "abrupt"},
        {"r_cut": -1.0},
        {"n_max": 7},
        {"n_neighbour": 0},
        {"species": [8]},
        {"species": []},
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(change: dict[str, Any]) -> None:
    settings = {"species": [1, 6, 8], **SETTINGS[0], **change}
    with pytest.raises(InputError) as caught:
        power_spectrum(ethanol(), **settings)
    assert "\n" not in str(caught.value)


def test_unusable_structures_are_refused() -> None:
    settings = {"species": [8], **SETTINGS[0]}
    for atoms in (
        Atoms(),
        Atoms("O", [[np.nan, 0, 0]]),
        Atoms("O", pbc=True),
        Atoms("O", cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=True),
    ):
        with pytest.raises(StructureError):
            power_spectrum(atoms, **settings)
