"""Molecules: one representative per molecular graph."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from logan_campaign.molecular_graphs import pool_graphs
from logan_campaign.schemas import TargetKind
from logan_campaign.selection.base import Pool
from logan_campaign.selection.keyed import Judgement, KeyedSelection


class GraphSelection(KeyedSelection):
    """Settings of graph selection: bonds are perceived on the raw geometry."""

    kinds: ClassVar[tuple[TargetKind, ...]] = ("molecule",)

    strategy: Literal["graph"] = "graph"

    @property
    def lacking(self) -> str:
        """See :class:`KeyedSelection`."""
        return "no valid molecular graph"

    def judge(self, pool: Pool) -> Judgement:
        """Return SMILES and clarity of each structure's bonds."""
        return Judgement(*pool_graphs(pool.numbers, pool.positions), np.zeros(len(pool)))
