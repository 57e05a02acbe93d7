"""Running flows on this machine: parallel processes, progress, resume after any end."""

from logan_campaign.core.processors import usable_cores
from logan_campaign.flows.local.control import LocalFlow
from logan_campaign.flows.local.display import Display
from logan_campaign.flows.local.events import (
    Event,
    Failure,
    JobFailed,
    JobFinished,
    JobProgress,
    JobsAdded,
    JobStarted,
    RunStarted,
    RunSummary,
    Tick,
)
from logan_campaign.flows.local.graph import Graph, JobKey, JobState, StageCount
from logan_campaign.flows.local.ledger import LEDGER_FIELDS, LEDGER_KEY, Ledger
from logan_campaign.flows.local.lock import exclusive
from logan_campaign.flows.local.runner import run_flow
from logan_campaign.flows.local.status import FlowStatus, RunningJob, flow_status

__all__ = [
    "LEDGER_FIELDS",
    "LEDGER_KEY",
    "Display",
    "Event",
    "Failure",
    "FlowStatus",
    "Graph",
    "JobFailed",
    "JobFinished",
    "JobKey",
    "JobProgress",
    "JobStarted",
    "JobState",
    "JobsAdded",
    "Ledger",
    "LocalFlow",
    "RunStarted",
    "RunSummary",
    "RunningJob",
    "StageCount",
    "Tick",
    "exclusive",
    "flow_status",
    "run_flow",
    "usable_cores",
]
