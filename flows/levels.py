"""Relaxation in levels: a chain of jobs that grows as results come in.

How many candidates reach a level is only known once the level before it is done. The
relaxations of each level are therefore added to the running flow by a job of its own::

    screen ─> start level ─> compare ─> start level ─> … ─> classify
               └─ relax × K              └─ relax × K
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jobflow import Flow, Job, Maker, Response, job

from logan_campaign.flows.judge import ClassifyMaker, CompareMaker
from logan_campaign.flows.relax import LevelRelaxMaker, XTBRelaxMaker
from logan_campaign.flows.stages import placed, relaxation_of, stage
from logan_campaign.flows.substitutes import substitutes_for
from logan_campaign.flows.tolerance import tolerant
from logan_campaign.schemas import ScreeningDoc, TrainingSetDoc

_LEVEL_OUTPUT = ("campaign_id", "candidate_ids", "relaxations", "substitutes")


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

    @job(metadata=stage("default"))
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
            relaxation_of(relaxation, candidate_id, maker.level.name)
        output = {
            "campaign_id": campaign_id,
            "candidate_ids": entrants,
            "relaxations": [relaxation.output for relaxation in relaxations],
            "substitutes": None,
        }
        jobs: list[Job] = [*relaxations]
        substitutes = substitutes_for(
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
        return Response(replace=placed(Flow(jobs, output=output, name=f"level {maker.name}")))


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
