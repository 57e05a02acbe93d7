"""The funnel from generated to new structures: numbers and reasons of losses per stage.

Every structure is lost at one stage for one reason, so each stage minus its losses equals the
next stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from logan_campaign.stores.records import CandidateRecord, SelectionRecord

#: Reason of candidates that are not finished.
PENDING = "still on its way"


class Stage(NamedTuple):
    """A stage of the funnel.

    Attributes:
        name: name of the stage.
        n: number of structures.
        losses: number of structures lost before the next stage by reason, largest first.
    """

    name: str
    n: int
    losses: dict[str, int]


def funnel(
    selections: Sequence[SelectionRecord], candidates: Iterable[CandidateRecord]
) -> list[Stage]:
    """Return the stages from generated to new structures.

    Args:
        selections: the selections, one per round.
        candidates: all picks.
    """
    unusable: Counter[str] = Counter()
    for selection in selections:
        unusable.update(selection.n_unusable)
    generated = sum(selection.n_generated for selection in selections)
    losses: dict[str, Counter[str]] = {stage: Counter() for stage in _AFTER_PICKING}
    picked = 0
    for candidate in candidates:
        picked += 1
        lost = _lost(candidate)
        if lost is not None:
            losses[lost[0]][lost[1]] += 1
    valid = generated - unusable.total()
    stages = [
        Stage("generated", generated, _ordered(unusable)),
        Stage("valid", valid, {"another structure was picked for it": valid - picked}),
    ]
    left = picked
    for name, lost_here in losses.items():
        stages.append(Stage(name, left, _ordered(lost_here)))
        left -= lost_here.total()
    return [*stages, Stage("new", left, {})]


_AFTER_PICKING = ("picked", "distinct", "relaxed", "distinct after relaxation")


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _lost(candidate: CandidateRecord) -> tuple[str, str] | None:
    """Return the last stage that a candidate reached and the reason why."""
    last = candidate.relaxations[-1] if candidate.relaxations else None
    match candidate.state:
        case "new":
            return None
        case "rediscovered":
            known = "known already" if last else "known already, as it was generated"
            return ("distinct after relaxation" if last else "picked", known)
        case "duplicate":
            return ("relaxed" if last else "picked", "equals another candidate")
        case "pending":
            return ("distinct", PENDING)
        case "selected":
            return ("distinct", "selected, not relaxed")
        case _:
            broken = last is not None and last.state != "converged"
            reason = last.state.replace("_", " ") if last and broken else _opening(candidate)
            return ("distinct" if last else "picked", reason)


def _opening(candidate: CandidateRecord) -> str:
    """Return a reason up to its first colon, to group similar reasons."""
    return candidate.reason.split(":", 1)[0].strip() or candidate.state
