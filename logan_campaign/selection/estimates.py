"""How much has not been seen yet, from how often what was found has been seen.

Chao's lower bound (doi:10.2307/4615964, in its bias-corrected form) and Good's coverage
(doi:10.1093/biomet/40.3-4.237).
"""

from __future__ import annotations

from collections.abc import Iterable


def unseen(counts: Iterable[int]) -> float:
    """Return a lower bound on how many kinds have not been seen (Chao1, bias-corrected).

    Args:
        counts: how often each kind has been seen; zeros are left out.

    >>> unseen([1, 1, 1, 2, 5])
    1.5
    """
    found = [n for n in counts if n > 0]
    once, twice = found.count(1), found.count(2)
    return once * (once - 1) / (2 * (twice + 1))


def coverage(counts: Iterable[int]) -> float:
    """Return the estimated share of all sightings that fall on kinds seen before (Good-Turing).

    Args:
        counts: how often each kind has been seen.

    >>> coverage([1, 1, 2, 6])
    0.8
    """
    found = [n for n in counts if n > 0]
    return 1.0 - found.count(1) / sum(found) if found else 0.0
