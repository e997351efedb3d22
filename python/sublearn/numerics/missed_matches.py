"""How many matches did the starts of a search miss? An estimate from the curve of matches found by restart (D8 against D5).

Model: a share pi of the trials has a match that the search can find; start after start finds it with a chance p that is a trial's own,
p ~ Beta(a, b). Of n trials left after start 0 (the student's own weights, another law than the wide starts that follow)

    P(first found at start k) = pi B(a + 1, b + k - 1) / B(a, b),     P(not found by start K) = 1 - pi + pi B(a, b + K) / B(a, b).

pi, a and b are fitted by maximum likelihood over a grid; the interval is that of pi's profile likelihood (95 %). Missed: pi n less those
found.

What it is not: existence. The curve knows matches through their chance of being found, and solutions with huge weights have hardly any:
such matches are not estimated, and so the estimate is biased low. Short curves that still rise determine little, and the interval
shows it. Measured, newton, 4000 trials each (the third row 2000); exact: matches by decide(method="exact") that the starts missed
(last digits depend on the instruction set):

    network, learnable weights                starts  estimate          found later, by start   exact
    recurrent 2-8-2, T = 6, 10 scattered      10       233 [130, 320]   284, 100
                                              30        42 [ 20,  76]    65, 100
    recurrent 2-8-2, T = 6, 2 rows of 5       30       110 [ 35, 188]    55, 100                708
    recurrent 1-4-1, T = 5, 4 scattered       10       267 [109, 494]   262, 200                395
                                              30        61 [ 19, 116]   114, 200                247
    relu 3-4-2, m = 3, 9 in W1                30       216 [ 78, 516]   280, 200                523
                                              100       78 [ 12, 150]    61, 200                304
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

_FEWEST_STARTS = 4  # the curve needs a bend
_FEWEST_FOUND = 10
_STEEPEST = 0.5  # least a: short curves cannot tell a smaller one from no match at all, and would let the estimate run away
_SIDE = 1.920729  # half of the 95 % quantile of chi squared with one degree of freedom


class Missed(NamedTuple):
    """Matches missed: the estimate, and the ends of its interval (95 %, under the model)."""

    estimate: float
    low: float
    high: float


def missed(found_after, undecided: int) -> Missed | None:
    """found_after [starts]: trials matched within the first 1, 2, .. starts; undecided: those that no start matched.

    None where the curve determines too little: under 4 starts, or fewer than 10 matches found after start 0.
    """
    counts = np.diff(np.asarray(found_after, dtype=np.int64))
    return _missed(tuple(counts.tolist()), int(undecided))


@lru_cache(maxsize=256)
def _missed(counts: tuple[int, ...], undecided: int) -> Missed | None:
    found = sum(counts)
    if undecided == 0:
        return Missed(0.0, 0.0, 0.0)
    if len(counts) + 1 < _FEWEST_STARTS or found < _FEWEST_FOUND:
        return None
    n = found + undecided
    a = np.geomspace(_STEEPEST, 30, 90)[:, None]
    b = np.geomspace(0.05, 300, 110)[None, :]
    chance, left, fit = a / (a + b), 1.0, 0.0  # first found at start k; not found by k, given a match
    for k, count in enumerate(counts, 1):
        fit = fit + count * np.log(chance)
        left = left * (b + k - 1) / (a + b + k - 1)
        chance = chance * (b + k - 1) / (a + b + k)
    share = np.arange(found, n + 1, max(1, undecided // 400)) / n  # pi
    likelihood = np.empty(len(share))
    for j, pi in enumerate(share):
        likelihood[j] = (fit + found * np.log(pi) + undecided * np.log(np.maximum(1 - pi + pi * left, 1e-300))).max()
    best = likelihood.argmax()
    inside = np.flatnonzero(likelihood >= likelihood[best] - _SIDE)
    at = share * n - found
    return Missed(*(float(np.round(at[j])) for j in (best, inside[0], inside[-1])))
