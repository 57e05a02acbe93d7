"""One structure as a file that other programs read."""

from __future__ import annotations

from typing import Literal, NamedTuple

from logan_campaign.core.errors import InputError
from logan_campaign.results import export
from logan_campaign.stores.records import CandidateRecord

#: Those of :mod:`logan_campaign.results.export` that are text and hold one structure.
Format = Literal["extxyz", "cif", "poscar", "sdf", "json", "optimade"]

_FORMATS: dict[Format, str] = {
    "extxyz": "chemical/x-xyz",
    "cif": "chemical/x-cif",
    "poscar": "text/plain",
    "sdf": "chemical/x-mdl-sdfile",
    "json": "application/json",
    "optimade": "application/jsonl",
}


class Download(NamedTuple):
    """A file to send."""

    name: str
    media_type: str
    content: str


def formats(record: CandidateRecord) -> list[Format]:
    """Return the formats that can hold a candidate."""
    held = export.formats_for(record.kind)
    return [fmt for fmt in _FORMATS if fmt in held]


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
    generated = "-generated" if raw else ""
    name = f"{record.id}{generated}{export.SUFFIXES[fmt][0]}"
    return Download(name, _FORMATS[fmt], export.text([record], fmt, raw))
