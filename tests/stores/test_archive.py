"""A campaign as one file: out of one store, into another, and the same."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore

from logan_campaign.core.errors import InputError
from logan_campaign.flows.local import Ledger
from logan_campaign.stores.archive import check_archive, read_archive, write_archive
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.collections import CAMPAIGN_DATABASE
from logan_campaign.stores.open import CampaignStores, open_store
from logan_campaign.stores.queries import CampaignDatabase

from .made_up import MadeUpCampaign


def everything(stores: CampaignStores) -> dict[str, list[dict[str, Any]]]:
    """Return all records of the campaign database."""
    return {
        name: [
            {key: value for key, value in doc.items() if key != "_id"}
            for doc in stores.collection(name).query(sort={"id": 1})
        ]
        for name in CAMPAIGN_DATABASE
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A campaign's file, and the campaign database that it was written from."""
    folder = tmp_path_factory.mktemp("archive")
    path = folder / "demo.campaign.gz"
    with open_store(folder, create=True) as stores:
        jobstore = JobStore(stores.docs, {"data": stores.data})
        MadeUpCampaign().store(jobstore)
        MadeUpCampaign("b", "another").store(jobstore)
        entry = {"id": "camp-a/1", "flow_id": "camp-a", "doc_type": "job", "order": 1}
        stores.ledger.update(entry, key="id")
        CampaignBuilder.from_stores(stores, "camp-a").build()
        (record,) = CampaignDatabase(stores).campaigns()
        summary = write_archive(stores, record, path)
        # 2 sets, 2 models, 2 pools, a selection, a screening, 10 relaxations have blobs
        assert summary.counts["ledger"] == 1
        assert summary.counts["blobs"] >= 18
        return path, everything(stores)


@pytest.mark.parametrize("backend", ["sqlite", "mongo"])
def test_an_imported_campaign_is_the_exported_one(
    archive: tuple[Path, dict[str, Any]],
    backend: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    path, before = archive
    where = str(tmp_path / "new")
    if backend == "mongo":
        where = request.getfixturevalue("mongo_uri")
    with open_store(where, create=True) as stores:
        assert read_archive(path, stores) == check_archive(path)
        assert everything(stores) == before
        database = CampaignDatabase(stores)
        (record,) = database.campaigns()
        model = database.models(record.id)[0]
        assert model.weights is not None
        assert database.load_blob(model.weights) == "weights of 0"
        write_archive(stores, record, tmp_path / "again.campaign.gz")
        # job documents, blobs and ledger are equal if the files are
        assert (tmp_path / "again.campaign.gz").read_bytes() == path.read_bytes()
        with pytest.raises(InputError, match="already"):
            read_archive(path, stores)


def changed(path: Path, to: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    to.write_bytes(gzip.compress(b"".join(change(lines))))
    return to


def another_campaign(lines: list[bytes]) -> list[bytes]:
    line = json.loads(lines[1])
    line["outputs"]["metadata"]["campaign_id"] = "camp-b"
    return [lines[0], json.dumps(line).encode() + b"\n", *lines[2:]]


def named(name: str) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        head = {**json.loads(lines[0]), "name": name}
        return [json.dumps(head).encode() + b"\n", *lines[1:]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "truncated"),
        (lambda lines: [*lines[:3], *lines[4:]], "checksum"),
        (lambda lines: [lines[0], lines[1].replace(b"demo", b"dema"), *lines[2:]], "checksum"),
        (lambda lines: lines[1:], "is not a logan-campaign archive"),
        (lambda lines: [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]], "newer"),
        (another_campaign, "line 2: a document of another campaign"),
        (lambda lines: [lines[0], b"[1]\n", *lines[1:]], "line 2: not a document"),
        (lambda lines: [lines[0], b"{\n", *lines[1:]], "line 2: not JSON"),
        (lambda lines: [lines[0], b"[" * 100_000 + b"\n", *lines[1:]], "line 2: not JSON: nested"),
        (
            lambda lines: [lines[0], b'{"n": ' + b"9" * 5000 + b"}\n", *lines[1:]],
            "line 2: not JSON",
        ),
        (named("/tmp/elsewhere"), "names no campaign: name is '/tmp/elsewhere'"),
        (named("mongodb://example.org/db"), "names no campaign"),
        (named("../up"), "names no campaign"),
        (named("a\nb"), "names no campaign"),
        (named(""), "names no campaign"),
        (lambda lines: [], "empty"),
        (lambda lines: [*lines, lines[1]], "after its end"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_and_nothing_is_written(
    archive: tuple[Path, dict[str, Any]], tmp_path: Path, change: Any, message: str
) -> None:
    bad = changed(archive[0], tmp_path / "bad.campaign.gz", change)
    with open_store(tmp_path, create=True) as stores:
        with pytest.raises(InputError, match=message):
            read_archive(bad, stores)
        assert stores.docs.count() == stores.data.count() == stores.ledger.count() == 0


def test_bytes_that_are_no_archive_are_one_line(
    archive: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    half = tmp_path / "half.campaign.gz"
    half.write_bytes(archive[0].read_bytes()[:2000])
    with pytest.raises(InputError, match="truncated"):
        check_archive(half)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(InputError, match="not a logan-campaign archive"):
        check_archive(tmp_path / "text")
    with pytest.raises(InputError, match="cannot read"):
        check_archive(tmp_path / "missing")


_READ_WITH_BOUNDED_MEMORY = """
import sys
from pathlib import Path
from logan_campaign.core.errors import InputError
from logan_campaign.stores.archive import check_archive
try:
    check_archive(Path(sys.argv[1]))
except InputError as err:
    print(err)
status = Path("/proc/self/status").read_text()  # getrusage counts what the parent had, too
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


@pytest.mark.parametrize(
    "bomb", [b"1" * 400_000_000, b'{"a":[' + b"0," * 30_000_000, b"[" * 50_000_000]
)
def test_what_unpacks_to_too_much_is_refused_within_bounds_of_memory(
    tmp_path: Path, bomb: bytes
) -> None:
    path = tmp_path / "bomb.campaign.gz"
    path.write_bytes(gzip.compress(bomb, 1))
    done = subprocess.run(
        [sys.executable, "-c", _READ_WITH_BOUNDED_MEMORY, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    said, peak_mb = done.stdout.splitlines()
    assert "line 1: larger than any document" in said
    assert int(peak_mb) < 500


def test_what_came_in_is_marked_and_its_ledger_is_not_run(
    archive: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with open_store(tmp_path / "new", create=True) as stores:
        ledger = Ledger(stores.ledger, "camp-a")
        read_archive(archive[0], stores)
        assert not ledger.is_imported()  # this one holds no flow, only a note
    flow = {"ledger": {"id": "camp-a", "flow_id": "camp-a", "doc_type": "flow", "state": "begun"}}
    lines = gzip.decompress(archive[0].read_bytes()).splitlines(keepends=True)
    end = json.loads(lines[-1])
    end["end"]["ledger"] += 1
    body = [*lines[:-1], json.dumps(flow).encode() + b"\n"]
    end["sha256"] = hashlib.sha256(b"".join(body)).hexdigest()
    path = tmp_path / "flow.campaign.gz"
    path.write_bytes(gzip.compress(b"".join([*body, json.dumps(end).encode() + b"\n"])))
    with open_store(tmp_path / "other", create=True) as stores:
        read_archive(path, stores)
        ledger = Ledger(stores.ledger, "camp-a")
        assert ledger.is_imported()
        ledger.forget()
        assert ledger.root() is None
        assert stores.docs.count() > 0
