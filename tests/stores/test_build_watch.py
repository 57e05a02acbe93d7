"""``build --watch`` keeps the campaign database up to date for readers in other processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jobflow import JobStore

from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import open_store
from logan_campaign.stores.queries import CampaignDatabase

from .made_up import MadeUpCampaign


def wait(found: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("mongo", marks=pytest.mark.long)])
def test_a_growing_campaign_is_followed_until_ctrl_c(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path) if backend == "sqlite" else request.getfixturevalue("mongo_uri")
    campaign = MadeUpCampaign()
    watch = [sys.executable, "-m", "logan_campaign", "build", place, "--watch", "--every", "0.1"]
    with open_store(place, create=True) as stores:
        jobs = JobStore(stores.docs, {"data": stores.data})
        counts = CampaignDatabase(stores).counts
        campaign.store(jobs, upto=5)
        assert counts(campaign.id)["pending"] == 0
        process = subprocess.Popen(watch, stderr=subprocess.PIPE, text=True)
        try:
            wait(lambda: counts(campaign.id)["pending"] == 6, process)
            campaign.store(jobs)
            wait(lambda: counts(campaign.id)["new"] == 1, process)
            time.sleep(0.5)  # looks that find nothing new
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=30)[1].splitlines()
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 130
        # it speaks where something was built, and of nothing else
        assert said
        assert all(line.startswith(campaign.id) for line in said if line), said
        assert CampaignBuilder.from_stores(stores).build() == []
