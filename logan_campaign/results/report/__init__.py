"""The report of a campaign: one HTML file, and its figures as SVG.

>>> with Campaign.open("quick") as campaign:  # doctest: +SKIP
...     write_report(campaign, "report.html", figures="figures")
"""

from __future__ import annotations

from pathlib import Path

from logan_campaign.core.files import file_errors, write_atomically
from logan_campaign.results.campaign import Campaign
from logan_campaign.results.report.data import ReportData, gather
from logan_campaign.results.report.page import Chart, render, report_charts

__all__ = ["Chart", "ReportData", "gather", "render", "report_charts", "write_report"]


def write_report(
    campaign: Campaign, path: str | Path, figures: str | Path | None = None
) -> list[Path]:
    """Write the report of a campaign.

    Args:
        campaign: the campaign, finished or not.
        path: HTML file to write; an existing file is replaced.
        figures: folder for SVG figures, created if missing; None for no figures.

    Returns:
        The files written, the report first.

    Raises:
        InputError: a file cannot be written.
        StoreError: a record of the campaign cannot be read.
    """
    data = gather(campaign)
    drawn = report_charts(data)
    written = [Path(path)]
    with file_errors("write", written[0]):
        write_atomically(written[0], render(data, drawn))
    if figures is not None:
        from logan_campaign.results.report.pictures import write_picture  # imports matplotlib

        folder = Path(figures)
        with file_errors("make folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        written += [
            write_picture(chart.figure, folder / f"{chart.name}.svg") for chart in drawn.values()
        ]
    return written
