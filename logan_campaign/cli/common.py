"""What the commands share: consoles, options, finding a campaign."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from logan_campaign.errors import InputError
from logan_campaign.stores.open import CampaignStores, open_campaign_stores
from logan_campaign.stores.queries import CampaignDatabase
from logan_campaign.stores.schemas import CampaignRecord


class StateChoice(StrEnum):
    """The values of :data:`logan_campaign.schemas.CandidateState`, as typer wants them."""

    NEW = "new"
    REDISCOVERED = "rediscovered"
    DUPLICATE = "duplicate"
    PENDING = "pending"
    REJECTED = "rejected"
    FAILED = "failed"


CampaignArgument = Annotated[
    str,
    typer.Argument(
        metavar="CAMPAIGN",
        help="The campaign's folder or database file; with --store, its name or id.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="LOGAN_CAMPAIGN_STORE",
        help="Where the campaign is kept, if not in its own folder: a folder, an SQLite file, "
        "or mongodb://…/database.",
    ),
]
StateOption = Annotated[
    list[StateChoice] | None,
    typer.Option(
        "--state",
        help="Only candidates in this state; may be given repeatedly.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


#: Characters per line where standard output is no terminal.
_PIPE_WIDTH = 140


def console() -> Console:
    """Return the console for results, on standard output.

    A pipe or file has no width of its own: tables there must not be cut to a terminal's.
    """
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def err_console() -> Console:
    """Return the console for progress and errors, on standard error."""
    return Console(stderr=True, highlight=False)


def print_json(obj: Any) -> None:
    """Print an object as JSON, without colours or wrapping."""
    typer.echo(json.dumps(obj, indent=2, default=str, allow_nan=False))


@contextmanager
def opened(campaign: str, store: str | None) -> Iterator[tuple[CampaignDatabase, CampaignRecord]]:
    """Open the stores that hold a campaign, and find it.

    Raises:
        InputError: there is no such campaign, or several and none was named.
        StoreError: the store is not reachable.
    """
    stores = open_campaign_stores(store if store is not None else campaign)
    try:
        database = CampaignDatabase(stores)
        if store is not None:
            yield database, database.campaign(campaign)
            return
        found = database.campaigns()
        if not found:
            raise InputError(
                f"{campaign} holds no campaign yet: its first job has not finished; "
                "wait, or start it again with the same 'logan-campaign run'"
            )
        if len(found) > 1:
            names = ", ".join(sorted(record.name for record in found))
            raise InputError(
                f"{campaign} holds several campaigns ({names}): "
                f"give the name, and --store {campaign}"
            )
        yield database, found[0]
    finally:
        stores.close()


def work_folder(stores: CampaignStores, name: str) -> Path:
    """Return the folder for unfinished jobs of a campaign: beside an embedded store,
    or in the current directory for a remote one."""
    folder = stores.folder
    return (folder / "work" / name if folder is not None else Path(f"{name}.work")).absolute()
