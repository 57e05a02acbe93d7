"""Rounds of a continuous campaign: learning, and stop rules.

Pure functions on the documents of past rounds. The number of unseen structures is estimated
from how often each found structure has been seen: Chao's lower bound
(doi:10.2307/4615964, in its bias-corrected form) and Good's coverage
(doi:10.1093/biomet/40.3-4.237).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from logan_campaign.campaign.allocation import AnyPolicy
from logan_campaign.campaign.target import Section, TargetSpec
from logan_campaign.core.documents import RoundSummary
from logan_campaign.selection.estimates import coverage, unseen

#: Reason of the end of a campaign on a system; a refresh that becomes due reopens it.
EXHAUSTED = "every composition is exhausted"


class StopSpec(Section):
    """Stop rules; the first that applies ends the campaign. They can be changed during a run."""

    rounds: int = Field(10, ge=1, description="Maximum number of rounds")
    relaxations: int | None = Field(
        None, ge=1, description="Maximum number of relaxations at the last level"
    )
    cpu_hours: float | None = Field(
        None, gt=0, description="Maximum processor time of all jobs (h)"
    )
    wall_hours: float | None = Field(None, gt=0, description="Maximum wall time (h)")
    barren_rounds: int | None = Field(
        2,
        ge=1,
        description="Consecutive rounds without a discovery, for each composition of a system on "
        "its own; null: no limit",
    )
    all_targets: bool = Field(
        False, description="Stop when every known entry of the targets' compositions has been found"
    )
    unseen: float | None = Field(
        None, ge=0, description="Stop at this estimated number of unseen structures (Chao1)"
    )
    coverage: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Stop at this estimated share of sightings of structures seen before "
        "(Good-Turing)",
    )


class LearnSpec(Section):
    """Learning from earlier rounds."""

    feed_back: bool = Field(True, description="Add the structures found to the training set")
    energy_window_ev_per_atom: float | None = Field(
        None,
        gt=0,
        description="Largest energy of structures to train on above the lowest found of their "
        "composition (eV/atom)",
    )


class RefreshSpec(Section):
    """When training and known sets are pulled anew; give one of the two."""

    every_rounds: int | None = Field(None, ge=1, description="Every so many rounds")
    every: str | None = Field(
        None,
        pattern=r"^\d+(\.\d+)? ?[hdw]$",
        description="After this time: hours, days or weeks, such as '12 h', '7 d' or '2 w'",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> RefreshSpec:
        if (self.every_rounds is None) == (self.every is None):
            raise ValueError("give either 'every_rounds' or 'every'")
        return self

    def is_due(self, history: Sequence[RoundSummary], at: str, idle: bool = False) -> bool:
        """Return whether the next round begins with a refresh.

        A campaign that is idle does not wait for its n-th round, if anything was found since the
        last refresh; it does wait for its time.

        Args:
            history: the rounds so far.
            at: the time (ISO 8601).
            idle: whether nothing is left to search.
        """
        last = next((past for past in reversed(history) if past.refreshed_at), None)
        if self.every_rounds is not None:
            begun = -1 if last is None else last.index - 1
            if idle and any(past.found for past in history if past.index > begun):
                return True
            return history[-1].index - begun >= self.every_rounds
        assert self.every is not None  # by the validator
        hours = float(self.every[:-1]) * {"h": 1, "d": 24, "w": 168}[self.every[-1]]
        since = history[0].started_at if last is None else last.refreshed_at
        return _hours(since, at) >= hours


class RoundsSpec(Section):
    """A campaign of several rounds."""

    stop: StopSpec = Field(default_factory=StopSpec, description="Stop rules")
    learn: LearnSpec = Field(default_factory=LearnSpec, description="Learning from earlier rounds")
    refresh: RefreshSpec | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Pull training and known sets anew, and judge again what was called new; "
        "null: never",
    )
    models: Literal["fresh", "continue"] = Field(
        "fresh",
        description="Whether the models of a round start from new weights or continue from those "
        "of the last round with the same target",
    )
    steps: int | None = Field(
        None, ge=1, description="Generator updates of continued models; as in 'models' if null"
    )
    targets: list[TargetSpec] = Field(
        default_factory=list,
        description="Further compositions and cells, alternating with 'target'",
    )
    batch: int = Field(
        1,
        ge=1,
        le=1000,
        description="Targets per round; compositions in cells of several sizes come one at a time",
    )
    policy: AnyPolicy | None = Field(
        None,
        description="Order of the targets: a name or a mapping with settings. Null: 'hull' for "
        "crystals of a system, 'most_new' for its molecules, else 'round_robin'",
    )

    @model_validator(mode="after")
    def _steps_are_for_models_that_go_on(self) -> RoundsSpec:
        if self.steps is not None and self.models != "continue":
            raise ValueError("'steps' is for continued models: set 'models: continue', or leave")
        return self


def sightings(history: Iterable[RoundSummary]) -> Counter[str]:
    """Return the number of sightings of each structure, by the candidate that found it."""
    total: Counter[str] = Counter()
    for past in history:
        total.update(past.sightings)
    return total


def stop_reason(
    history: Sequence[RoundSummary],
    stop: StopSpec,
    targets: Collection[str],
    system: bool = False,
    only_brought: bool = False,
) -> str:
    """Return why a campaign stops after the rounds so far; '' if it continues.

    Args:
        history: the rounds so far, the last one last.
        stop: its rules.
        targets: ids of the known entries of the targets' compositions.
        system: whether the target is a system, each of whose compositions ends on its own after
            barren rounds.
        only_brought: whether nothing is generated here.
    """
    counts = list(sightings(history).values())
    relaxed = sum(past.n_last_level for past in history)
    cpu_h = sum(past.cpu_s for past in history) / 3600
    wall_h = _hours(history[0].started_at, history[-1].finished_at)
    barren = 0
    for past in reversed(history):
        if past.found:
            break
        barren += 1
    reached = {s.known_id for past in history for s in past.found} & set(targets)
    idle = not any(past.n_generated for past in history[-2 if system else -1 :])
    if idle and not (system and only_brought):
        return "nothing was generated: " + (history[-1].problem or "all trainings failed")
    rules: list[tuple[bool, str]] = [
        (len(history) >= stop.rounds, f"{len(history)} rounds done"),
        (
            stop.relaxations is not None and relaxed >= stop.relaxations,
            f"{relaxed} relaxations at the last level done",
        ),
        (stop.cpu_hours is not None and cpu_h >= stop.cpu_hours, f"{cpu_h:.2f} CPU hours used"),
        (stop.wall_hours is not None and wall_h >= stop.wall_hours, f"{wall_h:.2f} hours passed"),
        (
            stop.barren_rounds is not None and barren >= stop.barren_rounds and not system,
            f"{barren} rounds in a row found nothing",
        ),
        (
            stop.all_targets and 0 < len(targets) <= len(reached),
            f"all {len(targets)} known entries found",
        ),
        (
            stop.unseen is not None and bool(counts) and unseen(counts) <= stop.unseen,
            f"about {unseen(counts):.1f} structures remain unseen",
        ),
        (
            stop.coverage is not None and bool(counts) and coverage(counts) >= stop.coverage,
            f"{coverage(counts):.0%} of sightings fall on what has been seen",
        ),
    ]
    return next((reason for holds, reason in rules if holds), "")


def _hours(start: str, end: str) -> float:
    if not start or not end:
        return 0.0
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() / 3600
