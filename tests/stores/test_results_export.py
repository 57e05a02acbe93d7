"""What is written for other programs can be read by them, and says the same."""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pytest
import yaml
from ase.io import read as read_atoms
from jobflow import JobStore
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from rdkit import Chem

from logan_campaign.cli import main
from logan_campaign.core.documents import Document, ModelDoc
from logan_campaign.core.errors import InputError
from logan_campaign.results import Campaign, export
from logan_campaign.results.crate import write_crate
from logan_campaign.results.formats import EXPORTS
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store
from logan_campaign.stores.records import CandidateRecord

from .made_up import MadeUpCampaign, MadeUpCrystals

Command = Callable[..., tuple[int, str, str]]


class Weighed(MadeUpCampaign):
    """With weights that are base64 text."""

    def models(self) -> list[Document]:
        found = [model for model in super().models() if isinstance(model, ModelDoc)]
        return [model.model_copy(update={"weights": "AAAA"}) for model in found]


def build(campaign: MadeUpCampaign, folder: Path) -> Path:
    with open_store(folder, create=True) as stores:
        campaign.store(JobStore(stores.docs, {"data": stores.data}))
        CampaignBuilder.from_stores(stores).build()
    return folder


@pytest.fixture(scope="module")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Weighed(), tmp_path_factory.mktemp("molecules"))


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    class Crystals(MadeUpCrystals):
        def campaign(self) -> list[Document]:
            (found,) = super().campaign()
            return [found.model_copy(update={"kind": "crystal", "formula": "O2Si"})]

    return build(Crystals(), tmp_path_factory.mktemp("crystals"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["logan-campaign", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_an_unknown_format_is_refused_with_those_that_there_are(
    molecules: Path, command: Command, tmp_path: Path
) -> None:
    code, _, said = command("export", molecules, tmp_path / "a", "--format", "docx")
    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert "no format is called 'docx': use extxyz or cif" in said


def read_back(path: Path, fmt: str) -> list[tuple[str, np.ndarray, float | None]]:
    """Return id, positions and energy of what a file in some format holds."""
    if fmt == "extxyz":
        images = read_atoms(path, ":")
        return [(a.info["id"], a.positions, a.calc and a.get_potential_energy()) for a in images]
    if fmt == "ase.db":
        with ase.db.connect(path) as database:
            rows = list(database.select())
        return [(row.candidate, row.positions, row.get("energy")) for row in rows]
    if fmt == "sdf":
        found = Chem.SDMolSupplier(str(path), removeHs=False, sanitize=False)
        return [
            (m.GetProp("id"), m.GetConformer().GetPositions(), _energy(m.GetPropsAsDict()))
            for m in found
        ]
    if fmt == "optimade":
        head, info, *entries = map(json.loads, path.read_text().splitlines())
        assert "x-optimade" in head
        assert info["type"] == "info"
        return [
            (
                e["id"],
                np.array(e["attributes"]["cartesian_site_positions"]),
                e["attributes"]["_logan_energy_ev"],
            )
            for e in entries
        ]
    text = path.read_text()
    documents = json.loads(text) if fmt == "json" else map(json.loads, text.splitlines())
    return [
        (d["id"], MontyDecoder().process_decoded(d["structure"]).cart_coords, _energy(d))
        for d in documents
    ]


def _energy(properties: dict[str, Any]) -> float | None:
    return properties.get("energy_ev")


@pytest.mark.parametrize("fmt", ["extxyz", "ase.db", "sdf", "optimade", "json", "jsonl"])
@pytest.mark.parametrize("raw", [False, True])
def test_files_hold_the_structures_and_energies_of_the_records(
    molecules: Path, tmp_path: Path, fmt: Any, raw: bool
) -> None:
    path = tmp_path / f"out{EXPORTS.get(fmt).suffixes[0]}"
    assert export.format_of(path) == fmt
    with Campaign.open(molecules) as campaign:
        query = campaign.candidates(state=["new", "rediscovered"])
        if raw and fmt == "optimade":
            with pytest.raises(InputError, match="as relaxed"):
                export.write(query, path, fmt, raw)
            return
        assert export.write(query, path, fmt, raw) == 2
        records = list(query)
    found = read_back(path, fmt)
    assert [identity for identity, _, _ in found] == [record.id for record in records]
    for record, (_, positions, energy) in zip(records, found, strict=True):
        structure = record.raw_structure if raw else record.structure
        assert structure is not None
        assert np.allclose(positions, structure.cart_coords, atol=1e-4)
        assert energy == (None if raw else record.energy_ev)
    assert list(tmp_path.iterdir()) == [path]  # nothing is left beside it


def test_an_sdf_has_the_bonds_of_the_molecule(molecules: Path) -> None:
    with Campaign.open(molecules) as campaign:
        text = export.text(campaign.candidates(state="new"), "sdf")
    (molecule,) = Chem.ForwardSDMolSupplier(BytesIO(text.encode()))
    assert Chem.MolToSmiles(molecule) == "O"


@pytest.mark.parametrize("fmt", ["cif", "poscar"])
def test_crystals_are_written_to_a_file_or_a_folder(
    crystals: Path, tmp_path: Path, fmt: Any
) -> None:
    suffix = EXPORTS.get(fmt).suffixes[0]
    with Campaign.open(crystals) as campaign:
        query = campaign.candidates(state=["new", "rediscovered"])
        assert export.write(query, tmp_path / "folder", fmt) == 2
        for record in query:
            text = (tmp_path / "folder" / f"{record.id}{suffix}").read_text()
            assert record.id in text
            found = Structure.from_str(text, fmt=fmt)
            assert record.structure is not None
            assert found.lattice.volume == pytest.approx(record.structure.volume, rel=1e-4)
            assert found.composition == record.structure.composition
        assert export.write(query, tmp_path / f"all{suffix}", fmt) == 2
    if fmt == "cif":
        assert len(read_atoms(tmp_path / "all.cif", ":")) == 2


def test_formats_for_the_other_kind_are_refused(
    molecules: Path, crystals: Path, command: Command, tmp_path: Path
) -> None:
    for place, name in ((molecules, "a.cif"), (molecules, "a.vasp"), (crystals, "a.sdf")):
        code, _, said = command("export", place, tmp_path / name)
        assert (code, len(said.strip().splitlines())) == (2, 1)
        assert "choose one of extxyz" in said
    code, _, said = command("export", molecules, tmp_path / "a.docx")
    assert (code, "cannot tell the format" in said) == (2, True)
    code, _, said = command("export", molecules, tmp_path / "a.campaign.gz", "--raw")
    assert (code, "do not apply" in said) == (2, True)
    assert not any(tmp_path.iterdir())


def test_a_whole_campaign_goes_out_and_in_by_command(
    molecules: Path, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "demo.campaign.gz"
    assert command("export", molecules, path)[0] == 0
    code, told, _ = command("import", path, "--store", tmp_path / "new", "--json")
    assert code == 0
    assert json.loads(told)["name"] == "demo"
    before = json.loads(command("results", molecules, "--json")[1])
    assert json.loads(command("results", tmp_path / "new", "--json")[1]) == before
    code, _, said = command("import", path, "--store", tmp_path / "new")
    assert (code, "already" in said) == (2, True)
    path.write_bytes(path.read_bytes()[:-30])
    assert command("import", path, "--store", tmp_path / "other")[0] == 2
    assert not (tmp_path / "other").exists()


def test_results_are_narrowed_sorted_and_paged_by_command(
    molecules: Path, command: Command
) -> None:
    def ids(*options: object) -> str:
        code, told, said = command("results", molecules, "--json", *options)
        assert code == 0, said
        return "".join(record["id"][-1] for record in json.loads(told))

    assert ids() == "215340"
    assert ids("--limit", 2, "--page", 2) == "53"
    assert ids("--page", 2) == ""
    assert ids("--sort", "order", "--descending") == "543210"
    assert ids("--sort", "energy", "--min-energy", 0.5, "--max-energy", 1.2) == "15"
    assert ids("--model", "model-a1", "--round", 0, "--strategy", "kmeans") == "153"
    assert ids("--max-hull", 1) == ""
    assert "2 of 6 candidates" in command("results", molecules, "--limit", 2)[1]
    code, _, said = command("results", molecules, "--model", "model-z")
    assert (code, len(said.strip().splitlines())) == (2, 1)


def test_a_crate_names_every_file_and_holds_what_repeats_the_campaign(
    molecules: Path, tmp_path: Path
) -> None:
    pytest.importorskip("rocrate", reason="rocrate is not installed")
    from rocrate.rocrate import ROCrate

    with Campaign.open(molecules) as campaign:
        n_files = write_crate(campaign, tmp_path / "crate")
        assert write_crate(campaign, tmp_path / "crate.zip") == n_files
        with pytest.raises(InputError, match="exists: give a new folder"):
            write_crate(campaign, tmp_path / "crate")
        spec = campaign.spec
    folder = tmp_path / "crate"
    metadata = json.loads((folder / "ro-crate-metadata.json").read_text())
    assert metadata["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in metadata["@graph"]}
    root = entities["./"]
    assert all(root[name] for name in ("name", "description", "datePublished", "license"))
    listed = {part["@id"] for part in root["hasPart"]}
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert listed == files - {"ro-crate-metadata.json"}
    assert len(listed) == n_files
    # whatever one entity says of another is there
    for entity in metadata["@graph"]:
        for value in entity.values():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and not item["@id"].startswith("https://w3id.org"):
                    assert item["@id"] in entities
    assert yaml.safe_load((folder / "spec.yaml").read_text()) == spec
    assert "jax==" in (folder / "requirements.txt").read_text()
    assert len(read_atoms(folder / "sets" / "set-training.extxyz", ":")) == 2
    assert (folder / "models" / "model-a0.safetensors").read_bytes() == b"\0\0\0"
    assert len((folder / "results" / "candidates.jsonl").read_text().splitlines()) == 6
    assert ROCrate(str(folder)).name == root["name"]
    with zipfile.ZipFile(tmp_path / "crate.zip") as archive:
        assert set(archive.namelist()) == files


def test_a_symmetrized_cif_has_the_conventional_cell_and_the_right_space_group() -> None:
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    )
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]])
    rng = np.random.default_rng(0)
    for perfect, number, n_atoms in ((rutile, 136, 6), (diamond, 227, 8)):
        given = perfect.get_primitive_structure()
        given.translate_sites(list(range(len(given))), rng.random(3))
        given.perturb(0.005)
        record = CandidateRecord.model_construct(id="cand-x", kind="crystal", structure=given)
        text = EXPORTS.get("cif-symmetrized")().piece(record, raw=False)
        assert text.splitlines()[1].startswith("data_cand-x")
        assert f"_symmetry_Int_Tables_number   {number}" in text
        back = Structure.from_str(text, fmt="cif")
        assert len(back) == n_atoms
        assert SpacegroupAnalyzer(back, 1e-3).get_space_group_number() == number
        assert back.volume == pytest.approx(perfect.volume, rel=1e-2)


def test_a_table_has_a_row_per_candidate_with_its_cell(crystals: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with Campaign.open(crystals) as campaign:
        records = list(campaign.candidates(state=["new", "rediscovered"]))
        export.write(records, path, "csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    for row, record in zip(rows, records, strict=True):
        assert isinstance(record.structure, Structure)
        assert row["id"] == record.id
        assert float(row["energy_ev"]) == record.energy_ev
        assert float(row["volume"]) == pytest.approx(record.structure.volume, abs=1e-5)


def test_candidates_and_materials_are_exported_by_id(
    molecules: Path, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    assert command("export", molecules, path, "--id", "cand-a0", "--id", "cand-a3")[0] == 0
    assert [item["id"] for item in json.loads(path.read_text())] == ["cand-a0", "cand-a3"]
    code, _, said = command("export", molecules, path, "--force", "--id", "a0", "--state", "new")
    assert (code, "not both" in said) == (2, True)
    code, _, said = command("export", molecules, path, "--force", "--id", "set-known")
    assert (code, "set-known is no candidate or material" in said) == (2, True)


@pytest.mark.parametrize(("answer", "overwritten"), [(True, True), (False, False), (None, False)])
def test_nothing_is_overwritten_unasked(
    molecules: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bool | None,
    overwritten: bool,
) -> None:
    path = tmp_path / "out.json"
    path.write_text("mine")
    # without a terminal nobody is asked
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: answer is not None, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, **_: answer)
    code, _, said = command("export", molecules, path)
    assert (path.read_text() != "mine") == overwritten
    assert code == (0 if overwritten else 2)
    assert overwritten or "--force" in said
