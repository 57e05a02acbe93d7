"""``logan-campaign export``: structures for other programs, and whole campaigns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    StoreOption,
    ask_before_overwriting,
    opened,
    tell,
)
from logan_campaign.cli.filters import CandidateCommand
from logan_campaign.core.errors import InputError

if TYPE_CHECKING:
    from logan_campaign.results import Campaign

#: Formats of a whole campaign.
_WHOLE = ("campaign", "ro-crate")


def _formats() -> list[str]:
    from logan_campaign.results.formats import EXPORTS

    return [*EXPORTS.names, *_WHOLE]


@app.command(cls=CandidateCommand)
def export(
    context: typer.Context,
    campaign: CampaignArgument,
    path: Annotated[
        Path,
        typer.Argument(help="File to write; for CIF, POSCAR and RO-Crate a folder or .zip."),
    ],
    fmt: Annotated[
        str | None,
        typer.Option(
            "--format",
            autocompletion=_formats,
            help="extxyz, cif, cif-symmetrized (conventional cell, with the space group's "
            "operations), poscar, sdf, csv, json, jsonl, ase.db, optimade, campaign, ro-crate, or "
            "that of a plugin; by default from the name: .extxyz, .cif, .sym.cif, .vasp, .sdf, "
            ".csv, .json, .jsonl, .db, .optimade.jsonl, .campaign.gz, .crate.zip.",
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Structures as generated, not as relaxed.")
    ] = False,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--id", metavar="ID", help="This candidate or material; repeatable. No other filter."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite without asking.")] = False,
    store: StoreOption = None,
) -> None:
    """Write candidates for other programs, or a whole campaign to archive or repeat.

    By default, new and rediscovered candidates are written; --state and the other filters select
    others, and --id gives them one by one. 'campaign' is
    one file with all job documents, which 'import' reads; 'ro-crate' contains spec, versions,
    training sets, weights and results, described by RO-Crate metadata.
    """
    from logan_campaign.results import Campaign

    filters: dict[str, Any] = context.obj
    chosen = fmt or _format_of(path)
    if chosen in _WHOLE and (filters or raw or ids):
        raise InputError(f"{chosen} contains the whole campaign: filters and --raw do not apply")
    if ids and filters:
        raise InputError("give candidates by --id or by filters, not both")
    ask_before_overwriting(path, force)
    with opened(campaign, store) as (database, record):
        found = Campaign(database.stores, record, owns_stores=False)
        if chosen == "campaign":
            from logan_campaign.stores.archive import write_archive

            told = write_archive(database.stores, record, path).describe()
        elif chosen == "ro-crate":
            from logan_campaign.results.crate import write_crate

            told = f"{write_crate(found, path)} files"
        else:
            told = _write_candidates(found, path, chosen, filters, ids or [], raw)
    tell(f"{told} written to {path}")


def _write_candidates(
    campaign: Campaign,
    path: Path,
    fmt: str,
    filters: dict[str, Any],
    ids: list[str],
    raw: bool,
) -> str:
    from logan_campaign.results.export import check_format, write
    from logan_campaign.stores.records import CandidateRecord, MaterialRecord

    check_format(fmt, campaign.kind)
    query = campaign.candidates(**{"state": ["new", "rediscovered"], **filters}).sorted_by("energy")
    chosen = []
    for record in map(campaign.find, ids):
        if isinstance(record, MaterialRecord):
            record = campaign.candidate(record.best_candidate_id)
        if not isinstance(record, CandidateRecord):
            raise InputError(f"{record.id} is no candidate or material")
        chosen.append(record)
    if not (chosen or query):
        raise InputError("there is no such candidate; see 'logan-campaign results'")
    return f"{write(chosen or query, path, fmt, raw)} structures"


def _format_of(path: Path) -> str:
    from logan_campaign.results.export import format_of
    from logan_campaign.stores.archive import SUFFIX

    name = path.name.lower()
    if name.endswith(SUFFIX):
        return "campaign"
    if name.endswith((".crate", ".crate.zip")):
        return "ro-crate"
    found = format_of(path)
    if found is None:
        raise InputError(
            f"cannot tell the format from {path}; give --format: {', '.join(_formats())}"
        )
    return found
