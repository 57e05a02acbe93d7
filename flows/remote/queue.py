"""A campaign in the queue of jobflow-remote: submission, status, control."""

from __future__ import annotations

import re
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobflow import Flow
from jobflow.core.reference import OnMissing
from jobflow_remote.jobs.data import FlowDoc
from jobflow_remote.jobs.state import RUNNING_STATES, JobState
from jobflow_remote.remote.data import check_additional_stores

from logan_campaign.campaign.placement import Placement
from logan_campaign.core.errors import InputError
from logan_campaign.core.redaction import redact
from logan_campaign.flows.control import Done
from logan_campaign.flows.local.events import Failure
from logan_campaign.flows.local.graph import JobKey
from logan_campaign.flows.local.status import FlowStatus, RunningJob
from logan_campaign.flows.remote.project import database_errors
from logan_campaign.flows.remote.registry import HALTED, WAITING, is_alive, registered
from logan_campaign.flows.remote.routing import place, settings_for
from logan_campaign.flows.stages import NEXT_ROUND, task_of

if TYPE_CHECKING:
    from jobflow_remote.config.base import Project
    from jobflow_remote.jobs.jobcontroller import JobController

#: The uuid of a campaign's flow derives from the campaign's id, so that the database refuses a
#: second submission.
_NAMESPACE = uuid.UUID("5b1f3e52-6c1d-4d8f-8a52-3f3a5c2f7a10")

#: Name of the jobs that may add another round.

_ACTIVE = tuple(state.value for state in RUNNING_STATES)
_NOT_STARTED = (JobState.WAITING.value, JobState.READY.value, JobState.PAUSED.value)
_FAILED = (JobState.FAILED.value, JobState.REMOTE_ERROR.value)

#: Our names of jobflow-remote's states.
_STATES = {
    JobState.WAITING.value: "waiting",
    JobState.READY.value: "ready",
    JobState.PAUSED.value: "paused",
    JobState.COMPLETED.value: "completed",
    JobState.FAILED.value: "failed",
    JobState.REMOTE_ERROR.value: "failed",
    JobState.STOPPED.value: "stopped",
    JobState.USER_STOPPED.value: "cancelled",
    # in the scheduler's queue, or on its way there
    JobState.CHECKED_OUT.value: "ready",
    JobState.UPLOADED.value: "ready",
    JobState.SUBMITTED.value: "ready",
    JobState.BATCH_SUBMITTED.value: "ready",
    JobState.RUNNING.value: "running",
    JobState.BATCH_RUNNING.value: "running",
    JobState.RUN_FINISHED.value: "running",
    JobState.DOWNLOADED.value: "running",
}


def flow_uuid(campaign_id: str) -> str:
    """Return the uuid of a campaign's flow in any queue."""
    return str(uuid.uuid5(_NAMESPACE, campaign_id))


def submit(
    flow: Flow,
    campaign_id: str,
    name: str,
    controller: JobController,
    placements: Mapping[str, Placement],
) -> list[str]:
    """Add a campaign's flow to the queue.

    Args:
        flow: the flow of ``CampaignMaker.make()``; modified in place.
        campaign_id: the campaign's id.
        name: the campaign's name.
        controller: controller of the project.
        placements: placement by stage; the default is the first worker.

    Returns:
        The jobs' ids in the queue.

    Raises:
        InputError: the campaign or another of the same name is already in the queue, or the
            project lacks a worker, an exec_config or a store that it needs.
    """
    project = project_of(controller)
    check_placements(placements, project)
    if controller.auxiliary.find_one({"next_id": {"$exists": True}}) is None:
        raise InputError(
            f"the queue of project '{project.name}' does not exist: "
            f"'logan-campaign remote init --project {project.name}' creates it"
        )
    found = controller.flows.find_one({"uuid": flow_uuid(campaign_id)})
    if found is not None and controller.jobs.count_documents({"uuid": {"$in": found["jobs"]}}):
        raise InputError(
            f"campaign '{name}' is already in project '{project.name}': 'status' shows progress, "
            "'resume' and 'retry --failed' continue it"
        )
    if found is not None:  # an interrupted submission
        controller.flows.delete_one({"uuid": found["uuid"]})
    other = controller.flows.find_one(
        {"metadata.campaign": name, "metadata.campaign_id": {"$ne": campaign_id}}
    )
    if other is not None:
        raise InputError(
            f"project '{project.name}' has a campaign '{name}' with another spec; "
            "give this one another name"
        )
    place(flow, placements)
    about = {"campaign_id": campaign_id, "campaign": name}
    outer = Flow(flow, name=name, uuid=flow_uuid(campaign_id), metadata=about)
    outer.update_metadata(about)
    default = placements.get("default", Placement()).worker or next(iter(project.workers))
    with warnings.catch_warnings():
        # the job that describes the campaign is not connected to others
        warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
        for job, _ in outer.iterflow():
            if missing := check_additional_stores(job, controller.jobstore):
                raise InputError(
                    f"project '{project.name}' has no additional store {', '.join(missing)}: "
                    "add it to 'jobstore', or see 'logan-campaign remote init'"
                )
        return list(controller.add_flow(outer, worker=default))


def project_of(controller: JobController) -> Project:
    """Return the project of a controller."""
    assert controller.project is not None
    return controller.project


def check_placements(placements: Mapping[str, Placement], project: Project) -> None:
    """Raise InputError if a project lacks a worker or exec_config named by placements."""
    if not project.workers:
        raise InputError(f"project '{project.name}' has no workers")
    for stage, placement in placements.items():
        if placement.worker is not None and placement.worker not in project.workers:
            raise InputError(
                f"workers: {stage}: project '{project.name}' has no worker "
                f"{placement.worker!r}; it has {', '.join(project.workers)}"
            )
        config = placement.exec_config
        if isinstance(config, str) and config not in project.exec_config:
            names = ", ".join(project.exec_config) or "none"
            raise InputError(
                f"workers: {stage}: project '{project.name}' has no exec_config {config!r}; "
                f"it has {names}"
            )


class RemoteFlow:
    """A campaign's flow in a queue; see :class:`logan_campaign.flows.control.FlowControl`."""

    def __init__(self, controller: JobController, campaign_id: str) -> None:
        self.controller, self.campaign_id = controller, campaign_id
        self.uuid = flow_uuid(campaign_id)

    @property
    def _project(self) -> str:
        return str(project_of(self.controller).name)

    def _flow(self) -> dict[str, Any]:
        with database_errors(self._project):
            found = self.controller.flows.find_one({"uuid": self.uuid})
        if found is None:
            raise InputError(
                f"campaign {self.campaign_id} is not in the queue of project "
                f"'{self._project}'; 'logan-campaign submit' adds it"
            )
        return dict(found)

    def _jobs(self, flow: Mapping[str, Any], **query: Any) -> list[dict[str, Any]]:
        fields = ["uuid", "index", "db_id", "state", "parents", "error", "remote.error"]
        fields += ["start_time", "end_time", "worker", "job.name", "job.metadata"]
        fields += ["remote.process_id"]
        fields += ["job.config.on_missing_references"]
        with database_errors(self._project):
            return list(
                self.controller.jobs.find(
                    {"uuid": {"$in": flow["jobs"]}, **query}, projection=fields
                ).sort("created_on", 1)
            )

    def status(self) -> FlowStatus:
        """Return the progress of the flow."""
        flow = self._flow()
        docs = self._jobs(flow)
        halted = flow["metadata"].get(HALTED, "")
        failed = {doc["uuid"] for doc in docs if doc["state"] in _FAILED}
        states = {doc["db_id"]: _state(doc, failed) for doc in docs}
        if not halted and not {"ready", "running"} & set(states.values()):
            # waiting jobs then wait for outputs that will never exist
            states = {k: "cancelled" if v == "waiting" else v for k, v in states.items()}
        by_stage: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for doc in docs:
            by_stage[task_of(doc["job"].get("metadata") or {}, doc["job"]["name"])][
                states[doc["db_id"]]
            ] += 1
        with database_errors(self._project):
            runner = registered(self.controller)
        alive = runner is not None and is_alive(runner)
        return FlowStatus(
            flow_id=self.campaign_id,
            about={
                **{k: v for k, v in flow["metadata"].items() if k != HALTED},
                "project": self._project,
            },
            created_at=flow["created_on"].replace(tzinfo=UTC).isoformat(timespec="milliseconds"),
            counts=dict(sum(by_stage.values(), Counter())),
            by_stage={name: dict(counts) for name, counts in by_stage.items()},
            failures=[
                Failure(_key(doc), doc["job"]["name"], _error(doc))
                for doc in docs
                if states[doc["db_id"]] == "failed"
            ],
            running=[
                RunningJob(_key(doc), doc["job"]["name"], _time(doc["start_time"]), None)
                for doc in docs
                if states[doc["db_id"]] == "running"
            ],
            pid=runner.get("logan_pid") if alive and runner is not None else None,
            elapsed_s=sum(
                (doc["end_time"] - doc["start_time"]).total_seconds()
                for doc in docs
                if doc.get("start_time") and doc.get("end_time")
            ),
            runner=runner["hostname"] if alive and runner is not None else "",
            halted=halted,
            waiting=self._waiting(docs),
        )

    def _waiting(self, docs: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
        """Return why jobs wait in a scheduler's queue, and how many for each reason."""
        with database_errors(self._project):
            said = {d["_id"]: d["reasons"] for d in self.controller.db[WAITING].find()}
        counts = Counter(
            reasons.get(doc["remote"].get("process_id")) or reasons.get("")
            for doc in docs
            if doc["state"] == JobState.SUBMITTED.value and (reasons := said.get(doc["worker"]))
        )
        return tuple((reason, n) for reason, n in counts.items() if reason)

    def pause(self) -> Done:
        """Hold all jobs that have not started; running jobs finish."""
        flow = self._flow()
        self._halt("paused")
        n = self._set(flow, (JobState.WAITING.value, JobState.READY.value), JobState.PAUSED)
        return Done(n, f"paused: {n} jobs are held; running jobs finish")

    def cancel(self) -> Done:
        """Stop all jobs; results are kept."""
        flow = self._flow()
        self._halt("cancelled")
        n = 0
        for _ in range(5):  # a job that is just ending can add others
            flow = self._flow()
            n += self._set(flow, _NOT_STARTED, JobState.USER_STOPPED)
            active = [doc["db_id"] for doc in self._jobs(flow, state={"$in": list(_ACTIVE)})]
            if not active:
                break
            with database_errors(self._project):
                # jobs that just ended, or are locked by the runner, are handled in the next pass
                n += len(self.controller.stop_jobs(db_ids=active, wait=10, raise_on_error=False))
        return Done(n, f"cancelled: {n} jobs were stopped; results are kept, 'resume' continues it")

    def resume(self) -> Done:
        """Continue after a pause or a cancellation."""
        flow = self._flow()
        held = self._jobs(flow, state={"$in": [JobState.PAUSED.value, JobState.USER_STOPPED.value]})
        with database_errors(self._project):
            self.controller.flows.update_one(
                {"uuid": self.uuid}, {"$unset": {f"metadata.{HALTED}": ""}}
            )
            for doc in held:
                self.controller.resume_job(db_id=doc["db_id"], wait=10)
        hint = "" if self.status().runner else f"; no runner is active: {self._how_to_start()}"
        return Done(len(held), f"{len(held)} jobs continue{hint}")

    def retry_failed(self) -> Done:
        """Run failed jobs again, and all jobs that depend on them."""
        flow = self._flow()
        document = FlowDoc.model_validate(flow)
        failed = self._jobs(flow, state={"$in": list(_FAILED)})
        lost = {doc["uuid"] for doc in failed}
        # jobs that failed because a parent failed are run again with it
        roots = [doc for doc in failed if not lost & set(doc["parents"])] or failed
        active = {doc["uuid"] for doc in self._jobs(flow, state={"$in": list(_ACTIVE)})}
        n, kept = 0, []
        for doc in roots:
            below = {uuid_ for uuid_, _ in document.descendants(doc["uuid"])}
            if active & below:
                kept.append(f"{doc['job']['name']}: jobs that depend on it are running")
                continue
            try:
                with database_errors(self._project):
                    self.controller.db["logan_campaign_restarts"].delete_one(
                        {"_id": f"{doc['uuid']}_{doc['index']}"}
                    )
                    changed = self.controller.rerun_job(
                        db_id=doc["db_id"], force=True, wait=10, delete_files=False
                    )
            except ValueError:
                # later jobs were created from its output or its failure
                kept.append(f"{doc['job']['name']}: the campaign has continued without it")
                continue
            n += len(changed)
        left = f"; not: {'; '.join(kept[:3])}" if kept else ""
        hint = "" if self.status().runner else f"; no runner is active: {self._how_to_start()}"
        return Done(n, f"{n} jobs run again{left}{hint if n else ''}")

    def move(self, placements: Mapping[str, Placement]) -> Done:
        """Move jobs that have not started, and future jobs, to other workers.

        Raises:
            InputError: the project lacks what the placements name.
        """
        check_placements(placements, project_of(self.controller))
        flow = self._flow()
        default = placements.get("default", Placement()).worker
        n = 0
        with database_errors(self._project):
            docs = self.controller.jobs.find(
                {"uuid": {"$in": flow["jobs"]}, "state": {"$in": list(_NOT_STARTED)}},
                projection=["db_id", "job.metadata", "worker"],
            )
            for doc in list(docs):
                config = settings_for(doc["job"].get("metadata") or {}, placements)
                changed = self.controller.jobs.update_one(
                    {"db_id": doc["db_id"], "state": {"$in": list(_NOT_STARTED)}, "lock_id": None},
                    {
                        "$set": {
                            "worker": config.get("worker") or default or doc["worker"],
                            "resources": config["resources"],
                            "exec_config": config["exec_config"],
                            "job.config.manager_config": config,
                            "job.config.pass_manager_config": False,
                        }
                    },
                )
                n += changed.modified_count
        return Done(n, f"{n} jobs that had not started are now placed as in the spec")

    def judge_again(self) -> Done:
        """Judge the last round again if it ended the campaign; otherwise the rules apply later."""
        flow = self._flow()
        last = max(
            self._jobs(flow, **{"job.metadata.task": NEXT_ROUND}),
            key=lambda doc: int(doc["db_id"]) if doc["db_id"].isdigit() else 0,
            default=None,
        )
        if last is None or last["state"] not in (*_NOT_STARTED, JobState.COMPLETED.value):
            return Done(0, "the last round is being judged: try again in a moment")
        if last["state"] != JobState.COMPLETED.value:
            return Done(1, "applies from the end of this round")
        with database_errors(self._project):
            self.controller.rerun_job(db_id=last["db_id"], force=True, wait=10, delete_files=False)
        return Done(1, "the last round is judged again")

    def _how_to_start(self) -> str:
        return f"logan-campaign remote start --project {self._project}"

    def _halt(self, how: str) -> None:
        with database_errors(self._project):
            self.controller.flows.update_one(
                {"uuid": self.uuid}, {"$set": {f"metadata.{HALTED}": how}}
            )

    def _set(self, flow: Mapping[str, Any], states: Iterable[str], to: JobState) -> int:
        with database_errors(self._project):
            changed = self.controller.jobs.update_many(
                {"uuid": {"$in": flow["jobs"]}, "state": {"$in": list(states)}, "lock_id": None},
                {"$set": {"state": to.value, "updated_on": datetime.now(UTC)}},
            )
            self.controller.update_flow_state(self.uuid)
        return int(changed.modified_count)


def _state(doc: Mapping[str, Any], failed: set[str]) -> str:
    strict = doc["job"]["config"]["on_missing_references"] == OnMissing.PASS.value
    if doc["state"] == JobState.FAILED.value and strict and failed & set(doc["parents"]):
        return "cancelled"  # it failed only because a parent failed
    return _STATES[doc["state"]]


def _key(doc: Mapping[str, Any]) -> JobKey:
    return JobKey(doc["uuid"], doc["index"])


def _time(time: datetime | None) -> str:
    return "" if time is None else time.replace(tzinfo=UTC).isoformat(timespec="milliseconds")


def _error(doc: Mapping[str, Any]) -> str:
    """Return the last line of a job's error, or of the runner's error on it."""
    text = doc.get("error") or doc.get("remote", {}).get("error") or "no reason given"
    lines = [line.strip() for line in redact(str(text)).splitlines() if line.strip()]
    last = next(
        (line for line in reversed(lines) if re.match(r"[\w.]*\w(Error|Exception)\b", line)), ""
    )
    return last or lines[-1]
