"""What tests of sources that read files share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from logan_campaign.sources import SourceSpec

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the reference data beside the checkout are absent"
)

WATER = "3\nwater\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


def load(path: Path | str, base: Path | None = None, **settings: object):
    source = TypeAdapter(SourceSpec).validate_python(
        {"type": "files", "path": str(path), **settings}
    )
    return source.load(base)
