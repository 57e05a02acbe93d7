"""Powder pattern of a crystal."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from pymatgen.core import Structure

from logan_campaign.results.report.charts import COLOURS, NEUTRAL, layout, short

#: Radiation, and range of diffraction angles 2θ (degrees).
RADIATION, RANGE = "CuKa", (5.0, 90.0)
#: Step and standard deviation of the lines that are drawn (degrees).
_STEP, _WIDTH = 0.04, 0.08
#: Atoms up to which it is computed while somebody waits: the time grows with the cell's volume.
MAX_ATOMS = 120


def powder_chart(structure: Structure) -> go.Figure | None:
    """Draw the powder pattern for Cu Kα, with the Miller indices of its reflections.

    Scattering factors, Lorentz and polarization factors as in pymatgen's ``XRDCalculator``; no
    thermal motion. None for more than :data:`MAX_ATOMS` atoms.
    """
    if len(structure) > MAX_ATOMS:
        return None
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    found = XRDCalculator(RADIATION).get_pattern(structure, two_theta_range=RANGE)
    grid = np.arange(*RANGE, _STEP)
    at = grid[:, None] - np.asarray(found.x)
    profile = np.exp(-0.5 * (at / _WIDTH) ** 2) @ np.asarray(found.y)
    scale = 100.0 / profile.max(initial=1e-9)
    texts = [
        ", ".join("".join(map(str, family["hkl"])) for family in families) + f"; d = {d:.3f} Å"
        for families, d in zip(found.hkls, found.d_hkls, strict=True)
    ]
    figure = go.Figure()
    figure.add_scatter(
        x=short(grid), y=short(scale * profile), mode="lines", hoverinfo="skip",
        line={"color": COLOURS[0], "width": 1.5},
    )  # fmt: skip
    figure.add_scatter(
        x=short(np.asarray(found.x)), y=[-4.0] * len(texts), mode="markers", hovertext=texts,
        marker={"symbol": "line-ns", "size": 8, "line": {"color": NEUTRAL, "width": 1}},
    )  # fmt: skip
    layout(figure, height=300, legend=False)
    figure.update_xaxes(title_text="2θ (°), Cu Kα", range=list(RANGE))
    figure.update_yaxes(title_text="intensity (%)")
    return figure
