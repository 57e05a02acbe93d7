"""Documents of sets of structures, where they came from, and leaks between them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Document, Geometry, Part


class StructureEntry(Part):
    """One validated structure of a training set or a set of known entries."""

    id: str = Field(description="Content hash of species, positions and cell ('struct-...')")
    label: str = Field(description="Where it came from: 'file.extxyz#3', a SMILES, an entry id")
    formula: str = Field(description="Hill formula of the atoms as given, e.g. 'C4H10O', 'O4Si2'")
    structure: Geometry = Field(description="Positions (Å) and, for crystals, the cell (Å)")
    smiles: str | None = Field(None, description="Canonical SMILES without stereo; molecules only")
    spacegroup: str | None = Field(None, description="Space-group symbol; crystals only")
    energy_ev: float | None = Field(None, description="Total energy given by the source (eV)")
    properties: dict[str, Any] = Field(
        default_factory=dict, description="What else the source says of it; names carry the units"
    )


class Origin(Part):
    """Where a set came from, as the source itself puts it."""

    name: str = Field(description="Name of the source")
    version: str = Field("", description="Its version: a release, or a checksum; empty if none")
    licence: str = Field("", description="Licence of the data; empty if the source names none")
    citation: str = Field("", description="What to cite: a DOI or URL")
    address: str = Field("", description="Where it was read, without credentials")
    checksum: str = Field("", description="SHA-256 of the archive or files read, where there are")


class PulledRecord(Part):
    """One structure that a source offered, whatever became of it."""

    label: str = Field(description="Where it came from, as in StructureEntry")
    state: Literal["kept", "duplicate", "rejected"] = Field(description="What became of it")
    structure_id: str | None = Field(description="Content hash; None where it was unreadable")
    hash: str = Field(description="Hash of the structure and all that the source says of it")


class Manifest(Part):
    """What one pull of a source gave: input of the next pull of the same source."""

    query_id: str = Field(description="Content id of the source section: the query ('query-…')")
    set_id: str = Field(description="Content id of the structures ('set-…')")
    pulled_at: str = Field(description="When (ISO 8601, UTC)")
    origin: Origin = Field(description="The source's version and licence")
    records: list[PulledRecord] = Field(description="Every structure that was offered")


class Change(Part):
    """A record that both pulls have, but not with the same content."""

    label: str = Field(description="Label of the record")
    what: Literal["structure", "properties", "usable", "unusable"] = Field(
        description="What changed: the atoms or cell, only what the source says of them, or "
        "whether the record can be used"
    )


class Changes(Part):
    """What a pull found at the source that the pull before it had not."""

    added: list[str] = Field(default_factory=list, description="Labels of new records")
    changed: list[Change] = Field(default_factory=list, description="Records that differ")
    removed: list[str] = Field(default_factory=list, description="Labels of records gone")

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Rejection(Part):
    """A structure that a source offered and validation refused."""

    label: str = Field(description="Where it came from, as in StructureEntry")
    reason: str = Field(description="Why it cannot be used")


class SetFields(Part):
    """What documents and records say of a set of structures."""

    id: str = Field(description="Content id: the source-independent set of structure ids ('set-…')")
    name: str = Field(description="Short name for people")
    n_structures: int = Field(description="How many distinct structures it holds")
    formulas: dict[str, int] = Field(description="Structures per Hill formula")
    species: list[str] = Field(description="Element symbols in order of atomic number")
    structure_ids: list[str] = Field(description="Content hash of every structure, in order")
    labels: list[str] = Field(description="Label of every structure, in the same order")
    n_duplicates: int = Field(description="Structures left out as copies of one in the set")
    rejected: list[Rejection] = Field(description="Structures refused, with reasons")
    query: dict[str, Any] = Field(description="The source section of the spec, whole")
    query_id: str = Field("", description="Content id of the source section ('query-…')")
    pulled_at: str = Field("", description="When the source was read (ISO 8601, UTC)")
    origin: Origin | None = Field(None, description="The source's version and licence")


class TrainingSetDoc(SetFields, Document):
    """A set of structures: to train on, or known and only compared against."""

    doc_type: Literal["training_set"] = "training_set"
    role: Literal["training", "known", "found"] = Field(
        description="Whether models train on it, or it is compared against: known before, or "
        "found by earlier rounds (labels are then those of the candidates)"
    )
    previous_at: str = Field("", description="Time of the pull that this one was told of, if any")
    unchanged: bool = Field(
        False,
        description="All records equal those of that pull, and the structures stand with it: "
        "only where the job was told to leave them out",
    )
    records: Blob[list[PulledRecord]] = Field(
        default_factory=list, description="Every structure that was offered (blob)"
    )
    structures: Blob[list[StructureEntry]] = Field(description="The structures (blob)")

    def manifest(self) -> Manifest:
        """Return what the next pull of the same source needs to know."""
        return Manifest(
            query_id=self.query_id,
            set_id=self.id,
            pulled_at=self.pulled_at,
            origin=self.origin or Origin(name=self.name),
            records=self.records,
        )


class KnownLeak(Part):
    """A target that equals a structure which models train on."""

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
    """Whether the structures that a campaign is to find again stand in its training set."""

    doc_type: Literal["leakage"] = "leakage"
    campaign_id: str = Field(description="Campaign")
    training_set_ids: list[str] = Field(description="Sets that are trained on")
    known_set_ids: list[str] = Field(description="Sets that are compared against")
    targets: list[TargetLeaks] = Field(description="One per known entry")
