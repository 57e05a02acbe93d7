"""Conversions, identity and validity of structures."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.data import chemical_symbols, reference_states
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.geometry.formulas import hill_formula, readable_formula, reduced_formula
from logan_campaign.geometry.structures import (
    cell_problem,
    formula,
    from_arrays,
    from_atoms,
    kind_of,
    spacegroup_symbol,
    structure_id,
    to_atoms,
    validate_atoms,
)

QUARTZ = Structure.from_spacegroup(
    "P3_121",
    Lattice.hexagonal(4.916, 5.405),
    ["Si", "O"],
    [[0.4697, 0, 1 / 3], [0.4133, 0.2672, 0.2144 + 1 / 3]],
)


@pytest.mark.parametrize("atoms", [molecule("CH3CH2OH"), bulk("NaCl", "rocksalt", a=5.64)])
def test_atoms_survive_the_way_to_pymatgen_and_back(atoms: Atoms) -> None:
    back = to_atoms(from_atoms(atoms))
    assert (back.numbers == atoms.numbers).all()
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-12)
    assert (back.pbc == atoms.pbc).all()
    if atoms.pbc.all():
        np.testing.assert_allclose(back.cell.array, atoms.cell.array, atol=1e-12)


def test_nothing_but_geometry_crosses_to_pymatgen() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.info["secret"] = 1
    atoms.set_tags(range(len(atoms)))
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_initial_magnetic_moments(np.ones(len(atoms)))
    atoms.calc = LennardJones()
    atoms.get_potential_energy()
    structure = from_atoms(atoms)
    assert structure.as_dict() == from_atoms(molecule("CH3CH2OH")).as_dict()
    assert not hasattr(structure, "calc")


def test_the_box_around_a_molecule_is_dropped() -> None:
    boxed = molecule("H2O", vacuum=3.0)
    assert isinstance(from_atoms(boxed), Molecule)
    assert not to_atoms(from_atoms(boxed)).cell.any()


def test_odd_electrons_are_no_obstacle() -> None:
    assert formula(from_atoms(molecule("NO"))) == "NO"


def test_kind_follows_from_periodicity() -> None:
    assert kind_of(from_arrays([1, 1], [[0, 0, 0], [0, 0, 0.74]], None)) == "molecule"
    assert kind_of(QUARTZ) == "crystal"
    with pytest.raises(StructureError, match="some directions only"):
        from_atoms(Atoms("H", cell=[3, 3, 3], pbc=[True, True, False]))


def test_site_properties_and_oxidation_states_do_not_reach_ase() -> None:
    decorated = QUARTZ.copy()
    decorated.add_oxidation_state_by_guess()
    decorated.add_site_property("magmom", [1.0] * len(decorated))
    atoms = to_atoms(decorated)
    assert set(atoms.arrays) == {"numbers", "positions"}
    assert atoms.info == {}
    assert structure_id(decorated) == structure_id(QUARTZ)


def test_disorder_and_dummy_species_are_refused() -> None:
    lattice = Lattice.cubic(4)
    with pytest.raises(StructureError, match="disordered"):
        to_atoms(Structure(lattice, [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]]))
    with pytest.raises(StructureError, match="unknown species"):
        to_atoms(Structure(lattice, ["X"], [[0, 0, 0]]))


def test_formulas_are_in_hill_order() -> None:
    assert formula(QUARTZ) == "O6Si3"
    assert formula(from_atoms(molecule("CH3CH2OH"))) == "C2H6O"
    assert hill_formula("SiO2") == hill_formula(["O", "Si", "O"]) == "O2Si"
    assert hill_formula("CH3CH2OH") == "C2H6O"
    assert reduced_formula("O6Si3") == "O2Si"


@pytest.mark.parametrize("text", ["", "Xx2", "C5H12O?", "C0", "x", "2", "X"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"not a chemical formula|unknown species"):
        hill_formula(text)


def test_id_survives_storage_and_rounding_but_tells_structures_apart() -> None:
    reference = structure_id(QUARTZ)
    assert structure_id(Structure.from_dict(QUARTZ.as_dict())) == reference
    assert structure_id(to_atoms(QUARTZ)) == reference
    noise = np.random.default_rng(0).uniform(-1e-9, 1e-9, (len(QUARTZ), 3))
    assert structure_id(from_arrays(QUARTZ.atomic_numbers, QUARTZ.cart_coords + noise,
                                    QUARTZ.lattice.matrix)) == reference  # fmt: skip
    moved = QUARTZ.copy()
    moved.translate_sites([0], [0, 0, 1e-3], frac_coords=False)
    assert structure_id(moved) != reference
    assert structure_id(from_arrays(QUARTZ.atomic_numbers, QUARTZ.cart_coords, None)) != reference


@pytest.mark.parametrize("digit", range(10))
def test_id_of_short_decimals_is_stable_against_the_last_bits(digit: int) -> None:
    x = 1.23456 + digit * 1e-6
    ids = {
        structure_id(Atoms("H", [[value, -value, 0.0]]))
        for value in (x, np.nextafter(x, 0), np.nextafter(x, 2), x + 1e-12, x - 1e-12)
    }
    assert len(ids) == 1


def test_negative_zero_is_zero() -> None:
    assert structure_id(Atoms("H", [[0.0, 0.0, 0.0]])) == structure_id(Atoms("H", [[-0.0, 0, 0]]))


def test_structures_that_exist_are_valid() -> None:
    for atoms in (molecule("C6H6"), molecule("H2"), bulk("Cu"), to_atoms(QUARTZ)):
        validate_atoms(atoms)
        validate_atoms(from_atoms(atoms) and to_atoms(from_atoms(atoms)))


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (Atoms(), "no atoms"),
        (Atoms([0], [[0, 0, 0]]), "unknown species"),
        (Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]), "positions are not finite"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.3]]), "H0 and H1 are 0.30 Å apart"),
        (Atoms("OSi", [[0, 0, 0], [0, 0, 0.88]], cell=[5, 5, 5], pbc=True), "0.88 Å apart"),
        # only through the cell's face
        (Atoms("H2", [[0, 0, 0.1], [0, 0, 4.9]], cell=[5, 5, 5], pbc=True), "0.20 Å apart"),
        (Atoms("H", cell=[5, 5, 0], pbc=True), "no volume"),
        (Atoms("H", cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True), "no volume"),
        (Atoms("H", cell=[np.nan, 5, 5], pbc=True), "cell is not finite"),
        (Atoms("U", cell=[1.5, 9, 9], pbc=True), "needs 1.96 Å to its own image"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 1]], cell=[5, 5, 5], pbc=[1, 1, 0]), "some directions"),
    ],
)
def test_invalid_structures_are_refused_with_the_reason(atoms: Atoms, reason: str) -> None:
    with pytest.raises(StructureError, match=reason) as caught:
        validate_atoms(atoms)
    assert "\n" not in str(caught.value)


def test_the_distance_limit_is_half_the_sum_of_covalent_radii() -> None:
    # Si 1.11 Å, O 0.66 Å: the limit is 0.885 Å
    validate_atoms(Atoms("SiO", [[0, 0, 0], [0, 0, 0.886]]))
    with pytest.raises(StructureError, match="too close"):
        validate_atoms(Atoms("SiO", [[0, 0, 0], [0, 0, 0.884]]))


def test_every_element_fits_its_own_crystal() -> None:
    known = {
        chemical_symbols[z]
        for z, state in enumerate(reference_states)
        if state
        and state.get("symmetry") in ("fcc", "bcc", "hcp", "diamond")
        and state.get("basis", ()) is not None
    }
    assert len(known) > 50
    for symbol in known:
        atoms = bulk(symbol)
        assert cell_problem(atoms.numbers, atoms.cell.array, periodic=True) is None


def test_compressed_and_squashed_cells_hold_nothing() -> None:
    silica = [14, 14, 8, 8, 8, 8]
    assert cell_problem(silica, np.diag([4.18, 4.18, 2.67]), periodic=True) is None  # stishovite
    problem = cell_problem(silica, np.eye(3) * 2.0, periodic=True)
    assert problem is not None
    assert "cannot hold O4Si2" in problem
    assert "shortest lattice vector" in str(cell_problem(silica, np.diag([0.9, 9, 9]), True))
    # long vectors do not hide a short one: a3 - a1 is 0.5 Å long
    skewed = [[9, 0, 0], [0, 9, 0], [9, 0.0, 0.5]]
    assert "shortest lattice vector is 0.50" in str(cell_problem([8], skewed, True))


def test_a_box_must_hold_the_molecule() -> None:
    pentanol = [6] * 5 + [8] + [1] * 12
    assert cell_problem(pentanol, [8, 7, 6], periodic=False) is None
    assert "box of 8.0 Å³ cannot hold C5H12O" in str(cell_problem(pentanol, [2, 2, 2], False))
    assert "no volume" in str(cell_problem(pentanol, [8, 7, 0], False))
    assert "not three finite" in str(cell_problem(pentanol, [8, 7, np.inf], False))


def test_space_groups_of_known_crystals() -> None:
    assert spacegroup_symbol(QUARTZ) == "P3_121"
    assert spacegroup_symbol(from_atoms(bulk("NaCl", "rocksalt", a=5.64))) == "Fm-3m"
    on_top = Structure(Lattice.cubic(3), ["Si", "Si"], [[0, 0, 0], [0, 0, 1e-4]])
    assert spacegroup_symbol(on_top) is None


@pytest.mark.parametrize(
    ("hill", "kind", "readable"),
    [
        ("O4Si2", "crystal", "SiO2"),
        ("Na", "crystal", "Na"),
        ("Au2Cu6", "crystal", "Cu3Au"),
        ("Au-Cu", "crystal", "Au-Cu"),
        ("C2H6O", "molecule", "C2H6O"),
        ("Cu4", "cluster", "Cu4"),
    ],
)
def test_formulas_are_shown_as_chemists_write_them(hill: str, kind: str, readable: str) -> None:
    assert readable_formula(hill, kind) == readable
