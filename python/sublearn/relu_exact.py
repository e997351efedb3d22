"""Exact verdicts (T11) of relu networks whose learnable weights all sit in the hidden layer before the last one.

What that layer reads (s [k, m], m samples; a constant row if it has a bias) and the last layer (V [o, n]) are fixed, so with unit j's
pre-activations u_j = p_j + X_j^T w_j (p_j its frozen part, X_j [d_j, m] what its d_j learnable weights read) a match is

    sum_j V[:, j] max(u_j, 0) = y,     u_j in p_j + range(X_j^T).

For a pattern sigma in {-1, 1}^(n x m) of signs and v = sigma u >= 0 this is linear programming in standard form, C v = e, v >= 0:
o m output equations, in which only v_ji with sigma_ji = 1 occur, and m - d_j equations N_j^T (sigma_j v_j) = N_j^T p_j per unit, N_j
orthogonal to range(X_j^T). All patterns are searched, with two exact rules that leave few of them (3-4-2, m = 3, nine learnable weights:
a median of 49 out of 2744):

- a unit's pattern must meet its own affine space: it does iff it agrees in sign with one of the space's basic points (at most
  C(m, d_j) of them, with d_j zeros each);
- a sample's target must lie in the cone of V's columns of the units that are on: by Caratheodory it does iff the support of one of
  its at most C(n, o) basic solutions is on. Units not chosen yet count as able to be on.

The programmes left are solved side by side by the simplex method (phase one, Bland's rule), batched over trials.

Answers: yes (a basic solution whose positive entries are all above the tolerance; the weights are returned), no (every pattern is
infeasible by more than the tolerance), undecided (neither, or too many patterns). All up to rounding, but a yes is proven afterwards where
the weights can be moved inside their pattern (`prove`): a square part of the active equations is solved with error bounds
(_doubledouble.py), and all signs hold by more than the bounds.
Cost: 1 to 2 ms per trial at 3-4-2, m = 3; grows as the number of cells, at most sum_k C(m, k) (k <= d_j) per unit, to the power n.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from ._closed_forms import last_layer
from ._doubledouble import Ball, join, matmul
from .network import Feedforward, Network
from .triangular import relu, solve_picked

TOLERANCE = 1e-9  # relative to the sizes in a programme: smaller margins are undecided
MOST = 200_000  # patterns of one trial that are looked at
_BYTES = 2**26  # of programmes solved side by side
_MOST_SAMPLES = 8  # 2^m patterns are listed per unit


def applies(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [n] for masks bool [n, size]: learnable weights only in the hidden layer before the last one, of a relu network."""
    if not isinstance(net, Feedforward) or net.activation != "relu" or len(net.widths) < 3 or net.samples > _MOST_SAMPLES:
        return np.zeros(len(masks), dtype=bool)
    other = np.ones(net.size, dtype=bool)
    for name in _layer_names(net):
        other[net.slices[name]] = False
    return ~masks[:, other].any(axis=1)


def _layer_names(net: Feedforward) -> list[str]:
    k = len(net.widths) - 2
    return [name for name in (f"W{k}", f"b{k}") if name in net.groups]


class Answer(NamedTuple):
    """match int8 [n]: 1, 0, -1; theta [n, size]; proven bool [n]: a true solution lies next to theta."""

    match: np.ndarray
    theta: np.ndarray
    proven: np.ndarray


def settle(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> Answer:
    """Verdicts of n trials for which `applies`: theta [n, size], x [n, inputs], y [n, equations]."""
    n = len(theta)
    match, out = np.full(n, -1, dtype=np.int8), theta.copy()
    layers = [_Layer(net, theta[k], x[k].reshape(net.x_shape), y[k].reshape(net.y_shape), masks[k]) for k in range(n)]
    found = [layer.patterns() for layer in layers]
    taken = np.zeros((n, net.widths[-2], net.samples), dtype=bool)
    by_size: dict[int, list[int]] = {}
    for k in range(n):
        if found[k] is not None:
            match[k] = 0  # until a pattern says otherwise
            if len(found[k]):
                by_size.setdefault(layers[k].equations, []).append(k)
    for equations, members in by_size.items():
        block = max(1, _BYTES // (16 * (equations + 1) * found[members[0]][0].size))
        for pieces in _pieces([(k, len(found[k])) for k in members], block):
            pieces = [(k, where) for k, where in pieces if match[k] != 1]
            if not pieces:
                continue
            systems = [layers[k].programmes(found[k][where]) for k, where in pieces]
            status, v = feasible(*(np.concatenate(part) for part in zip(*systems)))
            at = 0
            for (k, where), (C, _) in zip(pieces, systems):
                mine = slice(at, at + where.stop - where.start)
                at = mine.stop
                yes = np.flatnonzero(status[mine] == 1)
                if len(yes):
                    best = yes[v[mine][yes].max(axis=1).argmin()]
                    match[k], taken[k] = 1, found[k][where][best]
                    out[k] = layers[k].weights(taken[k], _inside(C[best], v[mine][best]))
                elif (status[mine] == -1).any():
                    match[k] = -1
    yes = np.flatnonzero(match == 1)
    proven = np.zeros(n, dtype=bool)
    if len(yes):
        out[yes], proven[yes] = prove(net, out[yes], x[yes], y[yes], masks[yes], taken[yes])
    return Answer(match, out, proven)


def _inside(C: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A solution of C v = e with all entries above 0, from a basic one: others rise together until a basic one has lost half."""
    others = v == 0
    if others.all():  # every unit off: how far does not matter
        return np.where(np.abs(C.sum(axis=1)).max(initial=0.0) == 0, 1.0, v)
    if not others.any():
        return v
    fall = np.linalg.lstsq(C[:, ~others], C[:, others].sum(axis=1), rcond=None)[0]
    if np.abs(C[:, ~others] @ fall - C[:, others].sum(axis=1)).max() > 1e-9:
        return v  # the others are not free to move
    rise = min(np.median(v[~others]), 0.5 * (v[~others] / np.maximum(fall, 1e-300)).min())
    out = np.empty_like(v)
    out[~others], out[others] = v[~others] - rise * fall, rise
    return out


def prove(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray,
          patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(theta polished, proven bool [b]) for theta [b, size] near solutions with the units on as in patterns bool [b, n, m].

    Samples with every unit off need a target of exactly zero; the others give o equations each, of which there must be no more than
    learnable weights.
    """
    layers = len(net.widths) - 1
    b, n, m = patterns.shape
    weights, S, target, V = _exactly(net, theta, x, y, layers - 1)
    groups, on = net.unpack(theta), net.unpack(masks)
    names = _layer_names(net)
    allowed = np.concatenate([on[name].reshape(b, n, -1) for name in names], axis=2)
    k, o = weights.shape[2], V.shape[1]
    alive = patterns.any(axis=1)
    proven = (_zero(target) | alive[:, None]).all(axis=(1, 2)) & (allowed.sum(axis=(1, 2)) >= o * alive.sum(axis=1))
    out = theta.copy()
    for count in np.unique(alive[proven].sum(axis=1)):
        rows = np.flatnonzero(proven & (alive.sum(axis=1) == count))
        values = weights[rows].reshape(len(rows), n * k)
        if count:
            index = np.nonzero(alive[rows])[1].reshape(len(rows), 1, count)
            some = S[rows].take(index, axis=2)
            used = np.take_along_axis(patterns[rows], index, axis=2)
            # A[(i, q), (j, l)] = V_qj S_li where unit j is on at sample i
            A = Ball(V[rows][:, None, :, :, None]) * some.swap()[:, :, None, None, :]
            keep = np.swapaxes(used, 1, 2)[:, :, None, :, None].astype(float)
            A = Ball(A.hi * keep, A.lo * keep, A.rad * keep).reshape(len(rows), count * o, n * k)
            right = target[rows].take(index, axis=2).swap().reshape(len(rows), count * o)
            values, sure = solve_picked(A, right, values, allowed[rows].reshape(len(rows), -1))
            proven[rows] &= sure
        found = values.reshape(len(rows), n, k)
        u = matmul(found, S[rows])
        slack = np.abs(u.lo) + u.rad
        proven[rows] &= np.where(patterns[rows], u.hi > slack, u.hi < -slack).all(axis=(1, 2))
        sure = proven[rows]
        width = net.groups[names[0]][1]
        groups = net.unpack(out)
        groups[names[0]][rows[sure]] = found.hi[sure][:, :, :width]
        if len(names) > 1:
            groups[names[1]][rows[sure]] = found.hi[sure][:, :, -1]
    return out, proven


def prove_last(net: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(theta, proven bool [b]) for feedforward networks that learn in the last layer only, theta [b, size] near solutions.

    Samples with every feature exactly zero need a target of exactly zero; the others are solved, if each row can learn as many weights.
    """
    b = len(theta)
    out, proven = theta.copy(), np.zeros(b, dtype=bool)
    if not isinstance(net, Feedforward):
        return out, proven
    weights, S, target, _ = _exactly(net, theta, x, y, len(net.widths) - 1)
    matrix, bias = last_layer(net)
    on = net.unpack(masks)
    allowed = np.concatenate([on[name].reshape(b, net.widths[-1], -1) for name in (matrix, bias) if name is not None], axis=2)
    alive = ~_zero(S).all(axis=1)
    proven = (_zero(target) | alive[:, None]).all(axis=(1, 2)) & (allowed.sum(axis=2) >= alive.sum(axis=1, keepdims=True)).all(axis=1)
    for count in np.unique(alive[proven].sum(axis=1)):
        rows = np.flatnonzero(proven & (alive.sum(axis=1) == count))
        if not count:
            continue
        index = np.nonzero(alive[rows])[1].reshape(len(rows), 1, count)
        A, right = S[rows].take(index, axis=2).swap(), target[rows].take(index, axis=2)
        found = [solve_picked(A, right[:, q], weights[rows][:, q], allowed[rows, q]) for q in range(net.widths[-1])]
        proven[rows] &= np.all([sure for _, sure in found], axis=0)
        sure = proven[rows]
        groups, width = net.unpack(out), net.groups[matrix][1]
        for q, (row, _) in enumerate(found):
            groups[matrix][rows[sure], q] = row.hi[sure][:, :width]
            if bias is not None:
                groups[bias][rows[sure], q] = row.hi[sure][:, -1]
    return out, proven


def _zero(ball: Ball) -> np.ndarray:
    return (ball.hi == 0) & (ball.lo == 0) & (ball.rad == 0)


def _exactly(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, layer: int) -> tuple[Ball, Ball, Ball, np.ndarray]:
    """Of layer number `layer`, with error bounds: its weights [W b] [b, n, k], what it reads [b, k, m] (a row of ones with b), and for the
    layer before the last one the target less c [b, o, m] and V [b, o, n]; for the last layer the target y."""
    groups = net.unpack(theta)
    b = len(theta)
    signal = Ball(x.reshape(b, *net.x_shape))
    for number in range(1, layer + 1):
        W = groups[f"W{number}"]
        if f"b{number}" in groups:
            W = np.concatenate([W, groups[f"b{number}"][:, :, None]], axis=2)
            signal = join([signal, np.ones((b, 1, net.samples))], axis=1)
        if number < layer:
            signal = relu(matmul(W, signal))
    target = Ball(y.reshape(b, *net.y_shape))
    matrix, bias = last_layer(net)
    if layer < len(net.widths) - 1 and bias is not None:
        target = target - groups[bias][:, :, None]
    return Ball(W), signal, target, groups[matrix]


def _pieces(counts: list[tuple[int, int]], block: int) -> list[list[tuple[int, slice]]]:
    """Ranges of every trial's patterns, joined to groups of at most `block`; a long range is cut, in different groups."""
    groups: list[list[tuple[int, slice]]] = []
    room = 0
    for k, count in counts:
        for begin in range(0, count, block):
            end = min(count, begin + block)
            if end - begin > room:
                groups.append([])
                room = block
            groups[-1].append((k, slice(begin, end)))
            room -= end - begin
    return groups


class _Layer:
    """One trial, reduced to the layer that learns. p [n, m], X [d_j, m] and N [m, m - d_j] per unit, V [o, n], target [o, m]."""

    def __init__(self, net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, mask: np.ndarray):
        groups, learns = net.unpack(theta), net.unpack(mask)
        layers = len(net.widths) - 1
        signal = x
        for k in range(1, layers - 1):
            signal = groups[f"W{k}"] @ signal
            if f"b{k}" in groups:
                signal = signal + groups[f"b{k}"][:, None]
            signal = np.maximum(signal, 0.0)
        W, on = groups[f"W{layers - 1}"], learns[f"W{layers - 1}"]
        if f"b{layers - 1}" in groups:
            signal = np.concatenate([signal, np.ones((1, signal.shape[1]))])
            W, on = (np.concatenate([part, of[f"b{layers - 1}"][:, None]], axis=1) for part, of in ((W, groups), (on, learns)))
        matrix, bias = last_layer(net)
        self.net, self.theta, self.W, self.on, self.signal = net, theta, W, on, signal
        self.V = groups[matrix]
        self.target = y - groups[bias][:, None] if bias is not None else y
        self.n, self.m = len(W), signal.shape[1]
        self.size = max(1e-300, float(np.abs(self.target).max()))
        self.p = np.where(on, 0.0, W) @ signal
        self.X = [signal[row] for row in on]
        self.N = [_complement(X, self.m) for X in self.X]
        self.equations = self.target.size + sum(N.shape[1] for N in self.N)
        self.scale = max(self.size, float(np.abs(self.p).max()))

    def patterns(self) -> np.ndarray | None:
        """bool [c, n, m] (on or off), all that the two rules leave; None if there are too many."""
        every = ((np.arange(2**self.m)[:, None] >> np.arange(self.m)) & 1).astype(bool)
        units = [every[_meets(every, self.p[j], self.N[j])] for j in range(self.n)]
        cones = self._cones()
        able = np.array([unit.any(axis=0) for unit in units]).reshape(self.n, self.m)
        chosen = np.zeros((1, self.n, self.m), dtype=bool)
        for j in sorted(range(self.n), key=lambda j: len(units[j])):
            if len(chosen) * len(units[j]) > MOST:
                return None
            chosen = np.repeat(chosen, len(units[j]), axis=0)
            chosen[:, j] = np.tile(units[j], (len(chosen) // max(1, len(units[j])), 1))
            able[j] = False
            good = np.ones(len(chosen), dtype=bool)
            for i, supports in enumerate(cones):
                on = chosen[:, :, i] | able[:, i]
                good &= (on[:, None, :] | ~supports[None]).all(axis=2).any(axis=1)
            chosen = chosen[good]
        return chosen

    def _cones(self) -> list[np.ndarray]:
        """Per sample bool [s, n]: supports of the basic non-negative solutions of V z = target."""
        o, n = self.V.shape
        bases = np.array(list(combinations(range(n), min(o, n))))
        parts = np.moveaxis(self.V[:, bases], 1, 0)  # [bases, o, min(o, n)]
        inverse = np.linalg.pinv(parts)
        found = []
        for i in range(self.m):
            y = self.target[:, i]
            z = inverse @ y
            slack = TOLERANCE * (np.abs(inverse) @ np.abs(y) + np.abs(z).max(axis=1, keepdims=True))
            fits = (z >= -slack).all(axis=1) & (np.abs(parts @ z[:, :, None] - y[:, None])[:, :, 0] <= 1e-7 * self.size).all(axis=1)
            supports = np.zeros((len(bases), n), dtype=bool)
            np.put_along_axis(supports, bases, z > slack, axis=1)
            found.append(np.unique(supports[fits], axis=0))
        return found

    def programmes(self, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """C [c, equations, n m], e [c, equations] of every pattern; e, and so v, over `scale`."""
        c, n, m = patterns.shape
        o = len(self.V)
        sign = np.where(patterns, 1.0, -1.0)
        C = np.zeros((c, self.equations, n, m))
        e = np.zeros(self.equations)
        at = 0
        for i in range(m):
            C[:, at : at + o, :, i] = self.V * patterns[:, None, :, i]
            e[at : at + o] = self.target[:, i]
            at += o
        for j, N in enumerate(self.N):
            C[:, at : at + N.shape[1], j] = N.T * sign[:, None, j]
            e[at : at + N.shape[1]] = N.T @ self.p[j]
            at += N.shape[1]
        return C.reshape(c, self.equations, n * m), np.repeat(e[None] / self.scale, c, axis=0)

    def weights(self, pattern: np.ndarray, v: np.ndarray) -> np.ndarray:
        """theta whose pre-activations are sign v scale."""
        u = np.where(pattern, 1.0, -1.0) * v.reshape(self.n, self.m) * self.scale
        W = self.W.copy()
        for j in range(self.n):
            if len(self.X[j]):
                start = W[j, self.on[j]]  # surplus: the nearest to the student's own weights
                W[j, self.on[j]] = start + np.linalg.lstsq(self.X[j].T, u[j] - self.p[j] - self.X[j].T @ start, rcond=None)[0]
        theta = self.theta.copy()
        groups = self.net.unpack(theta)
        names = _layer_names(self.net)
        groups[names[0]][:] = W[:, : groups[names[0]].shape[1]]
        if len(names) > 1:
            groups[names[1]][:] = W[:, -1]
        return theta


def _complement(X: np.ndarray, m: int) -> np.ndarray:
    """Orthonormal [m, m - rank]: what no choice of the learnable weights can reach."""
    if not len(X):
        return np.eye(m)
    u, s, _ = np.linalg.svd(X.T)
    rank = int((s > 1e-12 * max(s[0], 1e-300)).sum())
    return u[:, rank:]


def _meets(patterns: np.ndarray, p: np.ndarray, N: np.ndarray) -> np.ndarray:
    """bool [c]: does {u: N^T u = N^T p} hold a point with these signs (zeros fit both)?"""
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


def feasible(C: np.ndarray, e: np.ndarray, tolerance: float = TOLERANCE) -> tuple[np.ndarray, np.ndarray]:
    """Is there v >= 0 with C v = e, for C [b, r, k] and e [b, r] with entries of order one? (status int8 [b], v [b, k])

    status 1: v is a basic solution whose basic entries are all above the tolerance; 0: every v >= 0 misses by more than it (in the sum
    of absolute values); -1: neither. Phase one of the simplex method, all programmes side by side: the most negative reduced cost
    enters, after 3 r steps the first one (Bland), so it ends.
    """
    b, r, k = C.shape
    status, out = np.full(b, -1, dtype=np.int8), np.zeros((b, k))
    if not b:
        return status, out
    sign = np.where(e < 0, -1.0, 1.0)
    T = np.concatenate([C * sign[:, :, None], (e * sign)[:, :, None]], axis=2)
    T = np.concatenate([T, -T.sum(axis=1, keepdims=True)], axis=1)  # last row: reduced costs and minus the sum of artificials
    basis = np.repeat(k + np.arange(r)[None], b, axis=0)  # k + row: artificial
    place, tiny = np.arange(b), 1e-11
    for step in range(60 * (r + 1)):
        cost = T[:, -1, :k]
        enter = cost.argmin(axis=1) if step < 3 * r else (cost < -tiny).argmax(axis=1)
        at = np.arange(len(T))
        column = T[at, :, enter]
        can = column[:, :-1] > tiny
        going = (cost[at, enter] < -tiny) & can.any(axis=1)
        if not going.all():
            done = ~going
            _conclude(C, e, place[done], T[done], basis[done], status, out, tolerance)
            T, basis, place, column, can, enter = (a[going] for a in (T, basis, place, column, can, enter))
            if not len(T):
                break
            at = np.arange(len(T))
        ratio = np.where(can, np.maximum(T[:, :-1, -1], 0.0) / np.where(can, column[:, :-1], 1.0), np.inf)
        least = ratio.min(axis=1, keepdims=True)
        leave = np.where(ratio <= least * (1 + 1e-12) + 1e-300, basis, 10**9).argmin(axis=1)
        row = T[at, leave] / column[at, leave][:, None]
        T -= column[:, :, None] * row[:, None, :]
        T[at, leave] = row
        basis[at, leave] = enter
    return status, out


def _conclude(C, e, place, T, basis, status, out, tolerance) -> None:
    k = C.shape[2]
    missing = -T[:, -1, -1]
    status[place[missing > tolerance]] = 0
    for q in np.flatnonzero(missing <= tolerance):
        own = basis[q] < k
        # An artificial that stays at zero is harmless where its equation has become 0 = 0.
        if (np.abs(T[q, :-1, :k][~own]) > 1e-9).any():
            continue
        b = place[q]
        v = np.linalg.lstsq(C[b][:, basis[q][own]], e[b], rcond=None)[0]
        size = max(1.0, v.max(initial=1.0))
        if v.min(initial=size) > tolerance * size and np.abs(C[b][:, basis[q][own]] @ v - e[b]).max() < 1e-3 * tolerance * size:
            out[b, basis[q][own]] = v
            status[b] = 1
