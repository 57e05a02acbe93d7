"""``logan-campaign map``: the PCA map of generated, picked, known and found structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import CampaignArgument, StoreOption, opened, tell
from logan_campaign.core.errors import InputError

_FORMATS = (".png", ".svg", ".pdf")


@app.command(name="map")
def map_(
    campaign: CampaignArgument,
    path: Annotated[Path, typer.Argument(help="Picture to write: .png, .svg or .pdf.")],
    store: StoreOption = None,
) -> None:
    """Draw the PCA map: clusters, picks, known structures and discoveries."""
    from logan_campaign.results import Campaign
    from logan_campaign.results.report.charts import map_chart
    from logan_campaign.results.report.pictures import write_picture

    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"cannot draw {path}: give a name that ends in {', '.join(_FORMATS)}")
    with opened(campaign, store) as (database, record):
        if not record.selections:
            raise InputError(f"{record.name} has selected nothing yet: there is no map to draw")
        found = Campaign(database.stores, record, owns_stores=False)
        places = found.pca_map()
        drawn = map_chart(places, list(found.candidates()))
    if drawn is None:
        raise InputError("a map is drawn from two PCA components; this selection has fewer")
    title = (
        f"{record.formula}: {len(places.pca)} structures, {len(places.picks)} picked by "
        f"{record.selections[-1].strategy}"
    )
    write_picture(drawn, path, title)
    tell(f"map written to {path}")
