"""Control of a flow that runs, or ran, on this machine."""

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

    There is no process but the one that runs it: what makes it go on again is
    :func:`logan_campaign.flows.local.run_flow`, for which :meth:`resume` and
    :meth:`retry_failed` prepare the record.
    """

    def __init__(self, ledger: Ledger, work_dir: Path) -> None:
        self.ledger, self.work_dir = ledger, work_dir

    def status(self) -> FlowStatus:
        """Return how far the flow is."""
        return flow_status(self.ledger, self.work_dir)

    def cancel(self) -> Done:
        """Stop the process that runs it, and let no other go on before :meth:`resume`."""
        return self._stop("cancelled", "results stay, 'resume' goes on")

    def pause(self) -> Done:
        """Stop the process that runs it; what it was at runs again later."""
        return self._stop("paused", "'resume', or the same 'run', goes on")

    def resume(self) -> Done:
        """Take back a pause or a cancellation."""
        status = self.status()
        if status.pid is not None:
            raise InputError(f"the campaign is running already (pid {status.pid})")
        self.ledger.halt("")
        n = sum(status.counts.get(state, 0) for state in ("waiting", "ready"))
        return Done(n, f"{n} jobs go on")

    def retry_failed(self) -> Done:
        """Let failed jobs run again, and those that were cancelled because of them."""
        if (pid := runner_pid(self.work_dir)) is not None:
            raise InputError(f"the campaign is running (pid {pid}); wait, or 'pause' it")
        n = self.ledger.forget_failures()
        left = len(self.status().failures)
        kept = f"; not {left} that the campaign has gone on without" if left else ""
        if n:
            self.ledger.halt("")
        return Done(n, f"{n} failed jobs run again{kept}")

    def _stop(self, how: str, then: str) -> Done:
        status = self.status()
        if status.finished:
            raise InputError("the campaign has finished: there is nothing to stop")
        # first the note: then nobody can start it anew in between
        self.ledger.halt(how)
        pid = runner_pid(self.work_dir)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + _STOP_WITHIN_S
            while runner_pid(self.work_dir) is not None:
                if time.monotonic() > until:
                    raise StoreError(f"process {pid} does not stop; it has been asked to")
                time.sleep(0.1)
        n = sum(status.counts.get(state, 0) for state in ("waiting", "ready", "running"))
        return Done(n, f"{how}: {n} jobs are left; {then}")
