"""A flow on this machine can be paused, cancelled, resumed, and its failures retried."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jobflow import Flow
from runner_tools import memory_jobstore, memory_ledger, wait_until
from runner_zoo import add, fail, nap

from logan_campaign.core.errors import InputError
from logan_campaign.flows.local import Ledger, LocalFlow, run_flow
from logan_campaign.stores.open import open_store

SCRIPT = """
import sys
from pathlib import Path
from jobflow import Flow, JobStore
from logan_campaign.flows.local import Ledger, run_flow
from logan_campaign.stores.open import open_store
from runner_zoo import add, nap
folder = Path(sys.argv[1])
with open_store(folder, create=True) as stores:
    long = nap(60)
    run_flow(
        Flow([long, add(long.output, 1)]),
        jobstore=JobStore(stores.docs, additional_stores={"data": stores.data}),
        ledger=Ledger(stores.ledger, "flow"),
        work_dir=folder / "work",
        n_workers=1,
        transaction=stores.transaction,
    )
"""


@pytest.mark.parametrize(("action", "halted"), [("pause", "paused"), ("cancel", "cancelled")])
def test_running_flow_is_stopped_and_resumed(tmp_path: Path, action: str, halted: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=Path(__file__).parent
    )
    try:
        with open_store(tmp_path, create=True) as stores:
            flow = LocalFlow(Ledger(stores.ledger, "flow"), tmp_path / "work")
            wait_until(lambda: flow.ledger.root() and flow.status().running, within_s=60)
            with pytest.raises(InputError, match="running already"):
                flow.resume()
            with pytest.raises(InputError, match="is running"):
                flow.retry_failed()
            done = getattr(flow, action)()
            assert process.wait(60) == 0
            assert (done.n_jobs, flow.status().halted) == (2, halted)
            assert flow.status().pid is None
            # again changes nothing
            assert getattr(flow, action)().n_jobs == 2
            assert flow.resume().n_jobs == 2
            assert flow.status().halted == ""
            assert flow.status().counts == {"ready": 1, "waiting": 1}
    finally:
        process.kill()
        process.wait()


def test_failed_jobs_are_retried_and_finished_flows_are_left_alone(tmp_path: Path) -> None:
    ledger, store = memory_ledger(), memory_jobstore()
    failing = fail()
    failing.name = "failing"
    flow = Flow([failing, add(failing.output, 1), nap(0)])
    run_flow(flow, jobstore=store, ledger=ledger, work_dir=tmp_path, n_workers=1)
    control = LocalFlow(ledger, tmp_path)
    assert control.status().counts == {"completed": 1, "failed": 1, "cancelled": 1}
    with pytest.raises(InputError, match="finished"):
        control.cancel()
    assert control.retry_failed().n_jobs == 1
    assert control.status().counts == {"completed": 1, "ready": 1, "waiting": 1}
    run_flow(None, jobstore=store, ledger=ledger, work_dir=tmp_path, n_workers=1)
    assert [failure.name for failure in control.status().failures] == ["failing"]
