"""How many samples or steps an allocation can learn: the largest number at which its match probability is still near 1.

Ranks and theorems bound it (theory/predict.py), trials decide in between (match/probability.py), and a saturation theorem gives from which
number on nothing changes any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from .._checks import whole_number
from ..match.probability import EXISTENCE, MatchResult, match_probability
from ..model.allocation import Allocation
from ..model.checks import check_shared
from ..model.layers import plain
from ..model.network import Feedforward, Network, Recurrent
from ..model.strategy import Strategy, as_strategy, check_allocation
from ..ranks.generic_rank import free_weights
from ..theory.bounds import predict_strategy
from ..theory.certain import at_least, at_most

__all__ = ["Capacity", "capacity"]


@dataclass(frozen=True, eq=False)  # the evidence holds arrays
class Capacity:
    """The largest number m of samples or steps at which an allocation matches with probability >= 1 - eps.

    m: int, or math.inf where the probability stays that large for every m; 0 if m = 1 is too many already.
    axis: "samples" or "steps". quantity: "existence" if every step of the search was decided by theory, rank or linear
    solve, "found" if a search by fitting had a part in it: then m is usually too small, since what was not found may exist. at_least,
    at_most: bounds of the capacity of existence from theory and 95 % intervals (each one 95 %), at_most inf where nothing bounds it.
    saturated_at: number from which on the match probability is constant (proved), None where no theorem gives one. evidence: {m tried:
    MatchResult, or the theory's reason (str, "proven: ..", or "estimated: .." from drawn masks)}, in the order of m. reached_most: the
    search ended at `most` and m may be larger.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> found = sl.capacity(net, sl.per_row(net, rows=2, each=5, within="W").draw(0), shared=("B", "D"))
    >>> found.quantity, found.at_least, found.at_most, found.evidence[7]
    ('existence', 6, 6, 'proven: rho < kappa = 12, MP = 0')
    """

    m: int | float
    axis: str
    eps: float
    quantity: str
    at_least: int | float
    at_most: int | float
    saturated_at: int | None
    evidence: dict[int, MatchResult | str]
    reached_most: bool

    def __str__(self) -> str:
        m = "unlimited" if math.isinf(self.m) else f"{self.m} {self.axis}" + (" or more" if self.reached_most else "")
        what = EXISTENCE if self.quantity == "existence" else "found probability"
        proven = all(isinstance(seen, str) and seen.startswith("proven") for seen in self.evidence.values())
        sure = "" if proven else " (95 % each where not proven)"
        lines = [f"capacity {m}: {what} >= {1 - self.eps:g}; existence between {self.at_least} and {self.at_most}{sure}"]
        lines += [f"  {self.axis} {k}: {seen}" for k, seen in self.evidence.items()]
        return "\n".join(lines)


def capacity(
    net: Network,
    allocation: Allocation | Strategy,
    eps: float = 0.05,
    shared: tuple[str, ...] = (),
    *,
    trials: int = 400,
    most: int = 256,
    seed: int = 0,
    **options: Any,
) -> Capacity:
    """How many samples (Feedforward) or steps (Recurrent) an allocation can learn: the largest m with MP >= 1 - eps.

    The network's own number of samples or steps does not matter. MP does not grow with m, since the trials of m + 1 hold those of m.
    Ranks bound m from above (T1: rho < kappa for one m excludes every larger one), what theory proves (T2, T7, D4) needs no trial, and in
    between a bisection measures `trials` trials for about log2(most) values of m.
    `options` go to `match_probability` (method, starts, tol, gains, threads, ..). The estimate probability = matched / trials is compared
    with 1 - eps; `at_least` and `at_most` are the bounds that the intervals allow.

    MP is constant from some m on, so one value decides whether the capacity is infinite: linear feedforward, m = n_0 (+ 1 with biases),
    where the samples determine the linear map; tanh feedforward, m = r + 1, and linear recurrent, 2 n + max(r, 1) steps (r learnable
    weights): there a generic input distinguishes all the students of an r-dimensional family from the teacher. relu and tanh recurrent
    networks have no such bound here: the search stops at `most`.
    For a random strategy the theory's part is exact where `predict_strategy` is, else the safe end of a 95 % interval from `trials` masks.
    Errors: ValueError and TypeError that name the argument.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> sl.capacity(net, sl.per_row(net, rows=2, each=5, within="W").draw(0), shared=("B", "D")).m
    6
    """
    shared = check_shared(net, shared)
    strategy = as_strategy(check_allocation(net, allocation, shared))
    if not isinstance(eps, (int, float)) or isinstance(eps, bool) or not 0 < eps < 1:
        raise ValueError(f"eps: expected a number above 0 and below 1, got {eps!r}")
    trials, most = whole_number("trials", trials, 1), whole_number("most", most, 1)
    search = _CapacitySearch(net, strategy, float(eps), shared, trials, seed, options)
    return search.run(most)


class _CapacitySearch:
    def __init__(self, net, strategy, eps, shared, trials, seed, options):
        self.net, self.strategy, self.eps, self.shared = net, strategy, eps, shared
        self.trials, self.seed, self.options = trials, seed, options
        self.axis = "steps" if isinstance(net, Recurrent) else "samples"
        self.evidence: dict[int, MatchResult | str] = {}
        self.at_least, self.at_most = 0, math.inf
        self.counted: dict[int, Any] = {}

    def at(self, m: int) -> tuple[Network, Allocation | Strategy]:
        net = replace(self.net, **{self.axis: m})
        fixed = self.strategy.allocation
        if fixed is not None:
            return net, Allocation.from_mask(net, fixed.mask)
        fixed_mask, pieces = self.strategy.recipe
        return net, Strategy(net, self.strategy.name, fixed_mask, pieces, self.strategy.spec())

    def theory(self, m: int):
        if m not in self.counted:
            self.counted[m] = predict_strategy(*self.at(m), self.shared, draws=self.trials, seed=self.seed)
        return self.counted[m]

    def excluded(self, m: int) -> bool:
        """By theory alone: ranks, or P(rank is full) of a strategy (its exact value or the upper end of its interval), are too small."""
        return self.theory(m).upper < 1 - self.eps

    @staticmethod
    def _known(share: str, exact: float | None, draws: int) -> str:
        return f"proven: {share}" if exact is not None else f"estimated: {share} (95 %, from {draws} masks drawn)"

    def good(self, m: int) -> bool:
        theory = self.theory(m)
        fixed = self.strategy.allocation is not None
        if theory.lower >= 1 - self.eps:
            share = f"P(MP = 1) >= {at_least(theory.lower)}"
            self.evidence[m] = "proven: MP = 1" if fixed else self._known(share, theory.exact_lower, theory.draws)
            self.at_least = max(self.at_least, m)
            return True
        if self.excluded(m):
            kappa = theory.required_rank
            share = f"P(rho = kappa = {kappa}) <= {at_most(theory.upper)}"
            self.evidence[m] = f"proven: rho < kappa = {kappa}, MP = 0" if fixed else self._known(share, theory.exact_upper, theory.draws)
            self.at_most = min(self.at_most, m - 1)
            return False
        net, allocation = self.at(m)
        seen = match_probability(net, allocation, self.trials, self.shared, seed=self.seed, **self.options)
        self.evidence[m] = seen
        low, high = seen.existence_interval
        if low >= 1 - self.eps:
            self.at_least = max(self.at_least, m)
        if high < 1 - self.eps:
            self.at_most = min(self.at_most, m - 1)
        return seen.probability >= 1 - self.eps

    def run(self, most: int) -> Capacity:
        every = bool(self.strategy.allocation and self.strategy.allocation.mask[free_weights(plain(self.net), self.shared)].all())
        if every:  # for every m, by D4
            self.evidence[1] = "proven: every weight that is not shared may learn (D4), MP = 1 for every number"
            return self.result(math.inf, None, False)
        saturated = _saturation(self.net, self.strategy.budget)
        end = most if saturated is None else min(most, saturated)
        bound = self.largest_not_excluded(end)
        low, high = 0, bound + 1  # good at low, not at high
        if bound < end:
            self.good(bound + 1)  # the proof, into the evidence
        elif self.good(end):
            # Constant from the saturation on.
            if saturated is not None and end == saturated:
                return self.result(math.inf, saturated, False)
            return self.result(end, saturated, True)
        else:
            high = end
        while high - low > 1:
            middle = (low + high) // 2
            if self.good(middle):
                low = middle
            else:
                high = middle
        return self.result(low, saturated, False)

    def largest_not_excluded(self, end: int) -> int:
        """By bisection: what theory excludes stays excluded (T1 and D5)."""
        if not self.excluded(end):
            return end
        low, high = 0, 1
        while not self.excluded(high):
            low, high = high, min(2 * high, end)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.excluded(middle) else (middle, high)
        return low

    def result(self, m: int | float, saturated: int | None, reached: bool) -> Capacity:
        measured = [seen for seen in self.evidence.values() if isinstance(seen, MatchResult)]
        existence = all(seen.quantity == "existence" for seen in measured)
        if (not reached and saturated is not None and self.at_least >= saturated) or (m == math.inf and not measured):
            self.at_least = math.inf
        return Capacity(
            m=m,
            axis=self.axis,
            eps=self.eps,
            quantity="existence" if existence else "found",
            at_least=self.at_least,
            at_most=self.at_most,
            saturated_at=saturated,
            evidence=dict(sorted(self.evidence.items())),
            reached_most=reached,
        )


def _saturation(net: Network, budget: int) -> int | None:
    """Number of samples or steps from which on MP is constant, None where no theorem gives one.

    From there on a student of the r-dimensional family that matches the teacher on generic inputs equals it as a function. Count
    dimensions: if, for each student that is another function, the inputs on which it matches have codimension c, then those on which some
    such student matches have codimension >= c - r (linear: semialgebraic sets; tanh: definable in the reals with exp, where dimensions
    add up the same way), so c > r suffices.
    Linear feedforward: no count is needed, n_0 generic samples (n_0 + 1 with biases) determine the affine map.
    tanh feedforward: c >= m, one equation for each sample, an analytic function of it that is not zero: m = r + 1.
    Linear recurrent: the outputs differ by sum_k (M_k - M*_k) x_{t-k} + (a sequence from the biases), M_k = D W^k B. The M_k - M*_k obey a
    linear recurrence of order 2 n, so if some of them is not zero, the first one has a lag k <= 2 n - 1, and from step k + 1 on each is
    an equation for x_{t-k} that the earlier inputs leave free: c >= T - (2 n - 1), so T = 2 n + r. If all are zero, what the biases add
    obeys a recurrence of order 2 n + 1, and is zero if it is so for 2 n + 1 steps.
    """
    net = plain(net)
    if isinstance(net, Feedforward):
        if net.activation == "linear":
            return net.widths[0] + bool(net.bias)
        return budget + 1 if net.activation == "tanh" else None
    return 2 * net.hidden + max(budget, 1) if net.activation == "linear" else None
