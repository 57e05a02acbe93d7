"""Strategies that identify structures by a graph or net before any relaxation.

Structures with the same key (molecular graph, net topology) form one group, represented by the
structure with the clearest bonds. Structures without a key are clustered by k-means: their
representatives are relaxed cheaply and identified again, or fill the remaining picks.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from pydantic import Field

from logan_campaign.core import progress
from logan_campaign.core.documents import TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.core.settings import SpecModel
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.relaxation.levels import LevelSpec, XTBLevel
from logan_campaign.relaxation.run import relax
from logan_campaign.selection.base import (
    CheapRelaxations,
    DescriptorSettings,
    MapSettings,
    Pool,
    Selection,
    SelectionBase,
)
from logan_campaign.selection.estimates import unseen
from logan_campaign.selection.kmeans import KMeansSelection

#: Representatives of an uncertain graph or net.
_PER_DOUBT = 3

#: Number of picks by 'fill' for each graph or net estimated to be missing.
_PER_MISSING = 3


class PreRelaxation(SpecModel):
    """Cheap relaxation of structures without a key, to identify them again."""

    n: int = Field(
        50,
        ge=1,
        le=100_000,
        description="Structures to relax: those of uncertain graphs or nets, then k-means "
        "representatives of structures without one",
    )
    level: LevelSpec = Field(
        default_factory=lambda: XTBLevel(name="pre", fmax=0.1, max_steps=200),
        description="Level with any calculator, as under 'relax'",
    )


class Judgement(NamedTuple):
    """Identification of n structures by a strategy.

    Attributes:
        keys: (n,) graph or net; '' for none.
        clarity: (n,) clarity of the bonds; larger is clearer.
        rank: (n,) primary order, before clarity and frequency of keys; larger is first.
    """

    keys: np.ndarray
    clarity: np.ndarray
    rank: np.ndarray


class KeyedSelection(SelectionBase):
    """Base of graph and framework selection."""

    per_key: int = Field(1, ge=1, description="Representatives of each graph or net")
    doubt: float = Field(
        1.0,
        ge=0,
        le=2,
        description="A graph or net is uncertain if all of its structures have unbonded atoms "
        "closer than this multiple of the longest bond, both in sums of covalent radii: up to "
        "three of its structures are picked or, with 'pre_relax', relaxed; 0: never",
    )
    fill: bool = Field(
        True,
        description="Fill remaining picks with k-means representatives of structures without "
        "graph or net: three for each graph or net estimated to be missing (Chao1), all if none "
        "was found; only without 'pre_relax'",
    )
    pre_relax: PreRelaxation | None = Field(
        None,
        description="Relax k-means representatives of structures without graph or net, and pick "
        "those that relax to a graph or net still missing",
    )
    n_components: int = Field(2, ge=1, le=50, description="k-means: PCA components")
    standardise: bool = Field(False, description="k-means: scale features to unit variance")
    descriptor: DescriptorSettings = Field(
        default_factory=DescriptorSettings, description="k-means: descriptor of the structures"
    )

    @abstractmethod
    def judge(self, pool: Pool) -> Judgement:
        """Identify each structure."""

    @property
    @abstractmethod
    def lacking(self) -> str:
        """Reason for skipping a structure without key."""

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick representatives of groups, largest group first. See :meth:`SelectionBase.select`."""
        judged = self.judge(pool)
        groups = self._representatives(judged)
        doubtful = {key for key, rows in groups if judged.clarity[rows[0]] < self.doubt}
        if self.pre_relax is not None:
            groups = [(key, rows) for key, rows in groups if key not in doubtful]
        labels = np.full(len(pool), -1)
        picks: list[int] = []
        keys: list[str | None] = []
        for key, rows in groups[: self.n_picks]:
            labels[judged.keys == key] = len(picks)
            picks.append(rows[0])
            keys.append(key)
        # further representatives represent only themselves
        for turn in range(1, max(self.per_key, _PER_DOUBT)):
            for key, rows in groups:
                wanted = self.per_key if key not in doubtful else max(self.per_key, _PER_DOUBT)
                if turn < min(wanted, len(rows)) and len(picks) < self.n_picks:
                    labels[rows[turn]] = len(picks)
                    picks.append(rows[turn])
                    keys.append(key)
        found = Selection.of(self.strategy, picks, labels, keys)
        without = np.flatnonzero(judged.keys == "")
        if self.pre_relax is not None and (len(without) or doubtful):
            self._add_relaxed(found, pool, judged, doubtful, seed)
        elif len(without) and (places := self._places(judged, self.n_picks - len(picks))):
            self._add_clusters(found, pool, without, places, seed)
        elif len(without):
            found.n_unusable[self.lacking] = len(without)
        if not len(found.indices):
            raise InputError(
                f"select: '{self.strategy}' has nothing to pick: {self.lacking} in all of "
                f"{len(pool)} structures; train longer, or set 'fill' or 'pre_relax'"
            )
        return found

    def map_settings(self) -> MapSettings:
        """Return the map in which what has no key is clustered."""
        return MapSettings(self.n_components, self.standardise, self.descriptor)

    def check(self, species: Sequence[str], kind: TargetKind) -> None:
        """Also check the level of the cheap relaxation. See :meth:`SelectionBase.check`."""
        super().check(species, kind)
        if self.pre_relax is not None:
            self.pre_relax.level.check(species, kind)

    def _representatives(self, judged: Judgement) -> list[tuple[str, list[int]]]:
        """Return the keys, most frequent first, and their structures by clarity.

        Both are ordered by rank first; the rank of a key is the highest of its structures.
        """
        groups: dict[str, list[int]] = {}
        order = np.lexsort((np.arange(len(judged.keys)), -judged.clarity, -judged.rank))
        for row in order.tolist():
            if judged.keys[row]:
                groups.setdefault(str(judged.keys[row]), []).append(row)
        return sorted(
            groups.items(), key=lambda item: (-judged.rank[item[1][0]], -len(item[1]), item[0])
        )

    def _clusters(self, pool: Pool, rows: np.ndarray, n: int, seed: int) -> Selection:
        settings = KMeansSelection(n_picks=n, **self.map_settings()._asdict())
        pool.descriptors(self.descriptor)  # computed once for the whole pool
        return settings.select(pool.take(rows), seed)

    def _places(self, judged: Judgement, left: int) -> int:
        """Return the number of remaining picks for structures without key."""
        if not self.fill:
            return 0
        counts = Counter(judged.keys[judged.keys != ""].tolist())
        if not counts:
            return left
        return min(left, math.ceil(_PER_MISSING * unseen(counts.values())))

    def _add_clusters(
        self, found: Selection, pool: Pool, without: np.ndarray, places: int, seed: int
    ) -> None:
        """Fill remaining picks with k-means representatives of structures without key."""
        n = len(found.indices)
        clusters = self._clusters(pool, without, places, seed)
        labels = np.array(found.labels)
        inside = clusters.labels >= 0
        labels[without[inside]] = n + clusters.labels[inside]
        _append(
            found,
            Selection.of(
                f"{self.strategy}: kmeans of the rest",
                [*found.indices, *without[clusters.indices]],
                labels,
                [*found.keys, *clusters.keys],
            ),
        )

    def _add_relaxed(
        self, found: Selection, pool: Pool, judged: Judgement, doubtful: set[str], seed: int
    ) -> None:
        """Relax uncertain structures and representatives without key; pick those that are new."""
        assert self.pre_relax is not None  # checked by the caller
        without = np.flatnonzero(judged.keys == "")
        groups = self._representatives(judged)
        # each represents the structures of its cluster, or of its part of the uncertain group
        stands_for: dict[int, np.ndarray] = {}
        for turn in range(_PER_DOUBT):
            for key, members in groups:
                if key in doubtful and turn < len(members) and len(stands_for) < self.pre_relax.n:
                    whole = np.flatnonzero(judged.keys == key)
                    stands_for[members[turn]] = whole if turn == 0 else np.array([members[turn]])
        n_left = self.pre_relax.n - len(stands_for)
        if n_left and len(without):
            clusters = self._clusters(pool, without, n_left, seed)
            for place, row in enumerate(without[clusters.indices].tolist()):
                stands_for[row] = without[clusters.labels == place]
        rows = np.array(list(stands_for), dtype=int)
        starts, cheap = _relax_all(pool, rows, self.pre_relax)
        found.cheap.append(cheap)
        settled = [(key, members[0]) for key, members in groups if key not in doubtful]
        again = self._judge_relaxed(pool, settled, rows, starts)
        labels = np.array(found.labels)
        picks, keys = [int(i) for i in found.indices], list(found.keys)
        names = {key for key, _ in settled}
        for key, places in self._representatives(again):
            if key in keys:
                label = keys.index(key)
            elif key not in names and len(picks) < self.n_picks:
                label = len(picks)
                row = int(rows[places[0]])
                found.starts[row] = starts[row]
                picks.append(row)
                keys.append(key)
            else:
                continue
            for place in places:
                labels[stands_for[int(rows[place])]] = label
        covered = {int(rows[place]) for place in np.flatnonzero(again.keys != "")}
        lost = len(without) - sum(
            len(members)
            for row, members in stands_for.items()
            if row in covered and judged.keys[row] == ""
        )
        if lost:
            found.n_unusable[f"{self.lacking} after a cheap relaxation"] = lost
        _append(
            found,
            Selection.of(f"{self.strategy}: relaxed by {cheap.level}", picks, labels, keys),
        )

    def _judge_relaxed(
        self,
        pool: Pool,
        settled: list[tuple[str, int]],
        rows: np.ndarray,
        starts: dict[int, Atoms],
    ) -> Judgement:
        """Identify relaxed structures together with certain ones; equal ones share a key."""
        known = np.array([row for _, row in settled], dtype=int)
        together = np.concatenate([known, rows])
        moved = {len(known) + k: starts[r] for k, r in enumerate(rows.tolist()) if r in starts}
        both = self.judge(pool.take(together).moved(moved))
        named = {both.keys[place]: key for place, (key, _) in enumerate(settled)}
        keys = np.array([named.get(key, key) for key in both.keys[len(known) :]], dtype=object)
        keys[[k for k, r in enumerate(rows.tolist()) if r not in starts]] = ""
        return Judgement(keys, both.clarity[len(known) :], both.rank[len(known) :])


def _append(found: Selection, longer: Selection) -> None:
    """Adopt a selection that begins with the same picks."""
    n = len(found.strategies)
    found.strategies = [*found.strategies, *longer.strategies[n:]]
    found.indices, found.clusters = longer.indices, longer.clusters
    found.represents, found.labels, found.keys = longer.represents, longer.labels, longer.keys


def _relax_all(
    pool: Pool, rows: np.ndarray, settings: PreRelaxation
) -> tuple[dict[int, Atoms], CheapRelaxations]:
    """Relax structures in sequence; failed ones have no result."""
    cheap = CheapRelaxations(settings.level.name)
    relaxed: dict[int, Atoms] = {}
    for number, row in enumerate(rows.tolist()):
        outcome = relax(pool.structure(row), settings.level, workdir=pool.workdir)
        cheap.n += 1
        cheap.cpu_s += outcome.cpu_s  # of the process that ran it
        # unconverged structures are identified too: their graph may be certain
        if outcome.state in ("converged", "not_converged"):
            relaxed[row] = to_atoms(outcome.structure)
            cheap.n_converged += outcome.state == "converged"
        progress.report("pre-relax", number + 1, len(rows))
    return relaxed, cheap
