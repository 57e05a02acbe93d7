"""Local servers for the sources, a cache of the test's own, and no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from local_servers import (
    LOCAL_KEY,
    MaterialsProjectServer,
    remembered_fields,
    summary_documents,
)
from mp_api.client.routes.materials.summary import SummaryRester

from logan_campaign.sources import transfer


@pytest.fixture(autouse=True)
def of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, key or proxy of the user's reaches a test, and no back-off is waited for."""
    monkeypatch.setenv("LOGAN_CAMPAIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.setattr(transfer, "BACKOFF_S", (0.0, 0.0, 0.0))


def crystals(n: int = 5) -> list[Atoms]:
    """Return ``n`` crystals of ZnO and MgO that differ in lattice."""
    found = []
    for index in range(n):
        name, kind = (("ZnO", "zincblende"), ("MgO", "rocksalt"))[index % 2]
        atoms = bulk(name, kind, a=4.2 + 0.1 * index)
        found.append(atoms)
    return found


@pytest.fixture
def mp_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MaterialsProjectServer]:
    with MaterialsProjectServer(summary_documents(crystals())) as server:
        monkeypatch.setenv("MP_API_ENDPOINT", server.url + "/")
        monkeypatch.setenv("MP_API_KEY", LOCAL_KEY)
        monkeypatch.setattr(SummaryRester, "available_fields", remembered_fields())
        yield server


@pytest.fixture
def moved() -> Callable[[dict], None]:
    """Change a summary document as a new calculation would: other cell, other date."""

    def change(document: dict) -> None:
        lattice = document["structure"]["lattice"]
        lattice["matrix"] = (1.01 * np.array(lattice["matrix"])).tolist()
        for key in ("a", "b", "c"):
            lattice[key] *= 1.01
        document["last_updated"] = "2026-02-02T00:00:00"

    return change


@pytest.fixture
def ethanol() -> Atoms:
    return molecule("CH3CH2OH")
