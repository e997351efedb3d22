"""Proofs of relu matches (T11) near numerical ones: the equations of the active pattern are solved with error bounds
(numerics/doubledouble.py).

One hidden layer learns: within a pattern the outputs are affine in its weights. A square part of the equations, at the weights with the
best pivots, is solved in balls of some 30 digits; then all hidden units are evaluated at the enclosed solution, and every sign must hold by
more than the error bound. The last layer learns: a linear system per row.
"""

from __future__ import annotations

import numpy as np

from ..model.layers import last_layer
from ..model.network import Feedforward, Network
from ..numerics.doubledouble import Ball, join, matmul
from .by_substitution import relu, solve_picked
from .pattern_programmes import layer_names


def prove(
    net: Feedforward, k: int, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, patterns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(theta polished, proven bool [b]) for theta [b, size] near solutions; layer k learns, and the units of it and of all hidden layers
    above are on as in patterns bool [b, m, total].

    A sample in which a whole layer is off has a fixed output: the target must be exactly that, which is known where it is the last bias
    or zero. The others give o equations each, of which there must be no more than learnable weights.
    """
    b, m = patterns.shape[:2]
    on = np.split(patterns, np.cumsum(net.widths[k:-2]), axis=2)
    weights, S, target = _exactly(net, theta, x, y, k)
    groups, learns = net.unpack(theta), net.unpack(masks)
    allowed = np.concatenate([learns[name].reshape(b, net.widths[k], -1) for name in layer_names(net, k)], axis=2)
    G, offset = _slopes(net, theta, k, on)  # outputs G u + offset, [b, m, o, n] and [b, m, o]
    alive = np.all([part.any(axis=2) for part in on], axis=0)
    right = target.swap() - offset
    n, width, o = net.widths[k], weights.shape[2], G.shape[2]
    proven = (_zero(right) | alive[:, :, None]).all(axis=(1, 2)) & (allowed.sum(axis=(1, 2)) >= o * alive.sum(axis=1))
    out = theta.copy()
    for count in np.unique(alive[proven].sum(axis=1)):
        rows = np.flatnonzero(proven & (alive.sum(axis=1) == count))
        values = weights[rows].reshape(len(rows), n * width)
        if count:
            index = np.nonzero(alive[rows])[1].reshape(len(rows), count)
            at = rows[:, None], index
            # A[(i, q), (j, l)] = G_iqj S_li
            A = G[at][:, :, :, :, None] * S.swap()[at][:, :, None, None, :]
            values, sure = solve_picked(
                A.reshape(len(rows), count * o, n * width),
                right[at].reshape(len(rows), count * o),
                values,
                allowed[rows].reshape(len(rows), -1),
            )
            proven[rows] &= sure
        found = values.reshape(len(rows), n, width)
        proven[rows] &= _has_signs(net, k, theta[rows], matmul(found, S[rows]), [part[rows] for part in on], _zero(S[rows]).all(axis=1))
        sure, groups = proven[rows], net.unpack(out)
        _put(groups, layer_names(net, k), rows[sure], found.hi[sure])
    return out, proven


def reads_nothing(net: Feedforward, k: int, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """bool [b]: is every product of a frozen weight of layer k with what it reads exactly zero, and so is the target? Sums are not looked
    at: in floating point they vanish where they should not."""
    weights, S, target = _exactly(net, theta, x, y, k)
    learns = net.unpack(masks)
    on = np.concatenate([learns[name].reshape(len(theta), net.widths[k], -1) for name in layer_names(net, k)], axis=2)
    reads = (np.abs(S.hi) + np.abs(S.lo) + S.rad > 0).any(axis=2)  # [b, k]: at least one sample
    return (
        ~((weights.hi != 0) & ~on & reads[:, None]).any(axis=(1, 2)) & (target.hi == 0).all(axis=(1, 2)) & (target.lo == 0).all(axis=(1, 2))
    )


def _slopes(net: Feedforward, theta: np.ndarray, k: int, on: list[np.ndarray]) -> tuple[Ball, Ball]:
    """Outputs less the last bias, within patterns, as G u + offset in pre-activations u of layer k: G [b, m, o, n], offset [b, m, o]."""
    groups, (b, m, n) = net.unpack(theta), on[0].shape
    G, offset = Ball(np.eye(n) * on[0][:, :, None, :]), Ball(np.zeros((b, m, n)))
    for l, part in enumerate(on[1:], k + 1):
        A = groups[f"W{l}"][:, None]
        G, offset = _masked(matmul(A, G), part[..., None]), matmul(A, offset[..., None])[..., 0]
        if f"b{l}" in groups:
            offset = offset + groups[f"b{l}"][:, None]
        offset = _masked(offset, part)
    V = groups[last_layer(net)[0]][:, None]
    used = on[-1].any(axis=2)
    return matmul(V, G), _masked(matmul(V, offset[..., None])[..., 0], used[..., None] & _reads_biases(net, k, on)[..., None])


def _masked(ball: Ball, keep: np.ndarray) -> Ball:
    """Exactly zero where not `keep`."""
    return Ball(*(np.where(keep, part, 0.0) for part in (ball.hi, ball.lo, ball.rad)))


def _reads_biases(net: Feedforward, k: int, on: list[np.ndarray]) -> np.ndarray:
    """bool [b, m]: can a bias above layer k reach the outputs?"""
    reads = np.zeros(on[0].shape[:2], dtype=bool)
    for l, part in enumerate(on[1:], k + 1):
        reads = (reads | (f"b{l}" in net.groups)) & part.any(axis=2)
    return reads


def _has_signs(net: Feedforward, k: int, theta: np.ndarray, u: Ball, on: list[np.ndarray], idle: np.ndarray) -> np.ndarray:
    """bool [b]: have all units from layer k on the signs of their patterns, for pre-activations u [b, n, m] of layer k, which reads
    nothing where idle bool [b, m]?"""
    groups = net.unpack(theta)
    sure = np.ones(len(theta), dtype=bool)
    silent = np.repeat(idle[:, :, None], on[0].shape[2], axis=2)  # pre-activations known to be zero: nothing is read
    for l, part in enumerate(on, k):
        slack = np.abs(u.lo) + u.rad
        part = np.swapaxes(part, 1, 2)
        sure &= (np.where(part, u.hi > slack, u.hi < -slack) | (np.swapaxes(silent, 1, 2) & ~part)).all(axis=(1, 2))
        if l < k + len(on) - 1:
            above = groups[f"W{l + 1}"]
            u = matmul(above, _masked(relu(u), part))
            silent = np.repeat(~part.any(axis=1)[:, :, None], above.shape[1], axis=2)
            if f"b{l + 1}" in groups:
                u = u + groups[f"b{l + 1}"][:, :, None]
                silent[:] = False
    return sure


def prove_last(net: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(theta, proven bool [b]) for feedforward networks that learn in the last layer only, theta [b, size] near solutions.

    Samples with every feature exactly zero need a target of exactly zero; the others are solved, if each row can learn as many weights.
    """
    b = len(theta)
    out, proven = theta.copy(), np.zeros(b, dtype=bool)
    if not isinstance(net, Feedforward):
        return out, proven
    weights, S, target = _exactly(net, theta, x, y, len(net.widths) - 1)
    names = [name for name in last_layer(net) if name is not None]
    on = net.unpack(masks)
    allowed = np.concatenate([on[name].reshape(b, net.widths[-1], -1) for name in names], axis=2)
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
        _put(net.unpack(out), names, rows[sure], np.stack([row.hi[sure] for row, _ in found], axis=1))
    return out, proven


def _put(groups: dict[str, np.ndarray], names: list[str], rows: np.ndarray, weights: np.ndarray) -> None:
    """Weights [W b] [rows, n, .] into the groups `names`: a matrix, and its bias if there are two."""
    width = groups[names[0]].shape[2]
    groups[names[0]][rows] = weights[:, :, :width]
    if len(names) > 1:
        groups[names[1]][rows] = weights[:, :, width]


def _zero(ball: Ball) -> np.ndarray:
    return (ball.hi == 0) & (ball.lo == 0) & (ball.rad == 0)


def _exactly(net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, layer: int) -> tuple[Ball, Ball, Ball]:
    """Of layer number `layer`, with error bounds: its weights [W b] [b, n, k], what it reads [b, k, m] (a row of ones with b), and the
    target [b, o, m], less the last bias where this is a hidden layer."""
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
    bias = last_layer(net)[1]
    if layer < len(net.widths) - 1 and bias is not None:
        target = target - groups[bias][:, :, None]
    return Ball(W), signal, target
