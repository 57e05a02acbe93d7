"""Relaxation in levels: a chain of jobs that grows as results come in.

How many candidates reach a level is only known once the level before it is done. The
relaxations of each level are therefore added to the running flow by a job of its own::

    screen ─> start level ─> compare ─> start level ─> … ─> classify
               └─ relax × K              └─ relax × K
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jobflow import Flow, Job, Maker, Response, job
from jobflow.core.reference import OnMissing
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Molecule

from logan_campaign.classification import (
    KnownSet,
    between_levels,
    classify,
    reserves,
    screen_and_match,
)
from logan_campaign.errors import InputError
from logan_campaign.flows.relax import (
    ASECalculatorRelaxMaker,
    LevelRelaxMaker,
    XTBRelaxMaker,
)
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.relaxation.levels import LevelSpec
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
    StructureEntry,
    TrainingSetDoc,
    Verdict,
)
from logan_campaign.screening import ScreeningSpec
from logan_campaign.stability import element_level, element_structure
from logan_campaign.structures import formula, structure_id


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
            reserves=(others := reserves(verdicts)),
            structures=_passed(verdicts, others, {c.id: c.goes_on for c in selection.candidates}),
        )


@dataclass
class CompareMaker(Maker):
    """Judge the results of one level: what failed, what became the same, what goes on.

    Attributes:
        name: Name of the job.
        matching: What counts as the same structure.
        window_ev_per_atom: How far above the lowest energy a candidate may be (eV/atom).
    """

    name: str = "compare"
    matching: MatchingSpec = field(default_factory=MatchingSpec)
    window_ev_per_atom: float | None = None

    @job(data=DATA_KEYS, output_schema=ScreeningDoc)
    def make(
        self,
        campaign_id: str,
        candidate_ids: list[str],
        relaxations: list[RelaxationDoc | None],
        substitutes: Substitutes | None,
        known: list[TrainingSetDoc],
        before_level: str,
    ) -> ScreeningDoc:
        """Return one verdict per candidate of the level, and the structures that go on.

        Args:
            campaign_id: Campaign.
            candidate_ids: Candidates that entered the level.
            relaxations: Their relaxations, in the same order; None where the job died.
            substitutes: What was relaxed in place of some that failed.
            known: The training set and the known sets.
            before_level: Name of the next level.
        """
        sets = known_sets(known)
        ids, relaxed, copies = all_relaxed(candidate_ids, relaxations, substitutes)
        verdicts = between_levels(
            ids, relaxed, sets, self.matching, window_ev_per_atom=self.window_ev_per_atom
        )
        others = reserves(verdicts, relaxed)
        return ScreeningDoc(
            campaign_id=campaign_id,
            before_level=before_level,
            known_set_ids=[s.id for s in sets],
            verdicts=[*verdicts, *_of_copies(verdicts, copies)],
            reserves=others,
            structures=_passed(
                verdicts,
                others,
                {doc.candidate_id: doc.structure for doc in relaxed if doc is not None},
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
        substitutes: Substitutes | None,
        known: list[TrainingSetDoc],
    ) -> ClassificationDoc:
        """Return one verdict per candidate that entered the last level.

        Args:
            campaign_id: Campaign.
            candidate_ids: Candidates that entered the last level.
            relaxations: Their relaxations, in the same order; None where the job died.
            substitutes: What was relaxed in place of some that failed.
            known: The training set and the known sets.
        """
        sets = known_sets(known)
        ids, relaxed, copies = all_relaxed(candidate_ids, relaxations, substitutes)
        verdicts = classify(ids, relaxed, sets, self.matching)
        return ClassificationDoc(
            campaign_id=campaign_id,
            known_set_ids=[s.id for s in sets],
            verdicts=[*verdicts, *_of_copies(verdicts, copies)],
        )


@dataclass
class SubstituteMaker(Maker):
    """Where a candidate failed that stands for others of its kind, relax one of these.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
        count: How many of a group to try, one after another.
    """

    name: str = "substitutes"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    count: int = 1

    @job
    def make(
        self,
        campaign_id: str,
        level_index: int,
        states: dict[str, str | None],
        smiles: dict[str, str | None],
        reserves: dict[str, list[str]],
        structures: dict[str, Geometry],
    ) -> Response:
        """Add a job for the first reserve of each candidate that failed.

        Args:
            campaign_id: Campaign.
            level_index: Place of the level among the campaign's, from 0.
            states: State of each candidate that has reserves; None where the job died.
            smiles: What each of them became; None for crystals, and where it has no graph.
            reserves: For each of them its duplicates, in the order in which to try them.
            structures: Structures of the reserves.

        Returns:
            :class:`Substitutes` as a dictionary.
        """
        lost = {
            candidate_id: reserves[candidate_id]
            for candidate_id, state in states.items()
            if state != "converged" or _in_pieces(structures, reserves, smiles, candidate_id)
        }
        if not lost or self.count < 1:
            return Response(output=Substitutes().model_dump())
        relaxations, following = [], {}
        for members in lost.values():
            first, *rest = members
            relaxation = self.maker.make(first, structures[first], campaign_id, level_index)
            relaxation.name = f"{self.maker.name} {first}"
            relaxations.append(relaxation)
            following[first] = rest
        output = {
            "candidate_ids": list(following),
            "relaxations": [relaxation.output for relaxation in relaxations],
            "copies": following,
            "more": None,
        }
        jobs: list[Job] = [*relaxations]
        again = _substitutes(
            self.maker, self.count - 1, campaign_id, level_index, relaxations, following, structures
        )
        if again is not None:
            jobs.append(again)
            output["more"] = again.output
        return Response(replace=Flow(jobs, output=output, name=f"substitutes {self.maker.name}"))


@dataclass
class RelaxLevelMaker(Maker):
    """Relax the candidates that passed at one level: a job of its own for each.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
        substitutes: How many others of a group of equals to try where the one that stands for
            them fails.
    """

    name: str = "start level"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    substitutes: int = 1

    @job
    def make(self, screening: ScreeningDoc, level_index: int = 0) -> Response:
        """Add a job per candidate to the flow, and put their outputs together.

        What is added refers to nothing outside itself: jobflow-remote refuses such flows.

        Args:
            screening: Verdicts and structures of the stage before.
            level_index: Place of this level among the campaign's, from 0.

        Returns:
            ``campaign_id``, ``candidate_ids``, the ``relaxations`` in the same order, and
            ``substitutes``.
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
            "substitutes": None,
        }
        jobs: list[Job] = [*relaxations]
        substitutes = _substitutes(
            maker,
            self.substitutes,
            campaign_id,
            level_index,
            relaxations,
            {c: screening.reserves[c] for c in entrants if c in screening.reserves},
            screening.structures,
        )
        if substitutes is not None:
            jobs.append(substitutes)
            output["substitutes"] = substitutes.output
        return Response(replace=Flow(jobs, output=output, name=f"level {maker.name}"))


@dataclass
class RelaxLevelsMaker(Maker):
    """Relax the candidates that passed, level by level, and classify what comes out.

    Attributes:
        name: Name of the flow.
        makers: One relaxation Maker per level, cheap ones first.
        compare: Judges the results between two levels.
        classify: Judges the results of the last level.
        substitutes: How many others of a group of equals to try where one fails.
    """

    name: str = "relax"
    makers: list[LevelRelaxMaker] = field(default_factory=lambda: [XTBRelaxMaker()])
    compare: CompareMaker = field(default_factory=CompareMaker)
    classify: ClassifyMaker = field(default_factory=ClassifyMaker)
    substitutes: int = 1

    def make(self, screening: ScreeningDoc, known: list[TrainingSetDoc]) -> Flow:
        """Return the flow: for each level a job that starts it and one that judges it.

        Args:
            screening: Verdicts and structures of the stage before.
            known: The training set and the known sets.
        """
        jobs: list[Job] = []
        for index, maker in enumerate(self.makers):
            level = RelaxLevelMaker(maker=maker, substitutes=self.substitutes).make(
                screening, index
            )
            found = [level.output[k] for k in _LEVEL_OUTPUT]
            if index + 1 == len(self.makers):
                judge = tolerant(self.classify.make(*found, known))
            else:
                following = self.makers[index + 1].level.name
                compare = replace(
                    self.compare, window_ev_per_atom=maker.level.energy_window_ev_per_atom
                )
                judge = tolerant(compare.make(*found, known, before_level=following))
            jobs += [level, judge]
            screening = judge.output
        return Flow(jobs, output=jobs[-1].output, name=self.name)


@dataclass
class ReferenceMaker(Maker):
    """Relax known entries with the last level's settings.

    Energies of candidates and of known entries can then be compared at equal settings.

    Attributes:
        name: Name of the job.
        maker: The last level's Maker.
        formula: Hill formula of the known entries to relax; '' for none.
        species: Elements of which competing phases may be made.
    """

    name: str = "reference energies"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    formula: str = ""
    species: list[str] = field(default_factory=list)

    @job(data=DATA_KEYS, output_schema=ReferenceDoc)
    def make(
        self,
        known: list[TrainingSetDoc],
        campaign_id: str,
        competing: list[TrainingSetDoc] | None = None,
    ) -> ReferenceDoc:
        """Return the energies, one per entry.

        Args:
            known: Sets whose entries of the target's composition are relaxed.
            campaign_id: Campaign.
            competing: Sets of which everything is relaxed that has no other elements.
        """
        wanted: list[tuple[str, ReferenceRole, StructureEntry]] = [
            (s.id, "known", entry)
            for s in known_sets(known)
            for entry in s.entries
            if entry.formula == self.formula
        ]
        seen = {entry.id for _, _, entry in wanted}
        for s in known_sets(competing or []):
            for entry in s.entries:
                elements = {site.specie.symbol for site in entry.structure}
                if entry.id not in seen and elements <= set(self.species):
                    seen.add(entry.id)
                    wanted.append((s.id, "competing", entry))
        references = [
            _reference(self.maker.level, entry.structure, entry.id, entry.label, set_id, role)
            for set_id, role, entry in wanted
        ]
        return ReferenceDoc(campaign_id=campaign_id, references=references)


@dataclass
class ElementMaker(Maker):
    """Relax an element with the settings of a level, for the hull.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
        symbol: The element.
    """

    name: str = "element"
    maker: LevelRelaxMaker = field(default_factory=ASECalculatorRelaxMaker)
    symbol: str = "Si"

    @job(data=DATA_KEYS, output_schema=ReferenceDoc)
    def make(self, campaign_id: str) -> ReferenceDoc:
        """Return the element's energy."""
        structure = element_structure(self.symbol)
        level = element_level(self.maker.level, self.symbol)
        identity = structure_id(structure)
        found = _reference(level, structure, identity, self.symbol, "", "element")
        return ReferenceDoc(campaign_id=campaign_id, references=[found])


ReferenceRole = Literal["known", "competing", "element"]


def _reference(
    level: LevelSpec,
    structure: Geometry,
    identity: str,
    label: str,
    set_id: str,
    role: ReferenceRole,
) -> ReferenceEnergy:
    folder = Path(identity)  # of its own, so that a restart finds what belongs to it
    folder.mkdir(exist_ok=True)
    outcome = relax(structure, level, workdir=folder)
    energy = outcome.energy_ev
    return ReferenceEnergy(
        structure_id=identity,
        label=label,
        set_id=set_id,
        role=role,
        formula=formula(structure),
        level=level.name,
        state=outcome.state,
        reason=outcome.reason,
        energy_ev=energy,
        energy_per_atom_ev=None if energy is None else energy / len(structure),
    )


def known_sets(documents: list[TrainingSetDoc]) -> list[KnownSet]:
    """Return the sets in the form that matching takes."""
    sets = [TrainingSetDoc.model_validate(doc) for doc in documents]
    return [KnownSet(doc.id, doc.role, doc.structures) for doc in sets]


def tolerant(job: Job) -> Job:
    """Let a job run although some of the jobs it refers to failed: it gets None for them."""
    job.config.on_missing_references = OnMissing.NONE
    return job


_LEVEL_OUTPUT = ("campaign_id", "candidate_ids", "relaxations", "substitutes")


class Substitutes(BaseModel):
    """What was relaxed in place of candidates that failed."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    candidate_ids: list[str] = Field(default_factory=list, description="The substitutes")
    relaxations: list[Any] = Field(default_factory=list, description="Theirs, in the same order")
    copies: dict[str, list[str]] = Field(
        default_factory=dict, description="For each substitute the rest of its group, unrelaxed"
    )
    more: Substitutes | None = Field(None, description="In place of these, where they failed too")


def _substitutes(
    maker: LevelRelaxMaker,
    count: int,
    campaign_id: str,
    level_index: int,
    relaxations: list[Job],
    reserves: dict[str, list[str]],
    structures: dict[str, Geometry],
) -> Job | None:
    """Return the job that looks whether substitutes are needed, if there are any."""
    jobs = {job.function_args[0]: job for job in relaxations}
    reserves = {candidate_id: others for candidate_id, others in reserves.items() if others}
    if not reserves or count < 1:
        return None
    return tolerant(
        SubstituteMaker(maker=maker, count=count).make(
            campaign_id,
            level_index,
            {candidate_id: jobs[candidate_id].output.state for candidate_id in reserves},
            {candidate_id: jobs[candidate_id].output.smiles for candidate_id in reserves},
            reserves,
            {member: structures[member] for others in reserves.values() for member in others},
        )
    )


def _in_pieces(
    structures: dict[str, Geometry],
    reserves: dict[str, list[str]],
    smiles: dict[str, str | None],
    candidate_id: str,
) -> bool:
    """Return whether a candidate is a molecule that has lost its graph."""
    is_molecule = isinstance(structures[reserves[candidate_id][0]], Molecule)
    return is_molecule and smiles[candidate_id] is None


def all_relaxed(
    candidate_ids: list[str],
    relaxations: list[RelaxationDoc | None] | None,
    substitutes: Substitutes | None,
) -> tuple[list[str], list[RelaxationDoc | None], dict[str, list[str]]]:
    """Return all candidates that were relaxed, their documents, and copies not relaxed."""
    if relaxations is None:
        raise InputError("the relaxations have not been started")
    ids, found, copies = list(candidate_ids), list(relaxations), {}
    more = None if substitutes is None else Substitutes.model_validate(substitutes)
    while more is not None:
        ids += more.candidate_ids
        found += more.relaxations
        copies.update(more.copies)
        more = more.more
    documents = [None if doc is None else RelaxationDoc.model_validate(doc) for doc in found]
    return ids, documents, copies


def _of_copies(verdicts: list[Verdict], copies: dict[str, list[str]]) -> list[Verdict]:
    """Return verdicts on copies of substitutes that have not been relaxed themselves."""
    failed = {verdict.candidate_id for verdict in verdicts if verdict.state == "failed"}
    judged = {verdict.candidate_id for verdict in verdicts}
    return [
        Verdict(candidate_id=copy, state="duplicate", match=substitute)
        for substitute, others in copies.items()
        if substitute not in failed
        for copy in others
        if copy not in judged
    ]


def _passed(
    verdicts: list[Verdict], reserves: dict[str, list[str]], structures: dict[str, Geometry]
) -> dict[str, Geometry]:
    wanted = [v.candidate_id for v in verdicts if v.state == "pending"]
    wanted += [member for others in reserves.values() for member in others]
    return {candidate_id: structures[candidate_id] for candidate_id in wanted}
