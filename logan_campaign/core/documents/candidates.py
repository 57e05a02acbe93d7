"""Documents of picks and of their verdicts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Column, Document, Geometry, Part

#: State of a candidate. ``rejected``, ``duplicate`` and, for copies of a training entry,
#: ``rediscovered`` are possible before any relaxation; ``pending`` is not final.
CandidateState = Literal[
    "pending", "selected", "rejected", "duplicate", "rediscovered", "new", "failed"
]


class PickFields(Part):
    """Shared fields of documents and records of a pick."""

    id: str = Field(description="Content id of campaign and raw structure ('cand-…')")
    model_id: Annotated[
        str,
        Column("model", help="candidates of this model", refers="models", about=True),
    ] = Field(description="Model that generated it")
    pool_id: Annotated[str, Column()] = Field(description="Pool it was picked from")
    sample_index: Annotated[int, Column()] = Field(description="Index in the pool, from 0")
    origin: Annotated[str | None, Column(about=True)] = Field(
        None, description="Label in its set, such as 'file.extxyz#3', of one that was brought"
    )
    origin_id: str | None = Field(None, description="Its id in that set ('struct-…')")
    strategy: Annotated[str, Column("strategy", help="picks of this strategy")] = Field(
        description="Strategy that picked it, or several joined by ' > '"
    )
    cluster: int = Field(description="Cluster that it represents")
    graph: str | None = Field(
        None, description="Molecular graph (SMILES) or net that it represents, if any"
    )
    represents: Annotated[int, Column()] = Field(
        description="Number of generated structures that it represents"
    )


class Candidate(PickFields):
    """A picked structure."""

    structure: Geometry = Field(description="Generated structure")
    start: Geometry | None = Field(
        None,
        description="Symmetrized or cheaply relaxed structure, if any; used for relaxation",
    )

    @property
    def goes_on(self) -> Geometry:
        """Start of the relaxation: symmetrized, cheaply relaxed, or as generated."""
        return self.structure if self.start is None else self.start


class CheapRelaxationCount(Part):
    """Cheap relaxations during selection."""

    level: str = Field(description="Name of the level")
    n: int = Field(description="Number of relaxations")
    n_converged: int = Field(description="Number that converged")
    cpu_s: float = Field(description="Processor time of all of them (s)")


class SelectionFields(Part):
    """Shared fields of documents and records of a selection."""

    round: int = Field(0, description="Round of the campaign, from 0")
    strategy: str = Field(description="Selection strategy, or several joined by ' > '")
    settings: dict[str, Any] | list[dict[str, Any]] = Field(
        description="Its settings, resolved; a list if there are several"
    )
    n_generated: int = Field(description="Number of structures to choose from")
    n_unusable: dict[str, int] = Field(description="Number of skipped structures by reason")
    cheap_relaxations: list[CheapRelaxationCount] = Field(
        default_factory=list, description="Cheap relaxations"
    )
    learned: str = Field("", description="Coordination learned from the training set, if any")
    explained_variance: list[float] = Field(description="Share of variance per map component")
    pool_ids: list[str] = Field(description="Pools, as numbered in the map")


class SelectionDoc(SelectionFields, Document):
    """The picks of one round, in order."""

    doc_type: Literal["selection"] = "selection"
    campaign_id: str = Field(description="Campaign")
    found_again: dict[str, int] = Field(
        default_factory=dict,
        description="Number of structures 'found before', by the candidate that found them",
    )
    candidates: list[Candidate] = Field(description="The picks")
    map: Blob[str] = Field(
        description="Packed arrays (blob): pca (n, n_components), label (n,), pool (n,) into "
        "pool_ids, sample (n,); known_pca (m, n_components) of the known structures of the "
        "target's composition"
    )


class VerdictFields(Part):
    """Shared fields of documents and records of a verdict."""

    state: Annotated[
        CandidateState,
        Column("state", help="candidates in this state", label="state", about=True),
    ] = Field(description="State; 'pending' continues to the next stage")
    reason: Annotated[str, Column()] = Field(
        "",
        description="Reason if rejected or failed, or a note that a new one had nothing to be "
        "compared with; empty otherwise",
    )
    compared: dict[str, int] | None = Field(
        None,
        description="Number of entries of its composition compared with it, by role of their set "
        "(training, known, found); None if not compared",
    )
    match: Annotated[str | None, Column("match", help="candidates that equal this", few=True)] = (
        Field(None, description="Known structure id or candidate id that it equals, if any")
    )
    match_label: Annotated[str | None, Column(about=True)] = Field(
        None, description="Label of the known entry that it equals"
    )
    match_set: str | None = Field(None, description="Id of the set of the known entry")
    rms: float | None = Field(None, description="Normalised rms distance of the match; crystals")
    rms_angstrom: float | None = Field(
        None, description="Rms distance of the match (Å); molecules: where conformers count"
    )
    smiles: Annotated[
        str | None,
        Column("smiles", help="this molecule, as any SMILES", label="SMILES", about=True),
    ] = Field(None, description="Canonical SMILES without stereochemistry; molecules")
    spacegroup: Annotated[
        str | None,
        Column("spacegroup", help="this space-group symbol", label="space group", about=True),
    ] = Field(None, description="Space-group symbol; crystals")
    molecules: str | None = Field(
        None,
        description="Molecules in the cell of a molecular crystal, such as '4 O=C=O': number and "
        "SMILES or formula",
    )


class Verdict(VerdictFields):
    """Verdict on one candidate."""

    candidate_id: str = Field(description="Candidate")


class Judgement(Part):
    """One of several verdicts on a candidate that was judged more than once."""

    state: CandidateState = Field(description="State")
    at: str = Field(description="When (ISO 8601, UTC)")
    known_set_ids: list[str] = Field(description="Sets that it was compared with")
    match_label: str | None = Field(None, description="Label of the known entry that it equals")


class ScreeningDoc(Document):
    """Verdicts before any relaxation, or between two levels."""

    doc_type: Literal["screening"] = "screening"
    campaign_id: str = Field(description="Campaign")
    before_level: str | None = Field(
        description="Name of the level that the passed candidates enter; None if there is none"
    )
    known_set_ids: list[str] = Field(description="Sets compared against")
    verdicts: list[Verdict] = Field(description="One per candidate, in order")
    reserves: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Duplicates of each candidate that continues, which replace it in this order "
        "if it fails at the next level",
    )
    structures: Blob[dict[str, Geometry]] = Field(
        default_factory=dict,
        description="Structure of each candidate that continues and of its duplicates, by "
        "candidate id (blob)",
    )


class ClassificationDoc(Document):
    """Final verdicts of a round."""

    doc_type: Literal["classification"] = "classification"
    campaign_id: str = Field(description="Campaign")
    known_set_ids: list[str] = Field(description="Known sets that define 'new'")
    verdicts: list[Verdict] = Field(description="One per candidate that was relaxed, in order")


class RejudgementDoc(Document):
    """New verdicts on what was called new, after known sets have grown."""

    doc_type: Literal["rejudgement"] = "rejudgement"
    campaign_id: str = Field(description="Campaign")
    judged_at: str = Field(description="When (ISO 8601, UTC)")
    known_set_ids: list[str] = Field(description="Sets compared with")
    verdicts: list[Verdict] = Field(
        description="One per candidate that a round had called new; none if no set has changed"
    )
