"""What can the units of the last hidden layer give, each by its own learnable weights, and how large can a linear function of it become?

Unit j adds V_j (x) phi(z) to the outputs, V_j in R^o its outgoing weights, z in R^m its pre-activations in the samples. A *kind* holds all
units of a trial that learn alike:

    Lines   one learnable, a bias or one incoming weight: z = a_j + s x_j, s in R, with x_j what that weight reads (ones for a bias)
    Planes  two of them, tanh: z = a_j + s x_j + r w_j
    Boxes   others: any z is allowed for, which is exact where what the weights read spans R^m, and too much elsewhere
    Gains   the gain g alone, with which the unit acts: g phi(z_j), a line
    Whole   the gain and others: all of R^m is allowed for

Each kind has `most(u)`: for every unit an upper bound of the sup, over its own learnables, of u . (V_j (x) phi(z)) = sum_k p_jk phi(z_k),
p_jk = sum_i u_ik V_ij; what a linear programme knows of it (`points`); and rows that u must be orthogonal to (`walls`: relu units
rise for ever along a ray). u, a_j and x_j are known up to errors, and the bounds hold for all numbers within them:

- tanh lines: the real line is cut at points l < .. < r, with its two ends at infinity. On an interval of length h, tanh(a_k + s x_k) is
  within e_k = min(0.77 (h x_k)^2 / 8, |tanh(z_k(r)) - tanh(z_k(l))|) of its linear interpolation, as |tanh''| <= 0.77 and tanh is
  monotone, so the sum is at most the larger of its two end values + sum_k |p_k| e_k. That also holds for the unbounded intervals, where
  the second term of e_k counts. Intervals that could hold the maximum are divided further.
- tanh planes: a point other than a_j lies on a line a_j + s (x_j + t w_j) or a_j + s (w_j + t x_j), -1 <= t <= 1. For t in an interval the
  numbers x_jk + t w_jk lie in intervals, and for s >= 0 the sum is largest where each of them is at its upper end (p_jk > 0) or its lower
  one, for s <= 0 the other way round: two lines. Intervals of t that could hold the maximum are divided further.
- relu lines: the sum is piecewise linear, with corners s_k = -a_k / x_k and slopes sum_k p_k max(x_k, 0) and sum_k p_k max(-x_k, 0)
  towards the two ends, which must not be positive. A corner is known up to an error d, and the sum changes by at most d sum_k |p_k x_k|.
- boxes: tanh sum_k |p_k|; relu 0 where no p_k is positive, else infinite.
- gains, whole: 0 where u is orthogonal to V_j (x) phi(z_j), or to all V_j (x) e_k; else infinite.

Rounding: a sum of n products is within (n + 2) 2^-53 times the sum of absolute values; a + s x within 2^-52 (|a| + |s x|); tanh of the C
library within 2^-50, and it changes by at most e min(1, 4 exp(-2 (|z| - e))) within e of z; what underflows is below 2^-960.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from ..numerics.separation import RAY, SEGMENT

CURVATURE = 0.77  # |tanh''| <= 4 / (3 sqrt 3) = 0.7698..
UNIT = 2.0**-53
_TANH = 2.0**-50
LEAST = 2.0**-960  # no error bound is below: products lose up to 2^-1075 where they underflow, whatever their factors are
_UP = 1 + 1e-9  # bounds are sums and products of a few positive numbers, each rounded
_FAR = np.array([0.0, 0.4, 0.9, 1.6, 2.8, 5.0, 20.0])  # pre-activations at the points of a tanh line, of either sign
_MOST_POINTS = 192  # of a tanh line, at first
_IN_PROGRAMME = 28  # of them in a linear programme, with its two ends: more cost more and prove the same
_MOST_VALUES = 2_000_000  # units x points x samples at a time; with more the bounds stay as they are
_ROUNDS = 16
_DIRECTIONS = 8  # intervals of directions in a plane, for each of two charts, at first
_FEW = 32  # points of each of its lines, at first
_FEW_ROUNDS, _FEW_VALUES = 5, 200_000  # in which these are divided, and how many at a time
_TURNS = 6  # times that intervals of directions are looked at
_MOST_DIRECTIONS = 600  # of one trial at a time
_LENGTHS = np.array([-30.0, -3.0, -1.0, 1.0, 3.0, 30.0])  # of points in a plane
_PARTS = 8
_TIGHT = 1e-6  # slopes of a candidate direction below that are meant to be 0
_LONG = 1e6  # points further out, relative to the units, are left out of programmes


class Direction(NamedTuple):
    """u [o, m], known up to error [o, m]."""

    u: np.ndarray
    error: np.ndarray


class Points(NamedTuple):
    """What a linear programme knows of units: vectors [e, c]; owner int [c], numbered from 0 (or RAY, SEGMENT: numerics/separation.py)."""

    vectors: np.ndarray
    owner: np.ndarray


class Walls(NamedTuple):
    """Rows [q, e] that u is meant to be orthogonal to, known up to errors [q, e]; spared [..]: which slopes of a kind are 0 then."""

    rows: np.ndarray
    errors: np.ndarray
    spared: np.ndarray

    @classmethod
    def none(cls, size: int) -> Walls:
        return cls(np.zeros((0, size)), np.zeros((0, size)), np.zeros(0, dtype=bool))


class Kind(Protocol):
    """Units [n] of one trial that learn alike."""

    outgoing: np.ndarray  # V [o, n]

    def points(self) -> Points: ...

    def walls(self, u: np.ndarray) -> Walls:
        """What a candidate direction u [o, m] is meant to be orthogonal to."""
        ...

    def most(self, direction: Direction, spared: np.ndarray, enough: float) -> np.ndarray:
        """Upper bounds [n] of the sup of u . (V_j (x) phi(z)) for a u within the direction's error; no more work is done on them than to
        get their sum below `enough`. spared: of `walls`, whose rows u is exactly orthogonal to."""
        ...

    def learn(self) -> None:
        """Add the points where u . (V_j (x) phi(z)) was largest to those of the next programme."""
        ...

    def shifts(self, shares: np.ndarray) -> np.ndarray | None:
        """The mean of a unit's learnable over its points, by their shares in a sum, [n]; None where a unit has several."""
        ...


def weights_of(direction: Direction, outgoing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p [n, m], bounds of its error): p_jk = sum_i u_ik V_ij. outgoing may be products of two numbers, rounded."""
    u, v = np.abs(direction.u), np.abs(outgoing)
    p = outgoing.T @ direction.u
    error = ((len(u) + 3) * UNIT * (v.T @ u) + v.T @ direction.error) * _UP
    some = (v.T != 0) @ ((u + direction.error) != 0)  # where all factors are 0 the sum is 0
    return p, error + LEAST * some


class Reach(NamedTuple):
    """For every unit j and sample k: pre-activations a + s x, with bounds of the errors of a and x; all [n, m]. source int [n]: units of
    one source have the same x, exactly."""

    a: np.ndarray
    a_error: np.ndarray
    x: np.ndarray
    x_error: np.ndarray
    source: np.ndarray

    @property
    def still(self) -> np.ndarray:
        """bool [n, m]: x is 0."""
        return (self.x == 0) & (self.x_error == 0)


@dataclass(eq=False)
class TanhLines:
    """Units with one learnable each, tanh."""

    outgoing: np.ndarray
    reach: Reach
    starts: np.ndarray = field(init=False)  # [n, points], rising
    at: np.ndarray = field(init=False, repr=False)  # [n, points] of the last programme, its two ends last
    more: list[np.ndarray] = field(default_factory=list)  # [n] each, where directions failed
    best: np.ndarray | None = None

    def __post_init__(self) -> None:
        a, x = self.reach.a, self.reach.x
        safe = np.where(x == 0, 1.0, x)
        s = ((np.concatenate([-_FAR[:0:-1], _FAR])[:, None, None] - a) / safe).transpose(1, 2, 0)  # [n, m, points]
        s[x == 0] = 0.0
        s = np.sort(np.clip(np.nan_to_num(s.reshape(len(a), -1)), -1e300, 1e300), axis=1)
        count = int(np.clip(_MOST_VALUES // max(1, a.size), 16, _MOST_POINTS))
        if s.shape[1] > count:
            s = s[:, np.linspace(0, s.shape[1] - 1, count).round().astype(int)]
        self.starts = s

    def points(self) -> Points:
        n, a, x = len(self.reach.a), self.reach.a, self.reach.x
        inner = np.linspace(0, self.starts.shape[1] - 1, min(_IN_PROGRAMME, self.starts.shape[1])).round().astype(int)
        s = np.concatenate([self.starts[:, inner], *[one[:, None] for one in self.more]], axis=1)
        ends = np.where(x == 0, np.tanh(a), np.sign(x)), np.where(x == 0, np.tanh(a), -np.sign(x))
        values = np.concatenate([np.tanh(a[:, None, :] + s[:, :, None] * x[:, None, :]), *[end[:, None] for end in ends]], axis=1)
        self.at = np.concatenate([s, s.max(axis=1, keepdims=True), s.min(axis=1, keepdims=True)], axis=1)
        return Points(_columns(self.outgoing, values), np.repeat(np.arange(n), values.shape[1]))

    def walls(self, u: np.ndarray) -> Walls:
        return Walls.none(u.size)

    def shifts(self, shares: np.ndarray) -> np.ndarray:
        # what saturates is as good at the near end of where it does: 4 past the pre-activations of most samples
        near = np.where(self.reach.x == 0, 1.0, np.abs(self.reach.x))
        far = np.median((4 + np.abs(self.reach.a)) / near, axis=1)
        return (shares.reshape(self.at.shape) * np.clip(self.at, -far[:, None], far[:, None])).sum(axis=1)

    def learn(self) -> None:
        if self.best is not None:
            self.more.append(self.best)

    def most(self, direction: Direction, spared: np.ndarray, enough: float) -> np.ndarray:
        p, error = weights_of(direction, self.outgoing)
        tops, self.best = tops_of_tanh(p, error, self.reach, self.starts, enough)
        return tops


def tops_of_tanh(
    p: np.ndarray, p_error: np.ndarray, reach: Reach, starts: np.ndarray, enough: float, least: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds [n] of sup_s sum_k p_jk tanh(a_jk + s x_jk), and finite s where large values were, [n].

    starts [n, points], rising: where the line is cut at first. Intervals are divided until the bounds add up to less than `enough`, or the
    largest values, which no bound can be below, do not, or nothing is gained. least [n]: each by itself, down to that and no further.
    """
    n, m = p.shape
    weight = (np.abs(p) + p_error) * _UP
    always = (p_error.sum(axis=1) + (_TANH + (m + 6) * UNIT) * weight.sum(axis=1)) * _UP  # of every value
    steep = np.sqrt(CURVATURE / 8) * (np.abs(reach.x) + reach.x_error) * _UP

    def at(unit: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(upper bounds of values [..], tanh [.., m], bounds of its error [.., m]) at finite s [..] of units [..]."""
        step = np.abs(s)[..., None]
        z = reach.a[unit] + s[..., None] * reach.x[unit]
        off = reach.a_error[unit] + step * reach.x_error[unit] + 2 * UNIT * (np.abs(reach.a[unit]) + step * np.abs(reach.x[unit])) + LEAST
        steepest = np.minimum(1.0, 4 * np.exp(np.minimum(-2 * (np.abs(z) - off), 0.0)))
        t, wrong = np.tanh(z), np.fmin(off * steepest * _UP, 2.0)  # NaN: 2
        t = np.where(np.isnan(t), 0.0, t)
        return (p[unit] * t).sum(axis=-1) + (weight[unit] * wrong).sum(axis=-1) * _UP + always[unit], t, wrong

    rows = np.arange(n)
    values, t, wrong = at(np.broadcast_to(rows[:, None], starts.shape), starts)
    best, where = _lower(values, p, t, axis=1), starts[rows, values.argmax(axis=1)]
    # the two unbounded intervals: limits are signs of x, anything in [-1, 1] where that sign is not known
    outside = np.full(n, -np.inf)
    known = np.abs(reach.x) > reach.x_error
    still = reach.still
    at_zero, t_zero, wrong_zero = at(rows, np.zeros(n))
    for side, edge in ((-1.0, 0), (1.0, -1)):
        limit = np.where(still, t_zero, np.where(known, side * np.sign(reach.x), 0.0))
        loose = np.where(still, wrong_zero, np.where(known, 0.0, 1.0))
        end = (p * limit).sum(axis=1) + (weight * loose).sum(axis=1) * _UP + always
        change = np.where(still, 0.0, np.minimum(np.abs(limit - t[:, edge]) + loose + wrong[:, edge] + 2 * _TANH, 2.0))
        outside = np.maximum(outside, np.maximum(end, values[:, edge]) + (weight * change).sum(axis=1) * _UP)
        best = np.maximum(best, (p * limit).sum(axis=1) - (weight * loose).sum(axis=1))
    # the intervals between: unit, ends, values, tanh and its error at both ends
    unit = np.repeat(rows, starts.shape[1] - 1)
    l, r = starts[:, :-1].ravel(), starts[:, 1:].ravel()
    pick = lambda array, k: array[:, k].reshape(-1, *array.shape[2:])  # noqa: E731
    first, last = slice(None, -1), slice(1, None)
    one, two, t_one, t_two = pick(values, first), pick(values, last), pick(t, first), pick(t, last)
    w_one, w_two = pick(wrong, first), pick(wrong, last)
    floor = outside.copy()  # bounds of intervals that are not divided any more
    for turn in range(_ROUNDS):
        bend = np.fmin(((r - l)[:, None] * steep[unit]) ** 2 * _UP, np.minimum(np.abs(t_two - t_one) + w_one + w_two + 2 * _TANH, 2.0))
        bounds = np.maximum(one, two) + (weight[unit] * bend).sum(axis=1) * _UP
        tops = floor.copy()
        np.maximum.at(tops, unit, bounds)
        told = tops.sum() < enough or best.sum() >= enough if least is None else bool((tops <= least).all())
        if told or turn == (_ROUNDS if least is None else _FEW_ROUNDS) - 1:
            return tops, where
        keep = bounds > np.maximum(best, floor)[unit]
        if least is not None:
            keep &= bounds > least[unit]
        middle = l + (r - l) * 0.5
        keep &= (middle > l) & (middle < r) & (r - l > 1e-7 * np.maximum(np.abs(l), np.abs(r)))
        if not keep.any() or int(keep.sum()) * _PARTS * m > (_MOST_VALUES if least is None else _FEW_VALUES):
            return tops, where
        np.maximum.at(floor, unit[~keep], bounds[~keep])
        unit, l, r = unit[keep], l[keep], r[keep]
        cuts = l[:, None] + (r - l)[:, None] * (np.arange(1, _PARTS) / _PARTS)
        cuts = np.clip(cuts, l[:, None], r[:, None])
        inner, t_in, w_in = at(np.broadcast_to(unit[:, None], cuts.shape), cuts)
        lower = _lower(inner, p[unit], t_in, axis=1)
        order = np.argsort(lower)
        higher = order[lower[order] > best[unit[order]]]
        best[unit[higher]], where[unit[higher]] = lower[higher], cuts[higher, inner[higher].argmax(axis=1)]
        join = lambda start, mid, end: np.concatenate([start[:, None], mid, end[:, None]], axis=1)  # noqa: E731
        s, v = join(l, cuts, r), join(one[keep], inner, two[keep])
        t_all, w_all = join(t_one[keep], t_in, t_two[keep]), join(w_one[keep], w_in, w_two[keep])
        unit = np.repeat(unit, _PARTS)
        l, r, one, two = (array.ravel() for array in (s[:, :-1], s[:, 1:], v[:, :-1], v[:, 1:]))
        t_one, t_two, w_one, w_two = (array.reshape(-1, m) for array in (t_all[:, :-1], t_all[:, 1:], w_all[:, :-1], w_all[:, 1:]))
    raise AssertionError("unreachable: the last turn returns")


def _lower(values: np.ndarray, p: np.ndarray, t: np.ndarray, axis: int) -> np.ndarray:
    """The largest of sums as they were computed, without their errors: what bounds will hardly be below."""
    return (p[:, None, :] * t).sum(axis=2).max(axis=axis)


@dataclass(eq=False)
class TanhPlanes:
    """Units with two learnables each, tanh: x and w [n, m] are what these read."""

    outgoing: np.ndarray
    one: Reach  # a and x
    two: Reach  # a and w
    more: list[np.ndarray] = field(default_factory=list)  # [n, 2] each: s and r where directions failed
    best: np.ndarray | None = None

    def __post_init__(self) -> None:
        """w in units of its own, powers of two: as large as x, so that directions are spread over both."""
        sizes = [np.frexp(np.abs(part.x).max(axis=1))[1] for part in (self.one, self.two)]
        apart = np.clip(np.where(self.one.x.any(axis=1) & self.two.x.any(axis=1), sizes[0] - sizes[1], 0), -900, 900)[:, None]
        x, x_error = np.ldexp(self.two.x, apart), np.ldexp(self.two.x_error, apart)
        lost = np.ldexp(x, -apart) != self.two.x
        self.two = self.two._replace(x=x, x_error=x_error + np.where(lost | ((x_error == 0) & (self.two.x_error > 0)), LEAST, 0.0))

    def points(self) -> Points:
        a, x, w = self.one.a, self.one.x, self.two.x
        at = np.concatenate([self._grid(), *[one[:, None] for one in self.more]], axis=1)
        values = np.tanh(a[:, None] + at[..., :1] * x[:, None] + at[..., 1:] * w[:, None])
        return Points(_columns(self.outgoing, values), np.repeat(np.arange(len(a)), values.shape[1]))

    def _grid(self) -> np.ndarray:
        """s and r [n, points, 2], near and far, in the directions in which some pre-activation stays, and between them."""
        a, x, w = self.one.a, self.one.x, self.two.x
        sizes = [np.sqrt((part**2).mean(axis=1, keepdims=True)) for part in (x, w)]
        sizes = [np.where(size > 0, size, 1.0) for size in sizes]
        still = np.sort(np.arctan2(-x / sizes[0], w / sizes[1]) % np.pi, axis=1)  # cos x + sin w = 0
        between = (still + np.roll(still, -1, axis=1) + np.pi * (np.arange(x.shape[1]) == x.shape[1] - 1)) / 2
        angles = np.concatenate([still, between], axis=1)[..., None]
        length = (1 + np.abs(a).max(axis=1))[:, None, None] * _LENGTHS
        return np.stack([wave(angles) * length / size[..., None] for wave, size in zip((np.cos, np.sin), sizes)], axis=-1).reshape(
            len(x), -1, 2
        )

    def walls(self, u: np.ndarray) -> Walls:
        return Walls.none(u.size)

    def shifts(self, shares: np.ndarray) -> None:
        return None

    def learn(self) -> None:
        if self.best is not None:
            self.more.append(self.best)

    def most(self, direction: Direction, spared: np.ndarray, enough: float) -> np.ndarray:
        p, error = weights_of(direction, self.outgoing)
        n = len(p)
        lower, floor, self.best = np.full(n, -np.inf), np.full(n, -np.inf), np.zeros((n, 2))
        # intervals of t: unit, which of x and w has the factor 1, ends
        cuts = np.linspace(-1, 1, _DIRECTIONS + 1)
        unit, chart = np.repeat(np.arange(n), 2 * _DIRECTIONS), np.tile(np.repeat([0, 1], _DIRECTIONS), n)
        l, r = np.tile(cuts[:-1], 2 * n), np.tile(cuts[1:], 2 * n)
        for turn in range(_TURNS):
            self._look(p, (unit, chart, (l + r) / 2), lower, self.best)
            if not lower.sum() < enough:
                return np.full(n, np.inf)
            least = np.maximum(lower + (enough - lower.sum()) / (2 * n), floor)  # if all bounds are below, so is their sum
            bounds = self._of_intervals(p, error, (unit, chart, l, r), least)
            tops = floor.copy()
            np.maximum.at(tops, unit, bounds)
            keep = bounds > least[unit]
            if tops.sum() < enough or turn == _TURNS - 1 or not keep.any() or keep.sum() > _MOST_DIRECTIONS:
                return tops
            np.maximum.at(floor, unit[~keep], bounds[~keep])
            ends = np.linspace(l[keep], r[keep], 5, axis=1)
            ends[:, 0], ends[:, -1] = l[keep], r[keep]
            unit, chart = np.repeat(unit[keep], 4), np.repeat(chart[keep], 4)
            l, r = ends[:, :-1].ravel(), ends[:, 1:].ravel()
        raise AssertionError("unreachable: the last turn returns")

    def _of_intervals(self, p: np.ndarray, error: np.ndarray, parts: tuple[np.ndarray, ...], least: np.ndarray) -> np.ndarray:
        """Upper bounds [q] of intervals of t, those of a unit taken no further than to least[unit]."""
        unit, chart, l, r = parts
        first, second = (np.where(chart[:, None] == k, self.one.x[unit], self.two.x[unit]) for k in (0, 1))
        wrong = self.one.x_error[unit] + self.two.x_error[unit]
        ends = [first + t[:, None] * second for t in (l, r)]
        swap = ends[0] > ends[1]
        rounded = [
            np.where((t[:, None] == 0) | (second == 0), 0.0, UNIT * (np.abs(t[:, None] * second) + np.abs(end)) + LEAST)
            for t, end in zip((l, r), ends)
        ]
        low, high = np.where(swap, ends[1], ends[0]), np.where(swap, ends[0], ends[1])
        low_error, high_error = (np.where(swap == k, rounded[0], rounded[1]) * _UP + wrong for k in (False, True))
        own, own_error = p[unit], error[unit]
        # where the sign of p is not known all of the interval counts
        loose = np.where(np.abs(own) <= own_error, (high - low) * _UP, 0.0)
        tops = []
        for upper in (True, False):
            above = (own > 0) == upper
            x, x_error = np.where(above, high, low), np.where(above, high_error, low_error) + loose
            lines = TanhLines(self.outgoing[:, unit], Reach(self.one.a[unit], self.one.a_error[unit], x, x_error, unit))
            few = np.linspace(0, lines.starts.shape[1] - 1, min(_FEW, lines.starts.shape[1])).round().astype(int)
            tops.append(tops_of_tanh(own, own_error, lines.reach, lines.starts[:, few], 0.0, least[unit])[0])
        return np.maximum(*tops)

    def _look(self, p: np.ndarray, parts: tuple[np.ndarray, ...], lower: np.ndarray, best: np.ndarray) -> None:
        """Raises `lower` [n] and moves `best` [n, 2] to the largest values on lines with these t."""
        unit, chart, t = parts
        one = np.ones_like(t)
        way = np.where(chart[:, None] == 0, np.stack([one, t], axis=1), np.stack([t, one], axis=1))
        x, a = way[:, :1] * self.one.x[unit] + way[:, 1:] * self.two.x[unit], self.one.a[unit]
        s = np.concatenate([(far - a) / np.where(x == 0, 1.0, x) for far in (-20.0, -2.0, -1.0, -0.4, 0.0, 0.4, 1.0, 2.0, 20.0)], axis=1)
        values = (p[unit][:, None] * np.tanh(a[:, None] + s[..., None] * x[:, None])).sum(axis=2)
        values = np.where(np.isfinite(values), values, -np.inf)
        place = values.argmax(axis=1)
        most = values[np.arange(len(unit)), place]
        order = np.argsort(most)
        order = order[most[order] > lower[unit[order]]]
        lower[unit[order]], best[unit[order]] = most[order], s[order, place[order]][:, None] * way[order]


@dataclass(eq=False)
class ReluLines:
    """Units with one learnable each, relu."""

    outgoing: np.ndarray
    reach: Reach
    corners: np.ndarray = field(init=False)  # [n, m]
    at: np.ndarray = field(init=False, repr=False)  # those of them in the last programme, 0 for others

    def __post_init__(self) -> None:
        a, x = self.reach.a, self.reach.x
        with np.errstate(all="ignore"):
            self.corners = np.where(x == 0, 0.0, -a / np.where(x == 0, 1.0, x))

    def points(self) -> Points:
        a, x, n = self.reach.a, self.reach.x, len(self.reach.a)
        far = np.abs(self.corners) * np.abs(x).max(axis=1, keepdims=True) > _LONG * np.abs(a).max(axis=1, keepdims=True)
        self.at = np.where(far | ~np.isfinite(self.corners), 0.0, self.corners)
        values = np.maximum(a[:, None, :] + self.at[:, :, None] * x[:, None, :], 0.0)
        up, down = np.maximum(x, 0.0), np.maximum(-x, 0.0)
        rays = np.concatenate([_columns(self.outgoing, side[:, None]) for side in (up, down)], axis=1)
        owner = np.repeat(np.arange(n), values.shape[1])
        return Points(np.concatenate([_columns(self.outgoing, values), rays], axis=1), np.concatenate([owner, np.full(2 * n, RAY)]))

    def shifts(self, shares: np.ndarray) -> np.ndarray:
        n = len(self.at)
        inner = (shares[: self.at.size].reshape(self.at.shape) * self.at).sum(axis=1)
        return inner + shares[self.at.size : self.at.size + n] - shares[self.at.size + n :]

    def learn(self) -> None:
        """All corners are there already."""

    def _slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """What each unit's pre-activations grow by towards both ends, [2, n, m], up to x_error, and where it is no zero, bool [2, n]."""
        x = self.reach.x
        up, down = np.maximum(x, 0.0), np.maximum(-x, 0.0)
        sides = np.stack([up, down])
        return sides, np.asarray((np.stack([x, -x]) + self.reach.x_error > 0).any(axis=2))

    def walls(self, u: np.ndarray) -> Walls:
        """V_j (x) max(+-x_j, 0) of slopes that are nearly 0; all outputs of it where as many units as outputs have such a slope."""
        outputs, size = len(u), np.abs(self.outgoing).sum(axis=0)
        sides, some = self._slopes()
        slope = (self.outgoing.T @ u * sides).sum(axis=2)
        spared = some & (size > 0) & (slope > -_TIGHT * sides.max(axis=2) * size * np.abs(u).max())
        walls = Walls.none(u.size)
        rows, errors = [walls.rows], [walls.errors]
        for side in range(2):
            for source in np.unique(self.reach.source[spared[side]]):
                mine = self.reach.source == source
                units = np.flatnonzero(mine & spared[side])
                ray, error = sides[side, units[0]], self.reach.x_error[units[0]]
                v = self.outgoing[:, units].T
                if len(units) >= outputs:
                    v, spared[side] = np.eye(outputs), spared[side] | mine
                rows.append((v[:, :, None] * ray).reshape(len(v), -1))
                rounded, lost = (0.0, 0.0) if len(units) >= outputs else (4 * UNIT * ray, LEAST * (1 + ray))
                errors.append((np.abs(v)[:, :, None] * (error + rounded) + lost).reshape(len(v), -1) * _UP)
        return Walls(np.concatenate(rows), np.concatenate(errors), spared)

    def most(self, direction: Direction, spared: np.ndarray, enough: float) -> np.ndarray:
        p, p_error = weights_of(direction, self.outgoing)
        a, a_error, x, x_error, _ = self.reach
        n, m = a.shape
        weight = (np.abs(p) + p_error) * _UP
        s, reading = self.corners, ~self.reach.still
        z = a[:, None, :] + s[:, :, None] * x[:, None, :]  # [n, corner, sample]
        step = np.abs(s)[:, :, None]
        off = a_error[:, None] + step * x_error[:, None] + 2 * UNIT * (np.abs(a)[:, None] + step * np.abs(x)[:, None]) + LEAST
        values = (p[:, None, :] * np.maximum(z, 0.0)).sum(axis=2)
        values += ((weight[:, None] * off).sum(axis=2) + (p_error[:, None] * np.abs(z)).sum(axis=2)) * _UP
        values += (m + 6) * UNIT * (weight[:, None] * np.abs(z)).sum(axis=2)
        gap = np.abs(x) - x_error
        moved = np.where(gap > 0, (2 * UNIT * np.abs(a) + a_error + np.abs(s) * x_error + LEAST) / np.where(gap > 0, gap, 1.0), np.inf)
        moved = np.where(reading, moved * _UP + 4 * UNIT * np.abs(s), 0.0)
        slack = (weight * (np.abs(x) + x_error)).sum(axis=1)[:, None]
        values += np.where((moved > 0) & (slack > 0), moved * slack * _UP, 0.0)
        tops = values.max(axis=1)
        tops = np.where(np.isnan(tops) | ~np.isfinite(self.corners).all(axis=1), np.inf, tops)
        sides, some = self._slopes()
        slopes = (p * sides).sum(axis=2) + (weight * x_error + p_error * sides + (m + 4) * UNIT * weight * sides).sum(axis=2) * _UP
        slopes += LEAST * some * (weight > 0).any(axis=1)
        rising = some & ~(slopes <= 0)
        tops[(rising & ~spared).any(axis=0)] = np.inf
        return tops


@dataclass(eq=False)
class Boxes:
    """Units with several learnables each: all pre-activations in R^m are allowed for."""

    outgoing: np.ndarray
    activation: str
    samples: int

    def points(self) -> Points:
        n = self.outgoing.shape[1]
        values = np.broadcast_to(np.eye(self.samples), (n, self.samples, self.samples))
        return Points(_columns(self.outgoing, values), np.full(n * self.samples, SEGMENT if self.activation == "tanh" else RAY))

    def walls(self, u: np.ndarray) -> Walls:
        return Walls.none(u.size)

    def shifts(self, shares: np.ndarray) -> None:
        return None

    def learn(self) -> None:
        """The programme knows all of it."""

    def most(self, direction: Direction, spared: np.ndarray, enough: float) -> np.ndarray:
        p, error = weights_of(direction, self.outgoing)
        if self.activation == "tanh":
            return (np.abs(p) + error).sum(axis=1) * _UP
        return np.where((p + error > 0).any(axis=1), np.inf, 0.0)


@dataclass(eq=False)
class Gains:
    """Units whose gain learns, and nothing else: their signal phi(z_j) [n, m], with bounds of its error, times any number."""

    outgoing: np.ndarray
    signal: np.ndarray
    signal_error: np.ndarray

    def points(self) -> Points:
        ends = _columns(self.outgoing, self.signal[:, None])
        return Points(np.concatenate([ends, -ends], axis=1), np.full(2 * len(self.signal), RAY))

    def walls(self, u: np.ndarray) -> Walls:
        size, v = np.abs(self.signal) + self.signal_error, self.outgoing.T[:, :, None]
        acts = (self.outgoing != 0).any(axis=0) & (size > 0).any(axis=1)
        error = np.abs(v) * (self.signal_error + 4 * UNIT * np.abs(self.signal))[:, None] * _UP + LEAST
        rows = (v * self.signal[:, None]).reshape(len(v), -1)
        return Walls(rows[acts], error.reshape(rows.shape)[acts], np.zeros(0, dtype=bool))

    def shifts(self, shares: np.ndarray) -> np.ndarray:
        return shares[: len(self.signal)] - shares[len(self.signal) :]

    def learn(self) -> None:
        """The programme knows all of it."""

    def most(self, direction: Direction, spared: np.ndarray, enough: float) -> np.ndarray:
        return np.zeros(len(self.signal))


@dataclass(eq=False)
class Whole:
    """Units whose gain learns beside others: all of R^m."""

    outgoing: np.ndarray
    samples: int

    def points(self) -> Points:
        n = self.outgoing.shape[1]
        ends = _columns(self.outgoing, np.broadcast_to(np.eye(self.samples), (n, self.samples, self.samples)))
        return Points(np.concatenate([ends, -ends], axis=1), np.full(2 * n * self.samples, RAY))

    def walls(self, u: np.ndarray) -> Walls:
        """V_j (x) e_k; of V_j that span R^o all coordinates, and then no direction is left."""
        acts = self.outgoing.T[(self.outgoing != 0).any(axis=0)]
        rows = (acts[:, None, :, None] * np.eye(self.samples)[None, :, None]).reshape(-1, u.size)
        return Walls(rows, 2 * UNIT * np.abs(rows) + LEAST * (rows != 0), np.zeros(0, dtype=bool))

    def shifts(self, shares: np.ndarray) -> None:
        return None

    def learn(self) -> None:
        """The programme knows all of it."""

    def most(self, direction: Direction, spared: np.ndarray, enough: float) -> np.ndarray:
        return np.zeros(self.outgoing.shape[1])


def _columns(outgoing: np.ndarray, values: np.ndarray) -> np.ndarray:
    """V_j (x) values for values [n, c, m], as columns [o m, n c]."""
    return np.einsum("in,ncm->imnc", outgoing, values).reshape(len(outgoing) * values.shape[2], -1)
