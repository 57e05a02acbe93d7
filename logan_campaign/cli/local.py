"""Running a flow of a store on this machine, with progress and its database beside it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import typer
from jobflow import Flow, JobStore

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli.common import console, err_console, work_folder
from logan_campaign.flows.local.ledger import Ledger
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import CampaignStores

#: The campaign database follows the JobStore at most this often while a run goes on (s) ...
_BUILD_EVERY_S = 5.0
#: ... and takes at most one part in so many of the time.
_BUILD_SHARE = 20.0


def go_on(
    stores: CampaignStores,
    ledger: Ledger,
    spec: CampaignSpec,
    flow: Flow | None,
    *,
    workers: int | None,
    quiet: bool,
) -> None:
    """Run a flow until it ends, or go on with the one that is recorded.

    Args:
        stores: of the campaign.
        ledger: record of its flow.
        spec: the campaign's.
        flow: the flow; None for the recorded one.
        workers: jobs at a time; by default one per core.
        quiet: show no progress.

    Raises:
        typer.Exit: it was stopped, or could not do all of it.
    """
    from logan_campaign.cli.extend import heed_rules
    from logan_campaign.cli.status import campaign_status, show_status
    from logan_campaign.flows import CampaignMaker
    from logan_campaign.flows.local import Event, JobFinished, LocalFlow, run_flow
    from logan_campaign.flows.local.display import Display
    from logan_campaign.stores.queries import CampaignDatabase

    campaign_id = ledger.flow_id
    if ledger.is_imported() and not ledger.replay().done:
        # what came in is data: only its spec says what runs
        flow = flow or CampaignMaker(name=spec.name, spec=spec, base=str(Path.cwd())).make()
        text = spec.model_dump(mode="json")
        ledger.about = {"campaign": spec.name, "spec_id": spec.id, "spec": text}
        ledger.forget()
    work = work_folder(stores, spec.name)
    jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
    builder = CampaignBuilder.from_stores(stores, campaign_id)
    database = CampaignDatabase(stores)
    prepare = partial(heed_rules, ledger, database, spec) if spec.rounds is not None else None
    next_build, stale = 0.0, False

    with Display(err_console(), quiet=quiet) as display:

        def follow(event: Event) -> None:
            nonlocal next_build, stale
            display(event)
            stale = stale or isinstance(event, JobFinished)
            # not only when a job finishes: the next one may take an hour
            if stale and time.monotonic() > next_build:
                begun = time.monotonic()
                builder.build()
                took = time.monotonic() - begun
                next_build = time.monotonic() + max(_BUILD_EVERY_S, _BUILD_SHARE * took)
                stale = False

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
        )
    builder.build()
    if outcome.signal is not None:
        err_console().print(
            "stopped; everything finished is kept, and the same command goes on from here"
        )
        raise typer.Exit(outcome.exit_code)
    found = [record for record in database.campaigns() if record.id == campaign_id]
    if found and not quiet:
        control = LocalFlow(ledger, work)
        show_status(campaign_status(database, found[0], control), console(), brief=True)
    if not found or outcome.counts.get("cancelled"):
        raise typer.Exit(1)
