"""Proofs that there is no match (T13): a direction that separates the targets from all that the units can add up to.

A feedforward network, tanh or relu, in which only units of its last hidden layer learn, each its bias, one incoming weight or several, and
output biases, or not. The targets t less all that is fixed must be

    t = sum over learning units j of V_j (x) phi(z_j)      ( + c (x) 1 where output biases c learn ),

V_j in R^o the outgoing weights of unit j and z_j in R^m its pre-activations, which its own learnables move, and no other: a sum of n sets.
If some u in R^(o m) has

    u . t > sum over j of sup over the learnables of j of u . (V_j (x) phi(z_j))

(and sum over k of u_ik = 0 where c_i learns), then there is no match. u comes from a linear programme over points of the sets
(numerics/separation.py). What counts is the check in this file and the bounds of the suprema (unit_curves.py), which trust nobody.

Rounding: what is fixed and what weights read are enclosed (by_substitution.outputs), u stands for a direction next to it that is exactly
orthogonal to what it has to be (numerics/orthogonal.py). All such bounds, and what the targets may be off by, are taken from the
difference. Where that leaves it positive there is no match, also for any targets that round to these; otherwise nothing is known: no yes
comes from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..model.layers import plain
from ..model.network import Feedforward, Network
from ..numerics.orthogonal import grained, orthogonal
from ..numerics.separation import RAY, separate
from .by_substitution import Enclosed, outputs
from .unit_curves import LEAST, UNIT, Boxes, Direction, Kind, Reach, ReluLines, TanhLines, Walls

LARGEST = 600  # equations + learning units of a linear programme
_TRIES = 3  # programmes of one trial: the points where a direction failed are added


class Parts(NamedTuple):
    """One trial: t [o, m] and its error bounds, which outputs have a learning bias, bool [o], the units that learn, kind by kind, and for
    each kind the flat indices of its learnables, one a unit, or None."""

    target: np.ndarray
    target_error: np.ndarray
    free: np.ndarray
    kinds: tuple[Kind, ...]
    places: tuple[np.ndarray | None, ...]


class _Fixed(NamedTuple):
    """Of all trials: pre-activations without what learns [n, units, m], signals below [n, width, m], targets less what is fixed, each with
    bounds of its error."""

    before: np.ndarray
    before_error: np.ndarray
    below: np.ndarray
    below_error: np.ndarray
    target: np.ndarray
    target_error: np.ndarray


def _last(net: Feedforward) -> tuple[int, str, str | None]:
    """(number, matrix, bias or None) of the last hidden layer."""
    last = len(net.widths) - 2
    return last, f"W{last}", f"b{last}" if f"b{last}" in net.groups else None


def applies(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [n] for masks bool [n, size]: only biases and incoming weights of the last hidden layer learn, one at least, and output biases,
    or not."""
    if not isinstance(net, Feedforward) or net.activation == "linear" or len(net.widths) < 3:
        return np.zeros(len(masks), dtype=bool)
    last, matrix, _ = _last(net)
    other = np.ones(net.size, dtype=bool)
    for name in {matrix, f"b{last}", f"b{last + 1}"} & set(net.groups):
        other[net.slices[name]] = False
    learning = _counts(net, masks).any(axis=1)
    return ~masks[:, other].any(axis=1) & learning & (_counts(net, masks).astype(bool).sum(axis=1) + net.equations <= LARGEST)


def _counts(net: Feedforward, masks: np.ndarray) -> np.ndarray:
    """int [n, units]: learnables of each unit of the last hidden layer."""
    _, matrix, bias = _last(net)
    found = masks[:, net.slices[matrix]].reshape(-1, *net.groups[matrix]).sum(axis=2)
    return found + masks[:, net.slices[bias]] if bias is not None else found


def settle(
    net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, off: np.ndarray, threads: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """bool [n], float64 [n, equations], float64 [n, size]: which trials are proven to have no match, the direction u of each proof (0
    elsewhere), and where no proof was found a start for a search: of units with one learnable its mean in the sum of hulls nearest to the
    targets.

    For trials that `applies` holds for: theta [n, size], x [n, inputs], y [n, equations], off [n, equations]: by how much the targets
    may differ from y.
    """
    no, directions, starts = np.zeros(len(theta), dtype=bool), np.zeros((len(theta), net.equations)), theta.copy()
    with np.errstate(all="ignore"):  # what overflows proves nothing: comparisons with NaN are false
        for row, parts in enumerate(_parts(net, theta, x, y, masks, off, threads)):
            direction, shifts = _direction(parts)
            if direction is not None:
                no[row], directions[row] = True, direction.ravel()
                continue
            for place, own in zip(parts.places, shifts, strict=True):
                if place is not None and own is not None and np.isfinite(own).all():
                    starts[row, place] = own
    return no, directions, starts


def _parts(
    net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, off: np.ndarray, threads: int
) -> Iterator[Parts]:
    """The parts of each trial."""
    last, matrix, bias = _last(net)
    fixed = _enclosed(net, theta, x, y, masks, threads)
    outgoing = theta[:, net.slices[f"W{last + 1}"]].reshape(-1, *net.groups[f"W{last + 1}"])
    reads = masks[:, net.slices[matrix]].reshape(-1, *net.groups[matrix])
    shifted = masks[:, net.slices[bias]] if bias is not None else np.zeros(reads.shape[:2], dtype=bool)
    free = masks[:, net.slices[f"b{last + 1}"]] if f"b{last + 1}" in net.groups else np.zeros((len(theta), net.widths[-1]), dtype=bool)
    counts = _counts(net, masks)
    for row in range(len(theta)):
        kinds: list[Kind] = []
        places: list[np.ndarray | None] = []
        units = np.flatnonzero(counts[row] == 1)
        if len(units):
            source = np.where(shifted[row, units], -1, reads[row, units].argmax(axis=1))
            signal = np.concatenate([fixed.below[row], np.ones((1, net.samples))])
            signal_error = np.concatenate([fixed.below_error[row], np.zeros((1, net.samples))])
            reach = Reach(
                fixed.before[row, units],
                fixed.before_error[row, units],
                signal[source],
                signal_error[source],
                _first_alike(signal, signal_error)[source],
            )
            kinds.append((TanhLines if net.activation == "tanh" else ReluLines)(outgoing[row][:, units], reach))
            start = net.slices[matrix].start + units * net.groups[matrix][1] + source
            places.append(start if bias is None else np.where(source < 0, net.slices[bias].start + units, start))
        units = np.flatnonzero(counts[row] > 1)
        if len(units):
            kinds.append(Boxes(outgoing[row][:, units], net.activation, net.samples))
            places.append(None)
        target_error = off[row].reshape(net.y_shape) + fixed.target_error[row]
        yield Parts(fixed.target[row], target_error, free[row], tuple(kinds), tuple(places))


def _first_alike(signal: np.ndarray, error: np.ndarray) -> np.ndarray:
    """int [width]: the first signal that each one is equal to, exactly."""
    known: dict[bytes, int] = {}
    return np.array([k if error[k].any() else known.setdefault((signal[k] + 0.0).tobytes(), k) for k in range(len(signal))])


def _enclosed(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, threads: int) -> _Fixed:
    """What is fixed comes from enclosures of outputs: of the network up to its last hidden layer, and of the whole network without the
    units that learn."""
    last, matrix, bias = _last(net)
    still = np.where(masks, 0.0, theta)
    shape = (len(theta), net.widths[last], net.samples)
    biases = tuple(name for name in net.groups if name[0] == "b" and int(name[1:]) <= last)
    front = replace(net, widths=net.widths[: last + 1], bias=biases)
    own = np.concatenate([still[:, net.slices[name]] for name in front.groups], axis=1)
    before, before_error = _middles(outputs(plain(front), Enclosed(own), x, threads=threads))
    below, below_error = x.reshape(len(x), *net.x_shape), np.zeros((len(x), *net.x_shape))
    if last > 1:  # the network below, with one more matrix: the identity
        width = net.widths[last - 1]
        under = replace(front, widths=(*net.widths[:last], width), bias=tuple(name for name in biases if name != bias))
        one = np.broadcast_to(np.eye(width).ravel(), (len(theta), width * width))
        own = np.concatenate([one if name == matrix else theta[:, net.slices[name]] for name in under.groups], axis=1)
        below, below_error = (
            part.reshape(len(x), width, net.samples) for part in _middles(outputs(under, Enclosed(own), x, threads=threads))
        )
    rest = theta.copy()
    where = net.slices[f"W{last + 1}"]
    learning = _counts(net, masks) > 0
    rest[:, where] = np.where(learning[:, None, :], 0.0, theta[:, where].reshape(len(theta), net.widths[-1], -1)).reshape(len(theta), -1)
    rest[:, net.slices[matrix]] = still[:, net.slices[matrix]]
    missing, missing_error = _middles(outputs(net, Enclosed(rest), x, Enclosed(np.ascontiguousarray(y)), threads))
    targets = (part.reshape(len(x), *net.y_shape) for part in (-missing, missing_error))
    return _Fixed(before.reshape(shape), before_error.reshape(shape), below, below_error, *targets)


def _middles(balls: Enclosed) -> tuple[np.ndarray, np.ndarray]:
    """Enclosed numbers as float64, and bounds of their errors: 0 where they are exact."""
    assert balls.lo is not None and balls.rad is not None
    error = np.abs(balls.lo) + balls.rad
    return balls.hi, np.where(error == 0, 0.0, (1 + 4 * UNIT) * error + LEAST)


def _direction(parts: Parts) -> tuple[np.ndarray | None, list[np.ndarray | None]]:
    """A direction u [o, m] whose check proves that there is no match, or None; for each kind the mean learnables in the last programme."""
    outputs, samples = parts.target.shape
    means: list[np.ndarray | None] = [None for _ in parts.kinds]
    lines = _ones(parts.free, samples).T
    for _ in range(_TRIES):
        vectors, owners, ends, sets = [], [], [0], 0
        for kind in parts.kinds:
            points = kind.points()
            vectors.append(points.vectors)
            owners.append(np.where(points.owner < 0, points.owner, points.owner + sets))
            sets += int(points.owner.max(initial=-1)) + 1
            ends.append(ends[-1] + len(points.owner))
        vectors, owners = [*vectors, lines, -lines], [*owners, np.full(2 * lines.shape[1], RAY)]
        found = separate(np.concatenate(vectors, axis=1), np.concatenate(owners), parts.target.ravel())
        if not found.shares.any():
            break
        means = [kind.shifts(found.shares[ends[k] : ends[k + 1]]) for k, kind in enumerate(parts.kinds)]
        if found.direction is None or not found.direction.any() or not np.isfinite(found.direction).all():
            break
        u = grained(found.direction.reshape(outputs, samples))
        margin, checked = excess(u, parts)
        if margin > 0:
            return checked, means
        for kind in parts.kinds:
            kind.learn()
    return None, means


def excess(u: np.ndarray, parts: Parts) -> tuple[float, np.ndarray]:
    """(lower bound of v . t - sum_j sup v . (V_j (x) phi(z_j)) for some v next to u, -inf where it has none; v [o, m], rounded)."""
    walls = [kind.walls(u) for kind in parts.kinds]
    found = orthogonal(u.ravel(), *_rows(u, parts.free, walls))
    if found is None:
        return -np.inf, u
    v, error = (part.reshape(u.shape) for part in found)
    direction = Direction(v, error)
    size = np.abs(v) + error
    inner = float((v * parts.target).sum())
    inner -= float((size * parts.target_error + error * np.abs(parts.target)).sum()) * (1 + 1e-9) + LEAST
    inner -= (v.size + 4) * UNIT * float(np.abs(v * parts.target).sum())
    total, spread = 0.0, 0.0
    for kind, wall in sorted(zip(parts.kinds, walls, strict=True), key=lambda pair: isinstance(pair[0], TanhLines)):
        tops = kind.most(direction, wall.spared, inner - total)
        total += float(tops.sum())
        spread += (len(tops) + 4) * UNIT * float(np.abs(tops).sum())
    margin = inner - (total + 2 * spread)
    return (margin * (1 - 1e-12) if margin > 0 else margin), v


def _rows(u: np.ndarray, free: np.ndarray, walls: list[Walls]) -> tuple[np.ndarray, np.ndarray]:
    """What u must be orthogonal to, with errors: e_i (x) 1 where output bias i learns, and the walls of the kinds; each once."""
    ones = _ones(free, u.shape[1])
    rows = np.concatenate([ones, *[wall.rows for wall in walls]])
    errors = np.concatenate([np.zeros_like(ones), *[wall.errors for wall in walls]])
    known: dict[bytes, int] = {}
    once = [k for k in range(len(rows)) if errors[k].any() or known.setdefault(rows[k].tobytes(), k) == k]
    return rows[once], errors[once]


def _ones(free: np.ndarray, samples: int) -> np.ndarray:
    """e_i (x) 1 for every output i that is free, as rows [count, o m]."""
    return np.repeat(np.eye(len(free))[free], samples, axis=1)
