"""Packed arrays: what comes back, and what is refused."""

from __future__ import annotations

import base64
import io
import zipfile

import numpy as np
import pytest

from logan_campaign.core.arrays import pack_arrays, unpack_arrays
from logan_campaign.core.errors import LoganCampaignError


def test_arrays_come_back_as_they_were() -> None:
    arrays = {"cells": np.zeros((1000, 3, 3)), "names": np.array(["a", "bc"]), "none": np.empty(0)}
    back = unpack_arrays(pack_arrays(arrays))
    assert back.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(back[name], values)


def archive(name: str, content: bytes) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as entries:
        entries.writestr(name, content)
    return base64.b64encode(buffer.getvalue()).decode()


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(LoganCampaignError, match=r"\d+ bytes would become \d+"):
        unpack_arrays(archive("positions.npy", bytes(2**28 + 1)))


@pytest.mark.parametrize("text", ["", "AAAA", "no base64!", pack_arrays({"a": np.ones(9)})[:-40]])
def test_what_is_no_archive_is_one_error(text: str) -> None:
    with pytest.raises(LoganCampaignError, match="damaged"):
        unpack_arrays(text)


def test_pickled_objects_are_not_loaded() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(LoganCampaignError, match="damaged"):
        unpack_arrays(archive("a.npy", buffer.getvalue()))
