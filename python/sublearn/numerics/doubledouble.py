"""Numbers with about 32 digits and a bound of their error, in batches: hi + lo +- rad, three float64 arrays.

Error-free transformations: a + b = s + e exactly (Knuth), a b = p + e exactly (Dekker, with Veltkamp's splitting; no fused
multiply-add is assumed). With u = 2^-53 a sum of two numbers is right to 3 u^2 of itself, a product to 9 u^2, a dot product of k terms
to 4 (k + 2)^2 u^2 sum |a| |b|. `rad` holds these and what they inherit, rounded up: the true value of what was computed from
exact numbers lies within rad of hi + lo. Numbers above 1e300 become nan, which no comparison accepts.

About 25 numpy passes per product against one in float64: 1 to 3 us per dot product of 8 terms, in batches of some hundred.
"""

from __future__ import annotations

import numpy as np

_U2 = 2.0**-106
_UP = 1 + 2.0**-48  # covers some ten roundings in the computation of a radius
_TINY = 1e-290  # covers products that underflow
_REFINEMENTS = 12


def two_sum(a, b):
    """(s, e): s = fl(a + b), s + e = a + b exactly."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def split(a):
    """(high, low) halves of 26 bits, a = high + low exactly; |a| < 2^996."""
    t = 134217729.0 * a  # 2^27 + 1
    high = t - (t - a)
    return high, a - high


def two_prod(a, b):
    """(p, e): p = fl(a b), p + e = a b exactly, where neither over- nor underflows."""
    p = a * b
    a1, a0 = split(a)
    b1, b0 = split(b)
    return p, ((a1 * b1 - p) + a1 * b0 + a0 * b1) + a0 * b0


def _renormal(s, e):
    """s + e with |e| small against s, as a pair without overlap."""
    t = s + e
    return t, e - (t - s)


class Ball:
    """hi + lo +- rad, float64 arrays of one shape; |lo| <= u |hi|. Arithmetic broadcasts; plain arrays count as exact."""

    __slots__ = ("hi", "lo", "rad")
    __array_ufunc__ = None  # array + Ball is Ball.__radd__

    def __init__(self, hi, lo=None, rad=None):
        self.hi = np.asarray(hi, dtype=np.float64)
        self.lo = np.zeros_like(self.hi) if lo is None else lo
        self.rad = np.zeros_like(self.hi) if rad is None else rad

    @property
    def shape(self) -> tuple[int, ...]:
        return self.hi.shape

    def __getitem__(self, key) -> Ball:
        return Ball(self.hi[key], self.lo[key], self.rad[key])

    def __neg__(self) -> Ball:
        return Ball(-self.hi, -self.lo, self.rad)

    def __add__(self, other) -> Ball:
        other = as_ball(other)
        s, e = two_sum(self.hi, other.hi)
        t, f = two_sum(self.lo, other.lo)
        s, e = _renormal(s, e + t)
        s, e = _renormal(s, e + f)
        return Ball(s, e, (self.rad + other.rad + 4 * _U2 * np.abs(s)) * _UP)

    __radd__ = __add__

    def __sub__(self, other) -> Ball:
        return self + (-as_ball(other))

    def __rsub__(self, other) -> Ball:
        return as_ball(other) + (-self)

    def __mul__(self, other) -> Ball:
        other = as_ball(other)
        p, e = two_prod(self.hi, other.hi)
        p, e = _renormal(p, e + (self.hi * other.lo + self.lo * other.hi))
        a, b = self.most(), other.most()
        return Ball(p, e, (a * other.rad + self.rad * b + 16 * _U2 * np.abs(p) + _TINY) * _UP)

    __rmul__ = __mul__

    def most(self) -> np.ndarray:
        """Upper bound of |value|, nearly: u |hi| is missing for lo, and is covered by the factor of every radius."""
        return np.abs(self.hi) + self.rad

    def reshape(self, *shape) -> Ball:
        return Ball(self.hi.reshape(*shape), self.lo.reshape(*shape), self.rad.reshape(*shape))

    def swap(self) -> Ball:
        """The last two axes exchanged."""
        return Ball(*(np.swapaxes(part, -1, -2) for part in (self.hi, self.lo, self.rad)))

    def take(self, index: np.ndarray, axis: int = -1) -> Ball:
        """numpy's take_along_axis."""
        return Ball(*(np.take_along_axis(part, index, axis) for part in (self.hi, self.lo, self.rad)))

    def put(self, index: np.ndarray, value: Ball, axis: int = -1) -> Ball:
        """A copy with the entries at `index` replaced (numpy's put_along_axis)."""
        out = Ball(self.hi.copy(), self.lo.copy(), self.rad.copy())
        for part, new in ((out.hi, value.hi), (out.lo, value.lo), (out.rad, value.rad)):
            np.put_along_axis(part, index, new, axis)
        return out


def as_ball(value) -> Ball:
    return value if isinstance(value, Ball) else Ball(value)


def join(balls: list, axis: int = -1) -> Ball:
    balls = [as_ball(b) for b in balls]
    return Ball(*(np.concatenate(parts, axis=axis) for parts in zip(*((b.hi, b.lo, b.rad) for b in balls))))


def where(condition: np.ndarray, a: Ball, b: Ball) -> Ball:
    """numpy's where."""
    return Ball(*(np.where(condition, x, y) for x, y in ((a.hi, b.hi), (a.lo, b.lo), (a.rad, b.rad))))


def stack(balls: list, axis: int = 1) -> Ball:
    return Ball(*(np.stack(parts, axis=axis) for parts in zip(*((b.hi, b.lo, b.rad) for b in balls))))


def dot(a, b) -> Ball:
    """sum over the last axis of a b; a, b [..., k] broadcast against each other."""
    a, b = as_ball(a), as_ball(b)
    k = np.broadcast_shapes(a.shape[-1:], b.shape[-1:])[0]
    p, e = two_prod(a.hi, b.hi)
    e = e + (a.hi * b.lo + a.lo * b.hi)
    s, low = p[..., 0], e[..., 0]
    for j in range(1, k):
        s, carry = two_sum(s, p[..., j])
        low = low + (carry + e[..., j])
    s, low = _renormal(s, low)
    size = np.abs(p).sum(axis=-1)
    rad = (a.most() * b.rad + a.rad * np.abs(b.hi)).sum(axis=-1)
    return Ball(s, low, (rad + 4 * (k + 2) ** 2 * _U2 * size + _TINY * k) * _UP)


def matvec(a, v) -> Ball:
    """[..., m, k] times [..., k]."""
    return dot(a, as_ball(v)[..., None, :])


def matmul(a, b) -> Ball:
    """[..., m, k] times [..., k, n]."""
    return dot(as_ball(a)[..., :, None, :], as_ball(b).swap()[..., None, :, :])


class Inverse:
    """Approximate inverses R of M [batch, k, k], and proofs that M is invertible: ||I - R M|| < 1 in the row-sum norm.

    R is float64 where that suffices (condition numbers up to about 1e14), else from an elimination in double-double (1e29).
    proven bool [batch]: every matrix within the radii of M is invertible.
    """

    def __init__(self, M):
        self.M = as_ball(M)
        self.R = Ball(_float_inverse(self.M.hi))
        self.wide = np.zeros(0, dtype=np.int64)
        self._check()
        again = np.flatnonzero(~(self.norm < 0.25))
        if len(again):
            better = Inverse.__new__(Inverse)
            better.M, better.R = self.M[again], _eliminate(self.M[again])
            better._check()
            use = better.norm < np.where(self.norm[again] >= 0, self.norm[again], np.inf)
            for mine, new in ((self.R.hi, better.R.hi), (self.R.lo, better.R.lo), (self.rest, better.rest), (self.norm, better.norm)):
                mine[again[use]] = new[use]
            self.wide = again[use]
        self.proven = self.norm < 0.99

    def _check(self) -> None:
        k = self.M.shape[-1]
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.eye(k) - matmul(self.R, self.M)
            self.rest = (np.abs(gap.hi) + gap.rad).sum(axis=-1) * _UP  # row sums of |I - R M|
            self.norm = self.rest.max(axis=-1)

    def solve(self, b) -> Ball:
        """The solutions of M w = b [batch, k], enclosed; nan where M was not proven invertible.

        Refined with residuals in double-double. |w* - w| <= |R r| + |I - R M| |w* - w|.
        """
        b = as_ball(b)
        k = b.shape[-1]
        with np.errstate(invalid="ignore", over="ignore"):
            w = Ball(self._apply(b.hi, b.lo))
            open_ = self.proven
            for _ in range(_REFINEMENTS):  # a system that has settled is left alone: results do not depend on the others
                r = Ball(b.hi, b.lo) - matvec(Ball(self.M.hi, self.M.lo), w)
                step = np.where(open_[:, None], self._apply(r.hi, r.lo), 0.0)
                w = w + step
                w.rad = np.zeros_like(w.hi)
                open_ = open_ & (np.abs(step) > 2.0**-90 * np.abs(w.hi).max(axis=-1, keepdims=True)).any(axis=-1)
                if not open_.any():
                    break
            r = b - matvec(self.M, w)
            # |R r| from its value in float64, whose error is below (k + 2) u |R| |r|
            slack = r.rad + (k + 2) * 2.0**-53 * np.abs(r.hi)
            shift = (np.abs(self._apply(r.hi, r.lo)) + (np.abs(self.R.hi) * slack[..., None, :]).sum(axis=-1)) * _UP
            most = shift.max(axis=-1, keepdims=True) / np.where(self.proven, 1 - self.norm * _UP, np.nan)[:, None]
            return Ball(w.hi, w.lo, (shift + self.rest * most) * _UP + _TINY)

    def _apply(self, hi: np.ndarray, lo: np.ndarray) -> np.ndarray:
        """R (hi + lo), rounded: in float64 where R is, in double-double where R is that."""
        out = (self.R.hi * hi[..., None, :]).sum(axis=-1)
        if len(self.wide):
            out[self.wide] = matvec(self.R[self.wide], Ball(hi[self.wide], lo[self.wide])).hi
        return out


def _float_inverse(M: np.ndarray) -> np.ndarray:
    """Inverses in float64; nan for exactly singular or non-finite matrices."""
    out = np.full(M.shape, np.nan)
    good = np.isfinite(M).all(axis=(1, 2))
    try:
        out[good] = np.linalg.inv(M[good])
    except np.linalg.LinAlgError:
        good[good] = np.linalg.slogdet(M[good])[0] != 0
        out[good] = np.linalg.inv(M[good])
    return out


def _eliminate(M: Ball) -> Ball:
    """Inverses by Gauss-Jordan elimination in double-double, rows exchanged for the largest pivot; the result claims no radius."""
    batch, k = M.shape[:2]
    scale = 2.0 ** -np.floor(np.log2(np.maximum(np.abs(M.hi).max(axis=-1), 1e-300)))[..., None]  # rows of one size, exactly
    A = join([Ball(M.hi * scale, M.lo * scale), np.broadcast_to(np.eye(k), M.shape) * scale])
    at = np.arange(batch)
    with np.errstate(all="ignore"):
        for j in range(k):
            pivot = j + np.argmax(np.nan_to_num(np.abs(A.hi[:, j:, j])), axis=1)
            order = np.repeat(np.arange(k)[None], batch, axis=0)
            order[at, j], order[at, pivot] = pivot, j
            A = A[at[:, None], order]
            row = _divide(A[:, j], A[:, j, j][:, None])
            factor = A[:, :, j].put(np.full((batch, 1), j), Ball(np.zeros((batch, 1))))
            A = A - factor[:, :, None] * row[:, None, :]
            A = A.put(np.full((batch, 1, 1), j), row[:, None, :], axis=1)
    return Ball(A.hi[:, :, k:].copy(), A.lo[:, :, k:].copy())


def _divide(a: Ball, b: Ball) -> Ball:
    """a / b to about 2^-100, without a radius."""
    q = a.hi / b.hi
    r = a - b * q
    q2 = r.hi / b.hi
    r = r - b * q2
    out = Ball(q) + q2 + r.hi / b.hi
    return Ball(out.hi, out.lo)
