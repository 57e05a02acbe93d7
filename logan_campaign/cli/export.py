"""``logan-campaign export``: structures for other programs, and whole campaigns."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    StoreOption,
    err_console,
    escape,
    opened,
    refuse_existing,
)
from logan_campaign.cli.filters import CandidateCommand
from logan_campaign.core.errors import InputError

if TYPE_CHECKING:
    from logan_campaign.results import Campaign
    from logan_campaign.results.export import Format


class FormatChoice(StrEnum):
    """The formats of :mod:`logan_campaign.results.export`, and those of whole campaigns."""

    EXTXYZ = "extxyz"
    CIF = "cif"
    POSCAR = "poscar"
    SDF = "sdf"
    JSON = "json"
    JSONL = "jsonl"
    ASE_DB = "ase.db"
    OPTIMADE = "optimade"
    CAMPAIGN = "campaign"
    RO_CRATE = "ro-crate"


_WHOLE = {FormatChoice.CAMPAIGN, FormatChoice.RO_CRATE}


@app.command(cls=CandidateCommand)
def export(
    context: typer.Context,
    campaign: CampaignArgument,
    path: Annotated[
        Path,
        typer.Argument(help="File to write; a folder for CIF, POSCAR and RO-Crate, or its .zip."),
    ],
    fmt: Annotated[
        FormatChoice | None,
        typer.Option(
            "--format",
            help="Format; by default from the name: .extxyz, .cif, .vasp, .sdf, .json, .jsonl, "
            ".db, .optimade.jsonl, .campaign.gz, .crate.zip.",
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Structures as generated, not as relaxed.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    store: StoreOption = None,
) -> None:
    """Write candidates for other programs, or a whole campaign to be kept or repeated.

    Candidates are those that are new or rediscovered, unless --state says otherwise.
    'campaign' is one file with all job documents, which 'import' reads; 'ro-crate' holds spec,
    versions, training sets, weights and results, described by RO-Crate metadata.
    """
    from logan_campaign.results import Campaign, Results

    filters: dict[str, Any] = context.obj
    chosen = fmt or _format_of(path)
    if chosen in _WHOLE and (filters or raw):
        raise InputError(f"{chosen} holds the whole campaign: filters and --raw do not apply")
    refuse_existing(path, force)
    with opened(campaign, store) as (database, record):
        found = Campaign(Results(database.stores, owns_stores=False), record)
        if chosen is FormatChoice.CAMPAIGN:
            from logan_campaign.stores.archive import write_archive

            told = write_archive(database.stores, record, path).describe()
        elif chosen is FormatChoice.RO_CRATE:
            from logan_campaign.results.crate import write_crate

            told = f"{write_crate(found, path)} files"
        else:
            told = _write_candidates(found, path, cast("Format", chosen.value), filters, raw)
    err_console().print(escape(f"{told} written to {path}"), soft_wrap=True)


def _write_candidates(
    campaign: Campaign, path: Path, fmt: Format, filters: dict[str, Any], raw: bool
) -> str:
    from logan_campaign.results.export import check_format, write

    check_format(fmt, campaign.kind)
    query = campaign.candidates(**{"state": ["new", "rediscovered"], **filters}).sorted_by("energy")
    if not query:
        raise InputError("there is no such candidate; see 'logan-campaign results'")
    return f"{write(query, path, fmt, raw)} structures"


def _format_of(path: Path) -> FormatChoice:
    from logan_campaign.results.export import format_of
    from logan_campaign.stores.archive import SUFFIX

    name = path.name.lower()
    if name.endswith(SUFFIX):
        return FormatChoice.CAMPAIGN
    if name.endswith((".crate", ".crate.zip")):
        return FormatChoice.RO_CRATE
    found = format_of(path)
    if found is None:
        choices = ", ".join(choice.value for choice in FormatChoice)
        raise InputError(f"cannot tell the format from {path}; give --format: {choices}")
    return FormatChoice(found)
