"""The program ``logan-campaign`` and how it ends.

Exit codes: 0 success; 1 a part of the run failed; 2 an error that the user can fix (one line
on standard error says how); 130 and 143 stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from logan_campaign.cli.common import err_console, escape
from logan_campaign.core.errors import LoganCampaignError

app = typer.Typer(
    name="logan-campaign",
    help="Discovery campaigns for molecules, clusters and crystals: generate structures by descent "
    "or with LoGAN networks, select, relax, compare with what is known, and keep everything with "
    "its lineage in a database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: Commands by what they are for, in the order of the help, each with an example.
GROUPS: dict[str, dict[str, str]] = {
    "Start": {
        "init": "my.yaml --formula C4H10O",
        "compositions": "examples/cu-au.yaml",
        "run": "examples/quick.yaml",
        "doctor": "",
        "schema": "",
    },
    "Watch": {
        "status": "quick",
        "pause": "quick",
        "resume": "quick",
        "cancel": "quick",
        "retry": "quick --failed",
        "extend": "quick --set rounds=20",
        "rejudge": "quick",
    },
    "Results": {
        "results": "quick --max-energy 0.5",
        "show": "quick cand-41af",
        "lineage": "quick cand-41af",
        "report": "quick -o report.html",
        "serve": "quick",
        "export": "quick found.extxyz",
        "map": "quick map.png",
        "reproduce": "quick cand-41af",
        "import": "quick.campaign.gz --store elsewhere",
        "build": "quick",
    },
    "Data": {
        "data": "pull spec examples/quick.yaml",
        "known": "add index molecules.xyz",
    },
    "Cluster": {"remote": "check", "submit": "examples/quick.yaml --project my_project"},
}


def _print_version(value: bool) -> None:
    if value:
        from logan_campaign import __version__

        typer.echo(f"logan-campaign {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and library logs.")
    ] = False,
) -> None:
    if debug:
        os.environ["LOGAN_CAMPAIGN_DEBUG"] = "1"
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR)


def load_commands() -> None:
    """Register all commands."""
    # imported here, since each registers its commands on `app`
    from logan_campaign.cli import (  # noqa: F401
        build,
        chart,
        compositions,
        control,
        data,
        doctor,
        export,
        extend,
        importing,
        init,
        known,
        read,
        rejudge,
        remote,
        report,
        reproduce,
        run,
        serve,
        submit,
    )


def command() -> TyperGroup:
    """Return the whole command line, with its commands in groups, each with an example."""
    load_commands()
    made = typer.main.get_command(app)
    assert isinstance(made, TyperGroup)
    order = [(title, *item) for title, group in GROUPS.items() for item in group.items()]
    for title, name, example in order:
        each: Any = made.commands[name]
        first = next(iter(GROUPS[title].items()))
        each.rich_help_panel = f"{title}, for example: {' '.join(('logan-campaign', *first))}"
        each.epilog = " ".join(filter(None, ("Example: logan-campaign", name, example)))
    made.commands = {name: made.commands[name] for _, name, _ in order}
    _make_readable(made)
    return made


def _make_readable(each: Any) -> None:
    """Show no type '<bool>' for options that take no value, and no line breaks of docstrings."""
    each.help = "\n\n".join(" ".join(part.split()) for part in (each.help or "").split("\n\n"))
    shown = each.get_help_option(typer.Context(each, help_option_names=["-h", "--help"]))
    for param in (*each.params, shown):
        if getattr(param, "is_flag", False):
            param.metavar = ""
    for below in getattr(each, "commands", {}).values():
        _make_readable(below)


def main() -> None:
    """Run the command line; errors that the user can fix become one line and exit code 2."""
    try:
        command()()
    except LoganCampaignError as error:
        if os.environ.get("LOGAN_CAMPAIGN_DEBUG"):
            traceback.print_exc()
        err_console().print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:
        # the reader of a pipe has closed it (`results | head`): not an error, but Python would
        # report one when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
