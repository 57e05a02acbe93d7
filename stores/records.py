"""Records of the campaign database, all derived from job documents.

Fields shared with a job document are declared there (``…Fields`` in
:mod:`logan_campaign.core.documents`). Energies are in eV, lengths in Å, times in seconds. The
database can always be rebuilt from the job documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from logan_campaign.core.documents import (
    BlobRef,
    CampaignFields,
    Candidate,
    Changes,
    Column,
    Geometry,
    Judgement,
    ModelFields,
    NotificationFields,
    Origin,
    Part,
    PickFields,
    PoolFields,
    Record,
    ReferenceEnergy,
    RelaxationFields,
    RoundSummary,
    SelectionFields,
    SetFields,
    Source,
    TargetKind,
    TargetLeaks,
    VerdictFields,
    shared,
)
from logan_campaign.core.documents.base import symbols_of
from logan_campaign.core.errors import StoreError


class SelectionRecord(SelectionFields):
    """Structures generated, skipped and picked in one round."""

    n_candidates: int = Field(description="Number of picks")
    map: BlobRef | None = Field(description="Map of principal components (blob, see SelectionDoc)")
    source: Source = Field(description="Job that selected")


class HullPhase(Part):
    """A phase that is or was on the convex hull of a campaign."""

    id: str = Field(description="Candidate or known structure")
    role: Literal["candidate", "known", "competing", "element", "published"] = Field(
        description="What it is"
    )
    label: str = Field(description="Space group, or label of the known structure")
    formula: str = Field(description="Hill formula of its cell")
    energy_per_atom_ev: float = Field(description="Energy, under pressure enthalpy (eV/atom)")
    formation_ev_per_atom: float = Field(description="The same, relative to elements (eV/atom)")
    since: int = Field(description="Round from which on it was on the hull")
    until: int | None = Field(description="Round that put a lower hull in its place, if any")


class HullRecord(Part):
    """The convex hull of what a campaign computed at one level, and how it grew."""

    level: str = Field(description="Level of all energies")
    pressure_gpa: float | None = Field(description="Pressure at that level (GPa), if any")
    window_ev_per_atom: float = Field(description="Energy above it that counts as stable")
    phases: list[HullPhase] = Field(description="Phases that are or were on it, by round")
    n_stable: int = Field(description="Distinct structures of candidates within the window")
    n_unique: int = Field(description="Distinct structures of candidates")
    n_new: int = Field(description="Those that equal no known entry")
    n_stable_new: int = Field(description="Those that are within the window, too")

    def at(self, index: int | None = None) -> list[HullPhase]:
        """Return the phases on the hull after a round; after the last one if None."""
        return [
            phase
            for phase in self.phases
            if (index is None or phase.since <= index)
            and (phase.until is None or (index is not None and index < phase.until))
        ]


class CampaignRecord(CampaignFields, Record):
    """A campaign."""

    training_set_ids: list[str] = Field(description="Training sets of its models")
    known_set_ids: list[str] = Field(description="Known sets, used for comparison only")
    external_set_ids: list[str] = Field(
        default_factory=list, description="Sets of candidates of other generators"
    )
    model_ids: list[str] = Field(description="Its models, by index in the ensemble")
    selections: list[SelectionRecord] = Field(description="One per round")
    rounds: list[RoundSummary] = Field(
        default_factory=list, description="Results of its rounds; empty without rounds"
    )
    notifications: list[NotificationFields] = Field(
        default_factory=list, description="What a person was told, and whether it arrived"
    )
    references: list[ReferenceEnergy] = Field(description="Known entries at the last level")
    hull: HullRecord | None = Field(
        None, description="Convex hull at the last level; None unless all elements were computed"
    )
    published_hull: HullRecord | None = Field(
        None, description="Hull of published energies; none of this campaign's is on it"
    )
    leakage: list[TargetLeaks] | None = Field(
        None,
        description="Training entries that equal each known entry; None without known sets",
    )
    n_candidates: int = Field(description="Candidates so far")
    n_materials: int = Field(description="Distinct relaxed structures, new or known, so far")
    n_job_documents: int = Field(description="Number of job documents that it was derived from")
    job_documents_hash: str = Field(description="Hash of their ids and times")
    updated_at: str | None = Field(description="Time at which the last of these jobs finished")
    source: Source = Field(description="Job that described the campaign")


class SetUse(Part):
    """Use of a set by a campaign."""

    campaign_id: str = Field(description="Campaign")
    role: Literal["training", "known", "external"] = Field(
        description="Whether its models train on the set, or its structures are candidates"
    )


class TrainingSetRecord(SetFields, Record):
    """A set of structures: training set, or known set for comparison."""

    role: Literal["training", "known", "external"] = Field(
        description="'training' if any campaign trains on it; 'external' if it only brings "
        "candidates"
    )
    uses: list[SetUse] = Field(
        default_factory=list, description="Campaigns that use it, by id; empty for pulled sets"
    )
    campaign_ids: list[str] = Field(default_factory=list, description="Ids of these campaigns")
    structures: BlobRef | None = Field(description="The structures (blob, see TrainingSetDoc)")
    source: Source = Field(description="Job that loaded it")

    def count_of(self, formulas: Sequence[str], kind: TargetKind) -> int:
        """Return the number of structures of compositions, for crystals in cells of any size."""
        from logan_campaign.geometry.formulas import reduced_formula  # brings ASE

        if kind == "molecule":
            return sum(self.formulas.get(formula, 0) for formula in formulas)
        sought = set(map(reduced_formula, formulas))
        return sum(n for name, n in self.formulas.items() if reduced_formula(name) in sought)


def targets_of(record: CampaignRecord) -> list[str]:
    """Return the Hill formulas of a campaign's targets so far, each once."""
    first = [] if "chemical_system" in record.spec.get("target", {}) else [record.formula]
    searched = [share.formula for past in record.rounds for share in past.shares]
    return list(dict.fromkeys([*first, *searched]))


def without_known(record: CampaignRecord, sets: Sequence[TrainingSetRecord]) -> list[str]:
    """Return the target formulas for which no set has an entry.

    Structures of these formulas cannot be known. Empty before any set is loaded.

    Args:
        record: the campaign.
        sets: its training sets and known sets.
    """
    given = [
        used
        for used in sets
        if used.query.get("type") != "rounds" and used.id not in record.external_set_ids
    ]
    if not given:
        return []
    return [
        formula
        for formula in targets_of(record)
        if not any(used.count_of([formula], record.kind) for used in given)
    ]


def without_pairs(record: CampaignRecord, sets: Sequence[TrainingSetRecord]) -> list[str]:
    """Return the pairs of the targets' species that no training set has side by side, sorted.

    Of an element the pair with itself counts; in a compound, like atoms need not touch.

    Args:
        record: the campaign.
        sets: its training sets and known sets.
    """
    trained = [used.pairs for used in sets if used.id in record.training_set_ids]
    if not trained or None in trained:  # before any set is loaded, or of an earlier version
        return []
    from ase.formula import Formula

    needed: set[str] = set()
    for formula in targets_of(record):
        symbols = sorted(Formula(formula).count())
        needed.update(map("-".join, list(combinations(symbols, 2)) or [(symbols[0], symbols[0])]))
    return sorted(needed.difference(*(pairs or () for pairs in trained)))


def pairs_text(pairs: Sequence[str], kind: TargetKind) -> str:
    """Return a warning of pairs that no training structure has side by side; '' without any."""
    if not pairs:
        return ""
    one = len(pairs) == 1
    return (
        f"no training structure has {'this pair' if one else 'these pairs'} of species side by "
        f"side: {', '.join(pairs)}. {'Its' if one else 'Their'} distances are not learned"
        + ("; consider the source 'substitute'" if kind == "crystal" else "")
    )


class PullRecord(SetFields, Record):
    """One pull of a source: its set, and changes since the previous pull."""

    order: int = Field(description="Index among the pulls of the query, from 0")
    set_id: str = Field(description="The resulting set")
    origin: Origin = Field(description="The source's version and licence")
    campaign_id: str | None = Field(description="Campaign that pulled; None for a command")
    changes: Changes | None = Field(
        None, description="Changes since the previous pull; None for the first"
    )
    records: BlobRef | None = Field(description="All structures of the source (blob)")
    structures: BlobRef | None = Field(description="The structures (blob, see TrainingSetDoc)")
    source: Source = Field(description="Job that pulled")


class FinalLosses(Part):
    """Diagnostics at the end of a training."""

    generator_loss: float = Field(description="E[C(G(z))] (paper eq. 4)")
    critic_loss: float = Field(description="E[C(x) - C(G(z))] (paper eq. 5)")
    penalty: float = Field(description="Gradient penalty (paper eq. 6)")
    wasserstein: float = Field(description="Estimate E[C(G(z))] - E[C(x)]")


class PoolRecord(PoolFields):
    """A pool of structures generated by a model."""

    pool: BlobRef | None = Field(description="The structures (blob, see PoolDoc)")
    source: Source = Field(description="Job that generated")


class ModelRecord(ModelFields, Record):
    """A trained member of an ensemble, with its pools."""

    campaign_ids: list[str] = Field(description="Campaigns that use it")
    final_losses: FinalLosses | None = Field(description="Losses at the end; None before any")
    weights: BlobRef | None = Field(description="Weights (blob, see ModelDoc)")
    pools: list[PoolRecord] = Field(description="Generated pools, by id")
    source: Source = Field(description="Job that trained it")


class RelaxationRecord(RelaxationFields):
    """One relaxation of a candidate."""

    trajectory: BlobRef | None = Field(description="Trajectory (blob, see RelaxationDoc)")
    source: Source = Field(description="Job that relaxed")


class CandidateRecord(PickFields, VerdictFields, Record):
    """A picked structure with its relaxations and verdict."""

    campaign_id: Annotated[str, Column("campaign", refers="campaigns", about=True)] = Field(
        description="Campaign"
    )
    campaign: Annotated[str, Column()] = Field(description="Name of the campaign")
    order: Annotated[int, Column()] = Field(
        description="Index among the picks of the campaign, from 0"
    )
    round: Annotated[int, Column("round", help="this round, from 0", label="round")] = Field(
        0, description="Round that picked it, from 0"
    )
    formula: Annotated[
        str,
        Column(
            "formula", help="this composition of a molecule or cell", label="formula", about=True
        ),
    ] = Field(description="Hill formula")
    n_atoms: Annotated[
        int, Column("n_atoms", help="candidates with this number of atoms", label="atoms")
    ] = Field(0, description="Number of atoms in the molecule or cell")
    kind: TargetKind = Field(description="Molecule or crystal")
    training_set_id: Annotated[
        str | None, Column("training_set", refers="training_sets", few=True)
    ] = Field(None, description="Training set of the model")
    level: Annotated[
        str | None,
        Column("level", help="candidates that reached this level", label="level", about=True),
    ] = Field(None, description="Last level at which it was relaxed")
    pressure_gpa: Annotated[float | None, Column(unit="GPa", about=True)] = Field(
        None, description="Pressure at that level (GPa), under which energies are enthalpies"
    )
    energy_ev: Annotated[float | None, Column(unit="eV", about=True)] = Field(
        None, description="Total energy at that level (eV); under pressure the enthalpy"
    )
    energy_per_atom_ev: Annotated[float | None, Column(unit="eV")] = Field(
        None, description="Energy per atom at that level (eV)"
    )
    energy_above_min_ev: Annotated[
        float | None,
        Column(
            "energy_above_min",
            option="energy",
            help="energy above the campaign's minimum (eV)",
            label="above min (eV)",
            window=True,
            order="energy",
            about=True,
            unit="eV",
        ),
    ] = Field(
        None,
        description="Energy above the lowest converged one of the campaign at the same level "
        "and formula (eV); converged relaxations only",
    )
    energy_above_hull_ev_per_atom: Annotated[
        float | None,
        Column(
            "energy_above_hull",
            option="hull",
            help="energy above the campaign's hull (eV/atom)",
            window=True,
            order="energy_above_hull",
            about=True,
            unit="eV",
        ),
    ] = Field(
        None,
        description="Energy above the convex hull of this campaign's phases at the same level, "
        "with elements and competing phases (eV/atom); not that of the Materials Project",
    )
    energy_above_published_ev_per_atom: Annotated[
        float | None,
        Column(
            "energy_above_published",
            option="published",
            help="energy above the hull of published energies (eV/atom)",
            window=True,
            about=True,
            unit="eV",
        ),
    ] = Field(
        None,
        description="Energy above the hull of published energies (eV/atom), negative below it; "
        "only if the spec declares the last level comparable",
    )
    decomposition: Annotated[str | None, Column(about=True)] = Field(
        None,
        description="Phases on that hull that it falls into, with their shares of the atoms "
        "('0.75 SiO2 + 0.25 Si'); None if it is on the hull",
    )
    material_id: Annotated[
        str | None,
        Column(
            "material", help="candidates of this material", refers="materials", few=True, about=True
        ),
    ] = Field(None, description="Distinct relaxed structure that it belongs to")
    relaxations: list[RelaxationRecord] = Field(
        default_factory=list, description="Its relaxations, by level"
    )
    history: list[Judgement] = Field(
        default_factory=list,
        description="All verdicts after the last level, if it was judged again; the last one is "
        "its state",
    )
    raw_structure: Geometry | None = Field(
        None, description="Generated structure; None only if a query omits it"
    )
    structure: Geometry | None = Field(
        None, description="Structure after the last relaxation, if any"
    )
    source: Source = Field(description="Job that selected it")

    @classmethod
    def picked(cls, pick: Candidate, **known: Any) -> CandidateRecord:
        """Return the initial record of a pick.

        Args:
            pick: validated, with its structure in stored form.
            **known: values from the selection and the campaign.
        """
        from logan_campaign.geometry.formulas import hill_formula  # brings ASE

        raw: Any = pick.structure
        symbols = symbols_of(raw)
        return cls.model_construct(
            **shared(pick, PickFields),
            state="pending",
            formula=hill_formula(symbols),
            n_atoms=len(symbols),
            kind="crystal" if "cell" in raw else "molecule",
            raw_structure=raw,
            **known,
        )


class MaterialRecord(Record):
    """A distinct relaxed structure: new, or a rediscovered known entry."""

    state: Annotated[Literal["new", "rediscovered"], Column("state", label="state")] = Field(
        description="'rediscovered' if any of its candidates equals a known entry"
    )
    formula: Annotated[str, Column("formula", label="formula")] = Field(description="Hill formula")
    kind: TargetKind = Field(description="Molecule or crystal")
    smiles: Annotated[str | None, Column("smiles", label="SMILES")] = Field(
        description="Canonical SMILES without stereochemistry; molecules"
    )
    spacegroup: Annotated[str | None, Column("spacegroup", label="space group")] = Field(
        description="Space-group symbol of the best candidate; crystals"
    )
    best_candidate_id: str = Field(description="Candidate of lowest energy at the level")
    level: str | None = Field(
        description="Level of the energy: the last one at which any of its candidates converged"
    )
    energy_ev: float | None = Field(description="Lowest total energy at that level (eV)")
    energy_per_atom_ev: float | None = Field(description="The same per atom (eV)")
    candidate_ids: Annotated[list[str], Column("candidate")] = Field(
        description="All candidates that relaxed to it, including duplicates"
    )
    campaign_ids: Annotated[list[str], Column("campaign", refers="campaigns")] = Field(
        description="Campaigns that found it"
    )
    known_id: Annotated[str | None, Column("known")] = Field(
        description="Known entry that it equals"
    )
    known_label: str | None = Field(description="Its label")
    known_set_id: str | None = Field(description="Set that contains it")


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], doc: Mapping[str, Any]) -> R:
    """Return a record from its stored form.

    Raises:
        StoreError: the record is invalid.
    """
    try:
        return kind.model_validate({key: value for key, value in doc.items() if key != "_id"})
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"record {doc.get('id')} cannot be read ({where}: {first['msg']}); rebuild it"
        ) from err
