"""Confidence intervals for a probability estimated from a fixed number of independent trials.

They hold for a number of trials fixed in advance; looked at again and again with a rule "stop when it looks good" they miss far more often
than 5 %.
"""

from __future__ import annotations

from functools import lru_cache
from math import expm1, log
from numbers import Integral, Real

__all__ = ["clopper_pearson"]


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval (low, high) for a probability: it covers the truth in at least `level` of repetitions.

    successes of trials independent trials, the number of trials fixed in advance. No trials: (0, 1).
    Errors: TypeError and ValueError that name the argument. Source: Clopper & Pearson 1934.
    """
    for name, value in (("successes", successes), ("trials", trials)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name}: expected an integer, got {value!r}")
    if trials < 0:
        raise ValueError(f"trials: expected a number >= 0, got {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes: expected a number from 0 to trials = {trials}, got {successes}")
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ValueError(f"level: expected a number strictly between 0 and 1, got {level!r}")
    return _clopper_pearson(int(successes), int(trials), float(level))


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
