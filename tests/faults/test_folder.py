"""What people do to a campaign's folder loses nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from fault_tools import spec
from kill_resume import contents, differences, doubled_or_lost, jobs_done, start

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished campaign; its store is ``store``."""
    folder = tmp_path_factory.mktemp("finished")
    assert run(folder).wait() == 0
    return folder


def run(folder: Path) -> subprocess.Popen[bytes]:
    content = spec(kwargs={"delay_s": 3.0})
    content["models"] = {"count": 1, "hyperparameters": {"method": "descent"}}
    (folder / "spec.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        return start(folder / "spec.yaml", str(folder / "store"), folder, ["-q"])


def test_campaign_in_a_copied_or_moved_folder_is_the_same_and_repeats_nothing(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "copied")
    (tmp_path / "copied").rename(tmp_path / "moved")
    store = str(tmp_path / "moved" / "store")
    n = jobs_done(store)
    assert run(tmp_path / "moved").wait() == 0
    assert jobs_done(store) == n
    one, other = (contents(place, "small") for place in (str(finished / "store"), store))
    assert len(one["candidates"]) > 1
    assert differences(one, other) == []
    assert doubled_or_lost(store) == []
