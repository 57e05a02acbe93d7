"""Documents of the campaign database, all derived from job documents.

Energies are in eV, lengths in Å, times in seconds. ``schema_version`` is raised when a
layout changes; the database can always be built anew from the job documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from logan_campaign.core.documents import (
    CandidateState,
    Changes,
    CheapRelaxationCount,
    Geometry,
    Origin,
    ReferenceEnergy,
    Rejection,
    RelaxationState,
    RoundSummary,
    TargetKind,
    TargetLeaks,
    TrainingHistory,
)
from logan_campaign.geometry.structures import reduced_formula

RECORD_VERSION = 1


class BlobRef(BaseModel):
    """Where a large part of a job document is kept (jobflow's additional store)."""

    model_config = ConfigDict(extra="forbid")

    blob_uuid: str = Field(description="Id of the blob")
    store: str = Field(description="Name of the additional store")


class Source(BaseModel):
    """The job document that a record was derived from, and the software that wrote it."""

    model_config = ConfigDict(extra="forbid")

    job_uuid: str = Field(description="The job")
    job_index: int = Field(description="Its index, raised when a job replaces itself")
    completed_at: str | None = Field(description="When it finished (ISO 8601)")
    hosts: list[str] = Field(description="Flows that the job belongs to")
    software: dict[str, str] = Field(description="Versions of the software that ran")


class Record(BaseModel):
    """Base of the records."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    id: str = Field(description="Identity, unique in the collection")
    schema_version: int = Field(RECORD_VERSION, description="Version of the record's layout")


class SelectionRecord(BaseModel):
    """What was generated, passed over and picked in one round."""

    model_config = ConfigDict(extra="forbid")

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
    n_candidates: int = Field(description="How many it picked")
    explained_variance: list[float] = Field(description="Share of variance per PCA component")
    pool_ids: list[str] = Field(description="Pools it chose from, as the map numbers them")
    map: BlobRef | None = Field(description="PCA map (blob, see SelectionDoc)")
    source: Source = Field(description="Job that selected")


class CampaignRecord(Record):
    """A campaign."""

    name: str = Field(description="Name in the spec")
    formula: str = Field(description="Hill formula of the target")
    kind: TargetKind = Field(description="Molecules or crystals")
    spec: dict[str, Any] = Field(description="The whole spec, resolved")
    spec_id: str = Field(description="Content id of the resolved spec")
    seed: int = Field(description="Seed that all others follow from")
    levels: list[str] = Field(description="Names of the relaxation levels, in order")
    training_set_ids: list[str] = Field(description="Sets that its models were trained on")
    known_set_ids: list[str] = Field(description="Sets that it only compares against")
    model_ids: list[str] = Field(description="Its models, by their place in the ensemble")
    selections: list[SelectionRecord] = Field(description="One per round")
    rounds: list[RoundSummary] = Field(
        default_factory=list, description="What its rounds came to; empty without rounds"
    )
    references: list[ReferenceEnergy] = Field(description="Known entries at the last level")
    leakage: list[TargetLeaks] | None = Field(
        None,
        description="Per known entry, the training entries that equal it; None without known sets",
    )
    n_candidates: int = Field(description="Candidates so far")
    n_materials: int = Field(description="Distinct relaxed structures, new or known, so far")
    n_job_documents: int = Field(description="Job documents that it was derived from")
    job_documents_hash: str = Field(description="Hash of their ids and times")
    updated_at: str | None = Field(description="When the last of these jobs finished")
    source: Source = Field(description="Job that described the campaign")


class SetUse(BaseModel):
    """What a campaign uses a set for."""

    model_config = ConfigDict(extra="forbid")

    campaign_id: str = Field(description="Campaign")
    role: Literal["training", "known"] = Field(description="Whether its models train on the set")


class TrainingSetRecord(Record):
    """A set of structures that models train on, or that is known and compared against."""

    name: str = Field(description="Short name for people")
    role: Literal["training", "known"] = Field(
        description="'training' if any campaign trains on it"
    )
    uses: list[SetUse] = Field(description="Campaigns that use it, by id")
    campaign_ids: list[str] = Field(description="Ids of these campaigns")
    query: dict[str, Any] = Field(description="The source section of the spec, whole")
    n_structures: int = Field(description="How many distinct structures it holds")
    formulas: dict[str, int] = Field(description="Structures per Hill formula")
    species: list[str] = Field(description="Element symbols in order of atomic number")
    structure_ids: list[str] = Field(description="Content hash of every structure, in order")
    labels: list[str] = Field(description="Label of every structure, in the same order")
    n_duplicates: int = Field(description="Structures left out as copies of one in the set")
    rejected: list[Rejection] = Field(description="Structures refused, with reasons")
    query_id: str = Field("", description="Content id of the query")
    pulled_at: str = Field("", description="When the source was read (ISO 8601, UTC)")
    origin: Origin | None = Field(None, description="The source's version and licence")
    structures: BlobRef | None = Field(description="The structures (blob, see TrainingSetDoc)")
    source: Source = Field(description="Job that loaded it")

    def count_of(self, formula: str, kind: TargetKind) -> int:
        """Return how many structures have a composition; crystals count in cells of any size."""
        if kind == "molecule":
            return self.formulas.get(formula, 0)
        sought = reduced_formula(formula)
        return sum(n for name, n in self.formulas.items() if reduced_formula(name) == sought)


def without_known(record: CampaignRecord, sets: Sequence[TrainingSetRecord]) -> list[str]:
    """Return the formulas that a campaign looks for and no set has an entry of.

    Nothing that it finds of them can be known. Empty before any set is loaded.

    Args:
        record: the campaign.
        sets: its training sets and known sets.
    """
    given = [used for used in sets if used.query.get("type") != "rounds"]
    if not given:
        return []
    sought = dict.fromkeys([record.formula, *(past.formula for past in record.rounds)])
    return [
        formula
        for formula in sought
        if not any(used.count_of(formula, record.kind) for used in given)
    ]


class PullRecord(Record):
    """One pull of a source: what it gave, and what had changed since the pull before it."""

    query_id: str = Field(description="Content id of the query; its pulls follow one another")
    order: int = Field(description="Place among the pulls of the query, from 0")
    query: dict[str, Any] = Field(description="The source section of a spec, whole")
    name: str = Field(description="Short name for people")
    set_id: str = Field(description="The set that it gave")
    pulled_at: str = Field(description="When (ISO 8601, UTC)")
    origin: Origin = Field(description="The source's version and licence")
    campaign_id: str | None = Field(description="Campaign that pulled; None for a command")
    n_structures: int = Field(description="Distinct structures")
    formulas: dict[str, int] = Field(description="Structures per Hill formula")
    n_duplicates: int = Field(description="Structures left out as copies of one in the set")
    rejected: list[Rejection] = Field(description="Structures refused, with reasons")
    changes: Changes | None = Field(description="Since the pull before; None for the first")
    records: BlobRef | None = Field(description="Every structure that was offered (blob)")
    structures: BlobRef | None = Field(description="The structures (blob, see TrainingSetDoc)")
    source: Source = Field(description="Job that pulled")


class FinalLosses(BaseModel):
    """Diagnostics at the last record of a training."""

    model_config = ConfigDict(extra="forbid")

    generator_loss: float = Field(description="E[C(G(z))] (paper eq. 4)")
    critic_loss: float = Field(description="E[C(x) - C(G(z))] (paper eq. 5)")
    penalty: float = Field(description="Gradient penalty (paper eq. 6)")
    wasserstein: float = Field(description="Estimate E[C(G(z))] - E[C(x)]")


class PoolRecord(BaseModel):
    """What a model generated."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="Pool")
    seed: int = Field(description="Seed of the latent vectors")
    n_structures: int = Field(description="How many structures it holds")
    elapsed_s: float = Field(description="Wall time of the generation (s)")
    pool: BlobRef | None = Field(description="The structures (blob, see PoolDoc)")
    source: Source = Field(description="Job that generated")


class ModelRecord(Record):
    """A trained member of an ensemble, with what it generated."""

    campaign_ids: list[str] = Field(description="Campaigns that use it")
    index: int = Field(description="Position in the ensemble, from 0")
    round: int = Field(0, description="Round that first trained it, from 0")
    state: Literal["trained", "failed"] = Field(description="Whether it can generate")
    reason: str = Field(description="Why it failed and what to do; empty if it did not")
    training_set_id: str = Field(description="Set it was trained on")
    start_id: str | None = Field(None, description="Model whose weights it went on from, if any")
    algorithm_version: int = Field(description="Raised by hand when results change")
    seed: int = Field(description="Seed of weights, resampling and latents")
    formula: str = Field(description="Hill formula it generates")
    hyperparameters: dict[str, Any] = Field(description="Everything that can be set, resolved")
    steps: int = Field(description="Generator updates done")
    final_losses: FinalLosses | None = Field(description="Losses at the end; None before any")
    history: TrainingHistory = Field(description="Diagnostics over the training")
    elapsed_s: float = Field(description="Wall time of the training (s)")
    device: str = Field(description="Device it was trained on")
    weights: BlobRef | None = Field(description="Weights (blob, see ModelDoc)")
    pools: list[PoolRecord] = Field(description="What it generated, by pool id")
    source: Source = Field(description="Job that trained it")


class RelaxationRecord(BaseModel):
    """One relaxation of a candidate."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="Relaxation")
    level: str = Field(description="Name of the level in the spec")
    level_index: int = Field(description="Its place, from 0")
    state: RelaxationState = Field(description="How it ended")
    reason: str = Field(description="What happened and what to do; empty if it converged")
    calculator: str = Field(description="Calculator's name")
    settings: dict[str, Any] = Field(description="Everything that was set, resolved")
    energy_ev: float | None = Field(description="Final total energy (eV)")
    energy_per_atom_ev: float | None = Field(description="Final energy per atom (eV)")
    comparable: bool = Field(
        True,
        description="Whether the energy is of the level's own settings; false where only a remedy "
        "that changes energies (smearing) gave one, which then counts in no comparison",
    )
    max_force_ev_per_angstrom: float | None = Field(description="Largest final force (eV/Å)")
    n_steps: int = Field(description="Ionic steps done")
    elapsed_s: float = Field(description="Wall time (s)")
    cpu_s: float = Field(0.0, description="Processor time of the last of its jobs (s)")
    attempt: int = Field(1, description="How many jobs worked on it")
    continues: str | None = Field(None, description="Relaxation that the last job went on from")
    stress_ev_per_angstrom3: list[float] | None = Field(
        None, description="Final stress (eV/Å³; xx yy zz yz xz xy); crystals, where computed"
    )
    data_sets: dict[str, str] = Field(
        default_factory=dict, description="PAW data set of each element: name and md5; GPAW only"
    )
    trajectory: BlobRef | None = Field(description="Trajectory (blob, see RelaxationDoc)")
    source: Source = Field(description="Job that relaxed")


class CandidateRecord(Record):
    """A generated structure that was picked, and all that became of it."""

    campaign_id: str = Field(description="Campaign")
    campaign: str = Field(description="Its name")
    order: int = Field(description="Place among the picks of the campaign, from 0")
    round: int = Field(0, description="Round that picked it, from 0")
    state: CandidateState = Field(description="What it is; 'pending' is on its way")
    reason: str = Field(description="Why it was rejected or failed; empty otherwise")
    formula: str = Field(description="Hill formula")
    kind: TargetKind = Field(description="Molecule or crystal")
    model_id: str = Field(description="Model that generated it")
    training_set_id: str | None = Field(description="Set that the model was trained on")
    pool_id: str = Field(description="Pool it was picked from")
    sample_index: int = Field(description="Its place in the pool, from 0")
    strategy: str = Field(description="Selection strategy that picked it")
    cluster: int = Field(description="Cluster it stands for")
    graph: str | None = Field(
        None, description="Molecular graph (SMILES) or network that it stands for, if any"
    )
    represents: int = Field(description="How many generated structures it stands for")
    smiles: str | None = Field(description="Canonical SMILES without stereo; molecules")
    spacegroup: str | None = Field(description="Space-group symbol; crystals")
    level: str | None = Field(description="The last level at which it was relaxed")
    energy_ev: float | None = Field(description="Total energy at that level (eV)")
    energy_per_atom_ev: float | None = Field(description="Energy per atom at that level (eV)")
    energy_above_min_ev: float | None = Field(
        description="Energy above the lowest converged one of the campaign at the same level "
        "and formula (eV); converged relaxations only"
    )
    energy_above_hull_ev_per_atom: float | None = Field(
        None,
        description="Energy above the hull of what this campaign computed at the same level, "
        "elements and competing phases among it (eV/atom); not that of the Materials Project",
    )
    match: str | None = Field(description="Known structure or candidate that it equals")
    match_label: str | None = Field(description="Label of the known entry that it equals")
    match_set: str | None = Field(description="Set that holds the known entry")
    rms: float | None = Field(description="Normalised rms distance of the match; crystals")
    rms_angstrom: float | None = Field(
        None, description="Rms distance of the match (Å); molecules: where conformers count"
    )
    compared: dict[str, int] | None = Field(
        None,
        description="How many entries of its composition it was compared with, by role of their "
        "set; None where it was not",
    )
    material_id: str | None = Field(description="Distinct relaxed structure that it belongs to")
    relaxations: list[RelaxationRecord] = Field(description="Its relaxations, by level")
    raw_structure: Geometry | None = Field(
        None, description="The generated structure; None only where a query leaves it out"
    )
    structure: Geometry | None = Field(
        None, description="Structure after the last relaxation, if there was any"
    )
    source: Source = Field(description="Job that selected it")


class MaterialRecord(Record):
    """A distinct relaxed structure: new, or a known entry found again."""

    state: Literal["new", "rediscovered"] = Field(
        description="'rediscovered' if any of its candidates equals a known entry"
    )
    formula: str = Field(description="Hill formula")
    kind: TargetKind = Field(description="Molecule or crystal")
    smiles: str | None = Field(description="Canonical SMILES without stereo; molecules")
    spacegroup: str | None = Field(description="Space-group symbol of the best; crystals")
    best_candidate_id: str = Field(description="Lowest in energy at the level")
    level: str | None = Field(
        description="Level of the energy: the last one at which any of its candidates converged"
    )
    energy_ev: float | None = Field(description="Lowest total energy at that level (eV)")
    energy_per_atom_ev: float | None = Field(description="The same per atom (eV)")
    candidate_ids: list[str] = Field(description="All candidates that became it, duplicates too")
    campaign_ids: list[str] = Field(description="Campaigns that found it")
    known_id: str | None = Field(description="Known structure that it equals")
    known_label: str | None = Field(description="Its label")
    known_set_id: str | None = Field(description="Set that holds it")
