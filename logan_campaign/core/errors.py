"""Errors that a user can act on.

The command line shows errors derived from :class:`LoganCampaignError` as one line, without a
traceback, and exits with code 2.
"""

from __future__ import annotations

import re


class LoganCampaignError(Exception):
    """Base of all errors raised on purpose, with a one-line message."""


class InputError(LoganCampaignError):
    """User input (a spec, a file, an option) is unusable."""


class StructureError(InputError):
    """A structure is unusable: unknown species, non-finite positions, colliding atoms."""


class StoreError(LoganCampaignError):
    """A store is unreachable, locked, from a newer version, or damaged."""


class ModelFileError(LoganCampaignError):
    """A model file is truncated, of another kind, or of an unknown version."""


#: What pydantic says, as regular expressions, and what users read instead.
_PLAIN = (
    (r"^Value error, ", ""),
    (r"^Input should ", "must "),
    (r"^(List|Tuple|Set|Dictionary|String|Value) should ", "must "),
    (r"^Extra inputs are not permitted$", "there is no such key"),
    (r"^Field required$", "this key is required"),
    (r"a valid integer", "a whole number"),
    (r"a valid (list|number|tuple)", r"a \1"),
    (r"a valid string", "text"),
    (r"a valid boolean", "true or false"),
    (r"a valid dictionary( or .*)?", "a mapping of keys to values"),
    (r", unable to (parse|interpret) .*", ""),
    (r", got a number with a fractional part", ""),
)


def plain(message: str) -> str:
    """Return pydantic's message of an invalid value in plain words."""
    for said, meant in _PLAIN:
        message = re.sub(said, meant, message)
    return message
