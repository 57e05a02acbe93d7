"""A campaign can be read, shown and exported where GPAW cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jobflow import JobStore
from stores.made_up import MadeUpCrystals  # tests/stores

from logan_campaign import open_store
from logan_campaign.core.documents import Document
from logan_campaign.stores.builders import CampaignBuilder

PROGRAM = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("gpaw", "_gpaw"):
            raise ModuleNotFoundError("hidden", name=name)

sys.meta_path.insert(0, Hidden())
try:
    import gpaw
except ModuleNotFoundError:
    pass
else:
    sys.exit("GPAW is there")

from logan_campaign.cli import main

def call(*arguments):
    sys.argv = ["logan-campaign", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)

call("results", "store")
call("show", "store", "cand-a2")
call("lineage", "store", "cand-a2")
names = ("a.extxyz", "a.json", "a.db", "a.optimade.jsonl", "a.campaign.gz", "cifs --format=cif")
for name in names:
    call("export", "store", *f"out/{name}".split())
call("report", "store", "--output", "out/report.html")

from starlette.testclient import TestClient
from logan_campaign import Results
from logan_campaign.web.app import create_app

with Results.open("store") as results:
    with TestClient(create_app(results), "http://127.0.0.1") as client:
        for page in ("/", "/candidates/cand-a2"):
            answer = client.get(page)
            assert answer.status_code == 200, (page, answer.status_code)
            assert "demo" in answer.text or "cand-a2" in answer.text
"""


class Crystals(MadeUpCrystals):
    """A campaign of crystals, in its own document too."""

    def campaign(self) -> list[Document]:
        return [doc.model_copy(update={"kind": "crystal"}) for doc in super().campaign()]


def test_results_are_read_shown_and_exported_without_gpaw(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with open_store(tmp_path / "store", create=True) as stores:
        Crystals().store(JobStore(stores.docs, additional_stores={"data": stores.data}))
        CampaignBuilder.from_stores(stores).build()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "6 candidates" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"a.extxyz", "a.optimade.jsonl", "a.campaign.gz", "report.html"} <= written
    assert "data_" in next((tmp_path / "out" / "cifs").iterdir()).read_text()
