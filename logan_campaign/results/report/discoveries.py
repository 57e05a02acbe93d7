"""What was found, when, and by which model; and what chance alone would have found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    TrainingSetRecord,
)


class Discoveries(NamedTuple):
    """Distinct structures found against relaxations done, in the order of the picks.

    Attributes:
        relaxations: (n + 1,) candidates relaxed, from 0.
        materials: (n + 1,) distinct structures among them, new or known.
        known: (n + 1,) distinct known targets among them.
    """

    relaxations: np.ndarray
    materials: np.ndarray
    known: np.ndarray


def count_discoveries(
    candidates: Sequence[CandidateRecord],
    known_sets: Collection[str],
    level: str | None = None,
) -> Discoveries:
    """Count what was found after each relaxation.

    A candidate that became the same as another has found that structure as well: the
    first in the order of the picks counts, not the one that stands for both.

    Args:
        candidates: in the order of the picks.
        known_sets: ids of the sets that are looked for.
        level: count only relaxations at this level; at any if left out.
    """
    targets = {
        c.material_id: c.match
        for c in candidates
        if c.state == "rediscovered" and c.material_id is not None and c.match_set in known_sets
    }
    seen: set[str] = set()
    found: set[str | None] = set()
    materials, known = [0], [0]
    for candidate in candidates:
        levels = {relaxation.level for relaxation in candidate.relaxations}
        if not levels or (level is not None and level not in levels):
            continue
        if candidate.material_id is not None:
            seen.add(candidate.material_id)
            if candidate.material_id in targets:
                found.add(targets[candidate.material_id])
        materials.append(len(seen))
        known.append(len(found))
    return Discoveries(np.arange(len(materials)), np.array(materials), np.array(known))


def expected_distinct(n: int, draws: np.ndarray) -> np.ndarray:
    """Return how many of n equally likely things so many draws see on average.

    The coupon collector: n (1 - (1 - 1/n)^draws).

    Args:
        n: how many there are, at least 1.
        draws: (m,) numbers of draws.

    Returns:
        (m,) expected numbers of distinct things.
    """
    return n * (1.0 - (1.0 - 1.0 / n) ** np.asarray(draws, dtype=float))


def draws_for_all(n: int) -> float:
    """Return how many draws see all of n equally likely things, on average: n H_n."""
    return float(n * np.sum(1.0 / np.arange(1, n + 1)))


def n_targets(record: CampaignRecord, sets: Sequence[TrainingSetRecord]) -> int:
    """Return how many known entries have the composition that is looked for."""
    return sum(
        known.count_of(record.formula, record.kind)
        for known in sets
        if known.id in record.known_set_ids
    )


class FoundBy(NamedTuple):
    """Which model found what (LoGAN paper, figure 4).

    Attributes:
        materials: ids of the structures, by how many models found them, most first.
        models: ids of the models, in the order given.
        counts: (n_materials, n_models) candidates of a model that became the structure.
    """

    materials: list[str]
    models: list[str]
    counts: np.ndarray


def found_by(candidates: Sequence[CandidateRecord], models: Sequence[str]) -> FoundBy:
    """Count the candidates of each model that became each structure."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for candidate in candidates:
        if candidate.material_id is not None and candidate.model_id in models:
            counts[candidate.material_id][candidate.model_id] += 1
    rows = sorted(counts, key=lambda key: (-len(counts[key]), -counts[key].total(), key))
    table = [[counts[row][model] for model in models] for row in rows]
    return FoundBy(rows, list(models), np.array(table, dtype=int).reshape(len(rows), len(models)))


def material_names(materials: Sequence[MaterialRecord]) -> Mapping[str, str]:
    """Return a short name for each structure: SMILES, or known label, or space group.

    Names that several share get the beginning of the id.
    """
    names = {m.id: m.smiles or m.known_label or m.spacegroup or m.formula for m in materials}
    shared = Counter(names.values())
    return {
        key: name if shared[name] == 1 else f"{name} ({key.removeprefix('mat-')[:6]})"
        for key, name in names.items()
    }
