"""Resumable downloads of archives with pooch into the cache, with a checksum.

An interrupted download stays in the cache as a part; the next one requests the remainder, if the
server confirms that the file has not changed. The checksum of the first download is stored beside
the file, and the file must match it from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError

from logan_campaign.core import progress
from logan_campaign.core.files import file_errors
from logan_campaign.core.ids import content_id
from logan_campaign.sources.transfer import (
    PassingError,
    SourceError,
    cache_folder,
    read_json,
    retried,
    write_whole,
)

if TYPE_CHECKING:
    import requests

_TIMEOUT_S = 30.0
_CHUNK = 1 << 18
_PASSING = (429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 60.0


def fetch(name: str, url: str, sha256: str | None = None) -> tuple[Path, str]:
    """Return a file of the cache and its SHA-256, downloaded if missing.

    Args:
        name: name of the source, for errors.
        url: URL of the file.
        sha256: expected checksum; by default that of the first download.

    Raises:
        SourceError: the file cannot be downloaded, or has another checksum.
        InputError: the file cannot be written.
    """
    folder = cache_folder("downloads")
    path = folder / f"{content_id('url', url)}-{url.rstrip('/').rsplit('/', 1)[-1] or 'file'}"
    expected = sha256 or _noted(path)
    if path.is_file() and expected and checksum(path) == expected:
        return path, expected
    import pooch  # brings paramiko, where that is installed

    pooch.get_logger().setLevel("ERROR")
    try:
        with file_errors("write", path):
            pooch.retrieve(
                url,
                known_hash=f"sha256:{expected}" if expected else None,
                fname=path.name,
                path=folder,
                downloader=_ResumingDownloader(name, path.with_name(f"{path.name}.part")),
            )
    except ValueError as err:  # raised by pooch if the checksum differs
        raise SourceError(
            f"{name}: the file at {url} does not have the SHA-256 {expected}, and is not used; "
            "if a new version was published, give its checksum as 'sha256'"
        ) from err
    found = checksum(path)
    write_whole(_note(path), found.encode())
    return path, found


def discard(path: Path) -> None:
    """Remove an unreadable download and its stored checksum."""
    for file in (path, _note(path)):
        file.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file.

    It is cached as long as size and modification time of the file are the same.

    Raises:
        InputError: the file cannot be read.
    """
    with file_errors("read", path):
        stat = path.stat()
        state = [str(path.absolute()), stat.st_size, stat.st_mtime_ns]
        memo = cache_folder("checksums") / f"{content_id('file', state[0])}.json"
        known = read_json(memo)
        if known.get("state") == state:
            return str(known["sha256"])
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    write_whole(memo, json.dumps({"state": state, "sha256": found}).encode())
    return found


class _ResumingDownloader:
    """A downloader for pooch that resumes an interrupted download."""

    def __init__(self, name: str, part: Path) -> None:
        self._name = name
        self._part = part
        self._tag = part.with_suffix(".tag")

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        retried(self._name, lambda: self._attempt(url), self._kept)
        os.replace(self._part, output_file)
        self._tag.unlink(missing_ok=True)

    @property
    def _kept(self) -> str:
        return "what was downloaded is kept, and the same command goes on from there"

    def _attempt(self, url: str) -> None:
        import requests

        have = self._part.stat().st_size if self._part.exists() else 0
        tag = self._tag.read_text() if self._tag.exists() else ""
        headers = {"Accept-Encoding": "identity"}
        if have and tag:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
                self._take(answer, have)
        except (requests.RequestException, HTTPError) as err:
            at = self._part.stat().st_size if self._part.exists() else 0
            raise PassingError(
                f"the download of {url} broke off after {at} bytes ({type(err).__name__})"
            ) from err

    def _take(self, answer: requests.Response, have: int) -> None:
        if answer.status_code == 416:  # the part is complete, or of another file
            self._part.unlink(missing_ok=True)
            raise PassingError("the server refused to resume the download")
        if answer.status_code in _PASSING:
            time.sleep(_asked_wait(answer))
            raise PassingError(f"the server answered HTTP {answer.status_code}")
        if answer.status_code not in (200, 206):
            raise SourceError(
                f"{self._name}: {answer.url} answered HTTP {answer.status_code} {answer.reason}"
            )
        start = have if answer.status_code == 206 else 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else 0
        # Without one of these the server cannot confirm that the file is unchanged.
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        self._tag.write_text("" if tag.startswith("W/") else tag)
        with open(self._part, "ab" if start else "wb") as file:
            done = start
            for chunk in _chunks(answer):
                file.write(chunk)
                done += len(chunk)
                progress.report("download", done, total, f"of {total >> 20} MB")
        if total and done != total:
            raise PassingError(f"the download broke off after {done} of {total} bytes")


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    # read1 returns data that has arrived even if the connection breaks afterwards
    while chunk := answer.raw.read1(_CHUNK):
        yield bytes(chunk)


def _asked_wait(answer: requests.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isdecimal() else 0.0


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _noted(path: Path) -> str | None:
    try:
        return _note(path).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
