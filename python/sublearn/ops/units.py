"""The units of a problem: powers of two that bring inputs, weights and targets to their ordinary size, and how far rounding reaches.

Whether weights exist that match does not depend on units. Exact symmetries of f(theta; x) = y, for a linear or relu network:
x by a, the matrix of layer k by w_k, biases and signal after layer k by a w_1 .. w_k, y by all of them (recurrent: B is the first layer, D
the last, W keeps its size; gains and leaks have no unit). For tanh the pre-activations must stay: a w_1 = 1, inner layers keep theirs, the
last layer and y are free.
`units` picks one representative, so that searches, tolerances and slacks see numbers of order one, and every problem of a family
gets the same verdict, bit for bit where the factors are powers of two. All factors are powers of two: nothing is rounded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..backend.compiled import cpu
from ..model.layers import last_layer, plain
from ..model.network import Feedforward, Network, Recurrent

_FAR = 400  # targets stay within 2^+-400 of their unit: squares neither over- nor underflow
_NUDGE = 2.0**-26  # relative change of weights by which `reach` is measured
_AT_ONCE = 1024  # rows that `reach` moves at a time: in memory that stays in the cache


class Units(NamedTuple):
    """Exponents of two, int64 (float64 if not whole): theta [n, size], x [n], y [n]. What is of ordinary size is the number over
    2^exponent."""

    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray


def size_of(rows: np.ndarray, factor: float = 1.0, whole: bool = True) -> np.ndarray:
    """[n]: log2 of the root mean square of rows [n, k] times sqrt(factor); 0 where a row is zero. whole: rounded, int64, else float64.

    A row times 2^k has a size larger by k, exactly.
    """
    most = np.abs(rows).max(axis=1, initial=0.0)
    exponent = np.frexp(most)[1].astype(np.int64)
    mean = (np.ldexp(rows, -exponent[:, None]) ** 2).mean(axis=1) if rows.shape[1] else most
    rest = 0.5 * np.log2(np.where(most > 0, mean, 1.0) * factor)
    return np.where(most > 0, exponent + (np.rint(rest).astype(np.int64) if whole else rest), 0)


def layers_of(net: Network) -> list[tuple[str, str | None]]:
    """(matrix, bias or None) of every layer that has a unit of its own, from the inputs to the outputs."""
    if isinstance(net, Recurrent):
        names = [("B", "b"), ("D", "c")]
    else:
        names = [(f"W{k}", f"b{k}") for k in range(1, len(net.widths))]
    return [(matrix, bias if bias in net.groups else None) for matrix, bias in names]


def units(net: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray, gains: np.ndarray | None = None, whole: bool = True) -> Units:
    """Of theta [n, size], x [n, inputs], y [n, equations]; with gains [groups] those of the law of trials (D3), the same for all.

    whole=False: exponents float64, not rounded: for searches, which then take the same way for any factors, up to rounding.
    """
    n, kind = len(theta), np.int64 if whole else np.float64
    number = list(net.groups).index
    fan = lambda name: net.fan_in[name] or 1  # noqa: E731

    def of(name):
        if gains is not None:
            return np.full(n, round(float(np.log2(gains[number(name)]))), dtype=np.int64)
        return size_of(theta[:, net.slices[name]], fan(name), whole)

    of_x = np.zeros(n, dtype=np.int64) if gains is not None else size_of(x, whole=whole)
    out = np.zeros((n, net.size), dtype=kind)
    layers = layers_of(net)
    first, last = layers[0][0], layers[-1][0]
    matrices = {matrix: of(matrix) for matrix, _ in layers}
    some = {name: np.ones(n, dtype=bool) if gains is not None else theta[:, net.slices[name]].any(axis=1) for name in matrices}
    given, target = y.any(axis=1), size_of(y, whole=whole)
    if plain(net).activation == "tanh":
        apart = np.where(some[first], np.where(x.any(axis=1), of_x, -matrices[first]) - matrices[first], 2 * of_x)
        of_x = (apart + 1) // 2 if whole else apart / 2
        matrices = {name: np.zeros(n, dtype=kind) for name in matrices} | {first: -of_x, last: matrices[last]}
        matrices[last] = np.where(given & ~some[last], target, matrices[last])
    elif gains is None:  # what is zero has no size: the first such takes what leads to the size of the targets
        missing = target - of_x - sum(matrices.values())
        open_ = given & ~x.any(axis=1)
        of_x = np.where(open_, of_x + missing, of_x)
        for name in matrices:
            takes = given & ~some[name] & ~open_
            matrices[name] = np.where(takes, matrices[name] + missing, matrices[name])
            open_ = open_ | takes
    signal = of_x.copy()
    for matrix, bias in layers:
        own = matrices[matrix]
        if matrix == last:  # a target far from the outputs must not leave the range of squares
            off = np.where(given, target - signal - own, 0)
            own = own + off - np.clip(off, -_FAR, _FAR)
        out[:, net.slices[matrix]] = own[:, None]
        signal = signal + own
        if bias is not None:
            out[:, net.slices[bias]] = signal[:, None]
    return Units(out, of_x, signal)


def reach(net: Network, theta: np.ndarray, x: np.ndarray, outputs=None) -> np.ndarray:
    """float64 [n, equations]: how much the outputs f(theta; x) move for a relative change of every weight by one, to first order.

    The rounding of f in floating point is eps times this, up to a small factor: dot products are exact for slightly other weights. A few
    fixed patterns stand for the worst one; no two weights change alike in them, so what cancels is seen. theta [n, size], x [n, inputs].
    """
    theta = np.ascontiguousarray(theta)
    if outputs is None and len(theta) == len(x) > 2 * _AT_ONCE:
        parts = range(0, len(x), _AT_ONCE)
        return np.concatenate([reach(net, theta[k : k + _AT_ONCE], x[k : k + _AT_ONCE]) for k in parts])
    outputs = outputs or cpu.outputs
    base, most = outputs(net.shape, theta, x, 0), np.zeros((max(len(theta), len(x)), net.equations))
    for change in _changes(net.size):
        np.maximum(most, np.abs(outputs(net.shape, theta * (1 + change), x, 0) - base), out=most)
    return most / _NUDGE


@lru_cache(maxsize=16)
def _changes(size: int) -> np.ndarray:
    """float64 [4, size]: relative changes of the weights, about _NUDGE."""
    rng = np.random.default_rng(1)
    return rng.choice([-_NUDGE, _NUDGE], (4, size)) * rng.uniform(0.5, 1.5, (4, size))


def constant_outputs(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [k, equations] for masks bool [k, size]: outputs that no learnable weight reaches, whatever the frozen weights are."""
    k = len(masks)
    learns = net.unpack(masks)
    matrix, bias = last_layer(net)
    row = learns[matrix].any(axis=2) | (learns[bias] if bias is not None else False)  # [k, outputs]
    if isinstance(net, Feedforward):
        inner = masks.copy()
        for name in (matrix, bias):
            if name is not None:
                inner[:, net.slices[name]] = False
        still = ~row & ~inner.any(axis=1)[:, None]
        return np.repeat(still[:, :, None], net.samples, axis=2).reshape(k, net.equations)
    at_once = learns["B"].any(axis=(1, 2)) | (learns["b"].any(axis=1) if "b" in learns else False)
    if "g" in learns:
        at_once = at_once | learns["g"].any(axis=1)
    still = np.repeat((~row & ~at_once[:, None])[:, None], net.steps, axis=1)
    still[:, 1:] &= ~learns["W"].any(axis=(1, 2))[:, None, None]
    return np.tile(still, (1, net.samples, 1)).reshape(k, net.equations)
