"""Lossless encoding of documents as JSON text.

Dates, object ids, bytes and special floats are encoded as in MongoDB's Extended JSON v2, as objects
with one reserved key:

==================  =========================================================
``{"$date": s}``    datetime, UTC, milliseconds: ``2026-01-31T12:00:00.250Z``
``{"$oid": s}``     ``bson.ObjectId``
``{"$binary": s}``  bytes, base64
``{"$numberDouble": s}``  ``NaN``, ``Infinity``, ``-Infinity``
``{"$text": s}``    text with a NUL character, at which SQLite would truncate it
``{"$literal": d}`` a dict that looks like one of these
==================  =========================================================

As in MongoDB, datetimes are decoded without time zone, in UTC, truncated to milliseconds, and
integers must fit in 64 bits.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from logan_campaign.core.errors import StoreError

_INT64 = 2**63


def sanitize(doc: Any) -> Any:
    """Return ``doc`` as plain containers, like maggma's MongoStore before writing."""
    from monty.json import jsanitize  # imports numpy, which reading does not need

    return jsanitize(doc, allow_bson=True, recursive_msonable=True)


def date_text(value: datetime) -> str:
    """Return the text of a datetime, of fixed width, so that texts sort like times."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat(timespec="milliseconds") + "Z"


def parse_date(text: str) -> datetime:
    """Return the datetime (UTC, without time zone) of :func:`date_text`."""
    return datetime.fromisoformat(text.removesuffix("Z"))


def _encode(obj: Any) -> Any:
    if isinstance(obj, str):
        return {"$text": obj} if "\0" in obj else obj
    if obj is None or isinstance(obj, bool):
        return obj
    if isinstance(obj, dict):
        encoded = {key: _encode(value) for key, value in obj.items()}
        if len(obj) == 1 and next(iter(obj)) in (*_DECODERS, "$literal"):
            return {"$literal": encoded}
        return encoded
    if isinstance(obj, list):
        return [_encode(value) for value in obj]
    if isinstance(obj, int):
        if not -_INT64 <= obj < _INT64:
            raise StoreError(f"integer {obj} does not fit in 64 bits")
        return obj
    if isinstance(obj, float):
        if math.isfinite(obj):
            return obj
        name = "NaN" if math.isnan(obj) else "Infinity" if obj > 0 else "-Infinity"
        return {"$numberDouble": name}
    if isinstance(obj, datetime):
        return {"$date": date_text(obj)}
    if isinstance(obj, ObjectId):
        return {"$oid": str(obj)}
    if isinstance(obj, bytes):
        return {"$binary": base64.b64encode(obj).decode("ascii")}
    raise StoreError(f"a value of type {type(obj).__name__} cannot be stored")


_DECODERS: dict[str, Callable[[str], Any]] = {
    "$date": parse_date,
    "$oid": ObjectId,
    "$binary": base64.b64decode,
    "$numberDouble": float,
    "$text": str,
}


def _decode(obj: Any) -> Any:
    if isinstance(obj, list):
        return [_decode(value) for value in obj]
    if not isinstance(obj, dict):
        return obj
    if len(obj) == 1:
        [(key, value)] = obj.items()
        if key in _DECODERS:
            return _DECODERS[key](value)
        if key == "$literal":
            return {inner: _decode(item) for inner, item in value.items()}
    return {key: _decode(value) for key, value in obj.items()}


def dumps(obj: Any, *, sort_keys: bool = False) -> str:
    """Return the JSON text of a sanitized document or value.

    Args:
        obj: the document.
        sort_keys: sort the fields by name, so that equal documents give equal texts.

    Raises:
        StoreError: integers beyond 64 bits, invalid Unicode, or unsupported types.
    """
    text = json.dumps(
        _encode(obj),
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
        sort_keys=sort_keys,
    )
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise StoreError(f"text is not valid Unicode: {err.reason}") from err
    return text


def loads(text: str | bytes) -> Any:
    """Return the document in a text of :func:`dumps`."""
    obj = json.loads(text)
    marker = b'"$' if isinstance(text, bytes) else '"$'
    # Most documents contain no extended value, and need no walk.
    return _decode(obj) if marker in text else obj  # type: ignore[operator]
