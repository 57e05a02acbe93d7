"""Common to network sources: the cache folder, retries, one-line errors."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from logan_campaign.core.errors import InputError, LoganCampaignError
from logan_campaign.core.files import file_errors, write_atomically

#: Delays (s) before a request is repeated after a passing error.
BACKOFF_S = (1.0, 2.0, 4.0)

Result = TypeVar("Result")


class SourceError(LoganCampaignError):
    """A source does not answer, or not as it should; what was fetched until then is kept."""


class PassingError(Exception):
    """A failure that may not recur: a lost connection, a busy server."""


def stay_with_host(answer: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse redirections to another host: a response hook for sessions of requests.

    A key must not be sent to another server, and a server must not make this machine send requests
    into its own network.

    Raises:
        requests.ConnectionError: the redirection leads to another host.
    """
    there = answer.headers.get("location") if answer.is_redirect else None
    if there is None:
        return
    here, there = urlsplit(answer.url), urlsplit(urljoin(answer.url, there))
    safer = (here.scheme, there.scheme) in (("http", "https"), (there.scheme, here.scheme))
    if there.hostname != here.hostname or not safer:
        import requests

        raise requests.ConnectionError(f"sends on to another place ({there.hostname})")


def cache_folder(*parts: str) -> Path:
    """Return a folder in the cache, created if missing.

    The cache is ``$LOGAN_CAMPAIGN_CACHE``, by default the user's cache folder. Everything in it can
    be fetched again.

    Raises:
        InputError: the folder cannot be created.
    """
    import pooch

    root = os.environ.get("LOGAN_CAMPAIGN_CACHE") or pooch.os_cache("logan-campaign")
    folder = Path(root).expanduser().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise InputError(
            f"cannot make the cache folder {folder}: {err.strerror}; "
            "set LOGAN_CAMPAIGN_CACHE to a folder that can be written"
        ) from err
    return folder


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of the cache, atomically.

    Raises:
        InputError: the file cannot be written.
    """
    with file_errors("write", path):
        write_atomically(path, content)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file of the cache; an empty one if it is absent or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # made anew
        return {}
    return found if isinstance(found, dict) else {}


def retried(name: str, attempt: Callable[[], Result], kept: str = "") -> Result:
    """Return the result of ``attempt``, repeated after passing errors with growing delays.

    Args:
        name: name of the source, for the error.
        attempt: raises :class:`PassingError` for failures that may not recur.
        kept: description of the data that need not be fetched again, for the error.

    Raises:
        SourceError: the last attempt failed too.
    """
    for wait in (*BACKOFF_S, None):
        try:
            return attempt()
        except PassingError as err:
            if wait is None:
                raise SourceError(
                    f"{name}: {err} (tried {len(BACKOFF_S) + 1} times); "
                    f"nothing stored has changed; try again later{kept and f': {kept}'}"
                ) from err
        time.sleep(wait)
    raise AssertionError("unreachable")
