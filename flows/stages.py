"""Stage, task and placement of a campaign's jobs.

Every job of a campaign has metadata, set where its Maker is defined::

    @job(metadata=stage("match", "screen"), …)

They are stored with the job: ``stage`` (determines worker and settings), ``task`` (what progress
counts) and ``round``; for relaxations also ``level`` and ``candidate``.
If a campaign runs on several workers, ``manager_config`` of each job contains the settings of all
stages, so that jobs can place the jobs that they add.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from jobflow import CURRENT_JOB, Flow, Job
from jobflow.core.job import store_inputs
from jobflow.core.reference import OnMissing

from logan_campaign.campaign.placement import Stage

#: Key of ``manager_config`` for the settings of all stages; jobflow-remote ignores unknown keys.
SETTINGS = "stages"

#: Task of the jobs that judge a round and may add the next one.
NEXT_ROUND = "next round"

AnyJobs = TypeVar("AnyJobs", Job, Flow)


def stage(name: Stage, task: str = "") -> dict[str, Any]:
    """Return the metadata of jobs.

    Args:
        name: Stage.
        task: Task, if it differs from the stage.
    """
    return {"stage": name, "task": task or name}


def task_of(metadata: Mapping[str, Any], name: str) -> str:
    """Return a job's task and level, or its name if its metadata have none.

    The job that jobflow adds to gather the outputs of a replacement keeps its name: its metadata
    are those of the job that was replaced.
    """
    task = metadata.get("task")
    if task is None or name == store_inputs.__name__:
        return name
    return " ".join(filter(None, (task, metadata.get("level"))))


def relaxation_of(relaxation: Job, candidate_id: str, level: str) -> Job:
    """Set candidate and level in the name and metadata of a relaxation job."""
    relaxation.name = f"relax {level} {candidate_id}"
    relaxation.update_metadata({"level": level, "candidate": candidate_id}, dynamic=False)
    return relaxation


def settings_of(metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``manager_config`` of a job with this metadata.

    Args:
        metadata: Metadata of the job; without a stage it belongs to ``default``.
        settings: ``manager_config`` per stage, and per ``relax.LEVEL``.
    """
    name = metadata.get("stage", "default")
    keys = (f"{name}.{metadata.get('level')}", name, "default")
    own: dict[str, Any] = next((settings[key] for key in keys if key in settings), {})
    # a list, since names of levels may contain dots, which keys of MongoDB should not
    return {**own, SETTINGS: [list(pair) for pair in settings.items()]}


def place_jobs(jobs: Job | Flow, settings: Mapping[str, Any]) -> None:
    """Place jobs according to the settings of their stages.

    Passing on a job's own ``manager_config`` to the jobs that it adds is turned off. If a parent
    fails, jobflow cancels a job, but jobflow-remote lets it wait forever, together with
    descendants that tolerate its failure. Therefore such jobs are started with the available
    outputs and fail, and the campaign continues.

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
    """Place jobs that the running job adds by the settings in its ``manager_config``, if any."""
    adding = CURRENT_JOB.job
    settings = None if adding is None else adding.config.manager_config.get(SETTINGS)
    if settings is not None:
        place_jobs(jobs, dict(settings))
    return jobs
