"""Check a jobflow-remote project: one line per finding."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import tomlkit
import yaml
from jobflow_remote.remote.queue import ERR_FNAME, OUT_FNAME, QueueManager, set_name_out
from pydantic import ValidationError
from qtoolkit.core.data_objects import QJob, QState

from logan_campaign.core.errors import InputError, LoganCampaignError
from logan_campaign.core.redaction import redact
from logan_campaign.flows.remote.project import DATA, database_errors, projects_folder
from logan_campaign.flows.remote.registry import is_alive, registered
from logan_campaign.flows.remote.scheduler import ended_as, is_slurm, waiting

if TYPE_CHECKING:
    from jobflow_remote.config.base import Project, WorkerBase
    from jobflow_remote.jobs.jobcontroller import JobController
    from jobflow_remote.remote.host import BaseHost

#: Packages whose versions must be the same on every worker, or it cannot read its jobs.
_PACKAGES = ("logan-campaign", "jobflow", "jobflow-remote")
_SLOW_DELAY_S = 20.0
_PASSWORD_KEYS = ("password", "passphrase")
_MARK = "logan-campaign-check:"
_PROOF_WITHIN_S = 60.0


class Finding(NamedTuple):
    """Result of one check."""

    name: str
    ok: bool
    message: str


def check_project(name: str | None) -> tuple[str, list[Finding]]:
    """Check everything that a campaign needs of a project.

    Returns:
        The project's name and all findings, including the good ones.

    Raises:
        InputError: there is no such project.
    """
    path = _file(name)
    content, findings = _read(path)
    if content is None:
        return path.stem, findings
    from jobflow_remote.config.base import Project

    try:
        project = Project.model_validate(content)
    except ValidationError as err:
        for error in err.errors(include_url=False, include_context=False, include_input=False):
            where = ".".join(map(str, error["loc"]))
            lines = [line for line in error["msg"].splitlines() if line.strip()]
            findings.append(
                Finding("configuration", False, redact(f"{where}: {lines[-1].strip()}"))
            )
        return str(content.get("name", path.stem)), findings
    findings.append(Finding("configuration", True, str(path)))
    findings += _passwords(path, content)
    findings += _stores(project)
    findings += _queue(project)
    for worker_name, worker in project.workers.items():
        findings += [f._replace(name=f"worker {worker_name}") for f in _worker(worker)]
    if not project.workers:
        findings.append(Finding("workers", False, "there is none"))
    slow = {
        key: value
        for key, value in project.runner.model_dump().items()
        if key in ("delay_checkout", "delay_check_run_status", "delay_advance_status")
        and value > _SLOW_DELAY_S
    }
    if slow and all(worker.is_local for worker in project.workers.values()):
        told = ", ".join(f"{key} {value:g} s" for key, value in slow.items())
        findings.append(Finding("runner", True, f"slow for local workers: {told}; try 1 s"))
    return project.name, findings


def _file(name: str | None) -> Path:
    folder = projects_folder()
    found = sorted(p for ext in ("json", "yaml", "toml") for p in folder.glob(f"*.{ext}"))
    wanted = [p for p in found if name is None or p.stem == name or _named(p) == name]
    if len(wanted) == 1:
        return wanted[0]
    names = ", ".join(p.stem for p in found) or "none"
    if wanted:
        raise InputError(f"{folder} contains several projects ({names}): give --project")
    raise InputError(f"no project {name!r} in {folder}; there is {names}")


def _named(path: Path) -> str | None:
    content, _ = _read(path)
    return None if content is None else content.get("name")


def _read(path: Path) -> tuple[dict[str, Any] | None, list[Finding]]:
    try:
        text = path.read_text(encoding="utf-8")
        parse: dict[str, Callable[[str], Any]] = {
            "json": json.loads,
            "yaml": yaml.safe_load,
            "toml": tomlkit.parse,
        }
        content = parse[path.suffix[1:]](text)
    except (OSError, ValueError, yaml.YAMLError) as err:
        first = " ".join(redact(str(err)).split())
        return None, [Finding("configuration", False, f"{path} cannot be read: {first[:200]}")]
    if not isinstance(content, dict):
        return None, [Finding("configuration", False, f"{path} contains no keys")]
    return content, []


def _passwords(path: Path, content: dict[str, Any]) -> Iterator[Finding]:
    def written(obj: Any) -> bool:
        if isinstance(obj, dict):
            here = any(obj.get(key) for key in _PASSWORD_KEYS)
            uri = str(obj.get("uri") or obj.get("host") or "")
            return here or redact(uri) != uri or any(written(v) for v in obj.values())
        return isinstance(obj, list) and any(written(v) for v in obj)

    if not written(content):
        return
    open_to_others = path.stat().st_mode & 0o077
    yield Finding(
        "secrets",
        not open_to_others,
        f"{path.name} contains a password"
        + (f" and others can read it: chmod 600 {path}" if open_to_others else "")
        + "; 'remote init' reads it from the environment instead",
    )


def _stores(project: Project) -> Iterator[Finding]:
    jobstore = project.get_jobstore()
    if jobstore is None:
        yield Finding("jobstore", False, "there is none")
        return
    docs = jobstore.docs_store
    kinds = {kind.__name__ for kind in type(docs).__mro__}
    if "MongoStore" not in kinds or "MemoryStore" in kinds:
        yield Finding("jobstore", False, f"is a {type(docs).__name__}; it must be a MongoStore")
    if DATA not in jobstore.additional_stores:
        yield Finding(
            "jobstore",
            False,
            f"has no additional store named '{DATA}', for models, pools and trajectories",
        )
    for label, store in (("jobstore", docs), ("data store", jobstore.additional_stores.get(DATA))):
        if store is None:
            continue
        try:
            _answers(store, project.name)
        except LoganCampaignError as err:
            yield Finding(label, False, str(err))
        else:
            yield Finding(label, True, "answers")


def _answers(store: Any, project: str) -> None:
    with database_errors(project):
        store.connect()
        try:
            store.count()
        finally:
            store.close()


def _queue(project: Project) -> Iterator[Finding]:
    from logan_campaign.flows.remote.project import connected

    try:
        with connected(project) as controller, database_errors(project.name):
            yield from _queue_content(controller)
    except LoganCampaignError as err:
        yield Finding("queue", False, str(err))


def _queue_content(controller: JobController) -> Iterator[Finding]:
    server = controller.db.client.server_info()["version"]
    if controller.auxiliary.find_one({"next_id": {"$exists": True}}) is None:
        yield Finding("queue", False, "does not exist: 'logan-campaign remote init' creates it")
        return
    try:
        made_by = str(controller.get_current_db_version())
    except (ValueError, KeyError, AttributeError):
        made_by = "unknown"
    installed = version("jobflow-remote")
    if made_by == installed:
        yield Finding("queue", True, f"answers (MongoDB {server}, jobflow-remote {installed})")
    else:
        versions = f"was created by jobflow-remote {made_by}, and {installed} is installed"
        yield Finding("queue", False, f"{versions}: 'jf admin upgrade'")
    runner, start = registered(controller), "'logan-campaign remote start'"
    if runner is None:
        yield Finding("runner", False, f"none is running: {start}, or 'jf runner start'")
    elif not is_alive(runner):
        yield Finding("runner", False, f"the one on {runner['hostname']} has died: {start}")
    else:
        yield Finding("runner", True, f"running on {runner['hostname']}")


def _worker(worker: WorkerBase) -> Iterator[Finding]:
    """Check a worker through the same connection, and the same scheduler, as its jobs.

    ``jf project check`` also lists all jobs of the scheduler. For the shell scheduler as root, this
    fails on machines that show kernel threads, since qtoolkit does not know their state I in
    ``ps``. Jobs are not affected, as only their own processes are queried.
    """
    try:
        host = worker.get_host()
        host.connect()  # type: ignore[no-untyped-call]
    except Exception as err:  # noqa: BLE001  fabric, paramiko and the network all have their own
        yield Finding("", False, f"cannot be reached: {redact(' '.join(str(err).split()))[:200]}")
        return
    try:
        command = worker.execution_cmd or "jf -fe execution run {}"
        first = shlex.split(command)[0]
        ours = "logan_campaign.flows.remote.execute" in command
        python = shlex.quote(first) if ours else '"$(dirname "$(command -v jf)")/python"'
        work_dir = shlex.quote(str(worker.work_dir))
        script = "\n".join(
            [
                worker.pre_run or "",
                f"mkdir -p {work_dir} && test -w {work_dir} || echo '{_MARK}no work_dir'",
                f"command -v {'jf' if worker.batch or not ours else first} >/dev/null "
                f"|| echo '{_MARK}no program'",
                f"{python} -c {shlex.quote(_ask())}",
            ]
        )
        if worker.is_local and worker.scheduler_type == "shell":
            out, err_out, _ = host.execute(f"bash -c {shlex.quote(script)}")
        else:
            out, err_out = _by_a_job(worker, host, script)
        yield from _judge(worker, ours, out, err_out)
    except _NotRunError as err:
        yield Finding("", False, redact(str(err)))
    finally:
        host.close()


class _NotRunError(Exception):
    """A job of the scheduler did not run."""


def _by_a_job(worker: WorkerBase, host: BaseHost, script: str) -> tuple[str, str]:
    """Run a script as a job of a worker's scheduler; return what it printed.

    Raises:
        _NotRunError: it was refused, or did not end within a minute.
    """
    queue = QueueManager(worker.get_scheduler_io(), host)
    folder = worker.work_dir / f"check-{uuid4().hex[:8]}"
    resources = dict(worker.resources or {})
    names = folder / OUT_FNAME, folder / ERR_FNAME
    set_name_out(resources, "logan-campaign-check", *names)
    try:
        sent = queue.submit(script, options=resources, work_dir=folder, create_submit_dir=True)
    except (OSError, RuntimeError) as err:
        raise _NotRunError(f"work_dir {worker.work_dir} cannot be written to: {err}") from err
    if sent.job_id is None:
        said = " ".join(f"{sent.stderr or ''} {sent.stdout or ''}".split())
        raise _NotRunError(f"the scheduler refuses a job: {said[:200]}")
    number = str(sent.job_id)
    until = time.monotonic() + _PROOF_WITHIN_S
    while any(job.job_id == number for job in _in_queue(queue, number)):
        if time.monotonic() > until:
            why = waiting(queue, [number]).get(number) if is_slurm(worker) else None
            queue.cancel(number)
            state = f"waits: {why}" if why else "has not ended"
            raise _NotRunError(
                f"job {number} of the scheduler {state} (after {_PROOF_WITHIN_S:g} s)"
            )
        time.sleep(0.5)
    try:
        out, err_out = (host.read_text_file(name) for name in names)
    except OSError:
        ended = ended_as(queue, number) if is_slurm(worker) else ""
        raise _NotRunError(
            f"job {number} of the scheduler left no output {ended}".strip()
        ) from None
    host.rmtree(folder)
    return out, err_out


def _in_queue(queue: QueueManager, number: str) -> list[QJob]:
    """Return a job as the scheduler lists it while it waits or runs."""
    ended = (QState.DONE, QState.FAILED)
    return [job for job in queue.get_jobs_list([number]) if job.state not in ended]


def _ask() -> str:
    return (
        "import json, sys, importlib.metadata as m\n"
        f"names = {list(_PACKAGES)!r}\n"
        "def v(n):\n"
        "    try: return m.version(n)\n"
        "    except m.PackageNotFoundError: return None\n"
        f"print('{_MARK}' + json.dumps([sys.executable, {{n: v(n) for n in names}}]))"
    )


def _judge(worker: WorkerBase, ours: bool, out: str, err_out: str) -> Iterator[Finding]:
    said = [line.partition(_MARK)[2] for line in out.splitlines() if line.startswith(_MARK)]
    if "no work_dir" in said:
        yield Finding("", False, f"work_dir {worker.work_dir} cannot be created or written to")
    if "no program" in said:
        program = "jf" if worker.batch or not ours else shlex.split(str(worker.execution_cmd))[0]
        yield Finding("", False, f"{program!r} is not found there: set PATH in pre_run")
    answers = [line for line in said if line.startswith("[")]
    if not answers:
        last = " ".join((err_out.strip().splitlines() or ["no answer"])[-1].split())
        yield Finding("", False, f"Python does not start there: {redact(last)[:200]}")
        return
    python, found = json.loads(answers[-1])
    wrong = []
    for package in _PACKAGES:
        if found[package] is None:
            extra = " (pip install 'logan-campaign[remote]')" if package != "jobflow" else ""
            wrong.append(f"{package} is not installed in {python}{extra}")
        elif found[package] != version(package):
            wrong.append(f"{package} is {found[package]} there and {version(package)} here")
    for message in wrong:
        yield Finding("", False, message)
    if not ours:
        yield Finding(
            "",
            True,
            "jobs are not supervised (time_limit_s, killed processes, full disks): see "
            "execution_cmd in docs/howto/remote.md",
        )
    if not wrong:
        where = " in a job of SLURM" if is_slurm(worker) else ""
        where += "" if worker.is_local else f" on {getattr(worker, 'host', 'another machine')}"
        yield Finding("", True, f"runs {python}{where}")
    if worker.is_local and os.access(worker.work_dir, os.W_OK):
        from logan_campaign.flows.remote.execute import disk_is_full

        if disk_is_full(Path(worker.work_dir)):
            yield Finding("", False, f"the disk of {worker.work_dir} is full: jobs wait there")
