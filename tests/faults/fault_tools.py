"""A campaign to break, and what it must come to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kill_resume import contents, differences
from remote_rig import Rig, processes_in

MakeRig = Callable[..., Rig]
Undisturbed = Callable[..., dict[str, Any]]


def kill_job(folder: Path) -> None:
    """Kill all processes that work in a directory, and what watches over them."""
    found = processes_in(folder)
    assert found
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def spec(calculator: str = "faulty:Slow", **level: Any) -> dict[str, Any]:
    """Return a campaign of a few seconds of physics."""
    return {
        "name": "small",
        "target": {"kind": "molecule", "formula": "CH4O", "box": [5.0, 4.5, 4.5]},
        "training": {"source": {"type": "smiles", "smiles": ["CCO", "COC"]}},
        "known": [{"type": "smiles", "smiles": ["CO"]}],
        "models": {
            "count": 1,
            "hyperparameters": {"steps": 30, "n_max": 2, "n_neighbour": 5, "r_cut": 4.0},
        },
        "generate": {"per_model": 20},
        "select": {"strategy": "kmeans", "n_picks": 3},
        "relax": {
            "levels": [
                {
                    "name": "fast",
                    "calculator": "ase",
                    "target": calculator,
                    "isolate": False,
                    "fmax": 1000.0,
                    **level,
                }
            ]
        },
    }


def assert_same(one: dict[str, Any], rig: Rig) -> None:
    """Require that a project holds the campaign with the same candidates and models."""
    rig.build()
    other = contents(rig.uri, "small")
    assert one["id"] == other["id"]
    assert len(one["candidates"]) > 1
    found = differences({**one, "documents": {}}, {**other, "documents": {}})
    assert not found, found
