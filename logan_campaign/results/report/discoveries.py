"""Discoveries by relaxation and by model, compared with random drawing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    TrainingSetRecord,
    targets_of,
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
    """Count discoveries after each relaxation.

    Duplicates count as finders too: a structure is found by the first of its candidates in the
    order of the picks, which need not be the one that represents it.

    Args:
        candidates: in the order of the picks.
        known_sets: ids of the target sets.
        level: count only relaxations at this level; None for any level.
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
    """Return the mean number of distinct items seen in draws from n equally likely items.

    The coupon collector: n (1 - (1 - 1/n)^draws).

    Args:
        n: number of items, at least 1.
        draws: (m,) numbers of draws.

    Returns:
        (m,) expected numbers of distinct items.
    """
    return n * (1.0 - (1.0 - 1.0 / n) ** np.asarray(draws, dtype=float))


def draws_for_all(n: int) -> float:
    """Return the mean number of draws to see all of n equally likely items: n H_n."""
    return float(n * np.sum(1.0 / np.arange(1, n + 1)))


def n_targets(record: CampaignRecord, sets: Sequence[TrainingSetRecord]) -> int:
    """Return the number of known entries of the targets' compositions."""
    sought = targets_of(record)
    return sum(
        known.count_of(sought, record.kind) for known in sets if known.id in record.known_set_ids
    )


class FoundBy(NamedTuple):
    """Discoveries by model (LoGAN paper, figure 4).

    Attributes:
        materials: ids of the structures, those found by most models first.
        models: ids of the models, in the order given.
        counts: (n_materials, n_models) candidates of a model that relaxed to the structure.
    """

    materials: list[str]
    models: list[str]
    counts: np.ndarray


def found_by(candidates: Sequence[CandidateRecord], models: Sequence[str]) -> FoundBy:
    """Count the candidates of each model that relaxed to each structure."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for candidate in candidates:
        if candidate.material_id is not None and candidate.model_id in models:
            counts[candidate.material_id][candidate.model_id] += 1
    rows = sorted(counts, key=lambda key: (-len(counts[key]), -counts[key].total(), key))
    table = [[counts[row][model] for model in models] for row in rows]
    return FoundBy(rows, list(models), np.array(table, dtype=int).reshape(len(rows), len(models)))


def is_random(record: CampaignRecord) -> bool:
    """Return whether all structures of a campaign are random."""
    generate = record.spec.get("generate") or {}
    settings = (record.spec.get("models") or {}).get("hyperparameters") or {}
    return settings.get("method") == "random" and not generate.get("external")


def is_baseline(other: CampaignRecord, record: CampaignRecord) -> bool:
    """Return whether a campaign of random structures is comparable with another campaign.

    It has the same target, and the settings of its last level are the same.
    """
    alike = all(
        getattr(other, name) == getattr(record, name) for name in ("kind", "formula")
    ) and _last_level(other) == _last_level(record)
    return is_random(other) and other.id != record.id and alike


def _last_level(record: CampaignRecord) -> dict[str, Any]:
    levels = (record.spec.get("relax") or {}).get("levels") or [{}]
    return {key: value for key, value in levels[-1].items() if key != "name"}


def material_names(materials: Sequence[MaterialRecord]) -> Mapping[str, str]:
    """Return a short name for each structure: SMILES, or known label, or space group.

    Names that are not unique are extended by a prefix of the id.
    """
    names = {m.id: m.smiles or m.known_label or m.spacegroup or m.formula for m in materials}
    shared = Counter(names.values())
    return {
        key: name if shared[name] == 1 else f"{name} ({key.removeprefix('mat-')[:6]})"
        for key, name in names.items()
    }
