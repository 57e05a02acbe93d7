"""Substitutes for candidates that represented duplicates and failed to relax."""

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
    """Later relaxations at one level: substitutes of failed ones, and further turns."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    candidate_ids: list[str] = Field(default_factory=list, description="The candidates")
    relaxations: list[Any] = Field(
        default_factory=list, description="Their relaxations, in the same order"
    )
    copies: dict[str, list[str]] = Field(
        default_factory=dict, description="Remaining unrelaxed duplicates of each substitute"
    )
    more: list[Later | None] = Field(
        default_factory=list,
        description="Relaxations after these, including their own substitutes; None if the job "
        "failed",
    )
    left: list[str] = Field(
        default_factory=list, description="Not relaxed, since enough known entries had been found"
    )
    campaign_id: str | None = Field(None, description="Campaign")


@dataclass
class SubstituteMaker(Maker):
    """Relax a duplicate in place of a candidate that failed.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
        count: Number of duplicates to try, in sequence.
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
            level_index: Index of the level in the campaign, from 0.
            states: State of each candidate that has duplicates; None if the job died.
            smiles: SMILES after relaxation; None for crystals, and without a graph.
            reserves: Duplicates of each candidate, in the order in which to try them.
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
    """Return the job that adds substitutes where needed, None if there are no duplicates."""
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
    """Return whether a candidate is a molecule without a graph."""
    is_molecule = isinstance(structures[reserves[candidate_id][0]], Molecule)
    return is_molecule and smiles[candidate_id] is None


class LevelOutcome(NamedTuple):
    """All relaxations at one level."""

    candidate_ids: list[str]
    relaxations: list[RelaxationDoc | None]
    """In the same order; None if the job died."""
    copies: dict[str, list[str]]
    """Remaining unrelaxed duplicates of each substitute."""
    left: list[str]
    """Candidates that were not relaxed."""


def all_relaxed(
    candidate_ids: list[str],
    relaxations: list[RelaxationDoc | None] | None,
    more: list[Later | None] | None,
) -> LevelOutcome:
    """Combine the first and the later relaxations of a level."""
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
