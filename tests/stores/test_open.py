"""Opening the stores of campaigns, and jobflow on top of them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.stores.collections import CAMPAIGN_DATABASE
from logan_campaign.stores.open import CampaignStores, open_store


@pytest.fixture(params=["sqlite", "mongo"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CampaignStores]:
    if request.param == "sqlite":
        location = str(tmp_path / "campaign")
    else:
        location = request.getfixturevalue("mongo_uri")
    with open_store(location, create=True) as opened:
        yield opened


@pytest.mark.parametrize(
    ("location", "file"),
    [
        ("folder", "folder/campaign.sqlite"),
        ("a.sqlite", "a.sqlite"),
        ("deep/a.db", "deep/a.db"),
        ("sqlite:///b.sqlite3", "b.sqlite3"),
        ("sqlite:///{cwd}/c.sqlite", "c.sqlite"),
    ],
)
def test_a_location_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    location = location.replace("{cwd}", str(tmp_path))
    with pytest.raises(StoreError, match="no such file"):
        open_store(location)
    assert list(tmp_path.iterdir()) == []
    with open_store(location, create=True) as stores:
        stores.ledger.update({"id": "x"})
        assert (tmp_path / file).is_file()
        assert stores.folder == (tmp_path / file).parent
    with open_store(location) as stores:
        assert stores.ledger.count() == 1


def test_the_collections_are_kept_apart_and_open_again(
    stores: CampaignStores,
) -> None:
    for name in CAMPAIGN_DATABASE:
        stores.collection(name).update([{"id": name}, {"id": "x"}])
    for name in CAMPAIGN_DATABASE:
        assert sorted(doc["id"] for doc in stores.collection(name).query()) == sorted([name, "x"])
    with pytest.raises(InputError, match="no collection"):
        stores.collection("nonsense")  # type: ignore[arg-type]


def test_a_transaction_covers_all_collections(tmp_path: Path) -> None:
    with open_store(tmp_path, create=True) as stores:

        def fail_half_way() -> None:
            with stores.transaction():
                stores.docs.update({"uuid": "a", "index": 1})
                stores.data.update({"blob_uuid": "b", "data": [1]})
                stores.collection("models").update({"id": "m"})
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_half_way()
        assert stores.docs.count() == stores.data.count() == 0
        assert stores.collection("models").count() == 0


def test_jobflow_keeps_large_parts_as_blobs(stores: CampaignStores) -> None:
    store = JobStore(stores.docs, {"data": stores.data}, save={"data": ["big"]})
    numbers = random.Random(0)
    big = [numbers.random() for _ in range(100_000)]
    document = {"uuid": "u", "index": 1, "output": {"big": big, "small": 1}, "name": "job"}
    for _ in range(2):
        store.update(dict(document))
    [bare] = store.query({"uuid": "u"}, ["output"])
    assert bare["output"]["big"].keys() == {"@class", "@module", "blob_uuid", "store"}
    [loaded] = store.query({"uuid": "u"}, ["output"], load=True)
    assert loaded["output"] == {"big": big, "small": 1}
    assert store.get_output("u", load=True)["big"] == big
    assert store.count() == 1
    store.remove_docs({"uuid": "u"})
    assert stores.docs.count() == 0
    assert stores.data.count() == 0


def test_blobs_are_kept_small_and_apart(tmp_path: Path) -> None:
    with open_store(tmp_path, create=True) as stores:
        blob: dict[str, Any] = {"job_uuid": "u", "job_index": 1, "data": {"x": "ab" * 2_000_000}}
        stores.data.update([{**blob, "blob_uuid": str(n)} for n in range(3)], key="blob_uuid")
        database = stores.docs.database
        [(size,)] = database.rows("SELECT max(length(doc)) FROM c_outputs_blobs")
        assert size < 200
        [(size,)] = database.rows("SELECT max(length(payload)) FROM c_outputs_blobs")
        assert size < 100_000
        found = list(stores.data.query({"blob_uuid": {"$in": ["0", "2"]}}, ["blob_uuid", "data"]))
        assert found == [{"blob_uuid": n, "data": blob["data"]} for n in ("0", "2")]
        [without] = stores.data.query({"blob_uuid": "1"}, ["job_uuid"])
        assert without == {"job_uuid": "u"}
        assert stores.data.count({"data.x": {"$exists": True}}) == 3
        stores.data.update({"blob_uuid": "1", "data": None})
        assert stores.data.query_one({"blob_uuid": "1"}) == {"blob_uuid": "1", "data": None}


# --- what can go wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mongodb://user:s3cret@127.0.0.1:9/base", "not reachable"),
        ("mongodb://user:s3cret@127.0.0.1:9", "names no database"),
        ("mongodb://user:s3cret/x@host:9/base", "percent-encoded"),
        ("mongodb://user:s3cret?@@host:port/base", "percent-encoded"),
        ("postgresql://user:s3cret@host/base", "unknown kind"),
    ],
)
def test_an_unusable_uri_is_one_line_without_password(uri: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        open_store(uri, create=True, timeout_s=0.2)
    text = str(caught.value)
    assert "s3cret" not in text
    assert "\n" not in text
    assert "***@" in text


def test_mongodb_without_campaigns_is_not_touched(mongo_uri: str) -> None:
    with pytest.raises(StoreError, match="no campaigns"):
        open_store(mongo_uri)
    with open_store(mongo_uri, create=True) as stores:
        assert stores.folder is None
        assert stores.describe() == mongo_uri
    with open_store(mongo_uri) as stores, stores.transaction():
        stores.ledger.update({"id": 1})


def test_a_wrong_password_is_told_without_it(mongo_uri: str) -> None:
    uri = mongo_uri.replace("mongodb://", "mongodb://someone:s3cret@")
    with pytest.raises(StoreError, match="authentication failed") as caught:
        open_store(uri)
    assert "s3cret" not in str(caught.value)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="folder cannot be made"):
        open_store(tmp_path / "file" / "a", create=True)
    with pytest.raises(StoreError, match="no such file"):
        open_store(tmp_path / "file" / "a")


def test_projects_of_a_queue_open_without_the_command_line() -> None:
    script = (
        "from logan_campaign.core.errors import InputError\n"
        "from logan_campaign.stores.open import open_store\n"
        "try:\n    open_store('jf://there-is-no-such-project')\n"
        "except InputError as err:\n    print(err)\n"
    )
    pytest.importorskip("jobflow_remote", reason="needs the extra 'remote'")
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no usable project 'there-is-no-such-project'" in done.stdout
