"""Reproduce candidates in a separate process with one core and one thread, like a job's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from logan_campaign.core.errors import InputError, LoganCampaignError
from logan_campaign.core.processors import CoreClaims, pin_to_cores, single_threaded


def reproduce_apart(location: str, candidate_id: str, *, retrain: bool = False) -> dict[str, Any]:
    """Reproduce a candidate in a separate process.

    Args:
        location: store of the candidate: a folder, an SQLite file, or a URI.
        candidate_id: its id.
        retrain: also train its model again.

    Returns:
        A :class:`~logan_campaign.results.reproduce.Reproduction` as JSON, and
        ``lines`` that describe it.

    Raises:
        InputError: as :func:`~logan_campaign.results.reproduce.reproduce`, and if the process
            ends without an answer.
    """
    # The location may contain a password: standard input is not shown in process lists.
    request = {"location": location, "candidate_id": candidate_id, "retrain": retrain}
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(request),
        env=single_threaded(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as err:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"reproduction ended with exit code {done.returncode}: {last}") from err
    if "error" in answer:
        raise InputError(answer["error"])
    return answer


def main() -> None:
    """Answer the request on standard input, in one line."""
    request = json.load(sys.stdin)
    if hasattr(os, "sched_getaffinity"):
        claims = CoreClaims()  # held until this process exits
        pin_to_cores(claims.take(1))
    from logan_campaign.results.campaign import Results
    from logan_campaign.results.reproduce import describe, reproduce

    try:
        with Results.open(request["location"]) as results:
            found = reproduce(results, request["candidate_id"], retrain=request["retrain"])
    except LoganCampaignError as error:
        print(json.dumps({"error": str(error)}))
        return
    print(json.dumps({**found.model_dump(mode="json"), "lines": describe(found)}))


if __name__ == "__main__":
    main()
