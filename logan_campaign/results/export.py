"""Candidates in the formats of other programs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from ase.db import connect
from ase.io import write as write_atoms
from monty.json import jsanitize
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from logan_campaign.core.documents import TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.core.files import file_errors, whole_file, write_atomically
from logan_campaign.results import convert, optimade
from logan_campaign.stores.records import CandidateRecord

#: 'json' is one list, 'jsonl' one line per candidate with its relaxations; 'optimade' is
#: OPTIMADE JSON Lines, 'ase.db' an SQLite database of ASE.
Format = Literal["extxyz", "cif", "poscar", "sdf", "json", "jsonl", "ase.db", "optimade"]

#: Formats for one kind of structures only.
ONLY_FOR: dict[Format, TargetKind] = {"cif": "crystal", "poscar": "crystal", "sdf": "molecule"}

#: How names of files in a format end; the first is what a file gets.
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "extxyz": (".extxyz", ".xyz"),
    "cif": (".cif",),
    "poscar": (".vasp", ".poscar"),
    "sdf": (".sdf",),
    "json": (".json",),
    "jsonl": (".jsonl", ".ndjson"),
    "ase.db": (".db",),
    "optimade": (".optimade.jsonl", ".optimade"),
}


def format_of(path: Path) -> Format | None:
    """Return the format that a file's name stands for; None if it is none."""
    name = path.name.lower()
    ends = sorted(
        ((suffix, fmt) for fmt, suffixes in SUFFIXES.items() for suffix in suffixes),
        key=lambda pair: -len(pair[0]),
    )
    return next((fmt for suffix, fmt in ends if name.endswith(suffix)), None)


def formats_for(kind: TargetKind) -> list[Format]:
    """Return the formats that can hold structures of a kind."""
    return [fmt for fmt in get_args(Format) if ONLY_FOR.get(fmt, kind) == kind]


def check_format(fmt: Format, kind: TargetKind) -> None:
    """Check that a format can hold structures of a kind.

    Raises:
        InputError: if it cannot.
    """
    if fmt not in formats_for(kind):
        raise InputError(
            f"{fmt} is for {ONLY_FOR[fmt]}s; these are {kind}s: "
            f"choose one of {', '.join(formats_for(kind))}"
        )


def text(records: Iterable[CandidateRecord], fmt: Format, raw: bool = False) -> str:
    """Return candidates as the text of a file; not for 'ase.db', which is none.

    Args:
        records: candidates, read with their structures.
        fmt: format; for CIF and POSCAR several structures follow one another.
        raw: as generated instead of as relaxed.

    Raises:
        InputError: for a format that cannot hold them.
    """
    return "".join(_pieces(records, fmt, raw))


def write(records: Iterable[CandidateRecord], path: Path, fmt: Format, raw: bool = False) -> int:
    """Write candidates to a file; return how many.

    The file appears when it is complete. For CIF and POSCAR, a path without the suffix of
    the format is a folder, with a file per candidate.

    Args:
        records: candidates, read with their structures; taken one at a time.
        path: file or folder.
        fmt: format.
        raw: as generated instead of as relaxed.

    Raises:
        InputError: if it cannot be written, or the format cannot hold them.
    """
    counted = _Counted(records)
    with file_errors("write", path):
        if fmt == "ase.db":
            _write_database(counted, path, raw)
        elif fmt in ("cif", "poscar") and format_of(path) != fmt:
            path.mkdir(parents=True, exist_ok=True)
            for record in counted:
                write_atomically(
                    path / f"{record.id}{SUFFIXES[fmt][0]}", _PIECE[fmt](record, raw), durable=False
                )
        else:
            with whole_file(path) as beside, beside.open("w", encoding="utf-8") as file:
                file.writelines(_pieces(counted, fmt, raw))
    return counted.n


class _Counted:
    """Passes records on and counts them."""

    def __init__(self, records: Iterable[CandidateRecord]) -> None:
        self._records = records
        self.n = 0

    def __iter__(self) -> Iterator[CandidateRecord]:
        for record in self._records:
            self.n += 1
            yield record


def _pieces(records: Iterable[CandidateRecord], fmt: Format, raw: bool) -> Iterator[str]:
    if fmt == "json":
        documents = [{**convert.summary(r, raw), **_structure(r, raw)} for r in records]
        yield json.dumps(documents, indent=1, allow_nan=False)
    elif fmt == "optimade":
        if raw:
            raise InputError("OPTIMADE files hold structures as relaxed; leave out 'raw'")
        for line in optimade.json_lines(records):
            yield line + "\n"
    elif fmt in _PIECE:
        for record in records:
            yield _PIECE[fmt](record, raw)
    else:
        raise InputError(f"{fmt} is not a text format")


def _extxyz(record: CandidateRecord, raw: bool) -> str:
    buffer = io.StringIO()
    write_atoms(buffer, convert.atoms(record, raw), format="extxyz")
    return buffer.getvalue()


def _crystal(record: CandidateRecord, raw: bool) -> Any:
    check_format("cif", record.kind)
    return convert.geometry(record, raw)


def _cif(record: CandidateRecord, raw: bool) -> str:
    # The block's name tells one candidate from the next in a file of several.
    lines = str(CifWriter(_crystal(record, raw))).splitlines()
    return "\n".join(f"data_{record.id}" if x.startswith("data_") else x for x in lines) + "\n"


def _poscar(record: CandidateRecord, raw: bool) -> str:
    crystal = _crystal(record, raw).get_sorted_structure()
    return Poscar(crystal, comment=f"{record.id} {record.formula}").get_str()


def _sdf(record: CandidateRecord, raw: bool) -> str:
    from rdkit import Chem

    from logan_campaign.geometry.molecules import bonded  # brings RDKit

    check_format("sdf", record.kind)
    mol = bonded(convert.geometry(record, raw))
    mol.SetProp("_Name", record.id)
    buffer = io.StringIO()
    with Chem.SDWriter(buffer) as writer:
        for key, value in convert.about(record, raw).items():
            mol.SetProp(key, str(value))
        writer.write(mol)
    return buffer.getvalue()


def _json_line(record: CandidateRecord, raw: bool) -> str:
    document = {
        **convert.summary(record, raw),
        "relaxations": [r.model_dump(mode="json") for r in record.relaxations],
        **_structure(record, raw),
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"


def _structure(record: CandidateRecord, raw: bool) -> dict[str, Any]:
    found = record.raw_structure if raw or record.structure is None else record.structure
    if found is None:
        raise InputError(f"{record.id} was read without its structure")
    return {"structure": jsanitize(found.as_dict())}


_PIECE: dict[Format, Callable[[CandidateRecord, bool], str]] = {
    "extxyz": _extxyz,
    "cif": _cif,
    "poscar": _poscar,
    "sdf": _sdf,
    "jsonl": _json_line,
}


def _write_database(records: Iterable[CandidateRecord], path: Path, raw: bool) -> None:
    with whole_file(path) as beside, connect(beside, type="db", append=False) as database:
        for record in records:
            about = convert.about(record, raw)
            # ASE has an id and the formula of its own, and refuses texts that read as numbers,
            # which labels may.
            pairs = {"candidate": about.pop("id"), **about}
            del pairs["formula"]
            data = {"match_label": pairs.pop("match_label", None)}
            made = convert.atoms(record, raw)
            made.info = {}
            database.write(made, key_value_pairs=pairs, data=data)
