"""``logan-campaign compositions``: the compositions and cells that a target means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import JsonOption, StoreOption, console, number, print_json, table

if TYPE_CHECKING:
    from logan_campaign.campaign.spec import CampaignSpec
    from logan_campaign.stores.queries import CampaignDatabase


@app.command()
def compositions(
    spec: Annotated[Path, typer.Argument(help="The campaign's spec (YAML).")],
    store: StoreOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the spec; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the compositions and cells that a spec's target means, with what each costs.

    The cost is that of one round: its relaxations, and their processor time where campaigns in
    this folder, or in --store, have relaxed at the same settings.
    """
    from logan_campaign.campaign.spec import CampaignSpec

    read = CampaignSpec.from_file(spec, overrides or [])
    medians = {name: median(values) for name, values in past_costs(read, store).items()}
    found = listed(read, medians)
    if as_json:
        print_json(found)
        return
    numbers = ("units", "atoms", "relaxations", "CPU h")
    shown = table("cell", "composition", *numbers, right=numbers)
    for cell in found["cells"]:
        shown.add_row(
            cell["formula"],
            cell["composition"],
            str(cell["formula_units"]),
            str(cell["n_atoms"]),
            str(cell["relaxations"]),
            number(cell["cpu_h"], 2),
        )
    out = console()
    out.print(shown)
    cost = "" if found["cpu_h"] is None else f", about {found['cpu_h']:.2f} CPU hours"
    out.print(
        f"{found['n_compositions']} compositions in {len(found['cells'])} cells; one round of each "
        f"is at most {found['relaxations']} relaxations{cost}"
    )


def listed(spec: CampaignSpec, past: Mapping[str, float]) -> dict[str, Any]:
    """Return the cells of a spec's targets and the cost of one round of each.

    Args:
        spec: the campaign's spec.
        past: median processor time (s) of a relaxation per atom, by level, and of generating one
            pool under ''; see :func:`costs`. Without all of them, no time is given.
    """
    from ase.formula import Formula

    from logan_campaign.geometry.formulas import hill_formula, reduced_formula
    from logan_campaign.selection import steps_of

    levels = [level.name for level in spec.relax.levels]
    n_picks = steps_of(spec.select)[-1].n_picks
    cells = []
    for target in spec.targets:
        formula = hill_formula(target.formula)
        is_crystal = target.kind == "crystal"
        reduced = reduced_formula(formula) if is_crystal else formula
        n_atoms = len(Formula(formula))
        cpu_h = None
        if past.keys() >= {"", *levels}:
            each = n_atoms * sum(past[level] for level in levels)
            cpu_h = (spec.models.count * past[""] + n_picks * each) / 3600
        cells.append(
            {
                "formula": formula,
                "composition": reduced,
                "formula_units": n_atoms // len(Formula(reduced)),
                "n_atoms": n_atoms,
                "relaxations": n_picks if levels else 0,
                "cpu_h": cpu_h,
            }
        )
    times = [cell["cpu_h"] for cell in cells]
    return {
        "cells": cells,
        "n_compositions": len({cell["composition"] for cell in cells}),
        "relaxations": sum(cell["relaxations"] for cell in cells),
        "cpu_h": None if None in times else sum(times),
    }


def past_costs(spec: CampaignSpec, store: str | None) -> dict[str, list[float]]:
    """Return what :func:`costs` finds in the campaigns of this folder, or of a store, by name."""
    from logan_campaign.stores.open import FILE_NAME, open_store
    from logan_campaign.stores.queries import CampaignDatabase

    here = [str(path) for path in sorted(Path().glob(f"*/{FILE_NAME}"))]
    samples: defaultdict[str, list[float]] = defaultdict(list)
    for place in [store] if store is not None else here:
        with open_store(place) as stores:
            for name, seconds in costs(spec, CampaignDatabase(stores)):
                samples[name].append(seconds)
    return dict(samples)


def costs(spec: CampaignSpec, database: CampaignDatabase) -> Iterable[tuple[str, float]]:
    """Yield what was measured: seconds per atom of relaxations by level, of pools under ''.

    Args:
        spec: only relaxations at the settings of its levels count, and pools of its size.
        database: past campaigns.
    """
    from ase.formula import Formula

    own = {level.name: _settings(level.model_dump(mode="json")) for level in spec.relax.levels}
    for campaign in database.campaigns():
        for model in database.models(campaign.id):
            for pool in model.pools:
                if pool.n_structures == spec.generate.per_model:
                    yield "", pool.elapsed_s
    for candidate in database.candidates(structures=False):
        for done in candidate.relaxations:
            for name, settings in own.items():
                if settings.items() <= _settings(done.settings).items():
                    yield name, done.cpu_s / len(Formula(candidate.formula))


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    return {key: repr(value) for key, value in settings.items() if key != "name"}
