"""Arrays inside JSON documents.

Pools and maps are large; they travel between jobs as one compressed text each, which
every store can hold (jobflow puts it in the additional store ``data``).
"""

from __future__ import annotations

import base64
import binascii
import io
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from logan_campaign.errors import LoganCampaignError


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return named arrays as base64 text of a compressed ``.npz`` archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def unpack_arrays(text: str) -> dict[str, np.ndarray]:
    """Return the arrays that :func:`pack_arrays` packed.

    Raises:
        LoganCampaignError: if the text is truncated or not such an archive.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (binascii.Error, ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as err:
        raise LoganCampaignError(f"packed arrays are damaged: {err}") from err
