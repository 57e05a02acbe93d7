"""The spec: what a campaign looks for and how, as one validated document.

A spec is YAML. Every key is known (``extra="forbid"``), every value is checked before
anything runs, and an error names the line, the key, the value and what is accepted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from logan_campaign.errors import InputError
from logan_campaign.gan import Hyperparameters
from logan_campaign.ids import content_id
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.relaxation.levels import LevelSpec, check_level
from logan_campaign.screening import ScreeningSpec
from logan_campaign.selection import SelectionSpec, steps_of
from logan_campaign.sources import SourceSpec
from logan_campaign.spec_yaml import apply_override, explain, load_yaml
from logan_campaign.stability import check_elements
from logan_campaign.structures import cell_problem, hill_formula
from logan_campaign.target import TargetGeometry, Vector, lattice_from


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TargetSpec(_Section):
    """What is generated."""

    formula: str = Field(description="Composition of one molecule or one cell, e.g. C5H12O, Si2O4")
    kind: Literal["molecule", "crystal"] = Field(description="molecule in a box, or crystal")
    box: Vector = Field((8.0, 7.0, 6.0), description="Edges of the box that holds a molecule (Å)")
    cell: tuple[Vector, Vector, Vector] | None = Field(
        None, description="Lattice vectors of a crystal, one per row (Å)"
    )
    cell_from: str | None = Field(
        None, description="File whose first structure gives the lattice vectors"
    )

    @field_validator("formula")
    @classmethod
    def _is_formula(cls, value: str) -> str:
        try:
            hill_formula(value)
        except InputError as err:
            raise ValueError(f"{err}; write it like C5H12O or Si2O4") from err
        return value

    @field_validator("box")
    @classmethod
    def _box_is_positive(cls, value: Vector) -> Vector:
        if min(value) <= 0:
            raise ValueError("edges must be positive lengths in Å")
        return value

    @model_validator(mode="after")
    def _cell_belongs_to_crystals(self) -> TargetSpec:
        given = (self.cell is not None) + (self.cell_from is not None)
        if self.kind == "crystal" and given != 1:
            raise ValueError(
                "a crystal needs either 'cell' (three rows, Å) or 'cell_from' (a file)"
            )
        if self.kind == "molecule" and given:
            raise ValueError("a molecule has a 'box', no 'cell'")
        return self

    @property
    def symbols(self) -> list[str]:
        """Element of every atom, by atomic number; the order the generator uses."""
        counts = Formula(self.formula).count()
        ordered = sorted(counts, key=lambda symbol: int(atomic_numbers[symbol]))
        return [symbol for symbol in ordered for _ in range(counts[symbol])]

    def resolve(self, base: Path) -> TargetGeometry:
        """Return the element of every atom and the cell (Å).

        Args:
            base: folder that a relative ``cell_from`` is meant from.

        Raises:
            InputError: the cell's file cannot be read, or the cell cannot hold the atoms.
        """
        if self.kind == "molecule":
            cell: Any = np.diag(self.box).tolist()
        elif self.cell is not None:
            cell = self.cell
        else:
            assert self.cell_from is not None  # by the validator above
            cell = lattice_from(base / Path(self.cell_from).expanduser())
        target = TargetGeometry(kind=self.kind, symbols=self.symbols, cell=cell)
        problem = cell_problem(target.numbers, cell, periodic=self.kind == "crystal")
        if problem:
            raise InputError(f"target: {problem}")
        return target


class TrainingSpec(_Section):
    """What the models learn from."""

    source: SourceSpec = Field(description="Where the training structures come from")


class ModelsSpec(_Section):
    """The ensemble."""

    count: int = Field(4, ge=1, le=1000, description="Number of members")
    hyperparameters: Hyperparameters = Field(
        default_factory=Hyperparameters, description="Settings shared by all members"
    )
    vary: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Hyperparameters that differ between members: name to list of values; "
        "members walk through all combinations in turn",
    )

    @model_validator(mode="after")
    def _every_variation_is_valid(self) -> ModelsSpec:
        for name, values in self.vary.items():
            if name not in Hyperparameters.model_fields:
                accepted = ", ".join(sorted(Hyperparameters.model_fields))
                raise ValueError(f"vary: {name!r} is no hyperparameter; accepted: {accepted}")
            if not values:
                raise ValueError(f"vary: {name} needs at least one value")
        for name, values in self.vary.items():
            for value in values:
                try:
                    Hyperparameters(**{name: value})
                except ValidationError as err:
                    what = err.errors(include_url=False)[0]["msg"]
                    raise ValueError(f"vary: {name}: {what} (got {value!r})") from err
        self.members()  # what holds between hyperparameters
        return self

    def combinations(self) -> Iterator[Hyperparameters]:
        """Yield the hyperparameters of one pass through all combinations."""
        for values in itertools.product(*self.vary.values()):
            changed = dict(zip(self.vary, values, strict=True))
            yield Hyperparameters(**{**self.hyperparameters.model_dump(), **changed})

    def members(self) -> list[Hyperparameters]:
        """Return the hyperparameters of each member."""
        return list(itertools.islice(itertools.cycle(self.combinations()), self.count))


class GenerateSpec(_Section):
    """How many structures each model generates."""

    per_model: int = Field(2000, ge=1, le=1_000_000, description="Structures per model")


class HullSpec(_Section):
    """What the hull of a level is made of besides the candidates."""

    elements: bool = Field(
        True, description="Relax the elements too; without them there is no hull"
    )
    competing: list[SourceSpec] = Field(
        default_factory=list,
        description="Sources of competing phases: whatever holds no other elements than the "
        "target is relaxed at the last level",
    )


class RelaxSpec(_Section):
    """Relaxation in levels, cheap ones first."""

    levels: list[LevelSpec] = Field(
        min_length=1, description="Levels in the order in which they run"
    )
    reference: bool = Field(
        False,
        description="Relax the known entries of the target composition (without 'known': the "
        "training structures) at the last level too, so that energies compare at equal settings",
    )

    hull: HullSpec | None = Field(
        None,
        description="Energy above the hull of everything computed at the last level; crystals",
    )
    substitutes: int = Field(
        1,
        ge=0,
        le=20,
        description="Of candidates that were merged as equal one is relaxed; where it fails, so "
        "many others of its group are tried in its place, lowest energy first",
    )

    @field_validator("levels")
    @classmethod
    def _names_differ(cls, levels: list[Any]) -> list[Any]:
        names = [level.name for level in levels]
        if len(set(names)) < len(names):
            raise ValueError(f"every level needs a name of its own, got {', '.join(names)}")
        return levels


class CampaignSpec(_Section):
    """A whole campaign."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the campaign; letters, digits, '.', '_' and '-'",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed that every random choice follows from")
    target: TargetSpec = Field(description="What is generated")
    training: TrainingSpec = Field(description="What the models learn from")
    known: list[SourceSpec] = Field(
        default_factory=list,
        description="Further known structures: compared against, never trained on",
    )
    models: ModelsSpec = Field(default_factory=ModelsSpec, description="The ensemble")
    generate: GenerateSpec = Field(default_factory=GenerateSpec, description="Generation")
    select: SelectionSpec = Field(
        description="How candidates are picked: a strategy, or a list of them, each of which "
        "picks from the picks of the one before"
    )
    screen: ScreeningSpec = Field(
        default_factory=ScreeningSpec, description="What counts as implausible"
    )
    match: MatchingSpec = Field(
        default_factory=MatchingSpec, description="What counts as the same structure"
    )
    relax: RelaxSpec = Field(description="Relaxation in levels")

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> CampaignSpec:
        """Read and validate a spec.

        Args:
            path: YAML file.
            overrides: assignments ``a.b=VALUE``, applied before validation.

        Raises:
            InputError: one line per mistake, naming file and line, key and value.
        """
        path = Path(path)
        data, lines = load_yaml(path)
        overridden = {apply_override(data, text) for text in overrides}
        lines = {k: v for k, v in lines.items() if not any(k[: len(o)] == o for o in overridden)}
        try:
            return cls.model_validate(data)
        except ValidationError as err:
            raise InputError(explain(err, str(path), lines, data, _all_keys())) from err

    @property
    def id(self) -> str:
        """Content id of everything that the spec says ('spec-…')."""
        return content_id("spec", self.model_dump(mode="json"))

    def check(self, base: Path) -> TargetGeometry:
        """Check what needs more than the text: files, cells, calculators, data sets.

        Args:
            base: folder that relative paths in the spec are meant from.

        Returns:
            The resolved target.

        Raises:
            InputError: with one line that says what is missing and how to get it.
        """
        target = self.target.resolve(base)
        species = sorted(set(target.symbols))
        for level in self.relax.levels:
            check_level(level, species, target.kind)
        for step in steps_of(self.select):
            step.check(species, target.kind)
        self.screen.check(target.kind)
        if self.relax.hull is not None:
            if target.kind != "crystal":
                raise InputError("relax.hull: molecules have no hull; remove it")
            if self.relax.hull.elements:
                check_elements(self.relax.levels[-1], species)
        return target

    @property
    def hill_formula(self) -> str:
        """Hill formula of the target."""
        return hill_formula(self.target.formula)


def _all_keys() -> set[str]:
    """Every key that any section knows, for 'did you mean'."""
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
