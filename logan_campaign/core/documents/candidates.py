"""Documents of picks, and of what screening, matching and classification say of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Column, Document, Geometry, Part

#: What a candidate turned out to be. ``rejected``, ``duplicate`` and, for what equals a
#: training entry, ``rediscovered`` may come before any relaxation; ``pending`` is still on
#: its way.
CandidateState = Literal[
    "pending", "selected", "rejected", "duplicate", "rediscovered", "new", "failed"
]


class PickFields(Part):
    """What documents and records say of how a candidate was picked."""

    id: str = Field(description="Content id of campaign and raw structure ('cand-…')")
    model_id: Annotated[
        str,
        Column("model", help="what this model generated", refers="models", about=True),
    ] = Field(description="Model that generated it")
    pool_id: Annotated[str, Column()] = Field(description="Pool it was picked from")
    sample_index: Annotated[int, Column()] = Field(description="Its place in the pool, from 0")
    strategy: Annotated[str, Column("strategy", help="what this selection strategy picked")] = (
        Field(description="Strategy that picked it, or several joined by ' > '")
    )
    cluster: int = Field(description="Cluster it stands for")
    graph: str | None = Field(
        None, description="Molecular graph (SMILES) or net that it stands for, if any"
    )
    represents: Annotated[int, Column()] = Field(
        description="How many generated structures it stands for"
    )


class Candidate(PickFields):
    """A generated structure that selection picked."""

    structure: Geometry = Field(description="The raw generated structure")
    start: Geometry | None = Field(
        None,
        description="What symmetrization or a cheap relaxation made of it, if any: this goes on",
    )

    @property
    def goes_on(self) -> Geometry:
        """The structure that goes on: symmetrized or pre-relaxed, or as generated."""
        return self.structure if self.start is None else self.start


class CheapRelaxationCount(Part):
    """Relaxations that selection did to judge structures."""

    level: str = Field(description="Name of the level")
    n: int = Field(description="How many")
    n_converged: int = Field(description="How many of them converged")
    cpu_s: float = Field(description="Processor time of all of them (s)")


class SelectionFields(Part):
    """What documents and records say of the picks of one round."""

    round: int = Field(0, description="Round of the campaign, from 0")
    strategy: str = Field(description="Selection strategy, or several joined by ' > '")
    settings: dict[str, Any] | list[dict[str, Any]] = Field(
        description="Its settings, resolved; a list if there are several"
    )
    n_generated: int = Field(description="Structures it chose from")
    n_unusable: dict[str, int] = Field(description="Structures passed over, per reason")
    cheap_relaxations: list[CheapRelaxationCount] = Field(
        default_factory=list, description="Relaxations done to judge structures"
    )
    learned: str = Field("", description="Coordination learned from the training set, if any")
    explained_variance: list[float] = Field(description="Share of variance per map component")
    pool_ids: list[str] = Field(description="Pools it chose from, as the map numbers them")


class SelectionDoc(SelectionFields, Document):
    """The picks of one round, in the fixed order in which they go on."""

    doc_type: Literal["selection"] = "selection"
    campaign_id: str = Field(description="Campaign")
    found_again: dict[str, int] = Field(
        default_factory=dict,
        description="Of those 'found before', how many equal what each candidate found",
    )
    candidates: list[Candidate] = Field(description="The picks")
    map: Blob[str] = Field(
        description="Packed arrays (blob): pca (n, n_components), label (n,), pool (n,) into "
        "pool_ids, sample (n,); known_pca (m, n_components) of the known structures of the "
        "target's composition"
    )


class VerdictFields(Part):
    """What documents and records say of what a candidate turned out to be."""

    state: Annotated[
        CandidateState,
        Column("state", help="candidates in this state", label="state", about=True),
    ] = Field(description="What it is; 'pending' goes on to the next stage")
    reason: Annotated[str, Column()] = Field(
        "",
        description="Why it was rejected or failed, or that a new one had nothing to be compared "
        "with; empty otherwise",
    )
    compared: dict[str, int] | None = Field(
        None,
        description="How many entries of its composition it was compared with, by role of their "
        "set (training, known, found); None where it was not",
    )
    match: Annotated[str | None, Column("match", help="what equals this", few=True)] = Field(
        None, description="Known structure id or candidate id that it equals, if any"
    )
    match_label: Annotated[str | None, Column(about=True)] = Field(
        None, description="Label of the known entry that it equals"
    )
    match_set: str | None = Field(None, description="Id of the set that holds the known entry")
    rms: float | None = Field(None, description="Normalised rms distance of the match; crystals")
    rms_angstrom: float | None = Field(
        None, description="Rms distance of the match (Å); molecules: where conformers count"
    )
    smiles: Annotated[
        str | None,
        Column("smiles", help="this molecule, as any SMILES", label="SMILES", about=True),
    ] = Field(None, description="Canonical SMILES without stereo; molecules")
    spacegroup: Annotated[
        str | None,
        Column("spacegroup", help="this space-group symbol", label="space group", about=True),
    ] = Field(None, description="Space-group symbol; crystals")


class Verdict(VerdictFields):
    """What screening and matching, or classification, say of one candidate."""

    candidate_id: str = Field(description="Candidate")


class ScreeningDoc(Document):
    """Verdicts before any relaxation, or between two levels."""

    doc_type: Literal["screening"] = "screening"
    campaign_id: str = Field(description="Campaign")
    before_level: str | None = Field(
        description="Name of the level that the passed candidates enter; None if there is none"
    )
    known_set_ids: list[str] = Field(description="Sets compared against")
    verdicts: list[Verdict] = Field(description="One per candidate that came in, in order")
    reserves: dict[str, list[str]] = Field(
        default_factory=dict,
        description="For candidates that go on: their duplicates, which take their place in this "
        "order if they fail at the next level",
    )
    structures: Blob[dict[str, Geometry]] = Field(
        default_factory=dict,
        description="Structure of each candidate that goes on and of its reserves, by candidate "
        "id (blob)",
    )


class ClassificationDoc(Document):
    """What every candidate of the round turned out to be."""

    doc_type: Literal["classification"] = "classification"
    campaign_id: str = Field(description="Campaign")
    known_set_ids: list[str] = Field(description="Sets that 'new' means new against")
    verdicts: list[Verdict] = Field(description="One per candidate that was relaxed, in order")
