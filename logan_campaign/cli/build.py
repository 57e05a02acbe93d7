"""``logan-campaign build``: the campaign database from the job documents."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import JsonOption, print_json, say_how_jobs_ended, tell
from logan_campaign.core.errors import StoreError

#: Building takes at most this fraction (1/n) of the time.
_SHARE = 10.0


@app.command()
def build(
    store: Annotated[
        str,
        typer.Argument(
            help="A campaign's folder or database file, mongodb://…/database, or jf://PROJECT."
        ),
    ],
    watch: Annotated[bool, typer.Option("--watch", help="Keep updating until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Interval of --watch (s).")] = 5,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Derive every document again, changed or not.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Update the campaign database from the outputs of its jobs.

    Commands that read a campaign do this themselves; --watch keeps it current for other programs.
    """
    from logan_campaign.stores.builders import CampaignBuilder
    from logan_campaign.stores.open import open_store

    with open_store(store) as stores:
        # asks the store only for what has changed
        builder = CampaignBuilder.from_stores(stores, rebuild=rebuild)
        while True:
            begun = time.monotonic()
            try:
                built = builder.build()
                say_how_jobs_ended(stores, built)
            except StoreError as error:
                if not watch:
                    raise
                tell(f"{error}; trying again")
                built = []
            took = time.monotonic() - begun
            builder.rebuild = False
            if as_json and not watch:
                print_json({"store": stores.describe(), "built": built, "elapsed_s": took})
            elif built or not watch:
                tell(f"{', '.join(built) or 'nothing to do'} ({took:.2f} s)")
            if not watch:
                return
            time.sleep(max(every, _SHARE * took))
