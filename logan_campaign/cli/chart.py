"""``logan-campaign map``: the PCA map of what was generated, picked, known and found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    StoreOption,
    err_console,
    escape,
    opened,
)
from logan_campaign.core.errors import InputError
from logan_campaign.core.files import file_errors

_FORMATS = (".png", ".svg", ".pdf")


@app.command(name="map")
def map_(
    campaign: CampaignArgument,
    path: Annotated[Path, typer.Argument(help="Picture to write: .png, .svg or .pdf.")],
    store: StoreOption = None,
) -> None:
    """Draw the PCA map: clusters, picks, known structures and what was found."""
    import numpy as np

    from logan_campaign.results import Campaign, Results
    from logan_campaign.results.plots import plot_map

    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"cannot draw {path}: give a name that ends in {', '.join(_FORMATS)}")
    with opened(campaign, store) as (database, record):
        if not record.selections:
            raise InputError(f"{record.name} has selected nothing yet: there is no map to draw")
        found = Campaign(Results(database.stores, owns_stores=False), record)
        chart = found.pca_map()
        good = set(found.candidates(state=["rediscovered", "new"]).ids())
    placed = list(zip(chart.candidate_ids, chart.picks, strict=True))
    figure = plot_map(
        chart.pca,
        chart.label,
        picks=chart.picks,
        found=np.array([row for identity, row in placed if identity in good], dtype=int),
        known=chart.known_pca,
        explained_variance=chart.explained_variance,
        title=f"{record.formula}: {len(chart.pca)} structures, {len(placed)} picked by "
        f"{record.selections[-1].strategy}",
    )
    with file_errors("write", path):
        figure.savefig(path, dpi=150)
    err_console().print(escape(f"map written to {path}"), soft_wrap=True)
