"""Structures from files: what is read, what is refused, and in what words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pydantic import TypeAdapter, ValidationError
from pymatgen.core import Lattice, Structure

from logan_campaign.errors import InputError
from logan_campaign.sources import FilesSource, SourceSpec, set_id
from logan_campaign.structures import formula, from_atoms, structure_id

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the reference data beside the checkout are absent"
)


@pytest.fixture
def ethanol() -> Atoms:
    return molecule("CH3CH2OH")


def load(path: Path | str, base: Path | None = None, **settings: object):
    source = TypeAdapter(SourceSpec).validate_python(
        {"type": "files", "path": str(path), **settings}
    )
    return source.load(base)


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
    with pytest.raises(InputError, match="pymatgen cannot read"):
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
    with pytest.raises(InputError, match="frame 0 has no cell"):
        load(tmp_path / "free.xyz", kind="crystal")


def test_molecules_and_crystals_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path / "mixed.extxyz", [molecule("H2O"), bulk("Cu")])
    with pytest.raises(InputError, match=r"mixed.extxyz#1 is a crystal but .* a set holds one"):
        load(tmp_path / "mixed.extxyz")


WATER = "3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", "", "file is empty"),
        ("a.xyz", WATER + WATER.replace("0.96", "abc"), "frame 1: could not convert"),
        ("a.xyz", WATER + WATER.replace("O 0", "Qq 0"), "frame 1: unknown species or name 'Qq'"),
        ("a.xyz", WATER + "junk\n", "frame 1: line 6 should be the number of atoms, not 'junk'"),
        ("a.xyz", WATER + WATER[:-15], "frame 1: file ends after 2 of 3 atoms"),
        ("a.xyz", WATER + "\n" + WATER, "frame 1: empty line 6 .* more follows in line 7"),
        ("a.xyz", b"\x00\xff\xfe" * 50, "not a text file"),
        ("a.cif", "hello", "a.cif: "),
        ("a.unknown", "hello", "no file format"),
        ("a.json", "{", "a.json: frame 0"),
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
