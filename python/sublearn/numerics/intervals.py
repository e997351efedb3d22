"""Confidence intervals for a probability estimated from a fixed number of independent trials.

Here: Clopper-Pearson and Wilson intervals, and the incomplete beta function and its quantile that the first
one needs (numpy is the only run-time dependency, so they are not taken from scipy; the tests compare with
scipy). Not here: anytime-valid sequences. These intervals hold for a number of trials fixed in advance;
looked at again and again with a rule "stop when it looks good" they miss far more often than they say.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, expm1, isfinite, lgamma, log, log1p, sqrt
from numbers import Integral, Real
from statistics import NormalDist

__all__ = ["beta_cdf", "beta_quantile", "clopper_pearson", "wilson"]


def beta_cdf(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), the distribution function of a Beta(a, b) variable.

    a, b > 0; x in [0, 1]. Continued fraction (modified Lentz) on the side where it converges in about
    sqrt(max(a, b)) terms. Relative error below 1e-11 for a + b <= 1e4 and 1e-8 for a + b <= 1e7 (the
    logarithms of the gamma function lose digits there).
    """
    for name, value in (("a", a), ("b", b)):
        if not (isfinite(value) and value > 0):
            raise ValueError(f"{name}: expected a positive number, got {value!r}")
    if not 0 <= x <= 1:
        raise ValueError(f"x: expected a number in [0, 1], got {x!r}")
    if x == 0 or x == 1:
        return float(x)
    if x <= (a + 1) / (a + b + 2):
        return _beta_tail(a, b, x, 1 - x)
    return 1 - _beta_tail(b, a, 1 - x, x)


def _beta_tail(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b) for x left of the mean; rest = 1 - x."""
    log_front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * (log1p(-x) if x < 0.5 else log(rest))
    return exp(log_front) * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction 1 / (1 + d1 / (1 + d2 / (1 + ...))) of I_x(a, b)."""
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 200_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            c = 1 + term / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            change = c * d
            value *= change
        if abs(change - 1) < 1e-15:
            return value
    raise ArithmeticError(f"incomplete beta function did not converge for a={a}, b={b}, x={x}")


def beta_quantile(a: float, b: float, probability: float) -> float:
    """The x with I_x(a, b) = probability, by bisection down to neighbouring floats' accuracy (relative
    1e-15).
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability: expected a number in [0, 1], got {probability!r}")
    if probability in (0, 1):
        return float(probability)
    low, high = 0.0, 1.0
    mean, deviation = a / (a + b), sqrt(a * b / (a + b + 1)) / (a + b)
    for width in (4, 8):  # a narrow bracket first: it saves half of the steps
        if beta_cdf(a, b, max(0.0, mean - width * deviation)) <= probability:
            low = max(0.0, mean - width * deviation)
            break
    for width in (4, 8):
        if beta_cdf(a, b, min(1.0, mean + width * deviation)) >= probability:
            high = min(1.0, mean + width * deviation)
            break
    while high - low > 1e-15 * high:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if beta_cdf(a, b, middle) < probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _check(successes: int, trials: int, level: float) -> tuple[int, int, float]:
    for name, value in (("successes", successes), ("trials", trials)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name}: expected an integer, got {value!r}")
    if trials < 0:
        raise ValueError(f"trials: expected a number >= 0, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes: expected a number from 0 to trials = {trials}, got {successes}")
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ValueError(f"level: expected a number strictly between 0 and 1, got {level!r}")
    return int(successes), int(trials), float(level)


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval (low, high) for a probability: it covers the truth in at least `level` of repetitions.

    successes of trials independent trials, the number of trials fixed in advance. No trials: (0, 1).
    """
    successes, trials, level = _check(successes, trials, level)
    return _clopper_pearson(successes, trials, level)


@lru_cache(maxsize=65536)
def _clopper_pearson(k: int, n: int, level: float) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    tail = 0.5 * (1 - level)
    # all or nothing has a closed form: (1 - p)^n = tail
    edge = -expm1(log(tail) / n)
    low = 0.0 if k == 0 else 1 - edge if k == n else beta_quantile(k, n - k + 1, tail)
    high = 1.0 if k == n else edge if k == 0 else beta_quantile(k + 1, n - k, 1 - tail)
    return low, high


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (low, high): shorter than Clopper-Pearson, covers `level` on average only.

    No trials: (0, 1).
    """
    successes, trials, level = _check(successes, trials, level)
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + 0.5 * level)
    share, spread = successes / trials, z * z / trials
    centre = (share + 0.5 * spread) / (1 + spread)
    half = z / (1 + spread) * sqrt(share * (1 - share) / trials + 0.25 * spread / trials)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high
