"""Documents that jobs return: the contract between the science, the jobs and the stores.

Every document carries ``doc_type`` (what it is) and ``schema_version``; builders read
nothing else from the JobStore. Large parts stand under the keys in :data:`DATA_KEYS`,
which jobs send to the additional store ``data``. Lengths are in Å, energies in eV,
times in seconds unless a description says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

from logan_campaign.core.arrays import pack_numbers, unpack_numbers
from logan_campaign.core.software import software_versions

SCHEMA_VERSION = 1

#: Keys whose values go to the additional store ``data`` instead of the document.
DATA_KEYS = ["structures", "records", "weights", "pool", "map", "trajectory"]


def _geometry(value: Any) -> Any:
    """Return pymatgen's structure, given itself or as its dictionary."""
    # imported here: records without structures are read without pymatgen
    from pymatgen.core import Molecule, Structure

    if isinstance(value, Mapping) and value.get("@class") in ("Molecule", "Structure"):
        return (Molecule if value["@class"] == "Molecule" else Structure).from_dict(dict(value))
    if not isinstance(value, Molecule | Structure):
        raise ValueError("needs pymatgen's Molecule or Structure, or its dictionary")
    return value


if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure

    Geometry = Molecule | Structure
else:
    Geometry = Annotated[Any, PlainValidator(_geometry), WithJsonSchema({"type": "object"})]


def compact(structure: Geometry) -> dict[str, str]:
    """Return a structure as a few short texts: a tenth of pymatgen's own form, and exact."""
    from ase.symbols import Symbols
    from pymatgen.core import Structure

    symbols = Symbols.fromsymbols([site.specie.symbol for site in structure])
    packed = {
        "symbols": symbols.get_chemical_formula(mode="reduce"),
        "positions": pack_numbers(structure.cart_coords),
    }
    if isinstance(structure, Structure):
        packed["cell"] = pack_numbers(structure.lattice.matrix)
    return packed


def expand(packed: Any) -> Any:
    """Return the structure that :func:`compact` made short; anything else as it is.

    Raises:
        ValueError: for texts that are none of its.
    """
    if not isinstance(packed, Mapping) or "symbols" not in packed:
        return packed
    from ase.symbols import string2symbols
    from pymatgen.core import Lattice, Molecule, Structure

    symbols = string2symbols(packed["symbols"])
    positions = unpack_numbers(packed["positions"]).reshape(-1, 3)
    if packed.get("cell") is None:
        return Molecule(symbols, positions)
    cell = Lattice(unpack_numbers(packed["cell"]).reshape(3, 3))
    return Structure(cell, symbols, positions, coords_are_cartesian=True)


#: A structure that documents hold in short, for those with very many of them.
CompactGeometry = Annotated[Geometry, BeforeValidator(expand), PlainSerializer(compact)]

TargetKind = Literal["molecule", "crystal"]

#: What makes two molecules the same: canonical SMILES without or with stereo, or InChI.
MoleculeIdentity = Literal["smiles", "smiles-stereo", "inchi"]

#: How a relaxation ended.
RelaxationState = Literal[
    "converged",
    "not_converged",
    "scf_not_converged",
    "dissociated",
    "atoms_collided",
    "cell_collapsed",
    "calculator_crashed",
    "out_of_memory",
    "timed_out",
]

#: What a candidate turned out to be. ``rejected``, ``duplicate`` and, for what equals a
#: training entry, ``rediscovered`` may come before any relaxation; ``pending`` is still on
#: its way.
CandidateState = Literal[
    "pending", "selected", "rejected", "duplicate", "rediscovered", "new", "failed"
]


class Document(BaseModel):
    """Base of all documents: closed, versioned, and with the software that wrote it."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    schema_version: int = Field(SCHEMA_VERSION, description="Version of this document's layout")
    software: dict[str, str] = Field(
        default_factory=software_versions, description="Versions of the software that wrote it"
    )


class CampaignDoc(Document):
    """The campaign itself; the first job of the flow returns it."""

    doc_type: Literal["campaign"] = "campaign"
    id: str = Field(description="Content id of the spec ('camp-…')")
    name: str = Field(description="Name in the spec")
    formula: str = Field(description="Hill formula of the target")
    kind: TargetKind = Field(description="Molecules or crystals")
    spec: dict[str, Any] = Field(description="The whole spec, resolved")
    spec_id: str = Field(description="Content id of the resolved spec")
    seed: int = Field(description="Seed that all others follow from")
    levels: list[str] = Field(description="Names of the relaxation levels, in order")


class StructureEntry(BaseModel):
    """One validated structure of a training set or a set of known entries."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

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


class Origin(BaseModel):
    """Where a set came from, as the source itself puts it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Name of the source")
    version: str = Field("", description="Its version: a release, or a checksum; empty if none")
    licence: str = Field("", description="Licence of the data; empty if the source names none")
    citation: str = Field("", description="What to cite: a DOI or URL")
    address: str = Field("", description="Where it was read, without credentials")
    checksum: str = Field("", description="SHA-256 of the archive or files read, where there are")


class PulledRecord(BaseModel):
    """One structure that a source offered, whatever became of it."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(description="Where it came from, as in StructureEntry")
    state: Literal["kept", "duplicate", "rejected"] = Field(description="What became of it")
    structure_id: str | None = Field(description="Content hash; None where it was unreadable")
    hash: str = Field(description="Hash of the structure and all that the source says of it")


class Manifest(BaseModel):
    """What one pull of a source gave: input of the next pull of the same source."""

    model_config = ConfigDict(extra="forbid")

    query_id: str = Field(description="Content id of the source section: the query ('query-…')")
    set_id: str = Field(description="Content id of the structures ('set-…')")
    pulled_at: str = Field(description="When (ISO 8601, UTC)")
    origin: Origin = Field(description="The source's version and licence")
    records: list[PulledRecord] = Field(description="Every structure that was offered")


class Change(BaseModel):
    """A record that both pulls have, but not with the same content."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(description="Label of the record")
    what: Literal["structure", "properties", "usable", "unusable"] = Field(
        description="What changed: the atoms or cell, only what the source says of them, or "
        "whether the record can be used"
    )


class Changes(BaseModel):
    """What a pull found at the source that the pull before it had not."""

    model_config = ConfigDict(extra="forbid")

    added: list[str] = Field(default_factory=list, description="Labels of new records")
    changed: list[Change] = Field(default_factory=list, description="Records that differ")
    removed: list[str] = Field(default_factory=list, description="Labels of records gone")

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Rejection(BaseModel):
    """A structure that a source offered and validation refused."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(description="Where it came from, as in StructureEntry")
    reason: str = Field(description="Why it cannot be used")


class TrainingSetDoc(Document):
    """A set of structures: to train on, or known and only compared against."""

    doc_type: Literal["training_set"] = "training_set"
    id: str = Field(description="Content id: the source-independent set of structure ids ('set-…')")
    role: Literal["training", "known", "found"] = Field(
        description="Whether models train on it, or it is compared against: known before, or "
        "found by earlier rounds (labels are then those of the candidates)"
    )
    name: str = Field(description="Short name for people")
    source: dict[str, Any] = Field(description="The source section of the spec, whole: the query")
    n_structures: int = Field(description="How many distinct structures it holds")
    formulas: dict[str, int] = Field(description="Structures per Hill formula")
    species: list[str] = Field(description="Element symbols in order of atomic number")
    structure_ids: list[str] = Field(description="Content hash of every structure, in order")
    labels: list[str] = Field(description="Label of every structure, in the same order")
    n_duplicates: int = Field(description="Structures left out as copies of one in the set")
    rejected: list[Rejection] = Field(description="Structures refused, with reasons")
    query_id: str = Field("", description="Content id of the source section ('query-…')")
    pulled_at: str = Field("", description="When the source was read (ISO 8601, UTC)")
    origin: Origin | None = Field(None, description="The source's version and licence")
    previous_at: str = Field("", description="Time of the pull that this one was told of, if any")
    unchanged: bool = Field(
        False,
        description="All records equal those of that pull, and the structures stand with it: "
        "only where the job was told to leave them out",
    )
    records: list[PulledRecord] = Field(
        default_factory=list, description="Every structure that was offered (blob)"
    )
    structures: list[StructureEntry] = Field(description="The structures (blob)")

    def manifest(self) -> Manifest:
        """Return what the next pull of the same source needs to know."""
        return Manifest(
            query_id=self.query_id,
            set_id=self.id,
            pulled_at=self.pulled_at,
            origin=self.origin or Origin(name=self.name),
            records=self.records,
        )


class KnownLeak(BaseModel):
    """A target that equals a structure which models train on."""

    model_config = ConfigDict(extra="forbid")

    entry: str = Field(description="Label of the training entry")
    entry_id: str = Field(description="Its content hash")
    tolerance: Literal["strict", "default", "loose"] = Field(description="Tolerances of the match")
    rms_normalised: float | None = Field(
        description="Root mean square distance over (volume per atom)^(1/3); crystals only"
    )


class TargetLeaks(BaseModel):
    """The training entries that equal one target."""

    model_config = ConfigDict(extra="forbid")

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


class TrainingHistory(BaseModel):
    """Diagnostics of one model over its training; all lists have one length."""

    model_config = ConfigDict(extra="forbid")

    step: list[int] = Field(description="Generator updates done at each record")
    generator_loss: list[float] = Field(description="E[C(G(z))] (paper eq. 4)")
    critic_loss: list[float] = Field(description="E[C(x) - C(G(z))] (paper eq. 5)")
    penalty: list[float] = Field(description="Gradient penalty (paper eq. 6)")
    wasserstein: list[float] = Field(description="Estimate E[C(G(z))] - E[C(x)]")
    critic_gradient_norm: list[float] = Field(description="Mean norm of the critic's gradient")
    distinct_share: list[float] = Field(description="Share of distinct structures among samples")


class ModelDoc(Document):
    """One trained member of the ensemble."""

    doc_type: Literal["model"] = "model"
    id: str = Field(description="Content id of inputs, seed and algorithm version ('model-…')")
    index: int = Field(description="Position in the ensemble, from 0")
    round: int = Field(0, description="Round of the campaign, from 0")
    state: Literal["trained", "failed"] = Field(description="Whether it can generate")
    reason: str = Field(description="Why it failed and what to do; empty if it did not")
    training_set_id: str = Field(description="Set it was trained on")
    start_id: str | None = Field(None, description="Model whose weights it went on from, if any")
    algorithm_version: int = Field(description="Raised by hand when results change")
    seed: int = Field(description="Seed of weights, resampling and latents")
    formula: str = Field(description="Hill formula it generates")
    hyperparameters: dict[str, Any] = Field(description="Everything that can be set, resolved")
    steps: int = Field(description="Generator updates done")
    history: TrainingHistory = Field(description="Diagnostics over the training")
    elapsed_s: float = Field(description="Wall time of the training (s)")
    device: str = Field(description="Device it was trained on, e.g. 'cpu'")
    weights: str = Field(description="safetensors file as base64 text (blob); empty if failed")


class PoolDoc(Document):
    """What one model generated."""

    doc_type: Literal["pool"] = "pool"
    id: str = Field(description="Content id of model, seed and number ('pool-…')")
    model_id: str = Field(description="Model that generated it")
    seed: int = Field(description="Seed of the latent vectors")
    n_structures: int = Field(description="How many structures it holds")
    formula: str = Field(description="Hill formula")
    symbols: list[str] = Field(description="Element of each atom, the same for all")
    kind: TargetKind = Field(description="Molecule in a box or crystal in a cell")
    elapsed_s: float = Field(description="Wall time of the generation (s)")
    pool: str = Field(
        description="Packed arrays (blob): positions (n, n_atoms, 3) float32 Å, cell (n, 3, 3) Å"
    )


class Candidate(BaseModel):
    """A generated structure that selection picked."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    id: str = Field(description="Content id of campaign and raw structure ('cand-…')")
    model_id: str = Field(description="Model that generated it")
    pool_id: str = Field(description="Pool it was picked from")
    sample_index: int = Field(description="Its place in the pool, from 0")
    strategy: str = Field(description="Strategy that picked it, or several joined by ' > '")
    cluster: int = Field(description="Cluster it stands for")
    graph: str | None = Field(
        None, description="Molecular graph (SMILES) or network that it stands for, if any"
    )
    represents: int = Field(description="How many generated structures it stands for")
    structure: CompactGeometry = Field(description="The raw generated structure")
    start: CompactGeometry | None = Field(
        None,
        description="What symmetrization or a cheap relaxation made of it, if any: this goes on",
    )

    @property
    def goes_on(self) -> Geometry:
        """The structure that goes on: symmetrized or pre-relaxed, or as generated."""
        return self.structure if self.start is None else self.start


class CheapRelaxationCount(BaseModel):
    """Relaxations that selection did to judge structures."""

    model_config = ConfigDict(extra="forbid")

    level: str = Field(description="Name of the level")
    n: int = Field(description="How many")
    n_converged: int = Field(description="How many of them converged")
    cpu_s: float = Field(description="Processor time of all of them (s)")


class SelectionDoc(Document):
    """The picks of one round, in the fixed order in which they go on."""

    doc_type: Literal["selection"] = "selection"
    campaign_id: str = Field(description="Campaign")
    round: int = Field(0, description="Round of the campaign, from 0")
    strategy: str = Field(description="Selection strategy, or several joined by ' > '")
    settings: dict[str, Any] | list[dict[str, Any]] = Field(
        description="Its settings, resolved; a list if there are several"
    )
    n_generated: int = Field(description="Structures it chose from")
    n_unusable: dict[str, int] = Field(description="Structures passed over, per reason")
    found_again: dict[str, int] = Field(
        default_factory=dict,
        description="Of those 'found before', how many equal what each candidate found",
    )
    cheap_relaxations: list[CheapRelaxationCount] = Field(
        default_factory=list, description="Relaxations done to judge structures"
    )
    learned: str = Field("", description="Coordination learned from the training set, if any")
    explained_variance: list[float] = Field(description="Share of variance per map component")
    pool_ids: list[str] = Field(description="Pools it chose from, as the map numbers them")
    candidates: list[Candidate] = Field(description="The picks")
    map: str = Field(
        description="Packed arrays (blob): pca (n, n_components), label (n,), pool (n,) into "
        "pool_ids, sample (n,); known_pca (m, n_components) of the known structures of the "
        "target's composition"
    )


class Verdict(BaseModel):
    """What screening and matching, or classification, say of one candidate."""

    model_config = ConfigDict(extra="forbid")

    candidate_id: str = Field(description="Candidate")
    state: CandidateState = Field(description="What it is; 'pending' goes on to the next stage")
    reason: str = Field(
        "",
        description="Why it was rejected or failed, or that a new one had nothing to be compared "
        "with; empty otherwise",
    )
    compared: dict[str, int] | None = Field(
        None,
        description="How many entries of its composition it was compared with, by role of their "
        "set (training, known, found); None where it was not",
    )
    match: str | None = Field(
        None, description="Known structure id or candidate id that it equals, if any"
    )
    match_label: str | None = Field(None, description="Label of the known entry that it equals")
    match_set: str | None = Field(None, description="Id of the set that holds the known entry")
    rms: float | None = Field(None, description="Normalised rms distance of the match; crystals")
    rms_angstrom: float | None = Field(
        None, description="Rms distance of the match (Å); molecules: where conformers count"
    )
    smiles: str | None = Field(None, description="Canonical SMILES without stereo; molecules")
    spacegroup: str | None = Field(None, description="Space-group symbol; crystals")


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
    structures: dict[str, Geometry] = Field(
        default_factory=dict,
        description="Structure of each candidate that goes on and of its reserves, by candidate "
        "id (blob)",
    )


class RelaxationDoc(Document):
    """One relaxation of one candidate at one level."""

    doc_type: Literal["relaxation"] = "relaxation"
    id: str = Field(description="Content id of candidate, level and settings ('relax-…')")
    candidate_id: str = Field(description="Candidate")
    campaign_id: str = Field(description="Campaign")
    level: str = Field(description="Name of the level in the spec")
    level_index: int = Field(description="Its place, from 0")
    state: RelaxationState = Field(description="How it ended")
    reason: str = Field(description="What happened and what to do; empty if it converged")
    calculator: str = Field(description="Calculator's name, e.g. 'gpaw'")
    settings: dict[str, Any] = Field(description="Everything that was set, resolved")
    energy_ev: float | None = Field(description="Final total energy (eV)")
    energy_per_atom_ev: float | None = Field(description="Final energy per atom (eV)")
    comparable: bool = Field(
        True,
        description="Whether the energy is of the level's own settings; false where only a remedy "
        "that changes energies (smearing) gave one, which then counts in no comparison",
    )
    max_force_ev_per_angstrom: float | None = Field(description="Largest final force (eV/Å)")
    n_steps: int = Field(description="Ionic steps done, in all jobs that worked on it")
    energies_ev: list[float] = Field(description="Energy after each step (eV)")
    elapsed_s: float = Field(description="Wall time (s), of all jobs that worked on it")
    cpu_s: float = Field(0.0, description="Processor time of the last of these jobs (s)")
    attempt: int = Field(1, description="Which of the level's jobs on this candidate it is, from 1")
    continues: str | None = Field(
        None, description="Relaxation whose budget ended and that this one went on from"
    )
    structure: Geometry = Field(description="Final structure; the start where nothing was done")
    smiles: str | None = Field(
        None, description="Canonical SMILES of the final molecule without stereo, if it has one"
    )
    spacegroup: str | None = Field(None, description="Space-group symbol of the final crystal")
    stress_ev_per_angstrom3: list[float] | None = Field(
        None, description="Final stress (eV/Å³; xx yy zz yz xz xy); crystals, where computed"
    )
    data_sets: dict[str, str] = Field(
        default_factory=dict, description="PAW data set of each element: name and md5; GPAW only"
    )
    trajectory: str | None = Field(
        description="Packed arrays (blob): positions (n, n_atoms, 3) Å, cell (n, 3, 3) Å, "
        "energy (n,) eV, forces (n, n_atoms, 3) eV/Å; where the cell was relaxed stress (n, 6) "
        "eV/Å³"
    )


class ReferenceEnergy(BaseModel):
    """Energy of something known, computed with the same settings as the candidates'."""

    model_config = ConfigDict(extra="forbid")

    structure_id: str = Field(description="Known entry")
    label: str = Field(description="Its label")
    set_id: str = Field(description="Set that holds it; empty for elements")
    role: Literal["known", "competing", "element"] = Field(
        "known", description="Known entry of the target's composition, or for the hull alone"
    )
    formula: str = Field("", description="Hill formula of the cell")
    level: str = Field(description="Level that computed it")
    state: RelaxationState = Field(description="How its relaxation ended")
    reason: str = Field(description="What happened; empty if it converged")
    energy_ev: float | None = Field(description="Total energy (eV)")
    energy_per_atom_ev: float | None = Field(description="Energy per atom (eV)")


class ReferenceDoc(Document):
    """Known entries, competing phases or elements, relaxed at the last level."""

    doc_type: Literal["reference"] = "reference"
    campaign_id: str = Field(description="Campaign")
    references: list[ReferenceEnergy] = Field(description="One per known entry, in order")


class ClassificationDoc(Document):
    """What every candidate of the round turned out to be."""

    doc_type: Literal["classification"] = "classification"
    campaign_id: str = Field(description="Campaign")
    known_set_ids: list[str] = Field(description="Sets that 'new' means new against")
    verdicts: list[Verdict] = Field(description="One per candidate that was relaxed, in order")


class FoundStructure(BaseModel):
    """A distinct relaxed structure that a round found, and no round before it."""

    model_config = ConfigDict(extra="forbid")

    candidate_id: str = Field(description="Candidate that found it")
    state: Literal["new", "rediscovered"] = Field(description="Whether it was known before")
    known_id: str | None = Field(description="Known entry that it equals, never trained on")
    formula: str = Field(description="Hill formula")
    label: str = Field(description="SMILES, or space group and formula")
    energy_per_atom_ev: float | None = Field(description="Energy at the last level (eV/atom)")


class RoundSummary(BaseModel):
    """What one round of a campaign came to, and whether another one follows."""

    model_config = ConfigDict(extra="forbid")

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


class RoundDoc(Document, RoundSummary):
    """One round of a campaign, with the structures that it found."""

    doc_type: Literal["round"] = "round"
    campaign_id: str = Field(description="Campaign")
    structures: list[StructureEntry] = Field(
        description="The structures found, relaxed at the last level (blob)"
    )
