"""``logan-campaign import``: read a campaign from a file into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import JsonOption, NewStoreOption, print_json, tell


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="File that 'export --format campaign' wrote.")],
    store: NewStoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a whole campaign from a file into a store, and build its database."""
    from logan_campaign.stores.archive import check_archive, read_archive
    from logan_campaign.stores.open import open_store

    # checked first, so that an unusable file creates nothing
    name = check_archive(file).name
    with open_store(store or name, create=True) as stores:
        summary = read_archive(file, stores)
        where = stores.describe()
    if as_json:
        print_json({**summary._asdict(), "store": where})
        return
    tell(f"{summary.name} ({summary.campaign_id}) is in {where}: {summary.describe()}")
