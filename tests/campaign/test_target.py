"""Targets that a training set settles: volumes and space groups."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.geometry import cellpar_to_cell

from logan_campaign.campaign.target import TargetGeometry, TargetSpec
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.spacegroups import group_symbol, groups_of_lattice


def resolved(**said: object) -> TargetGeometry:
    spec = TargetSpec.model_validate({"formula": "Mg2O2", "kind": "crystal", **said})
    return spec.resolve(Path())


TRAINING = [bulk("MgO", "rocksalt", a=4.2), bulk("MgO", "zincblende", a=4.6)]


def test_volumes_are_those_of_the_training_set_and_a_margin() -> None:
    target = resolved(cell="drawn").to_gan(TRAINING)
    assert target.volumes == pytest.approx((0.9 * 4.2**3 / 8, 1.1 * 4.6**3 / 8))
    given = resolved(cell="drawn", volume_per_atom=[9, 11]).to_gan(TRAINING)
    assert given.volumes == (9.0, 11.0)
    with pytest.raises(InputError, match="volume_per_atom"):
        resolved(cell="learned").to_gan([molecule("H2O")])


def test_space_groups_of_the_training_set_count_as_often_as_they_are_there() -> None:
    target = resolved(cell="learned", symmetry={"groups": "training"}).to_gan(
        [*TRAINING, TRAINING[0]]
    )
    assert target.symmetry is not None
    assert target.symmetry.groups == ((216, 1.0), (225, 2.0))
    named = resolved(cell="learned", symmetry={"groups": ["Cmcm", 12]}).to_gan(TRAINING)
    assert named.symmetry is not None
    assert named.symmetry.groups == ((12, 1.0), (63, 1.0))


def test_space_groups_of_the_lattice_are_those_with_its_bravais_lattice() -> None:
    said = {"groups": "lattice", "p1": 0.25}
    rocksalt = bulk("MgO", "rocksalt", a=4.2).cell.tolist()
    target = resolved(formula="MgO", cell=rocksalt, symmetry=said).to_gan()
    assert target.symmetry is not None
    groups = dict(target.symmetry.groups)
    assert set(groups) == {1, 196, 202, 203, 209, 210, 216, 219, *range(225, 229)}
    assert groups[1] == pytest.approx(0.25 * sum(groups.values()))
    with pytest.raises(ValueError, match="needs a given cell"):
        resolved(cell="learned", symmetry=said)


@pytest.mark.parametrize(
    ("cell", "groups"),
    [
        ([4.0, 5.0, 6.0, 90, 90, 90], range(16, 63)),
        ([4.0, 4.0, 6.0, 90, 90, 120], range(143, 195)),
        ([4.0, 5.0, 6.0, 80, 85, 95], (1, 2)),
        ([4.0, 4.0, 4.0, 70, 70, 70], (146, 148, 155, 160, 161, 166, 167)),
    ],
)
def test_a_lattice_has_the_groups_of_its_family_and_centring(
    cell: list[float], groups: Iterable[int]
) -> None:
    found = groups_of_lattice(cellpar_to_cell(cell))
    assert set(found) <= set(groups)
    letter = "R" if cell[3] == 70 else "P"
    assert found == [n for n in groups if group_symbol(n)[0] == letter]


def test_what_a_model_goes_on_from_settles_what_a_grown_training_set_would_change() -> None:
    open_target = resolved(cell="drawn", symmetry={})
    first = open_target.to_gan([*TRAINING, bulk("MgO", "cesiumchloride", a=3.0)])
    assert open_target.to_gan(TRAINING, first) == first
    assert open_target.to_gan(TRAINING) != first
