"""Differences between two pulls of one source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from logan_campaign.core.documents import Change, Changes, PulledRecord


def compare(before: Sequence[PulledRecord], now: Sequence[PulledRecord]) -> Changes:
    """Return the records added, changed or removed between two pulls.

    Records are identified by label. It is not a change if a structure and its duplicate swap
    roles.
    """
    old, new = _by_label(before), _by_label(now)
    changed = []
    for key, record in new.items():
        was = old.get(key)
        if was is None or was.hash == record.hash:
            continue
        changed.append(Change(label=record.label, what=_what(was, record)))
    return Changes(
        added=[record.label for key, record in new.items() if key not in old],
        changed=changed,
        removed=[record.label for key, record in old.items() if key not in new],
    )


def _what(
    was: PulledRecord, now: PulledRecord
) -> Literal["structure", "properties", "usable", "unusable"]:
    if was.state != now.state and "rejected" in (was.state, now.state):
        return "unusable" if now.state == "rejected" else "usable"
    return "properties" if was.structure_id == now.structure_id else "structure"


def _by_label(records: Sequence[PulledRecord]) -> dict[tuple[str, int], PulledRecord]:
    """Return records by label and, for repeated labels, occurrence."""
    seen: Counter[str] = Counter()
    found = {}
    for record in records:
        found[record.label, seen[record.label]] = record
        seen[record.label] += 1
    return found
