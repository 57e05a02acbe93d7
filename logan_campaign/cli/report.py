"""``logan-campaign report``: a campaign as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    JsonOption,
    StoreOption,
    follow,
    print_json,
    tell,
)


@app.command()
def report(
    campaign: CampaignArgument,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Name or id, if CAMPAIGN contains several."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path(
        "report.html"
    ),
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="FOLDER", help="Also write the figures as SVG."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a report: one self-contained HTML file, and SVG figures on request."""
    # imported here: they import plotly, which is slow
    from logan_campaign.results import Results
    from logan_campaign.results.report import write_report

    where, chosen = (campaign, name) if store is None else (store, name or campaign)
    with Results.open(where) as results:
        follow(results.stores)
        found = results.campaign(chosen)
        written = write_report(found, output, figures)
    if as_json:
        print_json({"report": str(written[0]), "figures": [str(path) for path in written[1:]]})
        return
    n_figures = len(written) - 1
    more = f" and {n_figures} figures to {figures}" if figures is not None else ""
    tell(f"report written to {written[0]}{more}")
