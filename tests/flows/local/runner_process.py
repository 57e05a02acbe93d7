"""A runner in a process of its own, for tests that kill it.

``python runner_process.py FOLDER FLOW [WORKERS]`` runs a flow of the zoo with its store and
work directory in FOLDER, or goes on with it, and says so: a line when it starts, one per
job, and one at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import runner_zoo
from jobflow import JobStore

from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.flows.local import JobFinished, JobStarted, Ledger, RunStarted, run_flow
from logan_campaign.stores.open import open_store


def tell(event):
    if isinstance(event, RunStarted | JobStarted | JobFinished):
        print(type(event).__name__, flush=True)


def main(folder, flow, workers="2"):
    with open_store(folder / "campaign", create=True) as stores:
        summary = run_flow(
            getattr(runner_zoo, flow)(),
            jobstore=JobStore(stores.docs, additional_stores={"data": stores.data}),
            ledger=Ledger(stores.ledger, "killed"),
            work_dir=folder / "work",
            n_workers=int(workers),
            on_event=tell,
            transaction=stores.transaction,
        )
    print(summary.message, flush=True)
    return summary.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
    except LoganCampaignError as err:
        print(err, file=sys.stderr)
        sys.exit(2)
