"""``logan-campaign known``: an index of known structures, to match against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import JsonOption, console, escape, print_json, table

if TYPE_CHECKING:
    from logan_campaign.core.documents import MoleculeIdentity, StructureEntry
    from logan_campaign.matching.crystals import CrystalMatcher
    from logan_campaign.stores.known import KnownIndex

known = typer.Typer(
    help="An index of known structures, for 'match.index' in a spec.",
    no_args_is_help=True,
)
app.add_typer(known, name="known")

_StoreArgument = Annotated[
    str,
    typer.Argument(help="Where the index is stored: a folder, an SQLite file, or mongodb://…"),
]
_FilesArgument = Annotated[
    list[str], typer.Argument(help="Files, folders or patterns, in any format that ASE reads.")
]


@known.command()
def add(store: _StoreArgument, files: _FilesArgument) -> None:
    """Add structures to the index; structures already in it are skipped."""
    from logan_campaign.sources.files import FilesSource
    from logan_campaign.stores.known import KnownIndex
    from logan_campaign.stores.open import open_store

    loaded = FilesSource(path=files).load(Path())
    with open_store(store, create=True) as stores:
        index = KnownIndex(stores.known_entries())
        before = sum(index.count().values())
        index.add(loaded.entries, FilesSource(path=files).title)
        after = sum(index.count().values())
    left_out = f", {len(loaded.rejected)} left out as unusable" if loaded.rejected else ""
    told = f"{len(loaded.entries)} structures read{left_out}: {after - before} new"
    console().print(f"{told}, {after} in the index")
    for rejection in loaded.rejected[:5]:
        console().print(f"  {escape(rejection.label)}: {escape(rejection.reason)}")


@known.command()
def count(store: _StoreArgument, as_json: JsonOption = False) -> None:
    """Print the number of structures in the index."""
    from logan_campaign.stores.known import KnownIndex
    from logan_campaign.stores.open import open_store

    with open_store(store) as stores:
        found = KnownIndex(stores.known_entries()).count()
    if as_json:
        print_json(found)
    else:
        console().print(f"{found['crystal']} crystals, {found['molecule']} molecules")


@known.command()
def match(
    store: _StoreArgument,
    files: _FilesArgument,
    tolerance: Annotated[
        Literal["strict", "default", "loose"],
        typer.Option(help="Crystals: StructureMatcher's tolerances."),
    ] = "default",
    mode: Annotated[
        Literal["exact", "prefilter"],
        typer.Option(help="Crystals: compare all entries with equal keys, or prefilter them."),
    ] = "exact",
    identity: Annotated[
        Literal["smiles", "smiles-stereo", "inchi"],
        typer.Option(help="Molecules: the criterion of equality."),
    ] = "smiles",
    as_json: JsonOption = False,
) -> None:
    """List the known structures that match those in files, nearest first."""
    from logan_campaign.matching.crystals import CrystalMatcher
    from logan_campaign.sources.files import FilesSource
    from logan_campaign.stores.known import KnownIndex
    from logan_campaign.stores.open import open_store

    loaded = FilesSource(path=files).load(Path())
    matcher = CrystalMatcher(tolerance, mode=mode)
    rows = []
    with open_store(store) as stores:
        index = KnownIndex(stores.known_entries())
        for entry in loaded.entries:
            found = _matches(index, entry, matcher, identity)
            rows += found or [{"structure": entry.label, "known": None}]
    if as_json:
        print_json(rows)
        return
    shown = table("structure", "known", "id", "rms", "rms / Å")
    for row in rows:
        numbers = [row.get("rms"), row.get("rms_angstrom")]
        shown.add_row(
            escape(str(row["structure"])),
            escape(str(row["known"] or "-")),
            str(row.get("id", "")),
            *("" if x is None else f"{x:.3f}" for x in numbers),
        )
    console().print(shown)


def _matches(
    index: KnownIndex, entry: StructureEntry, matcher: CrystalMatcher, identity: MoleculeIdentity
) -> list[dict[str, str | float | None]]:
    from pymatgen.core import Molecule, Structure

    if isinstance(entry.structure, Structure):
        return [
            {
                "structure": entry.label,
                "known": found.entry.label,
                "id": found.entry.id,
                "rms": found.rms,
                "rms_angstrom": found.rms_angstrom,
            }
            for found in index.match_crystal(entry.structure, matcher)
        ]
    assert isinstance(entry.structure, Molecule)  # the only other type
    return [
        {"structure": entry.label, "known": same.label, "id": same.id}
        for same in index.match_molecule(entry.structure, identity)
    ]
