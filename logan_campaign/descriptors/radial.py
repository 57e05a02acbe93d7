"""Radial bases and the tables that make them cheap.

Every basis function is written as ``g(r) = h(r²) (r / r_cut)^l``. For the Bessel basis ``h``
is a smooth function of r², so ``g(r) Y_lm(r/|r|) = h(r²) R_lm(r / r_cut)`` with solid harmonics
``R_lm``: neither square roots nor divisions, and no special case at r = 0. ``h`` is
evaluated from a Chebyshev series in r² that is fitted once in double precision.

Sources: Bessel basis, E. Kocer, J. K. Mason, H. Erturk, AIP Adv. 10, 015021 (2020),
doi 10.1063/1.5111045. Gaussian basis, P. Kovács et al., Mach. Learn.: Sci. Technol. 5,
035079 (2024), section 2.4.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.polynomial import chebyshev

Radial = Literal["bessel", "gaussian"]

#: Largest n_max that is offered; the laws are tested up to here.
MAX_N_MAX = 6


def channels(n_max: int) -> list[tuple[int, int]]:
    """Return the (l, n') of every radial function, in the order of the descriptor."""
    return [(order, n) for order in range(n_max + 1) for n in range(n_max - order + 1)]


@lru_cache(maxsize=16)
def bessel_roots(l_max: int, count: int) -> np.ndarray:
    """Return the first ``count`` positive roots of j_l for l = 0 … l_max; shape (l_max+1, count).

    The roots of j_l interlace those of j_(l-1), which brackets each of them.
    """
    from scipy.optimize import brentq
    from scipy.special import spherical_jn

    roots = np.arange(1, count + l_max + 1) * np.pi
    table = [roots[:count]]
    for order in range(1, l_max + 1):
        roots = np.array(
            [
                brentq(lambda x, o=order: spherical_jn(o, x), low, high, xtol=1e-14, rtol=8.9e-16)
                for low, high in itertools.pairwise(roots)
            ]
        )
        table.append(roots[:count])
    return np.array(table)


def bessel_functions(order: int, count: int, r: np.ndarray, r_cut: float) -> np.ndarray:
    """Return the first ``count`` radial functions of angular momentum ``order`` at ``r``.

    They are orthonormal on [0, r_cut] with weight r², and they vanish at ``r_cut`` together
    with their first two derivatives (Kocer et al., eqs. 2 to 7).

    Args:
        order: angular momentum l.
        count: how many functions.
        r: distances within [0, r_cut] (Å), any shape.
        r_cut: cutoff radius (Å).

    Returns:
        Array of shape (count, *r.shape), in Å^(-3/2).
    """
    from scipy.special import spherical_jn

    u = bessel_roots(order, count + 1)[order]
    x = np.asarray(r, dtype=float) / r_cut
    raw = []
    for n in range(count):
        a, b = u[n], u[n + 1]
        norm = np.sqrt(2.0 / r_cut**3 / (a**2 + b**2))
        raw.append(
            norm
            * (
                b / spherical_jn(order + 1, a) * spherical_jn(order, a * x)
                - a / spherical_jn(order + 1, b) * spherical_jn(order, b * x)
            )
        )
    functions = [raw[0]]
    d_before = 1.0
    for n in range(1, count):
        square = u**2
        e = (
            square[n - 1]
            * square[n + 1]
            / ((square[n - 1] + square[n]) * (square[n] + square[n + 1]))
        )
        d = 1.0 - e / d_before
        functions.append((raw[n] + np.sqrt(e / d_before) * functions[n - 1]) / np.sqrt(d))
        d_before = d
    return np.array(functions)


def gaussian_widths(order: int, n_max: int, r_cut: float) -> np.ndarray:
    """Return the widths d (Å) of the Gaussian functions of angular momentum ``order``."""
    return np.linspace(1.0, r_cut, n_max - order + 1)


def gaussian_functions(order: int, n_max: int, r: np.ndarray, r_cut: float) -> np.ndarray:
    """Return ``exp(-r²/d²) - exp(-r_cut²/d²)`` for each width d; shape (count, *r.shape)."""
    widths = gaussian_widths(order, n_max, r_cut)
    r = np.asarray(r, dtype=float)
    widths = widths.reshape(-1, *([1] * r.ndim))
    return np.exp(-((r / widths) ** 2)) - np.exp(-((r_cut / widths) ** 2))


def radial_functions(
    radial: Radial, order: int, n_max: int, r: np.ndarray, r_cut: float
) -> np.ndarray:
    """Return g_{n'l}(r) for n' = 0 … n_max - l; zero beyond ``r_cut``."""
    r = np.asarray(r, dtype=float)
    if radial == "bessel":
        values = bessel_functions(order, n_max - order + 1, np.minimum(r, r_cut), r_cut)
    else:
        values = gaussian_functions(order, n_max, r, r_cut)
    return np.where(r < r_cut, values, 0.0)


@lru_cache(maxsize=32)
def bessel_table(r_cut: float, n_max: int, tolerance: float) -> np.ndarray:
    """Return Chebyshev coefficients of every ``h(r²) = g(r) (r_cut/r)^l``.

    Args:
        r_cut: cutoff radius (Å).
        n_max: as in the descriptor.
        tolerance: coefficients below this share of the largest one are cut off the end.

    Returns:
        Array of shape (degree + 1, n_channels): coefficients of T_k(2 r²/r_cut² - 1), the
        channels ordered as in :func:`channels`.
    """
    degree = 64
    nodes = chebyshev.chebpts1(degree + 1)
    r = r_cut * np.sqrt((nodes + 1.0) / 2.0)
    values = np.concatenate(
        [
            bessel_functions(order, n_max - order + 1, r, r_cut) * (r_cut / r) ** order
            for order in range(n_max + 1)
        ]
    )
    coefficients = np.array(
        [2.0 / (degree + 1) * (values @ np.cos(k * np.arccos(nodes))) for k in range(degree + 1)]
    )
    coefficients[0] /= 2.0
    # Relative to each function's own largest coefficient, or l = n_max would set the tone.
    share = np.abs(coefficients) / np.abs(coefficients).max(axis=0)
    length = int(np.nonzero((share > tolerance).any(axis=1))[0].max()) + 1
    return coefficients[:length]
