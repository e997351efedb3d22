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

from .continuation import CAREFUL, CONVERGED, INFINITE, NORMAL, System, extend, new_ones

_STRAIGHT = 1e-7  # largest second difference, relative to the sum of sizes
_TILTS = 10.0 ** -np.arange(0.5, 4.1, 0.5)  # on the way back: |z| of a point that goes to infinity grows like tilt^(-1/m), m small
_GROWTH, _LEGS, _FAR = 1.15, 2, 30.0  # it grew by this in each of the last two legs; a path that is lost must have been so far out, too
_ROUNDS = 4  # of more loops, while the trace is not straight


class Trace(NamedTuple):
    """verdict: 1 complete, 0 solutions were missing, -1 not settled. curve: D. bend: the second difference. missing [m, kappa]."""

    verdict: int
    curve: int
    bend: float
    missing: np.ndarray


def trace_test(system: System, point: np.ndarray, indices: np.ndarray, degrees: np.ndarray, start: np.ndarray, seed: int = 0,
               error: float = 1e-3, most: int = 40_000, threads: int = 0) -> Trace:
    """Are start [delta, kappa] all solutions of one allocation (indices, degrees int32 [1, kappa]) at a random point [width] of data?

    Not for saturated systems, whose targets are not free. error: where the loops for the tilted slice stop before the trace is looked at.
    """
    if system.saturated:
        raise ValueError("system: expected one with free targets, got a saturated one, whose data are a teacher's weights")
    rng = np.random.default_rng([seed, system.net.size, 19])
    allocation = indices, degrees
    normals = lambda count: (rng.standard_normal(count) + 1j * rng.standard_normal(count)) / np.sqrt(2)  # noqa: E731
    equations = system.net.equations
    y = slice(len(point) - equations, len(point))
    direction = np.abs(point[y]).max() * normals(equations)
    flat = np.concatenate([point, direction, np.zeros(system.kappa)])
    tilted = np.concatenate([point, direction, normals(system.kappa)])
    above, below = tilted.copy(), tilted.copy()
    above[y] += direction
    below[y] -= direction
    points = [flat, tilted, above, below]
    for tilt in _TILTS:
        points.append(tilted.copy())
        points[-1][-system.kappa :] *= tilt
    points = np.stack(points)

    def follow(z, origin, to, steps=CAREFUL):
        out = system.track(points, *allocation, 0, origin, to, z, steps=steps, sliced=True, threads=threads)
        return out, out.status == CONVERGED

    def unsettled(curve, bend):
        return Trace(-1, curve, bend, start[:0])

    out, good = follow(start, 0, 1)
    if not good.all():
        return unsettled(int(good.sum()), np.inf)
    points_of_curve, bend = out.end, np.inf
    functional = normals(system.kappa)
    for _ in range(_ROUNDS):
        (points_of_curve,), _, _ = extend(system, tilted, *allocation, [points_of_curve], rng, error, most, 100, sliced=True,
                                          threads=threads)
        if len(points_of_curve) > most:
            break
        slices = [points_of_curve]
        for to in (2, 3):
            out, good = follow(points_of_curve, 1, to)
            if not good.all():
                return unsettled(len(points_of_curve), bend)
            slices.append(out.end)
        bend = bend_of(*slices, functional)
        if bend < _STRAIGHT:
            break
    if bend >= _STRAIGHT:
        return unsettled(len(points_of_curve), bend)
    # The first of the D came from `start` and go back there: the same line backwards. Of the others, do all go to infinity?
    curve, z = len(points_of_curve), points_of_curve[len(start) :]
    size, grown = np.abs(z).max(axis=1, initial=0.0), np.zeros(len(z), dtype=np.int64)
    for to in range(4, len(points)):
        out, good = follow(z, to - 1 if to > 4 else 1, to, NORMAL)
        if ((out.status != INFINITE) & ~good & ((grown < _LEGS) | (size < _FAR))).any():
            return unsettled(curve, bend)
        now = np.abs(out.end).max(axis=1, initial=0.0)
        z, size, grown = out.end[good], now[good], np.where(now > _GROWTH * size, grown + 1, 0)[good]
    out, good = follow(z, len(points) - 1, 0, NORMAL)
    end = np.abs(out.end).max(axis=1, initial=0.0)
    finite = good & (end < 10 * size)
    missing = new_ones(out.end[finite], start)
    if len(missing):
        return Trace(0, curve, bend, missing)
    return Trace(1 if (finite | (grown >= _LEGS)).all() and not finite.any() else -1, curve, bend, missing)


def bend_of(middle: np.ndarray, above: np.ndarray, below: np.ndarray, functional: np.ndarray) -> float:
    """Second difference of the sum of functional . z over the points z [D, kappa] of three equally spaced slices, relative to sizes."""
    sums = [(z @ functional).sum() for z in (middle, above, below)]
    return float(abs(sums[1] + sums[2] - 2 * sums[0]) / max(np.abs(z).sum() for z in (middle, above, below)))
