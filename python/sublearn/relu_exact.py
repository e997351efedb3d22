"""Exact verdicts (T11) of relu networks whose learnable weights all sit in the hidden layer before the last one.

What that layer reads (s [k, m], m samples; a constant row if it has a bias) and the last layer (V [o, n]) are fixed, so with unit j's
pre-activations u_j = p_j + X_j^T w_j (p_j its frozen part, X_j [d_j, m] what its d_j learnable weights read) a match is

    sum_j V[:, j] max(u_j, 0) = y,     u_j in p_j + range(X_j^T).

For a pattern sigma in {-1, 1}^(n x m) of signs and v = sigma u >= 0 this is linear programming in standard form, C v = e, v >= 0:
o m output equations, in which only v_ji with sigma_ji = 1 occur, and m - d_j equations N_j^T (sigma_j v_j) = N_j^T p_j per unit, N_j
orthogonal to range(X_j^T). All patterns are searched, with two exact rules that leave few of them (3-4-2, m = 3: a median of 30 of up to 4096):

- a unit's pattern must meet its own affine space: it does iff it agrees in sign with one of the space's basic points (at most
  C(m, d_j) of them, with d_j zeros each);
- a sample's target must lie in the cone of V's columns of the units that are on: by Caratheodory it does iff the support of one of
  its at most C(n, o) basic solutions is on. Units not chosen yet count as able to be on.

The programmes left are solved side by side by the simplex method (phase one, Bland's rule), batched over trials.

Answers: yes (a basic solution whose positive entries are all above the tolerance; the weights are returned), no (every pattern is
infeasible by more than the tolerance), undecided (neither, or too many patterns). Up to rounding: nothing here is called certified.
Cost: about 1 ms per trial at 3-4-2, m = 3; grows as the number of cells, at most sum_k C(m, k) (k <= d_j) per unit, to the power n.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ._closed_forms import last_layer
from .network import Feedforward, Network

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


def settle(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(match int8 [n], theta [n, size]) of n trials for which `applies`: theta [n, size], x [n, inputs], y [n, equations]."""
    n = len(theta)
    match, out = np.full(n, -1, dtype=np.int8), theta.copy()
    layers = [_Layer(net, theta[k], x[k].reshape(net.x_shape), y[k].reshape(net.y_shape), masks[k]) for k in range(n)]
    found = [layer.patterns() for layer in layers]
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
            for k, where in pieces:
                mine = slice(at, at + where.stop - where.start)
                at = mine.stop
                yes = np.flatnonzero(status[mine] == 1)
                if len(yes):
                    best = yes[v[mine][yes].max(axis=1).argmin()]
                    match[k], out[k] = 1, layers[k].weights(found[k][where][best], v[mine][best])
                elif (status[mine] == -1).any():
                    match[k] = -1
    return match, out


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
            W, on = np.concatenate([W, groups[f"b{layers - 1}"][:, None]], axis=1), np.concatenate([on, learns[f"b{layers - 1}"][:, None]], axis=1)
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
