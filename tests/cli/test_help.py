"""The help lists every command in a group, with an example that can be given."""

from __future__ import annotations

from typing import Any

import click
import pytest
import typer

from logan_campaign.cli.app import GROUPS, command

ROOT: Any = command()
EXAMPLES = [(name, example) for group in GROUPS.values() for name, example in group.items()]


def every(each: Any) -> list[Any]:
    return [
        each,
        *(found for below in getattr(each, "commands", {}).values() for found in every(below)),
    ]


def help_of(each: Any, capsys: pytest.CaptureFixture[str]) -> str:
    # rich prints the help while click asks for it
    each.get_help(typer.Context(each, info_name=each.name, help_option_names=["-h", "--help"]))
    return click.unstyle(capsys.readouterr().out)  # some terminals and CI services ask for colours


def test_every_command_is_in_one_group() -> None:
    assert list(ROOT.commands) == [name for name, _ in EXAMPLES]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_every_example_can_be_given(name: str, example: str) -> None:
    each, words = ROOT.commands[name], example.split()
    while hasattr(each, "commands"):
        each = each.commands[words.pop(0)]
    each.make_context(name, words)  # raises if an option or argument is unknown or missing


def test_help_fits_80_columns_and_names_no_types_of_flags(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for each in every(ROOT):
        shown = help_of(each, capsys)
        assert "bool" not in shown, each.name
        assert max(map(len, shown.splitlines())) <= 80, each.name
    assert "Watch, for example: logan-campaign status quick" in help_of(ROOT, capsys)
