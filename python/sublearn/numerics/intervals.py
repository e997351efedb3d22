"""Confidence intervals for a probability or a mean that is estimated from independent trials.

`clopper_pearson` and `student` hold for a number of trials fixed in advance; looked at again and again with a rule "stop when it looks
good" they miss far more often than 5 %. `anytime` holds at all numbers of trials at once, whatever the rule to stop, and is wider.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, expm1, lgamma, log, log1p, sqrt
from numbers import Integral, Real

__all__ = ["anytime", "clopper_pearson", "student"]


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval (low, high) for a probability: it covers the truth in at least `level` of repetitions.

    successes of trials independent trials, the number of trials fixed in advance. No trials: (0, 1).
    Errors: TypeError and ValueError that name the argument. Source: Clopper & Pearson 1934.
    """
    return _clopper_pearson(*_checked(successes, trials, level))


def _checked(successes: int, trials: int, level: float) -> tuple[int, int, float]:
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


@lru_cache(maxsize=65536)
def _clopper_pearson(k: int, n: int, level: float) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    from scipy.special import betaincinv  # here, since it takes longer to load than all of sublearn

    tail = 0.5 * (1 - level)
    # all or nothing has a closed form: (1 - p)^n = tail
    edge = -expm1(log(tail) / n)
    low = 0.0 if k == 0 else 1 - edge if k == n else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else edge if k == 0 else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def anytime(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for a probability that may be looked at after every trial: in at least `level` of repetitions the intervals of
    all numbers of trials together cover the truth, so any rule may say when to stop.

    With k successes in n trials these are the probabilities p with (n + 1) C(n, k) p^k (1 - p)^(n - k) > 1 - level. Left of the inequality
    stands the inverse of a likelihood ratio: of all trials so far, averaged over a p drawn uniformly, against p. For the true p that ratio
    is a martingale with mean 1, and the chance that it ever reaches 1 / (1 - level) is at most 1 - level (Ville 1939). No trials: (0, 1).
    Errors: TypeError and ValueError that name the argument. Sources: Darling & Robbins 1967, Robbins 1970 (the mixture).
    """
    return _anytime(*_checked(successes, trials, level))


@lru_cache(maxsize=65536)
def _anytime(k: int, n: int, level: float) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    least = log1p(-level) - log(n + 1) - (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1))
    low = 0.0 if k == 0 else _crossing(k, n, least, 0.0)
    high = 1.0 if k == n else _crossing(k, n, least, 1.0)
    return low, high


def _crossing(k: int, n: int, least: float, end: float) -> float:
    """Where k log p + (n - k) log(1 - p) falls to `least` between its top, k/n, and an end of [0, 1]; the side towards the end."""

    def above(p: float) -> bool:
        return (k * log(p) if k else 0.0) + ((n - k) * log1p(-p) if k < n else 0.0) > least

    if k in (0, n):  # (1 - p)^n or p^n: closed
        return -expm1(least / n) if k == 0 else exp(least / n)
    inside, outside = k / n, end
    while True:
        middle = 0.5 * (inside + outside)
        if middle in (inside, outside):
            return outside
        if 0 < middle < 1 and above(middle):
            inside = middle
        else:
            outside = middle


def student(count: int, mean: float, spread: float, level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for the mean of a quantity: Student's, mean +- t spread / sqrt(count), with count - 1 degrees of freedom.

    mean, spread: of `count` independent values, spread with count - 1 below (the standard deviation). Exact for values with a normal law,
    approximate for others once there are some tens; (-inf, inf) below 2 values. Source: Student 1908.
    """
    if count < 2:
        return float("-inf"), float("inf")
    from scipy.special import stdtrit

    half = float(stdtrit(count - 1, 0.5 * (1 + level))) * spread / sqrt(count)
    return mean - half, mean + half
