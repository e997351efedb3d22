"""Bounds on the match probability: by parity of the solutions (T8), and by counting the masks of a strategy.

`parity_bounds` follows all complex solutions of one square allocation to trials and counts the real ones; `match_bounds` counts the masks
of a strategy that match always, and those that can match at all. Linear systems only: nothing is fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .._checks import whole_number
from ..data.trials import draw_trials
from ..homotopy.real_solutions import real_solutions
from ..model.allocation import Allocation
from ..model.checks import LARGEST_WORD, check_shared
from ..model.layers import plain
from ..model.network import Network
from ..model.strategy import Strategy, as_strategy, check_allocation, fixed_allocation
from ..numerics.intervals import clopper_pearson
from ..ranks.affine import affine
from .certain import at_least, at_most, bounds_text, certain, safe_ends
from .predict import KINDS, predictions

__all__ = ["MatchBounds", "ParityBounds", "match_bounds", "parity_bounds"]

_NORMAL = 1.959963984540054  # 97.5 % quantile


@dataclass(frozen=True, eq=False)
class ParityBounds:
    """Real solutions of a square allocation, counted in trials; see `parity_bounds`.

    degree: delta (D7). real int64 [delta + 1]: in how many trials there were 0, 1, .. real solutions; undecided: trials that could not be
    counted. mean: E[#real], estimated; mean_interval: 95 %, normal approximation (where all trials are alike: Clopper-Pearson for
    the share of others). probability: share of the counted trials with a real solution, which estimates MP itself; interval: 95 %,
    Clopper-Pearson, the undecided trials left open.
    lower, upper: E / delta <= MP <= E / 2 (1 where delta is odd) with the ends of `mean_interval` for E, and never inside `interval`, so
    that they are safe where the normal approximation is not (few trials, all alike).

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.parity_bounds(net, sl.block(net, (2, 2), "W"), ("B", "D"), trials=100)
    >>> found.trials, len(found.real) == found.degree + 1, found.lower <= found.probability <= found.upper
    (100, True, True)
    """

    degree: int
    real: np.ndarray
    undecided: int

    @property
    def trials(self) -> int:
        return int(self.real.sum()) + self.undecided

    @property
    def mean(self) -> float:
        return float(self.real @ np.arange(len(self.real)) / self.real.sum())

    @property
    def mean_interval(self) -> tuple[float, float]:
        number, count = np.arange(len(self.real)), self.real.sum()
        half = _NORMAL * math.sqrt(float(self.real @ (number - self.mean) ** 2) / count / count)
        lost = self.undecided / self.trials  # their numbers may be anything from 0 to delta
        if half == 0 and 0 < self.degree:  # all alike: the unseen others may be so many, and anything
            lost = 1 - (1 - lost) * (1 - clopper_pearson(0, int(count))[1])
        low, high = (1 - lost) * (self.mean - half), (1 - lost) * (self.mean + half) + lost * self.degree
        return max(float(self.degree % 2), low), min(float(self.degree), high)

    @property
    def lower(self) -> float:
        return 1.0 if self.degree % 2 else max(0.0, min(self.mean_interval[0] / max(self.degree, 1), self.interval[0]))

    @property
    def upper(self) -> float:
        if self.degree == 0:
            return 0.0  # T1
        return 1.0 if self.degree % 2 else min(1.0, max(self.mean_interval[1] / 2, self.interval[1]))

    @property
    def probability(self) -> float:
        return float(1 - self.real[0] / self.real.sum())

    @property
    def interval(self) -> tuple[float, float]:
        matched = int(self.real[1:].sum())
        return clopper_pearson(matched, self.trials)[0], clopper_pearson(matched + self.undecided, self.trials)[1]

    def __str__(self) -> str:
        low, high = self.mean_interval
        how = "" if self.degree == 0 or self.degree % 2 else " (ends of 95 % intervals)"
        return (
            f"delta = {self.degree}, E[real solutions] = {self.mean:.3f} [{low:.3f}, {high:.3f}]: "
            f"{at_least(self.lower)} <= MP <= {at_most(self.upper)}{how}; "
            f"{self.probability:.4f} of {self.trials} trials have one ({self.undecided} undecided)"
        )


def parity_bounds(
    net: Network,
    allocation: Allocation | Strategy,
    shared: tuple[str, ...] = (),
    trials: int = 200,
    *,
    seed: int = 0,
    threads: int | None = None,
) -> ParityBounds:
    """E[#real] / delta <= MP <= E[#real] / 2 of an allocation of even degree (T8): real solutions counted in `trials` trials.

    E[#real] is estimated, and the bounds with it: `lower` and `upper` are ends of 95 % intervals.

    Linear networks; an allocation, or a strategy that always draws the same one, with r = kappa. All delta complex solutions are followed
    to each trial, so this takes delta paths per trial. An odd degree gives 1 <= MP; a deficient rank degree 0 and MP = 0 (T1); outputs
    affine in the learnable weights degree 1 (T2).
    Errors: ValueError for another activation or budget, TypeError for a random strategy; RuntimeError if the degree cannot be counted.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.parity_bounds(net, sl.block(net, (2, 2), "W"), shared=("B", "D"), trials=50).degree
    2
    """
    shared = check_shared(net, shared)
    model, allocation = plain(net), fixed_allocation(net, allocation, shared)
    trials, seed = whole_number("trials", trials, 1, most=LARGEST_WORD + 1), whole_number("seed", seed, 0)
    if model.activation != "linear" or model.extended:
        raise ValueError(f"net: expected a linear network without gains and leak, of one sequence, got {net.describe()}")
    said = predictions(net, allocation.mask[None], shared)
    kappa = said.required_rank
    if allocation.budget != kappa:
        raise ValueError(f"allocation: expected a square system, budget {kappa} = kappa, got budget {allocation.budget}")
    if said.attained_rank[0] < kappa:
        return ParityBounds(0, np.array([trials]), 0)
    if kappa == 0 or affine(model, allocation.mask[None])[0]:
        return ParityBounds(1, np.array([0, trials]), 0)
    drawn = draw_trials(net, allocation, trials, shared=shared, seed=seed, threads=threads)
    found = real_solutions(model, allocation.mask, shared, drawn, 0 if threads is None else whole_number("threads", threads, 1))
    counted = found.count[found.count >= 0]
    return ParityBounds(found.degree, np.bincount(counted, minlength=found.degree + 1), trials - len(counted))


@dataclass(frozen=True)
class MatchBounds:
    """lower <= MP <= upper of a strategy; see `match_bounds`.

    lower_interval, upper_interval: 95 % each, Clopper-Pearson, of P(a mask matches in every trial, as far as proven) and P(a mask can
    match); both ends equal where the masks were counted, not drawn. lower, upper: the safe end of each, `lower_interval[0]` and
    `upper_interval[1]`. masks: masks judged (all, or those drawn); kinds: their share by kind; exact: every mask was judged.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.match_bounds(net, sl.scattered(net, 5, "W"), ("B", "D"))
    >>> found.masks, found.exact, round(found.lower, 5), found.upper
    (4368, True, 0.02198, 1.0)
    """

    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]
    masks: int
    kinds: dict[str, float] = field(hash=False)
    exact: bool

    @property
    def lower(self) -> float:
        return self.lower_interval[0]

    @property
    def upper(self) -> float:
        return self.upper_interval[1]

    @property
    def interval(self) -> tuple[float, float]:
        """(lower, upper)."""
        return self.lower, self.upper

    def __str__(self) -> str:
        lower, upper = (low == high for low, high in (self.lower_interval, self.upper_interval))  # counted
        text = bounds_text(self.lower, self.upper, lower, upper, self.masks)
        return text.replace("(exact)", f"(all {self.masks} masks)") if self.exact else text


def match_bounds(
    net: Network,
    strategy: Strategy | Allocation,
    shared: tuple[str, ...] = (),
    *,
    degree: bool = False,
    draws: int = 1000,
    most: int = 10_000,
    seed: int = 0,
) -> MatchBounds:
    """P(a mask contains a T2, T7 or odd-degree structure) <= MP <= P(rho = kappa), for the masks that a strategy draws.

    A strategy with at most `most` different masks is counted exactly, all of them judged by `predictions`. Else `draws` masks are drawn
    (those of trials 0, 1, .. of `seed`), and the bounds are ends of intervals, except where theorems count without a sample: T4, T5, T6 or
    T12 where rank follows from the numbers of learnable weights per line (weights scattered in whole groups, or equally many in each line
    chosen), T7 where equally full rows or columns suffice, T11 for relu.
    degree=True (linear): odd degrees count for the lower bound (T8, T9). It takes 1 to 100 ms for a mask.
    relu: kinds rest on sampled regions (T11), upper is P(not proven to be 0). Errors: as for `predict`.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> print(sl.match_bounds(net, sl.scattered(net, 4, "W"), shared=("B", "D")))
    0.00439 <= MP <= 1 (all 1820 masks)
    """
    shared = check_shared(net, shared)
    strategy = as_strategy(check_allocation(net, strategy, shared))
    draws, most = whole_number("draws", draws, 1, most=LARGEST_WORD + 1), whole_number("most", most, 1)
    law = strategy.law(most)
    if law is None:
        masks, chances = strategy.masks(whole_number("seed", seed, 0), 0, 0, draws), None
    else:
        masks, chances = law
    kind = predictions(net, masks, shared, degree).kind
    weights = np.full(len(masks), 1 / len(masks)) if chances is None else chances
    share = {name: math.fsum(weights[kind == name]) for name in KINDS}
    if chances is not None:
        lower, upper = (min(1.0, math.fsum(weights[which])) for which in (kind == "maximal", kind != "minimal"))
        return MatchBounds((lower, lower), (upper, upper), len(masks), share, True)
    sampled = (clopper_pearson(int(which.sum()), draws) for which in (kind == "maximal", kind != "minimal"))
    known = certain(net, strategy, shared, 0)
    low, high = (interval if exact is None else (exact, exact) for interval, exact in zip(sampled, known))
    return MatchBounds(low, high, draws, share, False)


@dataclass(frozen=True)
class StrategyPrediction:
    """What theory predicts of a strategy, counted over drawn masks; see `predict_strategy`.

    draws: masks drawn; kinds: number of drawn masks of every kind; full_rank: share of them with rho = kappa; maximal: share of them with a
    proven match probability of one. Shares of a sample are no bounds: lower <= MP <= upper are `exact_lower` and `exact_upper` where these
    could be counted without a sample, and where they are None the safe ends of 95 % Clopper-Pearson intervals from the drawn masks.
    required_rank: kappa (relu: the largest found among sampled regions).
    """

    net: Network
    strategy: Strategy
    shared: tuple[str, ...]
    draws: int
    required_rank: int
    kinds: dict[str, int] = field(hash=False)
    full_rank: float
    error: float | None
    exact_lower: float | None
    exact_upper: float | None

    @property
    def maximal(self) -> float:
        return self.kinds["maximal"] / self.draws

    @property
    def lower(self) -> float:
        """P(kind is maximal), masks that match with probability one: exact, or the low end of its interval (see `exact_lower`)."""
        return self._ends[0] if self.exact_lower is None else self.exact_lower

    @property
    def upper(self) -> float:
        """P(kind is not minimal): all other masks never match. For linear and tanh this is P(rho = kappa). Exact, or the high end of its
        interval (see `exact_upper`)."""
        return self._ends[1] if self.exact_upper is None else self.exact_upper

    @property
    def _ends(self) -> tuple[float, float]:
        return safe_ends(self.kinds["maximal"], self.kinds["minimal"], self.draws)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items() if count)
        exact = (self.exact_lower is not None, self.exact_upper is not None)
        return (
            f"{self.strategy.name}: {bounds_text(self.lower, self.upper, *exact, self.draws)}; "
            f"of {self.draws} masks drawn {counts}, {self.full_rank:.4g} with rho = kappa = {self.required_rank}"
        )


def predict_strategy(
    net: Network,
    strategy: Strategy | Allocation,
    shared: tuple[str, ...] = (),
    draws: int = 1000,
    seed: int = 0,
) -> StrategyPrediction:
    """Bounds of a strategy's match probability, P(maximal) <= MP <= P(rho = kappa), and the kinds of `draws` of its masks.

    The masks are those of trials 0 .. draws - 1 (task 0) of this seed. A fixed strategy is counted once. The bounds are exact where the
    strategy has at most 10 draws different masks (all are judged) and where theorems count them; else they are estimated from the drawn
    masks, on the safe side. `match_bounds` uses odd degrees too.
    Errors: as for `predict`.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.predict_strategy(net, sl.scattered(net, 4, "W"), shared=("B", "D"), draws=50)
    >>> found.lower, found.upper
    (0.0, 1.0)
    """
    shared = check_shared(net, shared)
    strategy = as_strategy(strategy)
    check_allocation(net, strategy, shared)
    draws = 1 if strategy.allocation is not None else whole_number("draws", draws, 1, most=LARGEST_WORD + 1)
    found = predictions(net, strategy.masks(seed, 0, 0, draws), shared)
    kinds = {kind: int((found.kind == kind).sum()) for kind in KINDS}
    full = float((found.attained_rank == found.required_rank).mean())
    error = None if np.isnan(found.error).any() else float(found.error.max())
    bounds = certain(net, strategy, shared, 10 * draws)
    return StrategyPrediction(net, strategy, shared, draws, found.required_rank, kinds, full, error, *bounds)
