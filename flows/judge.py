"""Jobs that judge candidates: before any relaxation, between two levels, and at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobflow import Maker, job

from logan_campaign.campaign.classification import (
    KnownSet,
    between_levels,
    classify,
    reserves,
    screen_and_match,
)
from logan_campaign.core.documents import (
    DATA_KEYS,
    ClassificationDoc,
    Geometry,
    RelaxationDoc,
    ScreeningDoc,
    SelectionDoc,
    TrainingSetDoc,
    Verdict,
)
from logan_campaign.flows.stages import stage
from logan_campaign.flows.substitutes import Later, all_relaxed
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.selection.screening import ScreeningSpec


@dataclass
class ScreenMaker(Maker):
    """Judge the picks before any relaxation: implausible, already known, or duplicates.

    Attributes:
        name: Name of the job.
        screening: Limits of plausible geometry.
        matching: When structures are equal.
    """

    name: str = "screen"
    screening: ScreeningSpec = field(default_factory=ScreeningSpec)
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(data=DATA_KEYS, output_schema=ScreeningDoc, metadata=stage("match", "screen"))
    def make(
        self, selection: SelectionDoc, known: list[TrainingSetDoc], before_level: str | None
    ) -> ScreeningDoc:
        """Return one verdict per candidate, and the structures of those that continue.

        Args:
            selection: The picks.
            known: The training set and the known sets.
            before_level: Name of the first level; None if nothing is relaxed.
        """
        selection = SelectionDoc.model_validate(selection)
        sets = known_sets(known)
        verdicts = screen_and_match(selection.candidates, sets, self.screening, self.matching)
        if before_level is None:
            verdicts = [_ends_here(verdict) for verdict in verdicts]
        return ScreeningDoc(
            campaign_id=selection.campaign_id,
            before_level=before_level,
            known_set_ids=[s.id for s in sets],
            verdicts=verdicts,
            reserves=(others := reserves(verdicts)),
            structures=_passed(verdicts, others, {c.id: c.goes_on for c in selection.candidates}),
        )


@dataclass
class CompareMaker(Maker):
    """Judge the results of one level: failed, duplicate, or continuing to the next level.

    Attributes:
        name: Name of the job.
        matching: When structures are equal.
        window_ev_per_atom: Largest energy above the lowest (eV/atom).
    """

    name: str = "compare"
    matching: MatchingSpec = field(default_factory=MatchingSpec)
    window_ev_per_atom: float | None = None

    @job(data=DATA_KEYS, output_schema=ScreeningDoc, metadata=stage("match", "compare"))
    def make(
        self,
        campaign_id: str,
        candidate_ids: list[str],
        relaxations: list[RelaxationDoc | None],
        more: list[Later | None] | None,
        known: list[TrainingSetDoc],
        before_level: str,
    ) -> ScreeningDoc:
        """Return one verdict per candidate of the level, and the structures that continue.

        Args:
            campaign_id: Campaign.
            candidate_ids: Candidates that entered the level.
            relaxations: Their relaxations, in the same order; None if the job died.
            more: Later relaxations: substitutes of failed ones, and further turns.
            known: The training set and the known sets.
            before_level: Name of the next level.
        """
        sets = known_sets(known)
        ids, relaxed, copies, _ = all_relaxed(candidate_ids, relaxations, more)
        verdicts = between_levels(
            ids, relaxed, sets, self.matching, window_ev_per_atom=self.window_ev_per_atom
        )
        others = reserves(verdicts, relaxed)
        return ScreeningDoc(
            campaign_id=campaign_id,
            before_level=before_level,
            known_set_ids=[s.id for s in sets],
            verdicts=[*verdicts, *_of_copies(verdicts, copies)],
            reserves=others,
            structures=_passed(
                verdicts,
                others,
                {doc.candidate_id: doc.structure for doc in relaxed if doc is not None},
            ),
        )


@dataclass
class ClassifyMaker(Maker):
    """Classify every relaxed candidate: rediscovered, new, duplicate or failed.

    Attributes:
        name: Name of the job.
        matching: When structures are equal.
    """

    name: str = "classify"
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(data=DATA_KEYS, output_schema=ClassificationDoc, metadata=stage("match", "classify"))
    def make(
        self,
        campaign_id: str,
        candidate_ids: list[str],
        relaxations: list[RelaxationDoc | None],
        more: list[Later | None] | None,
        known: list[TrainingSetDoc],
    ) -> ClassificationDoc:
        """Return one verdict per candidate that entered the last level.

        Args:
            campaign_id: Campaign.
            candidate_ids: Candidates that entered the last level.
            relaxations: Their relaxations, in the same order; None if the job died.
            more: Later relaxations: substitutes of failed ones, and further turns.
            known: The training set and the known sets.
        """
        sets = known_sets(known)
        ids, relaxed, copies, left = all_relaxed(candidate_ids, relaxations, more)
        verdicts = classify(ids, relaxed, sets, self.matching)
        return ClassificationDoc(
            campaign_id=campaign_id,
            known_set_ids=[s.id for s in sets],
            verdicts=[*verdicts, *_of_copies(verdicts, copies), *_of_left(left)],
        )


def known_sets(documents: list[TrainingSetDoc]) -> list[KnownSet]:
    """Return the sets in the form used by matching."""
    sets = [TrainingSetDoc.model_validate(doc) for doc in documents]
    return [KnownSet(d.id, d.role, d.structures) for d in sets if d.role != "external"]


def _ends_here(verdict: Verdict) -> Verdict:
    """Return the verdict of a campaign without levels of relaxation."""
    if verdict.state != "pending":
        return verdict
    change = {"state": "selected", "reason": "the campaign ends with selection"}
    return verdict.model_copy(update=change)


def _of_copies(verdicts: list[Verdict], copies: dict[str, list[str]]) -> list[Verdict]:
    """Return verdicts on duplicates of substitutes that were not relaxed themselves."""
    failed = {verdict.candidate_id for verdict in verdicts if verdict.state == "failed"}
    judged = {verdict.candidate_id for verdict in verdicts}
    return [
        Verdict(candidate_id=copy, state="duplicate", match=substitute)
        for substitute, others in copies.items()
        if substitute not in failed
        for copy in others
        if copy not in judged
    ]


def _of_left(candidate_ids: list[str]) -> list[Verdict]:
    reason = "not relaxed: enough known entries were found before its turn"
    return [
        Verdict(candidate_id=candidate_id, state="selected", reason=reason)
        for candidate_id in candidate_ids
    ]


def _passed(
    verdicts: list[Verdict], reserves: dict[str, list[str]], structures: dict[str, Geometry]
) -> dict[str, Geometry]:
    wanted = [v.candidate_id for v in verdicts if v.state == "pending"]
    wanted += [member for others in reserves.values() for member in others]
    return {candidate_id: structures[candidate_id] for candidate_id in wanted}
