"""Pictures, drawn with matplotlib and without a display."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from logan_campaign.core.errors import InputError


def plot_map(
    places: np.ndarray,
    labels: np.ndarray,
    *,
    picks: np.ndarray,
    found: np.ndarray | None = None,
    known: np.ndarray | None = None,
    explained_variance: Sequence[float] = (),
    title: str = "",
) -> Figure:
    """Draw the PCA map of the generated structures, as figures 3 and 5 of the LoGAN paper.

    Args:
        places: (n, at least 2) place of every structure; NaN where it has none.
        labels: (n,) cluster of every structure, -1 where it has none.
        picks: rows of the picked structures.
        found: rows of those picks that turned out to be worth it.
        known: (m, at least 2) places of known structures.
        explained_variance: share of the variance per component.
        title: title.

    Raises:
        InputError: if the map has fewer than two components.
    """
    if places.ndim != 2 or places.shape[1] < 2:
        raise InputError("a map is drawn from two PCA components; this selection has fewer")
    figure = Figure(figsize=(7.0, 5.6), layout="constrained")
    axes = figure.add_subplot()
    x, y = places[:, 0], places[:, 1]
    free = labels < 0
    axes.scatter(x[free], y[free], c="0.8", s=2, linewidths=0, rasterized=True)
    axes.scatter(
        x[~free],
        y[~free],
        c=labels[~free] % 20,
        cmap="tab20",
        vmin=0,
        vmax=19,
        s=2,
        alpha=0.5,
        linewidths=0,
        rasterized=True,
    )
    axes.scatter(x[picks], y[picks], c="black", s=16, label=f"picked ({len(picks)})")
    if found is not None and len(found):
        axes.scatter(
            x[found],
            y[found],
            facecolors="none",
            edgecolors="black",
            s=70,
            label=f"known or new after relaxation ({len(found)})",
        )
    if known is not None and len(known):
        axes.scatter(
            known[:, 0], known[:, 1], c="red", marker="x", s=45, label=f"known ({len(known)})"
        )
    # a few broken structures far out must not shrink all the rest to a dot
    shown = [places[:, :2][np.isfinite(places[:, :2]).all(axis=1)]]
    low, high = np.quantile(shown[0], [0.002, 0.998], axis=0)
    marked = [places[picks, :2]] + ([known[:, :2]] if known is not None and len(known) else [])
    low = np.minimum(low, np.concatenate(marked).min(axis=0))
    high = np.maximum(high, np.concatenate(marked).max(axis=0))
    margin = 0.05 * np.maximum(high - low, 1e-12)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    for number, name in enumerate(("first", "second")):
        share = (
            f" ({100 * explained_variance[number]:.0f}% of the variance)"
            if len(explained_variance) > number
            else ""
        )
        (axes.set_xlabel, axes.set_ylabel)[number](f"{name} principal component{share}")
    axes.set_title(title)
    axes.legend(loc="best", frameon=False)
    return figure
