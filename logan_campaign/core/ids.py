"""Ids derived from content.

Results are found again because their ids depend only on their inputs, not on time, machine or
process.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

_HEX_DIGITS = 16

#: Pattern of campaign names, which are also folder names.
CAMPAIGN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def canonical_json(obj: Any) -> str:
    """Return the canonical JSON text of an object: sorted keys, no white space.

    Raises:
        ValueError: NaN or infinite numbers, which have no JSON form.
        TypeError: objects without JSON form.
    """
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_id(prefix: str, obj: Any) -> str:
    """Return ``prefix-`` and the first 16 hexadecimal digits of the SHA-256 of ``obj``."""
    digest = hashlib.sha256(canonical_json(obj).encode()).hexdigest()
    return f"{prefix}-{digest[:_HEX_DIGITS]}"


def control_uuid(campaign_id: str) -> str:
    """Return the uuid of the job that writes a campaign's first control document."""
    return str(uuid5(NAMESPACE_URL, f"{campaign_id}/control"))
