"""Rounds of generation, relaxation and learning, without a permanent process.

The last job of a round judges it and adds the next one to the running flow::

    train × M ─> generate × M ─> select ─> screen ─> relax ─> next round ─┐
       ^                                                                  │
       └────────────── learned set <──────────────────────────────────────┘
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jobflow import CURRENT_JOB, Flow, Job, Maker, OutputReference, Response, job

from logan_campaign.campaign.allocation import Progress, choose
from logan_campaign.campaign.rounds import EXHAUSTED, StopSpec, stop_reason
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.system import SystemSpec
from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.documents import (
    DATA_KEYS,
    ControlDoc,
    ReferenceDoc,
    RoundDoc,
    RoundShare,
    TrainingSetDoc,
)
from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.flows.data import now
from logan_campaign.flows.external import BringMaker
from logan_campaign.flows.generate import GenerateMaker
from logan_campaign.flows.judge import ClassifyMaker, CompareMaker, ScreenMaker
from logan_campaign.flows.learned import LearnedSetMaker
from logan_campaign.flows.levels import RelaxLevelsMaker
from logan_campaign.flows.links import OpenFlow, RoundLinks
from logan_campaign.flows.notify import NotifyMaker
from logan_campaign.flows.reference import ReferenceMaker, phases_of
from logan_campaign.flows.refresh import RefreshMaker, RejudgeMaker
from logan_campaign.flows.relax import maker_for
from logan_campaign.flows.round_results import Search, sightings_of, with_estimates
from logan_campaign.flows.select import SelectMaker
from logan_campaign.flows.stages import NEXT_ROUND, placed, stage
from logan_campaign.flows.tolerance import tolerant
from logan_campaign.flows.train import TrainMaker
from logan_campaign.generators.models import Method
from logan_campaign.geometry.formulas import reduced_formula
from logan_campaign.matching.spec import MatchingSpec

#: Stands for the target of models that serve all compositions of a system.
_ALL = "all"


@dataclass
class RoundMaker(Maker):
    """Makes one round: train, generate, select, screen, relax, classify.

    Attributes:
        name: Name of the flow.
        spec: The campaign.
        campaign_id: Its id.
        targets: The spec's target, then those of its section 'rounds'; of a system, the Hill
            formulas of its cells.
        base: Folder of relative paths in the spec.
    """

    name: str = "round"
    spec: CampaignSpec = field(kw_only=True)
    campaign_id: str = field(kw_only=True)
    targets: list[TargetGeometry | str] = field(kw_only=True)
    base: str = "."

    def target(self, index: int) -> TargetGeometry:
        """Return one of the targets."""
        held = self.targets[index]
        if isinstance(held, TargetGeometry):
            return held
        assert isinstance(self.spec.target, SystemSpec)  # others have no formulas
        return self.spec.target.of(held).resolve(Path())

    @property
    def formulas(self) -> list[str]:
        """Hill formulas of the targets."""
        return [held if isinstance(held, str) else held.hill_formula for held in self.targets]

    @property
    def shares_models(self) -> bool:
        """Whether models serve all targets."""
        methods = self.spec.models.members()
        return (
            isinstance(self.spec.target, SystemSpec)
            and self.spec.models.trains
            and all(m.any_composition for m in methods)
        )

    def make(
        self,
        training: TrainingSetDoc | None,
        compared: list[TrainingSetDoc],
        links: RoundLinks,
        index: int = 0,
        chosen: Sequence[int] = (0,),
        refreshed: Refreshed | None = None,
    ) -> Flow:
        """Return the flow of one round; if the spec has rounds, its last job adds the next.

        Args:
            training: Training set, if there is one.
            compared: Known sets, and structures found by earlier rounds.
            links: Earlier jobs that this round uses.
            index: Index of the round, from 0.
            chosen: Indices into ``targets``, whose results do not depend on each other.
            refreshed: Jobs that pulled sets anew before this round, if they did.
        """
        spec = self.spec
        jobs: list[Job | Flow] = []
        trained: dict[str, list[OutputReference]] = {}
        if self.shares_models:
            assert training is not None  # by the spec's validator
            rounds = spec.rounds
            if rounds is not None and not rounds.learn.feed_back and _ALL in links.models:
                # the training set is the same
                trained[_ALL] = [OutputReference(uuid) for uuid in links.models[_ALL]]
            else:
                whole = spec.target.resolve(Path())
                jobs += self._train(training, whole, links, index, _ALL, trained)
        searches: list[dict[str, Any]] = []
        for place in chosen:
            if not self.shares_models and spec.models.trains:
                assert training is not None  # by the spec's validator
                jobs += self._train(training, self.target(place), links, index, str(place), trained)
            models = trained.get(_ALL if self.shares_models else str(place), [])
            searches.append({"target": place})
            jobs += self._search(models, training, compared, links, index, searches[-1])
        outputs = [search.pop("output") for search in searches]
        output = outputs[0] if len(outputs) == 1 else outputs
        name = f"{self.name} {index}"
        if spec.rounds is None or not spec.relax.levels:
            return Flow(_of_round(jobs, index), output=output, name=name)
        history = [OutputReference(uuid) for uuid in links.rounds]
        phases = [OutputReference(uuid) for uuid in links.phases]
        about = None if refreshed is None else refreshed.about
        judge = NextRoundMaker(maker=self, index=index, links=links).make(
            models=[
                {"uuid": m.uuid, "id": m.id, "elapsed_s": m.elapsed_s, "of": of}
                for of, models in trained.items()
                for m in models
            ],
            training_set_id=None if training is None else training.id,
            began_at=None if training is None else training.pulled_at,
            searches=searches,
            known=[OutputReference(uuid) for uuid in links.known],
            history=history,
            control=OutputReference(links.control),
            phases=phases,
            refreshed=about,
        )
        # the next round, which this job adds, has its own index
        judge.update_metadata({"round": index}, dynamic=False)
        last = [tolerant(judge)]
        if spec.notify is not None:
            hull = spec.relax.hull
            tell = NotifyMaker(
                how=spec.notify,
                campaign=spec.name,
                round=index,
                formulas=self.formulas,
                window_ev_per_atom=None if hull is None else hull.window_ev_per_atom,
            ).make(self.campaign_id, judge.output, history, phases, about)
            last.append(tolerant(tell))
        return Flow([*_of_round(jobs, index), *last], output, name=name)

    def _train(
        self,
        training: TrainingSetDoc,
        target: TargetGeometry,
        links: RoundLinks,
        index: int,
        of: str,
        trained: dict[str, list[OutputReference]],
    ) -> list[Job]:
        """Return the jobs that train the ensemble; note their outputs in ``trained``."""
        starts, jobs = self._starts(links, of), []
        for member, hyperparameters in enumerate(self.spec.models.members()):
            start = starts[member] if member < len(starts) else None
            seed = member_seed(self.spec.seed, member, index)
            settings = self._steps(hyperparameters, start)
            maker = TrainMaker(f"train {member}", settings, seed, member, index, of == _ALL)
            jobs.append(maker.make(training, target, start))
        trained[of] = [job.output for job in jobs]
        return jobs

    def _search(
        self,
        models: list[OutputReference],
        training: TrainingSetDoc | None,
        compared: list[TrainingSetDoc],
        links: RoundLinks,
        index: int,
        search: dict[str, Any],
    ) -> list[Job | Flow]:
        """Return the jobs that generate, select and relax; note their outputs in ``search``."""
        spec, target, levels = self.spec, self.target(search["target"]), self.spec.relax.levels
        sets = [*([] if training is None else [training]), *compared]
        pools = []
        for member, method in enumerate(spec.models.members()):
            seed = member_seed(spec.seed, member, index)
            maker = GenerateMaker(f"generate {member}", spec.generate.per_model, seed)
            if spec.models.trains:
                pools.append(maker.make(models[member], target))
            else:
                maker.method = method
                pools.append(maker.make(None, target, training if target.needs_training else None))
        past = [OutputReference(uuid) for uuid in links.rounds]
        for each, uuid in zip(spec.generate.external, links.external, strict=True):
            bring = BringMaker(f"bring {each.generator}", each.generator)
            pools.append(bring.make(OutputReference(uuid), target, past))
        select = SelectMaker(
            strategy=spec.select,
            screening=spec.screen,
            seed=spec.seed + index,
            round=index,
            pass_over_found=_goes_by_graphs(spec.match),
        )
        selection = tolerant(
            select.make(
                [pool.output for pool in pools],
                target,
                self.campaign_id,
                sets,
                models if select.needs_models else None,
            )
        )
        screening = ScreenMaker(screening=spec.screen, matching=spec.match).make(
            selection.output, sets, before_level=levels[0].name if levels else None
        )
        jobs: list[Job | Flow] = [*pools, selection, screening]
        search["output"] = screening.output
        if levels:
            relaxed = RelaxLevelsMaker(
                makers=[maker_for(level) for level in levels],
                compare=CompareMaker(matching=spec.match),
                classify=ClassifyMaker(matching=spec.match),
                substitutes=spec.relax.substitutes,
                turns=spec.relax.turns,
            ).make(screening.output, sets)
            jobs.append(relaxed)
            search |= {
                "output": relaxed.output,
                "pools": [
                    {"n_structures": p.output.n_structures, "elapsed_s": p.output.elapsed_s}
                    for p in pools
                ],
                "selection": selection.output,
                "screening": screening.output,
                # each level has two jobs: one starts it, the other judges it
                "levels": [level.output for level in relaxed.jobs[0::2]],
                "judges": [judge.output for judge in relaxed.jobs[1::2]],
            }
        return jobs

    def follow(
        self, links: RoundLinks, index: int, chosen: Sequence[int], refresh: bool = False
    ) -> Flow:
        """Return a later round, with all structures found by earlier ones.

        Args:
            links: Earlier jobs that it uses.
            index: Index of the round, from 1.
            chosen: Indices into ``targets``.
            refresh: Whether training and known sets are pulled anew before.
        """
        refreshed = self._refreshed(links) if refresh else None
        if refreshed is not None:
            links = refreshed.links
        rounds = self.spec.rounds
        assert rounds is not None  # only a spec with rounds has later rounds
        base = OutputReference(links.training) if links.training else None
        past = [OutputReference(uuid) for uuid in links.rounds]
        found = LearnedSetMaker("found set", role="found").make(base, past)
        jobs: list[Job | Flow] = [*(refreshed.jobs if refreshed is not None else []), found]
        training = base
        if rounds.learn.feed_back and base is not None:
            learned = LearnedSetMaker(
                energy_window_ev_per_atom=rounds.learn.energy_window_ev_per_atom
            ).make(base, past)
            jobs.append(learned)
            training = learned.output
        known = [OutputReference(uuid) for uuid in links.known]
        compared = [*known, found.output]
        jobs.append(self.make(training, compared, links, index, chosen, refreshed))
        fresh = [place for place in chosen if str(place) not in links.models]
        for place in fresh if self.spec.relax.reference else ():
            level = maker_for(self.spec.relax.levels[-1])
            reference = ReferenceMaker(maker=level, formula=self.formulas[place])
            jobs.append(reference.make(known or [base], self.campaign_id))
        flow = OpenFlow(jobs, name=f"{self.name} {index}")
        flow.update_metadata({"campaign_id": self.campaign_id, "campaign": self.spec.name})
        return flow

    def _refreshed(self, links: RoundLinks) -> Refreshed:
        """Return the jobs that pull training and known sets anew, and judge again."""
        spec, jobs = self.spec, []
        training = [] if spec.training is None else [spec.training.source]
        # what is not pulled comes after these
        uuids = [links.training] * len(training) + links.known[: len(spec.known)]
        for k, (source, uuid) in enumerate(zip([*training, *spec.known], uuids, strict=True)):
            role: Literal["training", "known"] = "training" if k < len(training) else "known"
            maker = RefreshMaker(f"refresh {role} set", source, role, self.base)
            jobs.append(maker.make(OutputReference(uuid, output_schema=TrainingSetDoc)))
        pulls = [job.uuid for job in jobs]
        links = links.model_copy(
            update={
                "training": pulls[0] if training else "",
                "known": [*pulls[len(training) :], *links.known[len(spec.known) :]],
            }
        )
        again = RejudgeMaker(matching=spec.match).make(
            self.campaign_id,
            [job.output for job in jobs],
            [OutputReference(uuid, output_schema=TrainingSetDoc).id for uuid in uuids],
            [OutputReference(uuid) for uuid in links.rounds],
        )
        about = {
            "problems": [job.output.not_refreshed for job in jobs],
            "at": [job.output.pulled_at for job in jobs],
            "rejudged": again.output,
        }
        return Refreshed(links, [*jobs, again], about)

    def _starts(self, links: RoundLinks, of: str) -> list[OutputReference]:
        rounds = self.spec.rounds
        if rounds is None or rounds.models == "fresh":
            return []
        return [OutputReference(uuid) for uuid in links.models.get(of, [])]

    def _steps(self, hyperparameters: Method, start: OutputReference | None) -> Method:
        steps = self.spec.rounds.steps if self.spec.rounds is not None else None
        if start is None or steps is None:
            return hyperparameters
        return hyperparameters.model_copy(update={"steps": steps})


class Refreshed(NamedTuple):
    """Jobs that pull sets anew before a round."""

    links: RoundLinks
    """To the new sets."""
    jobs: list[Job]
    about: dict[str, Any]
    """References for the job that judges the round."""


@dataclass
class NextRoundMaker(Maker):
    """Judge a round, and add the next one unless a stop rule applies.

    Attributes:
        name: Name of the job.
        maker: Makes the next round.
        index: Index of the finished round, from 0.
        links: Earlier jobs that it used.
    """

    name: str = "next round"
    maker: RoundMaker = field(kw_only=True)
    index: int = 0
    links: RoundLinks = field(kw_only=True)

    @job(data=DATA_KEYS, output_schema=RoundDoc, metadata=stage("default", NEXT_ROUND))
    def make(
        self,
        models: list[dict[str, Any]],
        training_set_id: str | None,
        began_at: str | None,
        searches: list[dict[str, Any]],
        known: list[TrainingSetDoc],
        history: list[RoundDoc],
        control: ControlDoc,
        phases: list[ReferenceDoc | None],
        refreshed: dict[str, Any] | None = None,
    ) -> Response:
        """Return the results of the round, and the next round as an addition.

        Arguments are None if the job that should have produced them failed.

        Args:
            models: ``uuid`` of the jobs that trained, ``id`` and ``elapsed_s`` of the models, and
                the target that they are ``of``.
            training_set_id: Id of their training set.
            began_at: Time at which the training set was available.
            searches: of each target its index, ``n_structures`` and ``elapsed_s`` of its
                ``pools``, its picks (``selection``), the verdicts before the first level
                (``screening``), relaxations per level and verdicts after each (``judges``).
            known: Known sets.
            history: Earlier rounds.
            control: Stop rules at the start of this job.
            phases: Elements and competing phases, for the choice of the next targets.
            refreshed: ``problems`` of sources that were pulled anew, the times ``at`` which they
                were, and what was judged again (``rejudged``).
        """
        control = ControlDoc.model_validate(control)
        rules = StopSpec.model_validate(control.stop)
        past = [RoundDoc.model_validate(doc) for doc in history]
        sets = [TrainingSetDoc.model_validate(doc) for doc in known if doc is not None]
        known_ids = {s.id for s in sets}
        results = [Search.read(search, known_ids) for search in searches]
        heads = {f.candidate_id for doc in past for f in doc.found}
        heads |= {f.candidate_id for result in results for f in result.found}
        names = [level.name for level in self.maker.spec.relax.levels]
        found = [f for result in results for f in result.found]
        formulas = self.maker.formulas
        shares = [
            RoundShare(
                target=result.target,
                formula=formulas[result.target],
                n_generated=result.n_generated,
                n_last_level=len(result.relaxed[-1]),
                n_found=len(result.found),
                sightings=sightings_of(result.picks, result.verdicts, heads),
            )
            for result in results
        ]
        # models that an earlier round trained have been counted
        reused = {uuid for uuids in self.links.models.values() for uuid in uuids}
        spent = [m["elapsed_s"] for m in models if m["uuid"] not in reused]
        document = RoundDoc(
            campaign_id=self.maker.campaign_id,
            index=self.index,
            formula=", ".join(share.formula for share in shares),
            shares=shares,
            training_set_id=training_set_id,
            model_ids=[m["id"] for m in models if m["id"] is not None],
            n_generated=sum(share.n_generated for share in shares),
            n_picked=sum(len(r.picks.candidates) for r in results if r.picks is not None),
            states=_count([v.state for result in results for v in result.verdicts.values()]),
            relaxations={
                name: sum(len(result.relaxed[k]) for result in results)
                for k, name in enumerate(names)
            },
            n_last_level=sum(share.n_last_level for share in shares),
            cpu_s=sum(s for s in spent if s is not None) + sum(r.cpu_s for r in results),
            started_at=past[-1].finished_at if past else began_at or control.started_at or now(),
            finished_at=now(),
            found=found,
            sightings=dict(sum((Counter(share.sightings) for share in shares), Counter())),
            refreshed_at=max(refreshed["at"]) if refreshed is not None else "",
            brought=[
                pick.origin_id
                for result in results
                for pick in (result.picks.candidates if result.picks is not None else [])
                if pick.origin_id is not None
            ],
            n_unseen=None,
            coverage=None,
            problem=next((r.problem for r in results if r.problem), ""),
            stop=rules.model_dump(mode="json"),
            decision="stop",
            reason="",
            structures=[entry for result in results for entry in result.structures],
        )
        judged = [*past, with_estimates(document, past)]
        rounds = self.maker.spec.rounds
        assert rounds is not None  # this job exists only with rounds
        system = isinstance(self.maker.spec.target, SystemSpec)
        brings = not self.maker.spec.models.count
        reason = stop_reason(judged, rules, self._targets(sets), system, brings)
        following: list[int] = []
        due = False
        if not reason:
            progress = Progress(
                formulas,
                judged,
                phases_of(phases),
                rules.barren_rounds,
                may_end=system,
                only_brought=brings,
            )
            following = choose(progress, self.maker.spec.policy, rounds.batch)
            idle = not following and not brings
            if rounds.refresh is not None:
                due = rounds.refresh.is_due(judged, now(), idle)
            if idle and due:  # other sets may lead to what was not found with the last
                again = replace(progress, may_end=False)
                following = choose(again, self.maker.spec.policy, rounds.batch)
            reason = "" if following else EXHAUSTED
        document = judged[-1].model_copy(
            update={"decision": "stop" if reason else "continue", "reason": reason}
        )
        if reason:
            return Response(output=document)
        return Response(output=document, addition=self._next(models, shares, following, due))

    def _next(
        self,
        models: list[dict[str, Any]],
        shares: list[RoundShare],
        chosen: list[int],
        refresh: bool,
    ) -> Flow:
        if CURRENT_JOB.job is None:
            raise LoganCampaignError("rounds are added by running jobs, not by calls")
        trained: dict[str, list[str]] = {str(share.target): [] for share in shares}
        for model in models:
            trained.setdefault(model["of"], []).append(model["uuid"])
        links = self.links.after(CURRENT_JOB.job.uuid, trained)
        return placed(self.maker.follow(links, self.index + 1, chosen, refresh))

    def _targets(self, sets: list[TrainingSetDoc]) -> set[str]:
        """Return the ids of the known entries to find."""
        sought = set(self.maker.formulas)
        reduced = {reduced_formula(name) for name in sought}
        crystal = self.maker.spec.target.kind == "crystal"
        # entries of an index or of other campaigns are known, but are not targets
        return {
            entry.id
            for s in sets
            if s.query.get("type") not in ("index", "campaigns")
            for entry in s.structures
            if entry.formula in sought or (crystal and reduced_formula(entry.formula) in reduced)
        }


def _of_round(jobs: list[Job | Flow], index: int) -> list[Job | Flow]:
    """Set the round in the metadata of jobs and of the jobs that they add."""
    for member in jobs:
        member.update_metadata({"round": index})
    return jobs


def member_seed(seed: int, index: int, round_index: int = 0) -> int:
    """Return the seed of one member; different campaign seeds give disjoint ranges."""
    entropy = [seed, index] if round_index == 0 else [seed, index, round_index]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 1


def _goes_by_graphs(matching: MatchingSpec) -> bool:
    """Return whether generated molecules are equal if their graphs are."""
    graphs = matching.identity == "smiles" and matching.conformer_rmsd is None
    return matching.before_relaxation and graphs


def _count(states: list[str]) -> dict[str, int]:
    return {state: states.count(state) for state in sorted(set(states))}
