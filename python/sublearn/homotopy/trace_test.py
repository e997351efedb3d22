"""Is a set of solutions of a square system complete? The trace test, which needs no model of how loops permute solutions.

Let f(z) = y be the system at generic frozen weights and inputs, and z_1 .. z_delta the solutions in question. For a random direction v
of targets the points (z, s) with f(z) = y + s v form an irreducible curve in C^(kappa + 1) (Bertini). Of its points, a hyperplane s = tau
holds the delta solutions, and a tilted one, s = tau + c . z, as many as the curve's degree D >= delta. While tau moves, the sum of
*all* D points moves on a straight line, and no smaller part of them does: of an irreducible curve the sum over a proper part is not affine
in tau (Sommese, Verschelde, Wampler, Symmetric functions applied to decomposing solution sets of polynomial systems, 2002). So:
1. tilt the hyperplane: the delta solutions go to points of the tilted one; loops find the other D - delta;
2. move tau to +1 and -1: is the second difference of the sum zero? If not, more loops;
3. tilt back: every solution of the system is the limit of one of the D points; those not among the delta must go to infinity.

Numerically and with probability one (over the random v, c and base point) this decides completeness; it is no proof in exact arithmetic.
Cost: (D / delta) times the loops of the system itself, and D paths to each of three ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..backend.kernels import Kernels
from .loops import extend, new_ones
from .system import CAREFUL, CONVERGED, INFINITE, NORMAL, System

_STRAIGHT = 1e-7  # largest second difference, relative to the sum of sizes
_TILTS = 10.0 ** -np.arange(0.5, 4.1, 0.5)  # on the way back: |z| of a point that goes to infinity grows like tilt^(-1/m), m small
_GROWTH, _LEGS, _FAR = 1.15, 2, 30.0  # it grew by this in each of the last two legs; a path that is lost must have been so far out, too
_FLAT, _TILTED, _ABOVE, _BELOW, _LEG = range(5)  # numbers of the points of data
_ROUNDS = 6  # of more loops, while the trace is not straight


class Trace(NamedTuple):
    """verdict: 1 complete, 0 solutions were missing, -1 not settled. curve: D. bend: the second difference. missing [m, kappa]."""

    verdict: int
    curve: int
    bend: float
    missing: np.ndarray


def trace_test(
    system: System,
    point: np.ndarray,
    indices: np.ndarray,
    degrees: np.ndarray,
    starts: list[np.ndarray],
    seed: int = 0,
    error: float = 2e-2,
    most: int = 40_000,
    threads: int = 0,
    kernels: Kernels | None = None,
) -> list[Trace]:
    """Are starts[m] complex [delta, kappa] all solutions of allocation m (indices, degrees int32 [m, kappa]) at a random point [width]?

    Not for saturated systems, whose targets are not free. error: where the loops for the tilted slice stop before the trace is looked at.
    Allocations are worked on side by side, and an answer does not depend on its neighbours.
    """
    if system.saturated:
        raise ValueError("system: expected one with free targets, got a saturated one, whose data are a teacher's weights")
    rng = np.random.default_rng([seed, system.net.size, 19])
    normals = lambda count: (rng.standard_normal(count) + 1j * rng.standard_normal(count)) / np.sqrt(2)  # noqa: E731
    equations, count = system.net.equations, len(starts)
    y = slice(len(point) - equations, len(point))
    direction = np.abs(point[y]).max() * normals(equations)
    tilted = np.concatenate([point, direction, normals(system.kappa)])
    points = np.repeat(tilted[None], _LEG + len(_TILTS), axis=0)
    points[_FLAT, -system.kappa :] = 0
    points[_ABOVE, y] += direction
    points[_BELOW, y] -= direction
    points[_LEG:, -system.kappa :] *= _TILTS[:, None]
    functional = normals(system.kappa)

    def follow(z, owner, origin, to, steps):
        out = system.track(points, indices, degrees, owner, origin, to, z, steps=steps, sliced=True, threads=threads, kernels=kernels)
        return out, out.status == CONVERGED

    def moved(curves, chosen, origin, to):
        """The points of chosen curves after a move, in order; None for a curve that lost one."""
        owner = np.repeat(chosen, [len(curves[m]) for m in chosen])
        if not len(owner):
            return [None] * count
        out, good = follow(np.concatenate([curves[m] for m in chosen]), owner, origin, to, CAREFUL)
        return [out.end[owner == m] if m in chosen and good[owner == m].all() else None for m in range(count)]

    nothing = np.zeros((0, system.kappa), dtype=complex)
    answer = [Trace(-1, 0, np.inf, nothing)] * count
    curves = moved(starts, np.array([m for m in range(count) if len(starts[m])], dtype=int), _FLAT, _TILTED)
    open_ = np.array([m for m in range(count) if curves[m] is not None], dtype=int)
    curves = [nothing if curve is None else curve for curve in curves]
    straight = []
    for number in range(_ROUNDS):
        if not len(open_):
            break
        looped, _, _ = extend(
            system,
            tilted,
            indices,
            degrees,
            [curves[m] if m in open_ else nothing for m in range(count)],
            np.random.default_rng([seed, system.net.size, number, 29]),
            error,
            most,
            100,
            sliced=True,
            threads=threads,
            kernels=kernels,
        )
        above, below = (moved(looped, open_, _TILTED, to) for to in (_ABOVE, _BELOW))
        for m in open_:
            curves[m] = looped[m]
            if above[m] is not None and below[m] is not None:
                answer[m] = Trace(-1, len(curves[m]), bend_of(curves[m], above[m], below[m], functional), nothing)
                if answer[m].bend < _STRAIGHT:
                    straight.append(m)
        open_ = np.array([m for m in open_ if m not in straight and len(curves[m]) <= most], dtype=int)

    # The first of the D came from `start` and go back there: the same line backwards. Of the others, do all go to infinity?
    rest = [curves[m][len(starts[m]) :] for m in straight]
    z, owner = np.concatenate([nothing, *rest]), np.repeat(np.array(straight, dtype=int), [len(part) for part in rest])
    size, grown, lost = np.abs(z).max(axis=1, initial=0.0), np.zeros(len(z), dtype=np.int64), np.zeros(count, dtype=bool)
    for to in range(_LEG, len(points)):
        out, good = follow(z, owner, to - 1 if to > _LEG else _TILTED, to, NORMAL)
        lost[owner[(out.status != INFINITE) & ~good & ((grown < _LEGS) | (size < _FAR))]] = True
        now = np.abs(out.end).max(axis=1, initial=0.0)
        z, owner, size, grown = out.end[good], owner[good], now[good], np.where(now > _GROWTH * size, grown + 1, 0)[good]
    out, good = follow(z, owner, len(points) - 1, _FLAT, NORMAL)
    finite = good & (np.abs(out.end).max(axis=1, initial=0.0) < 10 * size)
    for m in straight:
        mine = owner == m
        missing = new_ones(out.end[mine & finite], starts[m])
        sure = not lost[m] and not finite[mine].any() and (grown[mine] >= _LEGS).all()
        answer[m] = answer[m]._replace(verdict=0 if len(missing) else 1 if sure else -1, missing=missing)
    return answer


def bend_of(middle: np.ndarray, above: np.ndarray, below: np.ndarray, functional: np.ndarray) -> float:
    """Second difference of the sum of functional . z over the points z [D, kappa] of three equally spaced slices, relative to sizes."""
    sums = [(z @ functional).sum() for z in (middle, above, below)]
    return float(abs(sums[1] + sums[2] - 2 * sums[0]) / max(np.abs(z).sum() for z in (middle, above, below)))
