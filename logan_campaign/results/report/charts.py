"""The charts of a report and of the browser, as plotly figures.

Charts have few enough points for SVG (:data:`MAP_POINTS`), so they can be printed and need no
WebGL. :mod:`logan_campaign.results.report.pictures` writes them to files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from logan_campaign.core.documents import ReferenceEnergy
from logan_campaign.results.arrays import PcaMap
from logan_campaign.results.report.discoveries import (
    Discoveries,
    FoundBy,
    draws_for_all,
    expected_distinct,
)
from logan_campaign.results.report.funnel import Stage
from logan_campaign.stores.records import CandidateRecord, ModelRecord

#: Maximum number of generated structures on a map; picks and known structures are all shown.
MAP_POINTS = 5_000

#: Distinguishable with any colour vision (Okabe and Ito 2008, doi 10.1038/nmeth.1618).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
STATE_COLOURS = {
    "new": "#009E73",
    "rediscovered": "#0072B2",
    "duplicate": "#999999",
    "pending": "#56B4E9",
    "selected": "#56B4E9",
    "rejected": "#E69F00",
    "failed": "#D55E00",
}
#: Neutral colour of lines and symbols, legible on light and dark backgrounds.
NEUTRAL = "#7f7f7f"
_KNOWN = "#D55E00"


def layout(figure: go.Figure, height: int = 420, legend: bool = True, **changes: Any) -> go.Figure:
    """Set what all charts share, and changes of it; the figure is changed and returned."""
    figure.update_layout(
        height=height,
        showlegend=legend,
        margin={"l": 65, "r": 20, "t": 40 if legend else 10, "b": 60},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0},
        template="none",
        hoverlabel={"namelength": -1},
        **changes,
    )
    axis = {"gridcolor": "rgba(127,127,127,0.25)", "zeroline": False, "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def funnel_chart(stages: Sequence[Stage]) -> go.Figure:
    """Draw the number of structures at each stage on a logarithmic axis."""
    shown = [stage for stage in stages if stage.n > 0]
    figure = go.Figure(
        go.Bar(
            x=[stage.n for stage in shown],
            y=[stage.name for stage in shown],
            orientation="h",
            text=[f"{stage.n:,}" for stage in shown],
            textposition="outside",
            cliponaxis=False,
            marker={"color": COLOURS[0]},
            hovertext=[
                "<br>".join(f"{n:,} {why}" for why, n in stage.losses.items() if n)
                for stage in shown
            ],
            hoverinfo="x+text",
        )
    )
    top = np.log10(max((stage.n for stage in shown), default=1)) + 0.4
    return layout(
        figure,
        height=80 + 42 * len(shown),
        legend=False,
        xaxis={
            "type": "log",
            "range": [-0.3, float(top)],
            "title": "structures",
            "tickformat": ",",
            "dtick": 1,
        },
        yaxis={"autorange": "reversed"},
    )


def map_chart(found: PcaMap, candidates: Sequence[CandidateRecord]) -> go.Figure | None:
    """Draw the PCA map: clusters, picks, known structures, discoveries.

    Args:
        found: the map of one selection.
        candidates: the candidates of the campaign.

    Returns:
        The map; None if it has fewer than two components or no finite point.
    """
    places = found.pca[:, :2]
    finite = np.flatnonzero(np.isfinite(places).all(axis=1))
    if places.shape[1] < 2 or not len(finite):
        return None
    row = dict(zip(found.candidate_ids, found.picks.tolist(), strict=True))
    picks = [(c, row[c.id]) for c in candidates if c.id in row]
    step = max(1, -(-len(finite) // MAP_POINTS))
    shown = finite[::step]
    few = f", {len(shown):,} shown" if step > 1 else ""
    figure = go.Figure()
    figure.add_scatter(
        x=short(places[shown, 0]),
        y=short(places[shown, 1]),
        mode="markers",
        name=f"generated ({len(finite):,}{few}), by cluster",
        marker={
            "size": 4,
            "opacity": 0.45,
            "color": [
                COLOURS[int(k) % len(COLOURS)] if k >= 0 else NEUTRAL for k in found.label[shown]
            ],
        },
        hoverinfo="skip",
    )
    for name, states, symbol, size in (
        ("picked", ("pending", "selected", "duplicate", "rejected", "failed"), "circle", 8),
        ("found: rediscovered", ("rediscovered",), "diamond", 11),
        ("found: new", ("new",), "star", 14),
    ):
        chosen = [(c, k) for c, k in picks if c.state in states]
        if chosen:
            figure.add_scatter(
                x=short(places[[k for _, k in chosen], 0]),
                y=short(places[[k for _, k in chosen], 1]),
                mode="markers",
                name=f"{name} ({len(chosen)})",
                marker={
                    "size": size,
                    "symbol": symbol,
                    "color": STATE_COLOURS.get(states[0]) if len(states) == 1 else "#444444",
                    "line": {"width": 1, "color": "white"},
                },
                text=[_title(candidate) for candidate, _ in chosen],
                customdata=[candidate.id for candidate, _ in chosen],
                hoverinfo="text",
            )
    if len(found.known_pca):
        figure.add_scatter(
            x=short(found.known_pca[:, 0]),
            y=short(found.known_pca[:, 1]),
            mode="markers",
            name=f"known ({len(found.known_pca)})",
            marker={"size": 10, "symbol": "x-thin", "line": {"width": 2.5, "color": _KNOWN}},
            hoverinfo="name",
        )
    # a few distant outliers must not compress all other points
    marked = np.concatenate(
        [
            np.quantile(places[finite], [0.002, 0.998], axis=0),
            places[[k for _, k in picks]],
            found.known_pca[:, :2],
        ]
    )
    marked = marked[np.isfinite(marked).all(axis=1)]
    low, high = marked.min(axis=0), marked.max(axis=0)
    margin = 0.05 * np.maximum(high - low, 1e-9)
    shares = [f" ({100 * share:.0f}% of the variance)" for share in found.explained_variance[:2]]
    shares += [""] * (2 - len(shares))
    return layout(
        figure,
        height=560,
        hovermode="closest",
        xaxis={
            "title": "first principal component" + shares[0],
            "range": [float(low[0] - margin[0]), float(high[0] + margin[0])],
        },
        yaxis={
            "title": "second principal component" + shares[1],
            "range": [float(low[1] - margin[1]), float(high[1] + margin[1])],
        },
    )


def short(values: np.ndarray) -> list[float]:
    """Return values with four significant digits, for files that stay small."""
    return [float(f"{value:.4g}") for value in values]


def _title(candidate: CandidateRecord) -> str:
    what = candidate.smiles or candidate.spacegroup or candidate.formula
    return f"{candidate.id}<br>{candidate.state} {what}"


def discoveries_chart(
    found: Discoveries, n_known: int, baselines: Mapping[str, Discoveries] | None = None
) -> go.Figure:
    """Draw discoveries against relaxations, with random drawing and the optimum as bounds.

    Args:
        found: of the campaign.
        n_known: number of known targets.
        baselines: of campaigns of random structures, by name.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=found.relaxations,
        y=found.materials,
        mode="lines",
        name="distinct structures found",
        line={"shape": "hv", "color": COLOURS[2], "width": 2.5},
    )
    for name, random in (baselines or {}).items():
        figure.add_scatter(
            x=random.relaxations,
            y=random.materials,
            mode="lines",
            name=f"random structures ({name})",
            line={"shape": "hv", "dash": "dashdot", "color": NEUTRAL, "width": 2},
        )
    if n_known:
        draws = np.arange(max(len(found.relaxations), round(1.2 * draws_for_all(n_known)) + 2))
        figure.add_scatter(
            x=found.relaxations,
            y=found.known,
            mode="lines",
            name=f"of the {n_known} known targets",
            line={"shape": "hv", "color": COLOURS[0], "width": 2.5},
        )
        figure.add_scatter(
            x=draws,
            y=short(expected_distinct(n_known, draws)),
            mode="lines",
            name="drawing uniformly among the targets (mean)",
            line={"dash": "dash", "color": NEUTRAL, "width": 1.5},
        )
        figure.add_scatter(
            x=[0, n_known, len(draws) - 1],
            y=[0, n_known, n_known],
            mode="lines",
            name="floor: each relaxation another target",
            line={"dash": "dot", "color": NEUTRAL, "width": 1.5},
        )
    return layout(
        figure,
        xaxis={"title": "candidates relaxed, in the order of the picks", "rangemode": "tozero"},
        yaxis={
            "title": "structures",
            "rangemode": "tozero",
            "dtick": max(1, -(-max(n_known, int(found.materials[-1])) // 10)),
        },
    )


#: Maximum number of structures in the matrix of models, those found by most models first.
MATRIX_ROWS = 60


def found_by_chart(
    table: FoundBy, names: Mapping[str, str], models: Sequence[ModelRecord], vary: Sequence[str]
) -> go.Figure:
    """Draw which model found what (LoGAN paper, figure 4)."""
    label = {model.id: model_label(model, vary) for model in models}
    rows = table.materials[:MATRIX_ROWS]
    counts = table.counts[: len(rows)]
    figure = go.Figure(
        go.Heatmap(
            z=counts,
            x=[label[model] for model in table.models],
            y=[names.get(row, row) for row in rows],
            text=[[str(n) if n else "" for n in line] for line in counts],
            texttemplate="%{text}",
            colorscale=[[0, "rgba(127,127,127,0.12)"], [0.001, "#cfe6f5"], [1, COLOURS[0]]],
            zmin=0,
            zmax=max(1, int(counts.max(initial=1))),
            xgap=1,
            ygap=1,
            colorbar={"title": "candidates"},
            hovertemplate="%{y}<br>%{x}<br>%{z} candidates<extra></extra>",
        )
    )
    return layout(
        figure,
        height=120 + 26 * len(rows),
        legend=False,
        xaxis={"title": "model", "side": "bottom", "type": "category"},
        yaxis={"autorange": "reversed", "type": "category", "dtick": 1},
    )


def model_label(model: ModelRecord, vary: Sequence[str]) -> str:
    """Return a model's index in the ensemble, its round if later than the first, and its
    differing hyperparameters."""
    varied = ", ".join(f"{key} {model.hyperparameters.get(key)}" for key in vary)
    place = f"round {model.round} #{model.index}" if model.round else f"#{model.index}"
    return place + (f" ({varied})" if varied else "")


def energies_chart(
    candidates: Sequence[CandidateRecord],
    references: Sequence[ReferenceEnergy],
    levels: Sequence[str],
    per_atom: bool,
) -> go.Figure | None:
    """Draw the energies of converged candidates per level (LoGAN paper, figure 6).

    Zero is the lowest energy of candidates and known entries at each level.

    Args:
        candidates: all candidates.
        references: known entries computed at a level.
        levels: names of the levels, in order.
        per_atom: eV/atom, for crystals; otherwise eV.

    Returns:
        The chart, None if nothing has converged.
    """
    field = "energy_per_atom_ev" if per_atom else "energy_ev"
    figure = go.Figure()
    n_levels = 0
    for place, level in enumerate(levels):
        relaxed = [
            (float(energy), candidate)
            for candidate in candidates
            for run in candidate.relaxations
            if run.level == level
            and run.state == "converged"
            and run.comparable
            and (energy := getattr(run, field)) is not None
        ]
        known = [
            (float(energy), reference.label)
            for reference in references
            if reference.level == level
            and reference.role == "known"
            and reference.state == "converged"
            and (energy := getattr(reference, field)) is not None
        ]
        if not relaxed:
            continue
        n_levels += 1
        lowest = min(energy for energy, _ in [*relaxed, *known])
        figure.add_box(
            x=short(np.array([energy - lowest for energy, _ in relaxed])),
            name=level,
            orientation="h",
            boxpoints="all",
            jitter=0.5,
            pointpos=0,
            marker={"color": COLOURS[place % len(COLOURS)], "size": 5, "opacity": 0.7},
            line={"width": 1.2},
            fillcolor="rgba(127,127,127,0.12)",
            text=[_title(candidate) for _, candidate in relaxed],
            hoverinfo="x+text",
            showlegend=False,
        )
        if known:
            figure.add_scatter(
                x=short(np.array([energy - lowest for energy, _ in known])),
                y=[level] * len(known),
                mode="markers",
                name=f"known, at {level}",
                marker={"symbol": "line-ns", "size": 26, "line": {"width": 2, "color": _KNOWN}},
                text=[label for _, label in known],
                hoverinfo="x+text",
            )
    if not n_levels:
        return None
    unit = "eV/atom" if per_atom else "eV"
    return layout(
        figure,
        height=130 + 110 * n_levels,
        legend=any(trace.type == "scatter" for trace in figure.data),
        xaxis={"title": f"energy above the lowest of the level ({unit})"},
        yaxis={"title": "level", "type": "category"},
    )


#: Diagnostics of a training: field of the history, title.
_CURVES = (
    ("wasserstein", "Wasserstein estimate"),
    ("critic_gradient_norm", "critic gradient norm"),
    ("penalty", "gradient penalty"),
    ("distinct_share", "share of distinct samples"),
)
#: Maximum number of models in one chart.
CURVE_MODELS = 40
_CURVE_POINTS = 400


def training_chart(models: Sequence[ModelRecord], vary: Sequence[str]) -> go.Figure | None:
    """Draw training diagnostics; None if no model has any."""
    shown = [model for model in models if model.history.step][:CURVE_MODELS]
    if not shown:
        return None
    titles = [title for _, title in _CURVES]
    figure = make_subplots(
        rows=2, cols=2, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.14
    )
    for place, model in enumerate(shown):
        step = max(1, -(-len(model.history.step) // _CURVE_POINTS))
        for panel, (key, _) in enumerate(_CURVES):
            figure.add_scatter(
                x=model.history.step[::step],
                y=short(np.array(getattr(model.history, key)[::step])),
                mode="lines",
                name=model_label(model, vary),
                legendgroup=model.id,
                showlegend=panel == 0,
                line={"width": 1.4, "color": COLOURS[place % len(COLOURS)]},
                row=panel // 2 + 1,
                col=panel % 2 + 1,
            )
    figure = layout(figure, height=640, legend=len(shown) > 1)
    figure.update_layout(legend={"y": -0.12, "yanchor": "top"}, margin={"b": 80, "t": 40})
    figure.update_yaxes(range=[0, 1.05], row=2, col=2)
    figure.update_xaxes(title_text="generator updates", row=2)
    return figure


def relaxations_chart(
    candidates: Sequence[CandidateRecord], levels: Sequence[str]
) -> go.Figure | None:
    """Draw final states and times of relaxations per level; None if there are none."""
    runs = [relaxation for c in candidates for relaxation in c.relaxations]
    if not runs:
        return None
    present = [level for level in levels if any(run.level == level for run in runs)]
    counts = Counter((run.level, run.state) for run in runs)
    states = sorted({run.state for run in runs}, key=lambda s: (s != "converged", s))
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["how they ended", "wall time each (s)"],
        horizontal_spacing=0.12,
    )
    for place, state in enumerate(states):
        colour = COLOURS[2] if state == "converged" else COLOURS[(5, 1, 3, 4, 6, 0)[place % 6]]
        figure.add_bar(
            x=[counts[level, state] for level in present],
            y=present,
            orientation="h",
            name=state.replace("_", " "),
            marker={"color": colour},
            row=1,
            col=1,
        )
    for place, level in enumerate(present):
        figure.add_box(
            x=short(np.array([max(run.elapsed_s, 1e-3) for run in runs if run.level == level])),
            name=level,
            orientation="h",
            boxpoints="outliers",
            marker={"color": COLOURS[place % len(COLOURS)], "size": 4},
            line={"width": 1.2},
            fillcolor="rgba(127,127,127,0.12)",
            showlegend=False,
            row=1,
            col=2,
        )
    figure = layout(figure, height=220 + 60 * len(present), barmode="stack")
    figure.update_layout(legend={"y": -0.25, "yanchor": "top"}, margin={"b": 90})
    figure.update_xaxes(title_text="relaxations", row=1, col=1)
    figure.update_xaxes(type="log", title_text="s", row=1, col=2)
    return figure


def rounds_chart(candidates: Sequence[CandidateRecord]) -> go.Figure | None:
    """Draw the new discoveries of each round; None for a single round."""
    rounds = sorted({candidate.round for candidate in candidates})
    if len(rounds) < 2:
        return None
    seen: set[str] = set()
    first: Counter[int] = Counter()
    relaxed: Counter[int] = Counter()
    for candidate in sorted(candidates, key=lambda c: (c.round, c.order)):
        relaxed[candidate.round] += bool(candidate.relaxations)
        if candidate.material_id is not None and candidate.material_id not in seen:
            seen.add(candidate.material_id)
            first[candidate.round] += 1
    figure = go.Figure()
    for name, counts, colour in (
        ("relaxed", relaxed, NEUTRAL),
        ("found for the first time", first, COLOURS[2]),
    ):
        figure.add_bar(
            x=[str(number) for number in rounds],
            y=[counts[number] for number in rounds],
            name=name,
            marker={"color": colour},
        )
    return layout(
        figure,
        barmode="group",
        xaxis={"title": "round", "type": "category"},
        yaxis={"title": "structures", "tickformat": "d"},
    )


def trajectory_chart(energies: Mapping[str, Sequence[float]]) -> go.Figure | None:
    """Draw the energy after each ionic step, one panel per level, above its lowest.

    Args:
        energies: energies (n,) in eV by panel title.
    """
    shown = {name: np.asarray(values) for name, values in energies.items() if len(values)}
    if not shown:
        return None
    figure = make_subplots(rows=1, cols=len(shown), subplot_titles=list(shown))
    for place, values in enumerate(shown.values()):
        finite = values[np.isfinite(values)]
        figure.add_scatter(
            x=list(range(len(values))),
            y=short(values - (finite.min() if len(finite) else 0.0)),
            mode="lines+markers",
            showlegend=False,
            marker={"size": 4},
            line={"color": COLOURS[place % len(COLOURS)]},
            row=1,
            col=place + 1,
        )
    figure = layout(figure, height=360, legend=False)
    figure.update_layout(margin={"t": 40})
    figure.update_xaxes(title_text="ionic step")
    figure.update_yaxes(title_text="eV above the lowest", col=1)
    return figure
