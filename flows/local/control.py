"""Control of a flow on this machine."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.flows.control import Done
from logan_campaign.flows.local.ledger import Ledger
from logan_campaign.flows.local.status import FlowStatus, flow_status, runner_pid

_STOP_WITHIN_S = 60.0


class LocalFlow:
    """A flow in a ledger; see :class:`logan_campaign.flows.control.FlowControl`.

    :meth:`resume` and :meth:`retry_failed` only prepare the record;
    :func:`logan_campaign.flows.local.run_flow` then continues the flow.
    """

    def __init__(self, ledger: Ledger, work_dir: Path) -> None:
        self.ledger, self.work_dir = ledger, work_dir

    def status(self) -> FlowStatus:
        """Return the progress of the flow."""
        return flow_status(self.ledger, self.work_dir)

    def cancel(self) -> Done:
        """Stop the process that runs the flow; only :meth:`resume` can continue it."""
        return self._stop("cancelled", "results are kept, 'resume' continues it")

    def pause(self) -> Done:
        """Stop the process that runs the flow; its running jobs will run again later."""
        return self._stop("paused", "'resume', or the same 'run', continues it")

    def resume(self) -> Done:
        """Lift a pause or a cancellation."""
        status = self.status()
        if status.pid is not None:
            raise InputError(f"the campaign is running already (pid {status.pid})")
        self.ledger.halt("")
        n = sum(status.counts.get(state, 0) for state in ("waiting", "ready"))
        return Done(n, f"{n} jobs continue")

    def retry_failed(self) -> Done:
        """Run failed jobs again, and jobs that were cancelled because of them."""
        if (pid := runner_pid(self.work_dir)) is not None:
            raise InputError(f"the campaign is running (pid {pid}); wait, or 'pause' it")
        n = self.ledger.forget_failures()
        left = len(self.status().failures)
        kept = f"; {left} not, since the campaign has continued without them" if left else ""
        if n:
            self.ledger.halt("")
        return Done(n, f"{n} failed jobs run again{kept}")

    def _stop(self, how: str, then: str) -> Done:
        status = self.status()
        if status.finished:
            raise InputError("the campaign has finished: there is nothing to stop")
        # noted first, so that no other process can start it in between
        self.ledger.halt(how)
        pid = runner_pid(self.work_dir)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + _STOP_WITHIN_S
            while runner_pid(self.work_dir) is not None:
                if time.monotonic() > until:
                    raise StoreError(f"process {pid} was asked to stop and did not")
                time.sleep(0.1)
        n = sum(status.counts.get(state, 0) for state in ("waiting", "ready", "running"))
        return Done(n, f"{how}: {n} jobs are left; {then}")
