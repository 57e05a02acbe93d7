"""``logan-campaign submit``: add a campaign to the queue of a jobflow-remote project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    JF,
    JsonOption,
    ProjectOption,
    campaign_maker,
    console,
    err_console,
    escape,
    follow,
    print_json,
    require_remote,
)


@app.command()
def submit(
    spec: Annotated[Path, typer.Argument(help="The campaign's spec (YAML).")],
    project: ProjectOption = None,
    worker: Annotated[
        str | None,
        typer.Option(
            "--worker", "-w", help="Default worker of all stages; by default the first worker."
        ),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(
            "--place",
            metavar="STAGE=WORKER",
            help="Worker of a stage, e.g. train=gpu; overrides 'workers' in the spec; repeatable.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the spec, e.g. models.count=2."),
    ] = None,
    move: Annotated[
        bool,
        typer.Option("--move", help="Move the jobs of a queued campaign that have not started."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add a campaign to the queue of a jobflow-remote project.

    The campaign has the same id and the same candidates as with 'run'. A campaign that is
    already in the queue is not added again.
    """
    require_remote()
    maker = campaign_maker(spec, overrides)
    from logan_campaign.campaign.placement import with_overrides
    from logan_campaign.core.trust import code_named_in
    from logan_campaign.flows.remote import queue
    from logan_campaign.flows.remote.project import connected, database_errors, load_project
    from logan_campaign.stores.found import found_by_others, relaxed_references
    from logan_campaign.stores.known import entries_for
    from logan_campaign.stores.open import open_store

    placements = with_overrides(maker.spec.workers, worker, place or [])
    configured = load_project(project)
    queue.check_placements(placements, configured)
    maker.known_entries = entries_for(maker.spec, Path(maker.base))
    campaign_id, name = maker.campaign_id, maker.spec.name
    named = code_named_in(maker.spec.model_dump(mode="json"))
    set_up = "\n".join(worker.pre_run or "" for worker in configured.workers.values())
    for module in dict.fromkeys(named):
        if module not in set_up:
            err_console().print(
                f"[yellow]warning:[/] the spec calls {module}; workers run it only if "
                f"'remote init --trust {module}' or LOGAN_CAMPAIGN_TRUST allows it",
                soft_wrap=True,
            )
    with connected(configured) as controller, database_errors(configured.name):
        if move:
            done = queue.RemoteFlow(controller, campaign_id).move(placements)
            n_jobs, message = done.n_jobs, done.message
        else:
            with open_store(f"{JF}{configured.name}") as stores:
                follow(stores)  # other campaigns may have found structures meanwhile
                maker.others = found_by_others(stores, maker.spec, campaign_id, Path(maker.base))
                maker.relaxed = relaxed_references(stores, maker.spec)
            jobs = queue.submit(maker.make(), campaign_id, name, controller, placements)
            n_jobs, message = len(jobs), f"submitted with {len(jobs)} jobs; more will come"
    about = {"id": campaign_id, "name": name, "project": configured.name, "n_jobs": n_jobs}
    if as_json:
        print_json(about)
        return
    console().print(
        f"[bold]{escape(name)}[/] ({campaign_id}) {escape(message)}; "
        f"'logan-campaign status {JF}{configured.name}' shows its progress",
        soft_wrap=True,
    )
