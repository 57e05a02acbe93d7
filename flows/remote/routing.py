"""Placement of a campaign's jobs on workers, including jobs added later.

jobflow-remote reads ``worker``, ``resources`` and ``exec_config`` from the ``manager_config``
of a job, which is set here from the stage in the job's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobflow import Flow

from logan_campaign.campaign.placement import Placement
from logan_campaign.flows.stages import place_jobs, settings_of

#: Read by :mod:`logan_campaign.flows.remote.execute`.
TIME_LIMIT = "LOGAN_CAMPAIGN_TIME_LIMIT_S"


def place(flow: Flow, placements: Mapping[str, Placement]) -> Flow:
    """Place the jobs of a flow and the jobs that they will add.

    Args:
        flow: modified in place.
        placements: placement by stage or ``relax.LEVEL``.

    Returns:
        The flow.
    """
    place_jobs(flow, _by_stage(placements))
    return flow


def settings_for(
    metadata: Mapping[str, Any], placements: Mapping[str, Placement]
) -> dict[str, Any]:
    """Return the ``manager_config`` for metadata of a job, including that of jobs it adds."""
    return settings_of(metadata, _by_stage(placements))


def _by_stage(placements: Mapping[str, Placement]) -> dict[str, dict[str, Any]]:
    """Return the ``manager_config`` per stage; workers are inherited from the wider stage."""
    default = placements.get("default", Placement())
    relax = _filled(placements.get("relax", default), default)
    settings = {
        key: _settings(_filled(placement, relax if "." in key else default))
        for key, placement in placements.items()
    }
    return {**settings, "default": _settings(default)}


def _filled(placement: Placement, otherwise: Placement) -> Placement:
    if placement.worker is not None:
        return placement
    return placement.model_copy(update={"worker": otherwise.worker})


def _settings(placement: Placement) -> dict[str, Any]:
    exec_config: Any = placement.exec_config or {"export": {}}
    if placement.time_limit_s is not None:
        export = {**exec_config.get("export", {}), TIME_LIMIT: placement.time_limit_s}
        exec_config = {**exec_config, "export": export}
    manager_config: dict[str, Any] = {
        # both even if empty, or a job would inherit those of the job that added it
        "resources": dict(placement.resources or {}),
        "exec_config": exec_config,
    }
    if placement.worker is not None:
        manager_config["worker"] = placement.worker
    return manager_config
