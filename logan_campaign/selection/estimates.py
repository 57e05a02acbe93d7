"""Estimates of the unseen part of a population from the counts of seen kinds.

Chao's lower bound (doi:10.2307/4615964, in its bias-corrected form) and Good's coverage
(doi:10.1093/biomet/40.3-4.237).
"""

from __future__ import annotations

from collections.abc import Iterable


def unseen(counts: Iterable[int]) -> float:
    """Return a lower bound on the number of unseen kinds (Chao1, bias-corrected).

    Args:
        counts: number of sightings of each kind; zeros are ignored.

    >>> unseen([1, 1, 1, 2, 5])
    1.5
    """
    found = [n for n in counts if n > 0]
    once, twice = found.count(1), found.count(2)
    return once * (once - 1) / (2 * (twice + 1))


def coverage(counts: Iterable[int]) -> float:
    """Return the estimated probability that the next sighting is of a seen kind (Good-Turing).

    Args:
        counts: number of sightings of each kind.

    >>> coverage([1, 1, 2, 6])
    0.8
    """
    found = [n for n in counts if n > 0]
    return 1.0 - found.count(1) / sum(found) if found else 0.0
