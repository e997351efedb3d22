"""The generic degree (D7): how many complex solutions a square system has, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple

from .._checks import whole_number
from ..model.allocation import Allocation
from ..model.checks import check_shared
from ..model.network import Network
from ..model.strategy import check_allocation
from ..ops.arguments import learnable, thread_count
from ..ranks.affine import affine
from ..ranks.generic_rank import attained_ranks
from .monodromy import TRACE_MOST, monodromy
from .system import system_of


class SolutionCount(NamedTuple):
    """degree; error: the chance of a missing solution under the model of the loops (0.0 where the trace test passed, or none was needed);
    trace: "complete" (the trace test passed), "not run", or "not settled"; points: random points at which the count was the same."""

    degree: int
    error: float
    trace: str
    points: int


def degree(
    net: Network,
    allocation: object,
    shared: tuple[str, ...] = (),
    *,
    error: float = 1e-6,
    seed: int = 0,
    most: int = 2000,
    threads: int | None = None,
) -> int:
    """delta (D7): the generic number of complex solutions theta_A of f(theta_A, frozen; x) = y, y reachable, for a linear network.

    allocation: an Allocation or a mask bool [size] with exactly kappa learnable weights. 0 if the attained rank is below kappa (T1), 1
    if the outputs are affine in the learnable weights (T2), otherwise counted by monodromy: all solutions counted are true ones. Up to 200
    of them a trace test (homotopy/trace_test.py) checks that none is missing; beyond that, and in saturated systems, loops go on until a
    missing one has a chance of about `error` under a model (homotopy/loops.py). `solution_count` reports how sure an answer is.
    Errors: ValueError for a network that is not linear, a budget other than kappa, a learnable weight in a shared group, more than
    `most` solutions; RuntimeError if the loops do not settle.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> sl.degree(net, sl.block(net, (2, 2), "W").draw(0), ("B", "D"))
    2
    """
    return solution_count(net, allocation, shared, error=error, seed=seed, most=most, points=1, threads=threads).degree


def solution_count(
    net: Network,
    allocation: object,
    shared: tuple[str, ...] = (),
    *,
    error: float = 1e-6,
    seed: int = 0,
    most: int = 2000,
    points: int = 2,
    trace_most: int = TRACE_MOST,
    threads: int | None = None,
) -> SolutionCount:
    """`degree` with its confidence: counted at `points` random points, the largest kept, with a trace test up to trace_most solutions.

    Saturated systems without known forcing equations (homotopy/system.py) have no free targets, hence no slices to move in parallel: there
    the loops, their conjugate halves and the second point are all the evidence, and trace is "not run". Arguments and errors: see `degree`.
    """
    shared = check_shared(net, shared)
    mask = learnable(net, allocation).rows
    if len(mask) != 1:
        raise ValueError(f"allocation: expected one allocation, got a batch of {len(mask)}")
    mask = mask[0]
    check_allocation(net, Allocation.from_mask(net, mask), shared)
    most, seed, points = whole_number("most", most, 1), whole_number("seed", seed, 0), whole_number("points", points, 1)
    threads = thread_count(threads)
    if not 0 < error < 1:
        raise ValueError(f"error: expected a number between 0 and 1, got {error}")
    system = system_of(net, shared)
    if int(mask.sum()) != system.kappa:
        raise ValueError(f"allocation: expected a square system, budget {system.kappa} = kappa, got budget {int(mask.sum())}")
    if int(attained_ranks(net, mask[None], shared)[0]) < system.kappa:
        return SolutionCount(0, 0.0, "not run", 0)
    if system.kappa == 0 or bool(affine(net, mask[None])[0]):
        return SolutionCount(1, 0.0, "not run", 0)
    counts, traced, left = [], [], 1.0
    for number in range(points):
        base = monodromy(system, mask[None], seed=seed + number, error=error, most=most, trace_most=trace_most, threads=threads)
        found = int(base.found[0])
        if found > most:
            raise ValueError(f"most: expected at most {most} solutions, found {found} so far")
        if not base.complete[0]:
            raise RuntimeError(f"monodromy did not settle: {found} solutions, {int(base.quiet[0])} quiet loops")
        counts.append(found)
        traced.append(bool(base.traced[0]))
        left = min(left, float(base.error[0]))
    trace = "complete" if any(traced) else "not run" if system.saturated or max(counts) > trace_most else "not settled"
    return SolutionCount(max(counts), left, trace, counts.count(max(counts)))
