"""``logan-campaign reproduce``: make a candidate again and compare."""

from __future__ import annotations

from typing import Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    JsonOption,
    StoreOption,
    opened,
    print_json,
    say,
    tell,
)


@app.command()
def reproduce(
    campaign: CampaignArgument,
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="Candidate; a unique prefix is enough.")
    ],
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Also train its model again, at full cost.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Generate a candidate again from the stored weights, and compare it with the stored one.

    Exit code 0 if they are equal to the last bit, 1 if not. Versions, platform and device that
    differ from the recorded ones are listed.
    """
    from logan_campaign.results.apart import reproduce_apart

    with opened(campaign, store) as (database, _):
        record = database.candidate(identity)
        model = database.model(record.model_id)
    if retrain:
        tell(f"{model.id} took {model.elapsed_s:.0f} s to train: it is trained again")
    found = reproduce_apart(store or campaign, record.id, retrain=retrain)
    if as_json:
        print_json({key: value for key, value in found.items() if key != "lines"})
    else:
        for line in found["lines"]:
            say(line)
    if not found["reproduced"]:
        raise typer.Exit(1)
