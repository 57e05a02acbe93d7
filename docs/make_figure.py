"""Draw the README's figure from a finished campaign: ``python docs/make_figure.py CAMPAIGN OUT``.

Above: the molecules found, with their energies above the lowest. Below: distinct known isomers
against relaxations, in the order that selection fixed, and what uniform draws of valid isomers
give on average (coupon collector). The README shows ``examples/c5h12o-descent.yaml``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from logan_campaign.results import Campaign
from logan_campaign.results.report.discoveries import (
    count_discoveries,
    expected_distinct,
    n_targets,
)

_SIZE = (330, 230)


def main(where: str, out: Path) -> None:
    """Read a campaign and write the figure."""
    with Campaign.open(where) as campaign:
        candidates = list(campaign.candidates())
        found = list(campaign.candidates(state=["new", "rediscovered"]).sorted_by("energy"))
        known = n_targets(campaign.record, campaign.known_sets)
        ids = campaign.record.known_set_ids
        n_generated = sum(selection.n_generated for selection in campaign.selections)
    counts = count_discoveries(candidates, ids)

    figure, (above, below) = plt.subplots(
        2, 1, figsize=(10, 5.4), layout="constrained", height_ratios=(1.15, 1)
    )
    above.imshow(_molecules(found))
    above.set_axis_off()
    above.set_title(
        f"Found: {counts.known[-1]} of {known} isomers of {found[0].formula}, with energies above "
        "the lowest (eV)"
    )
    n = counts.relaxations
    label = f"this campaign ({n_generated} structures generated)"
    below.plot(n, counts.known, "o-", ms=4, label=label)
    further = np.arange(0, max(2 * known, n[-1]) + 1)
    below.plot(
        further, expected_distinct(known, further), ls="--", c="grey",
        label="uniform draws of valid isomers, on average",
    )  # fmt: skip
    below.set_yticks(range(0, known + 1, 2))
    below.set_xlabel("relaxations")
    below.set_ylabel("isomers found")
    below.legend(loc="lower right", frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)


def _molecules(found: list) -> Image.Image:
    """Return a picture of molecules in rows of seven."""
    rows = -(-len(found) // 7)
    drawer = rdMolDraw2D.MolDraw2DCairo(7 * _SIZE[0], rows * _SIZE[1], *_SIZE)
    drawer.drawOptions().legendFontSize = 34
    drawer.drawOptions().bondLineWidth = 3
    drawer.drawOptions().fixedBondLength = 55
    drawer.drawOptions().minFontSize = 26
    texts = [f"{candidate.energy_above_min_ev:.2f}" for candidate in found]
    drawer.DrawMolecules([Chem.MolFromSmiles(c.smiles) for c in found], legends=texts)
    drawer.FinishDrawing()
    return Image.open(io.BytesIO(drawer.GetDrawingText()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
