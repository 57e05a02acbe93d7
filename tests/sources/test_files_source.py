"""Structures from files: what is read, what is refused, and in what words."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
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
from rdkit import Chem

from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.geometry.formulas import hill_formula, reduced_formula
from logan_campaign.geometry.structures import formula, from_atoms, structure_id, validate_atoms
from logan_campaign.matching.crystals import CrystalMatcher
from logan_campaign.sources import FilesSource, SourceSpec, readers, set_id
from logan_campaign.sources.base import Collector
from logan_campaign.sources.cif import cif_blocks
from logan_campaign.sources.readers import MAX_LINE_LENGTH, Entry, read_entries

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


@pytest.mark.parametrize("name", ["w.xyz", "c.cif", "POSCAR", "w.sdf", "c.traj"])
def test_compressed_files_and_other_encodings_are_read_as_the_plain_file(
    tmp_path: Path, name: str
) -> None:
    if name == "w.sdf":
        plain = SDF_WATER.encode()
    else:
        atoms = molecule("H2O") if name == "w.xyz" else bulk("NaCl", "rocksalt", a=5.64)
        write(tmp_path / name, atoms)
        plain = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / name).write_bytes(plain)
    ids = {entry.id for entry in load(tmp_path / "plain").entries}
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        (tmp_path / f"{name}{suffix}").write_bytes(pack(plain))
    if name != "c.traj":
        for mark, coding in ((b"\xef\xbb\xbf", "utf-8"), (b"", "utf-16")):
            (tmp_path / coding).mkdir()
            text = plain.decode().replace("\n", "\r\n")
            (tmp_path / coding / name).write_bytes(mark + text.encode(coding))
            assert {entry.id for entry in load(tmp_path / coding).entries} == ids
    loaded = load(tmp_path)
    assert {entry.id for entry in loaded.entries} == ids
    assert (loaded.n_duplicates, loaded.rejected) == (2, [])


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(b"1" * (2**20 + 1)))
    with pytest.raises(InputError, match="larger than 1 MB when unpacked"):
        load(tmp_path / "a.xyz.gz")


CIF = """data_one
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0 1
F1 F 0.5 0.5 0.5 1
"""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("0.5 1\n", "0.5 0.75(2)\n", "disordered sites .* F1 has 0.75"),
        ("0.5 1\n", "0.5 0\n", "disordered sites .* F1 has 0"),
        ("0.5 1\n", "0.5 1\nNa1 Na 0 0 0 1\n", "sites share one place"),
        ("0.5 1\n", "0.5 1\nLi2 Li 0.02 0 0 1\n", "atoms too close"),
        ("F1 F 0.5", "F1 F ?", "site F1 has unknown coordinates"),
        ("F1 F 0.5", "F1 F .", "site F1 has unknown coordinates"),
        ("F1 F 0.5", "F1 F nan", "site F1 has the coordinate 'nan'"),
        ("F1 F ", "F1 '0.5F + 0.5Cl' ", "disordered sites .* F1 is 0.5F"),
        ("F1 F ", "F1 F/Cl ", "disordered sites .* F1 is F/Cl"),
        ("F1 F ", "F1 Qq ", "unknown species Qq of site F1"),
        ("F1 F ", "F1 X ", "unknown species X of site F1"),
        ("_occupancy\n", "_attached_hydrogens\n", "Li1 has 1 hydrogens without coordinates"),
        ("loop_", "_chemical_formula_sum 'Li1 F1 H2 O1'\nloop_", "states Li1 F1 H2 O1 and lists"),
        ("loop_", "_chemical_formula_sum 'Li F'\n_cell_formula_units_Z 4\nloop_", "lists 2 atoms"),
        ("loop_", "_cell_modulation_dimension 1\nloop_", "a modulated structure"),
        ("'P 1'", "'Q 7 q'", "'Q 7 q' is not known"),
        ("_cell_length_a 4", "_cell_length_a 0", ""),
        ("_cell_length_a 4\n", "", "no usable cell"),
    ],
)
def test_a_cif_block_is_complete_and_ordered_or_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    assert old in CIF
    (tmp_path / "a.cif").write_text(CIF + CIF.replace(old, new).replace("one", "two"))
    for reader in ("auto", "pymatgen"):
        loaded = load(tmp_path / "a.cif", reader=reader)
        assert [entry.label for entry in loaded.entries] == ["a.cif#0 (data_one)"]
        (rejected,) = loaded.rejected
        assert rejected.label == "a.cif#1 (data_two)"
        assert re.search(reason, rejected.reason), rejected.reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5 1\n", "0.5 1.00(3)\n"),
        ("0.5 1\n", "0.5 ?\n"),
        ("Li1 Li ", "Li1 Li1+ "),
        ("_atom_site_type_symbol\n", "_atom_site_note\n"),
        ("loop_", "_chemical_formula_sum 'F Li'\nloop_"),
        ("loop_", "_chemical_formula_sum ?\nloop_"),
        ("loop_", "_chemical_formula_sum 'Li F'\n_cell_formula_units_Z 1\nloop_"),
        ("loop_", "_chemical_formula_sum 'Li F'\n_cell_formula_units_Z ?\nloop_"),
    ],
)
def test_what_says_nothing_else_than_the_plain_block_is_read_as_that(
    tmp_path: Path, old: str, new: str
) -> None:
    assert old in CIF
    (tmp_path / "a.cif").write_text(CIF + CIF.replace(old, new).replace("one", "two"))
    loaded = load(tmp_path / "a.cif")
    assert (len(loaded.entries), loaded.n_duplicates, loaded.rejected) == (1, 1, [])


def _molfile(atoms: list[tuple[str, float, float, float]], bonds: int, end: str = "") -> str:
    lines = [
        "",
        "     test          3D",
        "",
        f"{len(atoms):3d}{bonds:3d}  0  0  0  0            999 V2000",
    ]
    lines += [f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0" for symbol, x, y, z in atoms]
    lines += [f"  1{n:3d}  1  0" for n in range(2, bonds + 2)]
    return "\n".join([*lines, *([end] if end else []), "M  END", "$$$$", ""])


_WATER = [("O", 0, 0, 0.119), ("H", 0, 0.763, -0.477), ("H", 0, -0.763, -0.477)]
_AMMONIUM = [("N", 0, 0, 0)] + [
    ("H", 0.6 * x, 0.6 * y, 0.6 * x * y) for x in (1, -1) for y in (1, -1)
]
SDF_WATER = _molfile(_WATER, 2)


def test_all_records_of_an_sd_file_are_read_or_refused_with_their_reason(tmp_path: Path) -> None:
    hydrogen_sulfide = _molfile([("S", 0, 0, 0.1), ("H", 0, 0.96, -0.8), ("H", 0, -0.96, -0.8)], 2)
    drawn = SDF_WATER.replace("3D", "2D")
    records = {
        SDF_WATER: "",
        _molfile(_WATER[:1], 0): "2 hydrogens are implied",
        _molfile(_AMMONIUM, 4, "M  CHG  1   1   1"): r"charge \+1: only neutral",
        _molfile([("O", 0, 0, 0), ("H", 0, 0, 0.97)], 1, "M  RAD  1   1   2"): "a radical",
        _molfile([("R#", 0, 0, 0), ("H", 0, 0, 0.97)], 1): "query atoms",
        drawn: "a drawing",
        SDF_WATER[:120] + "\n$$$$\n": "not a readable molfile",
        hydrogen_sulfide: "",
        SDF_WATER.replace("O  ", "Qq ", 1): "",
    }
    (tmp_path / "a.sdf").write_text("".join(records))
    loaded = load(tmp_path / "a.sdf")
    assert [entry.formula for entry in loaded.entries] == ["H2O", "H2S"]
    assert [item.label for item in loaded.rejected] == [f"a.sdf#{n}" for n in (1, 2, 3, 4, 5, 6, 8)]
    for found, reason in zip(loaded.rejected, filter(None, records.values()), strict=False):
        assert re.search(reason, found.reason)


def test_isotopes_and_v3000_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.sdf").write_text(SDF_WATER + _molfile(_WATER, 2, "M  ISO  1   2   2"))
    assert load(tmp_path / "a.sdf").n_duplicates == 1
    mol = Chem.MolFromMolBlock(SDF_WATER, removeHs=False)
    (tmp_path / "b.mol").write_text(Chem.MolToV3KMolBlock(mol))
    assert load(tmp_path / "b.mol").entries[0].formula == "H2O"


def _pdb(occupancy: float, alternate: str = " ") -> str:
    atom = "HETATM    {} {}{}HOH A   1    {:8.3f}{:8.3f}{:8.3f}{:6.2f}  0.00          {:>2}\n"
    rows = [
        atom.format(n, f" {symbol}{n} ", alternate if n == 3 else " ", x, y, z, value, symbol)
        for (n, (symbol, x, y, z)), value in zip(
            enumerate(_WATER, 1), (1.0, 1.0, occupancy), strict=True
        )
    ]
    return "".join(rows) + "END\n"


def test_pdb_files_with_half_atoms_are_refused(tmp_path: Path) -> None:
    (tmp_path / "whole.pdb").write_text(_pdb(1.0))
    (tmp_path / "half.pdb").write_text(_pdb(0.5))
    (tmp_path / "two.pdb").write_text(_pdb(1.0, "B"))
    loaded = load(tmp_path)
    assert [entry.formula for entry in loaded.entries] == ["H2O"]
    assert {item.label for item in loaded.rejected} == {"half.pdb#0", "two.pdb"}
    assert all("disordered" in item.reason for item in loaded.rejected)


def test_energies_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    for value in ("nan", "inf", "-inf"):
        (tmp_path / "a.extxyz").write_text(WATER.replace("water", f"energy={value}"))
        assert load(tmp_path / "a.extxyz").entries[0].energy_ev is None


def test_pymatgens_json_of_molecules_is_read_and_its_xyz_reader_takes_no_cell(
    tmp_path: Path, ethanol: Atoms
) -> None:
    from_atoms(ethanol).to(str(tmp_path / "m.json"))
    assert load(tmp_path / "m.json", reader="pymatgen").entries[0].smiles == "CCO"
    write(tmp_path / "c.extxyz", bulk("NaCl", "rocksalt", a=5.64))
    with pytest.raises(InputError, match="reads no cell"):
        load(tmp_path / "c.extxyz", reader="pymatgen")


def test_each_item_of_a_json_list_is_kept_or_refused_with_its_reason(tmp_path: Path) -> None:
    water = from_atoms(molecule("H2O")).as_dict()
    items = [water, {**water, "charge": 1}, {"sites": 3}, 7, None]
    (tmp_path / "w.json").write_text(json.dumps(items))
    loaded = load(tmp_path / "w.json", reader="pymatgen")
    assert [entry.label for entry in loaded.entries] == ["w.json#0"]
    reasons = [item.reason for item in loaded.rejected]
    assert [item.label for item in loaded.rejected] == [f"w.json#{n}" for n in (1, 2, 3, 4)]
    assert "charge +1" in reasons[0]
    (tmp_path / "w.json").write_text("[]")
    with pytest.raises(InputError, match="holds no structure"):
        load(tmp_path / "w.json", reader="pymatgen")


def test_models_of_a_pdb_file_are_read_and_ions_refused(tmp_path: Path) -> None:
    line = "{:6s}{:5d}  {:3s} HOH A   1    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          {:>2s}{}\n"
    water = molecule("H2O")
    atoms = [
        line.format("ATOM", n, symbol, *xyz, symbol, "")
        for n, (symbol, xyz) in enumerate(zip(water.symbols, water.positions, strict=True), 1)
    ]
    text = "".join(atoms)
    (tmp_path / "w.pdb").write_text(f"MODEL        1\n{text}ENDMDL\nEND\n")
    loaded = load(tmp_path / "w.pdb")
    assert ([e.formula for e in loaded.entries], loaded.rejected) == (["H2O"], [])
    (tmp_path / "w.pdb").write_text(text.replace(" O\n", " O1-\n", 1) + "END\n")
    with pytest.raises(InputError, match="atom O has the charge 1-"):
        load(tmp_path / "w.pdb")


def test_a_poscar_has_as_many_positions_as_it_announces(tmp_path: Path) -> None:
    text = "x\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"
    (tmp_path / "POSCAR").write_text(text + "\n0 0 0\n0 0 0\n")  # velocities
    assert [e.formula for e in load(tmp_path / "POSCAR").entries] == ["ClNa"]
    (tmp_path / "POSCAR").write_text(text + ".1 .2 .3\n")
    with pytest.raises(InputError, match="more positions follow than the 2 announced"):
        load(tmp_path / "POSCAR")


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


@needs_shared
@pytest.mark.parametrize("share", [50, pytest.param(1, marks=pytest.mark.long)])
def test_crystals_in_the_wild_have_the_composition_that_their_files_state(share: int) -> None:
    paths = sorted((SHARED / "mp_sample").rglob("*.cif"))[::share]
    assert len(paths) > 10
    refused = []
    for path in paths:
        (entry,) = read_entries(path)
        if isinstance(entry.structure, StructureError):
            refused.append((path.name, str(entry.structure)))
            continue
        stated = re.search(r"_chemical_formula_sum\s+'?([^'\n]+)", path.read_text())
        assert stated is not None
        assert reduced_formula(formula(entry.structure)) == reduced_formula(
            hill_formula(stated.group(1).replace(" ", ""))
        )
        text = path.read_text()
        for row in re.findall(r"^ +[A-Z][a-z]? +\S+ +\d+ +\S+ +\S+ +\S+ +1$", text, re.MULTILINE)[
            :1
        ]:
            fields = row.split()
            half = row[: row.rindex("1")] + "0.5"
            shifted = [*fields]
            shifted[1], shifted[3] = "Zz1", f"{float(fields[3]) + 0.01:.6f}"
            for spoilt in (
                half,
                f"{half}\n{half}",
                row.replace(fields[0], "X", 1),
                f"{row}\n{' '.join(shifted)}",
            ):
                collector = Collector()
                (tmp,) = _read_text(text.replace(row, spoilt))
                if not isinstance(tmp.structure, StructureError):
                    collector.add(tmp.structure, path.name)
                    assert collector.result.rejected, (path.name, spoilt)
    assert len(refused) <= 0.001 * len(paths), refused


def _read_text(text: str) -> list[Entry]:
    return [Entry(*block) for block in cif_blocks(text)]


WATER = "3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


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
