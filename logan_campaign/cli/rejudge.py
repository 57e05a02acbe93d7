"""``logan-campaign rejudge``: judge again what was called new, by known sets as they are now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    JsonOption,
    StoreOption,
    console,
    opened,
    print_json,
)

if TYPE_CHECKING:
    from logan_campaign.core.documents import StructureEntry
    from logan_campaign.stores.records import CandidateRecord


@app.command()
def rejudge(
    campaign: CampaignArgument,
    store: StoreOption = None,
    base: Annotated[
        Path,
        typer.Option(
            help="Folder that relative paths in the spec start from.", file_okay=False, exists=True
        ),
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Pull a campaign's training and known sets anew, and judge again what it called new.

    All verdicts are kept, each with its time and the sets that it was based on. If a source does
    not answer, nothing is changed.
    """
    from jobflow import JobStore

    from logan_campaign.campaign.spec import CampaignSpec
    from logan_campaign.cli.data_pull import run_job, shown_progress
    from logan_campaign.core.errors import InputError
    from logan_campaign.flows.data import TrainingSetMaker
    from logan_campaign.flows.known import pack_entries
    from logan_campaign.flows.refresh import RejudgeMaker
    from logan_campaign.stores.builders import CampaignBuilder
    from logan_campaign.stores.pulls import PullBuilder, PulledSets

    with opened(campaign, store) as (database, record):
        spec, stores = CampaignSpec.model_validate(record.spec), database.stores
        training = [] if spec.training is None else [spec.training.source]
        if not (training or spec.known):
            raise InputError(f"{record.name} has no training set and no known set to compare with")
        found = [
            candidate
            for candidate in database.candidates(record.id)
            if candidate.state == "new"
            or (candidate.history and candidate.history[0].state == "new")
        ]
        PullBuilder.from_stores(stores).build()
        pulls = [
            TrainingSetMaker(
                "pulled anew", source, "training" if source in training else "known", str(base)
            ).make(PulledSets(stores).manifest(source.query_id))
            for source in (*training, *spec.known)
        ]
        about = {"campaign_id": record.id, "campaign": record.name}
        for pull in pulls:
            pull.update_metadata(about)
        with shown_progress():
            written = [run_job(pull) for pull in pulls]
        last = next((c.history[-1].known_set_ids for c in found if c.history), None)
        again = RejudgeMaker(matching=spec.match).make(
            record.id,
            [output.result for output in written],
            last or [*record.training_set_ids, *record.known_set_ids],
            packed=pack_entries([_entry(candidate) for candidate in found]) if found else "",
        )
        again.update_metadata(about)
        written.append(run_job(again))
        jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
        with stores.transaction():
            for output in written:
                output.write(jobstore)
        CampaignBuilder.from_stores(stores, record.id).build()
        verdicts = written[-1].result.verdicts
    known = [v for v in verdicts if v.state == "rediscovered"]
    if as_json:
        print_json([verdict.model_dump(mode="json") for verdict in verdicts])
        return
    out = console()
    if not verdicts:
        out.print("nothing to judge again: no set has changed, or nothing was called new")
        return
    out.print(f"{len(verdicts)} structures were judged again: {len(known)} are known now")
    for verdict in known:
        out.print(f"{verdict.candidate_id} equals {verdict.match_label}", markup=False)


def _entry(candidate: CandidateRecord) -> StructureEntry:
    from logan_campaign.core.documents import StructureEntry
    from logan_campaign.geometry.structures import structure_id

    assert candidate.structure is not None  # what is new was relaxed
    return StructureEntry(
        id=structure_id(candidate.structure),
        label=candidate.id,
        formula=candidate.formula,
        structure=candidate.structure,
        smiles=candidate.smiles,
        spacegroup=candidate.spacegroup,
        energy_ev=candidate.energy_ev,
    )
