"""Structures as files that other programs read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Literal, NamedTuple

from ase.io import write
from monty.json import jsanitize
from pymatgen.core import Structure
from pymatgen.io.vasp import Poscar

from logan_campaign.errors import InputError
from logan_campaign.results import convert
from logan_campaign.stores.schemas import CandidateRecord

Format = Literal["xyz", "cif", "poscar", "json"]


class Download(NamedTuple):
    """A file to send."""

    name: str
    media_type: str
    content: str


def formats(record: CandidateRecord) -> list[Format]:
    """Return the formats that can hold a candidate."""
    if record.kind == "crystal":
        return ["cif", "poscar", "xyz", "json"]
    return ["xyz", "json"]


def download(record: CandidateRecord, fmt: Format, raw: bool) -> Download:
    """Return a candidate as a file.

    Args:
        record: the candidate, with its structures.
        fmt: format of the file.
        raw: as generated, not as relaxed.

    Raises:
        InputError: if the format cannot hold it.
    """
    if fmt not in formats(record):
        raise InputError(f"a {record.kind} cannot be written as {fmt}")
    kind = "-generated" if raw else ""
    suffix = {"poscar": "vasp"}.get(fmt, fmt)
    make, media_type = _WRITERS[fmt]
    return Download(f"{record.id}{kind}.{suffix}", media_type, make(record, raw))


def _xyz(record: CandidateRecord, raw: bool) -> str:
    buffer = io.StringIO()
    write(buffer, convert.atoms(record, raw), format="extxyz")
    return buffer.getvalue()


def _crystal(record: CandidateRecord, raw: bool) -> Structure:
    found = convert.geometry(record, raw)
    assert isinstance(found, Structure)  # by formats
    return found


def _cif(record: CandidateRecord, raw: bool) -> str:
    return str(_crystal(record, raw).to(fmt="cif"))


def _poscar(record: CandidateRecord, raw: bool) -> str:
    return str(Poscar(_crystal(record, raw), comment=record.id))


def _json(record: CandidateRecord, raw: bool) -> str:
    document = jsanitize(record.model_dump(), strict=True, enum_values=True)
    return json.dumps(document, indent=2, allow_nan=False)


_WRITERS: dict[Format, tuple[Callable[[CandidateRecord, bool], str], str]] = {
    "xyz": (_xyz, "chemical/x-xyz"),
    "cif": (_cif, "chemical/x-cif"),
    "poscar": (_poscar, "text/plain"),
    "json": (_json, "application/json"),
}
