"""Texts of other programs, before they are shown: errors of drivers can hold a URI's password."""

from __future__ import annotations

import re

#: user:password@ or user@ behind a scheme; greedy, for passwords that hold an @ themselves
_CREDENTIALS = re.compile(r"(?<=://)[^\s/'\"]*:[^\s'\"]*@")
_NAMED = re.compile(
    r"((?:password|passphrase|secret|api_?key|token)['\"]?\s*[=:]\s*)(['\"]?)[^\s'\",}&]+\2",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return a text without passwords, as far as they can be told.

    >>> redact("cannot reach mongodb://me:secret@host/db (password='abc')")
    'cannot reach mongodb://***@host/db (password=***)'
    """
    return _NAMED.sub(r"\1***", _CREDENTIALS.sub("***@", text))
