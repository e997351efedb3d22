"""The best allocation (T10): the cheapest weights that can match at all, and the best of several that cost the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .._checks import whole_number
from ..model.allocation import Allocation
from ..model.linearized import Linearized, check_model
from ..model.network import Network
from ..numerics.matroid import Infeasible
from ..ranks.column_matroid import prices
from .equal_costs import count, extended, generic_order, order_within_limits, tied
from .problem import Impossible, Problem, read_limits
from .tie_breaks import TRIES, best_conditioned, most_probable, structure

__all__ = ["BestAllocation", "Impossible", "best_allocation"]

_PREFER = (None, *TRIES)


class BestAllocation(Allocation):
    """An `Allocation`, and how many others are as good.

    .ties: how many allocations of the same budget, cost and rank there are, this one included: 1 where no other is. Counted from class of
    cost to class; where a class leaves more than 2000 choices, estimated from 1000 random ones (some 3 % wrong, more where few of them have
    the rank). None with limits, for which it is not counted. Computed when it is asked for; a copy by pickle does not know it.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.best_allocation(net, shared=("B", "D")).ties, sl.best_allocation(net, {"W": np.arange(16).reshape(4, 4)}, shared=("B", "D")).ties
    (1820, 1)
    """

    __slots__ = ("_problem",)
    _problem: Problem

    @classmethod
    def of(cls, problem: Problem, mask: np.ndarray) -> BestAllocation:
        found = cls.from_mask(problem.net, mask)
        assert isinstance(found, cls)
        found._problem = problem
        return found

    @property
    def ties(self) -> int | None:
        return count(self._problem, self.mask)


def best_allocation(
    net: Network | Linearized,
    cost: Mapping[str, Any] | None = None,
    limits: Sequence[tuple[Any, int]] | None = None,
    shared: tuple[str, ...] = (),
    *,
    budget: int | None = None,
    prefer: Literal["probability", "conditioning"] | None = None,
    trials: int = 200,
    tries: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> BestAllocation:
    """The cheapest allocation that can match at all: kappa weights, rho = kappa, so MP > 0 (T1, T10).

    cost: {group: array of the group's shape, or one number}, finite; a group that is missing costs 1 per weight.
    limits: [(mask, most), ..]: at most `most` learnable weights in the mask, which is a dict of bool arrays by group, a flat bool array
    [size] or an Allocation; a limit of 0 forbids its weights. shared: groups copied from the teacher; nothing in them is chosen.

    No limits, or of 0 only: greedy. Limits that are nested or disjoint: weighted matroid intersection. Limits that overlap (rows and
    columns; what enters and what leaves a neuron): an integer programme (HiGHS). The result is the cheapest up
    to rounding of costs (2^-39 of the largest that is no larger than what the cheapest weights cost together, counted from the least;
    overlapping limits 1e-6, exact for whole numbers below 1e5; in any unit), and up to the error probability of a rank
    mod p (below 1e-5 for each rank; that the result itself has rho = kappa is certain where kappa is known by a closed form).

    budget: number of weights, kappa by default. More: the cheapest beside them (with limits: beside the cheapest kappa, as far as limits
    allow, perhaps not the cheapest together); they make a match easier to find. Fewer: the cheapest whose columns are independent, which
    reach the largest rank that so many can; no match then (T1).
    Most often several allocations cost the same; .ties of the result says how many (see `BestAllocation`), and `prefer` which is taken.

    prefer, among allocations of the same total cost:
        None           one that matches with probability 1 where theory knows one at once (T2, T7), else weights whose columns of the
                       Jacobian are far from parallel: pivoted QR at a fixed generic point, class of cost after class (with limits only
                       where all weights cost the same; above 4e9 multiply-adds the lower position goes first). No trial is drawn
        "probability"  one that matches with probability 1 where theory knows one (T2, T7; of several the one found most often), else a
                       local search by swaps of equal cost, by the number of `trials` trials that `match_probability` matches: a found
                       probability (D8), so a heuristic
        "conditioning" local search for the largest median, over sampled trials, of the smallest singular value of J_A
    tries: swaps tried (40 for probability, 400 for conditioning). The same seed gives the same allocation.
    Errors: `Impossible` if no allocation obeys the limits; ValueError for relu (ranks differ from region to region, so there is no
    matroid), for costs that are not finite and wrong shapes; TypeError for other types.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> cost = {"W": np.arange(64.0).reshape(8, 8)}
    >>> sl.best_allocation(net, cost, shared=("B", "D")).indices
    array([16, 17, 18, 19, 20, 24, 25, 26, 27, 28])
    """
    shared = check_model(net, shared)
    if prefer not in _PREFER:
        raise ValueError(f"prefer: expected None, 'probability' or 'conditioning', got {prefer!r}")
    if prefer is not None and isinstance(net, Linearized):
        raise ValueError(f"prefer: expected None for a model of which only the Jacobian is known, got {prefer!r}")
    trials = whole_number("trials", trials, 1)
    tries = (TRIES[prefer] if prefer else 0) if tries is None else whole_number("tries", tries, 0)
    seed = whole_number("seed", seed, 0)
    budget = None if budget is None else whole_number("budget", budget, 0)
    problem = Problem(net, prices(net, cost), read_limits(net, limits), shared, budget)
    if budget is not None and budget > problem.free.sum():
        raise ValueError(f"budget: expected at most the {problem.free.sum()} weights that may be chosen, got {budget}")
    if prefer == "probability" and problem.size < problem.kappa:
        raise ValueError(f"prefer: expected None or 'conditioning', for a budget of {problem.size} < kappa = {problem.kappa} never matches")
    try:
        mask = problem.solve()
    except Infeasible as proof:
        raise problem.impossible(proof) from None
    if prefer == "probability" and mask.any():
        mask = most_probable(problem, mask, trials, tries, seed, threads)
    elif prefer == "conditioning" and mask.any():
        mask = best_conditioned(problem, mask, tries, seed, threads)
    elif tied(problem, mask) or (budget or 0) > problem.size:
        mask = _of_equal_cost(problem, mask)
    if budget is not None and budget > problem.size:
        mask = extended(problem, mask, budget)
        if mask.sum() < budget:
            raise ValueError(f"budget: expected at most {mask.sum()}, which the limits allow beside the cheapest weights, got {budget}")
    return BestAllocation.of(problem, mask)


def _of_equal_cost(problem: Problem, mask: np.ndarray) -> np.ndarray:
    """The allocation taken of those that cost as much as this one."""
    problem.ties = order_within_limits(problem) if problem.caps else generic_order(problem, mask)
    if not tied(problem, mask):  # but for what comes beside it
        return mask
    found = structure(problem) if isinstance(problem.net, Network) and problem.size == problem.kappa else None
    if found is None:
        found = problem.solve()
    return found if problem.same_price(found, mask) else mask
