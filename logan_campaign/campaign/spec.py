"""The spec: targets and methods of a campaign as one validated document.

A spec is YAML. Every key is known (``extra="forbid"``), every value is checked before
anything runs, and an error names the line, the key, the value and what is accepted.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from logan_campaign.campaign.allocation import MostNew, Policy, RoundRobin, WhereHullCanFall
from logan_campaign.campaign.notices import NotifySpec
from logan_campaign.campaign.placement import Placements
from logan_campaign.campaign.rounds import RoundsSpec
from logan_campaign.campaign.spec_yaml import apply_override, check_filled_in, explain, load_yaml
from logan_campaign.campaign.stability import check_elements
from logan_campaign.campaign.system import SystemSpec
from logan_campaign.campaign.target import Section, TargetGeometry, TargetSpec
from logan_campaign.core.errors import InputError, plain
from logan_campaign.core.ids import CAMPAIGN_NAME, content_id
from logan_campaign.generators.models import METHODS, Method, Settings
from logan_campaign.geometry.formulas import hill_formula
from logan_campaign.geometry.lewis import why_no_molecule
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.relaxation.base import LevelSpec
from logan_campaign.selection import SelectionSpec, steps_of
from logan_campaign.selection.screening import ScreeningSpec
from logan_campaign.sources import SourceSpec


class TrainingSpec(Section):
    """The training set."""

    source: SourceSpec = Field(description="Source of the training structures")


class ModelsSpec(Section):
    """The ensemble of models."""

    count: int = Field(
        4, ge=0, le=1000, description="Number of members; 0: only 'generate.external'"
    )
    hyperparameters: Settings = Field(
        default_factory=lambda: METHODS.parse({}),
        description="Settings shared by all members; without 'method', one that only networks "
        "have, such as 'steps', selects 'wgan'",
    )
    vary: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Hyperparameters that differ between members: name to list of values; "
        "members walk through all combinations in turn",
    )

    @model_validator(mode="after")
    def _every_variation_is_valid(self) -> ModelsSpec:
        kind = type(self.hyperparameters)
        for name, values in self.vary.items():
            if name not in kind.model_fields or name == "method":
                accepted = ", ".join(sorted(set(kind.model_fields) - {"method"}))
                raise ValueError(
                    f"vary: {name!r} is not a hyperparameter of method "
                    f"{self.hyperparameters.method!r}; accepted: {accepted}"
                )
            if not values:
                raise ValueError(f"vary: {name} needs at least one value")
        for name, values in self.vary.items():
            for value in values:
                try:
                    kind(**{name: value})
                except ValidationError as err:
                    what = plain(err.errors(include_url=False)[0]["msg"])
                    raise ValueError(f"vary: {name}: {what} (got {value!r})") from err
        self.members()  # validates combinations of hyperparameters
        return self

    def combinations(self) -> Iterator[Method]:
        """Yield the hyperparameters of one pass through all combinations."""
        kind = type(self.hyperparameters)
        for values in itertools.product(*self.vary.values()):
            changed = dict(zip(self.vary, values, strict=True))
            yield kind(**{**self.hyperparameters.model_dump(), **changed})

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return self.count > 0 and self.hyperparameters.needs_training

    def members(self) -> list[Method]:
        """Return the hyperparameters of each member."""
        return list(itertools.islice(itertools.cycle(self.combinations()), self.count))


class ExternalSpec(Section):
    """Candidates of another generator."""

    source: SourceSpec = Field(
        description="Source of the structures; those of the targets' compositions enter selection"
    )
    generator: str = Field(
        min_length=1, max_length=80, description="Name of their generator, for lineage"
    )


class GenerateSpec(Section):
    """Generation of structures."""

    per_model: int = Field(2000, ge=1, le=1_000_000, description="Structures per model")
    external: list[ExternalSpec] = Field(
        default_factory=list,
        exclude_if=lambda value: not value,
        description="Candidates of other generators, which enter selection with generated ones",
    )


class PublishedHullSpec(Section):
    """Hull of published energies, beside the campaign's own and never mixed with it."""

    source: SourceSpec = Field(
        description="Source of entries with energies, such as {type: mp, chemical_systems: "
        "[Mg-O, Mg, O]}, whose energies include its corrections"
    )
    comparable: bool = Field(
        False,
        description="Whether the last level's energies compare with those of the source: same "
        "functional, settings and data sets. Only then candidates are placed on that hull",
    )
    corrections: Literal["none", "MP2020"] = Field(
        "none",
        description="Corrections to candidates' energies before they are compared; MP2020: those "
        "of the Materials Project for GGA, by pymatgen",
    )


class HullSpec(Section):
    """Phases of the convex hull besides the candidates."""

    elements: bool = Field(True, description="Relax the elements too; the hull needs them")
    competing: list[SourceSpec] = Field(
        default_factory=list,
        description="Sources of competing phases; entries with only elements of the target are "
        "relaxed at the last level",
    )
    published: PublishedHullSpec | None = Field(
        None, description="Another hull, of published energies, shown beside it"
    )
    window_ev_per_atom: float = Field(
        0.0, ge=0, description="Energy above the hull up to which a structure counts as stable"
    )


class TurnsSpec(Section):
    """Relax at the last level in the order of selection until enough is found."""

    until_found: int = Field(
        1,
        ge=1,
        description="Number of known entries to find before stopping; remaining candidates stay "
        "'selected'",
    )
    at_a_time: int = Field(1, ge=1, description="Candidates per turn")


class RelaxSpec(Section):
    """Relaxation in levels, cheapest first."""

    pressure_gpa: float = Field(
        0.0,
        ge=-1000,
        le=1000,
        exclude_if=lambda value: not value,
        description="Pressure (GPa) on crystals at all levels: the cell relaxes under it, and "
        "enthalpies rank and judge",
    )
    levels: list[LevelSpec] = Field(
        description="Levels in order; without any ([]) the campaign ends with selection"
    )
    turns: TurnsSpec | None = Field(
        None,
        description="Relax in turns at the last level until enough known entries are found; all at "
        "once if null",
    )
    reference: bool = Field(
        False,
        description="Also relax the known entries of the target composition (without 'known': the "
        "training structures) at the last level, to compare energies at equal settings",
    )

    hull: HullSpec | None = Field(
        None,
        description="Energy above the convex hull of all phases at the last level (crystals)",
    )
    substitutes: int = Field(
        1,
        ge=0,
        le=20,
        description="Number of duplicates to try, lowest energy first, if the relaxation of the "
        "candidate that represents them fails",
    )

    @field_validator("levels")
    @classmethod
    def _names_differ(cls, levels: list[Any]) -> list[Any]:
        names = [level.name for level in levels]
        if len(set(names)) < len(names):
            raise ValueError(f"every level needs a unique name, got {', '.join(names)}")
        return levels

    @field_validator("levels")
    @classmethod
    def _one_pressure(cls, levels: list[Any], info: ValidationInfo) -> list[Any]:
        pressure = info.data.get("pressure_gpa", 0.0)
        if {level.pressure_gpa for level in levels} - {0.0, pressure}:
            raise ValueError("all levels have the same pressure: set relax.pressure_gpa instead")
        if pressure and not (levels and levels[-1].relax_cell):
            raise ValueError("under pressure_gpa the last level must relax the cell: relax_cell")
        return [level.model_copy(update={"pressure_gpa": pressure}) for level in levels]

    @model_validator(mode="after")
    def _what_needs_a_level(self) -> RelaxSpec:
        needs = {"reference": self.reference, "hull": self.hull, "turns": self.turns}
        for name, value in needs.items():
            if value and not self.levels:
                raise ValueError(f"{name} needs a level of relaxation: add one to 'levels'")
        return self


def _is_system(value: Any) -> str:
    given = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "SystemSpec" if given.keys() & {"chemical_system", "formulas"} else "TargetSpec"


class CampaignSpec(Section):
    """A campaign."""

    name: str = Field(
        pattern=CAMPAIGN_NAME,
        description="Name of the campaign; letters, digits, '.', '_' and '-'",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of all random choices")
    target: Annotated[
        Annotated[TargetSpec, Tag("TargetSpec")] | Annotated[SystemSpec, Tag("SystemSpec")],
        Discriminator(_is_system),
    ] = Field(description="Composition and cell, or several of them")
    training: TrainingSpec | None = Field(
        None, description="Training set; null for the method 'random', which needs none"
    )
    known: list[SourceSpec] = Field(
        default_factory=list,
        description="Further known structures for comparison only, never trained on",
    )
    models: ModelsSpec = Field(default_factory=ModelsSpec, description="Ensemble of models")
    generate: GenerateSpec = Field(default_factory=GenerateSpec, description="Generation")
    select: SelectionSpec = Field(
        description="Selection strategy, or a list of strategies, each picking from the picks of "
        "the previous one"
    )
    screen: ScreeningSpec = Field(
        default_factory=ScreeningSpec, description="Limits of plausible geometry"
    )
    match: MatchingSpec = Field(
        default_factory=MatchingSpec, description="When structures are equal"
    )
    relax: RelaxSpec = Field(description="Relaxation in levels")
    rounds: RoundsSpec | None = Field(
        None, description="Repeat the campaign and learn from its results; null: a single round"
    )
    notify: NotifySpec | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Tell a person of new structures, of the end, and of what needs a person; "
        "campaigns of rounds",
    )
    workers: Placements = Field(
        default_factory=dict,
        exclude=True,  # the machines are not part of a campaign's identity
        description="Placement of the stages of a submitted campaign: the name of a worker, or "
        "worker, resources, exec_config and time_limit_s; stages are default, pull, train, "
        "generate, select, match, relax and relax.LEVEL",
    )

    @field_validator("training", "known")
    @classmethod
    def _sources_know_the_target(cls, value: Any, info: ValidationInfo) -> Any:
        if "target" not in info.data:
            return value  # it is invalid itself
        formula = info.data["target"].formula
        if isinstance(value, list):
            return [source.for_target(formula) for source in value]
        if value is None:
            return None
        return TrainingSpec(source=value.source.for_target(formula))

    @field_validator("generate")
    @classmethod
    def _external_ones_know_the_target(
        cls, value: GenerateSpec, info: ValidationInfo
    ) -> GenerateSpec:
        if "target" not in info.data or not value.external:
            return value
        formula = info.data["target"].formula
        known = [
            each.model_copy(update={"source": each.source.for_target(formula)})
            for each in value.external
        ]
        return value.model_copy(update={"external": known})

    @field_validator("relax")
    @classmethod
    def _systems_have_a_hull(cls, relax: RelaxSpec, info: ValidationInfo) -> RelaxSpec:
        target = info.data.get("target")
        is_system = isinstance(target, SystemSpec) and target.kind == "crystal"
        if is_system and relax.levels and relax.hull is None:
            return relax.model_copy(update={"hull": HullSpec()})
        return relax

    @model_validator(mode="after")
    def _rounds_relax(self) -> CampaignSpec:
        if self.rounds is not None and not self.relax.levels:
            raise ValueError("rounds need relaxed structures: add a level to 'relax.levels'")
        if self.relax.turns is not None and not self.known:
            raise ValueError("relax.turns: there is nothing to find: add a source to 'known'")
        if self.rounds is not None and self.rounds.refresh and not (self.training or self.known):
            raise ValueError("rounds.refresh: there is neither a training set nor a known set")
        if self.notify is not None and self.rounds is None:
            raise ValueError("notify: a round tells what it brought: add a section 'rounds'")
        if isinstance(self.target, SystemSpec):
            if self.rounds is None:
                raise ValueError("target: several compositions take rounds: add a section 'rounds'")
            if self.rounds.targets:
                raise ValueError("rounds.targets: the target has several compositions itself")
        return self

    @model_validator(mode="after")
    def _what_is_learned(self) -> CampaignSpec:
        if not self.models.count and not self.generate.external:
            raise ValueError("models: without members, 'generate.external' must bring candidates")
        if self.training is not None:
            return self
        if self.models.trains:
            raise ValueError(
                f"training: the method {self.models.hyperparameters.method!r} learns from a "
                "training set: give one, or set 'models: {hyperparameters: {method: random}}'"
            )
        if self.target.symmetry is not None and self.target.symmetry.groups == "training":
            raise ValueError("target.symmetry: 'training' needs a training set; name groups")
        if self.relax.reference and not self.known:
            raise ValueError("relax.reference: there are no known entries: add a source to 'known'")
        return self

    @model_validator(mode="after")
    def _workers_name_levels(self) -> CampaignSpec:
        levels = [level.name for level in self.relax.levels]
        for key in self.workers:
            level = key.partition(".")[2]
            if level and level not in levels:
                raise ValueError(
                    f"workers: {key}: no level {level!r}; there are {', '.join(levels)}"
                )
        return self

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of a spec, for editors.

        A section that omits its discriminating key may fit several kinds, so the schema uses anyOf
        throughout and never oneOf.
        """
        text = json.dumps(cls.model_json_schema())
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **json.loads(text.replace('"oneOf":', '"anyOf":')),
        }

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> CampaignSpec:
        """Read and validate a spec.

        Args:
            path: YAML file.
            overrides: assignments ``a.b=VALUE``, applied before validation.

        Raises:
            InputError: one line per mistake, with file, line, key and value.
        """
        path = Path(path)
        data, lines = load_yaml(path)
        overridden = {apply_override(data, text) for text in overrides}
        lines = {k: v for k, v in lines.items() if not any(k[: len(o)] == o for o in overridden)}
        check_filled_in(data, str(path), lines)
        try:
            return cls.model_validate(data)
        except ValidationError as err:
            raise InputError(explain(err, str(path), lines, data, _all_keys())) from err

    @property
    def id(self) -> str:
        """Content id of all settings that affect results ('spec-…').

        Stop rules are excluded: a campaign that runs longer is the same campaign.
        """
        return content_id("spec", self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that affect results, as JSON."""
        said = self.model_dump(mode="json")
        models = self.models
        said["models"]["hyperparameters"] = models.hyperparameters.identity(models.vary)
        del said["match"]["other_campaigns"]  # their results are not part of a spec either
        said.pop("notify", None)
        if self.rounds is not None:
            del said["rounds"]["stop"]
        return said

    def check(self, base: Path) -> TargetGeometry:
        """Check files, cells, calculators and data sets that the spec refers to.

        Args:
            base: folder of relative paths in the spec.

        Returns:
            The resolved target.

        Raises:
            InputError: one line that says what is missing and how to get it.
        """
        target = self.target.resolve(base)
        others = [] if isinstance(self.target, SystemSpec) else self.targets[1:]
        if isinstance(self.target, SystemSpec):
            for cell in self.targets:
                cell.resolve(base)
        else:
            _check_recognisable("target", target)
        for other in others:
            further = other.resolve(base)
            self._check_other(target, further)
            _check_recognisable("rounds.targets", further)
        species = sorted(set(target.symbols))
        for level in self.relax.levels:
            level.check(species, target.kind)
        for settings in self.models.combinations():
            settings.check(species, target.kind == "crystal")
        for step in steps_of(self.select):
            step.check(species, target.kind)
            step.check_learning(self.training is not None, self.models.trains)
            if step.needs_models and self.generate.external:
                raise InputError(
                    f"select: '{step.strategy}' scores structures by the model that made them, "
                    "which those of generate.external lack; use 'diverse'"
                )
            if target.is_open_shell and step.strategy == "graph":
                raise InputError(
                    "select: 'graph' needs molecular graphs, which clusters, radicals and ions "
                    "have not; use 'diverse' or 'kmeans'"
                )
        self.screen.check(target.kind)
        if self.training is None and "training" in (
            self.screen.coordination,
            self.screen.volume_per_atom,
        ):
            raise InputError("screen: 'training' needs a training set, which the spec lacks")
        if target.is_open_shell and self.screen.valence:
            raise InputError(
                "screen: 'valence' is for neutral closed-shell molecules; leave it out"
            )
        if target.given:
            self._check_given(target)
        last = self.relax.levels[-1] if self.relax.levels else None
        for each in (self.target, *others):
            if each.lattice != "fixed" and last is not None:
                last.check_varied_cell(each.lattice)
        if self.relax.hull is not None:
            if target.kind != "crystal":
                raise InputError("relax.hull: molecules have no hull; remove it")
            published = self.relax.hull.published
            if published is not None and published.comparable and self.relax.pressure_gpa:
                raise InputError("relax.hull.published: no published energies are under pressure")
            if self.relax.hull.elements:
                check_elements(self.relax.levels[-1], species)
        return target

    def _check_given(self, target: TargetGeometry) -> None:
        """Refuse settings that would move given atoms, and structures without them."""
        if self.generate.external:
            raise InputError("generate.external: structures of others lack what is 'fixed'")
        for level in self.relax.levels:
            if level.relax_cell:
                level.refuse("relax_cell would move the atoms of target.fixed; leave it out")
        for step in steps_of(self.select):
            if getattr(step, "symmetrize", None):
                raise InputError("select: 'symmetrize' would move the atoms of target.fixed")
        for settings in self.models.combinations():
            if settings.method != "descent" or getattr(settings, "exchange", None):
                raise InputError(
                    "models.hyperparameters: target.fixed needs method 'descent' without 'exchange'"
                )

    def sought(self, base: Path) -> list[str]:
        """Return the Hill formulas of the targets, given atoms included, each once.

        Args:
            base: folder of relative paths in the spec.
        """
        found = [each.resolve(base).hill_formula for each in self.targets]
        return list(dict.fromkeys(found))

    @property
    def policy(self) -> Policy:
        """Which target a round gets."""
        if self.rounds is not None and self.rounds.policy is not None:
            return self.rounds.policy
        if not isinstance(self.target, SystemSpec):
            return RoundRobin()
        return WhereHullCanFall() if self.target.kind == "crystal" else MostNew()

    @property
    def targets(self) -> list[TargetSpec]:
        """All targets: the compositions of a system, or 'target' and those of 'rounds'.

        Raises:
            InputError: a system has no composition, or too many.
        """
        if isinstance(self.target, SystemSpec):
            return [self.target.of(wanted.formula) for wanted in self.target.wanted()]
        return [self.target, *(self.rounds.targets if self.rounds is not None else [])]

    @staticmethod
    def _check_other(target: TargetGeometry, other: TargetGeometry) -> None:
        if other.kind != target.kind:
            raise InputError(
                f"rounds.targets: {other.hill_formula} is a {other.kind}, the first target a "
                f"{target.kind}; one campaign looks for one kind"
            )
        foreign = sorted(set(other.symbols) - set(target.symbols))
        if foreign:
            raise InputError(
                f"rounds.targets: {other.hill_formula} has {', '.join(foreign)}, which the first "
                f"target {target.hill_formula} lacks; put the one with most elements first"
            )

    @property
    def hill_formula(self) -> str:
        """Hill formula of the target; of a system, of one atom of each element."""
        return hill_formula(self.target.formula)


def _check_recognisable(where: str, target: TargetGeometry) -> None:
    """Refuse molecules whose candidates would all be classified as 'dissociated'."""
    if target.kind == "crystal" or target.is_open_shell:
        return
    reason = why_no_molecule(target.hill_formula)
    if reason is not None:
        raise InputError(
            f"{where}: {target.hill_formula} {reason}, so no candidate could count as found: only "
            "neutral closed-shell molecules are recognised; give a radical or ion its "
            "'multiplicity' or 'charge', or set 'kind: cluster'"
        )


def _all_keys() -> set[str]:
    """All keys of all sections, for 'did you mean'."""
    keys: set[str] = set()

    def collect(schema: Any) -> None:
        if isinstance(schema, dict):
            keys.update(schema.get("properties", {}))
            for value in schema.values():
                collect(value)
        elif isinstance(schema, list):
            for value in schema:
                collect(value)

    collect(CampaignSpec.model_json_schema())
    return keys
