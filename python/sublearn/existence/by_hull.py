"""Proofs that biases cannot match (T13): a direction that separates the targets from all that the units can add up to.

A feedforward network, tanh or relu, in which only biases of its last hidden layer learn (and output biases, or not). With a_j in R^m the
pre-activation of unit j without its bias, V_j in R^o its outgoing weights and t the targets less all that is fixed, the equations are

    t = sum over learning j of V_j (x) phi(a_j + s_j 1)      ( + c (x) 1 where output biases c learn ),

a sum of n curves, one for each unit, with one number s_j each. If some u in R^(o m) has

    u . t > sum over j of sup over s of F_j(s),      F_j(s) = sum over k of p_jk phi(a_jk + s),  p_jk = sum over i of u_ik V_ij

(and sum over k of u_ik = 0 where c_i learns), then no biases match. u comes from a linear programme over points of the curves
(numerics/separation.py). What counts is the check in this file, which trusts nobody; each supremum is in one variable:

- tanh: |tanh''| <= 0.77, so between two points of a grid of step h, F_j is at most the larger of its two values + 0.77 h^2 / 8 sum |p_jk|;
  intervals that could hold the maximum are divided further; beyond the grid, 20 past the last a_jk, F_j is its limit +- 1e-16 sum |p_jk|.
- relu: F_j is piecewise linear: its corners -a_jk, 0, and its slope towards infinity, sum_k p_jk, which must not be positive.

Rounding: a_j and t are enclosed (by_substitution.outputs); floating point sums of n products are within (n + 2) 2^-53 times the sum of
the absolute values; tanh of the C library within 2^-50; what underflows is below 2^-960. Such bounds of a_j, p_j and t, and what the
targets may be off by, are taken from the difference. Where that leaves it positive there is no match, also for any targets that round to
these; otherwise nothing is known: no yes comes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..model.layers import plain
from ..model.network import Feedforward, Network
from ..numerics.separation import separate
from .by_substitution import Enclosed, outputs

LARGEST = 600  # equations + learning units of a linear programme
_POINTS = 48  # of a curve in the programme, at first; with its two ends
_TRIES = 3  # programmes of one trial: the points where a direction failed are added
_PAST = 20.0  # past the last a_jk tanh is 1 up to 2 exp(-40)
_CURVATURE = 0.77  # |tanh''| <= 4 / (3 sqrt 3) = 0.7698..
_UNIT = 2.0**-53
_TANH = 2.0**-50
_LEAST = 2.0**-960  # no error bound is below: products lose up to 2^-1075 where they underflow, whatever their factors are
_MOST = 20_000  # intervals of one trial that are divided at a time; with more the bounds stay as they are
_GRAIN = 2.0**30  # directions are whole multiples of 1 / _GRAIN: sums of them are exact


class Curves(NamedTuple):
    """One trial: t [o, m] and its error bounds, a [n, m] of the learning units and their error bounds, V [o, n], which outputs have a
    learning bias, bool [o]."""

    target: np.ndarray
    target_error: np.ndarray
    before: np.ndarray
    before_error: np.ndarray
    outgoing: np.ndarray
    free: np.ndarray


def applies(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [n] for masks bool [n, size]: only biases of the last hidden layer learn, one at least, and output biases, or not."""
    if not isinstance(net, Feedforward) or net.extended or net.activation == "linear" or len(net.widths) < 3:
        return np.zeros(len(masks), dtype=bool)
    last = len(net.widths) - 2
    if f"b{last}" not in net.groups:
        return np.zeros(len(masks), dtype=bool)
    other = np.ones(net.size, dtype=bool)
    other[net.slices[f"b{last}"]] = False
    if f"b{last + 1}" in net.groups:
        other[net.slices[f"b{last + 1}"]] = False
    learning = masks[:, net.slices[f"b{last}"]].sum(axis=1)
    return ~masks[:, other].any(axis=1) & (learning > 0) & (learning + net.equations <= LARGEST)


def settle(
    net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, off: np.ndarray, threads: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """bool [n], float64 [n, equations], float64 [n, size]: which trials are proven to have no match, the direction u of each proof (0
    elsewhere), and where no proof was found a start for a search: the mean biases of the sum of hulls nearest to the targets.

    For trials that `applies` holds for: theta [n, size], x [n, inputs], y [n, equations], off [n, equations]: by how much the targets
    may differ from y.
    """
    no, directions, starts = np.zeros(len(theta), dtype=bool), np.zeros((len(theta), net.equations)), theta.copy()
    last = net.slices[f"b{len(net.widths) - 2}"]
    with np.errstate(all="ignore"):  # what overflows proves nothing: comparisons with NaN are false
        for row, curves in enumerate(_curves(net, theta, x, y, masks, off, threads)):
            direction, shifts = _direction(net.activation, curves)
            if direction is not None:
                no[row], directions[row] = True, direction.ravel()
            elif np.isfinite(shifts).all():
                starts[row, np.arange(last.start, last.stop)[masks[row, last]]] = shifts
    return no, directions, starts


def _curves(
    net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, off: np.ndarray, threads: int
) -> Iterator[Curves]:
    """The curves of each trial. What is fixed comes from enclosures of outputs: of the network up to the pre-activations of its last hidden
    layer, and of the whole network without the units that learn."""
    last = len(net.widths) - 2
    front = replace(net, widths=net.widths[: last + 1], bias=tuple(name for name in net.groups if name[0] == "b" and int(name[1:]) < last))
    own = np.concatenate([theta[:, net.slices[name]] for name in front.groups], axis=1)
    before, before_error = _middles(outputs(plain(front), Enclosed(own), x, threads=threads))
    outgoing = theta[:, net.slices[f"W{last + 1}"]].reshape(-1, *net.groups[f"W{last + 1}"])
    learning = masks[:, net.slices[f"b{last}"]]
    rest = theta.copy()
    rest[:, net.slices[f"W{last + 1}"]] = np.where(learning[:, None, :], 0.0, outgoing).reshape(len(theta), -1)
    missing, missing_error = _middles(outputs(net, Enclosed(rest), x, Enclosed(np.ascontiguousarray(y)), threads))
    free = masks[:, net.slices[f"b{last + 1}"]] if f"b{last + 1}" in net.groups else np.zeros((len(theta), net.widths[-1]), dtype=bool)
    for row, units in enumerate(learning):
        shape = (net.widths[last], net.samples)
        yield Curves(
            -missing[row].reshape(net.y_shape),
            (off[row] + missing_error[row]).reshape(net.y_shape),
            before[row].reshape(shape)[units],
            before_error[row].reshape(shape)[units],
            outgoing[row][:, units],
            free[row],
        )


def _middles(balls: Enclosed) -> tuple[np.ndarray, np.ndarray]:
    """Enclosed numbers as float64, and bounds of their errors."""
    assert balls.lo is not None and balls.rad is not None
    return balls.hi, (1 + 4 * _UNIT) * (np.abs(balls.lo) + balls.rad) + _LEAST


def _direction(activation: str, curves: Curves) -> tuple[np.ndarray | None, np.ndarray]:
    """A direction u [o, m] whose check proves that there is no match, or None; the mean shift of each unit [n] in the last programme."""
    outputs, samples = curves.target.shape
    owners, shifts = _first_points(activation, curves)
    for _ in range(_TRIES):
        values = _PHI[activation](curves.before[owners] + shifts[:, None])  # [points, m]
        points = [(curves.outgoing.T[owners][:, :, None] * values[:, None, :]).reshape(len(owners), -1)]
        sets = [owners]
        if activation == "tanh":
            ends = np.repeat(curves.outgoing.T, samples, axis=1)
            points, sets = [*points, ends, -ends], [*sets, *2 * [np.arange(len(curves.before))]]
        else:
            points, sets = [*points, np.repeat(curves.outgoing.T, samples, axis=1)], [*sets, np.full(len(curves.before), -1)]
        for output in np.flatnonzero(curves.free):
            line = np.zeros((outputs, samples))
            line[output] = 1.0
            points, sets = [*points, line.reshape(1, -1), -line.reshape(1, -1)], [*sets, np.array([-1, -1])]
        found = separate(np.concatenate(points).T, np.concatenate(sets), curves.target.ravel())
        mean = _mean_shifts(activation, curves, owners, shifts, found.shares)
        if found.direction is None or not np.isfinite(found.direction).all():
            return None, mean
        u = _grained(found.direction.reshape(outputs, samples), activation, curves)
        margin, at = excess(u, activation, curves)
        if margin > 0:
            return u, mean
        owners, shifts = np.concatenate([owners, np.arange(len(at))]), np.concatenate([shifts, at])
    return None, mean


def _mean_shifts(activation: str, curves: Curves, owners: np.ndarray, shifts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The mean over a unit's points of their shifts, by their shares, [n]: tanh with its two ends far out; relu with its ray's length."""
    units = len(curves.before)
    sums = np.bincount(owners, shares[: len(owners)] * shifts, minlength=units)
    beyond = shares[len(owners) :]
    if activation == "tanh":
        far = 4.0 + np.abs(curves.before).max(axis=1)
        return sums + far * (beyond[:units] - beyond[units : 2 * units])
    return sums + beyond[:units]


def _first_points(activation: str, curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """(unit, shift) of the points of the curves that the first programme has."""
    units, samples = curves.before.shape
    if activation == "relu":
        return np.repeat(np.arange(units), samples), -curves.before.ravel()
    low, high = -curves.before.max(axis=1) - 4, -curves.before.min(axis=1) + 4
    return np.repeat(np.arange(units), _POINTS), np.linspace(low, high, _POINTS).T.ravel()


def _grained(u: np.ndarray, activation: str, curves: Curves) -> np.ndarray:
    """u in whole multiples of 1 / _GRAIN, its rows with sum 0 exactly where that is asked for: for learning output biases, and for relu
    where it nearly is."""
    whole = np.rint(u * (_GRAIN / max(np.abs(u).max(), 1e-300)))
    total = whole.sum(axis=1)
    zero = curves.free | ((activation == "relu") & (np.abs(total) < 1e-6 * _GRAIN))
    whole[np.arange(len(whole)), np.abs(whole).argmax(axis=1)] -= np.where(zero, total, 0.0)
    return whole / _GRAIN


def excess(u: np.ndarray, activation: str, curves: Curves) -> tuple[float, np.ndarray]:
    """(lower bound of u . t - sum_j sup F_j, -inf where it has none; the s at which each F_j was largest, [n])."""
    if curves.free.any() and u[curves.free].sum(axis=1).any():
        return -np.inf, np.zeros(len(curves.before))
    p = curves.outgoing.T @ u  # [n, m]
    p_error = (len(u) + 2) * _UNIT * (np.abs(curves.outgoing.T) @ np.abs(u)) + _LEAST
    weight = np.abs(p) + p_error
    count = u.size + 4
    inner = float((u * curves.target).sum())
    inner -= float((np.abs(u) * curves.target_error).sum() + count * _UNIT * np.abs(u * curves.target).sum())
    if activation == "tanh":
        # an error of p counts with |tanh| <= 1, one of a with |tanh'| <= 1
        error = (p_error + weight * (curves.before_error + _TANH + (u.shape[1] + 4) * _UNIT)).sum(axis=1)
        tops, at = _tops_of_tanh(p, curves.before, (inner - float(error.sum())) if len(p) else 0.0)
    else:
        size = np.abs(curves.before) + curves.before_error
        error = (p_error * 2 * size.max(axis=1, keepdims=True) + weight * (2 * curves.before_error)).sum(axis=1)
        error += (u.shape[1] + 6) * _UNIT * 2 * weight.sum(axis=1) * size.max(axis=1)
        tops, at = _tops_of_relu(p, u, curves)
    total = float(tops.sum() + error.sum())
    total += (len(tops) + 4) * _UNIT * float(np.abs(tops).sum() + error.sum())
    margin = inner - total
    return (margin * (1 - 1e-12) if margin > 0 else margin), at


def _tops_of_tanh(p: np.ndarray, a: np.ndarray, enough: float) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds of sup_s sum_k p_jk tanh(a_jk + s), as far as the arithmetic is exact, [n], and where the largest values were, [n].

    Intervals are divided until the bounds add up to less than `enough`, or the largest values, which no bound can be below, do not, or
    nothing is gained.
    """
    units, weight = len(p), np.abs(p).sum(axis=1)
    low, high = -a.max(axis=1) - _PAST, -a.min(axis=1) + _PAST
    steps = 128
    # the points are rounded: intervals are so much wider than their step at most, after all divisions together
    wider = 64 * _UNIT * np.maximum(np.abs(low), np.abs(high))
    grid = np.linspace(low, high, steps + 1).T  # [n, steps + 1]
    values = (p[:, None, :] * np.tanh(a[:, None, :] + grid[:, :, None])).sum(axis=2)
    ends = np.abs(p.sum(axis=1)) + (2 * np.exp(-2 * (_PAST - 1)) + (p.shape[1] + 2) * _UNIT) * weight
    best, at = values.max(axis=1), grid[np.arange(units), values.argmax(axis=1)]
    # the intervals that may still hold a maximum: unit, left end, step, values at both ends
    unit = np.repeat(np.arange(units), steps)
    left, step = grid[:, :-1].ravel(), np.repeat((high - low) / steps, steps)
    one, two = values[:, :-1].ravel(), values[:, 1:].ravel()
    parts = 8
    while True:
        bounds = np.maximum(one, two) + (_CURVATURE / 8 * (1 + 1e-6)) * (step + wider[unit]) ** 2 * weight[unit]
        tops = np.maximum(ends, best)
        np.maximum.at(tops, unit, bounds)
        if tops.sum() < enough or np.maximum(best, np.abs(p.sum(axis=1))).sum() >= enough or step.max(initial=0.0) < 1e-5:
            return tops, at
        keep = bounds > np.maximum(best, ends)[unit]
        if not keep.any() or keep.sum() > _MOST:
            return tops, at
        unit, left, step, one, two = unit[keep], left[keep], step[keep] / parts, one[keep], two[keep]
        inner = left[:, None] + step[:, None] * np.arange(1, parts)
        middle = (p[unit][:, None, :] * np.tanh(a[unit][:, None, :] + inner[:, :, None])).sum(axis=2)
        places, shown = np.concatenate([left[:, None], inner], axis=1), np.concatenate([one[:, None], middle, two[:, None]], axis=1)
        order = np.argsort(middle.max(axis=1))  # of several intervals of a unit the largest value stays
        for k in order[middle.max(axis=1)[order] > best[unit[order]]]:
            if (value := middle[k].max()) > best[unit[k]]:
                best[unit[k]], at[unit[k]] = value, inner[k, middle[k].argmax()]
        unit, step = np.repeat(unit, parts), np.repeat(step, parts)
        left, one, two = places.ravel(), shown[:, :-1].ravel(), shown[:, 1:].ravel()


def _tops_of_relu(p: np.ndarray, u: np.ndarray, curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """sup_s sum_k p_jk max(a_jk + s, 0) up to rounding, [n]: at a corner, 0 before the first; inf where it rises for ever."""
    a = curves.before
    corners = -a  # [n, m]
    values = (p[:, None, :] * np.maximum(a[:, None, :] + corners[:, :, None], 0.0)).sum(axis=2)
    totals = u.sum(axis=1)  # exact: whole multiples of 1 / _GRAIN
    slope = curves.outgoing.T @ totals
    slope_error = (len(u) + 2) * _UNIT * (np.abs(curves.outgoing.T) @ np.abs(totals))
    slope_error += _LEAST * ((curves.outgoing.T != 0) @ (totals != 0))  # with totals of 0 the slope is exactly 0
    tops = np.where(slope + slope_error > 0, np.inf, np.maximum(values.max(axis=1, initial=0.0), 0.0))
    return tops, corners[np.arange(len(a)), values.argmax(axis=1)]


def _relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0.0)


_PHI: dict[str, Callable[[np.ndarray], np.ndarray]] = {"tanh": np.tanh, "relu": _relu}
