"""Run a stored flow on this machine; show progress and keep the campaign database current."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import typer
from jobflow import Flow, JobStore

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli.common import console, err_console, work_folder
from logan_campaign.flows.local.ledger import Ledger
from logan_campaign.stores.builders import CampaignBuilder
from logan_campaign.stores.open import CampaignStores

#: Least interval between updates of the campaign database during a run (s) ...
_BUILD_EVERY_S = 5.0
#: ... which take at most this fraction (1/n) of the time.
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
    """Run a flow, or continue the recorded one, until it ends.

    Args:
        stores: of the campaign.
        ledger: record of its flow.
        spec: the campaign's.
        flow: the flow; None for the recorded one.
        workers: jobs at a time; by default one per core.
        quiet: show no progress.

    Raises:
        typer.Exit: the flow was stopped, or is incomplete.
    """
    from logan_campaign.cli.extend import heed_rules
    from logan_campaign.cli.status import campaign_status, show_status, so_far, unlearned
    from logan_campaign.flows import CampaignMaker
    from logan_campaign.flows.local import Event, JobFinished, LocalFlow, run_flow
    from logan_campaign.flows.local.display import Display
    from logan_campaign.stores.queries import CampaignDatabase

    campaign_id = ledger.flow_id
    if ledger.is_imported() and not ledger.replay().done:
        # imported documents are data: only the spec determines what runs
        flow = flow or CampaignMaker(name=spec.name, spec=spec, base=str(Path.cwd())).make()
        text = spec.model_dump(mode="json")
        ledger.about = {"campaign": spec.name, "spec_id": spec.id, "spec": text}
        ledger.forget()
    work = work_folder(stores, spec.name)
    jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
    builder = CampaignBuilder.from_stores(stores, campaign_id)
    database = CampaignDatabase(stores)
    prepare = partial(heed_rules, ledger, database, spec) if spec.rounds is not None else None
    next_build, stale, warned = 0.0, False, False

    with Display(err_console(), quiet=quiet) as display:

        def follow(event: Event) -> None:
            nonlocal next_build, stale, warned
            display(event)
            stale = stale or isinstance(event, JobFinished)
            # also between finished jobs: the next one may take an hour
            if stale and time.monotonic() > next_build:
                begun = time.monotonic()
                builder.build()
                display.found = so_far(database, campaign_id)
                took = time.monotonic() - begun
                next_build = time.monotonic() + max(_BUILD_EVERY_S, _BUILD_SHARE * took)
                stale = False
                if not (warned or quiet) and (said := unlearned(database, campaign_id)):
                    warned = True  # early: what follows may take hours
                    display.console.print(f"warning: {said}", markup=False, soft_wrap=True)

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
            "stopped; finished jobs are kept, and the same command continues from here"
        )
        raise typer.Exit(outcome.exit_code)
    found = [record for record in database.campaigns() if record.id == campaign_id]
    if found:
        control = LocalFlow(ledger, work)
        show_status(campaign_status(database, found[0], control), console(), brief=True)
        console().print(f"took {timedelta(seconds=round(outcome.elapsed_s))}")
    if not found or outcome.counts.get("cancelled"):
        raise typer.Exit(1)
