"""Documents of a campaign and of its rounds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Document, Part, TargetKind
from logan_campaign.core.documents.sets import StructureEntry


class CampaignFields(Part):
    """Shared fields of documents and records of a campaign."""

    id: str = Field(description="Content id of the spec ('camp-…')")
    name: str = Field(description="Name in the spec")
    formula: str = Field(description="Hill formula of the target, or a system such as Au-Cu")
    kind: TargetKind = Field(description="Molecules or crystals")
    spec: dict[str, Any] = Field(description="The whole spec, resolved")
    spec_id: str = Field(description="Content id of the resolved spec")
    seed: int = Field(description="Seed of all other seeds")
    levels: list[str] = Field(description="Names of the relaxation levels, in order")


class CampaignDoc(CampaignFields, Document):
    """The campaign itself; the first job of the flow returns it."""

    doc_type: Literal["campaign"] = "campaign"


class FoundStructure(Part):
    """A distinct relaxed structure first found by this round."""

    candidate_id: str = Field(description="Candidate that found it")
    state: Literal["new", "rediscovered"] = Field(description="Whether it was known before")
    known_id: str | None = Field(description="Known entry that it equals, never trained on")
    formula: str = Field(description="Hill formula")
    label: str = Field(description="SMILES, or space group and formula")
    energy_per_atom_ev: float | None = Field(description="Energy at the last level (eV/atom)")


class RoundShare(Part):
    """What one target got in a round."""

    target: int = Field(
        description="Index: 0 is 'target', then 'rounds.targets'; of a system, its compositions"
    )
    formula: str = Field(description="Hill formula")
    n_generated: int = Field(description="Structures generated")
    n_last_level: int = Field(description="Relaxations at the last level")
    n_found: int = Field(description="Structures found")
    sightings: dict[str, int] = Field(description="As of the round, of this target alone")


class RoundSummary(Part):
    """Result of one round, and whether another one follows."""

    index: int = Field(description="Index of the round, from 0")
    formula: str = Field(description="Hill formulas of its targets")
    shares: list[RoundShare] = Field(description="What each of its targets got")
    training_set_id: str | None = Field(description="Training set of its models")
    model_ids: list[str] = Field(description="Its models")
    n_generated: int = Field(description="Structures generated")
    n_picked: int = Field(description="Candidates picked")
    states: dict[str, int] = Field(description="Candidates per state")
    relaxations: dict[str, int] = Field(description="Relaxations per level")
    n_last_level: int = Field(description="Relaxations at the last level")
    cpu_s: float = Field(description="Processor time of trainings, generations and relaxations (s)")
    started_at: str = Field(description="Start time (ISO 8601, UTC)")
    finished_at: str = Field(description="End time (ISO 8601, UTC)")
    found: list[FoundStructure] = Field(description="Structures found, in the order of the picks")
    sightings: dict[str, int] = Field(
        description="Sightings of each structure found so far, by the candidate that found it: "
        "generated structures if picks represent a molecular graph, else candidates"
    )
    brought: list[str] = Field(
        default_factory=list, description="Picks that were brought, by their ids in their sets"
    )
    refreshed_at: str = Field(
        "", description="When its training and known sets were pulled anew, if they were"
    )
    n_unseen: float | None = Field(
        description="Estimated number of unseen structures (Chao1); None before any"
    )
    coverage: float | None = Field(
        description="Estimated share of sightings of structures seen before (Good-Turing)"
    )
    problem: str = Field("", description="Problem that ended the round early, if any")
    stop: dict[str, Any] = Field(description="Stop rules applied")
    decision: Literal["continue", "stop"] = Field(description="Whether another round follows")
    reason: str = Field(description="Why it stops; empty if it continues")


class RoundDoc(RoundSummary, Document):
    """One round of a campaign, with the structures that it found."""

    doc_type: Literal["round"] = "round"
    campaign_id: str = Field(description="Campaign")
    structures: Blob[list[StructureEntry]] = Field(
        description="The structures found, relaxed at the last level (blob)"
    )


class Notice(Part):
    """Something that a person wants to hear of."""

    event: Literal["new", "known", "stopped", "attention"] = Field(
        description="A new structure; one that was called new is known; the campaign stopped; "
        "something needs a person"
    )
    text: str = Field(description="One line")


class NotificationFields(Part):
    """Shared fields of documents and records of a notification."""

    round: int = Field(description="Round that it is about")
    notices: list[Notice] = Field(description="What was told")
    sent: dict[str, str] = Field(
        description="By 'command' and 'webhook': '' if delivered, else why not"
    )


class NotificationDoc(NotificationFields, Document):
    """What was told after a round, and whether it arrived."""

    doc_type: Literal["notification"] = "notification"
    campaign_id: str = Field(description="Campaign")


class ControlDoc(Document):
    """Settings that can be changed during a campaign.

    A job of the flow writes the first version; later ones have higher indices of that job. The
    last version is used to judge a round.
    """

    doc_type: Literal["control"] = "control"
    campaign_id: str = Field(description="Campaign")
    spec_stop: dict[str, Any] = Field(description="Stop rules of the spec")
    stop: dict[str, Any] = Field(description="Stop rules that apply")
    started_at: str = Field("", description="When the campaign began (ISO 8601, UTC)")
