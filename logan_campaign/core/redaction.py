"""Removal of secrets from texts of other programs, such as URIs in errors of drivers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from logan_campaign.core.errors import StoreError

#: user:password@ or user@ behind a scheme; greedy, for passwords that hold an @ themselves
_CREDENTIALS = re.compile(r"(?<=://)[^\s/'\"]*:[^\s'\"]*@|(?<=://)[^\s/'\"@]+@")
#: Of a database's options any may be secret.
_OPTIONS = re.compile(r"(mongodb(?:\+srv)?://[^\s?]*)\?[^\s'\"]*", re.IGNORECASE)
_ENCODED = re.compile(r"(?<=%3A%2F%2F)\S+?(?=%40)", re.IGNORECASE)
_NAME = r"(?:password|passwd|passphrase|pwd|secret|api[_-]?key|token|credentials?)"
_VALUE = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s'",}&]+)"""
_NAMED = re.compile(rf"({_NAME}['\"]?\s*[=:]\s*)(?!\*\*\*){_VALUE}", re.IGNORECASE)
_HEADER = re.compile(
    r"((?:authorization['\"]?\s*[=:]\s*['\"]?)?\b(?:bearer|basic)\s+)[^\s'\",}]+", re.I
)

#: Names of environment variables that hold secrets.
_SECRET_NAME = re.compile(r"passw|passphrase|secret|api_?key|token(?!iz)|credential", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether an environment variable of this name contains a secret.

    >>> is_secret_name("MP_API_KEY"), is_secret_name("LOGAN_CAMPAIGN_MONGO_PASSWORD")
    (True, True)
    """
    return _SECRET_NAME.search(name) is not None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment without secrets."""
    return {name: value for name, value in environment.items() if not is_secret_name(name)}


def redact(text: str, *secrets: str) -> str:
    """Return a text without recognisable user names and passwords.

    Of a text that is a single URI, everything before its last '@' is removed; options of databases
    are always removed.

    Args:
        text: text to display.
        *secrets: known secrets, masked everywhere.

    >>> redact("cannot reach mongodb://me:secret@host/db (password='abc')")
    'cannot reach mongodb://***@host/db (password=***)'
    """
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    whole = re.fullmatch(r"([a-z][a-z0-9+.-]*://).*@([^@]*)", text, re.IGNORECASE)
    if whole:
        text = f"{whole[1]}***@{whole[2]}"
    text = _OPTIONS.sub(r"\1", text)
    masked = _ENCODED.sub("***", _CREDENTIALS.sub("***@", text))
    return _NAMED.sub(r"\1***", _HEADER.sub(r"\1***", masked))


@contextmanager
def driver_errors(place: str) -> Iterator[None]:
    """Turn the errors of MongoDB's driver into one line without its text.

    That text can hold the URI, and with it a password.

    Args:
        place: what to call the database.

    Raises:
        StoreError: the database cannot be reached or used.
    """
    from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

    try:
        yield
    except (InvalidURI, ConfigurationError):
        raise StoreError(
            f"{place}: not a usable MongoDB URI "
            "(special characters in user name and password must be percent-encoded)"
        ) from None
    except OperationFailure as err:
        reason = "authentication failed" if err.code == 18 else f"refused (code {err.code})"
        raise StoreError(f"{place}: {reason}") from None
    except PyMongoError as err:
        raise StoreError(f"{place}: not reachable ({type(err).__name__})") from None
