"""Downloads of single structures as files."""

from __future__ import annotations

from typing import NamedTuple

from logan_campaign.core.errors import InputError
from logan_campaign.results import export
from logan_campaign.results.formats import EXPORTS
from logan_campaign.stores.records import CandidateRecord


class Download(NamedTuple):
    """A file to send."""

    name: str
    media_type: str
    content: str


def formats(record: CandidateRecord) -> list[str]:
    """Return the download formats for a candidate."""
    return [fmt for fmt in export.formats_for(record.kind) if EXPORTS.get(fmt).media_type]


def download(record: CandidateRecord, fmt: str, raw: bool) -> Download:
    """Return a candidate as a file.

    Args:
        record: the candidate, with its structures.
        fmt: format of the file.
        raw: as generated, not as relaxed.

    Raises:
        InputError: the format does not suit it.
    """
    if fmt not in formats(record):
        raise InputError(f"a {record.kind} cannot be written as {fmt}")
    made = EXPORTS.get(fmt)
    generated = "-generated" if raw else ""
    name = f"{record.id}{generated}{made.suffixes[0]}"
    return Download(name, made.media_type, export.text([record], fmt, raw))
