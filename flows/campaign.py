"""The whole campaign as one jobflow Flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from jobflow import Flow, Job, Maker, OutputReference, job

from logan_campaign.campaign.allocation import Progress, choose
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.system import SystemSpec
from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.documents import (
    CampaignDoc,
    ControlDoc,
    ReferenceEnergy,
    StructureEntry,
)
from logan_campaign.core.errors import InputError
from logan_campaign.core.ids import content_id, control_uuid
from logan_campaign.flows.data import LeakageMaker, TrainingSetMaker, now
from logan_campaign.flows.known import KnownEntriesMaker, pack_entries
from logan_campaign.flows.links import RoundLinks
from logan_campaign.flows.reference import ElementMaker, PublishedHullMaker, ReferenceMaker
from logan_campaign.flows.relax import maker_for
from logan_campaign.flows.rounds import RoundMaker
from logan_campaign.flows.stages import stage
from logan_campaign.geometry.formulas import hill_formula
from logan_campaign.sources import Preview, Source, set_id


@dataclass
class CampaignMaker(Maker):
    """Makes the flow of a campaign, from sources of structures to classified candidates.

    The flow is a plain jobflow Flow: ``jobflow.run_locally``, jobflow-remote's
    ``submit_flow`` and ``logan-campaign run`` all take it unchanged. Its JobStore needs an
    additional store named ``data``.

    Attributes:
        name: Name of the flow.
        spec: The campaign's spec.
        base: Folder of relative paths in the spec.
        known_entries: Entries of the target's composition in the index ``match.index`` of the
            spec, read by ``logan_campaign.stores.known.entries_for``; None without an index.
        others: Structures found by other campaigns, read by ``logan_campaign.stores.found``. They
            do not affect the campaign's id.
        relaxed: Energies of elements and competing phases that the store holds already, read by
            ``logan_campaign.stores.found``; they are not computed again.
    """

    name: str = "campaign"
    spec: CampaignSpec = field(kw_only=True)
    base: str = "."
    known_entries: list[StructureEntry] | None = None
    others: list[StructureEntry] = field(default_factory=list)
    relaxed: list[ReferenceEnergy] = field(default_factory=list)

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a spec.

        Args:
            path: YAML file; relative paths in it start from its folder.
            overrides: assignments ``a.b=VALUE``.

        Raises:
            InputError: one line per mistake in the spec.
        """
        spec = CampaignSpec.from_file(path, overrides)
        return cls(name=spec.name, spec=spec, base=str(Path(path).absolute().parent))

    @cached_property
    def campaign_id(self) -> str:
        """Content id of the spec and of all files that it names ('camp-…').

        The id depends on the contents of files, not on their names; not on those of training and
        known sets that ``rounds.refresh`` pulls anew.

        Raises:
            InputError: as :meth:`check_sources`.
        """
        target = self.spec.target.resolve(Path(self.base))
        found = [held.content for held in self.check_sources()]
        if self.spec.rounds is not None and self.spec.rounds.refresh is not None:
            # the campaign goes on when these sources change; they come last
            n_pulled = len(self.spec.known) + (self.spec.training is not None)
            found = found[: len(found) - n_pulled]
        content: dict[str, Any] = {"spec": self.spec.id, "cell": target.cell, "files": found}
        if target.given:
            content["given"] = [target.symbols, target.given]
        others = [
            other.cell
            for other in self.targets(target)[1:]
            if isinstance(other, TargetGeometry)  # those of a system are in the spec
        ]
        if others:
            content["cells"] = others
        if self.known_entries is not None:
            content["index"] = set_id(self.known_entries)
        return content_id("camp", content)

    def check_sources(self) -> list[Preview]:
        """Read the local sources, to find mistakes before anything runs.

        Returns:
            Contents of the known sets and, last, of the training set, if there is one.

        Raises:
            InputError: a file is missing, unreadable or has no usable entry, a SMILES is
                invalid, the kinds of a source and the target differ, or the training
                structures do not cover the target's species.
        """
        kind = self.spec.target.structure_kind
        hull = self.spec.relax.hull
        competing = list(hull.competing) if hull is not None else []
        previews = []
        external = [brought.source for brought in self.spec.generate.external]
        training = [] if self.spec.training is None else [self.spec.training.source]
        for source in [*competing, *external, *self.spec.known, *training]:
            found = source.preview(Path(self.base))
            # clusters may be learned from the bulk
            bulk = source in training and self.spec.target.kind == "cluster"
            if found.kind != kind and not bulk:
                may_be_set = "kind" in type(source).model_fields
                raise InputError(
                    f"{source.title} contains {found.kind}s, but the target is a {kind}"
                    + (f": set 'kind: {kind}' to read it as such" if may_be_set else "")
                )
            previews.append(found)
        covered = previews[-1].species if self.spec.models.trains else None
        # None: nothing is learned, or unknown before the pull (training fails without a species)
        if covered is None:
            return previews
        missing = sorted(set(self.spec.target.resolve(Path(self.base)).symbols) - covered)
        if missing:
            raise InputError(
                f"the training set has no {', '.join(missing)}, which {self.spec.target.formula} "
                f"needs (it has {', '.join(sorted(covered))}): add structures with"
            )
        return previews

    def targets(self, first: TargetGeometry) -> list[TargetGeometry | str]:
        """Return the targets of rounds: the spec's target, then those of its section 'rounds'.

        Of a system, the Hill formulas of its cells.
        """
        targets = self.spec.targets
        if isinstance(self.spec.target, SystemSpec):
            return [hill_formula(target.formula) for target in targets]
        return [first, *(other.resolve(Path(self.base)) for other in targets[1:])]

    def make(self) -> Flow:
        """Return the flow.

        Raises:
            InputError: a file, cell, calculator or data set of the spec is unusable.
        """
        spec = self.spec
        if spec.match.index is not None and self.known_entries is None:
            raise InputError(
                f"the entries of match.index {spec.match.index!r} were not looked up: "
                "use 'logan-campaign run', or give known_entries"
            )
        target = spec.check(Path(self.base))
        campaign_id = self.campaign_id
        system = spec.target if isinstance(spec.target, SystemSpec) else None
        formula = target.hill_formula if system is None else system.name
        describe = describe_campaign(_campaign_document(spec, campaign_id, formula))

        training = [
            TrainingSetMaker(source=section.source, base=self.base).make()
            for section in ([] if spec.training is None else [spec.training])
        ]
        known = [
            TrainingSetMaker("known set", source=source, role="known", base=self.base).make()
            for source in spec.known
        ]
        compared = list(known)
        if spec.match.index is not None and self.known_entries is not None:
            packed = pack_entries(self.known_entries)
            compared.append(KnownEntriesMaker(index=spec.match.index).make(packed))

        if self.others:
            packed = pack_entries(self.others)
            compared.append(KnownEntriesMaker("others' results", index="").make(packed))

        brought = [
            TrainingSetMaker(each.generator, each.source, "external", self.base).make()
            for each in spec.generate.external
        ]
        links = RoundLinks(
            training=training[0].uuid if training else "",
            known=[s.uuid for s in compared],
            external=[s.uuid for s in brought],
        )
        jobs: list[Job | Flow] = [describe, *training, *compared, *brought]
        if spec.rounds is not None:
            rules = spec.rounds.stop.model_dump(mode="json")
            control = describe_campaign(
                ControlDoc(campaign_id=campaign_id, spec_stop=rules, stop=rules)
            )
            # stored in the flow, so that rules can be changed before this job has run
            control.set_uuid(control_uuid(campaign_id))
            control.name = "control"
            links.control = control.uuid
            jobs.append(control)
        phases, others = self._phases(describe.output.id)
        jobs += [*phases, *others]
        maker = RoundMaker(
            spec=spec, campaign_id=campaign_id, targets=self.targets(target), base=self.base
        )
        chosen = [0]
        if system is not None:
            assert spec.rounds is not None  # by the spec's validator
            links.phases = [job.uuid for job in phases]
            chosen = choose(Progress(maker.formulas), spec.policy, spec.rounds.batch)
        learned_from = training[0].output if training else None
        relaxed = maker.make(learned_from, [s.output for s in compared], links, chosen=chosen)
        jobs.append(relaxed)
        if known and training:
            jobs.append(
                LeakageMaker(matching=spec.match).make(
                    [s.output for s in training], [s.output for s in known], describe.output.id
                )
            )
        for place in chosen if spec.relax.reference else ():
            jobs.append(
                ReferenceMaker(
                    maker=maker_for(spec.relax.levels[-1]), formula=maker.formulas[place]
                ).make([s.output for s in known or training], describe.output.id)
            )
        flow = Flow(jobs, output=relaxed.output, name=self.name)
        flow.update_metadata({"campaign_id": campaign_id, "campaign": spec.name})
        return flow

    def _phases(self, campaign_id: OutputReference) -> tuple[list[Job], list[Job]]:
        """Return the jobs that relax elements and competing phases, and others of the hull."""
        hull = self.spec.relax.hull
        if hull is None:
            return [], []
        last_level = maker_for(self.spec.relax.levels[-1])
        species = sorted(set(self.spec.target.symbols))
        phases: list[Job] = []
        others: list[Job] = []

        def pulled(name: str, source: Source) -> OutputReference:
            pull = TrainingSetMaker(name, source=source, role="known", base=self.base).make()
            others.append(pull)
            return pull.output

        if hull.competing:
            competing = [pulled("competing", source) for source in hull.competing]
            maker = ReferenceMaker(
                "competing phases", last_level, species=species, done=self.relaxed
            )
            phases.append(maker.make([], campaign_id, competing))
        if hull.published is not None:
            published = pulled("published", hull.published.source)
            others.append(PublishedHullMaker(species=species).make(published, campaign_id))
        if hull.elements:
            phases += [
                ElementMaker(f"element {symbol}", last_level, symbol, self.relaxed).make(
                    campaign_id
                )
                for symbol in species
            ]
        return phases, others


@job(metadata=stage("default", "describe"))
def describe_campaign(document: CampaignDoc | ControlDoc) -> CampaignDoc | ControlDoc:
    """Store a document about the campaign in the JobStore."""
    if isinstance(document, ControlDoc):
        return document.model_copy(update={"started_at": now()})
    return document


def _campaign_document(spec: CampaignSpec, campaign_id: str, formula: str) -> CampaignDoc:
    return CampaignDoc(
        id=campaign_id,
        name=spec.name,
        formula=formula,
        kind=spec.target.structure_kind,
        spec=spec.model_dump(mode="json"),
        spec_id=spec.id,
        seed=spec.seed,
        levels=[level.name for level in spec.relax.levels],
    )
