"""Write charts to files for papers: matplotlib draws the plotly figures.

plotly needs a browser to write files; matplotlib needs none and keeps text in SVG as text.
Only the features of :mod:`logan_campaign.results.report.charts` are supported: scatter, bar,
box and heatmap traces on x-y axes, in one or more panels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from logan_campaign.core.files import file_errors, whole_file

_DPI = 96  # plotly's lengths are CSS pixels
_WIDTH = 760
_SYMBOLS = {
    "circle": "o",
    "circle-open": "o",
    "diamond": "D",
    "star": "*",
    "x-thin": "x",
    "line-ns": "|",
}
_DASHES = {"dash": "--", "dot": ":", "solid": "-"}


def write_picture(figure: go.Figure, path: Path, title: str = "") -> Path:
    """Write a chart to a file, in the format that its suffix names, and return its path.

    Raises:
        InputError: the file cannot be written.
        ValueError: unsupported kind of trace.
    """
    kind = path.suffix[1:].lower()
    about = {"Date": None} if kind == "svg" else None  # equal charts give equal files
    with (
        file_errors("write", path),
        whole_file(path) as beside,
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "logan-campaign", "font.size": 9}),
    ):
        drawn = _draw(figure, title)
        drawn.savefig(beside, format=kind, dpi=150, bbox_inches="tight", metadata=about)
    return path


def _draw(figure: go.Figure, title: str) -> Figure:
    height = figure.layout.height or 420
    drawn = Figure(figsize=(_WIDTH / _DPI, height / _DPI))
    panels: dict[str, _Panel] = {}
    for trace in figure.data:
        name = (trace.xaxis or "x").removeprefix("x")
        if name not in panels:
            panels[name] = _Panel(drawn, figure, name)
        panels[name].add(trace)
    entries: dict[str, Any] = {}
    for panel in panels.values():
        panel.finish()
        handles, labels = panel.axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    if entries:
        drawn.legend(
            list(entries.values()), list(entries), loc="upper center", frameon=False,
            bbox_to_anchor=(0.5, 0.0), ncols=2 if len(entries) > 2 else len(entries),
        )  # fmt: skip
    if title:
        drawn.suptitle(title, y=0.97)
    return drawn


class _Panel:
    """One pair of axes with its traces."""

    def __init__(self, drawn: Figure, figure: go.Figure, name: str) -> None:
        self.layout = figure.layout
        self.x = figure.layout[f"xaxis{name}"]
        self.y = figure.layout[f"yaxis{name}"]
        left, right = self.x.domain or (0, 1)
        bottom, top = self.y.domain or (0, 1)
        # room for tick labels and titles around the plotting area
        box = (0.12 + 0.86 * left, 0.14 + 0.76 * bottom)
        self.axes: Axes = drawn.add_axes((*box, 0.86 * (right - left), 0.76 * (top - bottom)))
        self._categories: dict[str, list[str]] = {"x": [], "y": []}
        self._stacked: dict[str, float] = {}
        self._boxes: list[Any] = []
        self._bars = [trace for trace in figure.data if trace.type == "bar"]
        titles = [a.text for a in figure.layout.annotations if a.showarrow is False]
        places = [
            (a.x, a.y) for a in figure.layout.annotations if a.showarrow is False
        ]  # subplot titles are centred above their panel
        for text, (x, y) in zip(titles, places, strict=True):
            if left <= x <= right and abs(y - top) < 0.05:
                self.axes.set_title(text, fontsize=9)

    def add(self, trace: Any) -> None:
        match trace.type:
            case "scatter":
                self._scatter(trace)
            case "bar":
                self._bar(trace)
            case "box":
                self._box(trace)
            case "heatmap":
                self._heatmap(trace)
            case other:
                raise ValueError(f"no picture of a {other} trace")

    def _places(self, axis: str, values: Any) -> np.ndarray:
        """Return values as numbers, categories numbered in order of first occurrence."""
        values = list(values)
        if not values or not isinstance(values[0], str):
            return np.asarray(values, dtype=float)
        known = self._categories[axis]
        known += [value for value in dict.fromkeys(values) if value not in known]
        return np.array([known.index(value) for value in values], dtype=float)

    def _scatter(self, trace: Any) -> None:
        x, y = self._places("x", trace.x), self._places("y", trace.y)
        label = trace.name if trace.showlegend is not False and trace.name else None
        if "lines" in (trace.mode or "lines"):
            style = _DASHES[trace.line.dash or "solid"]
            steps = "steps-post" if trace.line.shape == "hv" else "default"
            self.axes.plot(
                x, y, style, color=trace.line.color, linewidth=0.7 * (trace.line.width or 2),
                drawstyle=steps, label=label,
            )  # fmt: skip
            return
        if "text" in trace.mode:
            for place in zip(x, y, trace.text, strict=True):
                self.axes.annotate(
                    place[2], place[:2], (0, -13 if "bottom" in trace.textposition else 6),
                    textcoords="offset points", ha="center", fontsize=8,
                )  # fmt: skip
        if "markers" not in trace.mode:
            return
        marker = trace.marker
        colour = marker.color if marker.color is not None else marker.line.color
        filled: dict[str, Any] = {"c": list(colour) if isinstance(colour, tuple) else colour}
        if marker.symbol == "circle-open":
            filled = {"facecolors": "none", "edgecolors": colour}
        elif marker.symbol not in ("x-thin", "line-ns"):
            filled["edgecolors"] = "none"
        self.axes.scatter(
            x, y, label=label,
            s=0.5 * (marker.size or 6) ** 2, marker=_SYMBOLS[marker.symbol or "circle"],
            alpha=marker.opacity, rasterized=len(x) > 2000, zorder=3, **filled,
        )  # fmt: skip

    def _bar(self, trace: Any) -> None:
        flat = trace.orientation == "h"
        names, lengths = (trace.y, trace.x) if flat else (trace.x, trace.y)
        places = self._places("y" if flat else "x", names)
        lengths = np.asarray(lengths, dtype=float)
        width = 0.7
        starts: Any = 0.0
        if self.layout.barmode == "stack":
            starts = np.array([self._stacked.get(name, 0.0) for name in names])
            self._stacked |= dict(zip(names, starts + lengths, strict=True))
        elif len(self._bars) > 1:
            width /= len(self._bars)
            places = places + width * (self._bars.index(trace) - (len(self._bars) - 1) / 2)
        style = {"color": trace.marker.color, "label": trace.name}
        if flat:
            bars = self.axes.barh(places, lengths, height=width, left=starts, **style)
        else:
            bars = self.axes.bar(places, lengths, width=width, bottom=starts, **style)
        if trace.text is not None:
            self.axes.bar_label(bars, labels=list(trace.text), padding=3)

    def _box(self, trace: Any) -> None:
        place = self._places("y", [trace.name])[0]
        values = np.asarray(trace.x, dtype=float)
        self.axes.boxplot(
            values, positions=[place], orientation="horizontal", widths=0.5,
            showfliers=trace.boxpoints != "all", flierprops={"markersize": 2},
        )  # fmt: skip
        if trace.boxpoints == "all":
            jitter = 0.2 * np.sin(12.9898 * np.arange(len(values)))
            self.axes.scatter(values, place + jitter, s=8, color=trace.marker.color, alpha=0.7)

    def _heatmap(self, trace: Any) -> None:
        x, y = self._places("x", trace.x), self._places("y", trace.y)
        z = np.asarray(trace.z, dtype=float)
        colours = LinearSegmentedColormap.from_list("scale", ["#f2f2f2", trace.colorscale[-1][1]])
        shown = np.ma.masked_equal(z, 0)
        self.axes.pcolormesh(
            x, y, shown, cmap=colours, vmin=0, vmax=trace.zmax, edgecolors="0.85", linewidth=0.5
        )
        for row, line in enumerate(trace.text):
            for column, text in enumerate(line):
                dark = z[row, column] > 0.6 * float(trace.zmax)
                self.axes.text(
                    x[column], y[row], text, ha="center", va="center",
                    color="white" if dark else "black", fontsize=8,
                )  # fmt: skip

    def finish(self) -> None:
        for name, layout, axis in (
            ("x", self.x, self.axes.xaxis),
            ("y", self.y, self.axes.yaxis),
        ):
            limits: dict[str, Callable[..., Any]] = {
                "x": self.axes.set_xlim,
                "y": self.axes.set_ylim,
            }
            is_log = layout.type == "log"
            if layout.title.text:
                axis.set_label_text(layout.title.text)
            if is_log:
                self.axes.set(**{f"{name}scale": "log"})
            if layout.range is not None:
                ends = [float(end) for end in layout.range]
                limits[name](*([10**end for end in ends] if is_log else ends))
            elif layout.rangemode == "tozero":
                limits[name](0, None)
            if layout.dtick is not None and not is_log:
                axis.set_major_locator(MultipleLocator(layout.dtick))
            categories = self._categories[name]
            if categories:
                axis.set_ticks(range(len(categories)), labels=categories)
                limits[name](-0.6, len(categories) - 0.4)
            if layout.autorange == "reversed":
                axis.set_inverted(True)
        # rotated, as names of models are long
        if sum(len(name) for name in self._categories["x"]) > 60:
            self.axes.tick_params(axis="x", labelrotation=60)
        self.axes.spines[["top", "right"]].set_visible(False)
        if self.x.visible is False:  # a map without axes
            self.axes.set_axis_off()
            self.axes.set_aspect("equal")
