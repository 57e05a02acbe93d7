"""Screening: what no relaxation could repair is turned away, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from pydantic import ValidationError

from logan_campaign.core.errors import InputError
from logan_campaign.geometry.molecules import perceive_smiles
from logan_campaign.geometry.structures import from_atoms
from logan_campaign.relaxation.levels import XTBLevel
from logan_campaign.selection.screening import (
    ScreeningReason,
    ScreeningSpec,
    screen,
    screen_pool,
)

SPEC = ScreeningSpec()


def judge(atoms: Atoms, **settings: object) -> str | None:
    return screen(from_atoms(atoms), ScreeningSpec(**settings), periodic=bool(atoms.pbc.all()))


@pytest.mark.parametrize(
    "atoms",
    [
        *(molecule("CH3CH2OH"), molecule("C6H6"), molecule("H2"), Atoms("He")),
        *(bulk("Cu"), bulk("Si"), bulk("NaCl", "rocksalt", a=5.64)),
    ],
)
def test_real_structures_pass(atoms: Atoms) -> None:
    assert judge(atoms) is None


def test_each_reason_is_named() -> None:
    collided = molecule("CH3CH2OH")
    collided.positions[1] = collided.positions[0] + [0, 0, 0.2]
    assert str(judge(collided)).startswith("atoms too close: C0 and C1 are 0.20 Å apart (limit")
    lone = molecule("CH3CH2OH")
    lone.positions[-1] += 50.0
    assert judge(lone) == "isolated atom"
    pair = molecule("H2O") + molecule("H2O")
    pair.positions[3:] += 5.0
    assert judge(pair) == "fragments"
    assert judge(pair, allow_fragments=True) is None
    # an isolated atom is a fragment as well
    assert judge(lone, allow_isolated_atoms=True) == "fragments"
    assert judge(lone, allow_isolated_atoms=True, allow_fragments=True) is None


def test_images_count_for_crystals_only() -> None:
    atoms = Atoms("Cu2", [[0, 0, 0.1], [0, 0, 4.9]], cell=[2.5, 2.5, 5], pbc=True)
    assert str(judge(atoms)).startswith("atoms too close: Cu0 and Cu1 are 0.20")
    # a chain of images is company, a large empty cell is not
    assert judge(Atoms("Cu", cell=[2.5, 9, 9], pbc=True)) is None
    far = Atoms("CuHe", [[0, 0, 0], [6, 6, 6]], cell=[2.5, 12, 12], pbc=True)
    assert judge(far) == "isolated atom"


def test_pools_are_judged_like_single_structures() -> None:
    water = molecule("H2O")
    positions = np.stack([water.positions] * 5)
    positions[1, 1] = positions[1, 0] + 0.05
    positions[2, 2] += 30
    positions[3, 0, 0] = np.nan
    found = screen_pool(positions, None, water.numbers, periodic=False, spec=SPEC)
    assert found.tolist() == ["", "atoms too close", "isolated atom", "not finite", ""]
    assert set(found) <= {reason.text for reason in ScreeningReason}
    assert len(screen_pool(positions[:0], None, water.numbers, False, SPEC)) == 0


def test_cells_without_volume_are_named() -> None:
    cells = np.stack([np.eye(3) * 2.5, np.diag([2.5, 2.5, 0]), np.full((3, 3), np.inf)])
    found = screen_pool(np.zeros((3, 1, 3)), cells, [29], periodic=True, spec=SPEC)
    assert found.tolist() == ["", "no volume", "not finite"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("bond_factor", [1.05, 1.2, 2.0])
def test_reasons_agree_with_a_neighbour_list(seed: int, bond_factor: float) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.array([14, 8, 8, 1])
    radii = covalent_radii[numbers]
    # small and skewed cells, atoms also outside them
    cells = rng.normal(0, 0.8, (60, 3, 3)) + np.eye(3) * 2.5
    cells = cells[np.linalg.det(cells) > 6][:15]
    n = len(cells)
    positions = rng.uniform(-3, 6, (n, 4, 3))
    spec = ScreeningSpec(min_distance_factor=0.9, bond_factor=bond_factor)
    found = screen_pool(positions, cells, numbers, periodic=True, spec=spec)
    for reason, cell, places in zip(found, cells, positions, strict=True):
        atoms = Atoms(numbers, places, cell=cell, pbc=True)
        close = len(neighbor_list("i", atoms, 0.9 * radii)) > 0
        lone = len(set(neighbor_list("i", atoms, spec.bond_factor * radii))) < 4
        expected = "atoms too close" if close else "isolated atom" if lone else ""
        assert reason == expected


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 4, (50, 6, 3))
    whole = screen_pool(positions, None, [6] * 6, False, SPEC)
    monkeypatch.setattr("logan_campaign.selection.screening._CHUNK", 7)
    np.testing.assert_array_equal(screen_pool(positions, None, [6] * 6, False, SPEC), whole)
    assert len(set(whole)) > 1


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.2, 1.5, 1.8])
def test_bonds_that_a_relaxation_repairs_pass(factor: float) -> None:
    atoms = molecule("CH3OH")
    atoms.positions *= factor
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    assert judge(atoms) is None
    atoms.positions = XTBLevel().relax_atoms(atoms, folder=Path()).frames[-1].positions
    assert perceive_smiles(atoms) == "CO"


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        ScreeningSpec(min_distance_factor=1.5)
    with pytest.raises(ValidationError):
        ScreeningSpec(minimum=0.5)


def test_neighbours_are_looked_for_as_far_as_the_factor_says() -> None:
    # copper's images 7 Å away are 2.65 sums of covalent radii off
    lonely = Atoms("Cu2", [[0, 0, 0], [10, 0, 0]], cell=[20.0, 7.0, 7.0], pbc=True)
    assert judge(lonely, bond_factor=2.6) == "isolated atom"
    assert judge(lonely, bond_factor=2.7) is None


def test_valence_is_judged_where_asked() -> None:
    radical = molecule("CH3CH2O")
    assert judge(radical) is None
    assert judge(radical, valence=True) == "wrong valence"
    assert judge(molecule("CH3CH2OH"), valence=True) is None


def test_coordination_and_volume_are_those_of_the_training_set() -> None:
    diamond = from_atoms(bulk("C", "diamond", a=3.57))
    spec = ScreeningSpec(coordination="training", volume_per_atom="training")
    learned = spec.learn([diamond])
    assert screen(diamond, spec, True, learned) is None
    simple = from_atoms(bulk("C", "sc", a=1.6))
    assert screen(simple, spec, True, learned) == "coordination outside the training range"
    wide = from_atoms(bulk("C", "diamond", a=3.75))
    assert screen(wide, spec, True, learned) == "volume per atom out of range"
    # a tenth of volume more than in the training set is allowed
    assert screen(from_atoms(bulk("C", "diamond", a=3.66)), spec, True, learned) is None
    limits = ScreeningSpec(volume_per_atom=(6.0, 7.0))
    assert limits.learn([diamond]) is None
    assert screen(diamond, limits, True) == "volume per atom out of range"  # 5.69 Å³


def test_limits_for_the_other_kind_of_target_are_refused() -> None:
    with pytest.raises(InputError, match="'valence' is for molecules; the target is a crystal"):
        ScreeningSpec(valence=True).check("crystal")
    with pytest.raises(InputError, match="'volume_per_atom' is for crystals"):
        ScreeningSpec(volume_per_atom="training").check("molecule")
    with pytest.raises(ValidationError, match="the smaller one first"):
        ScreeningSpec(volume_per_atom=(9.0, 3.0))
