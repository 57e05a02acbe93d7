"""Commands that steer a campaign: ``cancel``, ``pause``, ``resume``, ``retry``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    JF,
    CampaignArgument,
    JsonOption,
    QuietOption,
    StoreOption,
    TrustOption,
    WorkersOption,
    console,
    control_of,
    escape,
    opened,
    print_json,
)
from logan_campaign.core.errors import InputError
from logan_campaign.core.trust import restricted

if TYPE_CHECKING:
    from logan_campaign.flows.control import Done
    from logan_campaign.stores.open import CampaignStores
    from logan_campaign.stores.records import CampaignRecord


@app.command()
def pause(
    campaign: CampaignArgument, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Pause a campaign: start none of its further jobs.

    On this machine the process that runs the campaign ends; in a queue, running jobs finish.
    'resume' continues it.
    """
    with opened(campaign, store) as (database, record):
        with control_of(database.stores, record.id, record.name) as control:
            done = control.pause()
        _say(record, done, as_json)


@app.command()
def cancel(
    campaign: CampaignArgument, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Cancel a campaign; its results are kept.

    'run' and 'submit' refuse to continue a cancelled campaign, 'resume' continues it.
    """
    with opened(campaign, store) as (database, record):
        with control_of(database.stores, record.id, record.name) as control:
            done = control.cancel()
        _say(record, done, as_json)


@app.command()
def resume(
    campaign: CampaignArgument,
    store: StoreOption = None,
    workers: WorkersOption = None,
    trusted: TrustOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Continue a campaign that was paused, cancelled or stopped; no spec is needed.

    The flow of an imported campaign is rebuilt from its stored spec.
    """
    with opened(campaign, store) as (database, record):
        with control_of(database.stores, record.id, record.name) as control:
            done = control.resume()
        _say(record, done, as_json)
        _run_here(database.stores, record, workers, trusted or [], quiet or as_json)


@app.command()
def retry(
    campaign: CampaignArgument,
    failed: Annotated[
        bool, typer.Option("--failed", help="Retry the failed jobs (required).")
    ] = False,
    store: StoreOption = None,
    workers: WorkersOption = None,
    trusted: TrustOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run failed jobs again, and the jobs skipped because of them."""
    if not failed:
        raise InputError("say which jobs to retry: --failed")
    with opened(campaign, store) as (database, record):
        with control_of(database.stores, record.id, record.name) as control:
            done = control.retry_failed()
        _say(record, done, as_json)
        if done.n_jobs:
            _run_here(database.stores, record, workers, trusted or [], quiet or as_json)


def _run_here(
    stores: CampaignStores,
    record: CampaignRecord,
    workers: int | None,
    trusted: list[str],
    quiet: bool,
) -> None:
    if stores.describe().startswith(JF):
        return  # its runner continues
    from logan_campaign.campaign.spec import CampaignSpec
    from logan_campaign.cli.local import go_on
    from logan_campaign.flows.local import Ledger

    ledger = Ledger(stores.ledger, record.id)
    spec = CampaignSpec.model_validate(record.spec)
    with restricted(trusted):
        go_on(stores, ledger, spec, None, workers=workers, quiet=quiet)


def _say(record: CampaignRecord, done: Done, as_json: bool) -> None:
    if as_json:
        print_json({"id": record.id, "name": record.name, **done._asdict()})
    else:
        console().print(f"[bold]{escape(record.name)}[/]: {escape(done.message)}", soft_wrap=True)
