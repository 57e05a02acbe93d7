"""Commands that read a campaign: ``status``, ``results``, ``show``, ``lineage``."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
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
    from collections.abc import Mapping, Sequence

    from rich.table import Table
    from rich.tree import Tree

    from logan_campaign.matching.powder import Likeness
    from logan_campaign.stores.lineage import Lineage
    from logan_campaign.stores.records import CandidateRecord

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
    everything: Annotated[
        bool, typer.Option("--all", help="List candidates of all states, not only what was found.")
    ] = False,
    pxrd: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rank crystals by likeness to this measured powder pattern (2θ, intensity).",
        ),
    ] = None,
    radiation: Annotated[
        str, typer.Option(metavar="NAME", help="Of the measured pattern, such as MoKa.")
    ] = "CuKa",
    as_json: JsonOption = False,
) -> None:
    """List what was found, lowest energy first, and count the rest.

    Shown are new and rediscovered candidates, and those still to be decided. --all and --state show
    the others; --json prints whole records of all.
    """
    from logan_campaign.results import Campaign
    from logan_campaign.results.convert import summary

    filters = dict(context.obj)
    sort = filters.pop("sort")
    pattern = None
    if pxrd is not None:
        from logan_campaign.matching.powder import Pattern

        pattern = Pattern.read(pxrd, radiation)
    with opened(campaign, store) as (database, record):
        query = Campaign(database.stores, record, owns_stores=False).candidates(**filters)
        query = query.sorted_by(sort, descending).without_structures()
        part = not (everything or as_json or "state" in filters)
        listed = query.where(state=list(_FOUND)) if part else query
        alike: dict[str, Likeness] = {}
        if pattern is not None:
            alike = listed.by_pattern(pattern)
            size = limit or (_PAGE_ROWS if page else len(alike))
            alike = dict(list(alike.items())[((page or 1) - 1) * size :][:size])
            found: Sequence[CandidateRecord] = [database.candidate(one) for one in alike]
        elif limit or page:
            found = listed.page((page or 1) - 1, limit or _PAGE_ROWS)
        else:
            found = list(listed)
        n_all = query.count()
        rest = query.reasons(leave_out=_FOUND) if part else {}
    if as_json:
        likeness = {identity: one._asdict() for identity, one in alike.items()}
        print_json([summary(one) | likeness.get(one.id, {}) for one in found])
        return
    out = console()
    if found:
        out.print(_candidate_table(found, record.kind, alike))
    if any(c.energy_above_hull_ev_per_atom is not None for c in found) and record.hull is not None:
        said = record.hull
        out.print(
            f"{said.n_stable} stable, {said.n_unique} distinct, {said.n_new} new, "
            f"{said.n_stable_new} stable and new"
        )
    shown = "" if len(found) == n_all else f"{len(found)} of "
    out.print(f"{shown}{n_all} candidates")
    for state, reasons in rest.items():
        out.print(f"not shown: {reasons.total()} {state} (--state {state})")
        for reason, n in _alike(reasons).most_common(_REASONS):
            times = f"{n} times " if n > 1 else ""
            out.print(f"  {times}{reason}", markup=False, soft_wrap=True)


#: States that are listed by default, and the most reasons that are told of each other state.
_FOUND = ("new", "rediscovered", "pending")
_REASONS = 4
#: Characters of an id in a table: enough to tell some ten thousand apart, and 'show' takes them.
_SHORT_ID = 13
_COLOURS = {
    "new": "bold green",
    "rediscovered": "green",
    "duplicate": "dim",
    "pending": "cyan",
    "selected": "cyan",
    "rejected": "yellow",
    "failed": "red",
}


def _candidate_table(
    found: Sequence[CandidateRecord], kind: str, alike: Mapping[str, Likeness]
) -> Table:
    identity = "spacegroup" if kind == "crystal" else "smiles"
    several = len({candidate.formula for candidate in found}) > 1
    hull = any(candidate.energy_above_hull_ev_per_atom is not None for candidate in found)
    if several:
        from logan_campaign.geometry.formulas import readable_formula  # brings ASE
    formula = ["formula"] if several else []
    symmetry = "group" if identity == "spacegroup" else identity
    names = ["id", "state", *formula, symmetry, "level", "eV"]
    shown = table(*names, right=("eV",), no_wrap=names)
    above = "above hull (meV/atom)" if hull else "above min"
    shown.add_column(above, justify="right", min_width=9)
    if alike:
        shown.add_column("pattern", justify="right", no_wrap=True)
        shown.add_column("cell", justify="right", no_wrap=True)
    shown.add_column("equals", overflow="fold", min_width=6)
    for candidate in found:
        # that nothing is known to compare with is said once, by status
        reason = candidate.decomposition or ("" if candidate.state == "new" else candidate.reason)
        shown.add_row(
            candidate.id[:_SHORT_ID],
            f"[{_COLOURS[candidate.state]}]{candidate.state}[/]",
            *([readable_formula(candidate.formula, kind)] if several else []),
            escape(getattr(candidate, identity) or "-"),
            candidate.level or "-",
            number(candidate.energy_ev, 3),
            _above_hull(candidate) if hull else number(candidate.energy_above_min_ev, 3),
            *(f"{value:.3f}" for value in alike.get(candidate.id, ())),
            escape(candidate.match_label or (candidate.match or "")[:_SHORT_ID] or reason),
        )
    return shown


def _above_hull(candidate: CandidateRecord) -> str:
    above = candidate.energy_above_hull_ev_per_atom
    return number(None if above is None else 1000 * above, 1)


def _alike(reasons: Counter[str]) -> Counter[str]:
    """Return reasons that differ in numbers only as one: the first, with the count of all."""
    first: dict[str, str] = {}
    counted: Counter[str] = Counter()
    for reason, n in reasons.items():
        if reason:
            counted[first.setdefault(re.sub(r"\d+", "#", reason), reason)] += n
    return counted


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
    """Show one candidate, material, model or training set; --json prints all of it."""
    from logan_campaign.core.documents import AS_PYMATGEN
    from logan_campaign.stores.records import CandidateRecord, MaterialRecord

    with opened(campaign, store) as (database, _):
        found = database.find(identity)
        document = found.model_dump(mode="json", context=AS_PYMATGEN)
        best = (
            database.candidate(found.best_candidate_id)
            if isinstance(found, MaterialRecord)
            else found
        )
    if as_json:
        print_json(document)
        return
    out, shown = console(), table()
    about = _of_candidate(found) if isinstance(found, CandidateRecord) else _of_other(document)
    if isinstance(best, CandidateRecord):
        about |= _of_structure(best)
    for name, text in about.items():
        shown.add_row(name, escape(text))
    out.print(shown)
    if isinstance(found, CandidateRecord) and found.relaxations:
        out.print(_relaxation_table(found))


def _of_candidate(found: CandidateRecord) -> dict[str, str]:
    from logan_campaign.geometry.formulas import readable_formula

    equals = found.match_label or found.match or ""
    structure = found.structure or found.raw_structure
    n_atoms = found.n_atoms or len(structure or ())
    energy = f"{number(found.energy_ev, 4)} eV at {found.level}"
    if found.energy_above_min_ev is not None and n_atoms:
        above = 1000 * found.energy_above_min_ev / n_atoms
        energy += f", {found.energy_above_min_ev:.3f} eV ({above:.1f} meV/atom) above the lowest"
    hull = found.energy_above_hull_ev_per_atom
    told = {
        "candidate": f"{found.id} of {found.campaign}, pick {found.order} of round {found.round}",
        "state": f"{found.state}{', equals ' + equals if equals else ''}",
        "reason": found.reason,
        "formula": f"{readable_formula(found.formula, found.kind)} ({n_atoms} atoms)",
        "SMILES": found.smiles or "",
        "energy": energy if found.energy_ev is not None else "",
        "above hull": f"{1000 * hull:.1f} meV/atom" if hull is not None else "",
        "falls into": found.decomposition or "",
        "material": found.material_id or "",
        "pool": f"{found.pool_id}, sample {found.sample_index}",
        "model": found.model_id,
        "brought": f"{found.origin} ({found.origin_id})" if found.origin else "",
        "judged": "; ".join(
            f"{one.at[:10]} {one.state}{' ' + one.match_label if one.match_label else ''}"
            for one in found.history
        ),
        "learned from": found.training_set_id or "",
    }
    return {name: text for name, text in told.items() if text}


def _of_structure(candidate: CandidateRecord) -> dict[str, str]:
    """Return cell, symmetry and bonds of what a candidate became, or of what it was."""
    from logan_campaign.results.description import facts

    structure = candidate.structure or candidate.raw_structure
    return {} if structure is None else facts(structure)


def _of_other(document: dict[str, Any]) -> dict[str, str]:
    """Return the fields of a record that are set, in words."""
    left_out = ("schema_version", "source", "history", "weights", "structures")
    return {
        name.replace("_", " "): _shown(value)
        for name, value in document.items()
        if name not in left_out and value not in (None, "", [], {})
    }


def _relaxation_table(found: CandidateRecord) -> Table:
    numbers = ("steps", "eV", "eV/atom", "eV/Å", "s")
    shown = table("level", "calculator", "ended", *numbers, right=numbers)
    for done in found.relaxations:
        shown.add_row(
            escape(done.level),
            escape(done.calculator),
            done.state,
            str(done.n_steps),
            number(done.energy_ev, 4),
            number(done.energy_per_atom_ev, 4),
            number(done.max_force_ev_per_angstrom, 3),
            number(done.elapsed_s, 1),
        )
    return shown


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
    """Format a value as one short text; long ones are counted."""
    if isinstance(value, dict) and len(str(value)) > 200:
        return f"{len(value)} entries (see --json)"
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, list):
        few = len(value) <= 8 and not any(isinstance(part, dict) for part in value)
        return ", ".join(map(str, value)) if few else f"{len(value)} entries (see --json)"
    return str(value)
