"""Commands that read a campaign: ``status``, ``results``, ``show``, ``lineage``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    CampaignArgument,
    JsonOption,
    StoreOption,
    console,
    control_of,
    escape,
    number,
    opened,
    print_json,
    table,
)
from logan_campaign.cli.filters import SortedCandidateCommand

if TYPE_CHECKING:
    from rich.tree import Tree

    from logan_campaign.stores.lineage import Lineage

#: Default number of rows per page.
_PAGE_ROWS = 50


@app.command()
def status(
    campaign: CampaignArgument, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Show the progress of a campaign: jobs, models, candidates, discoveries."""
    from logan_campaign.cli.status import campaign_status, show_status

    with (
        opened(campaign, store) as (database, record),
        control_of(database.stores, record.id, record.name) as control,
    ):
        found = campaign_status(database, record, control)
    if as_json:
        print_json(found)
    else:
        show_status(found, console())


@app.command(cls=SortedCandidateCommand)
def results(
    context: typer.Context,
    campaign: CampaignArgument,
    store: StoreOption = None,
    descending: Annotated[bool, typer.Option("--descending", help="Highest first.")] = False,
    limit: Annotated[
        int, typer.Option(min=0, help="Maximum number of rows, or rows per page; 0 for all.")
    ] = 0,
    page: Annotated[
        int | None,
        typer.Option(min=1, help=f"Page to show, from 1; --limit rows each, or {_PAGE_ROWS}."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List candidates: those of the last level first, by energy."""
    from logan_campaign.results import Campaign
    from logan_campaign.results.convert import summary

    filters = dict(context.obj)
    sort = filters.pop("sort")
    with opened(campaign, store) as (database, record):
        query = Campaign(database.stores, record, owns_stores=False).candidates(**filters)
        query = query.sorted_by(sort, descending).without_structures()
        paged = limit or page
        found = query.page((page or 1) - 1, limit or _PAGE_ROWS) if paged else list(query)
        n_all = query.count()
    if as_json:
        print_json([summary(candidate) for candidate in found])
        return
    identity = "smiles" if record.kind == "molecule" else "spacegroup"
    hull = any(candidate.energy_above_hull_ev_per_atom is not None for candidate in found)
    energies = ["eV", "above min", *(["above hull/atom"] if hull else [])]
    names = ["id", "state", identity, "level", *energies]
    shown = table(*names, right=energies, no_wrap=names)
    if hull:
        shown.add_column("falls into", overflow="fold")
    shown.add_column("equals / reason", overflow="fold")
    for candidate in found:
        shown.add_row(
            candidate.id,
            f"[{_COLOURS[candidate.state]}]{candidate.state}[/]",
            escape(getattr(candidate, identity) or "-"),
            candidate.level or "-",
            number(candidate.energy_ev, 3),
            number(candidate.energy_above_min_ev, 3),
            *([number(candidate.energy_above_hull_ev_per_atom, 4)] if hull else []),
            *([candidate.decomposition or "-"] if hull else []),
            escape(candidate.match_label or candidate.match or candidate.reason),
        )
    console().print(shown)
    if hull and record.hull is not None:
        said = record.hull
        counts = f"{said.n_stable} stable, {said.n_unique} distinct, {said.n_new} new"
        console().print(f"{counts}, {said.n_stable_new} stable and new")
    part = "" if len(found) == n_all else f"{len(found)} of "
    console().print(f"{part}{n_all} candidates")


_COLOURS = {
    "new": "bold green",
    "rediscovered": "green",
    "duplicate": "dim",
    "pending": "cyan",
    "selected": "cyan",
    "rejected": "yellow",
    "failed": "red",
}


@app.command()
def show(
    campaign: CampaignArgument,
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Candidate, material, model or training set; a unique prefix is enough.",
        ),
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one candidate, material, model or training set in full."""
    from logan_campaign.core.documents import AS_PYMATGEN

    with opened(campaign, store) as (database, _):
        found = database.find(identity)
        document = found.model_dump(mode="json", context=AS_PYMATGEN)
    if as_json:
        print_json(document)
        return
    shown = table()
    for key, value in document.items():
        shown.add_row(key, escape(_shown(value)))
    console().print(shown)


@app.command()
def lineage(
    campaign: CampaignArgument,
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="Any id; a unique prefix is enough.")
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the origins of an object, and everything derived from it."""
    with opened(campaign, store) as (database, _):
        found = database.lineage(identity)
    if as_json:
        print_json(found.as_dict())
        return
    out = console()
    out.print(_tree(found, upwards=True))
    if any(found.after(found.root)):
        out.print(_tree(found, upwards=False))


def _tree(lineage: Lineage, upwards: bool) -> Tree:
    from rich.markup import escape
    from rich.tree import Tree

    from logan_campaign.stores.lineage import Relation

    told = {Relation.EQUALS: "equals ", Relation.CONTINUED: "went on from "}
    what, steps = ("came from", lineage.before) if upwards else ("led to", lineage.after)
    tree = Tree(f"[bold]{escape(lineage.nodes[lineage.root].label)}[/] {what}")
    seen: set[str] = set()

    def grow(branch: Tree, identity: str, path: tuple[str, ...]) -> None:
        if upwards:
            for line in lineage.nodes[identity].details:
                # nearly always one version of the software ran everything: printed once
                if not line.startswith("software") or line not in seen:
                    branch.add(escape(line))
                seen.add(line)
        for edge, node in steps(identity):
            if node.id not in path:  # verdicts of different stages can refer to each other
                text = "; ".join(filter(None, (node.label, edge.note)))
                child = branch.add(escape(told.get(edge.relation, "") + text))
                grow(child, node.id, (*path, node.id))

    grow(tree, lineage.root, (lineage.root,))
    return tree


def _shown(value: Any) -> str:
    """Format a value as one short text; structures and long lists are summarised."""
    if isinstance(value, dict) and ("sites" in value or "lattice" in value):
        return f"{len(value['sites'])} atoms (see --json, export)"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "level" in value[0]:
        return "\n".join(
            f"{r['level']}: {r['state']}, {r['n_steps']} steps, {number(r['energy_ev'], 4)} eV"
            for r in value
        )
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} entries (see --json)"
    return str(value)
