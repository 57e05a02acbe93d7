"""Derive the records of a campaign from its job documents: pure functions, no stores.

Documents may come in any order and at any time of a running campaign; unknown values are omitted,
and a candidate without a verdict is pending. Documents are validated first. Structures stay in
their stored form, which records share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from logan_campaign.core.documents import (
    AS_STORED,
    SCHEMA_VERSION,
    CampaignDoc,
    CampaignFields,
    ClassificationDoc,
    Document,
    Judgement,
    LeakageDoc,
    ModelDoc,
    ModelFields,
    NotificationDoc,
    NotificationFields,
    PoolDoc,
    PoolFields,
    Record,
    ReferenceDoc,
    RejudgementDoc,
    RelaxationDoc,
    RelaxationFields,
    RelaxationsDoc,
    RoundDoc,
    RoundSummary,
    ScreeningDoc,
    SelectionDoc,
    SelectionFields,
    SetFields,
    Source,
    TrainingSetDoc,
    VerdictFields,
    blob_ref,
    shared,
)
from logan_campaign.core.errors import StoreError, plain
from logan_campaign.core.ids import content_id
from logan_campaign.stores.hulls import add_hull, add_published_hull
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    FinalLosses,
    MaterialRecord,
    ModelRecord,
    PoolRecord,
    RelaxationRecord,
    SelectionRecord,
    SetUse,
    TrainingSetRecord,
)

Doc = dict[str, Any]
D = TypeVar("D", bound=Document)

#: Roles of sets, the one that takes precedence first.
ROLES = ("training", "known", "external")

#: Documents from which records are derived, by ``doc_type``.
DOC_TYPES: dict[str, type[Document]] = {
    kind.model_fields["doc_type"].default: kind
    for kind in (
        CampaignDoc,
        TrainingSetDoc,
        ModelDoc,
        PoolDoc,
        SelectionDoc,
        ScreeningDoc,
        RelaxationDoc,
        RelaxationsDoc,
        ClassificationDoc,
        RejudgementDoc,
        NotificationDoc,
        ReferenceDoc,
        LeakageDoc,
        RoundDoc,
    )
}


@dataclass(frozen=True)
class Job(Generic[D]):
    """A validated output and its job."""

    output: D
    source: Source


@dataclass
class CampaignRecords:
    """All records of one campaign; shared records contain this campaign's values."""

    campaign: CampaignRecord
    training_sets: list[TrainingSetRecord] = field(default_factory=list)
    models: list[ModelRecord] = field(default_factory=list)
    candidates: list[CandidateRecord] = field(default_factory=list)


def as_stored(record: Record) -> Doc:
    """Return a record in its stored form."""
    return record.model_dump(mode="json", warnings=False)


def read_job(doc: Mapping[str, Any], kind: type[D]) -> Job[D]:
    """Return the validated output of a job, with structures in their stored form.

    Args:
        doc: jobflow's document: ``uuid``, ``index``, ``completed_at``, ``hosts``, ``output``.
        kind: model of the output.

    Raises:
        StoreError: the document is invalid.
    """
    try:
        output = kind.model_validate(doc["output"], context=AS_STORED)
        source = Source(
            job_uuid=doc["uuid"],
            job_index=doc["index"],
            completed_at=doc.get("completed_at"),
            hosts=list(doc.get("hosts") or []),
            software=output.software,
        )
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"a job document lacks or misplaces {where!r} ({plain(first['msg'])}): the store is "
            "damaged, or of another version"
        ) from err
    return Job(output, source)


class _Found:
    """The documents of one campaign by kind, in the order in which they were written."""

    def __init__(self, job_documents: Iterable[Doc]) -> None:
        docs = sorted(
            latest(job_documents), key=lambda doc: (doc.get("completed_at") or "", doc["uuid"])
        )
        self.keys = [document_key(doc) for doc in docs]
        self.updated_at = max(
            (doc["completed_at"] for doc in docs if doc.get("completed_at")), default=None
        )
        self._jobs: defaultdict[type[Document], list[Job[Any]]] = defaultdict(list)
        for doc in docs:
            kind = DOC_TYPES[doc["output"]["doc_type"]]
            self._jobs[kind].append(read_job(doc, kind))

    def of(self, kind: type[D]) -> list[Job[D]]:
        return self._jobs[kind]


def derive(job_documents: Iterable[Doc]) -> CampaignRecords | None:
    """Derive the records of a campaign.

    Args:
        job_documents: jobflow's documents of the campaign's jobs: ``uuid``, ``index``,
            ``completed_at``, ``hosts``, ``output``.

    Returns:
        The records, or None if the campaign's own document is missing.

    Raises:
        StoreError: a document is from a newer version or invalid.
    """
    found = _Found(job_documents)
    if not found.of(CampaignDoc):
        return None
    about = found.of(CampaignDoc)[-1]
    campaign = about.output
    sets = _training_sets(found.of(TrainingSetDoc), campaign.id)
    models = _models(found.of(ModelDoc), found.of(PoolDoc), campaign.id)
    selections = sorted(found.of(SelectionDoc), key=lambda job: job.output.round)
    set_of = {model.id: model.training_set_id for model in models if model.training_set_id}
    candidates = _candidates(found, selections, campaign, set_of)
    references = [
        reference for job in found.of(ReferenceDoc) for reference in job.output.references
    ]
    level = campaign.levels[-1] if campaign.levels else ""
    asked = (campaign.spec.get("relax") or {}).get("hull") or {}
    hull = add_hull(candidates, references, level, _converged_energy, asked)
    published = add_published_hull(
        candidates, references, level, _converged_energy, asked.get("published") or {}
    )
    leakage = found.of(LeakageDoc)
    record = CampaignRecord.model_construct(
        **shared(campaign, CampaignFields),
        training_set_ids=[record.id for record in sets if record.role == "training"],
        known_set_ids=[record.id for record in sets if record.role == "known"],
        external_set_ids=[record.id for record in sets if record.role == "external"],
        model_ids=[model.id for model in models],
        selections=[
            SelectionRecord.model_construct(
                **shared(job.output, SelectionFields),
                n_candidates=len(job.output.candidates),
                map=blob_ref(job.output.map),
                source=job.source,
            )
            for job in selections
        ],
        rounds=_rounds(found.of(RoundDoc)),
        notifications=[
            NotificationFields.model_construct(**shared(job.output, NotificationFields))
            for job in sorted(found.of(NotificationDoc), key=lambda job: job.output.round)
            if job.output.notices
        ],
        references=references,
        hull=hull,
        published_hull=published,
        leakage=leakage[-1].output.targets if leakage else None,
        n_candidates=len(candidates),
        n_materials=len({candidate.material_id for candidate in candidates} - {None}),
        n_job_documents=len(found.keys),
        job_documents_hash=documents_hash(found.keys),
        updated_at=found.updated_at,
        source=about.source,
    )
    return CampaignRecords(record, sets, models, candidates)


def latest(job_documents: Iterable[Doc]) -> list[Doc]:
    """Return the document of highest index for each job and kind of output.

    Raises:
        StoreError: a document is from a newer version of this package.
    """
    best: dict[tuple[str, str], Doc] = {}
    for doc in job_documents:
        output = doc["output"]
        if output.get("schema_version", 0) > SCHEMA_VERSION:
            raise StoreError(
                f"job {doc['uuid']} wrote a {output['doc_type']} of a newer version "
                f"({output['schema_version']}, this one reads up to {SCHEMA_VERSION})"
            )
        key = (doc["uuid"], output["doc_type"])
        if key not in best or doc["index"] > best[key]["index"]:
            best[key] = doc
    return list(best.values())


def document_key(doc: Mapping[str, Any]) -> str:
    """Return the key of one version of a job document."""
    return f"{doc['uuid']}/{doc['index']}/{doc.get('completed_at')}"


def documents_hash(keys: Iterable[str]) -> str:
    """Return a hash of document keys, independent of their order."""
    return content_id("jobs", sorted(keys))


def _rounds(jobs: Sequence[Job[RoundDoc]]) -> list[RoundSummary]:
    # of a round that was judged again, under other rules, the last verdict counts
    latest_of = {job.output.index: job.output for job in jobs}
    return [
        RoundSummary.model_construct(**shared(output, RoundSummary))
        for _, output in sorted(latest_of.items())
    ]


def _training_sets(
    jobs: Sequence[Job[TrainingSetDoc]], campaign_id: str
) -> list[TrainingSetRecord]:
    records: dict[str, TrainingSetRecord] = {}
    for job in jobs:
        role = job.output.role
        if role == "found":
            continue  # contains only the campaign's own candidates
        known = records.get(job.output.id)
        if known is not None and ROLES.index(known.role) <= ROLES.index(role):
            continue  # the same set in several roles: the first of them takes precedence
        record = training_set(job)
        record.uses = [SetUse(campaign_id=campaign_id, role=role)]
        record.campaign_ids = [campaign_id]
        records[record.id] = record
    return list(records.values())


def training_set(job: Job[TrainingSetDoc]) -> TrainingSetRecord:
    """Return the record of a set from one job document, used by no campaign."""
    return TrainingSetRecord.model_construct(
        **shared(job.output, SetFields),
        role="known" if job.output.role == "found" else job.output.role,
        structures=blob_ref(job.output.structures),
        source=job.source,
    )


def _models(
    jobs: Sequence[Job[ModelDoc]], pool_jobs: Sequence[Job[PoolDoc]], campaign_id: str
) -> list[ModelRecord]:
    pools: defaultdict[str, dict[str, PoolRecord]] = defaultdict(dict)
    for pool in pool_jobs:
        pools[pool.output.model_id][pool.output.id] = PoolRecord.model_construct(
            **shared(pool.output, PoolFields),
            pool=blob_ref(pool.output.pool),
            source=pool.source,
        )
    records: dict[str, ModelRecord] = {}
    untrained = [Job(p.output.generator, p.source) for p in pool_jobs if p.output.generator]
    for job in (*jobs, *untrained):
        model, history = job.output, job.output.history
        last = {key: getattr(history, key)[-1:] for key in FinalLosses.model_fields}
        records[model.id] = ModelRecord.model_construct(
            **shared(model, ModelFields),
            campaign_ids=[campaign_id],
            final_losses=FinalLosses(**{key: value for key, [value] in last.items()})
            if history.step
            else None,
            weights=blob_ref(model.weights),
            pools=[pool for _, pool in sorted(pools[model.id].items())],
            source=job.source,
        )
    return sorted(records.values(), key=lambda record: (record.round, record.index, record.id))


def _candidates(
    found: _Found,
    selections: Sequence[Job[SelectionDoc]],
    campaign: CampaignDoc,
    set_of: Mapping[str, str],
) -> list[CandidateRecord]:
    records: dict[str, CandidateRecord] = {}
    for job in selections:
        for pick in job.output.candidates:
            if pick.id not in records:
                records[pick.id] = CandidateRecord.picked(
                    pick,
                    campaign_id=campaign.id,
                    campaign=campaign.name,
                    round=job.output.round,
                    order=len(records),
                    training_set_id=set_of.get(pick.model_id),
                    relaxations=[],
                    source=job.source,
                )
    batches = found.of(RelaxationsDoc)
    several = [Job(one, job.source) for job in batches for one in job.output.relaxations]
    _add_relaxations(records, [*found.of(RelaxationDoc), *several])
    final = found.of(ClassificationDoc)
    _add_verdicts(records, [*found.of(ScreeningDoc), *final], campaign.levels)
    _judge_again(records, final, found.of(RejudgementDoc))
    _add_energies_above_min(records.values())
    for record in records.values():
        record.material_id = _material_id(record, records)
    return list(records.values())


def _add_relaxations(
    records: Mapping[str, CandidateRecord], jobs: Sequence[Job[RelaxationDoc]]
) -> None:
    by_candidate: defaultdict[str, dict[str, Job[RelaxationDoc]]] = defaultdict(dict)
    for job in jobs:
        by_candidate[job.output.candidate_id][job.output.id] = job
    for candidate_id, found in by_candidate.items():
        record = records.get(candidate_id)
        if record is None:
            continue  # the selection does not exist yet
        ordered = sorted(found.values(), key=lambda job: (job.output.level_index, job.output.id))
        record.relaxations = [
            RelaxationRecord.model_construct(
                **shared(job.output, RelaxationFields),
                trajectory=blob_ref(job.output.trajectory),
                source=job.source,
            )
            for job in ordered
        ]
        last = ordered[-1].output
        record.level, record.structure = last.level, last.structure
        record.pressure_gpa = last.settings.get("pressure_gpa")
        record.energy_ev, record.energy_per_atom_ev = last.energy_ev, last.energy_per_atom_ev


def _add_verdicts(
    records: Mapping[str, CandidateRecord],
    jobs: Sequence[Job[ScreeningDoc] | Job[ClassificationDoc]],
    levels: Sequence[str],
) -> None:
    """Apply verdicts in the order of the stages: the last one on a candidate counts."""

    def stage(job: Job[Any]) -> int:
        level = getattr(job.output, "before_level", None)
        return levels.index(level) if level in levels else len(levels)

    for job in sorted(jobs, key=stage):
        for verdict in job.output.verdicts:
            record = records.get(verdict.candidate_id)
            if record is None:
                continue
            # Values of an earlier stage stay if a later stage has none.
            identity = {key: getattr(verdict, key) or getattr(record, key) for key in _IDENTITY}
            for key, value in {**shared(verdict, VerdictFields), **identity}.items():
                setattr(record, key, value)


def _judge_again(
    records: Mapping[str, CandidateRecord],
    final: Sequence[Job[ClassificationDoc]],
    again: Sequence[Job[RejudgementDoc]],
) -> None:
    """Apply later verdicts on what was called new, and keep all of them."""
    first = {
        verdict.candidate_id: Judgement(
            state=verdict.state,
            at=job.source.completed_at or "",
            known_set_ids=job.output.known_set_ids,
            match_label=verdict.match_label,
        )
        for job in final
        for verdict in job.output.verdicts
    }
    for job in sorted(again, key=lambda job: job.output.judged_at):
        for verdict in job.output.verdicts:
            record, said = records.get(verdict.candidate_id), first.get(verdict.candidate_id)
            if record is None or said is None:
                continue
            identity = {key: getattr(verdict, key) or getattr(record, key) for key in _IDENTITY}
            for key, value in {**shared(verdict, VerdictFields), **identity}.items():
                setattr(record, key, value)
            record.history = [
                *(record.history or [said]),
                Judgement(
                    state=verdict.state,
                    at=job.output.judged_at,
                    known_set_ids=job.output.known_set_ids,
                    match_label=verdict.match_label,
                ),
            ]


#: Final states of a candidate, independent of the last stage's other values.
_IDENTITY = ("smiles", "spacegroup")


def _converged_energy(record: CandidateRecord) -> float | None:
    """Return the energy of the last relaxation, if it converged and is comparable."""
    last = record.relaxations[-1] if record.relaxations else None
    if record.state == "failed":
        return None  # dissociated, or an artefact of the potential
    if last is None or last.state != "converged" or not last.comparable:
        return None
    return record.energy_ev


def _add_energies_above_min(records: Iterable[CandidateRecord]) -> None:
    lowest: dict[tuple[str | None, str], float] = {}
    energies = []
    for record in records:
        energy = _converged_energy(record)
        if energy is not None:
            key = (record.level, record.formula)
            lowest[key] = min(energy, lowest.get(key, energy))
            energies.append((record, key, energy))
    for record, key, energy in energies:
        record.energy_above_min_ev = energy - lowest[key]


def _material_id(record: CandidateRecord, records: Mapping[str, CandidateRecord]) -> str | None:
    """Return the id of the material of a candidate or of the candidate that it duplicates.

    A molecule is identified by formula and SMILES, a known crystal by the known entry, a new
    crystal by its first candidate.
    """
    seen = set()
    while record.state == "duplicate" and record.match is not None and record.match in records:
        if record.id in seen:
            return None  # verdicts of different stages can refer to each other
        seen.add(record.id)
        record = records[record.match]
    if record.state not in ("new", "rediscovered"):
        return None
    if record.smiles is not None:
        return content_id("mat", ["molecule", record.formula, record.smiles])
    if record.state == "rediscovered" and record.match is not None:
        return content_id("mat", ["known", record.match])
    return content_id("mat", ["candidate", record.id])


def material(material_id: str, members: Sequence[CandidateRecord]) -> MaterialRecord | None:
    """Return the record of a material from its candidates of all campaigns.

    Returns:
        The record, or None if no candidate is new or rediscovered.
    """
    members = sorted(members, key=lambda member: (member.campaign_id, member.order))
    heads = [member for member in members if member.state in ("new", "rediscovered")]
    if not heads:
        return None
    known = next((member for member in heads if member.state == "rediscovered"), None)
    energies = {
        member.id: energy for member in members if (energy := _converged_energy(member)) is not None
    }
    levels = {
        (member.relaxations[-1].level_index, member.level)
        for member in members
        if member.id in energies
    }
    level = max(levels)[1] if levels else None
    comparable = [m for m in members if m.level == level and m.id in energies]
    best = min(comparable, key=lambda member: energies[member.id], default=heads[0])
    return MaterialRecord(
        id=material_id,
        state="rediscovered" if known is not None else "new",
        formula=best.formula,
        kind=best.kind,
        smiles=heads[0].smiles,
        spacegroup=best.spacegroup or heads[0].spacegroup,
        best_candidate_id=best.id,
        level=level,
        energy_ev=best.energy_ev,
        energy_per_atom_ev=best.energy_per_atom_ev,
        candidate_ids=[member.id for member in members],
        campaign_ids=sorted({member.campaign_id for member in members}),
        known_id=known.match if known is not None else None,
        known_label=known.match_label if known is not None else None,
        known_set_id=known.match_set if known is not None else None,
    )
