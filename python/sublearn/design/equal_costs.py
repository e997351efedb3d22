"""Which weights go first where costs are equal, and how many allocations cost the same?

Order: pivoted QR of the Jacobian at one fixed generic point, class of cost after class, so that weights whose columns are nearly parallel
are not chosen together. It decides nothing that costs or ranks decide.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from ..data.trials import draw_trials
from ..model.linearized import Linearized
from ..model.strategies import everything
from ..numerics.matroid import Tableau
from ..ops.jacobian import jacobian
from ..ops.projection import choose_columns
from .problem import Problem

_EVERY, _SOME = 2000, 1000  # sets of one class that are looked at one by one; else so many of them at random
_MOST_WORK = 4e9  # multiply-adds of pivoted QRs; what would take more keeps the order of positions


def tied(problem: Problem, mask: np.ndarray) -> bool:
    """Whether another choice of as many weights costs as much: an exchange of two weights of one cost."""
    outside = np.flatnonzero(problem.free & ~mask & np.isin(problem.cost, problem.cost[mask]))
    if not len(outside):
        return False
    tableau = problem.tableau.copy()
    tableau.restart(np.flatnonzero(mask))
    for cost in np.unique(problem.cost[mask]):
        inside = np.flatnonzero(tableau.members & (problem.cost == cost))
        same = outside[problem.cost[outside] == cost]
        if len(same) and ((tableau.table[np.ix_(tableau.row_of[inside], same)] != 0).any() or tableau.addable()[same].any()):
            return True
    return False


def generic_order(problem: Problem, mask: np.ndarray) -> np.ndarray:
    """float64 [size]: what goes first among weights of one cost. mask bool [size]: a cheapest allocation; its weights of lower cost span
    all that cost less, and come first anyhow."""
    J = _generic_jacobian(problem)
    order: list[int] = []
    if J.shape[0] * J.shape[1] * problem.kappa > _MOST_WORK:
        return np.arange(J.shape[1], dtype=np.float64)
    free, work = np.flatnonzero(problem.free), 0
    free = free[np.argsort(problem.cost[free], kind="stable")]
    for alike in np.split(free, np.flatnonzero(np.diff(problem.cost[free])) + 1):
        if len(alike) == 1:
            order.append(int(alike[0]))
            continue
        left = np.zeros(J.shape[1], dtype=bool)
        left[alike] = True
        given = np.flatnonzero(mask & (problem.cost < problem.cost[alike[0]]))
        while left.any():
            if left.sum() > 1 and work < _MOST_WORK:
                work += J.shape[0] * int(left.sum()) * (len(given) + min(int(left.sum()), len(J)))
                found = choose_columns(J, None, len(given) + min(int(left.sum()), len(J)), "pivot", given=given, candidates=left)
                new = found.indices[len(given) :]
                new = new[new >= 0]
            else:
                new = np.flatnonzero(left)
            if not len(new) and not len(given):
                new = np.flatnonzero(left)  # columns of zeros
            order.extend(new.tolist())
            left[new] = False
            given = given[:0]  # those that depend on these: a set of their own
    place = np.full(J.shape[1], float(J.shape[1]))
    place[order] = np.arange(len(order))
    return place


def order_within_limits(problem: Problem) -> np.ndarray:
    """float64 [size]: 0 for weights that pivoting takes as long as no limit is full, 1 for all others. What solves the problem with these
    for costs keeps as many of them as it can."""
    J, chosen, open_ = _generic_jacobian(problem), np.zeros(0, dtype=np.int64), problem.free.copy()
    if J.shape[0] * J.shape[1] * problem.kappa > _MOST_WORK:
        return np.ones(J.shape[1])
    while len(chosen) < problem.size and open_.any():
        new = choose_columns(J, None, problem.size, "pivot", given=chosen, candidates=open_).indices[len(chosen) :]
        for weight in new[new >= 0]:
            full = [cap for cap in problem.caps if cap.members[weight] and cap.members[chosen].sum() == cap.most]
            for cap in full:
                open_ &= ~cap.members
            if full:
                break
            chosen = np.append(chosen, weight)
        else:
            break
    return np.where(np.isin(np.arange(J.shape[1]), chosen), 0.0, 1.0)


def _generic_jacobian(problem: Problem) -> np.ndarray:
    """[equations, size], 0 for weights that cannot be chosen."""
    net = problem.net
    if isinstance(net, Linearized):
        J = np.asarray(net.J, dtype=np.float64)
    else:
        trial = draw_trials(net, everything(net, problem.shared), 1, shared=problem.shared, seed=0)
        J = jacobian(net, trial.student[0], trial.x[0], np.ones(net.size, dtype=bool))
    return np.where(problem.free, J, 0.0)


def extended(problem: Problem, mask: np.ndarray, budget: int) -> np.ndarray:
    """The mask and the cheapest weights beside it that the limits allow, `budget` in all or as many as there are."""
    mask = mask.copy()
    ties = np.arange(len(mask)) if problem.ties is None else problem.ties
    rest = np.flatnonzero(problem.free & ~mask)
    for weight in rest[np.lexsort((ties[rest], problem.cost[rest]))]:
        if mask.sum() == budget:
            break
        mask[weight] = True
        if any((members & mask).sum() > most for members, most in problem.limits):
            mask[weight] = False
    return mask


def count(problem: Problem, mask: np.ndarray) -> int | None:
    """How many allocations of as many weights have the same cost and rank, this one included; None with limits.

    From class of cost to class: sets of as many weights of the class whose rank beside the cheaper ones is the same. Of more than 2000 sets
    1000 random ones are looked at, so the number is an estimate then.
    """
    if problem.caps:
        return None
    total = 1
    for cost in np.unique(problem.cost[mask]):
        same = problem.free & (problem.cost == cost)
        chosen = mask & same
        if chosen.sum() < same.sum():
            tableau = problem.tableau.copy()
            tableau.restart(np.flatnonzero(mask & (problem.cost < cost)))
            minor = tableau.contraction(same)
            many, r = int(chosen.sum()), minor.rank_of(chosen)
            total *= _sets(minor, np.flatnonzero(same & minor.addable() if many == r else same), many, r)
    return total


def _sets(minor: Tableau, elements: np.ndarray, many: int, r: int) -> int:
    """Sets of `many` of the elements that have rank r."""
    every = comb(len(elements), many)

    def good(some: np.ndarray) -> bool:
        mask = np.zeros(len(minor.row_of), dtype=bool)
        mask[some] = True
        return minor.rank_of(mask) == r

    if every <= _EVERY:
        return sum(good(elements[list(some)]) for some in combinations(range(len(elements)), many))
    rng = np.random.default_rng(0)
    hits = sum(good(rng.permutation(elements)[:many]) for _ in range(_SOME))
    return max(1, every * hits // _SOME)
