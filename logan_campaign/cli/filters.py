"""Options that select candidates, generated from the fields of their record."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from logan_campaign.stores.filters import Filter


class CandidateCommand(TyperCommand):
    """A command with one option per filter on candidates.

    The options are created when the command is called or its help is shown, so that other commands
    need not import the records. Their values reach the command as a mapping in its context's
    ``obj``, with the argument names of queries as keys.
    """

    #: Whether the command also has an option for the order.
    with_order = False

    def get_params(self, ctx: Any) -> list[Any]:
        """Return all parameters, filters included."""
        if not hasattr(self, "_names"):
            self._names, made = _made(self.with_order)
            self.params += made
        return super().get_params(ctx)

    def invoke(self, ctx: Any) -> Any:
        """Run the command with the given filters."""
        given = {name: ctx.params.pop(option) for option, name in self._names.items()}
        ctx.obj = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value not in (None, [], ())
        }
        return super().invoke(ctx)


class SortedCandidateCommand(CandidateCommand):
    """A filtered command that also has ``--sort``, passed on as ``sort`` among the filters."""

    with_order = True


def _made(with_order: bool) -> tuple[dict[str, str], list[Any]]:
    """Return the options, and the query argument of each option."""
    from logan_campaign.stores.filters import candidate_orders, filters_of
    from logan_campaign.stores.records import CandidateRecord

    found: list[tuple[str, str, Any, Any]] = [
        (*option, None)
        for about in filters_of(CandidateRecord).values()
        if about.column.help
        for option in _options(about)
    ]
    if with_order:
        order = typer.Option(
            "--sort",
            metavar="|".join(candidate_orders()),
            autocompletion=lambda: list(candidate_orders()),
            help="Best: candidates of the last level first, by energy. Order: as picked. Energies: "
            "ascending, candidates without energy last.",
        )
        found.append(("sort", "sort", Annotated[str, order], "best"))

    def options(**given: Any) -> None:
        """Stands for a command that has only these options."""

    options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for option, _, annotation, default in found
        ]
    )
    options.__annotations__ = {option: annotation for option, _, annotation, _ in found}
    alone = typer.Typer(add_completion=False)
    alone.command()(options)
    params = typer.main.get_command(alone).params
    return {option: name for option, name, _, _ in found}, list(params)


def _options(about: Filter) -> list[tuple[str, str, Any]]:
    """Return option name, query argument and type for each option of a filter."""
    column = about.column
    name = column.option or about.name
    if column.window:
        return [
            (f"{end}_{name}", f"{about.name}_{how}", _annotated(float, f"--{end}-{name}", text))
            for end, how, text in (
                ("max", "lte", f"At most this {column.help}."),
                ("min", "gte", f"At least this {column.help}."),
            )
        ]
    text = f"Only {column.help}"
    flag = f"--{name.replace('_', '-')}"
    if about.choices:
        choice = typer.Option(
            flag,
            metavar="|".join(about.choices),
            help=f"{text}; repeatable.",
            autocompletion=lambda: list(about.choices),
        )
        return [(name, about.name, Annotated[list[str] | None, choice])]
    text += "; a unique prefix is enough." if column.refers else "."
    return [(name, about.name, _annotated(about.type, flag, text))]


def _annotated(kind: type, flag: str, text: str) -> Any:
    option = typer.Option(flag, help=text, min=0 if kind is int else None)
    return Annotated[kind | None, option]
