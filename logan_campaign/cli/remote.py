"""``logan-campaign remote``: projects of jobflow-remote and their runner."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    JF,
    JsonOption,
    ProjectOption,
    TrustOption,
    console,
    escape,
    print_json,
    require_remote,
    say,
)
from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.core.trust import VARIABLE

if TYPE_CHECKING:
    from logan_campaign.flows.remote.project import MongoPlace

remote_app = typer.Typer(
    help="jobflow-remote projects: create and check one, run its jobs.", no_args_is_help=True
)
app.add_typer(remote_app, name="remote")

PASSWORD_ENV = "LOGAN_CAMPAIGN_MONGO_PASSWORD"

_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 60.0


@remote_app.command()
def init(
    project: Annotated[str, typer.Option("--project", "-p", help="Name of the project.")] = "logan",
    mongo: Annotated[
        str,
        typer.Option(
            "--mongo",
            metavar="URI",
            help="Database of queue and results, mongodb://[user@]host[:port]/database.",
        ),
    ] = "mongodb://127.0.0.1:27017/logan_campaign",
    password_env: Annotated[
        str,
        typer.Option(help="Environment variable with the password, if the URI has a user."),
    ] = PASSWORD_ENV,
    workers: Annotated[
        list[str] | None,
        typer.Option(
            "--worker", "-w", help="Name of a worker; repeatable. [default: that of the scheduler]"
        ),
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="shell|slurm", help="What starts jobs on the workers' machine.")
    ] = "shell",
    partition: Annotated[str | None, typer.Option(help="Of SLURM.")] = None,
    account: Annotated[str | None, typer.Option(help="Of SLURM.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Nodes for each job.")] = None,
    time_limit: Annotated[
        str | None,
        typer.Option("--time", metavar="[DAYS-]HH:MM:SS", help="SLURM's time limit for each job."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="[USER@]MACHINE[:PORT]", help="Where the workers are, by SSH."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="Python with logan-campaign there. [default: the one that runs here]"),
    ] = None,
    max_jobs: Annotated[int, typer.Option(min=1, help="Jobs at a time on each worker.")] = 1,
    batch: Annotated[
        bool, typer.Option("--batch", help="Run many jobs in one job of the scheduler.")
    ] = False,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory for job files, there; by default beside the project file, here."
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Set an environment variable for all jobs."),
    ] = None,
    trusted: TrustOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the project.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create a project for this machine, SLURM or a machine with SSH; create its queue, check it.

    Running it again changes nothing. A password is never written to the file.
    """
    require_remote()
    from logan_campaign.flows.remote.project import (
        ProjectSettings,
        connected,
        initialise,
        load_project,
        projects_folder,
        write_project,
    )

    if not project.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"--project {project!r}: letters, digits, '-' and '_' only")
    _check_machine(scheduler, host, work_dir, time_limit)
    given = {"partition": partition, "account": account, "nodes": nodes, "time": time_limit}
    resources = tuple((key, value) for key, value in given.items() if value is not None)
    if resources and scheduler == "shell":
        raise InputError(f"--{resources[0][0]} needs --scheduler slurm")
    name = scheduler if scheduler != "shell" else "ssh" if host else "local"
    place = work_dir or projects_folder() / project / "work"
    settings = ProjectSettings(
        name=project,
        mongo=_place(mongo, password_env),
        work_dir=place.expanduser().absolute(),
        workers=tuple(dict.fromkeys(workers or [name])),
        max_jobs=max_jobs,
        batch=batch,
        environment=(
            *(_assignment(text) for text in export or []),
            *([(VARIABLE, ",".join(sorted(set(trusted))))] if trusted else []),
        ),
        scheduler=scheduler,
        resources=resources,
        host=host,
        python=python or sys.executable,
    )
    path = write_project(settings, force=force)
    with connected(load_project(project)) as controller:
        made = initialise(controller)
    if not as_json:
        say(f"wrote {path}" + (" and made its queue" if made else ""))
    _report(project, as_json, expect_runner=False)


def _check_machine(
    scheduler: str, host: str | None, work_dir: Path | None, time_limit: str | None
) -> None:
    """Raise InputError if the options that say where jobs run cannot be used."""
    from logan_campaign.flows.remote.scheduler import seconds

    if scheduler not in ("shell", "slurm"):
        raise InputError(
            f"--scheduler {scheduler!r}: shell or slurm; for others, edit the project's file"
        )
    try:
        seconds(time_limit)
    except ValueError as err:
        raise InputError(f"--time {err}") from err
    if host is None:
        return
    if not re.fullmatch(r"([\w.-]+@)?[\w.-]+(:\d+)?", host):
        raise InputError(f"--host {host!r}: write [USER@]MACHINE[:PORT]")
    if work_dir is None or not work_dir.is_absolute():
        raise InputError("--host needs --work-dir, a whole path on that machine")


def _place(uri: str, password_env: str) -> MongoPlace:
    """Split a URI into the part that may be written to a file and the password."""
    from pymongo.errors import ConfigurationError, InvalidURI
    from pymongo.uri_parser import parse_uri

    from logan_campaign.core.redaction import redact
    from logan_campaign.flows.remote.project import MongoPlace

    shown = redact(uri)
    try:
        parts = parse_uri(uri)
    except (InvalidURI, ConfigurationError, ValueError):
        raise InputError(
            f"--mongo {shown}: not a usable MongoDB URI (special characters in user name and "
            "password must be percent-encoded)"
        ) from None
    if not parts["database"]:
        raise InputError(f"--mongo {shown}: name a database, mongodb://host/database")
    if not parts["username"]:
        return MongoPlace(uri, None)
    scheme, _, rest = uri.partition("://")
    credentials, _, host = rest.rpartition("@")
    if parts["password"] and os.environ.get(password_env) != parts["password"]:
        raise InputError(
            f"--mongo {shown}: the password belongs in the environment, not in the URI: "
            f"export {password_env}=…, and write {scheme}://{credentials.partition(':')[0]}@…"
        )
    return MongoPlace(f"{scheme}://{credentials.partition(':')[0]}@{host}", password_env)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"--export {text!r}: write NAME=VALUE")
    return name, value


@remote_app.command()
def check(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Check a project; exit code 1 if something is wrong."""
    require_remote()
    _report(project, as_json)


def _report(project: str | None, as_json: bool, expect_runner: bool = True) -> None:
    from logan_campaign.flows.remote.check import check_project

    name, findings = check_project(project)
    if not expect_runner:
        findings = [f for f in findings if f.name != "runner" or f.ok]
    ok = all(finding.ok for finding in findings)
    if as_json:
        print_json({"project": name, "ok": ok, "checks": [f._asdict() for f in findings]})
    else:
        for finding in findings:
            mark = "[green]ok   [/]" if finding.ok else "[bold red]wrong[/]"
            console().print(
                f"{mark} {escape(finding.name)}: {escape(finding.message)}", soft_wrap=True
            )
    if not ok:
        raise typer.Exit(1)


@remote_app.command()
def start(
    project: ProjectOption = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run in the foreground until Ctrl-C or SIGTERM.")
    ] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Exit when no runnable job is left.")
    ] = False,
) -> None:
    """Start the project's runner, which starts jobs and stores their results.

    It is jobflow-remote's runner in a loop that survives database outages, releases the locks of
    a killed runner, and runs jobs again whose process was killed. It needs no root rights and
    no daemon. 'jf runner start' works as well, without these features.
    """
    require_remote()
    from logan_campaign.flows.remote.project import connected, load_project
    from logan_campaign.flows.remote.registry import is_alive, registered

    configured = load_project(project)
    if foreground:
        from logan_campaign.flows.remote.runner import serve
        from logan_campaign.stores.secrets import hide_secrets

        hide_secrets()
        serve(configured.name, until_idle=until_idle)
        return
    with connected(configured) as controller:
        other = registered(controller)
    if other is not None and is_alive(other):
        raise StoreError(
            f"project '{configured.name}' has a runner on {other['hostname']} already; "
            "'logan-campaign remote stop' stops it"
        )
    log = Path(str(configured.log_dir)) / "logan-campaign-runner.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "logan_campaign", "remote", "start", "--foreground"]
    command += ["--project", configured.name] + (["--until-idle"] if until_idle else [])
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    until = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with connected(configured) as controller:
            found = registered(controller)
        if found is not None and found.get("logan_pid") == process.pid:
            say(f"runner of '{configured.name}' started (pid {process.pid}, log {log})")
            return
        time.sleep(0.3)
    if process.poll() == 0 and until_idle:
        console().print("nothing left to run")
        return
    raise StoreError(f"the runner did not start; see {log}")


@remote_app.command()
def stop(project: ProjectOption = None) -> None:
    """Stop the project's runner; running jobs continue, the next runner stores their results."""
    require_remote()
    import socket

    from logan_campaign.flows.remote.project import connected, load_project
    from logan_campaign.flows.remote.registry import is_alive, registered

    configured = load_project(project)
    with connected(configured) as controller:
        found = registered(controller)
        if found is None or not is_alive(found):
            console().print(f"project '{configured.name}' has no runner")
            return
        if "logan_pid" not in found:
            raise InputError("that runner was started by jf: 'jf runner stop' stops it")
        if found["hostname"] != socket.gethostname():
            raise InputError(f"the runner is on {found['hostname']}: stop it there")
        os.kill(found["logan_pid"], signal.SIGTERM)
        until = time.monotonic() + _STOP_WITHIN_S
        while is_alive(found):
            if time.monotonic() > until:
                raise StoreError(f"process {found['logan_pid']} did not stop")
            time.sleep(0.2)
    console().print(f"runner of '{configured.name}' stopped; {JF}{configured.name} stays")
