"""Which worker runs which job of a campaign, also of jobs that are added while it runs.

jobflow-remote reads ``worker``, ``resources`` and ``exec_config`` from the ``manager_config``
of a job. ``Job.update_config(…, dynamic=True)`` repeats a change, by a filter on the name, in
everything that the job adds later; but a job also hands its own ``manager_config`` on, which
would undo that, unless ``pass_manager_config`` is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobflow import Flow
from jobflow.core.reference import OnMissing

from logan_campaign.placement import Placement

#: Parts of the names of the jobs of each stage. Later ones win: a level may have any name.
NAMES: dict[str, tuple[str, ...]] = {
    "pull": ("training set", "known set", "known entries", "competing"),
    "train": ("train ",),
    "generate": ("generate ",),
    "select": ("select",),
    "match": ("screen", "compare", "classify", "leakage"),
    "relax": ("reference energies", "competing phases", "element ", "relax "),
}

#: Jobs that need all of what they refer to. Where jobflow would cancel them because another
#: failed, jobflow-remote lets them wait for ever, and with them whatever could do without.
#: So they start with what is there, fail in their turn, and the campaign goes on.
_STRICT = (
    *("train ", "generate ", "screen", "start level", "leakage", "reference energies"),
    "competing phases",
)

#: Read by :mod:`logan_campaign.flows.remote.execute`.
TIME_LIMIT = "LOGAN_CAMPAIGN_TIME_LIMIT_S"


def place(flow: Flow, placements: Mapping[str, Placement]) -> Flow:
    """Say where the jobs of a flow run, and those that they will add.

    Args:
        flow: changed in place.
        placements: stage, or ``relax.LEVEL``, to placement.

    Returns:
        The flow.
    """
    for part in _STRICT:
        flow.update_config(
            {"_set": {"on_missing_references": OnMissing.PASS.value}},
            name_filter=part,
            dict_mod=True,
        )
    for name, placement in _rules(placements):
        flow.update_config({"_set": _settings(placement)}, name_filter=name, dict_mod=True)
    return flow


def settings_for(
    name: str, placements: Mapping[str, Placement]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return where a job of this name runs, and the updates for the jobs that it will add.

    Both are in the form in which a serialised job has them.
    """
    rules = _rules(placements) or [(None, Placement())]
    fitting = [placement for part, placement in rules if part is None or part in name]
    updates = [
        {
            "config": {"_set": _settings(placement)},
            "name_filter": part,
            "function_filter": None,
            "attributes": None,
            "dict_mod": True,
        }
        for part, placement in rules
    ]
    return _settings(fitting[-1]), updates


def _rules(placements: Mapping[str, Placement]) -> list[tuple[str | None, Placement]]:
    """Return filters on names with what applies to them, in the order to apply them."""
    if not placements:
        return []
    default = placements.get("default", Placement())

    def filled(placement: Placement, otherwise: Placement) -> Placement:
        if placement.worker is not None:
            return placement
        return placement.model_copy(update={"worker": otherwise.worker})

    # first all jobs, so that none inherits what was meant for the one that added it
    rules: list[tuple[str | None, Placement]] = [(None, default)]
    for stage, names in NAMES.items():
        if stage in placements:
            rules += [(name, filled(placements[stage], default)) for name in names]
    relax = filled(placements.get("relax", default), default)
    for key, placement in placements.items():
        if "." in key:
            rules.append((f"relax {key.partition('.')[2]} ", filled(placement, relax)))
    return rules


def _settings(placement: Placement) -> dict[str, Any]:
    exec_config: Any = placement.exec_config or {"export": {}}
    if placement.time_limit_s is not None:
        export = {**exec_config.get("export", {}), TIME_LIMIT: placement.time_limit_s}
        exec_config = {**exec_config, "export": export}
    manager_config: dict[str, Any] = {
        # both even if empty: a job would get those of the one that added it
        "resources": dict(placement.resources or {}),
        "exec_config": exec_config,
    }
    if placement.worker is not None:
        manager_config["worker"] = placement.worker
    return {"pass_manager_config": False, "manager_config": manager_config}
