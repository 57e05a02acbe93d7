"""Rounds of generation, relaxation and learning, without a permanent process.

The last job of a round judges it and adds the next one to the running flow::

    train × M ─> generate × M ─> select ─> screen ─> relax ─> next round ─┐
       ^                                                                  │
       └────────────── learned set <──────────────────────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jobflow import CURRENT_JOB, Flow, Job, Maker, OutputReference, Response, job

from logan_campaign.campaign.rounds import StopSpec, next_target, sightings, stop_reason
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.documents import (
    DATA_KEYS,
    ClassificationDoc,
    ControlDoc,
    FoundStructure,
    RelaxationDoc,
    RoundDoc,
    ScreeningDoc,
    SelectionDoc,
    StructureEntry,
    TrainingSetDoc,
    Verdict,
)
from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.flows.generate import GenerateMaker
from logan_campaign.flows.judge import ClassifyMaker, CompareMaker, ScreenMaker
from logan_campaign.flows.learned import LearnedSetMaker, now
from logan_campaign.flows.levels import RelaxLevelsMaker
from logan_campaign.flows.links import OpenFlow, RoundLinks
from logan_campaign.flows.reference import ReferenceMaker
from logan_campaign.flows.relax import maker_for
from logan_campaign.flows.select import SelectMaker
from logan_campaign.flows.stages import NEXT_ROUND, placed, stage
from logan_campaign.flows.substitutes import all_relaxed
from logan_campaign.flows.tolerance import tolerant
from logan_campaign.flows.train import TrainMaker
from logan_campaign.generators.models import Method
from logan_campaign.geometry.formulas import reduced_formula
from logan_campaign.geometry.structures import formula, structure_id
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.selection.estimates import coverage, unseen


@dataclass
class RoundMaker(Maker):
    """Makes one round: train, generate, select, screen, relax, classify.

    Attributes:
        name: Name of the flow.
        spec: The campaign.
        campaign_id: Its id.
        targets: The spec's target, then those of its section 'rounds'.
    """

    name: str = "round"
    spec: CampaignSpec = field(kw_only=True)
    campaign_id: str = field(kw_only=True)
    targets: list[TargetGeometry] = field(kw_only=True)

    def make(
        self,
        training: TrainingSetDoc,
        compared: list[TrainingSetDoc],
        links: RoundLinks,
        index: int = 0,
        target_index: int = 0,
    ) -> Flow:
        """Return the flow of one round; if the spec has rounds, its last job adds the next.

        Args:
            training: Training set.
            compared: Known sets, and structures found by earlier rounds.
            links: Earlier jobs that this round uses.
            index: Index of the round, from 0.
            target_index: Index into ``targets``.
        """
        spec, target, name = self.spec, self.targets[target_index], f"{self.name} {index}"
        levels = spec.relax.levels
        sets = [training, *compared]
        models, pools = [], []
        starts = self._starts(links, target_index)
        for member, hyperparameters in enumerate(spec.models.members()):
            start = starts[member] if member < len(starts) else None
            seed = member_seed(spec.seed, member, index)
            model = TrainMaker(
                f"train {member}", self._steps(hyperparameters, start), seed, member, index
            ).make(training, target, start)
            pool = GenerateMaker(f"generate {member}", spec.generate.per_model, seed).make(
                model.output, target
            )
            models.append(model)
            pools.append(pool)

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
                [model.output for model in models] if select.needs_models else None,
            )
        )
        screening = ScreenMaker(screening=spec.screen, matching=spec.match).make(
            selection.output, sets, before_level=levels[0].name if levels else None
        )
        jobs: list[Job | Flow] = [*models, *pools, selection, screening]
        if not levels:
            return Flow(_of_round(jobs, index), output=screening.output, name=name)
        relaxed = RelaxLevelsMaker(
            makers=[maker_for(level) for level in levels],
            compare=CompareMaker(matching=spec.match),
            classify=ClassifyMaker(matching=spec.match),
            substitutes=spec.relax.substitutes,
            turns=spec.relax.turns,
        ).make(screening.output, sets)
        jobs.append(relaxed)
        if spec.rounds is not None:
            judge = NextRoundMaker(
                maker=self,
                index=index,
                target_index=target_index,
                links=links,
            ).make(
                models=[
                    {"uuid": m.uuid, "id": m.output.id, "elapsed_s": m.output.elapsed_s}
                    for m in models
                ],
                training_set_id=training.id,
                began_at=training.pulled_at,
                pools=[
                    {"n_structures": p.output.n_structures, "elapsed_s": p.output.elapsed_s}
                    for p in pools
                ],
                selection=selection.output,
                screening=screening.output,
                # each level has two jobs: one starts it, the other judges it
                levels=[level.output for level in relaxed.jobs[0::2]],
                judges=[judge.output for judge in relaxed.jobs[1::2]],
                known=[OutputReference(uuid) for uuid in links.known],
                history=[OutputReference(uuid) for uuid in links.rounds],
                control=OutputReference(links.control),
            )
            # the next round, which this job adds, has its own index
            judge.update_metadata({"round": index}, dynamic=False)
            return Flow([*_of_round(jobs, index), tolerant(judge)], relaxed.output, name=name)
        return Flow(_of_round(jobs, index), output=relaxed.output, name=name)

    def follow(self, links: RoundLinks, index: int, target_index: int) -> Flow:
        """Return a later round, with all structures found by earlier ones.

        Args:
            links: Earlier jobs that it uses.
            index: Index of the round, from 1.
            target_index: Index into ``targets``.
        """
        rounds = self.spec.rounds
        assert rounds is not None  # only a spec with rounds has later rounds
        base = OutputReference(links.training)
        past = [OutputReference(uuid) for uuid in links.rounds]
        found = LearnedSetMaker("found set", role="found").make(base, past)
        jobs: list[Job | Flow] = [found]
        training = base
        if rounds.learn.feed_back:
            learned = LearnedSetMaker(
                energy_window_ev_per_atom=rounds.learn.energy_window_ev_per_atom
            ).make(base, past)
            jobs.append(learned)
            training = learned.output
        known = [OutputReference(uuid) for uuid in links.known]
        jobs.append(self.make(training, [*known, found.output], links, index, target_index))
        if self.spec.relax.reference and str(target_index) not in links.models:
            level = maker_for(self.spec.relax.levels[-1])
            sought = self.targets[target_index].hill_formula
            jobs.append(
                ReferenceMaker(maker=level, formula=sought).make(known or [base], self.campaign_id)
            )
        flow = OpenFlow(jobs, name=f"{self.name} {index}")
        flow.update_metadata({"campaign_id": self.campaign_id, "campaign": self.spec.name})
        return flow

    def _starts(self, links: RoundLinks, target_index: int) -> list[OutputReference]:
        rounds = self.spec.rounds
        if rounds is None or rounds.models == "fresh":
            return []
        return [OutputReference(uuid) for uuid in links.models.get(str(target_index), [])]

    def _steps(self, hyperparameters: Method, start: OutputReference | None) -> Method:
        steps = self.spec.rounds.steps if self.spec.rounds is not None else None
        if start is None or steps is None:
            return hyperparameters
        return hyperparameters.model_copy(update={"steps": steps})


@dataclass
class NextRoundMaker(Maker):
    """Judge a round, and add the next one unless a stop rule applies.

    Attributes:
        name: Name of the job.
        maker: Makes the next round.
        index: Index of the finished round, from 0.
        target_index: Index of its target.
        links: Earlier jobs that it used.
    """

    name: str = "next round"
    maker: RoundMaker = field(kw_only=True)
    index: int = 0
    target_index: int = 0
    links: RoundLinks = field(kw_only=True)

    @job(data=DATA_KEYS, output_schema=RoundDoc, metadata=stage("default", NEXT_ROUND))
    def make(
        self,
        models: list[dict[str, Any]],
        training_set_id: str | None,
        began_at: str | None,
        pools: list[dict[str, Any]],
        selection: SelectionDoc | None,
        screening: ScreeningDoc | None,
        levels: list[dict[str, Any] | None],
        judges: list[ScreeningDoc | ClassificationDoc | None],
        known: list[TrainingSetDoc],
        history: list[RoundDoc],
        control: ControlDoc,
    ) -> Response:
        """Return the results of the round, and the next round as an addition.

        Arguments are None if the job that should have produced them failed.

        Args:
            models: ``uuid`` of the jobs that trained, ``id`` and ``elapsed_s`` of the models.
            training_set_id: Id of their training set.
            began_at: Time at which the training set was available.
            pools: ``n_structures`` and ``elapsed_s`` of the pools.
            selection: The picks.
            screening: Verdicts before the first level.
            levels: Relaxations per level.
            judges: Verdicts after each level.
            known: Known sets.
            history: Earlier rounds.
            control: Stop rules at the start of this job.
        """
        rules = StopSpec.model_validate(ControlDoc.model_validate(control).stop)
        past = [RoundDoc.model_validate(doc) for doc in history]
        sets = [TrainingSetDoc.model_validate(doc) for doc in known if doc is not None]
        picks = SelectionDoc.model_validate(selection) if selection is not None else None
        verdicts: dict[str, Verdict] = {}
        for doc in (screening, *judges):
            if doc is not None:
                kind = ScreeningDoc if _field(doc, "doc_type") == "screening" else ClassificationDoc
                verdicts.update({v.candidate_id: v for v in kind.model_validate(doc).verdicts})
        relaxed = [_relaxations(level) for level in levels]
        done = [doc for found in relaxed for doc in found.values()]
        names = [level.name for level in self.maker.spec.relax.levels]
        structures, found = _found(picks, verdicts, relaxed, {s.id for s in sets})
        cheap = picks.cheap_relaxations if picks is not None else []
        spent = [one["elapsed_s"] for one in (*models, *pools)] + [c.cpu_s for c in cheap]
        document = RoundDoc(
            campaign_id=self.maker.campaign_id,
            index=self.index,
            target=self.target_index,
            formula=self.maker.targets[self.target_index].hill_formula,
            training_set_id=training_set_id,
            model_ids=[m["id"] for m in models if m["id"] is not None],
            n_generated=sum(pool["n_structures"] or 0 for pool in pools),
            n_picked=len(picks.candidates) if picks is not None else 0,
            states=_count([v.state for v in verdicts.values()]),
            relaxations={name: len(docs) for name, docs in zip(names, relaxed, strict=True)},
            n_last_level=len(relaxed[-1]),
            cpu_s=sum(s for s in spent if s is not None) + sum(doc.cpu_s for doc in done),
            started_at=past[-1].finished_at if past else began_at or now(),
            finished_at=now(),
            found=found,
            sightings=_sightings(picks, verdicts, {f.candidate_id for f in found}, past),
            n_unseen=None,
            coverage=None,
            problem=_problem(picks, judges),
            stop=rules.model_dump(mode="json"),
            decision="stop",
            reason="",
            structures=structures,
        )
        judged = [*past, _with_estimates(document, past)]
        reason = stop_reason(judged, rules, self._targets(sets))
        document = judged[-1].model_copy(
            update={"decision": "stop" if reason else "continue", "reason": reason}
        )
        if reason:
            return Response(output=document)
        return Response(output=document, addition=self._next(models, judged))

    def _next(self, models: list[dict[str, Any]], judged: list[RoundDoc]) -> Flow:
        if CURRENT_JOB.job is None:
            raise LoganCampaignError("rounds are added by running jobs, not by calls")
        rounds = self.maker.spec.rounds
        assert rounds is not None  # this job exists only with rounds
        links = self.links.after(
            CURRENT_JOB.job.uuid, self.target_index, [m["uuid"] for m in models]
        )
        return placed(self.maker.follow(links, self.index + 1, next_target(judged, rounds)))

    def _targets(self, sets: list[TrainingSetDoc]) -> set[str]:
        """Return the ids of the known entries to find."""
        sought = {target.hill_formula for target in self.maker.targets}
        reduced = {reduced_formula(name) for name in sought}
        crystal = self.maker.targets[0].kind == "crystal"
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


def _field(document: Any, name: str) -> Any:
    return document[name] if isinstance(document, dict) else getattr(document, name)


def _count(states: list[str]) -> dict[str, int]:
    return {state: states.count(state) for state in sorted(set(states))}


def _relaxations(level: dict[str, Any] | None) -> dict[str, RelaxationDoc]:
    """Return the relaxations at a level by candidate; empty if it was never started."""
    if level is None:
        return {}
    ids, documents, _, _ = all_relaxed(level["candidate_ids"], level["relaxations"], level["more"])
    return {name: doc for name, doc in zip(ids, documents, strict=True) if doc is not None}


def _found(
    picks: SelectionDoc | None,
    verdicts: dict[str, Verdict],
    relaxed: list[dict[str, RelaxationDoc]],
    known_ids: set[str],
) -> tuple[list[StructureEntry], list[FoundStructure]]:
    """Return the distinct structures that were in no training set."""
    entries, found = [], []
    for pick in picks.candidates if picks is not None else []:
        verdict, result = verdicts.get(pick.id), relaxed[-1].get(pick.id)
        if verdict is None or result is None:
            continue
        is_known = verdict.state == "rediscovered" and verdict.match_set in known_ids
        if verdict.state != "new" and not is_known:
            continue
        name = formula(result.structure)
        label = verdict.smiles or " ".join(filter(None, (verdict.spacegroup, name)))
        found.append(
            FoundStructure(
                candidate_id=pick.id,
                state="rediscovered" if is_known else "new",
                known_id=verdict.match if is_known else None,
                formula=name,
                label=label,
                energy_per_atom_ev=result.energy_per_atom_ev if result.comparable else None,
            )
        )
        entries.append(
            StructureEntry(
                id=structure_id(result.structure),
                label=pick.id,
                formula=name,
                structure=result.structure,
                smiles=verdict.smiles,
                spacegroup=verdict.spacegroup,
                energy_ev=result.energy_ev if result.comparable else None,
            )
        )
    return entries, found


def _sightings(
    picks: SelectionDoc | None,
    verdicts: dict[str, Verdict],
    found: set[str],
    past: list[RoundDoc],
) -> dict[str, int]:
    """Return the sightings in this round of each structure found so far."""
    heads = found | {f.candidate_id for doc in past for f in doc.found}
    again = picks.found_again if picks is not None else {}
    counts = {name: n for name, n in again.items() if name in heads}
    for pick in picks.candidates if picks is not None else []:
        head, seen = pick.id, {pick.id}
        while head not in heads:
            verdict = verdicts.get(head)
            if verdict is None or verdict.state != "duplicate" or verdict.match in (None, *seen):
                break
            head = str(verdict.match)
            seen.add(head)
        if head in heads:
            counts[head] = counts.get(head, 0) + (pick.represents if pick.graph is not None else 1)
    return counts


def _with_estimates(document: RoundDoc, past: list[RoundDoc]) -> RoundDoc:
    counts = list(sightings([*past, document]).values())
    if not counts:
        return document
    return document.model_copy(update={"n_unseen": unseen(counts), "coverage": coverage(counts)})


def _problem(picks: SelectionDoc | None, judges: list[Any]) -> str:
    if picks is None:
        return "nothing was picked"
    return "not all levels were judged" if None in judges else ""
