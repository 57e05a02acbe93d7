"""The README's first run does what the README shows."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from logan_campaign.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def shown(command: str) -> str:
    """Return what the README shows below a command."""
    for block in blocks("console"):
        parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
        for part in parts:
            first, _, rest = part.partition("\n")
            if first == command:
                return rest
    raise AssertionError(f"the README shows no {command!r}")


def rows(table: str) -> list[tuple[str, str, str]]:
    """Return state, SMILES and level of each candidate in a table of results."""
    return [
        (cells[1], cells[2], cells[3])
        for cells in (line.split() for line in table.splitlines())
        if cells and cells[0].startswith("cand-")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's first run was made, with real GFN2-xTB and GPAW."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("XLA_FLAGS", raising=False)  # what is shown was compiled as users do
        patch.setattr(
            sys,
            "argv",
            ["logan-campaign", "run", str(ROOT / "examples/quick.yaml"), "--quiet"],
        )
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return folder


def output(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["logan-campaign", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return capsys.readouterr().out


def test_the_spec_in_the_readme_is_the_one_that_runs() -> None:
    example = yaml.safe_load((ROOT / "examples/quick.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(blocks("yaml")[0]) == example


def test_the_first_run_finds_what_the_readme_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        (state, smiles, level)
        for state, smiles, level in rows(output(folder, capsys, "results", "quick"))
        if state == "rediscovered"
    }
    promised = {
        row for row in rows(shown("logan-campaign results quick")) if row[0] == "rediscovered"
    }
    assert promised == {("rediscovered", "CCO", "lcao"), ("rediscovered", "COC", "lcao")}
    assert found == promised  # ids and counts may differ on another processor, these do not


def test_results_as_json_have_what_scripts_need(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(output(folder, capsys, "results", "quick", "--json"))
    needed = {"id", "state", "formula", "smiles", "level", "energy_ev"}
    assert found
    assert all(needed <= set(candidate) for candidate in found)


def test_status_says_what_was_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(folder, capsys, "status", "quick")
    assert "found 2 of 2 in alcohols-and-ethers" in text
    status = json.loads(output(folder, capsys, "status", "quick", "--json"))
    assert status["state"] == "finished"
    assert [model["state"] for model in status["models"]] == ["trained"] * 2


def test_the_map_of_the_first_run_is_drawn(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(folder, capsys, "map", "quick", "map.svg")
    picture = (folder / "map.svg").read_text(encoding="utf-8")
    status = json.loads(output(folder, capsys, "status", "quick", "--json"))
    picked = status["selections"][0]["n_candidates"]
    assert "known (2)" in picture
    assert "first principal component" in picture
    assert f"{picked} picked by" in picture
    legends = re.findall(r">(?:picked|found: \w+) \((\d+)\)<", picture)
    assert sum(map(int, legends)) == picked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["logan-campaign", "map", str(folder / "quick"), "map.bmp"])
        with pytest.raises(SystemExit, match="2"):
            main()
    assert "cannot draw map.bmp" in capsys.readouterr().err


def test_every_candidate_has_its_lineage_up_and_down(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for candidate in json.loads(output(folder, capsys, "results", "quick", "--json")):
        tree = json.loads(output(folder, capsys, "lineage", "quick", candidate["id"], "--json"))
        text = json.dumps(tree["edges"])
        assert candidate["model_id"] in text
        assert candidate["training_set_id"] in text
        down = output(folder, capsys, "lineage", "quick", candidate["training_set_id"], "--json")
        assert candidate["id"] in down


def test_an_unknown_id_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["logan-campaign", "show", "quick", "cand-ffff"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["found.extxyz", "found.json"])
def test_exports_can_be_read_back(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    output(folder, capsys, "export", "quick", name)
    path = folder / name
    if name.endswith("json"):
        formulas = {item["formula"] for item in json.loads(path.read_text())}
    else:
        from ase.io import read

        formulas = {atoms.get_chemical_formula() for atoms in read(path, index=":")}
    assert formulas == {"C2H6O"}


def test_running_again_repeats_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = output(folder, capsys, "results", "quick", "--json")
    output(folder, capsys, "run", str(ROOT / "examples/quick.yaml"), "--quiet")
    assert output(folder, capsys, "results", "quick", "--json") == before


def test_another_spec_of_the_same_name_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(
            sys,
            "argv",
            ["logan-campaign", "run", str(ROOT / "examples/quick.yaml"), "--set", "seed=7"],
        )
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    assert "changed: seed" in capsys.readouterr().err
