"""Intervals against scipy, and their coverage computed exactly (a sum over all outcomes, no simulation)."""

import math

import numpy as np
import pytest
from scipy import special, stats

from sublearn.numerics import intervals as iv

COUNTS = [
    (0, 1),
    (1, 1),
    (0, 7),
    (7, 7),
    (1, 10),
    (5, 10),
    (9, 10),
    (1, 1000),
    (500, 1000),
    (999, 1000),
    (3, 4096),
    (1667, 4096),
    (4095, 4096),
    (0, 10**6),
    (1, 10**6),
    (10**6 - 1, 10**6),
    (300_000, 10**6),
]


@pytest.mark.parametrize("a", [0.5, 1, 2, 7.5, 60, 1000, 3e5])
@pytest.mark.parametrize("b", [0.5, 1, 3, 44, 2000, 1e6])
def test_beta_cdf_equals_scipy(a, b):
    mean, sd = a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b)
    for x in np.clip([0, 1e-6, mean - 3 * sd, mean - sd, mean, mean + 2 * sd, 0.5, 0.999999, 1], 0, 1):
        got, want = iv.beta_cdf(a, b, float(x)), special.betainc(a, b, x)
        assert got == pytest.approx(want, rel=1e-8 if a + b > 1e4 else 1e-11, abs=1e-15)


@pytest.mark.parametrize("k, n", COUNTS)
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_clopper_pearson_equals_scipy(k, n, level):
    # from the beta quantile: binomtest's own root finder stops at 1e-12 absolute, too early for k = 1 of 10^6
    low = special.betaincinv(k, n - k + 1, (1 - level) / 2) if k else 0.0
    high = special.betaincinv(k + 1, n - k, (1 + level) / 2) if k < n else 1.0
    assert iv.clopper_pearson(k, n, level) == pytest.approx((low, high), rel=1e-8, abs=1e-14)
    assert (low, high) == pytest.approx(tuple(stats.binomtest(k, n).proportion_ci(level, "exact")), abs=1e-10)


@pytest.mark.parametrize("k, n", COUNTS)
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_wilson_equals_scipy(k, n, level):
    want = stats.binomtest(k, n).proportion_ci(level, "wilson")
    assert iv.wilson(k, n, level) == pytest.approx(tuple(want), rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("n", [5, 20, 64])
def test_clopper_pearson_covers_at_least_its_level(n):
    bounds = np.array([iv.clopper_pearson(k, n) for k in range(n + 1)])
    for p in np.linspace(0.001, 0.999, 333):
        inside = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
        assert stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 0.95


def test_intervals_hold_the_share_and_mirror():
    for function in (iv.clopper_pearson, iv.wilson):
        for n in (1, 3, 50):
            for k in range(n + 1):
                low, high = function(k, n)
                assert 0 <= low <= k / n <= high <= 1
                mirrored = function(n - k, n)
                assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-13)
        assert function(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("function", [iv.clopper_pearson, iv.wilson])
def test_bad_input_names_the_argument(function):
    with pytest.raises(ValueError, match="successes: expected a number from 0 to trials = 3, got 4"):
        function(4, 3)
    with pytest.raises(ValueError, match="trials: expected"):
        function(0, -1)
    with pytest.raises(TypeError, match="successes: expected an integer, got 1.5"):
        function(1.5, 3)
    with pytest.raises(ValueError, match="level: expected"):
        function(1, 3, 95)
    with pytest.raises(ValueError, match="a: expected a positive number"):
        iv.beta_cdf(0, 1, 0.5)
    with pytest.raises(ValueError, match="probability: expected"):
        iv.beta_quantile(1, 1, 1.5)
    with pytest.raises(ValueError, match="x: expected"):
        iv.beta_cdf(1, 1, -0.1)
