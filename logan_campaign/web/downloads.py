"""Downloads of single structures as files."""

from __future__ import annotations

from collections.abc import Sequence
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


def download(records: Sequence[CandidateRecord], fmt: str, raw: bool) -> Download:
    """Return candidates as one file.

    Args:
        records: the candidates, with their structures; at least one.
        fmt: format of the file.
        raw: as generated, not as relaxed.

    Raises:
        InputError: the format does not suit one of them.
    """
    for record in records:
        if fmt not in formats(record):
            raise InputError(f"a {record.kind} cannot be written as {fmt}")
    made = EXPORTS.get(fmt)
    generated = "-generated" if raw else ""
    stem = records[0].id if len(records) == 1 else f"{len(records)}-candidates"
    name = f"{stem}{generated}{made.suffixes[0]}"
    return Download(name, made.media_type, export.text(records, fmt, raw))
