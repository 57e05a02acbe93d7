"""What saves the matcher work must not change what it would have said."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from logan_campaign.matching.bucket import Bucket
from logan_campaign.matching.crystals import FINGERPRINT_LIMITS, TOLERANCES, CrystalMatcher
from logan_campaign.matching.fingerprint import CUTOFF, distances, fingerprint
from logan_campaign.matching.reduction import Reduced, reduce_crystal
from logan_campaign.matching.rejection import Rejector
from logan_campaign.matching.spec import Tolerance

CRISTOBALITE = Structure.from_spacegroup(
    "P4_12_12",
    Lattice.tetragonal(4.971, 6.928),
    ["Si", "O"],
    [[0.3003, 0.3003, 0], [0.2392, 0.1044, 0.1787]],
)
ROCK_SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def disturbed(structure: Structure, width: float, strain: float, seed: int) -> Structure:
    """Return a copy with every site moved by ``width`` (Å, rms) in a strained cell."""
    rng = np.random.default_rng(seed)
    matrix = structure.lattice.matrix @ (np.eye(3) + rng.normal(0, strain, (3, 3)))
    copy = Structure(Lattice(matrix), structure.species, structure.frac_coords)
    for i in range(len(copy)):
        copy.translate_sites([i], rng.normal(0, width / 3**0.5, 3), frac_coords=False)
    return copy


def random_crystal(n_formula: int, seed: int, strain: float = 0.0) -> Structure:
    """Return AB2 with random places in a cell that is cubic but for the strain."""
    rng = np.random.default_rng(seed)
    length = (3 * n_formula * 14) ** (1 / 3)
    matrix = length * (np.eye(3) + rng.normal(0, strain, (3, 3)))
    species = ["Si"] * n_formula + ["O"] * 2 * n_formula
    return Structure(Lattice(matrix), species, rng.uniform(size=(3 * n_formula, 3)))


def bucket_of(crystals: list[Reduced]) -> Bucket:
    bucket = Bucket()
    for crystal in crystals:
        bucket.add(crystal)
    return bucket


def some_pairs(tolerance: Tolerance) -> list[tuple[Reduced, Reduced]]:
    """Return pairs with equal keys: about the tolerance apart, or nothing to do with each other."""
    stol = TOLERANCES[tolerance][1]
    structures = []
    for seed in range(14):
        base = random_crystal(1 + seed % 4, seed, strain=0.03)
        for width in (0.3, 1.0):
            near = disturbed(base, width * 2.4 * stol, 0.04, seed)
            structures.append((base, near))
        structures.append((base, random_crystal(1 + seed % 4, seed + 100, strain=0.03)))
    for seed in range(3):  # cells that no mapping lays on one another
        long = random_crystal(2, seed)
        matrix = long.lattice.matrix @ np.diag([2.5, 0.8, 0.5])
        structures.append((long, Structure(Lattice(matrix), long.species, long.frac_coords)))
    structures += [(CRISTOBALITE, disturbed(CRISTOBALITE, w, 0.02, 1)) for w in (0.02, 0.2, 0.5)]
    pairs = [(reduce_crystal(one), reduce_crystal(two)) for one, two in structures]
    return [(one, two) for one, two in pairs if one.key == two.key]


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_nothing_that_matches_is_rejected(tolerance: Tolerance) -> None:
    ltol, stol, angle_tol = TOLERANCES[tolerance]
    plain = StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle_tol)
    rejector = Rejector(ltol, stol, angle_tol)
    n_matches = n_rejected = 0
    pairs = some_pairs(tolerance)
    for pair in pairs:
        one, two = sorted(pair, key=lambda crystal: crystal.id)
        same = plain.fit(one.structure, two.structure, skip_structure_reduction=True)
        for first, second in ((one, two), (two, one)):
            [possible] = rejector.possible(first, bucket_of([second]), np.array([0]))
            assert possible or not same
        n_matches += same
        n_rejected += not possible
    assert n_matches > 5
    assert n_rejected > (8 if tolerance != "loose" else 2)


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_lattices_are_mapped_as_the_plain_matcher_maps_them(tolerance: Tolerance) -> None:
    ltol, stol, angle_tol = TOLERANCES[tolerance]
    n_found = 0
    for one, two in some_pairs(tolerance)[::3]:
        scaled = [
            Lattice(crystal.lattice * (len(one.numbers) / crystal.volume) ** (1 / 3))
            for crystal in (one, two)
        ]
        plain = {
            tuple(np.rint(np.linalg.inv(scale)).astype(int).ravel())
            for _, _, scale in scaled[0].find_all_mappings(scaled[1], ltol, angle_tol, True)
            if abs(abs(np.linalg.det(scale)) - 1) < 0.5
        }
        found = Rejector(ltol, stol, angle_tol)._all_mappings(one, two)
        assert {tuple(m.astype(int).ravel()) for m in found.inverse} == plain
        n_found += len(plain)
    assert n_found > 0


def test_a_pair_is_judged_alike_alone_and_among_many() -> None:
    cells = [random_crystal(4, seed) for seed in range(20)]
    cells += [disturbed(cells[0], 0.3, strain, 1) for strain in (0.0, 0.0, 0.02)]
    crystals = [reduce_crystal(cell) for cell in cells]
    rejector = Rejector(*TOLERANCES["default"])
    together = rejector.possible(crystals[0], bucket_of(crystals), np.arange(len(crystals)))
    for crystal, possible in zip(crystals, together, strict=True):
        [alone] = rejector.possible(crystals[0], bucket_of([crystal]), np.array([0]))
        assert alone == possible
    assert 1 < together.sum() < len(crystals)
    some = np.array([22, 0, 3])
    assert (rejector.possible(crystals[0], bucket_of(crystals), some) == together[some]).all()


@pytest.mark.parametrize("seed", range(3))
def test_reduction_is_that_of_the_plain_matcher(seed: int) -> None:
    rng = np.random.default_rng(seed)
    skew = np.eye(3, dtype=int) + np.triu(rng.integers(-1, 2, (3, 3)), 1)
    for given in (
        random_crystal(4, seed),
        random_crystal(2, seed, strain=0.1) * skew.tolist(),
        random_crystal(2, seed) * (1, 1, 2),
        disturbed(random_crystal(2, seed) * (1, 2, 1), 0.1, 0.0, seed),
        disturbed(random_crystal(2, seed) * (1, 2, 1), 0.5, 0.0, seed),
        ROCK_SALT,
        ROCK_SALT * (2, 1, 1),
        CRISTOBALITE * skew.tolist(),
    ):
        found = reduce_crystal(given)
        plain = given.get_reduced_structure("niggli").get_primitive_structure()
        assert found.key == (plain.composition.reduced_formula, len(plain))
        np.testing.assert_allclose(found.lattice, plain.lattice.matrix, atol=1e-9)
        assert found.numbers.tolist() == list(plain.atomic_numbers)
        apart = found.frac - plain.frac_coords
        np.testing.assert_allclose(apart - np.rint(apart), 0, atol=1e-9)
        assert found.structure.volume == pytest.approx(found.volume)


def test_reduction_knows_no_oxidation_states() -> None:
    charged = ROCK_SALT.copy()
    charged.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert CrystalMatcher().same(charged, ROCK_SALT)


def test_fingerprint_depends_on_the_crystal_alone() -> None:
    expected = fingerprint(reduce_crystal(CRISTOBALITE))
    rng = np.random.default_rng(0)
    other = CRISTOBALITE * [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    other = Structure.from_sites([other[int(i)] for i in rng.permutation(len(other))])
    other.translate_sites(range(len(other)), [0.1, 0.2, 0.3])
    other.scale_lattice(other.volume * 1.3)
    np.testing.assert_allclose(fingerprint(reduce_crystal(other)), expected, atol=1e-5)


def test_fingerprint_counts_neighbours_per_species() -> None:
    found = fingerprint(reduce_crystal(ROCK_SALT)).reshape(2, 2, -1)
    # in free lengths a/2: six of the other species at 1, twelve of the own at √2
    np.testing.assert_allclose(found[0, 0], 2**0.5, atol=1e-6)
    np.testing.assert_allclose(found[0, 1], [1] * 6 + [3**0.5] * 4, atol=1e-6)
    np.testing.assert_allclose(found[1, 0], found[0, 1], atol=1e-6)
    lonely = Structure(Lattice.cubic(2), ["Si"] + ["O"] * 8, np.arange(27).reshape(9, 3) / 27)
    assert fingerprint(reduce_crystal(lonely)).max() == pytest.approx(CUTOFF)


def test_fingerprint_changes_continuously() -> None:
    one = fingerprint(reduce_crystal(CRISTOBALITE))
    previous = 0.0
    for width in (1e-4, 1e-3, 1e-2, 1e-1):
        [apart] = distances(
            one, fingerprint(reduce_crystal(disturbed(CRISTOBALITE, width, 0, 3)))[None]
        )
        assert previous < apart < width
        previous = apart


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_groups_of_both_modes_are_those_of_a_plain_search(tolerance: Tolerance) -> None:
    pool = [random_crystal(2, seed) for seed in range(4)]
    pool += [disturbed(pool[i % 4], 0.15, 0.0, i) for i in range(12)]
    matcher = CrystalMatcher(tolerance)
    prepared = [matcher.reduced(structure) for structure in pool]
    plain: list[list[int]] = []
    for index in sorted(range(len(pool)), key=lambda i: prepared[i].id):
        for members in plain:
            if matcher.same(pool[members[0]], pool[index]):
                members.append(index)
                break
        else:
            plain.append([index])
    assert 1 < len(plain) < len(pool)
    assert matcher.group(pool) == plain
    assert CrystalMatcher(tolerance, mode="prefilter").group(pool) == plain


def test_only_the_prefilter_passes_over_unlike_fingerprints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near = disturbed(CRISTOBALITE, 0.1, 0.0, 0)
    assert len(CrystalMatcher(mode="prefilter").group([CRISTOBALITE, near])) == 1
    monkeypatch.setitem(FINGERPRINT_LIMITS, "default", 0.0)
    assert len(CrystalMatcher(mode="prefilter").group([CRISTOBALITE, near])) == 2
    assert len(CrystalMatcher(mode="exact").group([CRISTOBALITE, near])) == 1
