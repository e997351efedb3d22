"""The generic degree (D7): how many complex solutions a square system has, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._arrays import learnable, thread_count
from ._errors import whole_number
from ._structures import affine
from .allocation import Allocation, check_allocation, check_shared
from .continuation import extend, monodromy, system_of
from .generic import attained_ranks
from .network import Network
from .trace import trace_test

TRACE_MOST = 200  # solutions up to which `degree` runs the trace test: as long as the loops themselves, or a few times that


class SolutionCount(NamedTuple):
    """degree; error: the chance of a missing solution under the model of the loops (0.0 where nothing was left to loops);
    trace: "complete" (the trace test passed), "not run", or "not settled"; points: random points at which the count was the same."""

    degree: int
    error: float
    trace: str
    points: int


def degree(net: Network, allocation: object, shared: tuple[str, ...] = (), *, error: float = 1e-6, seed: int = 0, most: int = 2000,
           threads: int | None = None) -> int:
    """delta (D7): the generic number of complex solutions theta_A of f(theta_A, frozen; x) = y, y reachable, for a linear network.

    allocation: an Allocation or a mask bool [size] with exactly kappa learnable weights. 0 if the attained rank is below kappa (T1), 1
    if the outputs are affine in the learnable weights (T2), otherwise counted by monodromy (continuation.py): all solutions counted are
    true ones, and the loops go on until a missing one has a chance of about `error`. Up to 200 solutions a trace test (trace.py), which
    needs no such model, checks that none is missing; `solution_count` says how sure an answer is.
    Errors: ValueError for a network that is not linear, a budget other than kappa, a learnable weight in a shared group, more than
    `most` solutions; RuntimeError if the loops do not settle.
    """
    return solution_count(net, allocation, shared, error=error, seed=seed, most=most, points=1, threads=threads).degree


def solution_count(net: Network, allocation: object, shared: tuple[str, ...] = (), *, error: float = 1e-6, seed: int = 0,
                   most: int = 2000, points: int = 2, trace_most: int = TRACE_MOST, threads: int | None = None) -> SolutionCount:
    """`degree` with its confidence: counted at `points` random points, the largest kept, with a trace test up to trace_most solutions.

    Saturated systems without known forcing equations (continuation.py) have no free targets, hence no slices to move in parallel: there the
    loops, their conjugate halves and the second point are all the evidence, and trace is "not run". Arguments and errors: see `degree`.
    """
    shared = check_shared(net, shared)
    mask = learnable(net, allocation).rows
    if len(mask) != 1:
        raise ValueError(f"allocation: expected one allocation, got a batch of {len(mask)}")
    mask = mask[0]
    check_allocation(net, Allocation.from_mask(net, mask), shared)
    most, seed, points = whole_number("most", most, 1), whole_number("seed", seed, 0), whole_number("points", points, 1)
    if not 0 < error < 1:
        raise ValueError(f"error: expected a number between 0 and 1, got {error}")
    system = system_of(net, shared)
    if int(mask.sum()) != system.kappa:
        raise ValueError(f"allocation: expected a square system, budget {system.kappa} = kappa, got budget {int(mask.sum())}")
    if int(attained_ranks(net, mask[None], shared)[0]) < system.kappa:
        return SolutionCount(0, 0.0, "not run", 0)
    if system.kappa == 0 or bool(affine(net, mask[None])[0]):
        return SolutionCount(1, 0.0, "not run", 0)
    threads = thread_count(threads)
    counts, trace, left = [], "not run", 1.0
    for number in range(points):
        base = monodromy(system, mask[None], seed=seed + number, error=error, most=most, threads=threads)
        if number == 0 and base.complete[0] and base.found[0] <= trace_most and not system.saturated:
            trace = _traced(base, seed, error, most, threads)
        found = int(base.found[0])
        if found > most:
            raise ValueError(f"most: expected at most {most} solutions, found {found} so far")
        if not base.complete[0]:
            raise RuntimeError(f"monodromy did not settle: {found} solutions, {int(base.quiet[0])} quiet loops")
        counts.append(found)
        left = min(left, float(base.error[0]))
    return SolutionCount(max(counts), left, trace, counts.count(max(counts)))


def _traced(base, seed: int, error: float, most: int, threads: int) -> str:
    """Runs the trace test on the only allocation of base; solutions that were missing are taken in, and looped from."""
    for attempt in range(3):
        (found,) = trace_test(base.system, base.point, base.indices, base.degrees, base.solutions, seed + attempt, threads=threads)
        if found.verdict == 1:
            return "complete"
        if len(found.missing):
            rng = np.random.default_rng([seed, attempt, 23])
            solutions = [np.concatenate([base.solutions[0], found.missing])]
            base.solutions, base.quiet, _ = extend(base.system, base.point, base.indices, base.degrees, solutions, rng, error, most, 400,
                                                   threads=threads)
            base.complete = (base.found + 1.0) ** -base.quiet.astype(float) <= error
    return "not settled"
