"""Targets of a fit: numbers, or classes for a softmax, as rows of numbers; and the share of classes that a network gets right."""

from __future__ import annotations

import numpy as np

from ..backend.arrays import to_numpy
from ..backend.selection import Backend
from ..model.checks import check_net
from ..model.network import Network, Recurrent
from .arguments import Batched, float_array
from .jacobian import outputs

SUM_TOLERANCE = 1e-3  # of probabilities that should add up to 1: float32 of a thousand of them


def output_axis(net: Network) -> int:
    """Which axis of y counts the outputs: the last of a recurrent network, the first of a feedforward one."""
    return len(net.y_shape) - 1 if isinstance(net, Recurrent) else 0


def class_shape(net: Network) -> tuple[int, ...]:
    """Shape of labels: that of y without the axis of the outputs."""
    axis = output_axis(net)
    return net.y_shape[:axis] + net.y_shape[axis + 1 :]


def class_labels(net: Network, labels: object, name: str) -> np.ndarray:
    """Labels int64 [*class_shape] or [batch, *class_shape], 0 .. outputs - 1. TypeError, ValueError naming the argument."""
    array, shape, outputs_ = np.asarray(to_numpy(name, labels)), class_shape(net), net.y_shape[output_axis(net)]
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer labels, got {array.dtype}")
    if array.shape != shape and array.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name}: expected labels of shape [{wanted}] or [batch, {wanted}], got {list(array.shape)}")
    if array.size and not 0 <= array.min() <= array.max() < outputs_:
        raise ValueError(f"{name}: expected labels from 0 to {outputs_ - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64)


def softmax_targets(net: Network, y: object, dtype: np.dtype, name: str = "y") -> Batched:
    """Rows of probabilities in C order of y, from integer labels or from probabilities [*net.y_shape], with or without a batch axis."""
    axis = output_axis(net)
    if getattr(y, "dtype", None) is not None and np.asarray(to_numpy(name, y)).dtype.kind in "iu":
        labels, where = class_labels(net, y, name), axis - len(net.y_shape)
        one_hot = np.zeros((*labels.shape[: labels.ndim - len(net.y_shape) + 1], *net.y_shape), dtype)
        np.put_along_axis(one_hot, np.expand_dims(labels, where), 1, axis=where)
        return float_array(name, one_hot, net.y_shape, dtype)
    rows = float_array(name, y, net.y_shape, dtype)
    shaped = rows.rows.reshape(-1, *net.y_shape)
    if shaped.min(initial=0) < 0 or np.abs(shaped.sum(axis=axis + 1) - 1).max(initial=0) > SUM_TOLERANCE:
        raise ValueError(f"{name}: expected integer labels, or probabilities that add up to 1 over the outputs, got other numbers")
    return rows


def loss_and_slope(y: np.ndarray, goal: np.ndarray, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [batch], its derivative in y [batch, o, samples]) of the losses of `fit`; goal: numbers or probabilities."""
    if loss == "squared":
        miss = y - goal
        return (miss.astype(np.float64) ** 2).sum(axis=(1, 2)), 2 * miss
    y = y - y.max(axis=1, keepdims=True)
    total = np.exp(y).sum(axis=1, keepdims=True)
    chance, weight = np.exp(y) / total, goal.sum(axis=1, keepdims=True)
    return (goal * (np.log(total) - y)).sum(axis=(1, 2), dtype=np.float64), chance * weight - goal


def accuracy(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> np.ndarray:
    """Share of the samples (recurrent: of the steps) whose largest output is that of their label: float64 [batch].

    theta [batch, size], x [batch, *net.x_shape] as for `outputs`; labels: integers from 0 to outputs - 1, [batch, samples] (recurrent:
    [batch, steps]); any batch axis may be absent. Where several outputs are the largest, or one is not finite, the sample counts as wrong.
    Errors: TypeError for labels that are not integers, ValueError for shapes and labels that no output has.

    >>> net = sl.Feedforward(widths=(2, 2), samples=3)
    >>> x = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> round(float(sl.accuracy(net, np.array([1.0, 0.0, 0.0, 1.0]), x, np.array([0, 1, 0]))), 3)  # the third sample is a tie
    0.667
    """
    check_net(net)
    wanted = class_labels(net, labels, "labels")
    y = np.asarray(to_numpy("y", outputs(net, theta, x, threads=threads, backend=backend, stream=stream)))
    y = np.moveaxis(y, output_axis(net) - len(net.y_shape), -1)
    if wanted.ndim == y.ndim - 1 == len(net.y_shape) and len(wanted) != len(y):
        raise ValueError(f"labels: expected one batch size, got labels {len(wanted)}, outputs {len(y)}")
    y, wanted = np.broadcast_arrays(y, wanted[..., None])
    own = np.take_along_axis(y, wanted[..., :1], -1)
    right = np.isfinite(y).all(-1) & ((y >= own).sum(-1) == 1)
    return right.mean(axis=tuple(range(right.ndim - len(net.y_shape) + 1, right.ndim)))
