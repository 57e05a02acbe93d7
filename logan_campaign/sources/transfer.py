"""What sources on the network share: the cache folder, retries, errors in one line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from logan_campaign.core.errors import InputError, LoganCampaignError
from logan_campaign.core.files import file_errors, write_atomically

#: Waiting times (s) before a request that failed for a passing reason is repeated.
BACKOFF_S = (1.0, 2.0, 4.0)

Result = TypeVar("Result")


class SourceError(LoganCampaignError):
    """A source does not answer, or not as it should; what was fetched until then is kept."""


class PassingError(Exception):
    """A failure that may be over at the next attempt: a lost connection, a busy server."""


def stay_with_host(answer: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse to be sent on to another host: a hook for the responses of a session of requests.

    What was meant for one server, a key among it, is for no other; nor is a server to say what
    else this machine asks, in its own network.

    Raises:
        requests.ConnectionError: naming the other host.
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
    """Return a folder below the cache, made if absent.

    The cache is ``$LOGAN_CAMPAIGN_CACHE``, by default the user's cache folder. It holds
    nothing that cannot be fetched again.

    Raises:
        InputError: if the folder cannot be made.
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
    """Write a file of the cache; it is there whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    with file_errors("write", path):
        write_atomically(path, content)


def retried(name: str, attempt: Callable[[], Result], kept: str = "") -> Result:
    """Return what ``attempt`` returns, repeating it after passing errors, ever later.

    Args:
        name: the source, for the error.
        attempt: raises :class:`PassingError` for what may be over the next time.
        kept: what a later attempt of the user need not repeat, for the error.

    Raises:
        SourceError: if the last attempt fails as well.
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
