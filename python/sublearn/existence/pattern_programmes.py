"""Relu networks that learn in one hidden layer: what a pattern of signs requires, as linear programmes.

Layer k learns; what it reads, s [., m] for m samples, is fixed, and so are the layers above it. With unit j's pre-activations
u_j = p_j + X_j^T w_j in R^m (p_j its frozen part, X_j [d_j, m] what its d_j learnable weights read) and a sign for every hidden unit
from layer k up in every sample, let v >= 0 be the absolute pre-activations. Then a match is C v = e, v >= 0, with

- for every sample o output equations     V (on v)_last = y - c,
- for every sample and unit of a hidden layer l > k     A_l (on v)_{l-1} - sign v_l = -b_l,
- for every unit j of layer k  m - d_j equations     N_j^T (sign_j v_j) = N_j^T p_j,    N_j orthogonal to range(X_j^T).

Programmes of some of the samples have the equations of these only, programmes of upper layers let the activities below them be any
numbers >= 0: both are implied by the whole, so where they are infeasible so is the whole.
A unit that reads silent units or inputs only, without bias, has pre-activation 0 for sure; it counts as off, its equation is left out.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ..backend.compiled import cpu
from ..homotopy.forcing_equations import P, residues
from ..model.layers import last_layer
from ..model.network import Feedforward
from ..numerics.simplex import TOLERANCE

_ZERO, _CLEAR = 1e-12, 1e-9  # singular values, relative to the largest: zero below; not zero above
_ROUNDED = 4e-15  # of numbers of order one


def layer_names(net: Feedforward, k: int) -> list[str]:
    return [name for name in (f"W{k}", f"b{k}") if name in net.groups]


class OneLayer:
    """One trial, reduced to layer k that learns. Patterns are bool [..., total]: layer k, then every hidden layer above it; True is on.

    p [n, m] and X [d_j, m] per unit of layer k; above: (A, b) of the hidden layers above; V [o, .], target [o, m]; units: their widths.
    Programmes are scaled: v and e are those of the formulas over `scale`.
    """

    def __init__(self, net: Feedforward, k: int, theta: np.ndarray, x: np.ndarray, y: np.ndarray, mask: np.ndarray):
        groups, learns = net.unpack(theta), net.unpack(mask)
        signal = x
        for below in range(1, k):
            signal = groups[f"W{below}"] @ signal
            if f"b{below}" in groups:
                signal = signal + groups[f"b{below}"][:, None]
            signal = np.maximum(signal, 0.0)
        W, on = groups[f"W{k}"], learns[f"W{k}"]
        if f"b{k}" in groups:
            signal = np.concatenate([signal, np.ones((1, signal.shape[1]))])
            W, on = (np.concatenate([part, of[f"b{k}"][:, None]], axis=1) for part, of in ((W, groups), (on, learns)))
        matrix, bias = last_layer(net)
        self.net, self.k, self.theta, self.W, self.on = net, k, theta, W, on
        self.above = [(groups[f"W{l}"], groups.get(f"b{l}", np.zeros(net.widths[l]))) for l in range(k + 1, len(net.widths) - 1)]
        self.V = groups[matrix]
        self.target = y - groups[bias][:, None] if bias is not None else y
        self.made_of = max(
            np.abs(y).max(), 0.0 if bias is None else np.abs(groups[bias]).max(), (np.abs(np.where(on, 0.0, W)) @ np.abs(signal)).max()
        )
        self.units = net.widths[k:-1]
        self.at = np.concatenate([[0], np.cumsum(self.units)])  # where the layers begin in a pattern
        self.n, self.m, self.total = len(W), signal.shape[1], int(self.at[-1])
        self.p = np.where(on, 0.0, W) @ signal
        self.X = [signal[row] for row in on]
        self.idle = np.array([~X.any(axis=0) for X in self.X]) & (self.p == 0)  # [n, m]: pre-activation 0, whatever is learned
        self.doubtful = any(_nearly_dependent(X, exactly=k == 1) for X in self.X)
        self.scale = max(float(np.abs(part).max(initial=0.0)) for part in (self.target, self.p, *(b for _, b in self.above))) or 1.0
        self._fixed = [self._upper(first) for first in range(len(self.units))]

    def rounding(self, eps: float) -> float:
        """How far the right sides of the programmes may be off, where numbers were rounded to eps and parts of them cancel."""
        return 64 * eps * float(self.made_of) / self.scale

    def _upper(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """(coefficients [o + units above `first`, units from `first` on] with every unit on, right sides without the outputs)."""
        at, o = self.at[first:] - self.at[first], len(self.V)
        F = np.zeros((o + at[-1] - at[1], at[-1]))
        F[:o, at[-2] :] = self.V
        for l, (A, _) in enumerate(self.above[first:], 1):
            F[o + at[l] - at[1] : o + at[l + 1] - at[1], at[l - 1] : at[l]] = A
        return F, np.concatenate([np.zeros(o), *(-b for _, b in self.above[first:])])

    def sample(self, i: int, on: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
        """C [c, rows, units from `first` on], e [rows] of sample i for patterns on [c, units from `first` on]: layers from there on."""
        at, o = self.at[first:] - self.at[first], len(self.V)
        F, e = self._fixed[first]
        C = F * on[:, None, :]
        later = np.arange(at[1], at[-1])
        C[:, o + later - at[1], later] = np.where(self.silent(on, first), 0.0, np.where(on[:, at[1] :], -1.0, 1.0))
        e = e.copy()
        e[:o] = self.target[:, i]
        return C, e / self.scale

    def silent(self, on: np.ndarray, first: int) -> np.ndarray:
        """bool [c, units above `first`]: nothing is read, and there is no bias: pre-activation 0."""
        at = self.at[first:] - self.at[first]
        out = np.zeros((len(on), at[-1] - at[1]), dtype=bool)
        for l, (_, b) in enumerate(self.above[first:], 1):
            out[:, at[l] - at[1] : at[l + 1] - at[1]] = ~on[:, at[l - 1] : at[l]].any(axis=1, keepdims=True) & (b == 0)
        return out

    def silent_target(self, i: int) -> bool:
        """Is zero asked of sample i, and no bias acts from layer k + 1 on?"""
        return not self.target[:, i].any() and not any(b.any() for _, b in self.above)

    def asks_for_nothing(self) -> bool:
        """Does zero as the value of all learnable weights meet all targets exactly: no target, no bias above, no frozen part?"""
        return not self.p.any() and all(self.silent_target(i) for i in range(self.m))

    def units_of(self, samples: list[int]) -> list[np.ndarray]:
        """Per unit of layer k: orthonormal [s, .] that no choice of its weights can reach in these samples; zero where the unit is idle."""
        return [self._unit(j, samples) for j in range(self.n)]

    def _unit(self, j: int, samples: list[int]) -> np.ndarray:
        busy = np.flatnonzero(~self.idle[j, samples])
        N = _complement(self.X[j][:, np.array(samples)[busy]], len(busy))
        out = np.zeros((len(samples), N.shape[1]))
        out[busy] = N
        return out

    def upper_shape(self, first: int) -> tuple[int, int]:
        return self._fixed[first][0].shape

    def shape(self, s: int, rest: list[np.ndarray]) -> tuple[int, int]:
        rows, columns = self.upper_shape(0)
        return s * rows + sum(N.shape[1] for N in rest), s * columns

    def programmes(self, samples: list[int], on: np.ndarray, rest: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """C [c, rows, s total], e [c, rows] of patterns on bool [c, s, total] in s samples; rest: of `units_of`."""
        c, s, total = on.shape
        own, rows = self.upper_shape(0)[0], self.shape(s, rest)[0]
        C, e = np.zeros((c, rows, s, total)), np.zeros(rows)
        for q, i in enumerate(samples):
            C[:, q * own : (q + 1) * own, q], e[q * own : (q + 1) * own] = self.sample(i, on[:, q], 0)
        at = s * own
        for j, N in enumerate(rest):
            C[:, at : at + N.shape[1], :, j] = N.T * np.where(on[:, None, :, j], 1.0, -1.0)
            e[at : at + N.shape[1]] = N.T @ self.p[j, samples] / self.scale
            at += N.shape[1]
        return C.reshape(c, rows, s * total), np.repeat(e[None], c, axis=0)

    def unit_patterns(self, j: int) -> np.ndarray:
        """bool [c, m]: patterns of unit j of layer k over the samples that its weights can give (zeros fit both signs)."""
        every = ((np.arange(2**self.m)[:, None] >> np.arange(self.m)) & 1).astype(bool)
        every = every[~every[:, self.idle[j]].any(axis=1)]
        busy = np.flatnonzero(~self.idle[j])
        return every[_meets(every[:, busy], self.p[j, busy], _complement(self.X[j][:, busy], len(busy)))]

    def weights(self, u: np.ndarray) -> np.ndarray:
        """theta with the pre-activations u [n, m] over scale in layer k."""
        W, u = self.W.copy(), u * self.scale
        for j in range(self.n):
            if len(self.X[j]):
                start = W[j, self.on[j]]  # surplus: the nearest to the student's own weights
                W[j, self.on[j]] = start + np.linalg.lstsq(self.X[j].T, u[j] - self.p[j] - self.X[j].T @ start, rcond=None)[0]
        theta = self.theta.copy()
        groups = self.net.unpack(theta)
        names = layer_names(self.net, self.k)
        groups[names[0]][:] = W[:, : groups[names[0]].shape[1]]
        if len(names) > 1:
            groups[names[1]][:] = W[:, -1]
        return theta


def _complement(X: np.ndarray, m: int) -> np.ndarray:
    """Orthonormal [m, m - rank]: what no choice of the learnable weights can reach."""
    if not X.any():
        return np.eye(m)
    if m == 1:
        return np.zeros((1, 0))
    most = np.abs(X).max(axis=0)
    unit = np.ldexp(1.0, -np.where(most > 0, np.frexp(most)[1], 0))  # of the samples: small ones keep their digits beside large ones
    u, s, _ = np.linalg.svd(_one_size(X * unit).T)
    rank = int((s > _ZERO * max(s[0], 1e-300)).sum())
    rest = u[:, rank:]
    rest = np.where(np.abs(rest) > _ROUNDED, rest, 0.0)  # rounding would look like a coefficient once columns are brought to one size
    rest = rest * unit[:, None]
    return rest / np.linalg.norm(rest, axis=0)


def _one_size(X: np.ndarray) -> np.ndarray:
    """X with rows (what one weight reads) of one size, by powers of two: the same span."""
    most = np.abs(X).max(axis=1, keepdims=True)
    return np.ldexp(X, -np.where(most > 0, np.frexp(most)[1], 0))


def _nearly_dependent(X: np.ndarray, exactly: bool) -> bool:
    """Are these rows independent, but so nearly dependent that only very large weights would make use of it? exactly: X is what was given
    (then the rank mod p tells), not what came out of a layer, up to rounding."""
    if not X.any():
        return False
    X = X[X.any(axis=1)][:, X.any(axis=0)]
    s = np.linalg.svd(_one_size(X), compute_uv=False)
    clear = int((s >= _CLEAR * s[0]).sum())
    if not exactly:
        return int((s > _ROUNDED * s[0]).sum()) > clear
    return clear < min(X.shape) and int(cpu.rank_mod(np.ascontiguousarray(residues(X)[None]), P)[0]) > clear


def _meets(patterns: np.ndarray, p: np.ndarray, N: np.ndarray) -> np.ndarray:
    """bool [c]: does {u: N^T u = N^T p} hold a point with these signs (zeros fit both)?

    It does iff the pattern agrees in sign with one of its basic points (at most C(m, d), with d zeros each).
    """
    m, k = N.shape
    if k == 0:
        return np.ones(len(patterns), dtype=bool)
    right = N.T @ p
    fits = np.zeros(len(patterns), dtype=bool)
    for basis in combinations(range(m), k):
        part = N[list(basis)].T
        u = np.linalg.lstsq(part, right, rcond=None)[0]
        size = np.abs(u).max() + np.abs(p).max()
        if not np.abs(part @ u - right).max() <= 1e-9 * size:
            continue
        slack = TOLERANCE * size
        signs = patterns[:, list(basis)]
        fits |= (np.where(signs, u, -u) >= -slack).all(axis=1)
    return fits
