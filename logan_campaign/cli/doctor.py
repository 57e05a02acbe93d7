"""``logan-campaign doctor``: check what is installed and how to install what is missing."""

from __future__ import annotations

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import JsonOption, StoreOption, console, escape, print_json, table


@app.command()
def doctor(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check the installation: packages, devices, GPAW and its data sets, stores."""
    from logan_campaign.core.doctor import diagnose

    checks = diagnose(store)
    broken = [check for check in checks if check.required and not check.ok]
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        shown = table()
        for check in checks:
            mark = (
                "[green]ok[/]"
                if check.ok
                else "[red]missing[/]"
                if check.required
                else "[yellow]absent[/]"
            )
            shown.add_row(mark, escape(check.name), escape(check.detail))
            if not check.ok and check.remedy:
                shown.add_row("", "", f"[dim]{escape(check.remedy)}[/]")
        console().print(shown)
    raise typer.Exit(2 if broken else 0)
