"""The report of a campaign as one self-contained HTML file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.io import to_json
from plotly.offline import get_plotlyjs

from logan_campaign import __version__
from logan_campaign.geometry.formulas import readable_formula
from logan_campaign.results.citations import as_html, references
from logan_campaign.results.report import charts
from logan_campaign.results.report.data import ReportData
from logan_campaign.results.report.discoveries import (
    count_discoveries,
    draws_for_all,
    found_by,
)
from logan_campaign.results.report.funnel import funnel
from logan_campaign.results.report.methods import methods
from logan_campaign.stores.records import CampaignRecord, CandidateRecord


class Chart(NamedTuple):
    """A figure of the report: file name, title and chart."""

    name: str
    title: str
    figure: go.Figure


def report_charts(data: ReportData) -> dict[str, Chart]:
    """Return the figures of a report by name, without those that have no data."""
    record = data.record
    found = count_discoveries(data.candidates, record.known_set_ids)
    table = found_by(data.candidates, [model.id for model in data.models])
    made: list[tuple[str, str, go.Figure | None]] = [
        (
            "funnel",
            "From generated to new structures",
            charts.funnel_chart(funnel(record.selections, data.candidates)),
        ),
        (
            "map",
            "PCA map of generated, picked and found structures",
            charts.map_chart(data.pca_map, data.candidates) if data.pca_map is not None else None,
        ),
        (
            "discoveries",
            "Discoveries against relaxations",
            charts.discoveries_chart(found, data.n_targets, data.baselines)
            if len(found.relaxations) > 1
            else None,
        ),
        ("rounds", "Discoveries per round", charts.rounds_chart(data.candidates)),
        *hull_charts(record, data.candidates),
        (
            "found-by",
            "Discoveries by model",
            charts.found_by_chart(table, data.names, data.models, data.vary)
            if table.materials
            else None,
        ),
        (
            "energies",
            "Energies of relaxed candidates",
            charts.energies_chart(
                data.candidates, record.references, record.levels, record.kind == "crystal"
            ),
        ),
        ("training", "Training curves", charts.training_chart(data.models, data.vary)),
        (
            "relaxations",
            "Final states and times of relaxations",
            charts.relaxations_chart(data.candidates, record.levels),
        ),
    ]
    return {name: Chart(name, title, figure) for name, title, figure in made if figure is not None}


def hull_charts(
    record: CampaignRecord, candidates: Sequence[CandidateRecord]
) -> list[tuple[str, str, go.Figure | None]]:
    """Return name, title and figure of the charts of a campaign's hull; none without a hull.

    Args:
        record: the campaign.
        candidates: its candidates, without structures.
    """
    if record.hull is None:
        return []
    from logan_campaign.results.report import phases  # imports pymatgen

    relaxed = {past.index: past.n_last_level for past in record.rounds}
    return [
        ("phases", "Phase diagram", phases.phase_diagram(record.hull, candidates)),
        ("growth", "Growth of the hull", phases.growth_chart(record.hull, relaxed)),
        ("effort", "Relaxations by composition", phases.effort_chart(record.hull, candidates)),
    ]


def render(data: ReportData, drawn: Mapping[str, Chart] | None = None) -> str:
    """Return the report as HTML.

    Args:
        data: its data.
        drawn: its figures, if already drawn.
    """
    record = data.record
    drawn = report_charts(data) if drawn is None else drawn
    cited = references(record, data.models, data.sets)
    own = count_discoveries(data.candidates, record.known_set_ids)
    leaked = [leak for leak in record.leakage or [] if leak.matches]
    return _environment().get_template("report.html").render(
        data=data,
        record=record,
        charts=drawn,
        stages=funnel(record.selections, data.candidates),
        draws_for_all=draws_for_all(data.n_targets) if data.n_targets else 0.0,
        against=[
            (name, n := int(min(own.relaxations[-1], other.relaxations[-1])), own.materials[n],
             other.materials[n])
            for name, other in data.baselines.items()
        ],
        n_known_found=int(own.known[-1]),
        leaked=leaked,
        references=[Markup(text) for text in as_html(cited)],
        bibtex=cited.to_string("bibtex"),
        methods=methods(record, data.models, data.sets),
        limits={
            "matrix": charts.MATRIX_ROWS,
            "curves": charts.CURVE_MODELS,
        },
        version=__version__,
        plotly=Markup(plotly_source()),
        asset=asset,
    )  # fmt: skip


@lru_cache(maxsize=1)
def plotly_source() -> str:
    """Return plotly.js from the PyPI package (MIT licence)."""
    return get_plotlyjs()


def asset(name: str) -> Markup:
    """Return a static file of this package to include in the page."""
    path = files("logan_campaign.results.report") / "static" / name
    return Markup(path.read_text(encoding="utf-8"))


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that is safe inside a script element."""
    return _inert(to_json(figure, validate=False))


def embedded_json(value: Any) -> Markup:
    """Return a value as JSON that is safe inside a script element."""
    return _inert(json.dumps(value, separators=(",", ":"), allow_nan=False))


def _inert(text: str) -> Markup:
    # Inside a script element, HTML looks only for tags.
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e"))


def quantity(value: float | None, digits: int = 3) -> str:
    """Format a number with a given number of decimals, None as a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Format a time for display."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


FILTERS = {
    "figure_json": figure_json,
    "embedded_json": embedded_json,
    "quantity": quantity,
    "duration": duration,
    "readable": readable_formula,
}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("logan_campaign.results.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment
