"""What can be asked of a campaign's flow and done to it, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from logan_campaign.flows.local.status import FlowStatus


class Done(NamedTuple):
    """What came of an action: how many jobs it concerned, and one line for people."""

    n_jobs: int
    message: str


class FlowControl(Protocol):
    """A flow that was started, on this machine or elsewhere.

    All of these raise StoreError, with one line, if the record of the flow cannot be reached,
    and InputError if the flow's state does not admit the action.
    """

    def status(self) -> FlowStatus:
        """Return how far the flow is; changes nothing."""

    def cancel(self) -> Done:
        """Stop it for good: running jobs end, the others do not start. Results stay."""

    def pause(self) -> Done:
        """Let no further job start."""

    def resume(self) -> Done:
        """Go on after a pause, a cancellation or a stop."""

    def retry_failed(self) -> Done:
        """Let failed jobs run again, and what was given up because of them."""
