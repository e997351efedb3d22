"""Clopper-Pearson intervals by their definition: exact sums of binomial probabilities, no simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from sublearn.numerics.intervals import clopper_pearson

COUNTS = [(0, 1), (1, 1), (0, 7), (7, 7), (1, 10), (5, 10), (9, 10), (1, 300), (140, 300), (299, 300)]
LARGE = [(3, 4096), (1667, 4096), (4095, 4096), (0, 10**6), (1, 10**6), (10**6 - 1, 10**6), (300_000, 10**6)]


def at_least(k, n, p):
    """P(X >= k) of a binomial X, exactly."""
    p = Fraction(p)
    return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


@pytest.mark.parametrize("k, n", COUNTS)
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_ends_have_the_tails_of_the_definition(k, n, level):
    """At the low end k or more successes have probability (1 - level) / 2, at the high end k or fewer."""
    low, high = clopper_pearson(k, n, level)
    tail = (1 - level) / 2
    assert (low == 0.0) if k == 0 else float(at_least(k, n, low)) == pytest.approx(tail, rel=1e-9)
    assert (high == 1.0) if k == n else float(1 - at_least(k + 1, n, high)) == pytest.approx(tail, rel=1e-9)


@pytest.mark.parametrize("k, n", LARGE)
def test_many_trials(k, n):
    low, high = clopper_pearson(k, n)
    assert (low == 0.0) if k == 0 else stats.binom.sf(k - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    assert (high == 1.0) if k == n else stats.binom.cdf(k, n, high) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize("n", [5, 20, 64])
def test_clopper_pearson_covers_at_least_its_level(n):
    bounds = np.array([clopper_pearson(k, n) for k in range(n + 1)])
    for p in np.linspace(0.001, 0.999, 333):
        inside = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
        assert stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 0.95


def test_intervals_hold_the_share_and_mirror():
    for n in (1, 3, 50):
        for k in range(n + 1):
            low, high = clopper_pearson(k, n)
            assert 0 <= low <= k / n <= high <= 1
            mirrored = clopper_pearson(n - k, n)
            assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-13)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_bad_input_names_the_argument():
    with pytest.raises(ValueError, match="successes: expected a number from 0 to trials = 3, got 4"):
        clopper_pearson(4, 3)
    with pytest.raises(ValueError, match="trials: expected"):
        clopper_pearson(0, -1)
    with pytest.raises(TypeError, match="successes: expected an integer, got 1.5"):
        clopper_pearson(1.5, 3)
    with pytest.raises(ValueError, match="level: expected"):
        clopper_pearson(1, 3, 95)
