"""``logan-campaign map``: the PCA map of what was generated, picked, known and found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

from logan_campaign.arrays import unpack_arrays
from logan_campaign.cli.app import app
from logan_campaign.cli.common import CampaignArgument, StoreOption, err_console, opened
from logan_campaign.errors import InputError

_FORMATS = (".png", ".svg", ".pdf")


@app.command(name="map")
def map_(
    campaign: CampaignArgument,
    path: Annotated[Path, typer.Argument(help="Picture to write: .png, .svg or .pdf.")],
    store: StoreOption = None,
) -> None:
    """Draw the PCA map: clusters, picks, known structures and what was found."""
    from logan_campaign.plots import plot_map  # brings matplotlib, which takes its time

    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"cannot draw {path}: give a name that ends in {', '.join(_FORMATS)}")
    with opened(campaign, store) as (database, record):
        selection = record.selections[-1] if record.selections else None
        if selection is None or selection.map is None:
            raise InputError(f"{record.name} has selected nothing yet: there is no map to draw")
        arrays = unpack_arrays(database.load_blob(selection.map))
        candidates = list(database.candidates(record.id, sort="order", structures=False))
    row = {
        (selection.pool_ids[pool], int(sample)): k
        for k, (pool, sample) in enumerate(zip(arrays["pool"], arrays["sample"], strict=True))
    }
    picked = {c.id: row[c.pool_id, c.sample_index] for c in candidates}
    found = [picked[c.id] for c in candidates if c.state in ("rediscovered", "new")]
    figure = plot_map(
        arrays["pca"],
        arrays["label"],
        picks=np.array(list(picked.values()), dtype=int),
        found=np.array(found, dtype=int),
        known=arrays.get("known_pca"),
        explained_variance=selection.explained_variance,
        title=f"{record.formula}: {len(arrays['pca'])} structures, {len(picked)} picked by "
        f"{selection.strategy}",
    )
    try:
        figure.savefig(path, dpi=150)
    except OSError as err:
        raise InputError(f"cannot write {path}: {err.strerror or err}") from err
    err_console().print(escape(f"map written to {path}"), soft_wrap=True)
