"""Files of trained models: safetensors with a JSON header, which hold no code."""

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
    """Return a safetensors file with a JSON header that says what it is."""
    # One entry: safetensors writes several in no fixed order, and equal models are equal bytes.
    text = json.dumps({"format": kind, "header": header}, sort_keys=True)
    arrays = {k: np.asarray(v, order="C") for k, v in tensors.items()}
    return save_tensors(arrays, {_HEADER_KEY: text})


def read_tensors(kind: str, content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and tensors of a file that :func:`write_tensors` made.

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
            f"the model file is of algorithm version {found}, this program's is "
            f"{version}: train the model anew"
        )
    return header, tensors


def file_kind(content: bytes) -> str | None:
    """Return what :func:`write_tensors` was told that a file is; None for a foreign file.

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
