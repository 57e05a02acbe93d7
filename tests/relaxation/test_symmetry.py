"""Origins and operations that GPAW is given: laws of space groups."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Structure

from logan_campaign.relaxation.levels import GPAWLevel
from logan_campaign.relaxation.symmetry import symmetry_frame

QUARTZ = Structure.from_spacegroup(
    "P3_121",
    Lattice.hexagonal(4.9, 5.4),
    ["Si", "O"],
    [[0.47, 0, 1 / 3], [0.41, 0.27, 0.786]],
)
DIAMOND = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]])
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.6, 2.95), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)


def _moved(structure, seed):
    found = structure.copy()
    found.translate_sites(range(len(found)), np.random.default_rng(seed).random(3))
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("structure", "fixing_a_point", "all_together"),
    [
        (QUARTZ, 2, 6),  # site symmetry .2. is the highest
        (DIAMOND.get_primitive_structure(), 24, 48),  # -43m
        (DIAMOND, 24, 24),  # centred: GPAW takes no pure translations
        (RUTILE, 8, 16),  # m.mm
    ],
    ids=["quartz", "diamond, primitive", "diamond", "rutile"],
)
def test_wherever_the_origin_was_it_goes_to_the_highest_site_symmetry(
    structure, fixing_a_point, all_together, seed
):
    crystal = _moved(structure, seed)
    arguments = np.array(crystal.atomic_numbers), crystal.cart_coords, crystal.lattice.matrix
    for translations, expected in ((False, fixing_a_point), (True, all_together)):
        frame = symmetry_frame(*arguments, 1e-3, translations)
        assert len(frame.rotations) == expected
        # every operation takes the moved crystal to itself
        x = crystal.frac_coords + frame.shift
        for rotation, translation in zip(frame.rotations, frame.translations, strict=True):
            away = (x @ rotation.T + translation)[:, None] - x
            distance = np.linalg.norm((away - np.rint(away)) @ crystal.lattice.matrix, axis=-1)
            assert (distance.min(axis=1) < 1e-3).all()
        # and they are closed: the product of two is one of them
        known = {
            (*r.ravel(), *np.rint(24 * t).astype(int) % 24)
            for r, t in zip(frame.rotations, frame.translations, strict=True)
        }
        for r, t in zip(frame.rotations, frame.translations, strict=True):
            for other, shift in zip(frame.rotations, frame.translations, strict=True):
                product = r @ shift + t
                assert (*(r @ other).ravel(), *np.rint(24 * product).astype(int) % 24) in known


def test_a_crystal_without_symmetry_stays_where_it_is():
    rng = np.random.default_rng(0)
    cell = np.eye(3) * 6 + rng.normal(0, 0.5, (3, 3))
    assert symmetry_frame(np.array([14, 8, 8]), rng.random((3, 3)) @ cell, cell, 1e-3, True) is None


def test_gpaw_takes_the_operations_and_frames_stay_where_they_were(tmp_path):
    pytest.importorskip("gpaw")
    crystal = _moved(DIAMOND.get_primitive_structure(), 1)
    start = Atoms("C2", positions=crystal.cart_coords, cell=crystal.lattice.matrix, pbc=True)
    level = GPAWLevel(mode="pw", ecut_ev=200, kpts=(2, 2, 2), max_steps=0)
    result = level.relax_atoms(start, folder=tmp_path)
    assert result.notes["symmetry_operations"] == 48
    assert "Number of symmetries: 48" in (tmp_path / "calculator.txt").read_text()
    np.testing.assert_allclose(result.frames[0].positions, start.positions, atol=1e-9)
    assert np.abs(result.frames[0].forces).max() < 1e-6  # by symmetry
