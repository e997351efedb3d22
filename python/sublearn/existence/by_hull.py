"""Proofs that there is no match (T13): a direction that separates the targets from all that the units can add up to.

A feedforward network, tanh or relu, in which only units of its last hidden layer learn, each its bias, incoming weights or its gain, and
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
from .unit_curves import LEAST, UNIT, Boxes, Direction, Gains, Kind, Reach, ReluLines, TanhLines, TanhPlanes, Walls, Whole

LARGEST = 600  # equations + learning units of a linear programme
_TRIES = 5  # programmes of one trial: the points where a direction failed are added


class Parts(NamedTuple):
    """One trial: t [o, m] and its error bounds, which outputs have a learning bias, bool [o], the units that learn, kind by kind, and for
    each kind the flat indices of its learnables, one a unit, or None."""

    target: np.ndarray
    target_error: np.ndarray
    free: np.ndarray
    kinds: tuple[Kind, ...]
    places: tuple[np.ndarray | None, ...]


class _Fixed(NamedTuple):
    """Of all trials: pre-activations without what learns and activities of the units [n, units, m], signals below [n, width, m], targets
    less what is fixed, each with bounds of its error."""

    before: np.ndarray
    before_error: np.ndarray
    active: np.ndarray
    active_error: np.ndarray
    below: np.ndarray
    below_error: np.ndarray
    target: np.ndarray
    target_error: np.ndarray


class _Names(NamedTuple):
    """The groups of the last hidden layer, its number, and the matrix and the bias behind it; None for what there is not."""

    layer: int
    matrix: str
    bias: str | None
    gain: str | None
    next: str
    next_bias: str | None

    @classmethod
    def of(cls, net: Feedforward) -> _Names:
        k = len(net.widths) - 2
        own = lambda name: name if name in net.groups else None  # noqa: E731
        return cls(k, f"W{k}", own(f"b{k}"), own(f"g{k}"), f"W{k + 1}", own(f"b{k + 1}"))


def applies(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [n] for masks bool [n, size]: only biases, incoming weights and gains of the last hidden layer learn, one at least, and output
    biases, or not."""
    if not isinstance(net, Feedforward) or net.activation == "linear" or len(net.widths) < 3:
        return np.zeros(len(masks), dtype=bool)
    names = _Names.of(net)
    other = np.ones(net.size, dtype=bool)
    for name in (names.matrix, names.bias, names.gain, names.next_bias):
        if name is not None:
            other[net.slices[name]] = False
    learning = ((_counts(net, masks) > 0) | _of_group(net, names.gain, masks)).sum(axis=1)
    return ~masks[:, other].any(axis=1) & (learning > 0) & (learning + net.equations <= LARGEST)


def _of_group(net: Feedforward, name: str | None, masks: np.ndarray) -> np.ndarray:
    """bool [n, units]: what learns in a bias or gain of the last hidden layer, nothing where there is none."""
    return np.zeros((len(masks), net.widths[-2]), dtype=bool) if name is None else masks[:, net.slices[name]]


def _counts(net: Feedforward, masks: np.ndarray) -> np.ndarray:
    """int [n, units]: learnables of each unit of the last hidden layer, but its gain."""
    names = _Names.of(net)
    found = masks[:, net.slices[names.matrix]].reshape(-1, *net.groups[names.matrix]).sum(axis=2)
    return np.asarray(found + _of_group(net, names.bias, masks))


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
    names = _Names.of(net)
    fixed = _enclosed(net, theta, x, y, masks, threads)
    outgoing = _outgoing(net, theta, masks)
    reads = masks[:, net.slices[names.matrix]].reshape(-1, *net.groups[names.matrix])
    shifted, gained = _of_group(net, names.bias, masks), _of_group(net, names.gain, masks)
    none = np.zeros((len(theta), net.widths[-1]), dtype=bool)
    free = none if names.next_bias is None else masks[:, net.slices[names.next_bias]]
    counts = _counts(net, masks)
    for row in range(len(theta)):
        kinds: list[Kind] = []
        places: list[np.ndarray | None] = []
        signal = np.concatenate([fixed.below[row], np.ones((1, net.samples))])  # the last is what biases read
        signal_error = np.concatenate([fixed.below_error[row], np.zeros((1, net.samples))])
        signals = signal, signal_error, _first_alike(signal, signal_error)
        ahead = fixed.before[row], fixed.before_error[row]
        units = np.flatnonzero((counts[row] == 1) & ~gained[row])
        if len(units):
            source = np.where(shifted[row, units], -1, reads[row, units].argmax(axis=1))
            reach = Reach(*(part[units] for part in ahead), *(part[source] for part in signals))
            kinds.append((TanhLines if net.activation == "tanh" else ReluLines)(outgoing[row][:, units], reach))
            start = net.slices[names.matrix].start + units * net.groups[names.matrix][1] + source
            places.append(start if names.bias is None else np.where(source < 0, net.slices[names.bias].start + units, start))
        planes = (counts[row] == 2) & ~gained[row] & (net.activation == "tanh" and net.samples > 2)
        units = np.flatnonzero(planes)
        if len(units):
            both = np.concatenate([reads[row, units], shifted[row, units, None]], axis=1)
            places_of = both.argmax(axis=1), both.shape[1] - 1 - both[:, ::-1].argmax(axis=1)
            one, two = (Reach(*(part[units] for part in ahead), *(part[k] for part in signals)) for k in places_of)
            kinds.append(TanhPlanes(outgoing[row][:, units], one, two))
            places.append(None)
        units = np.flatnonzero((counts[row] > 1) & ~gained[row] & ~planes)
        if len(units):
            kinds.append(Boxes(outgoing[row][:, units], net.activation, net.samples))
            places.append(None)
        units = np.flatnonzero((counts[row] == 0) & gained[row])
        if len(units) and names.gain is not None:
            kinds.append(Gains(outgoing[row][:, units], fixed.active[row, units], fixed.active_error[row, units]))
            places.append(net.slices[names.gain].start + units)
        units = np.flatnonzero((counts[row] > 0) & gained[row])
        if len(units):
            kinds.append(Whole(outgoing[row][:, units], net.samples))
            places.append(None)
        target_error = off[row].reshape(net.y_shape) + fixed.target_error[row]
        yield Parts(fixed.target[row], target_error, free[row], tuple(kinds), tuple(places))


def _outgoing(net: Feedforward, theta: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """V [n, o, units]: outgoing weights, times the gain where it does not learn, rounded, but never to 0."""
    names = _Names.of(net)
    outgoing = theta[:, net.slices[names.next]].reshape(-1, *net.groups[names.next])
    if names.gain is None:
        return outgoing
    gain = np.where(masks[:, net.slices[names.gain]], 1.0, theta[:, net.slices[names.gain]])[:, None, :]
    product = outgoing * gain
    lost = (product == 0) & (outgoing != 0) & (gain != 0)
    return np.where(lost, np.copysign(5e-324, np.sign(outgoing) * np.sign(gain)), product)


def _first_alike(signal: np.ndarray, error: np.ndarray) -> np.ndarray:
    """int [width]: the first signal that each one is equal to, exactly."""
    known: dict[bytes, int] = {}
    return np.array([k if error[k].any() else known.setdefault((signal[k] + 0.0).tobytes(), k) for k in range(len(signal))])


def _enclosed(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, threads: int) -> _Fixed:
    """What is fixed comes from enclosures of outputs: of the network up to its last hidden layer, of what its layers send (one more matrix,
    the identity, reads them), and of the whole network without the units that learn."""
    names = _Names.of(net)
    last, matrix = names.layer, names.matrix
    still = np.where(masks, 0.0, theta)
    gains = tuple(name for name in net.groups if name[0] == "g" and int(name[1:]) < last)
    biases = tuple(name for name in net.groups if name[0] == "b" and int(name[1:]) <= last)
    front = replace(net, widths=net.widths[: last + 1], bias=biases, gain=gains)

    def of(part: Feedforward, one: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(numbers [n, width, m], errors) that come out of the first layers; one: the matrix that is the identity."""
        width = part.widths[-1]
        unit = np.broadcast_to(np.eye(width).ravel(), (len(theta), width * width))
        own = np.concatenate([unit if name == one else still[:, net.slices[name]] for name in part.groups], axis=1)
        found, error = _middles(outputs(plain(part), Enclosed(own), x, threads=threads))
        return found.reshape(len(x), width, net.samples), error.reshape(len(x), width, net.samples)

    before, before_error = of(front)
    below, below_error = x.reshape(len(x), *net.x_shape), np.zeros((len(x), *net.x_shape))
    if last > 1:
        under = replace(front, widths=(*net.widths[:last], net.widths[last - 1]), bias=tuple(name for name in biases if name != names.bias))
        below, below_error = of(under, matrix)
    active, active_error = before, before_error
    learning, gained = _counts(net, masks) > 0, _of_group(net, names.gain, masks)
    if gained.any():
        active, active_error = of(replace(front, widths=(*net.widths[: last + 1], net.widths[last])), names.next)
    rest, where = still.copy(), net.slices[names.next]
    idle = (learning | gained)[:, None, :]
    rest[:, where] = np.where(idle, 0.0, theta[:, where].reshape(len(theta), net.widths[-1], -1)).reshape(len(theta), -1)
    missing, missing_error = _middles(outputs(net, Enclosed(rest), x, Enclosed(np.ascontiguousarray(y)), threads))
    targets = (part.reshape(len(x), *net.y_shape) for part in (-missing, missing_error))
    return _Fixed(before, before_error, active, active_error, below, below_error, *targets)


def _middles(balls: Enclosed) -> tuple[np.ndarray, np.ndarray]:
    """Enclosed numbers as float64, and bounds of their errors: 0 where they are exact."""
    assert balls.lo is not None and balls.rad is not None
    error = np.abs(balls.lo) + balls.rad
    return balls.hi, np.where(error == 0, 0.0, (1 + 4 * UNIT) * error + LEAST)


def _direction(parts: Parts) -> tuple[np.ndarray | None, list[np.ndarray | None]]:
    """A direction u [o, m] whose check proves that there is no match, or None; for each kind the mean learnables in the last programme."""
    outputs, samples = parts.target.shape
    means: list[np.ndarray | None] = [None for _ in parts.kinds]
    if outputs == 1 and not parts.free.any() and all(isinstance(kind, Boxes) for kind in parts.kinds):
        for sign in (1.0, -1.0):  # a product of intervals: one sample decides
            u = np.zeros_like(parts.target)
            u[0, (sign * parts.target[0]).argmax()] = sign
            if excess(u, parts)[0] > 0:
                return u, means
        return None, means
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
    for kind, wall in sorted(zip(parts.kinds, walls, strict=True), key=lambda pair: isinstance(pair[0], (TanhLines, TanhPlanes))):
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
