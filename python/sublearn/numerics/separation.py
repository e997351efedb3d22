"""Which direction separates a point from a sum of sets? By a linear programme; what it gives is a candidate, not a proof."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RAY = -1  # the owner of the end of a ray from 0
SEGMENT = -2  # the owner of the end of a segment, whose other end is its negative


class Separation(NamedTuple):
    """direction [e]: u, or None where the programme found none; shares [n]: how much of each point the nearest sum has (0 if it failed)."""

    direction: np.ndarray | None
    shares: np.ndarray


def separate(points: np.ndarray, owner: np.ndarray, target: np.ndarray) -> Separation:
    """A direction u [e], |u_i| <= 1, with u . target > sum over sets of the largest u . point, if there is one.

    points [e, n], owner int [n]: the set that each point belongs to, 0, 1, ..; RAY for the end of a ray from 0, for which u . point <= 0 is
    asked; SEGMENT for all between the point and its negative. target [e]. The sets are the convex hulls of their points. u is the dual
    solution of: the target as a sum of one point of each hull and a remainder of the least absolute sum (HiGHS); the shares are its primal
    one. Numbers that are not finite: none.
    """
    from scipy.optimize import linprog

    size, count = points.shape
    if not (np.isfinite(points).all() and np.isfinite(target).all()):
        return Separation(None, np.zeros(count))
    sets = int(owner.max(initial=-1)) + 1
    equal = np.zeros((size + sets, count + 2 * size))
    equal[:size, :count] = points
    equal[:size, count : count + size], equal[:size, count + size :] = np.eye(size), -np.eye(size)
    inside = np.flatnonzero(owner >= 0)
    equal[size + owner[inside], inside] = 1
    cost = np.concatenate([np.zeros(count), np.ones(2 * size)])
    scale = float(np.abs(target).max(initial=0.0)) or 1.0
    bounds = np.tile([0.0, np.inf], (count + 2 * size, 1))
    bounds[np.flatnonzero(owner == SEGMENT)] = -1.0, 1.0
    found = linprog(cost, A_eq=equal, b_eq=np.concatenate([target, np.ones(sets)]), bounds=bounds, method="highs")
    if found.status != 0:
        return Separation(None, np.zeros(count))
    direction = np.asarray(found.eqlin.marginals[:size], dtype=np.float64) if found.fun > 1e-9 * scale else None
    return Separation(direction, np.asarray(found.x[:count], dtype=np.float64))
