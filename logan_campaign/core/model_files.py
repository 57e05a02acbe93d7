"""Files of trained models: safetensors with a JSON header, free of code."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from logan_campaign.core.errors import ModelFileError

_HEADER_KEY = "logan-campaign"


def write_tensors(kind: str, header: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of a safetensors file with a JSON header that names its kind."""
    # A single entry, since safetensors does not order them: equal models must give equal bytes.
    text = json.dumps({"format": kind, "header": header}, sort_keys=True)
    arrays = {k: np.asarray(v, order="C") for k, v in tensors.items()}
    return save_tensors(arrays, {_HEADER_KEY: text})


def read_tensors(kind: str, content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and tensors in the bytes of :func:`write_tensors`.

    Raises:
        ModelFileError: if the bytes are truncated or foreign.
    """
    found, tensors = _read(content)
    if found.get("format") != kind or "header" not in found:
        raise ModelFileError(f"the file is not a {kind}")
    return found["header"], tensors


def read_model(
    kind: str, version: int, content: bytes
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and tensors of a model's file, of the algorithm version that is current.

    Raises:
        ModelFileError: if the bytes are truncated, foreign or of another version.
    """
    header, tensors = read_tensors(kind, content)
    found = header.get("algorithm_version")
    if found != version:
        raise ModelFileError(
            f"the model file has algorithm version {found}, this program has "
            f"{version}: train the model again"
        )
    return header, tensors


def file_kind(content: bytes) -> str | None:
    """Return the kind of a file of :func:`write_tensors`; None for other files.

    Raises:
        ModelFileError: if the bytes are no safetensors file.
    """
    kind = _read(content)[0].get("format")
    return kind if isinstance(kind, str) else None


def _read(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        tensors = load_tensors(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        found = json.loads(metadata.get(_HEADER_KEY, "{}"))
    except (SafetensorError, ValueError) as err:
        raise ModelFileError(f"not a complete safetensors file: {err}") from err
    return (found if isinstance(found, dict) else {}), tensors
