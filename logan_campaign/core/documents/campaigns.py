"""Documents of a campaign and of its rounds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Document, Part, TargetKind
from logan_campaign.core.documents.sets import StructureEntry


class CampaignFields(Part):
    """What documents and records say of a campaign."""

    id: str = Field(description="Content id of the spec ('camp-…')")
    name: str = Field(description="Name in the spec")
    formula: str = Field(description="Hill formula of the target")
    kind: TargetKind = Field(description="Molecules or crystals")
    spec: dict[str, Any] = Field(description="The whole spec, resolved")
    spec_id: str = Field(description="Content id of the resolved spec")
    seed: int = Field(description="Seed that all others follow from")
    levels: list[str] = Field(description="Names of the relaxation levels, in order")


class CampaignDoc(CampaignFields, Document):
    """The campaign itself; the first job of the flow returns it."""

    doc_type: Literal["campaign"] = "campaign"


class FoundStructure(Part):
    """A distinct relaxed structure that a round found, and no round before it."""

    candidate_id: str = Field(description="Candidate that found it")
    state: Literal["new", "rediscovered"] = Field(description="Whether it was known before")
    known_id: str | None = Field(description="Known entry that it equals, never trained on")
    formula: str = Field(description="Hill formula")
    label: str = Field(description="SMILES, or space group and formula")
    energy_per_atom_ev: float | None = Field(description="Energy at the last level (eV/atom)")


class RoundSummary(Part):
    """What one round of a campaign came to, and whether another one follows."""

    index: int = Field(description="Which round, from 0")
    target: int = Field(description="What it looked for: 0 is 'target', then 'rounds.targets'")
    formula: str = Field(description="Hill formula of what it looked for")
    training_set_id: str | None = Field(description="Set that its models were trained on")
    model_ids: list[str] = Field(description="Its models")
    n_generated: int = Field(description="Structures generated")
    n_picked: int = Field(description="Candidates picked")
    states: dict[str, int] = Field(description="Candidates per state")
    relaxations: dict[str, int] = Field(description="Relaxations per level")
    n_last_level: int = Field(description="Relaxations at the last level")
    cpu_s: float = Field(
        description="Time of its trainings, generations and relaxations on one core each (s)"
    )
    started_at: str = Field(description="When it began (ISO 8601, UTC)")
    finished_at: str = Field(description="When it was over (ISO 8601, UTC)")
    found: list[FoundStructure] = Field(description="What it found, in the order of the picks")
    sightings: dict[str, int] = Field(
        description="How often it saw each structure found so far, by the candidate that found "
        "it: generated structures where picks stand for a molecular graph, else candidates"
    )
    n_unseen: float | None = Field(
        description="Estimate of how many structures no round has seen (Chao1); None before any"
    )
    coverage: float | None = Field(
        description="Estimated share of sightings that fall on what was seen before (Good-Turing)"
    )
    problem: str = Field("", description="What kept the round from its end, if anything did")
    stop: dict[str, Any] = Field(description="The stop rules that it was judged by")
    decision: Literal["continue", "stop"] = Field(description="Whether another round follows")
    reason: str = Field(description="Why it stops; empty if it goes on")


class RoundDoc(RoundSummary, Document):
    """One round of a campaign, with the structures that it found."""

    doc_type: Literal["round"] = "round"
    campaign_id: str = Field(description="Campaign")
    structures: Blob[list[StructureEntry]] = Field(
        description="The structures found, relaxed at the last level (blob)"
    )


class ControlDoc(Document):
    """What may be changed while a campaign goes on.

    A job of the flow writes the first version; a later one has a higher index of that job.
    Who judges a round is given the last one.
    """

    doc_type: Literal["control"] = "control"
    campaign_id: str = Field(description="Campaign")
    spec_stop: dict[str, Any] = Field(description="The stop rules as the spec has them")
    stop: dict[str, Any] = Field(description="The stop rules in force")
