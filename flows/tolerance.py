"""Jobs that run even if some outputs that they refer to are missing."""

from __future__ import annotations

from jobflow import Job
from jobflow.core.reference import OnMissing


def tolerant(job: Job) -> Job:
    """Run a job even if jobs that it refers to failed: it gets None for their outputs."""
    job.config.on_missing_references = OnMissing.NONE
    return job
