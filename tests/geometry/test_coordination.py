"""Learned coordination and net topologies of crystals."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.spacegroup import crystal

from logan_campaign.geometry.coordination import CoordinationRanges, count_neighbours, topology
from logan_campaign.geometry.neighbours import bonds_of, find_bonds
from logan_campaign.geometry.structures import from_atoms


def quartz() -> Atoms:
    return crystal(
        ("Si", "O"),
        [(0.4697, 0.0, 1 / 3), (0.4135, 0.2669, 0.2144)],
        spacegroup=152,
        cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
    )


def cristobalite() -> Atoms:
    return crystal(
        ("Si", "O"),
        [(0.3, 0.3, 0.0), (0.24, 0.10, 0.18)],
        spacegroup=92,
        cellpar=[4.971, 4.971, 6.922, 90, 90, 90],
    )


def lonsdaleite() -> Atoms:
    z = 0.0625
    return crystal(
        "C", [(1 / 3, 2 / 3, z)], spacegroup=194, cellpar=[2.52, 2.52, 4.12, 90, 90, 120]
    )


def name(atoms: Atoms) -> str:
    return topology(atoms.numbers, bonds_of(atoms))


def test_coordination_is_learned_and_judged() -> None:
    ranges = CoordinationRanges.learn([from_atoms(quartz()), from_atoms(cristobalite())])
    assert ranges.describe() == "O: 2 Si; Si: 4 O"
    assert ranges.volume == pytest.approx((12.57, 14.25), abs=0.01)
    good = cristobalite()
    broken = good.copy()
    oxygen = np.flatnonzero(good.numbers == 8)[0]
    broken.positions[oxygen] += 1.0
    positions = np.stack([good.positions, broken.positions])
    cells = np.stack([good.cell.array] * 2)
    counts = count_neighbours(good.numbers, find_bonds(good.numbers, positions, cells), 2)
    assert ranges.accepts(good.numbers, counts).tolist() == [True, False]


CESIUM_CHLORIDE = Atoms("CsCl", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=[4.12] * 3, pbc=True)
PEROVSKITE = Atoms(
    "SrTiO3",
    scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    cell=[3.905] * 3,
    pbc=True,
)
RUTILE = crystal(
    ("Ti", "O"),
    [(0, 0, 0), (0.305, 0.305, 0)],
    spacegroup=136,
    cellpar=[4.59, 4.59, 2.96, 90, 90, 90],
)
DRY_ICE = crystal(
    ("C", "O"),
    [(0, 0, 0), (0.1187, 0.1187, 0.1187)],
    spacegroup=205,
    cellpar=[5.624, 5.624, 5.624, 90, 90, 90],
)
GRAPHITE = crystal(
    ("C", "C"),
    [(0, 0, 0.25), (1 / 3, 2 / 3, 0.25)],
    spacegroup=194,
    cellpar=[2.46, 2.46, 6.7, 90, 90, 120],
)
ANTIFLUORITE = crystal(
    ("S", "Li"),
    [(0, 0, 0), (0.25, 0.25, 0.25)],
    spacegroup=225,
    cellpar=[5.72, 5.72, 5.72, 90, 90, 90],
)


@pytest.mark.parametrize(
    ("atoms", "textbook"),
    [
        (bulk("Cu"), "Cu: 12 Cu"),
        (bulk("Fe"), "Fe: 14 Fe"),  # 8, and 6 little farther
        (bulk("NaCl", "rocksalt", a=5.64), "Na: 6 Cl; Cl: 6 Na"),
        (CESIUM_CHLORIDE, "Cl: 8 Cs; Cs: 8 Cl"),
        (PEROVSKITE, "O: 2 Ti, 4 Sr; Ti: 6 O; Sr: 12 O"),
        (RUTILE, "O: 3 Ti; Ti: 6 O"),
        (ANTIFLUORITE, "Li: 4 S; S: 8 Li"),
        (GRAPHITE, "C: 3 C"),
        (DRY_ICE, "C: 2 O; O: 1 C"),
        (bulk("GaN", "wurtzite", a=3.19, c=5.19), "N: 4 Ga; Ga: 4 N"),
    ],
    ids=lambda given: given.get_chemical_formula() if isinstance(given, Atoms) else "",
)
def test_ionic_covalent_metallic_and_molecular_crystals_have_their_coordination(
    atoms: Atoms, textbook: str
) -> None:
    assert CoordinationRanges.learn([from_atoms(atoms)]).describe() == textbook


def test_a_neighbour_in_an_image_counts_each_time() -> None:
    copper = bulk("Cu")
    counts = count_neighbours(copper.numbers, bonds_of(copper), 1)
    assert counts.tolist() == [[[12]]]
    assert CoordinationRanges.learn([from_atoms(copper)]).describe() == "Cu: 12 Cu"


def test_rare_atoms_are_left_out_of_the_range_as_far_as_coverage_allows() -> None:
    odd = quartz()
    del odd[int(np.flatnonzero(odd.numbers == 8)[0])]
    structures = [from_atoms(quartz())] * 20 + [from_atoms(odd)]
    assert CoordinationRanges.learn(structures).describe() != "O: 2 Si; Si: 4 O"
    assert CoordinationRanges.learn(structures, coverage=0.9).describe() == "O: 2 Si; Si: 4 O"


@pytest.mark.parametrize("make", [quartz, cristobalite, lonsdaleite])
def test_a_net_has_one_name_in_any_cell_order_and_with_small_displacements(make) -> None:
    atoms = make()
    larger = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    larger = larger[np.random.default_rng(0).permutation(len(larger))]
    larger.positions += [0.3, -0.7, 1.1]
    larger.rattle(0.03, seed=1)
    larger.wrap()
    assert name(larger) == name(atoms)


def test_different_nets_have_different_names() -> None:
    diamond = bulk("C", "diamond", a=3.57)
    assert name(diamond) != name(lonsdaleite())  # both: 4 neighbours, then 12
    assert name(quartz()) != name(cristobalite())
    # the same net of other species is another one
    assert name(bulk("Si", "diamond", a=5.43)) != name(diamond)


def test_lone_atoms_are_nets_too() -> None:
    atoms = Atoms("He2", [[0, 0, 0], [0, 0, 5.0]], cell=[10, 10, 10], pbc=True)
    assert name(atoms) == name(Atoms("He", cell=[10, 10, 10], pbc=True))
