"""Arrays inside JSON documents.

Pools and maps are large; each is one compressed text, which every store supports (jobflow puts it
in the additional store ``data``).
"""

from __future__ import annotations

import base64
import binascii
import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from logan_campaign.core.errors import LoganCampaignError

if TYPE_CHECKING:
    import numpy as np

#: Limits against decompression bombs: unpacked bytes, and ratio to the packed size.
_UNPACKED_BYTES = 2**28
_UNPACKED_TIMES = 40


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return named arrays as base64 text of a compressed ``.npz`` archive."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def unpack_arrays(text: str) -> dict[str, np.ndarray]:
    """Return the arrays in a text of :func:`pack_arrays`.

    Raises:
        LoganCampaignError: the text is truncated or not such an archive.
    """
    import numpy as np

    try:
        raw = base64.b64decode(text, validate=True)
        with zipfile.ZipFile(io.BytesIO(raw)) as entries:
            size = sum(entry.file_size for entry in entries.infolist())
        if size > max(_UNPACKED_BYTES, _UNPACKED_TIMES * len(raw)):
            raise ValueError(f"{len(raw)} bytes would become {size}")
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (binascii.Error, ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as err:
        raise LoganCampaignError(f"packed arrays are damaged: {err}") from err


def pack_numbers(values: np.ndarray) -> str:
    """Return numbers as base64 text, in single precision if that is exact."""
    import numpy as np

    exact = np.asarray(values, dtype="<f8").ravel()
    short = exact.astype("<f4")
    lossless = np.array_equal(short.astype("<f8"), exact, equal_nan=True)
    kind, raw = ("f", short.tobytes()) if lossless else ("d", exact.tobytes())
    return f"{kind}:{base64.b64encode(raw).decode('ascii')}"


def unpack_numbers(text: str) -> np.ndarray:
    """Return the numbers in a text of :func:`pack_numbers`, as a one-dimensional array.

    Raises:
        ValueError: the text is truncated or of another format.
    """
    import numpy as np

    kind, _, rest = text.partition(":")
    try:
        if kind not in ("f", "d"):
            raise ValueError(f"unknown kind {kind!r}")
        raw = base64.b64decode(rest, validate=True)
        return np.frombuffer(raw, dtype="<f4" if kind == "f" else "<f8").astype(np.float64)
    except ValueError as err:  # includes binascii.Error
        raise ValueError(f"packed numbers are damaged: {err}") from err
