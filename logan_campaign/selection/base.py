"""What every selection strategy takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class DescriptorSettings(BaseModel):
    """Structure descriptor (paper eq. 8) that strategies compare structures by.

    The defaults are those of the paper's filtering step, whatever the models use.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    radial: Literal["bessel", "gaussian"] = Field("bessel", description="Radial basis")
    r_cut: float = Field(5.0, gt=0, description="Cutoff radius (Å)")
    n_max: int = Field(4, ge=0, le=12, description="Highest radial order")
    n_neighbour: int = Field(20, ge=1, description="Most neighbours per atom")


class SelectionBase(BaseModel):
    """Settings of one strategy; subclasses add a literal ``strategy``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    n_picks: int = Field(20, ge=1, description="Structures to pick (per group if 'per_model')")


@dataclass
class Selection:
    """The picks, in the fixed order in which they go on, and the map they come from.

    ``n`` is the number of structures to choose from, ``k`` the number of picks.
    """

    indices: np.ndarray
    """(k,) which structures were picked."""
    clusters: np.ndarray
    """(k,) cluster of each pick; clusters are numbered in the order of the picks."""
    represents: np.ndarray
    """(k,) how many structures each pick stands for, itself included."""
    pca: np.ndarray
    """(n, n_components) place of every structure in the map; NaN where it has none."""
    labels: np.ndarray
    """(n,) cluster of every structure, -1 where it has none."""
    explained_variance: list[float]
    """Share of the variance per component."""
    n_unusable: dict[str, int] = field(default_factory=dict)
    """Structures passed over, per reason."""
