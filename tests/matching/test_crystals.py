"""Crystal matching: pymatgen's decision, with less work and in any order of input."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from logan_campaign.core.documents import StructureEntry
from logan_campaign.geometry.structures import formula, from_atoms, structure_id
from logan_campaign.matching import CrystalMatcher
from logan_campaign.matching.crystals import TOLERANCES
from logan_campaign.sources import BuiltinSource

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

QUARTZ = Structure.from_spacegroup(
    "P3_121",
    Lattice.hexagonal(4.916, 5.405),
    ["Si", "O"],
    [[0.4697, 0, 1 / 3], [0.4133, 0.2672, 0.2144 + 1 / 3]],
)
CRISTOBALITE = Structure.from_spacegroup(
    "P4_12_12",
    Lattice.tetragonal(4.971, 6.928),
    ["Si", "O"],
    [[0.3003, 0.3003, 0], [0.2392, 0.1044, 0.1787]],
)
STISHOVITE = Structure.from_spacegroup(
    "P4_2/mnm",
    Lattice.tetragonal(4.1773, 2.6655),
    ["Si", "O"],
    [[0, 0, 0], [0.3062, 0.3062, 0]],
)
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm",
    Lattice.tetragonal(4.594, 2.959),
    ["Ti", "O"],
    [[0, 0, 0], [0.3053, 0.3053, 0]],
)
SILICAS = {"quartz": QUARTZ, "cristobalite": CRISTOBALITE, "stishovite": STISHOVITE}


def entry(structure: Structure, label: str) -> StructureEntry:
    return StructureEntry(
        id=structure_id(structure), label=label, formula=formula(structure), structure=structure
    )


def planted(structure: Structure, how: str) -> Structure:
    """Return the same crystal in another guise."""
    rng = np.random.default_rng(7)
    copy = structure.copy()
    if how == "rotated":
        copy.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], 40))
    elif how == "shifted":
        copy.translate_sites(range(len(copy)), rng.uniform(size=3))
    elif how == "supercell":
        copy.make_supercell([[2, 0, 0], [0, 1, 0], [0, 0, 1]])
    elif how == "other cell":
        copy.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    elif how == "permuted":
        copy = Structure.from_sites([copy[int(i)] for i in rng.permutation(len(copy))])
    elif how == "rattled":
        for i in range(len(copy)):
            copy.translate_sites([i], rng.normal(0, 0.02, 3), frac_coords=False)
    elif how == "expanded":
        copy.scale_lattice(copy.volume * 1.1)
    return copy


GUISES = ["rotated", "shifted", "supercell", "other cell", "permuted", "rattled", "expanded"]


@pytest.mark.parametrize("name", SILICAS)
@pytest.mark.parametrize("how", GUISES)
def test_planted_duplicates_are_found_at_every_tolerance(name: str, how: str) -> None:
    entries = [entry(structure, label) for label, structure in SILICAS.items()]
    copy = planted(SILICAS[name], how)
    for tolerance in TOLERANCES:
        match = CrystalMatcher(tolerance).match(copy, entries)
        assert match is not None
        assert match.entry.label == name
        assert match.rms < (0.03 if how == "rattled" else 1e-3)


@pytest.mark.parametrize("how", ["rotated", "supercell", "rattled"])
@pytest.mark.parametrize("name", SILICAS)
def test_different_crystals_do_not_match(name: str, how: str) -> None:
    others = [entry(structure, label) for label, structure in SILICAS.items() if label != name]
    others.append(entry(RUTILE, "rutile"))
    assert CrystalMatcher().match(planted(SILICAS[name], how), others) is None


def test_another_element_in_the_same_places_is_another_crystal() -> None:
    matcher = CrystalMatcher("loose")
    assert matcher.distance(STISHOVITE, RUTILE) is None
    assert matcher.key(STISHOVITE) == ("SiO2", 6)
    assert matcher.key(RUTILE) == ("TiO2", 6)


def test_tolerances_are_nested_and_strict_is_strict() -> None:
    # cristobalite with its oxygens moved by 0.45 Å: 0.14 of (volume per atom)^(1/3) on average
    rng = np.random.default_rng(0)
    moved = CRISTOBALITE.copy()
    for i in range(4, 12):
        direction = rng.normal(size=3)
        moved.translate_sites([i], 0.45 * direction / np.linalg.norm(direction), frac_coords=False)
    found = {name: CrystalMatcher(name).distance(moved, CRISTOBALITE) for name in TOLERANCES}
    assert found["strict"] is None
    assert found["default"] is not None
    assert found["loose"] is not None
    assert found["loose"].rms == pytest.approx(found["default"].rms, abs=0.02)
    assert 0.05 < found["default"].rms < 0.3


def test_rms_in_angstrom_is_how_far_the_sites_have_moved() -> None:
    moved = CRISTOBALITE.copy()
    for i in range(4, 12):  # oxygens up and down by turns: the centre of all sites stays
        moved.translate_sites([i], [0, 0, 0.1 * (-1) ** i], frac_coords=False)
    distance = CrystalMatcher("strict").distance(moved, CRISTOBALITE)
    assert distance is not None
    assert distance.rms_angstrom == pytest.approx(0.1 * (8 / 12) ** 0.5, rel=1e-6)
    # in a crystal with lengths doubled the same share of the cell is twice as far
    for structure in (moved, large := CRISTOBALITE.copy()):
        structure.scale_lattice(structure.volume * 8)
    double = CrystalMatcher("strict").distance(moved, large)
    assert double is not None
    assert double.rms == pytest.approx(distance.rms, rel=1e-6)
    assert double.rms_angstrom == pytest.approx(2 * distance.rms_angstrom, rel=1e-6)


def test_of_several_matching_entries_the_nearest_is_named() -> None:
    near, far = planted(QUARTZ, "rattled"), QUARTZ.copy()
    rng = np.random.default_rng(3)
    for i in range(len(far)):
        far.translate_sites([i], rng.normal(0, 0.1, 3), frac_coords=False)
    entries = [entry(far, "far"), entry(near, "near")]
    found = CrystalMatcher().matches(QUARTZ, entries)
    assert [match.entry.label for match in found] == ["near", "far"]
    assert found[0].rms < found[1].rms
    assert CrystalMatcher().match(QUARTZ, entries[::-1]) == found[0]


def test_a_structure_matches_itself_exactly() -> None:
    match = CrystalMatcher("strict").match(QUARTZ, [entry(QUARTZ, "itself")])
    assert match is not None
    assert match.rms == 0.0


def test_molecules_among_the_entries_are_no_crystals() -> None:
    water = from_atoms(read_water())
    known = StructureEntry(id="struct-0", label="water", formula="H2O", structure=water)
    assert CrystalMatcher().match(QUARTZ, [known]) is None


def read_water():
    from ase.build import molecule

    return molecule("H2O")


def test_groups_do_not_depend_on_the_order_of_input() -> None:
    pool = [planted(structure, how) for structure in SILICAS.values() for how in GUISES[:4]]
    pool += [RUTILE]
    expected = None
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(pool))
        groups = CrystalMatcher().group([pool[i] for i in order])
        found = {tuple(order[member] for member in members) for members in groups}
        assert sorted(len(members) for members in groups) == [1, 4, 4, 4]
        for members in groups:
            ids = [structure_id(pool[order[member]]) for member in members]
            assert ids[0] == min(ids)
        expected = expected or found
        assert found == expected
    assert CrystalMatcher().group([]) == []


def test_given_ids_set_the_order_of_leaders() -> None:
    pair = [QUARTZ, planted(QUARTZ, "rotated")]
    assert CrystalMatcher().group(pair, ids=["b", "a"]) == [[1, 0]]
    assert CrystalMatcher().group(pair, ids=["a", "b"]) == [[0, 1]]


def test_tolerances_may_share_reductions(monkeypatch: pytest.MonkeyPatch) -> None:
    first = CrystalMatcher("strict")
    first.key(QUARTZ)
    monkeypatch.setattr(Structure, "get_primitive_structure", None)  # would fail if called
    assert CrystalMatcher("loose", share=first).key(QUARTZ) == ("SiO2", 9)


@pytest.fixture(scope="module")
def silicas() -> list[Structure]:
    """The small silicas of pymatgen's prototypes, and disturbed copies of them."""
    entries = BuiltinSource(name="sio2-prototypes").load().entries
    small = [item.structure for item in entries if len(item.structure) <= 12]
    rng = np.random.default_rng(0)
    for structure in list(small):
        for width in (0.05, 0.15):
            copy = structure.copy()
            for i in range(len(copy)):
                copy.translate_sites([i], rng.normal(0, width, 3), frac_coords=False)
            small.append(copy)
    return small


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_the_decision_is_that_of_the_plain_matcher(silicas: list[Structure], tolerance) -> None:
    ltol, stol, angle_tol = TOLERANCES[tolerance]
    plain = StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle_tol)
    matcher = CrystalMatcher(tolerance)
    pairs = list(itertools.combinations(range(len(silicas)), 2))
    rng = np.random.default_rng(1)
    n_same = 0
    for which in rng.permutation(len(pairs))[:80]:
        one, two = sorted((silicas[i] for i in pairs[which]), key=structure_id)
        same = matcher.same(two, one)
        assert same == plain.fit(one, two)
        if same:
            n_same += 1
            rms = plain.get_rms_dist(one, two)[0]
            distance = matcher.distance(one, two)
            assert distance is not None
            assert distance.rms == pytest.approx(rms, abs=1e-4)
            length = ((one.volume / len(one)) * (two.volume / len(two))) ** (1 / 6)
            assert distance.rms_angstrom == pytest.approx(rms * length, abs=1e-3)
    assert 0 < n_same < 80


@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference data beside the checkout are absent")
def test_the_near_match_of_a_target_in_its_training_set_is_found() -> None:
    target = from_atoms(read(SHARED / "sio2/mp-546794_target.extxyz"))
    frames = read(SHARED / "sio2/mp-546794_training.extxyz", ":")
    small = [atoms for atoms in frames if len(atoms) <= 24]
    entries = [entry(from_atoms(atoms), str(i)) for i, atoms in enumerate(small)]
    match = CrystalMatcher("default").match(target, entries)
    assert match is not None
    assert 0.04 < match.rms < 0.2
    assert CrystalMatcher("strict", share=CrystalMatcher()).match(target, entries) is None


def test_the_matcher_always_gets_a_pair_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def record(self, first, second, **settings) -> bool:
        asked.append((first.volume, second.volume))
        return False

    monkeypatch.setattr(StructureMatcher, "fit", record)
    larger = planted(QUARTZ, "expanded")
    for pair in ((QUARTZ, larger), (larger, QUARTZ)):
        assert not CrystalMatcher().same(*pair)
        assert CrystalMatcher().match(pair[0], [entry(pair[1], "other")]) is None
    assert len(asked) == 4
    assert len(set(asked)) == 1
