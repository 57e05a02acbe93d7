"""QM9's raw format, its archive over HTTP, its index."""

from __future__ import annotations

import bz2
import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.units import Hartree
from local_servers import FileServer, status
from pydantic import ValidationError
from qm9_archive import (
    Molecule,
    embed,
    raw_text,
    uncharacterized_text,
    write_archive,
    write_package,
)

from logan_campaign.core.documents import Manifest
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.sources import QM9Source, set_id
from logan_campaign.sources.builtin import alcohols_and_ethers
from logan_campaign.sources.qm9_format import PROPERTIES, parse, summarise
from logan_campaign.sources.transfer import SourceError

ETHANOL = 3  # its number in the archive of these tests, from 1
MALFORMED = 5


@pytest.fixture(scope="session")
def molecules() -> list[Molecule]:
    smiles = ["C", "O", "CCO", "COC", "CC", *alcohols_and_ethers(4), "C=C", "FC", "N#C"]
    found = [embed(text) for text in smiles]
    return [molecule for molecule in found if molecule is not None]


@pytest.fixture(scope="session")
def content(molecules: list[Molecule], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("qm9") / "dsgdb9nsd.xyz.tar.bz2"
    text = raw_text(molecules[MALFORMED - 1], MALFORMED)
    write_archive(path, molecules, malformed={MALFORMED: text.replace("\t", " ", 1)[:60]})
    return path.read_bytes()


@pytest.fixture
def server(content: bytes) -> Iterator[FileServer]:
    listed = uncharacterized_text([ETHANOL]).encode()
    with FileServer({"qm9.tar.bz2": content, "uncharacterized.txt": listed}) as running:
        yield running


def source(server: FileServer, **query: object) -> QM9Source:
    settings = {
        "formulas": ["C4H10O"],
        "url": f"{server.url}/qm9.tar.bz2",
        "uncharacterized": f"{server.url}/uncharacterized.txt",
        **query,
    }
    return QM9Source.model_validate(settings)


def local(tmp_path: Path, content: bytes, **query: object) -> QM9Source:
    (tmp_path / "a.tar.bz2").write_bytes(content)
    settings = {"path": str(tmp_path / "a.tar.bz2"), "keep_uncharacterized": True, **query}
    return QM9Source.model_validate(settings)


def test_every_number_of_the_raw_format_is_read_with_its_unit(molecules: list[Molecule]) -> None:
    text = raw_text(molecules[2], 10, exponents=True)
    found = parse(text)
    raw = np.array([float(word) for word in text.splitlines()[1].split()[2:]])
    assert (found.number, len(found.atoms), found.smiles) == (10, 9, ("CCO", "CCO"))
    assert found.inchi[1] == "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"
    assert list(found.properties) == [name for name, _ in PROPERTIES]
    assert found.properties["u0_ev"] == pytest.approx(raw[10] * Hartree)
    assert found.properties["rotational_constant_a_ghz"] == raw[0]
    assert found.properties["heat_capacity_298k_cal_per_mol_k"] == raw[14]
    assert found.atoms.positions[0, 0] == pytest.approx(1.5e-6)  # written 1.5*^-6
    assert found.charges[0] == pytest.approx(-2.1e-5)
    assert found.frequencies.shape == (21,)
    moved = found.atoms.positions - molecules[2].positions
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-9)
    assert summarise(text) == (10, "C2H6O", 9)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("9\n", "nine\n", "number of atoms"),
        ("9\n", "12\n", "lines"),
        ("gdb 3", "gbd 3", "gdb"),
        ("O\t", "Qq\t", "unknown species Qq"),
        ("\t0.010000", "\t*^", "atom 1"),
        ("\t0.010000", "", "3 numbers"),
        ("\tCCO", "", "names"),
        ("100.0000", "nan", "finite"),
    ],
)
def test_a_malformed_molecule_is_refused_with_the_reason(
    molecules: list[Molecule], old: str, new: str, reason: str
) -> None:
    text = raw_text(molecules[2], 3)
    assert old in text
    with pytest.raises(StructureError, match=reason):
        parse(text.replace(old, new, 1))


def test_formulas_elements_and_sizes_select(tmp_path: Path, content: bytes) -> None:
    def smiles(**query: object) -> set[str | None]:
        return {entry.smiles for entry in local(tmp_path, content, **query).load().entries}

    assert smiles(formulas=["C4H10O"]) == set(alcohols_and_ethers(4))
    assert smiles(formulas=["OC2H6", "CH4"]) == {"CCO", "COC", "C"}
    assert smiles(elements=["C", "H"]) == {"C", "C=C"}
    assert smiles(elements=["C", "H", "O"], n_atoms=(3, 9)) == {"C", "O", "CCO", "COC", "C=C"}
    assert smiles(elements=["F", "C", "H"], n_atoms=(1, 5)) == {"C", "CF"}


def test_a_query_without_conditions_or_with_odd_ones_is_refused() -> None:
    for query in ({}, {"n_atoms": (5, 3)}, {"elements": ["Q"]}, {"sha256": "12"}):
        with pytest.raises(ValidationError):
            QM9Source.model_validate({"formulas": None, **query})


def test_what_the_archive_says_is_kept(tmp_path: Path, content: bytes) -> None:
    loaded = local(tmp_path, content, formulas=["C2H6O"]).load()
    first = loaded.entries[0]
    assert (first.label, first.smiles) == (f"gdb-{ETHANOL}", "CCO")
    assert first.energy_ev == first.properties["u0_ev"]
    assert {"gap_ev", "smiles_gdb", "frequencies_per_cm"} <= set(first.properties)
    assert loaded.origin.checksum == hashlib.sha256(content).hexdigest()
    assert loaded.origin.licence == "CC0 1.0"


def test_what_failed_the_consistency_check_is_left_out_unless_asked_for(
    server: FileServer,
) -> None:
    left_out = source(server, formulas=["C2H6O"]).load()
    kept = source(server, formulas=["C2H6O"], keep_uncharacterized=True).load()
    assert [entry.smiles for entry in left_out.entries] == ["COC"]
    assert [entry.smiles for entry in kept.entries] == ["CCO", "COC"]
    assert "consistency check" in left_out.rejected[-1].reason


def test_a_malformed_molecule_in_the_middle_is_counted_and_the_rest_is_taken(
    server: FileServer,
) -> None:
    loaded = source(server).load()
    assert len(loaded.entries) == 7
    (rejected,) = loaded.rejected
    assert rejected.label == f"dsgdb9nsd_{MALFORMED:06d}.xyz"
    assert "lines" in rejected.reason


def test_an_archive_is_downloaded_and_indexed_once(server: FileServer) -> None:
    first = source(server).load()
    server.requests.clear()
    again = source(server).load()
    assert server.requests == []
    assert set_id(again.entries) == set_id(first.entries)


def test_a_broken_download_goes_on_where_it_stopped(server: FileServer, content: bytes) -> None:
    server.drop_after = [1000, 500]
    assert len(source(server, keep_uncharacterized=True).load().entries) == 7
    asked = [seen.get("range") for seen in server.headers_seen]
    assert asked == [None, "bytes=1000-", "bytes=1500-"]


def test_a_download_goes_on_in_another_process_too(server: FileServer) -> None:
    server.drop_after = [1000, 100, 100, 100]
    with pytest.raises(SourceError, match=r"broke off after 1300 .*goes on from there"):
        source(server, keep_uncharacterized=True).load()
    assert len(source(server, keep_uncharacterized=True).load().entries) == 7
    assert server.headers_seen[-1]["range"] == "bytes=1300-"


def test_without_ranges_or_with_another_file_a_download_starts_anew(
    server: FileServer, molecules: list[Molecule], tmp_path: Path
) -> None:
    server.ranges = False
    server.drop_after = [1000]
    assert len(source(server, keep_uncharacterized=True).load().entries) == 7

    server.ranges = True
    write_archive(tmp_path / "b", molecules[:8])
    server.files["other"] = server.files["qm9.tar.bz2"]
    server.drop_after = [1000, 0, 0, 0]
    query = {"url": f"{server.url}/other", "keep_uncharacterized": True}
    with pytest.raises(SourceError):
        source(server, **query).load()
    server.files["other"] = (tmp_path / "b").read_bytes()
    assert len(source(server, **query).load().entries) == 3


def test_the_checksum_is_that_of_the_first_download_or_given(
    server: FileServer, tmp_path: Path, molecules: list[Molecule], content: bytes
) -> None:
    first = source(server).load()
    with pytest.raises(SourceError, match="SHA-256 0000"):
        source(server, sha256="0" * 64).load()
    assert source(server).load().records == first.records  # the good one is still there

    for path in (tmp_path / "cache" / "downloads").glob("*qm9.tar.bz2"):
        path.unlink()  # as on another machine: only the previous manifest knows
    write_archive(tmp_path / "b", molecules[:8])
    server.files["qm9.tar.bz2"] = (tmp_path / "b").read_bytes()
    for path in (tmp_path / "cache" / "downloads").glob("*.sha256"):
        path.unlink()
    previous = Manifest(
        query_id="", set_id="", pulled_at="", origin=first.origin, records=first.records
    )
    with pytest.raises(SourceError, match="new version"):
        source(server).load(previous=previous)
    with pytest.raises(InputError, match="SHA-256"):
        local(tmp_path, content, formulas=["CH4"], sha256="0" * 64).load()


def test_a_truncated_archive_is_one_clear_line_and_is_fetched_anew(
    server: FileServer, tmp_path: Path, content: bytes
) -> None:
    server.files["qm9.tar.bz2"] = content[: len(content) // 2]
    with pytest.raises(InputError, match=r"truncated or damaged .*fetches it again"):
        source(server).load()
    server.files["qm9.tar.bz2"] = content
    assert len(source(server).load().entries) == 7
    for damaged in (content[:-20], b"not bz2", b""):
        with pytest.raises(InputError, match="truncated or damaged"):
            local(tmp_path, damaged, formulas=["CH4"]).load()


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_passing_fault_is_waited_out(server: FileServer, code: int) -> None:
    server.faults = [status(code, Retry_After="0")] * 2
    assert len(source(server, keep_uncharacterized=True).load().entries) == 7


def test_a_lasting_fault_is_one_clear_line(server: FileServer) -> None:
    server.faults = [status(500)] * 4
    with pytest.raises(SourceError, match=r"HTTP 500 \(tried 4 times\)"):
        source(server).load()
    with pytest.raises(SourceError, match="HTTP 404"):
        source(server, url=f"{server.url}/elsewhere").load()
    with pytest.raises(SourceError, match="ConnectionError"):
        source(server, url="http://127.0.0.1:9/qm9.tar.bz2").load()


def test_a_file_of_the_archive_that_is_no_molecule_is_not_read_whole(tmp_path: Path) -> None:
    bomb = tarfile.TarInfo("dsgdb9nsd_000001.xyz")
    for size in (2**33, 2**21):
        bomb.size = size
        # the header alone says how much would be read
        content = bz2.compress(bomb.tobuf(tarfile.GNU_FORMAT) + bytes(2**16))
        with pytest.raises(InputError, match=r"damaged \(a file of \d+ bytes"):
            local(tmp_path, content, formulas=["CH4"]).load()


def test_the_package_gives_the_same_set_as_the_archive_without_being_imported(
    tmp_path: Path, molecules: list[Molecule], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "qm9pack", molecules[:9])
    write_archive(tmp_path / "a.tar.bz2", molecules[:9])
    query = {"elements": ["C", "H", "O", "N"]}
    archive = {**query, "path": str(tmp_path / "a.tar.bz2"), "keep_uncharacterized": True}
    expected = QM9Source.model_validate(archive).load()
    monkeypatch.syspath_prepend(tmp_path)
    for where in ({}, {"path": str(tmp_path / "qm9pack")}, {"path": str(tmp_path)}):
        loaded = QM9Source.model_validate({**query, **where}).load()
        assert set_id(loaded.entries) == set_id(expected.entries)
        by_label = {entry.label: entry.properties for entry in expected.entries}
        assert {entry.label: entry.properties for entry in loaded.entries} == by_label
        assert loaded.origin.address == "qm9pack"
        assert loaded.origin.citation == expected.origin.citation


def test_a_folder_without_the_package_and_a_damaged_one_are_one_clear_line(
    tmp_path: Path, molecules: list[Molecule]
) -> None:
    with pytest.raises(InputError, match=r"does not hold qm9_part1.csv.* of the package qm9pack"):
        QM9Source(formulas=["CH4"], path=str(tmp_path)).load()
    write_package(tmp_path / "qm9pack", molecules)
    part = tmp_path / "qm9pack" / "data" / "qm9_part2.csv"
    whole = part.read_text()
    for damaged in (whole.replace("Elements", "Atoms"), whole[: len(whole) // 2]):
        part.write_text(damaged)
        with pytest.raises(InputError, match=r"qm9_part2.csv is damaged"):
            QM9Source(formulas=["CH4"], path=str(tmp_path)).load()
