"""``logan-campaign data``: sets of structures, pulled from sources into a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import JsonOption, console, escape, number, print_json, say, table
from logan_campaign.core.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from logan_campaign.core.documents import StructureEntry, TargetLeaks
    from logan_campaign.stores.pulls import PulledSets
    from logan_campaign.stores.records import PullRecord

#: Default folder of the store.
DEFAULT_STORE = "training-data"

# rejected entries that a pull lists
_SHOWN_REJECTED = 5

data_app = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="Training sets: pull them from sources, list them, check them for the targets of a "
    "campaign.",
)
app.add_typer(data_app)

DataStoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="LOGAN_CAMPAIGN_STORE",
        help="Where the sets are stored: a folder, an SQLite file, or mongodb://…/database.",
    ),
]
SetArgument = Annotated[
    str,
    typer.Argument(metavar="SET", help="Id of a set or query; a unique prefix is enough."),
]


@contextmanager
def opened_sets(store: str) -> Iterator[PulledSets]:
    """Open the sets of a store, brought up to date with the latest pulls.

    Raises:
        StoreError: there is no store, or it cannot be used.
    """
    from logan_campaign.stores.open import open_store
    from logan_campaign.stores.pulls import PullBuilder, PulledSets

    with open_store(store) as stores:
        PullBuilder.from_stores(stores).build()
        yield PulledSets(stores)


@data_app.command("list")
def list_sets(store: DataStoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """List the sets, most recently pulled first."""
    with opened_sets(store) as sets:
        pulls = sets.latest()
    if as_json:
        print_json([_summary(pull) for pull in pulls])
        return
    names = ("set", "name", "structures", "rejected", "pulled", "pulls", "version")
    shown = table(*names, no_wrap=("set", "pulled"))
    for pull in pulls:
        counts = (str(pull.n_structures), str(len(pull.rejected)))
        when = pull.pulled_at[:16].replace("T", " ")
        version = _short(pull.origin.version)
        shown.add_row(
            pull.set_id, escape(pull.name), *counts, when, str(pull.order + 1), escape(version)
        )
    console().print(shown)
    console().print(f"{len(pulls)} sets")


@data_app.command("show")
def show_set(
    identity: SetArgument,
    store: DataStoreOption = DEFAULT_STORE,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="List the rejected entries and the reasons.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one set: its source, query, pulls with their changes, and structures."""
    with opened_sets(store) as sets:
        pull = sets.find(identity)
        history = sets.pulls(pull.query_id)
        entries = [] if rejected else sets.entries(pull)
    if as_json:
        found = {**_summary(pull), "rejected": [r.model_dump() for r in pull.rejected]}
        found["pulls"] = [
            {
                "pulled_at": p.pulled_at,
                "set_id": p.set_id,
                "version": p.origin.version,
                "changes": p.changes.model_dump() if p.changes is not None else None,
            }
            for p in history
        ]
        if not rejected:
            found["structures"] = [entry.model_dump(exclude={"structure"}) for entry in entries]
        print_json(found)
        return
    out = console()
    if rejected:
        for item in pull.rejected:
            out.print(escape(f"{item.label}: {item.reason}"), soft_wrap=True)
        out.print(f"{len(pull.rejected)} rejected")
        return
    describe(pull, out)
    for p in history:
        out.print(f"pulled {p.pulled_at[:19]}: {escape(changes_text(p))}", soft_wrap=True)
    out.print(_entry_table(entries))


@data_app.command("remove")
def remove_set(identity: SetArgument, store: DataStoreOption = DEFAULT_STORE) -> None:
    """Remove a set and all pulls of its query; refused if a campaign uses it."""
    with opened_sets(store) as sets:
        pull = sets.find(identity)
        n_pulls = sets.remove(pull)
    say(f"removed {pull.set_id} ({pull.name}), {n_pulls} pulls")


@data_app.command("check")
def check(
    targets: Annotated[
        str, typer.Argument(metavar="TARGETS", help="File, folder or glob pattern; or a set.")
    ],
    against: Annotated[
        str, typer.Option("--against", metavar="SET", help="A set in the store; or a file, …")
    ],
    store: DataStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List, for every target, the training entries that match it.

    Crystals are compared at strict (length 0.1, sites 0.1, angle 3°), default (0.2, 0.3, 5°)
    and loose (0.3, 0.5, 10°) tolerances; molecules by their graph.
    """
    from logan_campaign.matching.leakage import find_leaks

    wanted, trained_on = _structures(targets, store), _structures(against, store)
    kinds = {entry.structure.__class__.__name__ for entry in (wanted[0], trained_on[0])}
    if len(kinds) > 1:
        raise InputError(f"{targets} and {against} do not hold the same kind of structures")
    from logan_campaign.cli.data_pull import shown_progress

    with shown_progress():
        leaks = find_leaks(wanted, trained_on)
    if as_json:
        print_json([leak.model_dump() for leak in leaks])
        return
    show_leaks(leaks, console())


def show_leaks(leaks: list[TargetLeaks], out: Console) -> None:
    """Print the training entries that match targets, each at its tightest tolerance."""
    shown = table("target", "formula", "training entry", "tolerance", "rms", right=("rms",))
    for leak in leaks:
        tightest = {m.entry_id: m for m in reversed(leak.matches)}
        rows = sorted(tightest.values(), key=leak.matches.index)
        if not rows:
            shown.add_row(escape(leak.target), leak.formula, "none", "", "")
        for place, match in enumerate(rows):
            head = (escape(leak.target), leak.formula) if place == 0 else ("", "")
            rms = number(match.rms_normalised, 4)
            shown.add_row(*head, escape(match.entry), match.tolerance, rms)
    out.print(shown)
    n_leaked = sum(any(m.tolerance != "loose" for m in leak.matches) for leak in leaks)
    out.print(f"{n_leaked} of {len(leaks)} targets equal a training entry at default tolerances")


def _structures(where: str, store: str) -> list[StructureEntry]:
    """Return the structures of a file, folder or glob pattern, or of a set in the store."""
    import glob

    from logan_campaign.sources import FilesSource

    if Path(where).expanduser().exists() or glob.has_magic(where):
        return FilesSource(path=str(Path(where).expanduser().absolute())).load().entries
    if not where.startswith(("set-", "query-")):
        raise InputError(f"{where} is neither a file nor the id of a set (set-…)")
    with opened_sets(store) as sets:
        return sets.entries(sets.find(where))


def describe(pull: PullRecord, out: Console) -> None:
    """Print a short summary of a pull."""
    formulas = [f"{n} {name}" for name, n in pull.formulas.items()]
    shown = ", ".join(formulas[:6]) + (f" and {len(formulas) - 6} more" if formulas[6:] else "")
    out.print(
        f"[bold]{pull.set_id}[/] {escape(pull.name)}: {pull.n_structures} structures ({shown}), "
        f"{pull.n_duplicates} copies and {len(pull.rejected)} rejected left out",
        soft_wrap=True,
    )
    for item in pull.rejected[:_SHOWN_REJECTED]:
        out.print(f"rejected {escape(item.label)}: {escape(item.reason)}", soft_wrap=True)
    if len(pull.rejected) > _SHOWN_REJECTED:
        more = len(pull.rejected) - _SHOWN_REJECTED
        out.print(f"and {more} more: data show {pull.set_id} --rejected", soft_wrap=True)
    origin = pull.origin
    parts = [origin.name, origin.version and f"version {_short(origin.version)}", origin.licence]
    parts += [origin.citation, origin.address]
    out.print("from " + escape(", ".join(part for part in parts if part)), soft_wrap=True)


def changes_text(pull: PullRecord) -> str:
    """Describe the changes that a pull brought."""
    if pull.changes is None:
        return f"first pull, {pull.n_structures} structures"
    if not pull.changes:
        return "nothing new"
    changes = pull.changes
    labels = {
        "added": changes.added,
        "changed": [f"{item.label}: {item.what}" for item in changes.changed],
        "removed": changes.removed,
    }
    return "; ".join(
        f"{len(found)} {what} ({', '.join(found[:5])}{', …' if found[5:] else ''})"
        for what, found in labels.items()
        if found
    )


def _summary(pull: PullRecord) -> dict[str, Any]:
    wanted = {"set_id", "query_id", "name", "query", "pulled_at", "campaign_id", "n_structures"}
    found = pull.model_dump(
        mode="json", include={*wanted, "formulas", "n_duplicates", "origin", "changes"}
    )
    return {**found, "n_rejected": len(pull.rejected), "n_pulls": pull.order + 1}


def _short(version: str) -> str:
    """Shorten a version for display: a checksum to its first characters."""
    return f"{version[:15]}…" if len(version) > 40 else version


def _entry_table(entries: list[StructureEntry]) -> Table:
    names = ["label", "formula", "SMILES / space group", "eV", "eV/atom above hull"]
    hull = "energy_above_hull_ev_per_atom"
    if not any(hull in entry.properties for entry in entries):
        names.pop()
    shown = table(*names, right=names[3:])
    for entry in entries[:20]:
        identity = entry.smiles or entry.spacegroup or "-"
        row = [entry.label, entry.formula, identity, number(entry.energy_ev, 4)]
        if len(names) == 5:
            row.append(number(entry.properties.get(hull), 4))
        shown.add_row(*map(escape, row))
    if entries[20:]:
        shown.add_row(f"… {len(entries) - 20} more (--json)")
    return shown


# registers `data pull` and `data import`
from logan_campaign.cli import data_pull  # noqa: E402, F401
