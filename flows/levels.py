"""Relaxation in levels: a chain of jobs that grows with the results.

The number of candidates at a level is known only when the previous level is done. Therefore one
job per level adds its relaxations to the running flow::

    screen ─> start level ─> compare ─> start level ─> … ─> classify
               └─ relax × K              └─ relax × K

If the last level stops once enough known entries are found, it relaxes its candidates in
turns: relax × n ─> next turn ─> relax × n ─> …
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jobflow import Flow, Job, Maker, OutputReference, Response, job
from pydantic import BaseModel, Field

from logan_campaign.campaign.classification import classify
from logan_campaign.campaign.spec import TurnsSpec
from logan_campaign.core.documents import (
    DATA_KEYS,
    Geometry,
    RelaxationDoc,
    ScreeningDoc,
    TrainingSetDoc,
)
from logan_campaign.flows.judge import ClassifyMaker, CompareMaker, known_sets
from logan_campaign.flows.links import OpenFlow
from logan_campaign.flows.relax import LevelRelaxMaker, Relaxing, XTBRelaxMaker, relaxing
from logan_campaign.flows.stages import placed, stage
from logan_campaign.flows.substitutes import Later, all_relaxed, substitutes_for
from logan_campaign.flows.tolerance import tolerant
from logan_campaign.matching.spec import MatchingSpec

_LEVEL_OUTPUT = ("campaign_id", "candidate_ids", "relaxations", "more")


class Relaxed(BaseModel):
    """The relaxations of a level so far, by job."""

    candidate_ids: list[str] = Field(default_factory=list, description="Candidates")
    relaxations: list[tuple[str, int | None]] = Field(
        default_factory=list, description="Uuids of their jobs, and their indices in these"
    )
    substitutes: list[str] = Field(default_factory=list, description="Jobs of substitutes")

    def after(self, relaxing: Relaxing, substitutes: Job | None) -> Relaxed:
        """Return a copy with one more turn."""
        # a reference is the path from the job's output to the part that is needed
        places = [
            (output.uuid, output.attributes[-1][1] if output.attributes else None)
            for output in relaxing.outputs.values()
        ]
        return Relaxed(
            candidate_ids=[*self.candidate_ids, *relaxing.outputs],
            relaxations=[*self.relaxations, *places],
            substitutes=[*self.substitutes, *([] if substitutes is None else [substitutes.uuid])],
        )

    @property
    def outputs(self) -> list[OutputReference]:
        """References to the relaxations."""
        return [
            OutputReference(uuid) if place is None else OutputReference(uuid).relaxations[place]
            for uuid, place in self.relaxations
        ]


@dataclass
class RelaxLevelMaker(Maker):
    """Start one level: relax the remaining candidates, in batches set by the level.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
        substitutes: Number of duplicates to try if the relaxation of the candidate that
            represents them fails.
        turns: When to stop, and candidates per turn; None: all at once.
        known: Uuids of the jobs that made the training set and the known sets.
        matching: When structures are equal.
    """

    name: str = "start level"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    substitutes: int = 1
    turns: TurnsSpec | None = None
    known: list[str] = field(default_factory=list)
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(metadata=stage("default", "start level"))
    def make(self, screening: ScreeningDoc, level_index: int = 0) -> Response:
        """Add jobs that relax the candidates to the flow, and collect their outputs.

        The added jobs do not refer to jobs outside, which jobflow-remote refuses, except in turns:
        these refer to the sets to compare with, as an :class:`OpenFlow`.

        Args:
            screening: Verdicts and structures of the previous stage.
            level_index: Index of this level in the campaign, from 0.

        Returns:
            ``campaign_id``, ``candidate_ids``, the ``relaxations`` in the same order, and
            ``more``, the later relaxations.
        """
        screening = ScreeningDoc.model_validate(screening)
        # in the order of the verdicts, which is that of selection
        entrants = [v.candidate_id for v in screening.verdicts if v.state == "pending"]
        reserves = {c: screening.reserves[c] for c in entrants if c in screening.reserves}
        campaign_id, structures = screening.campaign_id, screening.structures
        return self._add(campaign_id, entrants, structures, reserves, level_index, Relaxed())

    @job(name="next turn", data=DATA_KEYS, metadata=stage("match", "next turn"))
    def go_on(
        self,
        campaign_id: str,
        candidate_ids: list[str],
        structures: dict[str, Geometry],
        reserves: dict[str, list[str]],
        level_index: int,
        relaxed: Relaxed,
        relaxations: list[RelaxationDoc | None],
        more: list[Later | None],
        known: list[TrainingSetDoc],
    ) -> Response:
        """Relax the next candidates, unless enough known entries have been found.

        Args:
            campaign_id: Campaign.
            candidate_ids: Candidates not relaxed yet.
            structures: Their structures, and those of their reserves.
            reserves: Duplicates of each candidate, in the order in which to try them.
            level_index: Index of this level in the campaign, from 0.
            relaxed: Candidates of earlier turns.
            relaxations: Their relaxations; None if the job died.
            more: Relaxations of their substitutes.
            known: The training set and the known sets.

        Returns:
            :class:`Later` as a dictionary.
        """
        assert self.turns is not None  # this job exists only with turns
        relaxed = Relaxed.model_validate(relaxed)
        sets = known_sets(known)
        ids, documents, *_ = all_relaxed(relaxed.candidate_ids, relaxations, more)
        targets = {s.id for s in sets if s.role == "known"}
        found = {
            verdict.match
            for verdict in classify(ids, documents, sets, self.matching)
            if verdict.state == "rediscovered" and verdict.match_set in targets
        }
        if len(found) >= self.turns.until_found:
            return Response(output=Later(left=candidate_ids).model_dump())
        return self._add(campaign_id, candidate_ids, structures, reserves, level_index, relaxed)

    def _add(
        self,
        campaign_id: str,
        candidate_ids: list[str],
        structures: dict[str, Geometry],
        reserves: dict[str, list[str]],
        level_index: int,
        relaxed: Relaxed,
    ) -> Response:
        maker, turns = self.maker, self.turns
        n_now = len(candidate_ids) if turns is None else turns.at_a_time
        entrants, waiting = candidate_ids[:n_now], candidate_ids[n_now:]
        starts = {candidate_id: structures[candidate_id] for candidate_id in entrants}
        # only turns refer to jobs outside, see :meth:`make`
        n = maker.level.learns  # frames, of which every relaxation has one at least
        known = relaxed.outputs[-n:] if n else []
        begun = relaxing(maker, starts, campaign_id, level_index, known)
        jobs, more = list(begun.jobs), []
        substitutes = substitutes_for(
            maker,
            self.substitutes,
            campaign_id,
            level_index,
            begun,
            {c: reserves[c] for c in entrants if c in reserves},
            structures,
        )
        if substitutes is not None:
            jobs.append(substitutes)
            more.append(substitutes.output)
        if waiting:
            held = {*waiting, *(other for c in waiting for other in reserves.get(c, ()))}
            relaxed = relaxed.after(begun, substitutes)
            following = tolerant(
                self.go_on(
                    campaign_id,
                    waiting,
                    {c: structures[c] for c in structures if c in held},
                    {c: reserves[c] for c in waiting if c in reserves},
                    level_index,
                    relaxed,
                    relaxed.outputs,
                    [OutputReference(uuid) for uuid in relaxed.substitutes],
                    [OutputReference(uuid) for uuid in self.known],
                )
            )
            jobs.append(following)
            more.append(following.output)
        output = {
            "campaign_id": campaign_id,
            "candidate_ids": entrants,
            "relaxations": list(begun.outputs.values()),
            "more": more,
        }
        flow = OpenFlow if waiting or known else Flow
        return Response(replace=placed(flow(jobs, output=output, name=f"level {maker.name}")))


@dataclass
class RelaxLevelsMaker(Maker):
    """Relax the remaining candidates level by level, and classify the results.

    Attributes:
        name: Name of the flow.
        makers: One relaxation Maker per level, cheapest first.
        compare: Judges the results between two levels.
        classify: Judges the results of the last level.
        substitutes: Number of duplicates to try if a relaxation fails.
        turns: When the last level stops, and its candidates per turn.
    """

    name: str = "relax"
    makers: list[LevelRelaxMaker] = field(default_factory=lambda: [XTBRelaxMaker()])
    compare: CompareMaker = field(default_factory=CompareMaker)
    classify: ClassifyMaker = field(default_factory=ClassifyMaker)
    substitutes: int = 1
    turns: TurnsSpec | None = None

    def make(self, screening: ScreeningDoc, known: list[TrainingSetDoc]) -> Flow:
        """Return the flow, with two jobs per level: one starts it, the other judges it.

        Args:
            screening: Verdicts and structures of the previous stage.
            known: The training set and the known sets.
        """
        jobs: list[Job] = []
        for index, maker in enumerate(self.makers):
            is_last = index + 1 == len(self.makers)
            starter = RelaxLevelMaker(maker=maker, substitutes=self.substitutes)
            if is_last and self.turns is not None:
                uuids = [s.uuid for s in known if isinstance(s, OutputReference)]
                starter = replace(
                    starter, turns=self.turns, known=uuids, matching=self.classify.matching
                )
            level = starter.make(screening, index)
            found = [level.output[k] for k in _LEVEL_OUTPUT]
            if is_last:
                judge = tolerant(self.classify.make(*found, known))
            else:
                following = self.makers[index + 1].level.name
                compare = replace(
                    self.compare, window_ev_per_atom=maker.level.energy_window_ev_per_atom
                )
                judge = tolerant(compare.make(*found, known, before_level=following))
            jobs += [level, judge]
            screening = judge.output
        return Flow(jobs, output=jobs[-1].output, name=self.name)
