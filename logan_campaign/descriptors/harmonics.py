"""Real solid harmonics, written out as polynomials."""

from __future__ import annotations

import math
from typing import Any

from logan_campaign.descriptors.backend import Array, namespace


def solid_harmonics(x: Array, y: Array, z: Array, l_max: int) -> list[list[Any]]:
    """Return orthonormal real solid harmonics ``r^l Y_lm(x, y, z)`` up to ``l_max``.

    The recursion over Legendre polynomials (in z and r²) and over ``(x + iy)^m`` unrolls to
    plain sums and products, so gradients exist everywhere, the origin included.

    Args:
        x, y, z: Cartesian components, all of one shape.
        l_max: largest angular momentum.

    Returns:
        For each l a list of 2l+1 arrays, m = -l … l.
    """
    xp = namespace(x)
    r2 = x * x + y * y + z * z
    cosine, sine = [xp.ones_like(x)], [xp.zeros_like(x)]
    for m in range(l_max):
        cosine.append(x * cosine[m] - y * sine[m])
        sine.append(x * sine[m] + y * cosine[m])
    legendre: dict[tuple[int, int], Any] = {}
    for m in range(l_max + 1):
        legendre[m, m] = float(math.prod(range(1, 2 * m, 2)))
        if m < l_max:
            legendre[m + 1, m] = (2 * m + 1) * z * legendre[m, m]
        for order in range(m + 2, l_max + 1):
            legendre[order, m] = (
                (2 * order - 1) * z * legendre[order - 1, m]
                - (order + m - 1) * r2 * legendre[order - 2, m]
            ) / (order - m)
    harmonics = []
    for order in range(l_max + 1):
        row: list[Any] = [None] * (2 * order + 1)
        for m in range(order + 1):
            norm = math.sqrt(
                (2 * order + 1)
                / (4 * math.pi)
                * math.factorial(order - m)
                / math.factorial(order + m)
                * (1 if m == 0 else 2)
            )
            row[order + m] = norm * legendre[order, m] * cosine[m]
            if m:
                row[order - m] = norm * legendre[order, m] * sine[m]
        harmonics.append(row)
    return harmonics
