"""JSON text of the messages, outputs and records of jobs.

Jobflow documents are JSON plus a few types of BSON (dates, ObjectIds, bytes), encoded as MongoDB
Extended JSON. Unlike pickle, decoding never runs code.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any

from bson import json_util
from jobflow import Flow, Job
from monty.json import jsanitize

from logan_campaign.flows.stages import task_of

#: Texts longer than this (characters) are compressed by :func:`pack`.
_PACK_ABOVE = 50_000
_PACKED = "zlib:"
_MAX_UNPACKED_BYTES = 128 * 2**20


def dumps(obj: Any) -> str:
    """Return the JSON text of a document.

    Raises:
        TypeError: an object has no JSON or BSON form.
    """
    return json.dumps(obj, default=json_util.default, separators=(",", ":"))


def loads(text: str) -> Any:
    """Return the document in a text of :func:`dumps`."""
    # The hook is called for every dictionary, so it is omitted if nothing needs it.
    if '{"$' in text:
        return json.loads(text, object_hook=json_util.object_hook)
    return json.loads(text)


def pack(obj: Any) -> str:
    """Return the document as one text, compressed when long.

    A text suits every store: no limit on nesting, no problems with dots or dollar signs in keys,
    and well below a store's limit on the size of a document.
    """
    text = dumps(obj)
    if len(text) <= _PACK_ABOVE:
        return text
    return _PACKED + base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")


def unpack(text: str) -> Any:
    """Return the document in a text of :func:`pack`.

    Raises:
        ValueError: the text is damaged.
    """
    if text.startswith(_PACKED):
        try:
            text = _unpacked(base64.b64decode(text[len(_PACKED) :], validate=True))
        except zlib.error as err:
            raise ValueError(f"packed document is damaged: {err}") from err
    try:
        return loads(text)
    except RecursionError as err:
        raise ValueError("packed document is nested too deeply") from err


def _unpacked(packed: bytes) -> str:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, _MAX_UNPACKED_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError("packed document is larger than any flow")
    return data.decode()


def references(obj: Any) -> Iterator[str]:
    """Yield the uuids of all output references inside a serialised object."""
    if isinstance(obj, dict):
        if obj.get("@class") == "OutputReference":
            yield obj["uuid"]
            return
        obj = obj.values()
    elif not isinstance(obj, list | tuple):
        return
    for item in obj:
        # Most values are numbers and texts: skipped here, to save a generator each.
        if isinstance(item, dict | list | tuple):
            yield from references(item)


def outline(flow: Flow | Job) -> dict[str, Any]:
    """Return the outline of a flow for the runner: dependencies and serialised jobs.

    Each serialised job is one JSON text (``job``), parsed only by a worker. As texts, thousands of
    jobs with structures take a tenth of the memory of dictionaries, and need no parsing when a
    record is replayed.
    """
    if isinstance(flow, Job):
        # as_dict of a Maker does not serialise pydantic models in its fields
        job = jsanitize(flow.as_dict(), strict=True, enum_values=True, allow_bson=True)
        uuids = references([job["function_args"], job["function_kwargs"]])
        return {
            "uuid": flow.uuid,
            "index": flow.index,
            "name": flow.name,
            "task": task_of(flow.metadata, flow.name),
            "references": list(dict.fromkeys(uuids)),
            "resolve": bool(flow.config.resolve_references),
            # whether a missing output of a parent prevents the job from running
            "needs_outputs": str(flow.config.on_missing_references) == "error",
            "job": dumps(job),
        }
    return {
        "uuid": flow.uuid,
        "name": flow.name,
        "order": str(flow.order),
        "jobs": [outline(member) for member in flow.jobs],
    }
