"""File formats: what each says, and what is refused of it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from rdkit import Chem
from reading_tools import SHARED, WATER, load, needs_shared

from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.geometry.formulas import hill_formula, reduced_formula
from logan_campaign.geometry.structures import formula, from_atoms
from logan_campaign.sources.base import Collector
from logan_campaign.sources.cif import cif_blocks
from logan_campaign.sources.readers import Entry, read_entries

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
