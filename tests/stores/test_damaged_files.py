"""A damaged store is named in one line, or answers what it still holds."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from jobflow import JobStore

from logan_campaign.cli.app import app, load_commands
from logan_campaign.core.errors import LoganCampaignError, StoreError
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store

from .made_up import MadeUpCampaign


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    with open_store(folder, create=True) as stores:
        MadeUpCampaign().store(JobStore(stores.docs, {"data": stores.data}))
        CampaignBuilder.from_stores(stores, "camp-a").build()
    with closing(sqlite3.connect(folder / "campaign.sqlite")) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "campaign.sqlite").read_bytes()


def damaged(data: bytes, number: int, rng: random.Random) -> bytes:
    content = bytearray(data)
    kind = number % 6
    if kind == 0:
        for _ in range(rng.randint(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == 1:
        start = rng.randrange(min(len(content), 20_000))
        content[start : start + 64] = rng.randbytes(64)
    elif kind == 2:
        del content[rng.randrange(len(content)) :]
    elif kind == 3:
        start = rng.randrange(len(content))
        content[start : start + 4096] = rng.randbytes(4096)
    elif kind == 4:
        content[rng.randrange(100)] = rng.randrange(256)
    else:
        start = 4096 * rng.randrange(len(content) // 4096)
        content[start : start + 4096] = bytes(4096)
    return bytes(content)


COMMANDS = (
    ["status"],
    ["results"],
    ["results", "--json"],
    ["show", "cand-a0"],
    ["lineage", "cand-a0"],
)


@pytest.mark.parametrize("n_damages", [48, pytest.param(600, marks=pytest.mark.long)])
def test_damages_give_a_line_each_or_answers(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], n_damages: int
) -> None:
    load_commands()
    rng = random.Random(0)
    ends: Counter[str] = Counter()
    said = []
    for number in range(n_damages):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "campaign.sqlite").write_bytes(damaged(whole, number, rng))
        name, *more = COMMANDS[number % len(COMMANDS)]
        try:
            app([name, "demo", *more, "--store", str(folder)], standalone_mode=False)
            ends["answered"] += 1
        except LoganCampaignError as err:
            ends["refused"] += 1
            said.append(str(err))
    assert not [text for text in said if "\n" in text or "wait" in text]
    assert ends["answered"] > n_damages / 10
    assert ends["refused"] > n_damages / 10
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("content", [b"", b"some text, no store\n" * 100])
def test_what_is_no_store_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "campaign.sqlite").write_bytes(content)
    with pytest.raises(StoreError, match=r"empty|not an SQLite file"):
        open_store(tmp_path)
