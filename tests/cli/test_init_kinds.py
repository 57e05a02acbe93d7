"""``init`` for clusters, radicals, ions and slabs writes specs that are valid and work."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import fcc111
from ase.io import write
from clusters import SEEDS, adsorbate, copper
from typer.testing import CliRunner

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli.app import app, load_commands
from logan_campaign.selection import steps_of


def run(folder: Path, *arguments: str) -> str:
    load_commands()
    done = CliRunner().invoke(app, ["init", str(folder / "mine.yaml"), *arguments])
    return "" if done.exit_code == 0 else str(done.exception or done.output)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    slab = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    slab.info.clear()
    write(tmp_path / "slab.extxyz", slab)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "kind", "level"),
    [
        ("--kind cluster --formula Cu13", "cluster", "emt"),
        ("--kind cluster --formula H12O6", "cluster", "xtb"),
        ("--kind cluster --formula Ar4 --charge 1", "cluster", "xtb"),
        ("--formula CH3 --multiplicity 2", "molecule", "xtb"),
        ("--formula H3O --charge 1", "molecule", "xtb"),
        ("--kind slab --like SLAB --formula CO", "crystal", "emt"),
        ("--kind slab --like SLAB --formula Cu", "crystal", "emt"),
    ],
)
def test_a_spec_of_any_kind_is_valid(folder: Path, arguments: str, kind: str, level: str) -> None:
    words = arguments.replace("SLAB", str(folder / "slab.extxyz")).split()
    assert run(folder, *words) == ""
    spec = (
        CampaignSpec.from_file(folder / "mine.yaml")
        if "fill in" not in (text := (folder / "mine.yaml").read_text())
        else None
    )
    if spec is None:  # the training set is left to the user
        (folder / "mine.yaml").write_text(text.replace("fill in: ", "other "))
        spec = CampaignSpec.from_file(folder / "mine.yaml")
    assert (spec.target.kind, spec.relax.levels[0].name) == (kind, level)
    target = spec.target.resolve(folder)
    assert len(target.given) == (8 if "slab" in arguments else 0)
    assert target.charge == spec.target.charge


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--kind slab --formula O", "a slab needs --like FILE"),
        ("--kind slab --like SLAB", "a slab needs --like FILE"),
        ("--formula CH3", "odd number of electrons"),
        ("--formula CH3 --multiplicity 3", "multiplicity 3 is impossible"),
        ("--kind crystal --formula NaCl --charge 1", "are for molecules and clusters"),
    ],
)
def test_what_makes_no_sense_is_refused(folder: Path, arguments: str, message: str) -> None:
    words = arguments.replace("SLAB", str(folder / "slab.extxyz")).split()
    assert message in run(folder, *words)
    assert not (folder / "mine.yaml").exists()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # jobflow's own
@pytest.mark.parametrize("seed", SEEDS)
def test_the_icosahedron_of_copper_is_found_within_20_relaxations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    found = copper(seed)
    assert found["relaxations"] <= 20
    assert found["hits"] >= 1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_an_atom_on_a_surface_is_found_on_its_best_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = adsorbate(0)
    assert found["found_best"]
    assert found["given_atoms_moved_angstrom"] < 1e-6


@pytest.mark.parametrize(
    "arguments",
    ["--formula C3H8O", "--kind crystal --formula TiO2", "--kind cluster --formula Cu5"],
)
def test_a_spec_of_random_structures_has_no_training_set(folder: Path, arguments: str) -> None:
    assert run(folder, "--method", "random", *arguments.split()) == ""
    spec = CampaignSpec.from_file(folder / "mine.yaml")
    assert spec.training is None
    assert not spec.models.trains
    for step in steps_of(spec.select):
        step.check_learning(False, False)  # raises if there is nothing to pick by
