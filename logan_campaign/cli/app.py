"""The program ``logan-campaign`` and how it ends.

Exit codes: 0 success; 1 a part of the run failed; 2 an error that the user can fix (one line
on standard error says how); 130 and 143 stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Annotated

import typer

from logan_campaign.cli.common import err_console, escape
from logan_campaign.core.errors import LoganCampaignError

app = typer.Typer(
    name="logan-campaign",
    help="Discovery campaigns for molecules and crystals: train LoGAN models, generate, select, "
    "relax with GPAW, and keep everything with its lineage in a database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        remote,
        report,
        reproduce,
        run,
        serve,
        submit,
    )


def main() -> None:
    """Run the command line; errors that the user can fix become one line and exit code 2."""
    load_commands()
    try:
        app()
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
