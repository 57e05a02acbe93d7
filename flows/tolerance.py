"""Jobs that run although some of what they refer to is missing."""

from __future__ import annotations

from jobflow import Job
from jobflow.core.reference import OnMissing


def tolerant(job: Job) -> Job:
    """Let a job run although some of the jobs it refers to failed: it gets None for them."""
    job.config.on_missing_references = OnMissing.NONE
    return job
