"""Structures from files: what is read, what is refused, and in what words."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pymatgen.core import Lattice, Structure
from reading_tools import SHARED, WATER, load, needs_shared

from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.geometry.structures import formula, from_atoms, structure_id, validate_atoms
from logan_campaign.matching.crystals import CrystalMatcher
from logan_campaign.sources import FilesSource, SourceSpec, readers, set_id
from logan_campaign.sources.base import Collector
from logan_campaign.sources.readers import MAX_LINE_LENGTH


def test_every_frame_becomes_a_labelled_entry(tmp_path: Path, ethanol: Atoms) -> None:
    write(tmp_path / "two.extxyz", [ethanol, molecule("CH3OCH3")])
    loaded = load(tmp_path / "two.extxyz")
    assert [entry.label for entry in loaded.entries] == ["two.extxyz#0", "two.extxyz#1"]
    assert [entry.smiles for entry in loaded.entries] == ["CCO", "COC"]
    assert loaded.kind == "molecule"
    assert loaded.formulas == {"C2H6O": 2}
    assert loaded.species == ["H", "C", "O"]
    assert loaded.entries[0].id == structure_id(ethanol)


@pytest.mark.parametrize("name", ["c.cif", "POSCAR", "c.extxyz", "c.traj"])
def test_crystals_get_their_space_group_in_any_format(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, bulk("NaCl", "rocksalt", a=5.64))
    (entry,) = load(tmp_path / name).entries
    assert (entry.formula, entry.spacegroup, entry.smiles) == ("ClNa", "Fm-3m", None)


def test_energies_of_the_file_are_kept(tmp_path: Path, ethanol: Atoms) -> None:
    ethanol.calc = SinglePointCalculator(ethanol, energy=-1.5, forces=np.zeros((9, 3)))
    write(tmp_path / "e.extxyz", ethanol)
    assert load(tmp_path / "e.extxyz").entries[0].energy_ev == -1.5


def test_comment_lines_of_bare_numbers_and_json_are_no_obstacle(tmp_path: Path) -> None:
    def text(comment: str) -> str:
        return f"3\n{comment}\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"

    qm9 = 'Properties=species:S:1:pos:R:3 gdb 1695 3.71059 -0.2475 pbc="F F F"'
    occupied = 'Properties=species:S:1:pos:R:3 occupancy="_JSON {\\"0\\": {\\"O\\": 1}}"'
    (tmp_path / "qm9.extxyz").write_text(text(qm9))
    (tmp_path / "json.extxyz").write_text(text(occupied))
    ids = {load(tmp_path / f"{name}.extxyz").entries[0].id for name in ("qm9", "json")}
    assert len(ids) == 1


def test_relative_paths_start_from_the_base(tmp_path: Path, ethanol: Atoms) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "a.xyz", ethanol)
    assert len(load("data/a.xyz", base=tmp_path).entries) == 1
    assert len(load("data/*.xyz", base=tmp_path).entries) == 1
    assert len(load("data", base=tmp_path).entries) == 1


def test_names_with_special_characters_are_names(tmp_path: Path, ethanol: Atoms) -> None:
    for name in ("a[1].xyz", "a@2.xyz"):
        write(str(tmp_path / "plain.xyz"), ethanol)
        (tmp_path / "plain.xyz").rename(tmp_path / name)
        assert len(load(tmp_path / name).entries) == 1


def test_a_folder_gives_its_structure_files_and_counts_the_others(
    tmp_path: Path, ethanol: Atoms
) -> None:
    write(tmp_path / "b.xyz", molecule("CH3OCH3"))
    write(tmp_path / "a.xyz", ethanol)
    (tmp_path / "README.md").write_text("about")
    (tmp_path / ".hidden.xyz").write_text("junk")
    loaded = load(tmp_path)
    assert [entry.label for entry in loaded.entries] == ["a.xyz#0", "b.xyz#0"]
    assert [item.label for item in loaded.rejected] == ["README.md"]


def test_copies_are_counted_once(tmp_path: Path, ethanol: Atoms) -> None:
    write(tmp_path / "a.xyz", [ethanol, ethanol, molecule("H2O")])
    loaded = load(tmp_path / "a.xyz")
    assert (len(loaded.entries), loaded.n_duplicates) == (2, 1)
    twice = FilesSource(path=[str(tmp_path / "a.xyz"), str(tmp_path / "*.xyz")]).load()
    assert (len(twice.entries), twice.n_duplicates) == (2, 1)


def test_set_id_is_that_of_the_structures_in_any_order(tmp_path: Path, ethanol: Atoms) -> None:
    write(tmp_path / "a.xyz", [ethanol, molecule("H2O")])
    write(tmp_path / "b.xyz", [molecule("H2O"), ethanol, ethanol])
    write(tmp_path / "c.xyz", [ethanol])
    ids = [set_id(load(tmp_path / name).entries) for name in ("a.xyz", "b.xyz", "c.xyz")]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("set-")


def test_invalid_structures_are_rejected_one_by_one(tmp_path: Path, ethanol: Atoms) -> None:
    collided = ethanol.copy()
    collided.positions[1] = collided.positions[0] + [0, 0, 0.1]
    write(tmp_path / "a.xyz", [ethanol, collided, molecule("H2O")])
    loaded = load(tmp_path / "a.xyz")
    assert len(loaded.entries) == 2
    assert [item.label for item in loaded.rejected] == ["a.xyz#1"]
    assert "too close" in loaded.rejected[0].reason


@pytest.mark.parametrize("name", ["c.cif", "POSCAR", "c.json", "m.xyz"])
def test_pymatgen_reads_what_it_writes(tmp_path: Path, name: str, ethanol: Atoms) -> None:
    atoms = ethanol if name == "m.xyz" else bulk("NaCl", "rocksalt", a=5.64)
    structure = from_atoms(atoms)
    structure.to(str(tmp_path / name))
    (entry,) = load(tmp_path / name, reader="pymatgen").entries
    assert entry.formula == formula(atoms)
    assert entry.label == f"{name}#0"


def test_pymatgen_says_of_partly_occupied_sites_that_they_are(tmp_path: Path) -> None:
    mixed = Structure(Lattice.cubic(4.2), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5] * 3])
    mixed.to(str(tmp_path / "a.cif"))
    from_atoms(bulk("NaCl", "rocksalt", a=5.64)).to(str(tmp_path / "b.cif"))
    loaded = load(tmp_path, reader="pymatgen")
    assert [entry.label for entry in loaded.entries] == ["b.cif#0"]
    (rejected,) = loaded.rejected
    assert rejected.label == "a.cif#0"
    (tmp_path / "a.cif").write_text("junk")
    with pytest.raises(InputError, match="no data block lists atoms"):
        load(tmp_path / "a.cif", reader="pymatgen")


def test_formulas_select(tmp_path: Path, ethanol: Atoms) -> None:
    write(tmp_path / "a.xyz", [ethanol, molecule("H2O"), molecule("CH3OCH3")])
    assert len(load(tmp_path / "a.xyz", formulas=["C2H6O"]).entries) == 2
    with pytest.raises(InputError, match=r"empty: .*3 of other compositions than CH4"):
        load(tmp_path / "a.xyz", formulas=["CH4"])
    # a crystal's formula does not depend on how many units its cell holds
    write(tmp_path / "s.extxyz", bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    assert len(load(tmp_path / "s.extxyz", formulas=["NaCl"]).entries) == 1


def test_a_kind_can_be_imposed(tmp_path: Path) -> None:
    write(tmp_path / "boxed.extxyz", Atoms("H2", [[1, 1, 1], [1, 1, 1.74]], cell=[5] * 3, pbc=1))
    assert load(tmp_path / "boxed.extxyz").kind == "crystal"
    assert load(tmp_path / "boxed.extxyz", kind="molecule").kind == "molecule"
    write(tmp_path / "free.xyz", molecule("H2"))
    with pytest.raises(InputError, match="has no cell: not a crystal"):
        load(tmp_path / "free.xyz", kind="crystal")


def test_molecules_and_crystals_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path / "mixed.extxyz", [molecule("H2O"), bulk("Cu")])
    with pytest.raises(InputError, match=r"mixed.extxyz#1 is a crystal but .* a set holds one"):
        load(tmp_path / "mixed.extxyz")


def test_a_frame_that_cannot_be_read_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    bad = {
        WATER.replace("O 0", "Qq 0"): "unknown species 'Qq'",
        WATER.replace("0.96", "abc"): "atom 1 has the coordinate 'abc'",
        "2\n\nH 0 0 0\nH 0 0 0.1\n": "atoms too close",
    }
    for text, reason in bad.items():
        (tmp_path / "a.xyz").write_text(WATER + text + WATER.replace("O", "S"))
        for reader in ("auto", "pymatgen"):
            loaded = load(tmp_path / "a.xyz", reader=reader)
            assert [entry.label for entry in loaded.entries] == ["a.xyz#0", "a.xyz#2"]
            (rejected,) = loaded.rejected
            assert rejected.label == "a.xyz#1"
            if reader == "auto":
                assert reason in rejected.reason


def test_what_follows_a_gap_is_said_to_be_lost(tmp_path: Path) -> None:
    for gap, reason in {
        "\n": "empty line 6 where the number of atoms should be, but more follows in line 7",
        "junk\n": "line 6 should be the number of atoms, not 'junk'",
    }.items():
        (tmp_path / "a.xyz").write_text(WATER + gap + WATER)
        loaded = load(tmp_path / "a.xyz")
        assert len(loaded.entries) == 1
        assert [item.reason for item in loaded.rejected] == [reason]


def test_a_bad_file_costs_a_folder_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "a.cif", bulk("NaCl", "rocksalt", a=5.64))
    (tmp_path / "b.cif").write_text("data_b\nloop_\n_atom_site_label\nNa1\n")
    (tmp_path / "c.xyz").write_bytes(b"\xff\x00")
    (tmp_path / "d.vasp.gz").write_bytes(gzip.compress(b"cut")[:-4])
    write(tmp_path / "e.vasp", bulk("MgO", "rocksalt", a=4.21))
    loaded = load(tmp_path)
    assert [entry.formula for entry in loaded.entries] == ["ClNa", "MgO"]
    assert [item.label.partition("#")[0] for item in loaded.rejected] == [
        *("b.cif", "c.xyz", "d.vasp.gz")
    ]


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(b"1" * (2**20 + 1)))
    with pytest.raises(InputError, match="larger than 1 MB when unpacked"):
        load(tmp_path / "a.xyz.gz")


def test_an_endless_line_costs_its_frame_alone(tmp_path: Path) -> None:
    hydrogen = "2\n{}\nH 0 0 0\nH 0 0 0.74\n"
    text = hydrogen.format("a" * (MAX_LINE_LENGTH + 1)) + hydrogen.format("short")
    (tmp_path / "h.xyz").write_text(text)
    loaded = load(tmp_path / "h.xyz")
    assert [entry.label for entry in loaded.entries] == ["h.xyz#1"]
    assert "line 2 is longer" in loaded.rejected[0].reason


def test_crystals_of_too_many_atoms_are_refused() -> None:
    with pytest.raises(StructureError, match="more than 10000"):
        validate_atoms(Atoms("Ne10001", cell=[100, 100, 100], pbc=True))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-60, 60), min_size=3, max_size=3))
def test_one_lattice_is_one_crystal_whichever_cell_is_given(shear: list[int]) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    lower = np.array([[1, 0, 0], [shear[0], 1, 0], [shear[1], shear[2], 1]])
    leaning = Atoms(atoms.numbers, atoms.positions, cell=lower @ atoms.cell.array, pbc=True)
    collector = Collector()
    collector.add(leaning, "leaning")
    (entry,) = collector.result.entries
    assert entry.spacegroup == "Fm-3m"
    assert max(entry.structure.lattice.abc) <= 2.0 * 5.64
    assert CrystalMatcher("strict").same(from_atoms(leaning), from_atoms(atoms))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", "", "file is empty"),
        ("a.xyz", WATER.replace("0.96", "abc"), "a.xyz#0: atom 1 has the coordinate 'abc'"),
        ("a.xyz", WATER.replace("O 0", "Qq 0"), "a.xyz#0: unknown species 'Qq'"),
        ("a.xyz", "junk\n", "line 1 should be the number of atoms, not 'junk'"),
        ("a.xyz", "-3\n\n", "line 1 should be the number of atoms, not '-3'"),
        ("a.xyz", WATER[:-15], "file ends after 2 of 3 atoms"),
        ("a.xyz", b"\x00\xff\xfe" * 50, "not a text file"),
        ("a.xyz.gz", b"\x1f\x8bjunk", "the compressed file is damaged or ends early"),
        ("a.xyz", WATER.replace("O 0", "O nan"), "positions are not finite"),
        ("a.extxyz", WATER.replace("water", "charge=1"), r"charge \+1: only neutral"),
        (
            "a.extxyz",
            WATER.replace("water", "Properties=species:S:1:pos:R:3:forces:R:3"),
            "columns",
        ),
        ("a.xyz", "1\n\nO 0 0\n", "atom 0 has 3 columns, needed are 4"),
        ("a.xyz", WATER.replace("3\n", "2\n").rsplit("H", 1)[0], "odd number of electrons"),
        ("a.cif", "hello", "not a CIF"),
        ("a.unknown", "hello", "no file format"),
        ("a.mol2", "@<TRIPOS>MOLECULE\n", "no file format that ASE knows; set 'format'"),
        ("a.json", "{", "give the reader 'pymatgen'"),
        ("POSCAR", "x\n1\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1 1\nDirect\n0 0 0\n", "1 of 2 atoms"),
        ("POSCAR", "x\n1\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1\nDirect\n0 0 0\n", "2 species"),
    ],
)
def test_a_malformed_file_is_named_with_the_frame(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file or folder: .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no file matches .*\*\.cif"):
        load(tmp_path / "*.cif")
    with pytest.raises(InputError, match="no structure files in folder"):
        load(tmp_path)


def test_a_set_without_usable_structures_is_empty(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]))
    with pytest.raises(InputError, match=r"training set is empty: .*1 rejected \(a.xyz#0: atoms"):
        load(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    "settings",
    [{"path": ""}, {"path": []}, {"path": "a", "formulas": ["Xx2"]}, {"path": "a", "pth": 1}, {}],
)
def test_a_misspelt_section_is_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SourceSpec).validate_python({"type": "files", **settings})


def test_the_query_is_json(tmp_path: Path) -> None:
    source = FilesSource(path="a.xyz", formulas=["SiO2"])
    text = json.dumps(source.model_dump(mode="json"))
    assert TypeAdapter(SourceSpec).validate_json(text) == source


@needs_shared
def test_the_molecules_of_the_paper_are_39_and_14() -> None:
    training = load("c5h12o/training_C4H10O_C6H14O.extxyz", base=SHARED)
    targets = load("c5h12o/targets_C5H12O.extxyz", base=SHARED)
    assert training.formulas == {"C4H10O": 7, "C6H14O": 32}
    assert len({entry.smiles for entry in training.entries}) == 39
    listed = (SHARED / "c5h12o/targets_C5H12O.smi").read_text().split()
    assert sorted(str(entry.smiles) for entry in targets.entries) == sorted(listed)
    chosen = load("c5h12o", base=SHARED, formulas=["C4H10O", "C6H14O"])
    assert set_id(chosen.entries) == set_id(training.entries)


@needs_shared
def test_the_crystals_of_the_paper_are_168() -> None:
    loaded = load("sio2/*_training.extxyz", base=SHARED)
    assert (len(loaded.entries), loaded.n_duplicates, loaded.rejected) == (168, 3 * 167 - 168, [])
    target = load("sio2/mp-546794_target.extxyz", base=SHARED).entries[0]
    assert target.energy_ev == pytest.approx(-44.495123, abs=1e-6)


def test_a_zip_archive_is_read_like_a_folder_and_spoilt_files_cost_nothing_else(
    tmp_path: Path,
) -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64)
    write(tmp_path / "salt.cif", salt)
    write(tmp_path / "salt.res", salt)
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.write(tmp_path / "salt.cif", "cifs/gen_0.cif")
        archive.write(tmp_path / "salt.res", "gen_1.res")
        archive.writestr("cifs/gen_2.cif", "data_x\nloop_")
        archive.writestr("../../outside.cif", (tmp_path / "salt.cif").read_text())
        archive.writestr("readme.txt", "made by hand")
    loaded = load(tmp_path / "made.zip")
    assert [entry.spacegroup for entry in loaded.entries] == ["Fm-3m"] * len(loaded.entries)
    labels = [record.label for record in loaded.records if record.state != "rejected"]
    assert "outside.cif" in labels[0]
    assert any("gen_1.res" in label for label in labels)
    assert {r.label.rpartition("/")[2].partition("#")[0] for r in loaded.rejected} == {
        "gen_2.cif", "readme.txt",
    }  # fmt: skip
    assert not (tmp_path.parent.parent / "outside.cif").exists()
    content = (tmp_path / "made.zip").read_bytes()
    (tmp_path / "made.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="the zip archive is damaged"):
        load(tmp_path / "made.zip")
