"""``logan-campaign run``: a campaign on this machine, from a spec to a database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from jobflow import JobStore

from logan_campaign.cli.app import app
from logan_campaign.cli.common import console, err_console, work_folder
from logan_campaign.errors import InputError
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import CampaignStores, open_campaign_stores

#: The campaign database follows the JobStore at most this often while a run goes on (s).
_BUILD_EVERY_S = 5.0


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(help="The campaign's spec (YAML).")],
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            envvar="LOGAN_CAMPAIGN_STORE",
            help="Where the campaign is kept: a folder, an SQLite file, or mongodb://…/database. "
            "By default a folder with the campaign's name.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the spec, e.g. models.count=2; "
            "may be given repeatedly. Paths are meant from the current directory.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Jobs at a time; by default one per core.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run a campaign, or go on with it where it stopped.

    The same command resumes a campaign that was stopped in any way: finished jobs are not
    repeated, and failed ones that it could not go on without are tried again.
    """
    from logan_campaign.cli.extend import follow_rules
    from logan_campaign.cli.status import campaign_status, show_status
    from logan_campaign.flows import CampaignMaker
    from logan_campaign.flows.local import Event, JobFinished, Ledger, run_flow
    from logan_campaign.flows.local.display import Display
    from logan_campaign.stores.found import found_by_others
    from logan_campaign.stores.known import entries_for
    from logan_campaign.stores.queries import CampaignDatabase

    maker = CampaignMaker.from_file(spec, overrides or [])
    maker.known_entries = entries_for(maker.spec, Path(maker.base))
    campaign_id, name = maker.campaign_id, maker.spec.name
    flow = maker.make()  # checks what the spec needs, before anything is written

    with open_campaign_stores(store or name, create=True) as stores:
        ledger = Ledger(
            stores.ledger,
            campaign_id,
            {
                "campaign": name,
                "spec_id": maker.spec.id,
                "spec": maker.spec.model_dump(mode="json"),
            },
        )
        if ledger.root() is None:
            maker.others = found_by_others(stores, maker.spec, campaign_id)
            flow = maker.make() if maker.others else flow
        _refuse_another_spec(stores, ledger, name, maker.spec.model_dump(mode="json"))
        work = work_folder(stores, name)
        jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
        builder = CampaignBuilder.from_stores(stores, campaign_id)
        database = CampaignDatabase(stores)
        prepare, amend = None, None
        if maker.spec.rounds is not None:
            prepare, amend = follow_rules(ledger, database, maker.spec)
        last_build, stale = -_BUILD_EVERY_S, False

        with Display(err_console(), quiet=quiet) as display:

            def follow(event: Event) -> None:
                nonlocal last_build, stale
                display(event)
                stale = stale or isinstance(event, JobFinished)
                # not only when a job finishes: the next one may take an hour
                if stale and time.monotonic() - last_build > _BUILD_EVERY_S:
                    builder.build()
                    last_build, stale = time.monotonic(), False

            outcome = run_flow(
                flow,
                jobstore=jobstore,
                ledger=ledger,
                work_dir=work,
                n_workers=workers,
                on_event=follow,
                transaction=stores.transaction,
                retry_failed=True,
                prepare=prepare,
                amend=amend,
            )
        builder.build()
        if outcome.signal is not None:
            err_console().print(
                "stopped; everything finished is kept, and the same command goes on from here"
            )
            raise typer.Exit(outcome.exit_code)
        found = [record for record in database.campaigns() if record.id == campaign_id]
        if found and not quiet:
            show_status(campaign_status(database, found[0], work), console(), brief=True)
        if not found or outcome.counts.get("cancelled"):
            raise typer.Exit(1)


def _refuse_another_spec(stores: CampaignStores, ledger: object, name: str, spec: dict) -> None:
    """A store holds one campaign of a name; another spec under the same name is a mistake."""
    other = stores.ledger.query_one(
        {"doc_type": "flow", "campaign": name, "flow_id": {"$ne": ledger.flow_id}}  # type: ignore[attr-defined]
    )
    if other is None:
        return
    changed = ", ".join(_differences(other["spec"], spec)) or "what its files hold"
    raise InputError(
        f"{stores.describe()} holds a campaign '{name}' of another spec (changed: {changed}); "
        "give this one another name, or another place with --store"
    )


def _differences(old: object, new: object, path: str = "") -> list[str]:
    """Return where two documents differ, as dotted keys, at most five."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return found[:5]
    return [] if old == new else [path]
