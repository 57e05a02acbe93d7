"""Draw the README's figure from a finished campaign: ``python docs/make_figure.py CAMPAIGN OUT``.

Left: the map that selection works on (structure descriptors, PCA), every generated structure in
the colour of its cluster, the picks, and those that relaxed to a known isomer. Right: distinct
known isomers against picks, in the order that selection fixed, between the best that is possible
and what uniform draws of valid isomers give on average (coupon collector).
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from logan_campaign.core.arrays import unpack_arrays
from logan_campaign.stores.open import open_store
from logan_campaign.stores.queries import CampaignDatabase


def main(campaign: str, out: Path) -> None:
    """Read a campaign and write the figure."""
    with open_store(campaign) as stores:
        database = CampaignDatabase(stores)
        record = database.campaigns()[0]
        selection = record.selections[0]
        assert selection.map is not None
        chart = unpack_arrays(database.load_blob(selection.map))
        candidates = list(database.candidates(record.id, sort="order"))
        n_known = sum(
            known.formulas.get(record.formula, 0)
            for known in database.training_sets(record.id)
            if known.id in record.known_set_ids
        )
    where = {(p, s): i for i, (p, s) in enumerate(zip(chart["pool"], chart["sample"], strict=True))}
    picked = [where[selection.pool_ids.index(c.pool_id), c.sample_index] for c in candidates]

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    x, y = chart["pca"][:, :2].T
    left.scatter(x, y, c=chart["label"] % 20, cmap="tab20", s=2, alpha=0.35, linewidths=0)
    left.scatter(x[picked], y[picked], c="black", s=14, label="picked")
    left.set_xlabel("first principal component")
    left.set_ylabel("second principal component")
    left.set_title(f"{len(x)} generated structures, {len(picked)} picked")
    left.legend(loc="best", frameon=False)

    known = {c.match for c in candidates if c.state == "rediscovered"}
    target = {c.smiles for c in candidates if c.match in known}
    seen: set[str] = set()
    found = []
    for candidate in candidates:
        if candidate.smiles in target and candidate.smiles is not None:
            seen.add(candidate.smiles)
        found.append(len(seen))
    picks = np.arange(1, len(found) + 1)
    right.step(picks, found, where="post", label="this campaign")
    uniform = n_known * (1 - (1 - 1 / n_known) ** picks)
    right.plot(picks, uniform, ls="--", c="grey", label="uniform draws of valid isomers")
    right.plot(picks, np.minimum(picks, n_known), ls=":", c="grey", label="every pick a new one")
    right.set_xlabel("picks, in the order of selection")
    right.set_ylabel("distinct known isomers found")
    right.set_title(f"{record.formula}: {len(seen)} of {n_known} found")
    right.legend(loc="lower right", frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
