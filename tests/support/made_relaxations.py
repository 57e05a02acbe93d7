"""Documents of relaxations that never ran."""

from __future__ import annotations

from typing import Any

from logan_campaign.core.documents import Geometry, RelaxationDoc


def made_relaxation(
    structure: Geometry, candidate_id: str = "cand-0", energy_ev: float | None = -1.0, **more: Any
) -> RelaxationDoc:
    """Return a converged relaxation that ended in a structure; ``more``: further fields."""
    said: dict[str, Any] = {
        "id": f"relax-{candidate_id}",
        "candidate_id": candidate_id,
        "campaign_id": "camp-0",
        "level": "xtb",
        "level_index": 0,
        "state": "converged",
        "reason": "",
        "calculator": "gfn2-xtb",
        "settings": {},
        "energy_ev": energy_ev,
        "energy_per_atom_ev": None if energy_ev is None else energy_ev / len(structure),
        "max_force_ev_per_angstrom": 0.01,
        "n_steps": 1,
        "energies_ev": [],
        "elapsed_s": 1.0,
        "structure": structure,
        "trajectory": None,
    }
    return RelaxationDoc(**{**said, **more})
