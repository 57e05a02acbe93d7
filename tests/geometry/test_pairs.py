"""Pairs of species that stand side by side."""

from __future__ import annotations

from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from logan_campaign.geometry.pairs import pairs_side_by_side
from logan_campaign.geometry.structures import from_atoms


def pairs(*structures: Atoms) -> list[str]:
    return pairs_side_by_side(map(from_atoms, structures))


def test_pairs_are_those_of_the_bonds_in_any_structure() -> None:
    assert pairs() == []
    assert pairs(molecule("CH3OH")) == ["C-H", "C-O", "H-O"]
    assert pairs(molecule("CH3OCH3")) == ["C-H", "C-O"]  # no H beside O
    assert pairs(molecule("CH3OCH3"), molecule("H2O")) == ["C-H", "C-O", "H-O"]
    assert pairs(bulk("Cu")) == ["Cu-Cu"]  # across the faces of the cell
    assert "Cl-Na" in pairs(bulk("NaCl", "rocksalt", a=5.64))


def test_oxides_apart_do_not_show_their_cations_side_by_side() -> None:
    oxides = bulk("SrO", "rocksalt", a=5.16), bulk("TiO", "rocksalt", a=4.18)
    assert not {"Sr-Ti", "Ti-Sr"} & set(pairs(*oxides))
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    perovskite = Atoms("SrTiO3", scaled_positions=places, cell=[3.905] * 3, pbc=True)
    assert "Sr-Ti" in pairs(*oxides, perovskite)


@given(st.permutations(range(9)), st.integers(1, 2))
def test_order_of_atoms_and_choice_of_cell_do_not_matter(order: list[int], n: int) -> None:
    ethanol = molecule("CH3CH2OH")
    assert pairs(ethanol[order]) == pairs(ethanol)
    zno = bulk("ZnO", "wurtzite", a=3.25, c=5.2)
    assert pairs(zno * (n, 1, 2)) == pairs(zno)
