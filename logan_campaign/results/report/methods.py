"""The methods section of a report, from the spec and the recorded versions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, Template

from logan_campaign.stores.records import CampaignRecord, ModelRecord, TrainingSetRecord

#: Hyperparameters that are told with the descriptors, and their names in the text.
_NAMES = {
    "radial": "radial basis",
    "r_cut": "cutoff radius (Å)",
    "n_max": "n_max",
    "n_neighbour": "neighbours",
    "rattle_copies": "rattled copies per structure",
    "rattle_stdev": "rattling (Å)",
}


def methods(
    record: CampaignRecord, models: Sequence[ModelRecord], sets: Sequence[TrainingSetRecord]
) -> list[str]:
    """Return the paragraphs: training set and models, selection and matching, relaxation."""
    external = sorted({m.hyperparameters["generator"] for m in models if m.state == "external"})
    models = [m for m in models if m.state != "external"]
    networks = [m for m in models if m.hyperparameters.get("method", "wgan") == "wgan"]
    random = bool(models) and all(m.hyperparameters.get("method") == "random" for m in models)
    steps = sorted({model.steps for model in networks})
    fixed, varied = _shared(models)
    text = _template().render(
        record=record,
        models=models,
        networks=networks,
        random=random,
        external=external,
        fixed=fixed,
        varied=varied,
        names=_NAMES,
        training=[s for s in sets if s.id in record.training_set_ids],
        known=[s for s in sets if s.id in record.known_set_ids],
        target=record.spec.get("target", {}),
        match=record.spec.get("match", {}),
        levels=record.spec.get("relax", {}).get("levels", []),
        n_rounds=len({model.round for model in networks}),
        steps=[f"{n:,}" for n in dict.fromkeys((*steps[:1], *steps[-1:]))],
        n_failed=sum(model.state == "failed" for model in models),
        n_unusable=sum(sum(s.n_unusable.values()) for s in record.selections),
        settings=_settings(record.selections[0].settings) if record.selections else "",
    )
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("logan_campaign.results.report"), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    return environment.get_template("methods.txt.jinja")


def _shared(models: Sequence[ModelRecord]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the hyperparameters that all models share, and the values of those that differ."""
    fixed, varied = {}, {}
    for key in models[0].hyperparameters if models else ():
        values: list[Any] = []
        for model in models:
            value = model.hyperparameters.get(key)
            if value not in values:
                values.append(value)
        if len(values) == 1:
            fixed[key] = values[0]
        else:
            varied[key] = values
    return fixed, varied


def _number(value: Any) -> str:
    if value is None:
        return "by the volume per atom"  # a cutoff radius that was left open
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings(settings: dict[str, Any] | list[dict[str, Any]]) -> str:
    """Return the settings of a strategy, or of one after another, that are single values."""
    steps = settings if isinstance(settings, list) else [settings]
    return "; ".join(
        ", ".join(
            f"{key} {_number(value)}"
            for key, value in step.items()
            if isinstance(value, str | int | float) and key != "strategy"
        )
        for step in steps
    )
