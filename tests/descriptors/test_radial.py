"""Laws of the radial bases."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.integrate import quad
from scipy.special import spherical_jn

from logan_campaign.descriptors.radial import (
    MAX_N_MAX,
    bessel_functions,
    bessel_roots,
    bessel_table,
    channels,
    radial_functions,
)


@pytest.mark.parametrize("order", range(MAX_N_MAX + 1))
def test_bessel_functions_are_orthonormal_with_weight_r_squared(order: int) -> None:
    r_cut, count = 4.7, MAX_N_MAX - order + 1
    nodes, weights = np.polynomial.legendre.leggauss(120)
    r = (nodes + 1.0) * r_cut / 2.0
    g = bessel_functions(order, count, r, r_cut)
    overlap = (g * weights * r**2 * r_cut / 2.0) @ g.T
    np.testing.assert_allclose(overlap, np.eye(count), atol=1e-10)


def test_a_radial_function_normalises_under_independent_quadrature() -> None:
    value, _ = quad(lambda r: bessel_functions(1, 3, np.array(r), 5.0)[2] ** 2 * r**2, 0.0, 5.0)
    assert value == pytest.approx(1.0, abs=1e-8)


def test_roots_are_roots_of_the_spherical_bessel_functions_and_none_is_skipped() -> None:
    roots = bessel_roots(6, 8)
    for order in range(7):
        np.testing.assert_allclose(spherical_jn(order, roots[order]), 0.0, atol=1e-12)
        signs = np.sign(spherical_jn(order, np.linspace(0.1, roots[order, -1] + 0.1, 20_000)))
        assert (np.diff(signs) != 0).sum() == 8


@pytest.mark.parametrize("order", [0, 2, 5])
def test_bessel_functions_vanish_at_the_cutoff_with_two_derivatives(order: int) -> None:
    r_cut, h = 5.0, 1e-3
    value, near, far = (
        bessel_functions(order, 2, np.array(r_cut - k * h), r_cut) for k in (0, 1, 2)
    )
    np.testing.assert_allclose(value, 0.0, atol=1e-12)
    np.testing.assert_allclose((value - near) / h, 0.0, atol=1e-4)
    np.testing.assert_allclose((value - 2 * near + far) / h**2, 0.0, atol=0.1)


@pytest.mark.parametrize("radial", ["bessel", "gaussian"])
def test_radial_functions_are_continuous_and_zero_beyond_the_cutoff(radial: str) -> None:
    inside, beyond = (
        radial_functions(radial, 1, 4, np.array(r), 4.0)  # type: ignore[arg-type]
        for r in (4.0 - 1e-9, 4.0 + 1e-9)
    )
    np.testing.assert_allclose(inside, beyond, atol=1e-7)
    assert (beyond == 0).all()


def test_the_table_gives_back_the_bessel_functions() -> None:
    r_cut, n_max = 5.0, MAX_N_MAX
    r = np.linspace(0.01, r_cut, 300)
    table = bessel_table(r_cut, n_max, 1e-16)
    values = chebyshev.chebval(2.0 * (r / r_cut) ** 2 - 1.0, table)
    for (order, n), series in zip(channels(n_max), values, strict=True):
        exact = bessel_functions(order, n + 1, r, r_cut)[n]
        np.testing.assert_allclose(series * (r / r_cut) ** order, exact, atol=1e-11)
