"""Initial magnetic moments, and what GPAW is told of charge, spin and +U."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from ase.neighborlist import neighbor_list
from pydantic import ValidationError

from logan_campaign.core.errors import InputError
from logan_campaign.relaxation.backends.gpaw import GPAWLevel
from logan_campaign.relaxation.backends.gpaw.calculator import gpaw_parameters
from logan_campaign.relaxation.levels import parse_level
from logan_campaign.relaxation.magnetism import initial_moments, unpaired

#: Rock salt with two formula units along [111], in which the second kind of order fits.
NIO = make_supercell(bulk("NiO", "rocksalt", a=4.17), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
RUTILE = Atoms(
    "Mn2F4",
    scaled_positions=[
        [0, 0, 0],
        [0.5, 0.5, 0.5],
        *[[x, y, z] for x, y, z in ((0.305, 0.305, 0), (-0.305, -0.305, 0))],
        *[[x, y, 0.5] for x, y in ((0.195, -0.195), (-0.195, 0.195))],
    ],
    cell=[4.87, 4.87, 3.31],
    pbc=True,
)


def test_layers_of_nickel_oxide_alternate_along_111() -> None:
    moments = initial_moments(NIO, {"Ni": 2.0}, "antiferromagnetic")
    nickel = NIO.numbers == 28
    assert sorted(moments[nickel]) == [-2.0, 2.0]
    assert not moments[~nickel].any()
    larger = bulk("NiO", "rocksalt", a=4.17).repeat(2)
    moments = initial_moments(larger, {"Ni": 2.0}, "antiferromagnetic")
    # opposite across every oxygen, that is at the length of the cubic cell's edge
    first, second, distance = neighbor_list("ijd", larger, 4.2)
    across = np.isclose(distance, 4.17) & (moments[first] != 0) & (moments[second] != 0)
    assert across.any()
    assert (moments[first] * moments[second])[across].tolist() == [-4.0] * across.sum()


@pytest.mark.parametrize(
    ("crystal", "species"),
    [(bulk("Cr", "bcc", a=2.88, cubic=True), "Cr"), (RUTILE, "Mn")],
    ids=["bcc", "rutile"],
)
def test_the_middle_of_the_cell_is_opposite_to_its_corner(crystal: Atoms, species: str) -> None:
    assert initial_moments(crystal, {species: 3.0}, "antiferromagnetic")[:2].tolist() == [3, -3]
    assert initial_moments(crystal, {species: 3.0}, "ferromagnetic")[:2].tolist() == [3, 3]


def test_the_order_of_atoms_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    moments = initial_moments(NIO, {"Ni": 2.0}, "antiferromagnetic")
    order = rng.permutation(len(NIO))
    other = initial_moments(NIO[order], {"Ni": 2.0}, "antiferromagnetic")
    assert abs(moments[order] @ other) == pytest.approx(moments @ moments)


def test_symmetry_tells_opposite_moments_apart() -> None:
    level = GPAWLevel(mode="pw")
    plain = level.frame(RUTILE)
    ordered = level.model_copy(
        update={"magnetic_moments": {"Mn": 4.0}, "magnetic_order": "antiferromagnetic"}
    ).frame(RUTILE)
    assert plain is not None
    assert ordered is not None
    assert len(ordered.rotations) == len(plain.rotations) // 2


@pytest.mark.parametrize("name", ["O2", "CH3", "H2"])
@pytest.mark.parametrize("multiplicity", [2, 3, 5])
def test_moments_of_a_molecule_add_up_to_its_unpaired_electrons(
    name: str, multiplicity: int
) -> None:
    moments = unpaired(molecule(name), multiplicity)
    assert moments.sum() == pytest.approx(multiplicity - 1)


def test_gpaw_is_told_spin_and_hubbard_u() -> None:
    level = parse_level(
        {
            "calculator": "gpaw",
            "magnetic_moments": {"Ni": 2.0},
            "hubbard_u": {"Ni": {"orbital": "d", "value_ev": 6.0}},
        }
    )
    assert isinstance(level, GPAWLevel)
    crystal = gpaw_parameters(level, periodic=True)
    assert crystal["spinpol"]
    assert crystal["setups"] == {"default": "paw", "Ni": "paw:d,6"}
    radical = gpaw_parameters(GPAWLevel(), periodic=False, multiplicity=2, applied=["smearing"])
    assert radical["spinpol"]
    assert radical["occupations"] == {"name": "fermi-dirac", "width": 0.2, "fixmagmom": True}
    assert "spinpol" not in gpaw_parameters(GPAWLevel(), periodic=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"magnetic_moments": {"Xx": 1.0}}, "magnetic_moments: unknown element 'Xx'"),
        ({"hubbard_u": {"Qq": {"orbital": "d", "value_ev": 4}}}, "hubbard_u: unknown element"),
        ({"hubbard_u": {"Ni": {"orbital": "k", "value_ev": 4}}}, "'s', 'p', 'd' or 'f'"),
        ({"magnetic_order": "antiferromagnetic"}, "needs magnetic_moments"),
    ],
)
def test_magnetic_settings_without_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parse_level({"calculator": "gpaw", **settings})


@pytest.mark.parametrize("name", ["magnetic_moments", "hubbard_u"])
def test_species_that_the_target_lacks_are_refused(name: str) -> None:
    value = {"magnetic_moments": 2.0, "hubbard_u": {"orbital": "d", "value_ev": 4.0}}[name]
    level = parse_level({"calculator": "gpaw", name: {"Ni": value}})
    with pytest.raises(InputError, match=f"{name}: the target has no Ni"):
        level.check(["O", "Mg"], "crystal")
