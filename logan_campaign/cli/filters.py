"""Options that choose candidates, made from what their record says of its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from logan_campaign.stores.filters import Filter, filters_of
from logan_campaign.stores.records import CandidateRecord


def candidate_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option per filter on candidates.

    They reach it together, as the argument ``filters``: what queries take by name.
    """
    options: dict[str, str] = {}
    parameters = []
    for about in filters_of(CandidateRecord).values():
        if not about.column.help:
            continue
        for option, name, annotation in _options(about):
            options[option] = name
            parameters.append(
                inspect.Parameter(
                    option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
                )
            )

    @wraps(command)
    def run(**given: Any) -> None:
        filters = {name: given.pop(option) for option, name in options.items()}
        command(**given, filters={k: v for k, v in filters.items() if v not in (None, [])})

    own = inspect.signature(command, eval_str=True)
    kept = []
    for parameter in own.parameters.values():
        one = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        kept += parameters if one.name == "filters" else [one]
    run.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in kept}
    return run


def _options(about: Filter) -> list[tuple[str, str, Any]]:
    """Return name of the option, name in queries and type of each option of a filter."""
    column = about.column
    name = column.option or about.name
    if column.window:
        return [
            (f"{end}_{name}", f"{about.name}_{how}", _annotated(float, f"--{end}-{name}", text))
            for end, how, text in (
                ("max", "lte", f"Only up to this {column.help}."),
                ("min", "gte", f"Only from this {column.help} on."),
            )
        ]
    text = f"Only {column.help}"
    flag = f"--{name.replace('_', '-')}"
    if about.choices:
        choice = typer.Option(
            flag,
            metavar="|".join(about.choices),
            help=f"{text}; may be given repeatedly.",
            autocompletion=lambda: list(about.choices),
        )
        return [(name, about.name, Annotated[list[str] | None, choice])]
    text += "; a unique beginning is enough." if column.refers else "."
    return [(name, about.name, _annotated(about.type, flag, text))]


def _annotated(kind: type, flag: str, text: str) -> Any:
    option = typer.Option(flag, help=text, min=0 if kind is int else None)
    return Annotated[kind | None, option]
