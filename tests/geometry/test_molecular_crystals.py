"""Molecules are recognised whole in crystals, wherever cell faces cut them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from pymatgen.core import Lattice, Structure

from logan_campaign.geometry.molecular_crystals import whole_molecules
from logan_campaign.geometry.structures import from_atoms

#: Simon and Peters, doi 10.1107/S0567740880009879 (150 K).
CO2 = Structure.from_spacegroup(
    "Pa-3", Lattice.cubic(5.624), ["C", "O"], [[0, 0, 0], [0.1185, 0.1185, 0.1185]]
)
#: Swaminathan, Craven and McMullan, doi 10.1107/S0108768184002135 (12 K, neutrons).
UREA = Structure.from_spacegroup(
    "P-42_1m",
    Lattice.tetragonal(5.565, 4.684),
    ["C", "O", "N", "H", "H"],
    [
        [0, 0.5, 0.3260],
        [0, 0.5, 0.5953],
        [0.1459, 0.6459, 0.1766],
        [0.2575, 0.7575, 0.2827],
        [0.1441, 0.6441, -0.0380],
    ],
)
#: Proton-ordered ice XI, after Leadbetter et al., doi 10.1063/1.448763; hydrogens idealised.
ICE = Structure.from_spacegroup(
    "Cmc2_1",
    Lattice.orthorhombic(4.465, 7.858, 7.292),
    ["O", "O", "H", "H", "H"],
    [
        [0, 0.6648, 0.0631],
        [0.5, 0.8255, -0.0631],
        [0, 0.6638, 0.2003],
        [0, 0.5363, 0.0183],
        [0.6766, -0.2252, -0.0183],
    ],
)


@pytest.mark.parametrize(
    ("crystal", "molecules"),
    [(CO2, {"O=C=O": 4}), (UREA, {"NC(N)=O": 2}), (ICE, {"O": 8})],
    ids=["carbon dioxide", "urea", "ice"],
)
def test_molecular_crystals_consist_of_whole_molecules(
    crystal: Structure, molecules: dict[str, int]
) -> None:
    assert whole_molecules(crystal) == molecules
    moved = crystal.copy()
    moved.translate_sites(range(len(moved)), [0.37, 0.41, 0.29])
    assert whole_molecules(moved) == molecules
    doubled = crystal.make_supercell([2, 1, 1], in_place=False)
    assert whole_molecules(doubled) == {name: 2 * n for name, n in molecules.items()}


def test_a_broken_molecule_is_named_by_its_formula() -> None:
    broken = UREA.copy()
    broken.remove_sites([int(np.flatnonzero(np.array(broken.atomic_numbers) == 1)[0])])
    assert whole_molecules(broken) == {"CH3N2O": 1, "NC(N)=O": 1}


@pytest.mark.parametrize(
    "crystal",
    [bulk("Si"), bulk("Cu"), bulk("NaCl", "rocksalt", a=5.64), bulk("Ar", "fcc", a=5.26)],
    ids=["diamond", "copper", "rock salt", "argon"],
)
def test_frameworks_metals_salts_and_atoms_have_no_molecules(crystal) -> None:
    assert whole_molecules(from_atoms(crystal)) == {}
