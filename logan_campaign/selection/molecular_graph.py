"""Molecules: one representative per molecular graph."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from logan_campaign.core.documents import TargetKind
from logan_campaign.geometry.molecular_graphs import pool_graphs
from logan_campaign.selection.base import Pool
from logan_campaign.selection.keyed import Judgement, KeyedSelection


class GraphSelection(KeyedSelection):
    """Settings of graph selection; bonds are perceived on the generated geometry."""

    kinds: ClassVar[tuple[TargetKind, ...]] = ("molecule",)

    strategy: Literal["graph"] = "graph"
    separated_charges: bool = Field(
        False,
        description="Also pick graphs with separated charges (ylides, betaines) if the same atoms "
        "have graphs without; formal charges of nitro groups and the like do not count",
    )

    @property
    def lacking(self) -> str:
        """See :class:`KeyedSelection`."""
        return "no valid molecular graph"

    def judge(self, pool: Pool) -> Judgement:
        """Return SMILES and clarity of bonds of each structure."""
        graphs = pool_graphs(pool.numbers, pool.positions)
        keys = graphs.smiles if self.separated_charges else graphs.preferred()
        return Judgement(keys, graphs.clarity, np.zeros(len(pool)))
