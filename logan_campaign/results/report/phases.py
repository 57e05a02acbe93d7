"""Phase diagrams, the growth of the hull, and where effort went, as plotly figures.

Two species are drawn along an axis, three in a triangle, four in a tetrahedron seen from one side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from pymatgen.core import Composition, Element

from logan_campaign.campaign.stability import Hull, HullEntry, hull_of
from logan_campaign.results.report.charts import COLOURS, NEUTRAL, STATE_COLOURS, layout, short
from logan_campaign.stores.records import CandidateRecord, HullPhase, HullRecord

#: Most candidates on a diagram of two species, those nearest to the hull first.
PHASE_POINTS = 5_000
#: Most phases on the hull that are all named on a diagram; of more, only the elements are.
_NAMED = 15
#: Corners of the triangle, and of the tetrahedron as seen: none hides another, or an edge.
_CORNERS = {
    3: np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]]),
    4: np.array([[0.0, 0.18], [0.62, 0.0], [1.0, 0.3], [0.48, 0.9]]),
}
#: Largest energy above the hull (eV/atom) of each class of compositions, and its colour.
_CLASSES = ((0.025, COLOURS[4]), (0.1, COLOURS[1]), (np.inf, COLOURS[6]))


class _Space(NamedTuple):
    """Species in order of electronegativity, and where compositions of them are drawn."""

    species: list[str]

    def fractions(self, formula: str) -> np.ndarray:
        composition = Composition(formula)
        return np.array([composition.get_atomic_fraction(symbol) for symbol in self.species])

    def place(self, formula: str) -> np.ndarray:
        """Return x and y; of two species the share of the second, and zero."""
        if len(self.species) == 2:
            return np.array([self.fractions(formula)[1], 0.0])
        return np.asarray(self.fractions(formula) @ _CORNERS[len(self.species)])


def _space(hull: HullRecord) -> _Space | None:
    found = {e for phase in hull.at() for e in Composition(phase.formula).elements}
    species = sorted((str(element) for element in found), key=lambda s: (Element(s).X, s))
    return _Space(species) if 2 <= len(species) <= 4 else None


def _hull(phases: Sequence[HullPhase]) -> Hull:
    entries = [
        HullEntry(p.id, p.formula, p.energy_per_atom_ev * Composition(p.formula).num_atoms)
        for p in phases
    ]
    found = hull_of(entries)
    assert found is not None  # the elements are among the phases
    return found


def _name(formula: str) -> str:
    return str(Composition(formula).reduced_formula)


def _about(candidate: CandidateRecord) -> str:
    above = candidate.energy_above_hull_ev_per_atom or 0.0
    return (
        f"{candidate.id}<br>{candidate.state} {candidate.formula} {candidate.spacegroup or ''}"
        f"<br>{1000 * above:.1f} meV/atom above the hull"
    )


def phase_diagram(hull: HullRecord, candidates: Sequence[CandidateRecord]) -> go.Figure | None:
    """Draw the hull with candidates on it.

    Of more than two species, one candidate is shown per composition, the lowest.

    Args:
        hull: the hull.
        candidates: of its campaign.

    Returns:
        The diagram; None for other than two, three or four species.
    """
    space = _space(hull)
    if space is None:
        return None
    placed = [
        candidate
        for candidate in candidates
        if candidate.level == hull.level and candidate.energy_above_hull_ev_per_atom is not None
    ]
    placed.sort(key=lambda candidate: candidate.energy_above_hull_ev_per_atom or 0.0)
    if len(space.species) == 2:
        return _binary(space, hull, placed[:PHASE_POINTS])
    return _projected(space, hull, placed)


def _binary(space: _Space, hull: HullRecord, candidates: Sequence[CandidateRecord]) -> go.Figure:
    phases = sorted(hull.at(), key=lambda phase: space.place(phase.formula)[0])
    diagram = _hull(phases)
    figure = go.Figure()
    lowest = min((phase.formation_ev_per_atom for phase in phases), default=0.0)
    top = max(0.05, -0.6 * lowest)
    shown: defaultdict[str, list[tuple[float, float, CandidateRecord]]] = defaultdict(list)
    for candidate in candidates:
        energy = candidate.energy_ev or 0.0
        formation = diagram.formation(candidate.formula, energy)
        if formation <= top:  # far above the hull, candidates would flatten it
            x = float(space.place(candidate.formula)[0])
            shown[candidate.state].append((x, formation, candidate))
    for state, found in sorted(shown.items()):
        figure.add_scatter(
            x=short(np.array([x for x, _, _ in found])),
            y=short(np.array([y for _, y, _ in found])),
            mode="markers",
            name=f"{state} ({len(found)})",
            marker={"size": 7, "opacity": 0.7, "color": STATE_COLOURS[state]},
            text=[_about(candidate) for _, _, candidate in found],
            customdata=[candidate.id for _, _, candidate in found],
            hoverinfo="text",
        )
    places = np.array([(space.place(p.formula)[0], p.formation_ev_per_atom) for p in phases])
    figure.add_scatter(
        x=short(places[:, 0]),
        y=short(places[:, 1]),
        mode="lines",
        name="hull",
        line={"color": NEUTRAL, "width": 2},
        hoverinfo="skip",
    )
    _add_phases(figure, phases, places, "bottom center")
    n_hidden = len(candidates) - sum(map(len, shown.values()))
    above = f"; {n_hidden} higher ones not shown" if n_hidden else ""
    return layout(
        figure,
        height=480,
        hovermode="closest",
        xaxis={"title": f"share of {space.species[1]} atoms", "range": [-0.04, 1.04]},
        yaxis={
            "title": f"{_quantity(hull)} (eV/atom){above}",
            "range": [float(min(1.25 * lowest, -0.01)), float(top)],
        },
    )


def _quantity(hull: HullRecord) -> str:
    if hull.pressure_gpa:
        return f"formation enthalpy at {hull.pressure_gpa:g} GPa"
    return "formation energy"


def _add_phases(
    figure: go.Figure, phases: Sequence[HullPhase], places: np.ndarray, beside: str
) -> None:
    """Add the phases on the hull, named; those that no candidate found are open."""
    for name, symbol, own in (("candidate", "circle", True), ("other", "circle-open", False)):
        rows = [k for k, phase in enumerate(phases) if (phase.role == "candidate") is own]
        if not rows:
            continue
        figure.add_scatter(
            x=short(places[rows, 0]),
            y=short(places[rows, 1]),
            mode="markers+text",
            name=f"on the hull: {name}",
            text=[
                _name(p.formula) if len(phases) <= _NAMED or p.role == "element" else ""
                for p in (phases[k] for k in rows)
            ],
            textposition=beside,
            cliponaxis=False,
            marker={"size": 12, "symbol": symbol, "color": COLOURS[2], "line": {"width": 2}},
            hovertext=[
                f"{phases[k].id}<br>{_name(phases[k].formula)} {phases[k].label}"
                f"<br>{1000 * phases[k].formation_ev_per_atom:.1f} meV/atom from the elements"
                for k in rows
            ],
            customdata=[phases[k].id for k in rows] if own else None,
            hoverinfo="text",
        )


def _projected(space: _Space, hull: HullRecord, candidates: Sequence[CandidateRecord]) -> go.Figure:
    phases = hull.at()
    places = np.array([space.place(phase.formula) for phase in phases])
    row = {phase.id: k for k, phase in enumerate(phases)}
    figure = go.Figure()
    ties = sorted(
        {
            tuple(sorted(pair))
            for facet in _hull(phases).facets()
            for pair in combinations([row[name] for name in facet], 2)
        }
    )
    _add_lines(figure, [(places[a], places[b]) for a, b in ties], "tie lines", 1.0, NEUTRAL)
    _add_frame(figure, space)
    best: dict[str, CandidateRecord] = {}
    for candidate in candidates:  # lowest first
        best.setdefault(_name(candidate.formula), candidate)
    on_hull = {_name(phase.formula) for phase in phases}
    lower = 0.0
    for limit, colour in _CLASSES:
        found = [
            candidate
            for name, candidate in best.items()
            if name not in on_hull
            and lower <= (candidate.energy_above_hull_ev_per_atom or 0.0) < limit
        ]
        upper = (
            f"{1000 * lower:g} to {1000 * limit:g}"
            if limit < np.inf
            else f"{1000 * lower:g} and more"
        )
        lower = limit
        if found:
            at = np.array([space.place(candidate.formula) for candidate in found])
            figure.add_scatter(
                x=short(at[:, 0]),
                y=short(at[:, 1]),
                mode="markers",
                name=f"{upper} meV/atom above ({len(found)})",
                marker={"size": 8, "color": colour, "symbol": "diamond"},
                text=[_about(candidate) for candidate in found],
                customdata=[candidate.id for candidate in found],
                hoverinfo="text",
            )
    _add_phases(figure, phases, places, "top center")
    return _map_layout(figure)


def _add_lines(
    figure: go.Figure,
    lines: Sequence[tuple[np.ndarray, np.ndarray]],
    name: str,
    width: float,
    colour: str,
    **changes: Any,
) -> None:
    """Add straight lines between pairs of places."""
    gap = [np.full(2, np.nan)]
    path = np.array([point for a, b in lines for point in (a, b, *gap)]).reshape(-1, 2)
    figure.add_scatter(
        x=[None if np.isnan(x) else float(f"{x:.4g}") for x in path[:, 0]],
        y=[None if np.isnan(y) else float(f"{y:.4g}") for y in path[:, 1]],
        mode="lines",
        name=name,
        line={"color": colour, "width": width},
        hoverinfo="skip",
        **changes,
    )


def _add_frame(figure: go.Figure, space: _Space) -> None:
    corners = _CORNERS[len(space.species)]
    edges = [(corners[a], corners[b]) for a, b in combinations(range(len(corners)), 2)]
    _add_lines(figure, edges, "edges", 2.0, NEUTRAL, showlegend=False)


def _map_layout(figure: go.Figure) -> go.Figure:
    axis = {"visible": False, "showgrid": False}
    return layout(
        figure,
        height=560,
        hovermode="closest",
        xaxis={**axis, "range": [-0.12, 1.12]},
        yaxis={**axis, "range": [-0.08, 1.0], "scaleanchor": "x"},
    )


def growth_chart(hull: HullRecord, relaxed: Mapping[int, int]) -> go.Figure | None:
    """Draw how far the hull of each round was above the last one, and its number of phases.

    Args:
        hull: the hull.
        relaxed: number of candidates relaxed in each round.

    Returns:
        The chart; None unless there are several rounds.
    """
    if len(relaxed) < 2:
        return None
    last = hull.at()
    final = _hull(last)
    rounds = sorted(relaxed)
    largest, mean, number = [], [], []
    previous: list[HullPhase] = []
    for index in rounds:
        now = hull.at(index)
        if now != previous:
            earlier = _hull(now)
            gaps = [earlier.energy_at(p.formula) - final.energy_at(p.formula) for p in last]
            previous = now
        largest.append(1000 * max(gaps))
        mean.append(1000 * float(np.mean(gaps)))
        number.append(len(now))
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["above the last hull (meV/atom)", "phases on the hull"],
        horizontal_spacing=0.12,
    )
    done = np.cumsum([relaxed[index] for index in rounds]).tolist()
    for place, (name, values, column) in enumerate(
        (("at most", largest, 1), ("mean of its phases", mean, 1), ("phases", number, 2))
    ):
        figure.add_scatter(
            x=done,
            y=short(np.array(values)),
            mode="lines",
            name=name,
            showlegend=column == 1,
            line={"shape": "hv", "color": COLOURS[(5, 0, 2)[place]], "width": 2.5},
            text=[f"round {index}" for index in rounds],
            hoverinfo="y+text",
            row=1,
            col=column,
        )
    figure = layout(figure, height=380)
    figure.update_layout(legend={"y": -0.2, "yanchor": "top"}, margin={"b": 90})
    figure.update_xaxes(title_text="candidates relaxed", rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    return figure


def effort_chart(hull: HullRecord, candidates: Sequence[CandidateRecord]) -> go.Figure | None:
    """Draw how many candidates of each composition were relaxed.

    Returns:
        The chart; None for other than two, three or four species, or one composition.
    """
    space = _space(hull)
    counts = Counter(_name(c.formula) for c in candidates if c.relaxations)
    if space is None or len(counts) < 2:
        return None
    names = sorted(counts, key=lambda name: space.fractions(name).tolist(), reverse=True)
    numbers = [counts[name] for name in names]
    if len(space.species) == 2:
        figure = go.Figure(
            go.Bar(x=names, y=numbers, marker={"color": COLOURS[0]}, hoverinfo="x+y")
        )
        return layout(
            figure,
            legend=False,
            xaxis={"title": "composition", "type": "category"},
            yaxis={"title": "candidates relaxed", "tickformat": "d"},
        )
    figure = go.Figure()
    _add_frame(figure, space)
    places = np.array([space.place(name) for name in names])
    largest = max(numbers)
    lower = 0
    for upper in sorted({-(-largest // 10), -(-largest // 3), largest}):
        found = [k for k, n in enumerate(numbers) if lower < n <= upper]
        if found:
            figure.add_scatter(
                x=short(places[found, 0]),
                y=short(places[found, 1]),
                mode="markers",
                name=f"{lower + 1} to {upper} candidates" if upper > lower + 1 else f"{upper}",
                marker={
                    "size": float(6 + 18 * (upper / largest) ** 0.5),
                    "color": COLOURS[0],
                    "opacity": 0.6,
                },
                text=[f"{names[k]}: {numbers[k]} candidates" for k in found],
                hoverinfo="text",
            )
        lower = upper
    corners = _CORNERS[len(space.species)]
    figure.add_scatter(
        x=short(corners[:, 0]),
        y=short(corners[:, 1]),
        mode="text",
        text=space.species,
        textposition="top center",
        showlegend=False,
        hoverinfo="skip",
    )
    return _map_layout(figure)
