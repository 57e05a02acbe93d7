"""Strategies that know what a structure is before any relaxation: a graph, a network.

Structures with the same key (molecular graph, network topology) are one group, and each group
gives one representative, the one whose bonds leave least doubt. What has no key is in k-means
clusters: their representatives are relaxed cheaply and judged again, or take the places that
are left.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from logan_campaign import progress
from logan_campaign.errors import InputError
from logan_campaign.relaxation.levels import LevelSpec, XTBLevel, check_level
from logan_campaign.relaxation.run import relax
from logan_campaign.schemas import TargetKind
from logan_campaign.selection.base import (
    CheapRelaxations,
    DescriptorSettings,
    Pool,
    Selection,
    SelectionBase,
)
from logan_campaign.selection.kmeans import KMeansSelection
from logan_campaign.structures import from_atoms, to_atoms


class PreRelaxation(BaseModel):
    """A cheap relaxation of representatives of what has no key, to judge them again."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    n: int = Field(50, ge=1, le=100_000, description="k-means representatives to relax")
    level: LevelSpec = Field(
        default_factory=lambda: XTBLevel(name="pre", fmax=0.1, max_steps=200),
        description="Level, as under 'relax': any calculator",
    )


class Judgement(NamedTuple):
    """What a strategy holds each of n structures for.

    Attributes:
        keys: (n,) graph or network; empty where there is none.
        clarity: (n,) how little doubt there is about the bonds; larger is clearer.
    """

    keys: np.ndarray
    clarity: np.ndarray


class KeyedSelection(SelectionBase):
    """What graph and framework selection share."""

    per_key: int = Field(1, ge=1, description="Representatives of each graph or network")
    fill: bool = Field(
        True,
        description="Give the places that are left to k-means representatives of what has no "
        "graph or network; only without 'pre_relax'",
    )
    pre_relax: PreRelaxation | None = Field(
        None,
        description="Relax k-means representatives of what has no graph or network, judge them "
        "again, and take those that have become one that is still missing",
    )
    n_components: int = Field(2, ge=1, le=50, description="k-means: PCA components")
    standardise: bool = Field(False, description="k-means: scale features to unit variance")
    descriptor: DescriptorSettings = Field(
        default_factory=DescriptorSettings, description="k-means: descriptor of the structures"
    )

    @abstractmethod
    def judge(self, pool: Pool) -> Judgement:
        """Return what each structure is."""

    @property
    @abstractmethod
    def lacking(self) -> str:
        """Reason for which a structure without key is passed over."""

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick representatives of groups, largest group first. See :meth:`SelectionBase.select`."""
        judged = self.judge(pool)
        labels = np.full(len(pool), -1)
        picks: list[int] = []
        keys: list[str | None] = []
        for key, rows in self._representatives(judged)[: self.n_picks]:
            labels[judged.keys == key] = len(picks)
            picks.append(rows[0])
            keys.append(key)
        # further representatives stand for themselves alone
        for turn in range(1, self.per_key):
            for key, rows in self._representatives(judged):
                if turn < len(rows) and len(picks) < self.n_picks:
                    labels[rows[turn]] = len(picks)
                    picks.append(rows[turn])
                    keys.append(key)
        found = Selection.of(self.strategy_name, picks, labels, keys)
        without = np.flatnonzero(judged.keys == "")
        if len(without) and self.pre_relax is not None:
            self._add_relaxed(found, pool, judged, seed)
        elif len(without) and self.fill and len(picks) < self.n_picks:
            self._add_clusters(found, pool, without, seed)
        elif len(without):
            found.n_unusable[self.lacking] = len(without)
        if not len(found.indices):
            raise InputError(
                f"select: '{self.strategy_name}' has nothing to pick: {self.lacking} in all of "
                f"{len(pool)} structures; train longer, or set 'fill' or 'pre_relax'"
            )
        return found

    @property
    def strategy_name(self) -> str:
        """The name in the spec."""
        return str(getattr(self, "strategy", type(self).__name__))

    def check(self, species: Sequence[str], kind: TargetKind) -> None:
        """Check the level of the cheap relaxation too. See :meth:`SelectionBase.check`."""
        super().check(species, kind)
        if self.pre_relax is not None:
            check_level(self.pre_relax.level, species, kind)

    def _representatives(self, judged: Judgement) -> list[tuple[str, list[int]]]:
        """Return the keys, that of most structures first, and their structures by clarity."""
        groups: dict[str, list[int]] = {}
        for row in np.lexsort((np.arange(len(judged.keys)), -judged.clarity)).tolist():
            if judged.keys[row]:
                groups.setdefault(str(judged.keys[row]), []).append(row)
        return sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))

    def _clusters(self, pool: Pool, rows: np.ndarray, n: int, seed: int) -> Selection:
        settings = KMeansSelection(
            n_picks=n,
            n_components=self.n_components,
            standardise=self.standardise,
            descriptor=self.descriptor,
        )
        pool.descriptors(self.descriptor)  # computed once, for all of the pool
        return settings.select(pool.take(rows), seed)

    def _add_clusters(self, found: Selection, pool: Pool, without: np.ndarray, seed: int) -> None:
        """Fill up with k-means representatives of what has no key."""
        n = len(found.indices)
        clusters = self._clusters(pool, without, self.n_picks - n, seed)
        labels = np.array(found.labels)
        inside = clusters.labels >= 0
        labels[without[inside]] = n + clusters.labels[inside]
        _append(
            found,
            Selection.of(
                f"{self.strategy_name}: kmeans of the rest",
                [*found.indices, *without[clusters.indices]],
                labels,
                [*found.keys, *clusters.keys],
            ),
        )

    def _add_relaxed(self, found: Selection, pool: Pool, judged: Judgement, seed: int) -> None:
        """Relax representatives of what has no key, and pick those with a new one."""
        assert self.pre_relax is not None  # asked by the caller
        without = np.flatnonzero(judged.keys == "")
        clusters = self._clusters(pool, without, self.pre_relax.n, seed)
        rows = without[clusters.indices]
        starts, cheap = _relax_all(pool, rows, self.pre_relax)
        found.cheap.append(cheap)
        again = self._judge_relaxed(pool, judged, rows, starts)
        labels = np.array(found.labels)
        picks, keys = [int(i) for i in found.indices], list(found.keys)
        covered = 0
        for key, places in self._representatives(again):
            members = without[np.isin(clusters.labels, places)]
            covered += len(members)
            if key in found.keys:
                labels[members] = found.keys.index(key)
            elif not np.any(judged.keys == key) and len(picks) < self.n_picks:
                labels[members] = len(picks)
                row = int(rows[places[0]])
                found.starts[row] = starts[row]
                picks.append(row)
                keys.append(key)
        lost = len(without) - covered
        if lost:
            found.n_unusable[f"{self.lacking} after a cheap relaxation"] = lost
        _append(
            found,
            Selection.of(f"{self.strategy_name}: relaxed by {cheap.level}", picks, labels, keys),
        )

    def _judge_relaxed(
        self, pool: Pool, judged: Judgement, rows: np.ndarray, starts: dict[int, Atoms]
    ) -> Judgement:
        """Judge relaxed structures beside those with a key; equal ones get the same key."""
        groups = self._representatives(judged)
        known = np.array([members[0] for _, members in groups], dtype=int)
        together = np.concatenate([known, rows])
        moved = {len(known) + k: starts[r] for k, r in enumerate(rows.tolist()) if r in starts}
        both = self.judge(pool.take(together).moved(moved))
        named = {both.keys[place]: key for place, (key, _) in enumerate(groups)}
        keys = np.array([named.get(key, key) for key in both.keys[len(known) :]], dtype=object)
        keys[[k for k, r in enumerate(rows.tolist()) if r not in starts]] = ""
        return Judgement(keys, both.clarity[len(known) :])


def _append(found: Selection, longer: Selection) -> None:
    """Take over a selection that begins with the same picks."""
    n = len(found.strategies)
    found.strategies = [*found.strategies, *longer.strategies[n:]]
    found.indices, found.clusters = longer.indices, longer.clusters
    found.represents, found.labels, found.keys = longer.represents, longer.labels, longer.keys


def _relax_all(
    pool: Pool, rows: np.ndarray, settings: PreRelaxation
) -> tuple[dict[int, Atoms], CheapRelaxations]:
    """Relax structures one after the other; what fails has no result."""
    cheap = CheapRelaxations(settings.level.name)
    relaxed: dict[int, Atoms] = {}
    begun = time.process_time()
    for number, row in enumerate(rows.tolist()):
        outcome = relax(from_atoms(pool.atoms(row)), settings.level, workdir=pool.workdir)
        cheap.n += 1
        # one that ran out of steps is judged too: its graph may be settled
        if outcome.state in ("converged", "not_converged"):
            relaxed[row] = to_atoms(outcome.structure)
            cheap.n_converged += outcome.state == "converged"
        progress.report("pre-relax", number + 1, len(rows))
    cheap.cpu_s = time.process_time() - begun
    return relaxed, cheap
