"""``logan-campaign run --check``: what a run will do, what it will cost, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli.common import console, table
from logan_campaign.cli.compositions import listed, past_costs
from logan_campaign.core.processors import usable_cores
from logan_campaign.flows import CampaignMaker
from logan_campaign.geometry.formulas import readable_formula
from logan_campaign.selection import steps_of
from logan_campaign.sources import Source
from logan_campaign.stores.open import store_exists

#: Quantiles of past costs that are told: half of the past lies between the outer two.
_QUANTILES = (0.25, 0.5, 0.75)
#: Processor time of a job besides generation and relaxation (s): reading, writing, imports.
_PER_JOB_S = 1.0
#: Jobs of a round besides those that train, generate and relax.
_OTHER_JOBS = 8


def show_check(maker: CampaignMaker, store: str | None, workers: int | None) -> None:
    """Read everything that a campaign needs, and print what a run would do.

    Args:
        maker: of the campaign.
        store: where past campaigns are, besides this folder's; also where it would be stored.
        workers: jobs at a time; by default one per core.

    Raises:
        InputError: something is missing or wrong: a file, a package, a species, a calculator.
    """
    spec, place = maker.spec, store or maker.spec.name
    jobs = maker.make().jobs  # checks sources, calculators and the training set's species
    there = store_exists(place)
    past = past_costs(spec, store if store is not None and there else None)
    cores = workers or len(usable_cores())
    shown = table()
    for name, text in plan(spec, past, cores).items():
        shown.add_row(name, text)
    shown.add_row("stored in", f"{place}, {'which there is already' if there else 'new'}")
    fetched = [source.title for source in _sources(spec) if source.type in _FROM_AFAR]
    shown.add_row("fetched", ", ".join(fetched) or "nothing: all sources are here")
    shown.add_row("missing", "nothing")  # else this line is not reached
    out = console()
    out.print(f"{spec.name}: {len(jobs)} jobs can start; run nothing, this was a check")
    out.print(shown)


_FROM_AFAR = ("mp", "optimade", "qm9")


def _sources(spec: CampaignSpec) -> list[Source]:
    training = [] if spec.training is None else [spec.training.source]
    return [*training, *spec.known, *(each.source for each in spec.generate.external)]


def plan(spec: CampaignSpec, past: Mapping[str, Sequence[float]], cores: int) -> dict[str, str]:
    """Return what a campaign will do and cost, as names and texts.

    Args:
        spec: the campaign's spec.
        past: costs of past campaigns, see :func:`past_costs`.
        cores: jobs at a time.
    """
    levels = spec.relax.levels
    picks = steps_of(spec.select)
    n_targets, rounds = len(list(spec.targets)), n_rounds(spec)
    total = spec.models.count * spec.generate.per_model
    formulas = {readable_formula(t.formula, t.kind) for t in spec.targets}
    strategies = " > ".join(step.strategy for step in picks)
    told = {
        "looks for": f"{spec.target.kind} {', '.join(sorted(formulas)[:6])}"
        + (f" and {len(formulas) - 6} more" if len(formulas) > 6 else "")
        + (f" in {n_targets} cells" if n_targets > len(formulas) else ""),
        "learns from": "nothing" if spec.training is None else spec.training.source.title,
        "compares with": ", ".join(source.title for source in spec.known)
        or ("nothing known" if spec.training is None else "the training set"),
        "generates": f"{total} structures, {spec.generate.per_model} by each of "
        f"{spec.models.count} models ({spec.models.hyperparameters.method})"
        if total
        else "nothing",
        "is brought": ", ".join(
            f"{each.source.title} ({each.generator})" for each in spec.generate.external
        ),
        "picks": f"at most {picks[-1].n_picks} by {strategies}",
        "relaxes": " > ".join(f"{x.name} ({x.calculator})" for x in levels) or "nothing",
    }
    told = {name: text for name, text in told.items() if text}
    if rounds > 1:
        told["repeats"] = f"all this at most {rounds} times"
    seconds = cost(spec, past)
    if seconds is None:
        unknown = [level.name for level in levels if level.name not in past]
        what = ", ".join([*(["generation"] if "" not in past else []), *unknown])
        told["costs"] = f"unknown, as no campaign here has done this before: {what}"
        return told
    low, middle, high = (timedelta(seconds=round(value)) for value in seconds)
    n_past = sum(len(past[level.name]) for level in levels)
    told["costs"] = f"at most about {middle} of processor time ({low} to {high})"
    told["judged by"] = f"the middle half of {n_past} relaxations, {len(past[''])} pools made here"
    told["takes"] = f"about {timedelta(seconds=round(seconds[1] / cores))} on {cores} cores"
    return told


def n_rounds(spec: CampaignSpec) -> int:
    """Return the maximum number of rounds, each compositions of a batch counted as one."""
    return 1 if spec.rounds is None else spec.rounds.stop.rounds * spec.rounds.batch


def cost(spec: CampaignSpec, past: Mapping[str, Sequence[float]]) -> tuple[float, ...] | None:
    """Return the processor time of a campaign (s) at :data:`_QUANTILES` of past costs.

    All picks are counted, so a campaign that stops early costs less. None if the past says nothing
    of a level or of generation.
    """
    levels = spec.relax.levels
    n_picks = steps_of(spec.select)[-1].n_picks
    n_jobs = _OTHER_JOBS + 2 * spec.models.count
    n_jobs += sum(-(-n_picks // level.batch) for level in levels)
    found = []
    for quantile in _QUANTILES:
        each = {name: float(np.quantile(values, quantile)) for name, values in past.items()}
        cells = [cell["cpu_h"] for cell in listed(spec, each)["cells"]]
        if None in cells:
            return None
        found.append(n_rounds(spec) * (3600 * float(np.mean(cells)) + _PER_JOB_S * n_jobs))
    return tuple(found)
