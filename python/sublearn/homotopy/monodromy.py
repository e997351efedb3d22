"""All solutions of square systems at one random point of data: loops until they are quiet, then the trace test, then more loops.

Loops (homotopy/loops.py) find true solutions, so a count is a lower bound; the trace test (homotopy/trace_test.py) tells whether one is
missing, where targets are free and solutions are not too many. Where it cannot be run or does not settle, all rests on more quiet loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backend.kernels import Kernels
from ..ops.arguments import index_rows
from .loops import extend
from .system import CAREFUL, CONVERGED, System
from .trace_test import trace_test

TRACE_MOST = 200  # solutions up to which the trace test is run: it costs about as much as the loops
_FIRST = 2e-2  # error at which loops stop for the trace test, which finds what they missed
_LEAST = 6  # quiet loops where there is no trace test; few would do for the error of large sets
_TRACES = 3  # trace tests of one allocation, while they do not settle or find missing solutions


@dataclass(eq=False)
class Base:
    """All found solutions of several allocations at one random complex point: the start of every path to real data.

    point complex [width]; indices, degrees int32 [allocations, kappa]; solutions: complex [found, kappa] per allocation. quiet int
    [allocations]: loops in a row that found nothing new; traced bool: the trace test says that none is missing; complete bool: so it
    does, or the loops' stopping rule was met; error float: the chance of a missing solution under the model of the loops, 0 where
    traced; paths: followed by loops from this point.
    """

    system: System
    point: np.ndarray
    indices: np.ndarray
    degrees: np.ndarray
    solutions: list[np.ndarray]
    quiet: np.ndarray
    traced: np.ndarray
    complete: np.ndarray
    paths: int

    @property
    def found(self) -> np.ndarray:
        return np.array([len(s) for s in self.solutions], dtype=np.int64)

    @property
    def error(self) -> np.ndarray:
        return np.where(self.traced, 0.0, (self.found + 1.0) ** -self.quiet.astype(float))


def monodromy(
    system: System,
    masks: np.ndarray,
    seed: int = 0,
    error: float = 1e-6,
    most: int = 2000,
    loops: int = 400,
    trace_most: int = TRACE_MOST,
    thorough: bool = True,
    threads: int = 0,
    kernels: Kernels | None = None,
) -> Base:
    """All solutions of allocations bool [m, size], each with r = rho = kappa, at one random point.

    Allocations are worked on side by side, and the answer for one does not depend on the others. One with more than `most` solutions, or
    not quiet enough after `loops` loops, is incomplete. The trace test is run up to trace_most solutions; not for saturated systems.
    kernels: where paths are followed, as of `System.track`. thorough=False stops before it, incomplete: the same solutions in the same
    order, as far as the first loops find them.
    """
    rng = np.random.default_rng([seed, system.net.size, system.net.equations, 11])
    size = system.net.size
    indices, degrees = index_rows(masks), system.degrees(masks)
    base = system.draw(rng)
    theta, x = base[:size].copy(), base[size : size + system.net.shape.inputs_size]
    starts = theta[indices]
    paths = 0
    if system.saturated:  # at teacher = student the student's own weights solve; go on to a generic teacher from there
        first = system.point(theta, x, theta)
        out = system.track(
            np.stack([first, base]), indices, degrees, np.arange(len(masks)), 0, 1, starts, steps=CAREFUL, threads=threads, kernels=kernels
        )
        paths += len(masks)
        solutions = [end[None] if status == CONVERGED else np.zeros((0, system.kappa), complex) for end, status in zip(out.end, out.status)]
    else:
        base = system.point(theta, x, system.outputs(theta[None], x[None])[0])
        solutions = [z[None] for z in starts]
    count = len(masks)
    quiet, traced = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    nothing = np.zeros((0, system.kappa), dtype=complex)

    def chosen(which):
        return [solutions[m] if which[m] else nothing for m in range(count)]

    def loop(which, number, until, least=0):
        nonlocal paths
        rng = np.random.default_rng([seed, system.net.size, system.net.equations, 11, number])
        out, now, more = extend(
            system, base, indices, degrees, chosen(which), rng, until, most, loops, least=least, threads=threads, kernels=kernels
        )
        for m in np.flatnonzero(which):
            solutions[m], quiet[m] = out[m], now[m]
        paths += more

    sizes = lambda: np.array([len(z) for z in solutions])  # noqa: E731
    open_ = sizes() > 0
    loop(open_, 0, max(error, _FIRST))
    if thorough:
        for number in range(_TRACES):
            asked = open_ & ~traced & (sizes() <= trace_most) & (not system.saturated)
            if not asked.any():
                break
            rows = np.flatnonzero(asked)
            found = trace_test(
                system,
                base,
                indices[rows],
                degrees[rows],
                [solutions[m] for m in rows],
                seed + 1000 * number,
                threads=threads,
                kernels=kernels,
            )
            more = np.zeros(count, dtype=bool)
            for m, trace in zip(rows, found):
                traced[m], more[m] = trace.verdict == 1, len(trace.missing) > 0
                if more[m]:
                    solutions[m] = np.concatenate([solutions[m], trace.missing])
            if more.any():
                loop(more, 1 + number, max(error, _FIRST))
        if (open_ & ~traced).any():
            loop(open_ & ~traced, 1 + _TRACES, error, _LEAST)
    enough = ((sizes() + 1.0) ** -quiet.astype(float) <= error) & (quiet >= _LEAST)
    return Base(system, base, indices, degrees, solutions, quiet, traced, (sizes() > 0) & (sizes() <= most) & (traced | enough), paths)
