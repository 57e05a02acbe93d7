"""Relaxation in levels: a chain of jobs that grows as results come in.

How many candidates reach a level is only known once the level before it is done. The
relaxations of each level are therefore added to the running flow by a job of its own::

    screen ─> start level ─> compare ─> start level ─> … ─> classify
               └─ relax × K              └─ relax × K
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jobflow import Flow, Job, Maker, Response, job
from jobflow.core.reference import OnMissing

from logan_campaign.classification import (
    KnownSet,
    between_levels,
    classify,
    screen_and_match,
)
from logan_campaign.errors import InputError
from logan_campaign.flows.relax import LevelRelaxMaker, XTBRelaxMaker
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.relaxation.run import relax
from logan_campaign.schemas import (
    DATA_KEYS,
    ClassificationDoc,
    Geometry,
    ReferenceDoc,
    ReferenceEnergy,
    RelaxationDoc,
    ScreeningDoc,
    SelectionDoc,
    TrainingSetDoc,
    Verdict,
)
from logan_campaign.screening import ScreeningSpec


@dataclass
class ScreenMaker(Maker):
    """Judge the picks before any relaxation: implausible, known already, or copies.

    Attributes:
        name: Name of the job.
        screening: What counts as implausible.
        matching: What counts as the same structure.
    """

    name: str = "screen"
    screening: ScreeningSpec = field(default_factory=ScreeningSpec)
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(data=DATA_KEYS, output_schema=ScreeningDoc)
    def make(
        self, selection: SelectionDoc, known: list[TrainingSetDoc], before_level: str
    ) -> ScreeningDoc:
        """Return one verdict per candidate, and the structures of those that go on."""
        selection = SelectionDoc.model_validate(selection)
        sets = known_sets(known)
        verdicts = screen_and_match(selection.candidates, sets, self.screening, self.matching)
        return ScreeningDoc(
            campaign_id=selection.campaign_id,
            before_level=before_level,
            known_set_ids=[s.id for s in sets],
            verdicts=verdicts,
            structures=_passed(verdicts, {c.id: c.goes_on for c in selection.candidates}),
        )


@dataclass
class CompareMaker(Maker):
    """Judge the results of one level: what failed, what became the same, what goes on.

    Attributes:
        name: Name of the job.
        matching: What counts as the same structure.
    """

    name: str = "compare"
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(data=DATA_KEYS, output_schema=ScreeningDoc)
    def make(
        self,
        campaign_id: str,
        candidate_ids: list[str],
        relaxations: list[RelaxationDoc | None],
        known: list[TrainingSetDoc],
        before_level: str,
    ) -> ScreeningDoc:
        """Return one verdict per candidate of the level, and the structures that go on."""
        sets = known_sets(known)
        relaxed = _documents(relaxations)
        verdicts = between_levels(candidate_ids, relaxed, sets, self.matching)
        return ScreeningDoc(
            campaign_id=campaign_id,
            before_level=before_level,
            known_set_ids=[s.id for s in sets],
            verdicts=verdicts,
            structures=_passed(
                verdicts, {doc.candidate_id: doc.structure for doc in relaxed if doc is not None}
            ),
        )


@dataclass
class ClassifyMaker(Maker):
    """Say of every relaxed candidate what it is: rediscovered, new, duplicate or failed.

    Attributes:
        name: Name of the job.
        matching: What counts as the same structure.
    """

    name: str = "classify"
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(data=DATA_KEYS, output_schema=ClassificationDoc)
    def make(
        self,
        campaign_id: str,
        candidate_ids: list[str],
        relaxations: list[RelaxationDoc | None],
        known: list[TrainingSetDoc],
    ) -> ClassificationDoc:
        """Return one verdict per candidate that entered the last level.

        Args:
            campaign_id: Campaign.
            candidate_ids: Candidates that entered the last level.
            relaxations: Their relaxations, in the same order; None where the job died.
            known: The training set and the known sets.
        """
        sets = known_sets(known)
        return ClassificationDoc(
            campaign_id=campaign_id,
            known_set_ids=[s.id for s in sets],
            verdicts=classify(candidate_ids, _documents(relaxations), sets, self.matching),
        )


@dataclass
class RelaxLevelMaker(Maker):
    """Relax the candidates that passed at one level: a job of its own for each.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
    """

    name: str = "start level"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)

    @job
    def make(self, screening: ScreeningDoc, level_index: int = 0) -> Response:
        """Add a job per candidate to the flow, and put their outputs together.

        What is added refers to nothing outside itself: jobflow-remote refuses such flows.

        Args:
            screening: Verdicts and structures of the stage before.
            level_index: Place of this level among the campaign's, from 0.

        Returns:
            ``campaign_id``, ``candidate_ids``, and the ``relaxations`` in the same order.
        """
        screening = ScreeningDoc.model_validate(screening)
        maker, campaign_id = self.maker, screening.campaign_id
        # in the order of the verdicts, which is the order that selection fixed
        entrants = [v.candidate_id for v in screening.verdicts if v.state == "pending"]
        relaxations = [
            maker.make(candidate_id, screening.structures[candidate_id], campaign_id, level_index)
            for candidate_id in entrants
        ]
        for candidate_id, relaxation in zip(entrants, relaxations, strict=True):
            relaxation.name = f"{maker.name} {candidate_id}"
        output = {
            "campaign_id": campaign_id,
            "candidate_ids": entrants,
            "relaxations": [relaxation.output for relaxation in relaxations],
        }
        return Response(replace=Flow(relaxations, output=output, name=f"level {maker.name}"))


@dataclass
class RelaxLevelsMaker(Maker):
    """Relax the candidates that passed, level by level, and classify what comes out.

    Attributes:
        name: Name of the flow.
        makers: One relaxation Maker per level, cheap ones first.
        compare: Judges the results between two levels.
        classify: Judges the results of the last level.
    """

    name: str = "relax"
    makers: list[LevelRelaxMaker] = field(default_factory=lambda: [XTBRelaxMaker()])
    compare: CompareMaker = field(default_factory=CompareMaker)
    classify: ClassifyMaker = field(default_factory=ClassifyMaker)

    def make(self, screening: ScreeningDoc, known: list[TrainingSetDoc]) -> Flow:
        """Return the flow: for each level a job that starts it and one that judges it.

        Args:
            screening: Verdicts and structures of the stage before.
            known: The training set and the known sets.
        """
        jobs: list[Job] = []
        for index, maker in enumerate(self.makers):
            level = RelaxLevelMaker(maker=maker).make(screening, index)
            found = [level.output[k] for k in ("campaign_id", "candidate_ids", "relaxations")]
            if index + 1 == len(self.makers):
                judge = tolerant(self.classify.make(*found, known))
            else:
                following = self.makers[index + 1].level.name
                judge = tolerant(self.compare.make(*found, known, before_level=following))
            jobs += [level, judge]
            screening = judge.output
        return Flow(jobs, output=jobs[-1].output, name=self.name)


@dataclass
class ReferenceMaker(Maker):
    """Relax the known entries of the target composition with the last level's settings.

    Energies of candidates and of known entries can then be compared at equal settings.

    Attributes:
        name: Name of the job.
        maker: The last level's Maker.
        formula: Hill formula of the entries to relax.
    """

    name: str = "reference energies"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    formula: str = ""

    @job(data=DATA_KEYS, output_schema=ReferenceDoc)
    def make(self, known: list[TrainingSetDoc], campaign_id: str) -> ReferenceDoc:
        """Return the energies, one per known entry."""
        entries = [
            (s.id, entry)
            for s in known_sets(known)
            for entry in s.entries
            if entry.formula == self.formula
        ]
        references = []
        for set_id, entry in entries:
            folder = Path(entry.id)  # of its own, so that a restart finds what belongs to it
            folder.mkdir(exist_ok=True)
            outcome = relax(entry.structure, self.maker.level, workdir=folder)
            energy = outcome.energy_ev
            references.append(
                ReferenceEnergy(
                    structure_id=entry.id,
                    label=entry.label,
                    set_id=set_id,
                    level=self.maker.level.name,
                    state=outcome.state,
                    reason=outcome.reason,
                    energy_ev=energy,
                    energy_per_atom_ev=None if energy is None else energy / len(entry.structure),
                )
            )
        return ReferenceDoc(campaign_id=campaign_id, references=references)


def known_sets(documents: list[TrainingSetDoc]) -> list[KnownSet]:
    """Return the sets in the form that matching takes."""
    sets = [TrainingSetDoc.model_validate(doc) for doc in documents]
    return [KnownSet(doc.id, doc.role, doc.structures) for doc in sets]


def tolerant(job: Job) -> Job:
    """Let a job run although some of the jobs it refers to failed: it gets None for them."""
    job.config.on_missing_references = OnMissing.NONE
    return job


def _documents(found: list[RelaxationDoc | None] | None) -> list[RelaxationDoc | None]:
    if found is None:
        raise InputError("the relaxations have not been started")
    return [None if doc is None else RelaxationDoc.model_validate(doc) for doc in found]


def _passed(verdicts: list[Verdict], structures: dict[str, Geometry]) -> dict[str, Geometry]:
    return {v.candidate_id: structures[v.candidate_id] for v in verdicts if v.state == "pending"}
