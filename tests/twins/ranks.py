"""Slow twin of the exact and the real Jacobian (D1, D6): sums over paths, written as the formulas read.

Numbers are Python ints mod p or Python floats, so nothing here overflows and nothing is shared with the
compiled code. `hidden` gives tanh activities mod p, where tanh itself does not exist: any values do at a
generic point.

    recurrent     dy_t / dW[a, j] = sum over s <= t of (D S_t W S_{t-1} W .. W S_s)[:, a] h_{s-1}[j]
                  the same with x_s[j] for B[a, j] and with 1 for b[a];  dy_t / dD[q, a] = e_q h_t[a];  dy_t /
                  dc[q] = e_q
    feedforward   dy / dW_k[a, j] = (W_L S_{L-1} .. W_{k+1} S_k)[:, a] h_{k-1}[j] for every sample, with 1 for
    b_k[a]

S is the diagonal matrix of the slopes of the activation: 1, [h > 0] or 1 - h^2.
"""

from __future__ import annotations

import math

import numpy as np

from sublearn.model.network import Recurrent


class Field:
    """Arithmetic mod p, or in real numbers if p is None, on object arrays."""

    def __init__(self, p=None):
        self.p = p

    def __call__(self, values):
        if self.p is None:
            return np.vectorize(float, otypes=[object])(values)
        return np.vectorize(int, otypes=[object])(values) % self.p

    def times(self, *factors):
        product = factors[0]
        for factor in factors[1:]:
            product = self(product @ factor)
        return product

    def activate(self, activation, z, given):
        if activation == "linear":
            return z
        if given is not None:
            return given
        if activation == "relu":
            return self(np.maximum(z, 0))
        return self(np.vectorize(math.tanh)(z.astype(float)))

    def slope(self, activation, h):
        if activation == "linear":
            return self(np.ones(h.shape))
        if activation == "relu":
            return self(h.astype(float) > 0)
        return self(1 - h * h)


def _groups(net, theta, field):
    groups = {name: field(part) for name, part in net.unpack(np.asarray(theta)).items()}
    if isinstance(net, Recurrent):
        return {"b": field(np.zeros(net.hidden)), "c": field(np.zeros(net.outputs))} | groups
    return {f"b{k}": field(np.zeros(width)) for k, width in enumerate(net.widths) if k} | groups


def activities(net, theta, x, p=None, hidden=None):
    """Recurrent: [h_0, .., h_T]. Feedforward: the signals [x, h_1, .., h_{L-1}], each units x samples."""
    field = Field(p)
    g, x = _groups(net, theta, field), field(x)
    given = None if hidden is None else field(hidden)
    if isinstance(net, Recurrent):
        h = [field(np.zeros(net.hidden))]
        for t in range(net.steps):
            z = field(g["W"] @ h[-1] + g["B"] @ x[t] + g["b"])
            h.append(field.activate(net.activation, z, None if given is None else given[t]))
        return h
    h, start = [x], 0
    for k in range(1, len(net.widths) - 1):
        z = field(g[f"W{k}"] @ h[-1] + g[f"b{k}"][:, None])
        here = None if given is None else given[start : start + z.size].reshape(z.shape)
        h.append(field.activate(net.activation, z, here))
        start += z.size
    return h


def outputs(net, theta, x, p=None, hidden=None):
    """y [steps, outputs] or [n_L, samples], as an object array."""
    field = Field(p)
    g, h = _groups(net, theta, field), activities(net, theta, x, p, hidden)
    if isinstance(net, Recurrent):
        return field(np.array([g["D"] @ h[t] + g["c"] for t in range(1, net.steps + 1)]))
    last = len(net.widths) - 1
    return field(g[f"W{last}"] @ h[-1] + g[f"b{last}"][:, None])


def jacobian(net, theta, x, p=None, hidden=None):
    """J [equations, size] as an object array: C order of y, flat order of the weights."""
    make = _recurrent_jacobian if isinstance(net, Recurrent) else _feedforward_jacobian
    return make(net, theta, x, Field(p), activities(net, theta, x, p, hidden))


def _recurrent_jacobian(net, theta, x, field, h):
    g, x = _groups(net, theta, field), field(x)
    o, n = net.outputs, net.hidden
    S = [None] + [field(np.diag(field.slope(net.activation, h[t]))) for t in range(1, net.steps + 1)]
    blocks = []
    for t in range(1, net.steps + 1):
        column = {name: field(np.zeros((o, *shape))) for name, shape in net.groups.items()}
        for s in range(1, t + 1):
            chain = field.times(g["D"], S[t])
            for r in range(t - 1, s - 1, -1):
                chain = field.times(chain, g["W"], S[r])
            for a in range(n):
                column["W"][:, a, :] += np.multiply.outer(chain[:, a], h[s - 1])
                column["B"][:, a, :] += np.multiply.outer(chain[:, a], x[s - 1])
                if "b" in column:
                    column["b"][:, a] += chain[:, a]
        for q in range(o):
            column["D"][q, q, :] = h[t]
            if "c" in column:
                column["c"][q, q] = 1
        blocks.append(np.concatenate([part.reshape(o, -1) for part in column.values()], axis=1))
    return field(np.concatenate(blocks))


def _feedforward_jacobian(net, theta, x, field, h):
    g, n, m = _groups(net, theta, field), net.widths, net.samples
    last = len(n) - 1
    column = {name: field(np.zeros((n[-1], m, *shape))) for name, shape in net.groups.items()}
    for sample in range(m):
        S = [None] + [field(np.diag(field.slope(net.activation, h[k][:, sample]))) for k in range(1, last)]
        chain = field(np.eye(n[-1]))
        for k in range(last, 0, -1):
            for a in range(n[k]):
                column[f"W{k}"][:, sample, a, :] = np.multiply.outer(chain[:, a], h[k - 1][:, sample])
                if f"b{k}" in column:
                    column[f"b{k}"][:, sample, a] = chain[:, a]
            if k > 1:
                chain = field.times(chain, g[f"W{k}"], S[k - 1])
    return field(np.concatenate([part.reshape(n[-1] * m, -1) for part in column.values()], axis=1))


def rank_mod(matrix, p):
    """Rank of a matrix of ints mod p by elimination, one row after the other."""
    rows = [[int(entry) % p for entry in row] for row in matrix]
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        inverse = pow(rows[rank][column], -1, p)
        for r in range(rank + 1, len(rows)):
            factor = rows[r][column] * inverse % p
            if factor:
                rows[r] = [(entry - factor * top) % p for entry, top in zip(rows[r], rows[rank])]
        rank += 1
    return rank


def solve(matrix, right, start, p=None):
    """A solution v of matrix v = right that moves as few entries away from `start` as elimination needs (mod
    p), or the one nearest to it (real numbers). AssertionError if there is none."""
    if p is None:
        A = np.asarray(matrix, dtype=float)
        gap = np.asarray(right, dtype=float) - A @ np.asarray(start, dtype=float)
        step = np.linalg.lstsq(A, gap, rcond=None)[0]
        return Field()(np.asarray(start, dtype=float) + step)
    A = [[int(entry) % p for entry in row] for row in matrix]
    v = [int(entry) % p for entry in start]
    gap = [(int(r) - sum(a * b for a, b in zip(row, v))) % p for row, r in zip(A, right)]
    rows = [row + [g] for row, g in zip(A, gap)]
    pivots = []
    for column in range(len(v)):
        rank = len(pivots)
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        inverse = pow(rows[rank][column], -1, p)
        rows[rank] = [entry * inverse % p for entry in rows[rank]]
        for r in range(len(rows)):
            if r != rank and rows[r][column]:
                factor = rows[r][column]
                rows[r] = [(entry - factor * top) % p for entry, top in zip(rows[r], rows[rank])]
        pivots.append(column)
    assert all(row[-1] == 0 for row in rows[len(pivots) :]), "no solution"
    for row, column in zip(rows, pivots):
        v[column] = (v[column] + row[-1]) % p
    return Field(p)(np.array(v, dtype=object))


def real_ranks(jacobians, masks):
    """Ranks int64 [k] of the columns chosen by masks bool [k, size]: the largest over several points, in
    floats.

    jacobians: float64 [points, equations, size]. Every rank is read off a gap in the singular values of the
    point that gives it: the last one counted is above 1e-7 of the largest, the next one below 1e-11.
    AssertionError without a gap.
    """
    ranks, gap = np.zeros(len(masks), dtype=np.int64), np.zeros(len(masks), dtype=bool)
    for J in jacobians:
        s = np.linalg.svd(np.where(masks[:, None, :], J, 0.0), compute_uv=False)
        s = s / np.maximum(s[:, :1], 1e-300) * (s[:, :1] > 0)
        here = (s > 1e-9).sum(axis=1)
        clean = ~((s > 1e-11) & (s < 1e-7)).any(axis=1)
        gap = np.where(here > ranks, clean, gap | (clean & (here == ranks)))
        ranks = np.maximum(ranks, here)
    assert gap.all(), f"no gap in the singular values of {int((~gap).sum())} masks"
    return ranks
