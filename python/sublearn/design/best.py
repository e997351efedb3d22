"""The best allocation (T10): the cheapest weights that can match at all, and the best of several that cost the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .._checks import whole_number
from ..model.allocation import Allocation
from ..model.linearized import Linearized, check_model
from ..model.network import Network
from ..numerics.matroid import Infeasible
from ..ranks.column_matroid import prices
from .problem import Impossible, Problem, read_limits
from .tie_breaks import TRIES, best_conditioned, most_probable

__all__ = ["Impossible", "best_allocation"]

_PREFER = (None, *TRIES)


def best_allocation(
    net: Network | Linearized,
    cost: Mapping[str, Any] | None = None,
    limits: Sequence[tuple[Any, int]] | None = None,
    shared: tuple[str, ...] = (),
    *,
    prefer: Literal["probability", "conditioning"] | None = None,
    trials: int = 200,
    tries: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Allocation:
    """The cheapest allocation that can match at all: kappa weights, rho = kappa, so MP > 0 (T1, T10).

    cost: {group: array of the group's shape, or one number}, finite; a group that is missing costs 1 per weight.
    limits: [(mask, most), ..]: at most `most` learnable weights in the mask, which is a dict of bool arrays by group, a flat bool array
    [size] or an Allocation; a limit of 0 forbids its weights. shared: groups copied from the teacher; nothing in them is chosen.

    No limits, or of 0 only: greedy. Limits that are nested or disjoint: weighted matroid intersection. Limits that overlap (rows and
    columns; what enters and what leaves a neuron): an integer programme (HiGHS). The result is the cheapest up
    to rounding of costs (2^-39 of the largest that is no larger than what the cheapest weights cost together, counted from the least;
    overlapping limits 1e-6, exact for whole numbers below 1e5; in any unit), and up to the error probability of a rank
    mod p (below 1e-5 for each rank; that the result itself has rho = kappa is certain where kappa is known by a closed form).

    prefer, among allocations of the same total cost:
        None           the first that is found
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
    problem = Problem(net, prices(net, cost), read_limits(net, limits), shared)
    try:
        mask = problem.solve()
    except Infeasible as proof:
        raise problem.impossible(proof) from None
    if not mask.any():
        return Allocation.from_mask(net, mask)
    if prefer == "probability":
        mask = most_probable(problem, mask, trials, tries, seed, threads)
    elif prefer == "conditioning":
        mask = best_conditioned(problem, mask, tries, seed, threads)
    return Allocation.from_mask(net, mask)
