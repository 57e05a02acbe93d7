"""Documents of sets of structures, their origin, and leakage between them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Document, Geometry, Part


class StructureEntry(Part):
    """One validated structure of a training set or a set of known entries."""

    id: str = Field(description="Content hash of species, positions and cell ('struct-...')")
    label: str = Field(description="Origin: 'file.extxyz#3', a SMILES, an entry id")
    formula: str = Field(description="Hill formula of the atoms as given, e.g. 'C4H10O', 'O4Si2'")
    structure: Geometry = Field(description="Positions (Å) and, for crystals, the cell (Å)")
    smiles: str | None = Field(
        None, description="Canonical SMILES without stereochemistry; molecules only"
    )
    spacegroup: str | None = Field(None, description="Space-group symbol; crystals only")
    energy_ev: float | None = Field(None, description="Total energy given by the source (eV)")
    properties: dict[str, Any] = Field(
        default_factory=dict, description="Further properties from the source; names include units"
    )


class Origin(Part):
    """Origin of a set, as stated by the source."""

    name: str = Field(description="Name of the source")
    version: str = Field("", description="Its version: a release, or a checksum; empty if none")
    licence: str = Field("", description="Licence of the data; empty if the source names none")
    citation: str = Field("", description="What to cite: a DOI or URL")
    address: str = Field("", description="Address, without credentials")
    checksum: str = Field("", description="SHA-256 of the archive or files read, if any")


class PulledRecord(Part):
    """One structure of a source: kept, duplicate or rejected."""

    label: str = Field(description="Where it came from, as in StructureEntry")
    state: Literal["kept", "duplicate", "rejected"] = Field(description="Result of validation")
    structure_id: str | None = Field(description="Content hash; None if unreadable")
    hash: str = Field(description="Hash of the structure and its properties")


class Manifest(Part):
    """Result of one pull of a source: input of its next pull."""

    query_id: str = Field(description="Content id of the source section: the query ('query-…')")
    set_id: str = Field(description="Content id of the structures ('set-…')")
    pulled_at: str = Field(description="When (ISO 8601, UTC)")
    origin: Origin = Field(description="The source's version and licence")
    records: list[PulledRecord] = Field(description="Every structure that was offered")


class Change(Part):
    """A record that differs between two pulls."""

    label: str = Field(description="Label of the record")
    what: Literal["structure", "properties", "usable", "unusable"] = Field(
        description="Kind of change: atoms or cell, only properties, or whether the record is "
        "usable"
    )


class Changes(Part):
    """Changes of a source since the previous pull."""

    added: list[str] = Field(default_factory=list, description="Labels of new records")
    changed: list[Change] = Field(default_factory=list, description="Records that differ")
    removed: list[str] = Field(default_factory=list, description="Labels of removed records")

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Rejection(Part):
    """A structure rejected by validation."""

    label: str = Field(description="Where it came from, as in StructureEntry")
    reason: str = Field(description="Reason for rejection")


class SetFields(Part):
    """Shared fields of documents and records of a set of structures."""

    id: str = Field(description="Content id: the source-independent set of structure ids ('set-…')")
    name: str = Field(description="Short name for display")
    n_structures: int = Field(description="Number of distinct structures")
    formulas: dict[str, int] = Field(description="Structures per Hill formula")
    species: list[str] = Field(description="Element symbols in order of atomic number")
    pairs: list[str] | None = Field(
        None, description="Pairs of species that are side by side in some structure ('O-Ti')"
    )
    structure_ids: list[str] = Field(description="Content hash of every structure, in order")
    labels: list[str] = Field(description="Label of every structure, in the same order")
    n_duplicates: int = Field(description="Number of removed duplicates")
    rejected: list[Rejection] = Field(description="Rejected structures, with reasons")
    query: dict[str, Any] = Field(description="The source section of the spec")
    query_id: str = Field("", description="Content id of the source section ('query-…')")
    pulled_at: str = Field("", description="Time of the pull (ISO 8601, UTC)")
    origin: Origin | None = Field(None, description="The source's version and licence")


class TrainingSetDoc(SetFields, Document):
    """A set of structures: training set, or known set for comparison."""

    doc_type: Literal["training_set"] = "training_set"
    role: Literal["training", "known", "found", "external"] = Field(
        description="Training set, or for comparison: known before, or found by earlier rounds "
        "(labels are then those of the candidates); 'external': candidates of another generator"
    )
    not_refreshed: str = Field(
        "", description="Why the source could not be pulled anew; the set is then the last one"
    )
    previous_at: str = Field("", description="Time of the previous pull, if any")
    unchanged: bool = Field(
        False,
        description="All records equal those of the previous pull, which has the structures; only "
        "if the job omits unchanged structures",
    )
    records: Blob[list[PulledRecord]] = Field(
        default_factory=list, description="All structures of the source (blob)"
    )
    structures: Blob[list[StructureEntry]] = Field(description="The structures (blob)")

    def manifest(self) -> Manifest:
        """Return the input of the next pull of the same source."""
        return Manifest(
            query_id=self.query_id,
            set_id=self.id,
            pulled_at=self.pulled_at,
            origin=self.origin or Origin(name=self.name),
            records=self.records,
        )


class KnownLeak(Part):
    """A training entry that equals a target."""

    entry: str = Field(description="Label of the training entry")
    entry_id: str = Field(description="Its content hash")
    tolerance: Literal["strict", "default", "loose"] = Field(description="Tolerances of the match")
    rms_normalised: float | None = Field(
        description="Root mean square distance over (volume per atom)^(1/3); crystals only"
    )


class TargetLeaks(Part):
    """The training entries that equal one target."""

    target: str = Field(description="Label of the target")
    target_id: str = Field(description="Its content hash")
    formula: str = Field(description="Its Hill formula")
    matches: list[KnownLeak] = Field(description="One per training entry and tolerance")


class LeakageDoc(Document):
    """Leakage of targets into the training set of a campaign."""

    doc_type: Literal["leakage"] = "leakage"
    campaign_id: str = Field(description="Campaign")
    training_set_ids: list[str] = Field(description="Training sets")
    known_set_ids: list[str] = Field(description="Known sets")
    targets: list[TargetLeaks] = Field(description="One per known entry")
