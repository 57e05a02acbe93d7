"""Placement of a campaign's jobs: workers and resources per stage.

The section ``workers`` of a spec does not enter the campaign's id, so that a campaign can move
to other machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    model_validator,
)
from pydantic import ValidationError as PydanticError
from typing_extensions import TypeAliasType

from logan_campaign.core.errors import InputError, plain
from logan_campaign.core.settings import SpecModel

#: Stages of a campaign. ``pull`` reads sets of structures (compute nodes often have no
#: network); ``match`` screens, compares and classifies; ``default`` describes the campaign and
#: adds levels, substitutes and rounds, and applies to all stages that a spec does not name.
Stage = Literal["default", "pull", "train", "generate", "select", "match", "relax"]

STAGES: tuple[str, ...] = get_args(Stage)


class Placement(SpecModel):
    """Placement of the jobs of one stage."""

    model_config = ConfigDict(frozen=True)

    worker: str | None = Field(None, min_length=1, description="Name of a worker of the project")
    resources: dict[str, JsonValue] | None = Field(
        None, description="Resources for the scheduler, as named in its template"
    )
    exec_config: str | dict[str, JsonValue] | None = Field(
        None, description="Name of an exec_config of the project, or one (modules, export, …)"
    )
    time_limit_s: float | None = Field(
        None,
        gt=0,
        description="Wall time after which a job is killed and run once more (s); needs the "
        "execution_cmd that 'remote init' writes",
    )

    @model_validator(mode="after")
    def _limit_can_be_passed_on(self) -> Placement:
        if self.time_limit_s is not None and isinstance(self.exec_config, str):
            raise ValueError(
                "time_limit_s needs an exec_config written out here, not the name of one"
            )
        return self


def _from_name(value: Any) -> Any:
    return {"worker": value} if isinstance(value, str) else value


def _check_stages(value: Any) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if stage_of_key(str(key)) not in STAGES:
                raise ValueError(
                    f"no stage {key!r}; there are {', '.join(STAGES)}, and relax.LEVEL"
                )
    return value


def stage_of_key(key: str) -> str:
    """Return the stage of a key: ``relax.xtb`` is the level 'xtb' of ``relax``."""
    stage, dot, level = key.partition(".")
    return key if dot and (stage != "relax" or not level) else stage


#: Placement by stage or ``relax.LEVEL``; a plain name is that of the worker.
Placements = TypeAliasType(
    "Placements",
    Annotated[
        dict[str, Annotated[Placement, BeforeValidator(_from_name)]],
        BeforeValidator(_check_stages),
    ],
)

_ADAPTER: TypeAdapter[dict[str, Placement]] = TypeAdapter(Placements)


def with_overrides(
    placements: Mapping[str, Placement], worker: str | None, assignments: Sequence[str]
) -> dict[str, Placement]:
    """Return placements, overridden by those of the command line.

    Args:
        placements: of the spec.
        worker: default worker, or None.
        assignments: ``STAGE=WORKER``.

    Raises:
        InputError: an assignment is malformed, or names an unknown stage.
    """
    changed: dict[str, Any] = dict(placements)
    if worker is not None:
        changed["default"] = _moved(changed.get("default"), worker)
    for text in assignments:
        stage, equals, name = (part.strip() for part in text.partition("="))
        if not (stage and equals and name):
            raise InputError(f"--place {text!r}: write STAGE=WORKER, e.g. train=gpu")
        changed[stage] = _moved(changed.get(stage), name)
    try:
        return _ADAPTER.validate_python(changed)
    except PydanticError as err:
        message = plain(err.errors(include_url=False)[0]["msg"])
        raise InputError(f"--place: {message}") from err


def _moved(placement: Placement | None, worker: str) -> Placement:
    """Return a placement on another worker, without settings specific to the old one."""
    limit = placement.time_limit_s if placement is not None else None
    return Placement(worker=worker, time_limit_s=limit)
