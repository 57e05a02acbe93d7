"""What is relaxed in place of candidates that stood for others and failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobflow import Flow, Job, Maker, Response, job
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Molecule

from logan_campaign.core.documents import Geometry, RelaxationDoc
from logan_campaign.core.errors import InputError
from logan_campaign.flows.relax import LevelRelaxMaker, Relaxing, XTBRelaxMaker, relaxing
from logan_campaign.flows.stages import placed, stage
from logan_campaign.flows.tolerance import tolerant


class Later(BaseModel):
    """What one level relaxed after others: in place of those that failed, or in its turn."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    candidate_ids: list[str] = Field(default_factory=list, description="The candidates")
    relaxations: list[Any] = Field(default_factory=list, description="Theirs, in the same order")
    copies: dict[str, list[str]] = Field(
        default_factory=dict, description="For each substitute the rest of its group, unrelaxed"
    )
    more: list[Later | None] = Field(
        default_factory=list,
        description="In place of these, where they failed too, and after these; None for those "
        "whose job failed",
    )
    left: list[str] = Field(
        default_factory=list, description="Not relaxed: enough known entries were found before"
    )
    campaign_id: str | None = Field(None, description="Campaign")


@dataclass
class SubstituteMaker(Maker):
    """Where a candidate failed that stands for others of its kind, relax one of these.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
        count: How many of a group to try, one after another.
    """

    name: str = "substitutes"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    count: int = 1

    @job(metadata=stage("default", "substitutes"))
    def make(
        self,
        campaign_id: str,
        level_index: int,
        states: dict[str, str | None],
        smiles: dict[str, str | None],
        reserves: dict[str, list[str]],
        structures: dict[str, Geometry],
    ) -> Response:
        """Add a job for the first reserve of each candidate that failed.

        Args:
            campaign_id: Campaign.
            level_index: Place of the level among the campaign's, from 0.
            states: State of each candidate that has reserves; None where the job died.
            smiles: What each of them became; None for crystals, and where it has no graph.
            reserves: For each of them its duplicates, in the order in which to try them.
            structures: Structures of the reserves.

        Returns:
            :class:`Later` as a dictionary.
        """
        lost = {
            candidate_id: reserves[candidate_id]
            for candidate_id, state in states.items()
            if state != "converged" or _in_pieces(structures, reserves, smiles, candidate_id)
        }
        if not lost or self.count < 1:
            return Response(output=Later().model_dump())
        following = {first: rest for first, *rest in lost.values()}
        starts = {candidate_id: structures[candidate_id] for candidate_id in following}
        begun = relaxing(self.maker, starts, campaign_id, level_index)
        output = {
            "candidate_ids": list(following),
            "relaxations": list(begun.outputs.values()),
            "copies": following,
            "more": [],
        }
        jobs = list(begun.jobs)
        again = substitutes_for(
            self.maker, self.count - 1, campaign_id, level_index, begun, following, structures
        )
        if again is not None:
            jobs.append(again)
            output["more"] = [again.output]
        flow = Flow(jobs, output=output, name=f"substitutes {self.maker.name}")
        return Response(replace=placed(flow))


def substitutes_for(
    maker: LevelRelaxMaker,
    count: int,
    campaign_id: str,
    level_index: int,
    begun: Relaxing,
    reserves: dict[str, list[str]],
    structures: dict[str, Geometry],
) -> Job | None:
    """Return the job that looks whether substitutes are needed, if there are any."""
    reserves = {candidate_id: others for candidate_id, others in reserves.items() if others}
    if not reserves or count < 1:
        return None
    return tolerant(
        SubstituteMaker(maker=maker, count=count).make(
            campaign_id,
            level_index,
            {candidate_id: begun.outputs[candidate_id].state for candidate_id in reserves},
            {candidate_id: begun.outputs[candidate_id].smiles for candidate_id in reserves},
            reserves,
            {member: structures[member] for others in reserves.values() for member in others},
        )
    )


def _in_pieces(
    structures: dict[str, Geometry],
    reserves: dict[str, list[str]],
    smiles: dict[str, str | None],
    candidate_id: str,
) -> bool:
    """Return whether a candidate is a molecule that has lost its graph."""
    is_molecule = isinstance(structures[reserves[candidate_id][0]], Molecule)
    return is_molecule and smiles[candidate_id] is None


class LevelOutcome(NamedTuple):
    """All that one level has relaxed."""

    candidate_ids: list[str]
    relaxations: list[RelaxationDoc | None]
    """In the same order; None where the job died."""
    copies: dict[str, list[str]]
    """For each substitute the rest of its group, unrelaxed."""
    left: list[str]
    """Candidates whose turn did not come."""


def all_relaxed(
    candidate_ids: list[str],
    relaxations: list[RelaxationDoc | None] | None,
    more: list[Later | None] | None,
) -> LevelOutcome:
    """Put together what a level has relaxed at first and later."""
    if relaxations is None:
        raise InputError("the relaxations have not been started")
    ids, found = list(candidate_ids), list(relaxations)
    copies: dict[str, list[str]] = {}
    left: list[str] = []
    waiting = list(more or [])
    while waiting:
        following = waiting.pop(0)
        if following is None:
            continue
        later = Later.model_validate(following)
        ids += later.candidate_ids
        found += later.relaxations
        copies.update(later.copies)
        left += later.left
        waiting += later.more
    documents = [None if doc is None else RelaxationDoc.model_validate(doc) for doc in found]
    return LevelOutcome(ids, documents, copies, left)
