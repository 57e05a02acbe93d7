"""jobflow-remote projects: write and open one."""

from __future__ import annotations

import importlib.util
import logging
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from logan_campaign.core.errors import InputError
from logan_campaign.core.files import file_errors, whole_file
from logan_campaign.core.redaction import driver_errors

if TYPE_CHECKING:
    from jobflow_remote.config.base import Project
    from jobflow_remote.jobs.jobcontroller import JobController

logger = logging.getLogger(__name__)

#: Additional store needed by the jobs of a campaign.
DATA = "data"

#: Polling intervals of the runner (s); jobflow-remote's default of 30 suits jobs of hours.
_DELAYS = {
    "delay_checkout": 0.5,
    "delay_check_run_status": 0.5,
    "delay_advance_status": 0.5,
    "delay_refresh_limited": 10,
    "delay_update_batch": 1,
    # a failing step, because of a full disk or an unreachable server, is retried for an hour
    "max_step_attempts": 12,
    "delta_retry": [5, 15, 60, 300],
    # of a stale lock
    "lock_timeout": 900,
}


class MongoPlace(NamedTuple):
    """Location of the database, without password; an environment variable may contain that."""

    uri: str
    password_env: str | None

    def store(self, collection: str, *, files: bool = False, key: str = "") -> dict[str, Any]:
        """Return the configuration of a collection, or of a GridFS bucket."""
        kind = "GridFSStore" if files else "MongoStore"
        extra: dict[str, Any] = {"compression": True} if files else {}
        if key:
            extra["key"] = key
        names = {"uri": self.uri, "collection_name": collection, **extra}
        names["mongoclient_kwargs"] = {"serverSelectionTimeoutMS": 10_000}
        if self.password_env is None:
            return {"@module": "maggma.stores", "@class": kind, "database": None, **names}
        return {
            "@module": "logan_campaign.stores.secrets",
            "@class": f"Environment{kind}",
            "password_env": self.password_env,
            **names,
        }


class ProjectSettings(NamedTuple):
    """Arguments of ``remote init``.

    Attributes:
        name: the project's name.
        mongo: the database for queue, documents and blobs.
        work_dir: directory for the jobs' directories.
        workers: names of the workers.
        max_jobs: jobs at a time on each.
        batch: run many jobs in one scheduler job.
        environment: environment variables for jobs.
        scheduler: ``shell`` or ``slurm``.
        resources: for the scheduler, as named in jobflow-remote's template.
        host: ``[user@]machine[:port]``, reached by SSH; None for this machine.
        python: of this package, on the workers' machine.
    """

    name: str
    mongo: MongoPlace
    work_dir: Path
    workers: tuple[str, ...] = ("local",)
    max_jobs: int = 1
    batch: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    scheduler: str = "shell"
    resources: tuple[tuple[str, Any], ...] = ()
    host: str | None = None
    python: str = sys.executable


def project_document(settings: ProjectSettings) -> dict[str, Any]:
    """Return the configuration of a project.

    The names of the collections are those that ``--store mongodb://…`` expects.
    """
    places = [Path(settings.python).parent]
    elsewhere = None if settings.host else shutil.which("jf")
    if not (places[0] / "jf").exists() and elsewhere is not None:
        places.append(Path(elsewhere).parent)  # batch workers start it by name
    lines = [f"export PATH={':'.join(shlex.quote(str(place)) for place in places)}:$PATH"]
    secret = {"MP_API_KEY", "PMG_MAPI_KEY", *filter(None, [settings.mongo.password_env])}
    lines.append(f"unset {' '.join(sorted(secret))}")
    lines.append("export OMP_NUM_THREADS=1")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.environment]
    workers = {}
    for name in settings.workers:
        worker: dict[str, Any] = {
            **_machine(settings.host),
            "scheduler_type": settings.scheduler,
            "work_dir": str(settings.work_dir / name),
            "pre_run": "\n".join(lines),
            "execution_cmd": f"{shlex.quote(settings.python)} -m "
            "logan_campaign.flows.remote.execute {}",
            "max_jobs": settings.max_jobs,
        }
        if settings.resources:
            worker["resources"] = dict(settings.resources)
        if settings.batch:
            worker["batch"] = {
                "jobs_handle_dir": str(settings.work_dir / f"{name}.batch" / "handle"),
                "work_dir": str(settings.work_dir / f"{name}.batch" / "work"),
                "max_wait": 30,
                "sleep_time": 0.2,
            }
        workers[name] = worker
    return {
        "name": settings.name,
        "log_level": "info",
        "workers": workers,
        "queue": {"store": settings.mongo.store("jobs")},
        "jobstore": {
            "@module": "jobflow.core.store",
            "@class": "JobStore",
            "docs_store": settings.mongo.store("outputs", key="uuid"),
            "additional_stores": {
                DATA: settings.mongo.store("outputs_blobs", files=True, key="blob_uuid")
            },
        },
        "runner": dict(_DELAYS),
    }


def _machine(host: str | None) -> dict[str, Any]:
    """Return the keys of a worker that say where it is."""
    if host is None:
        return {"type": "local"}
    user, _, machine = host.rpartition("@")
    name, _, port = machine.partition(":")
    found: dict[str, Any] = {"type": "remote", "host": name}
    return found | ({"user": user} if user else {}) | ({"port": int(port)} if port else {})


def projects_folder() -> Path:
    """Return the folder of project configurations (``JFREMOTE_PROJECTS_FOLDER``)."""
    from jobflow_remote import SETTINGS

    return Path(SETTINGS.projects_folder).expanduser()


def write_project(settings: ProjectSettings, *, force: bool = False) -> Path:
    """Write a project's configuration, readable only for its owner.

    Writing an equal configuration again changes nothing.

    Returns:
        The file.

    Raises:
        InputError: a different project of that name exists (without ``force``), or the file
            cannot be written.
    """
    folder = projects_folder()
    path = folder / f"{settings.name}.yaml"
    text = (
        "# jobflow-remote project for logan-campaign; keys:\n"
        "# https://matgenix.github.io/jobflow-remote/user/projectconf.html\n"
        + yaml.safe_dump(project_document(settings), sort_keys=False)
    )
    with file_errors("write", path):
        for other in (folder / f"{settings.name}.{ext}" for ext in ("json", "yaml", "toml")):
            if not other.exists():
                continue
            if other == path and path.read_text(encoding="utf-8") == text:
                path.chmod(0o600)
                return path
            if not force:
                raise InputError(f"{other} exists with different contents; --force overwrites it")
            if other != path:
                other.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        if settings.host is None:
            settings.work_dir.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            beside.touch(mode=0o600)
            beside.write_text(text, encoding="utf-8")
    return path


def load_project(name: str | None) -> Project:
    """Return a project's configuration.

    Raises:
        InputError: there is no such project, or it cannot be read; one line.
    """
    from jobflow_remote.config.base import ConfigError
    from jobflow_remote.config.manager import ConfigManager

    try:
        return ConfigManager().get_project(name)
    except ConfigError as err:
        folder = projects_folder()
        raise InputError(
            f"no usable project {name!r} in {folder}: {' '.join(str(err).split())}; "
            "'logan-campaign remote init' writes one, 'remote check' finds errors"
        ) from err


def stores_of(location: str) -> tuple[Any, Any, str]:
    """Return the stores of a project's jobs, and a description of them.

    Args:
        location: ``jf://project``, or ``jf://`` for the only one.

    Raises:
        InputError: jobflow-remote is not installed, or there is no such project.
    """
    if importlib.util.find_spec("jobflow_remote") is None:
        raise InputError("jobflow-remote is not installed: pip install 'logan-campaign[remote]'")
    project = load_project(location.partition("://")[2].strip("/") or None)
    jobstore = project.get_jobstore()
    if jobstore is None or DATA not in jobstore.additional_stores:
        raise InputError(
            f"project '{project.name}' has no additional store named {DATA!r}: "
            "see 'logan-campaign remote check'"
        )
    return jobstore.docs_store, jobstore.additional_stores[DATA], f"jf://{project.name}"


@contextmanager
def connected(project: Project) -> Iterator[JobController]:
    """Connect to the queue and the job store of a project.

    Raises:
        StoreError: the server cannot be reached or refuses; one line, without password.
    """
    from jobflow_remote.jobs.jobcontroller import JobController

    with database_errors(project.name):
        probe = project.get_queue_store()  # type: ignore[no-untyped-call]
        probe.connect()
        try:  # if the controller cannot be created, the connection is closed here
            probe.count({}, hint={"_id": 1})
        finally:
            probe.close()
        controller = JobController.from_project(project)
    try:
        yield controller
    finally:
        controller.close()


def database_errors(project: str) -> AbstractContextManager[None]:
    """Convert errors of the database driver to one line, without their text."""
    return driver_errors(f"database of project '{project}'")


def initialise(controller: JobController) -> bool:
    """Create the collections of an empty queue; return whether it was empty.

    Existing jobs and outputs are kept.
    """
    if controller.auxiliary.find_one({"next_id": {"$exists": True}}) is not None:
        return False
    controller.reset(max_limit=1)
    return True
