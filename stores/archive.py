"""Export and import of a whole campaign as one file: job documents, blobs and ledger.

The file is gzipped JSON Lines. The first line is a header; then follow the documents, one per
line, as ``{"outputs": …}``, ``{"blobs": …}`` or ``{"ledger": …}``; the last line contains their
number and the SHA-256 of all lines before it. Documents are encoded by
:mod:`~logan_campaign.stores.encoding` and sorted, with sorted fields, so that a campaign gives the
same bytes from any store. Derived records are not included; import builds them again.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.core.files import file_errors, whole_file
from logan_campaign.core.ids import CAMPAIGN_NAME
from logan_campaign.core.software import software_versions
from logan_campaign.stores import encoding
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import CampaignStores
from logan_campaign.stores.records import CampaignRecord

FORMAT = "logan-campaign archive"
VERSION = 1
#: Suffix of archive files.
SUFFIX = ".campaign.gz"

#: Limits of one line, so that reading any file takes less than 500 MB of memory.
MAX_LINE_BYTES = 48 * 2**20
MAX_VALUES = 2_000_000

#: Marks the record of an imported flow.
IMPORTED = "imported"

_CHUNK = 100
_KINDS = ("outputs", "blobs", "ledger")
#: Fields that identify a document of each kind.
_KEYS = {"outputs": ("uuid", "index"), "blobs": ("blob_uuid",), "ledger": ("id",)}
_BLOB_FIELDS = ("@class", "@module", "blob_uuid", "job_uuid", "job_index", "data")

Doc = dict[str, Any]


class ArchiveSummary(NamedTuple):
    """Contents of an archive.

    Attributes:
        campaign_id, name: the campaign.
        counts: documents of each kind.
    """

    campaign_id: str
    name: str
    counts: dict[str, int]

    def describe(self) -> str:
        """Return the counts as text."""
        return (
            f"{self.counts['outputs']} job documents, {self.counts['blobs']} blobs, "
            f"{self.counts['ledger']} entries of the ledger"
        )


def write_archive(stores: CampaignStores, campaign: CampaignRecord, path: Path) -> ArchiveSummary:
    """Write a campaign to a file, atomically.

    A running campaign is written in its present state.

    Raises:
        StoreError: a blob is missing, or the store cannot be read.
        InputError: the file cannot be written.
    """
    counts = dict.fromkeys(_KINDS, 0)
    digest = hashlib.sha256()
    # no time and name in the gzip header: equal campaigns give equal files
    with (
        file_errors("write", path),
        whole_file(path) as beside,
        beside.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file,
    ):

        def write(line: Doc) -> None:
            content = encoding.dumps(line, sort_keys=True).encode() + b"\n"
            digest.update(content)
            file.write(content)

        write(
            {
                "format": FORMAT,
                "version": VERSION,
                "campaign_id": campaign.id,
                "name": campaign.name,
            }
        )
        for kind, doc in _documents(stores, campaign.id):
            write({kind: doc})
            counts[kind] += 1
        end = {"end": counts, "sha256": digest.hexdigest()}
        file.write(encoding.dumps(end, sort_keys=True).encode() + b"\n")
    return ArchiveSummary(campaign.id, campaign.name, counts)


def _documents(stores: CampaignStores, campaign_id: str) -> Iterator[tuple[str, Doc]]:
    # Only keys are kept in memory, not the documents.
    blobs: set[str] = set()
    mine = {"metadata.campaign_id": campaign_id}
    for doc in _sorted_documents(stores.docs, mine, _KEYS["outputs"]):
        blobs.update(_blob_uuids(doc))
        yield "outputs", doc
    for uuid in sorted(blobs):
        blob = stores.data.query_one({"blob_uuid": uuid})
        if blob is None:
            raise StoreError(f"blob {uuid} is not in {stores.describe()}")
        yield "blobs", {key: blob[key] for key in _BLOB_FIELDS if key in blob}
    for doc in _sorted_documents(stores.ledger, {"flow_id": campaign_id}, _KEYS["ledger"]):
        yield "ledger", doc


def _sorted_documents(store: Any, criteria: Doc, key: tuple[str, ...]) -> Iterator[Doc]:
    keys = sorted(
        (tuple(doc[name] for name in key) for doc in store.query(criteria, list(key))),
    )
    for values in keys:
        found = store.query_one(dict(zip(key, values, strict=True)))
        if found is not None:  # otherwise it was just removed
            found.pop(IMPORTED, None)  # a property of this store, not of the campaign
            yield _plain(found)


def _plain(doc: Mapping[str, Any]) -> Doc:
    found: Doc = encoding.sanitize({key: value for key, value in doc.items() if key != "_id"})
    return found


def _blob_uuids(obj: Any) -> Iterator[str]:
    """Yield the ids of all blobs that a document refers to."""
    if isinstance(obj, Mapping):
        if isinstance(obj.get("blob_uuid"), str):
            yield obj["blob_uuid"]
        for value in obj.values():
            yield from _blob_uuids(value)
    elif isinstance(obj, list):
        for value in obj:
            yield from _blob_uuids(value)


def read_archive(path: Path, stores: CampaignStores) -> ArchiveSummary:
    """Import the campaign of a file into a store, and build its database.

    The whole file is checked before anything is written. On SQLite the import is one transaction.

    Raises:
        InputError: the file is not an archive, truncated, modified or from a newer version, or
            the store already contains the campaign or another one of its name.
        StoreError: the store cannot be written.
    """
    summary = check_archive(path)
    _refuse_existing(stores, summary)
    with stores.transaction():
        chunk: dict[str, list[Doc]] = {kind: [] for kind in _KINDS}
        targets: dict[str, Any] = {
            "outputs": stores.docs,
            "blobs": stores.data,
            "ledger": stores.ledger,
        }

        def write(kind: str) -> None:
            if chunk[kind]:
                _refuse_others(targets[kind], kind, chunk[kind], summary.campaign_id)
                targets[kind].update(chunk[kind], key=list(_KEYS[kind]))
                chunk[kind] = []

        # Blobs first: an interrupted import on MongoDB then never leaves a document with missing
        # blobs.
        for wanted in ("blobs", "outputs", "ledger"):
            for line in _lines(path):
                for kind, doc in line.items():
                    if kind == wanted:
                        if doc.get("doc_type") == "flow":
                            doc[IMPORTED] = True
                        chunk[kind].append(doc)
                        if len(chunk[kind]) >= (1 if kind == "blobs" else _CHUNK):
                            write(kind)
            write(wanted)
    CampaignBuilder.from_stores(stores, summary.campaign_id).build()
    return summary


def check_archive(path: Path) -> ArchiveSummary:
    """Return the contents of an archive, after reading all of it.

    Raises:
        InputError: the file is not an archive, truncated, modified or from a newer version.
    """
    counts = dict.fromkeys(_KINDS, 0)
    digest = hashlib.sha256()
    head: Doc = {}
    end: Doc | None = None
    with _opened(path) as file:
        for number, content in enumerate(_raw_lines(path, file), start=1):
            line = _parsed(path, number, content)
            if number == 1:
                head = _checked_head(path, line)
            elif end is not None:
                raise InputError(f"{path}: there is something after its end")
            elif "end" in line:
                end = line
                if end.get("sha256") != digest.hexdigest() or end["end"] != counts:
                    raise InputError(f"{path} was changed: its checksum does not hold")
            else:
                counts[_checked_kind(path, number, line, head["campaign_id"])] += 1
            digest.update(content)
    if not head:
        raise InputError(f"{path} is empty")
    if end is None:
        raise InputError(f"{path} is truncated: its last line is missing")
    return ArchiveSummary(head["campaign_id"], head["name"], counts)


def _checked_head(path: Path, line: Doc) -> Doc:
    if line.get("format") != FORMAT:
        raise InputError(f"{path} is not a {FORMAT}")
    version = line.get("version")
    if not isinstance(version, int) or version > VERSION:
        made_by = software_versions()["logan-campaign"]
        raise InputError(
            f"{path} is of a newer version ({version}; logan-campaign {made_by} reads up to "
            f"{VERSION})"
        )
    for key in ("campaign_id", "name"):
        value = line.get(key)
        # $ would accept a line break
        if not isinstance(value, str) or not re.match(CAMPAIGN_NAME, value) or "\n" in value:
            raise InputError(f"{path}: its first line names no campaign: {key} is {value!r:.80}")
    return line


def _checked_kind(path: Path, number: int, line: Doc, campaign_id: str) -> str:
    """Return the kind of a line's document, which must belong to the campaign."""
    where = f"{path}, line {number}"
    kind = next(iter(line), "")
    if len(line) != 1 or kind not in _KINDS or not isinstance(line[kind], dict):
        raise InputError(f"{where}: not a document of a campaign")
    doc = line[kind]
    if any(name not in doc for name in _KEYS[kind]):
        raise InputError(f"{where}: a document without {' and '.join(_KEYS[kind])}")
    owner = {
        "outputs": (doc.get("metadata") or {}).get("campaign_id"),
        "ledger": doc.get("flow_id"),
        "blobs": campaign_id,
    }[kind]
    if owner != campaign_id:
        raise InputError(f"{where}: a document of another campaign")
    return kind


def _refuse_existing(stores: CampaignStores, summary: ArchiveSummary) -> None:
    where = stores.describe()
    mine = {"metadata.campaign_id": summary.campaign_id}
    if stores.docs.query_one(mine, ["uuid"]) is not None:
        raise InputError(f"{where} already contains the campaign {summary.campaign_id}")
    same_name = {"metadata.campaign": summary.name}
    if stores.docs.query_one(same_name, ["uuid"]) is not None:
        raise InputError(
            f"{where} contains another campaign named {summary.name!r}: import into another store"
        )


def _refuse_others(store: Any, kind: str, docs: list[Doc], campaign_id: str) -> None:
    """Refuse documents that would replace another campaign's documents of the same keys."""
    owner = {"outputs": "metadata.campaign_id", "ledger": "flow_id"}.get(kind)
    for doc in docs:
        mine = {key: doc[key] for key in _KEYS[kind]}
        if owner is None:
            found = store.query_one(mine)
            # the same blob, left by an interrupted import
            foreign = found is not None and found.get("data") != doc.get("data")
        else:
            foreign = store.query_one({**mine, owner: {"$ne": campaign_id}}) is not None
        if foreign:
            raise InputError(f"the store contains {mine} of another campaign: nothing is replaced")


@contextmanager
def _opened(path: Path) -> Iterator[gzip.GzipFile]:
    try:
        with gzip.GzipFile(path, "rb") as file:
            yield file
    except (gzip.BadGzipFile, zlib.error) as err:
        raise InputError(f"{path} is not a {FORMAT}, or damaged: {err}") from err
    except EOFError as err:
        raise InputError(f"{path} is truncated") from err
    except OSError as err:
        raise InputError(f"cannot read {path}: {err.strerror or err}") from err


def _lines(path: Path) -> Iterable[Doc]:
    with _opened(path) as file:
        for number, content in enumerate(_raw_lines(path, file), start=1):
            yield _parsed(path, number, content)


def _raw_lines(path: Path, file: gzip.GzipFile) -> Iterator[bytes]:
    """Yield the lines of a file, with limited memory per line.

    Raises:
        InputError: a line is too long, or contains too many values.
    """
    number = 0
    while content := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        values = content.count(b",") + content.count(b"[") + content.count(b"{")
        if len(content) > MAX_LINE_BYTES or values > MAX_VALUES:
            raise InputError(f"{path}, line {number}: larger than any document of a campaign")
        yield content


def _parsed(path: Path, number: int, content: bytes) -> Doc:
    try:
        line = encoding.loads(content)
    except (ValueError, RecursionError) as err:
        why = "nested too deeply" if isinstance(err, RecursionError) else f"{err!s:.200}"
        raise InputError(f"{path}, line {number}: not JSON: {why}") from err
    if not isinstance(line, dict):
        raise InputError(f"{path}, line {number}: not a document")
    return line
