"""What a job of a campaign does, and where jobs of its stage run.

Every job of a campaign says so in its metadata, given where its Maker is defined::

    @job(metadata=stage("match", "screen"), …)

so it is stored and travels with the job: ``stage`` (where it runs, what settings it has),
``task`` (what it does, by which progress is counted) and ``round``; a relaxation has its
``level`` and ``candidate`` there too.
Where a campaign runs on several workers, ``manager_config`` of each job holds the settings of
all stages, so that jobs which add others can place them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from jobflow import CURRENT_JOB, Flow, Job
from jobflow.core.reference import OnMissing

from logan_campaign.campaign.placement import Stage

#: Key of ``manager_config`` under which the settings of all stages stand. jobflow-remote
#: ignores keys that it does not know.
SETTINGS = "stages"

#: Task of the jobs that judge a round and decide whether another one follows.
NEXT_ROUND = "next round"

AnyJobs = TypeVar("AnyJobs", Job, Flow)


def stage(name: Stage, task: str = "") -> dict[str, Any]:
    """Return the metadata of jobs.

    Args:
        name: Stage that they belong to.
        task: What they do, if the stage does not say it.
    """
    return {"stage": name, "task": task or name}


def task_of(metadata: Mapping[str, Any], name: str) -> str:
    """Return what a job does, at which level; its name where the metadata do not say."""
    task = metadata.get("task")
    return name if task is None else " ".join(filter(None, (task, metadata.get("level"))))


def relaxation_of(relaxation: Job, candidate_id: str, level: str) -> Job:
    """Say in a job's name and metadata which candidate it relaxes, and at which level."""
    relaxation.name = f"relax {level} {candidate_id}"
    relaxation.update_metadata({"level": level, "candidate": candidate_id}, dynamic=False)
    return relaxation


def settings_of(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``manager_config`` of a job with this metadata.

    Args:
        metadata: Of the job; one without a stage belongs to ``default``.
        settings: ``manager_config`` per stage, and per ``relax.LEVEL``.
    """
    name = metadata.get("stage", "default")
    keys = (f"{name}.{metadata.get('level')}", name, "default")
    own: dict[str, Any] = next((settings[key] for key in keys if key in settings), {})
    # a list, since names of levels may have dots, which keys of MongoDB should not
    return {**own, SETTINGS: [list(pair) for pair in settings.items()]}


def place_jobs(jobs: Job | Flow, settings: Mapping[str, Any]) -> None:
    """Let jobs run where the settings of their stages say.

    A job would hand its own ``manager_config`` on to all that it adds: that is turned off.
    And where jobflow would cancel a job because one that it needs failed, jobflow-remote lets
    it wait for ever, and with it whatever could do without. So such jobs start with what is
    there, fail in their turn, and the campaign goes on.

    Args:
        jobs: Changed in place.
        settings: ``manager_config`` per stage, and per ``relax.LEVEL``.
    """
    members = [jobs] if isinstance(jobs, Job) else [member for member, _ in jobs.iterflow()]
    for member in members:
        member.config.pass_manager_config = False
        member.config.manager_config = settings_of(member.metadata, settings)
        if OnMissing(member.config.on_missing_references) is OnMissing.ERROR:
            member.config.on_missing_references = OnMissing.PASS


def placed(jobs: AnyJobs) -> AnyJobs:
    """Return jobs that the running job adds, placed by the settings that it holds, if any."""
    adding = CURRENT_JOB.job
    settings = None if adding is None else adding.config.manager_config.get(SETTINGS)
    if settings is not None:
        place_jobs(jobs, dict(settings))
    return jobs
