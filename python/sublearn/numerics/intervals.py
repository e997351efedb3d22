"""Confidence intervals for a probability or a mean that is estimated from independent trials.

`clopper_pearson` and `student` hold for a number of trials fixed in advance; looked at again and again with a rule "stop when it looks
good" they miss far more often than 5 %. `anytime` holds at all numbers of trials at once, whatever the rule to stop, and is wider.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import expm1, log, sqrt
from numbers import Integral, Real

import numpy as np

__all__ = ["Weight", "anytime", "clopper_pearson", "student"]

Weight = Callable[[np.ndarray], np.ndarray]
_ROUNDING = 2.0**-50  # of a log-gamma function and its argument
_SMALL = np.logspace(-9, -2, 57)
_GRID = np.concatenate([_SMALL, np.linspace(0.01, 0.99, 99)[1:-1], 1 - _SMALL[::-1]])


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


def anytime(successes: int, trials: int, weight: Weight | None = None, level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for a probability that may be looked at after every trial: in at least `level` of repetitions the intervals of
    all numbers of trials together cover the truth, so any rule may say when to stop.

    With k successes in n trials these are the probabilities p that a likelihood ratio does not exclude: that of all trials so far, averaged
    over alternatives q with the law Beta(a p, a (1 - p)) around p, against p,

        M(p) = B(a p + k, a (1 - p) + n - k) / (B(a p, a (1 - p)) p^k (1 - p)^(n - k)) < 1 / (1 - level).

    For the true p, M is a martingale with mean 1, whatever a is, and the chance that it ever reaches 1 / (1 - level) is at most 1 - level
    (Ville 1939). weight: p float64 [m] to a > 0, float64 [m], chosen before the trials; None: 1. The interval is narrowest, 1.55 times as
    wide as one for a number of trials fixed in advance, after about 8 a trials. No trials: (0, 1).
    Errors: TypeError and ValueError that name the argument. Sources: Robbins 1970 (mixtures), Howard et al. 2021 (the beta law around p).
    """
    k, n, level = _checked(successes, trials, level)
    if n == 0:
        return 0.0, 1.0
    from scipy.special import betaln, gammaln

    share = k / n

    def inside(p: np.ndarray) -> np.ndarray:
        a = np.ones_like(p) if weight is None else weight(p)
        likelihood = (k * np.log(p) if k else 0.0) + ((n - k) * np.log1p(-p) if k < n else 0.0)
        one, two = a * p, a * (1 - p)
        all_ = np.stack([one, two, one + two, one + k, two + (n - k), one + two + n])  # n - k first: `two` may be far below 1
        rounding = _ROUNDING * (np.abs(gammaln(all_)).sum(axis=0) + np.abs(likelihood))  # large numbers cancel: the interval gets wider
        return betaln(all_[3], all_[4]) - betaln(one, two) - likelihood < -log(1 - level) + rounding

    def end(grid: np.ndarray, last: float) -> float:
        """From the outermost p of the grid (ascending away from `share`) that is inside: half of the step, again and again."""
        near = np.flatnonzero(inside(grid))
        at = int(near[-1]) if len(near) else -1
        within, out = (share if at < 0 else float(grid[at])), (last if at + 1 == len(grid) else float(grid[at + 1]))
        while abs(out - within) > 1e-6 * min(abs(within - share) + 1e-12, 1e-3):
            middle = 0.5 * (within + out)
            if middle in (within, out):
                break
            if inside(np.array([middle]))[0]:
                within = middle
            else:
                out = middle
        return out

    low = 0.0 if k == 0 else end(_GRID[share > _GRID][::-1], 0.0)
    high = 1.0 if k == n else end(_GRID[share < _GRID], 1.0)
    return low, high


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
