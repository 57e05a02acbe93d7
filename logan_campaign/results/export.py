"""Candidates in the formats of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from logan_campaign.core.documents import TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.core.files import file_errors
from logan_campaign.results.formats import EXPORTS
from logan_campaign.stores.records import CandidateRecord


def format_of(path: Path) -> str | None:
    """Return the format of a file name, None if it is unknown."""
    name = path.name.lower()
    ends = {suffix: fmt for fmt, kind in EXPORTS.loaded().items() for suffix in kind.suffixes}
    found = max((suffix for suffix in ends if name.endswith(suffix)), key=len, default=None)
    return None if found is None else ends[found]


def formats_for(kind: TargetKind) -> list[str]:
    """Return the formats for structures of a kind."""
    return [name for name, fmt in EXPORTS.loaded().items() if kind in fmt.kinds]


def check_format(fmt: str, kind: TargetKind) -> None:
    """Check that there is a format, and that it can hold structures of a kind.

    Raises:
        InputError: if not.
    """
    kinds = EXPORTS.get(fmt).kinds
    if kind not in kinds:
        raise InputError(
            f"{fmt} is for {kinds[0]}s; these are {kind}s: "
            f"choose one of {', '.join(formats_for(kind))}"
        )


def text(records: Iterable[CandidateRecord], fmt: str, raw: bool = False) -> str:
    """Return candidates as the text of a file; not for 'ase.db', which is binary.

    Args:
        records: candidates, read with their structures.
        fmt: format; CIF and POSCAR texts are concatenated.
        raw: write generated instead of relaxed structures.

    Raises:
        InputError: the format does not suit the structures.
    """
    return "".join(EXPORTS.get(fmt)().pieces(_Checked(records, fmt), raw))


def write(records: Iterable[CandidateRecord], path: Path, fmt: str, raw: bool = False) -> int:
    """Write candidates to a file; return their number.

    The file is written atomically. For CIF and POSCAR, a path without the suffix of the format is
    a folder with one file per candidate.

    Args:
        records: candidates, read with their structures; iterated once.
        path: file or folder.
        fmt: format.
        raw: write generated instead of relaxed structures.

    Raises:
        InputError: the file cannot be written, or the format does not suit the structures.
    """
    checked = _Checked(records, fmt)
    with file_errors("write", path):
        EXPORTS.get(fmt)().write(checked, path, raw)
    return checked.n


class _Checked:
    """Passes on records that a format can hold, and counts them."""

    def __init__(self, records: Iterable[CandidateRecord], fmt: str) -> None:
        self._records = records
        self._fmt = fmt
        self.n = 0

    def __iter__(self) -> Iterator[CandidateRecord]:
        for record in self._records:
            check_format(self._fmt, record.kind)
            self.n += 1
            yield record
