"""Interface to status and control of a campaign's flow, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from logan_campaign.flows.local.status import FlowStatus


class Done(NamedTuple):
    """Result of an action: number of jobs affected, and one line of text."""

    n_jobs: int
    message: str


class FlowControl(Protocol):
    """A started flow, on this machine or elsewhere.

    All methods raise StoreError, with one line, if the record of the flow cannot be reached, and
    InputError if the flow's state does not allow the action.
    """

    def status(self) -> FlowStatus:
        """Return the progress of the flow."""

    def cancel(self) -> Done:
        """Cancel the flow: running jobs are ended, the others do not start. Results are kept."""

    def pause(self) -> Done:
        """Pause the flow: no further job starts."""

    def resume(self) -> Done:
        """Continue after a pause, a cancellation or a stop."""

    def retry_failed(self) -> Done:
        """Run failed jobs again, and the jobs skipped because of them."""
