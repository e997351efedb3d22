"""Outputs of networks and their Jacobian in the learnable weights (D1, D6), for batches of students."""

from __future__ import annotations

import numpy as np

from ..backend.dispatch import kernels_for
from ..backend.selection import Backend
from ..model.checks import check_net
from ..model.network import Network
from .arguments import common_batch, float_array, given_inputs, index_rows, learnable, shape_back, thread_count


def outputs(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    *,
    h0: np.ndarray | None = None,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> np.ndarray:
    """y = f(theta; x) (D1): [batch, *net.y_shape], in the dtype of theta.

    theta [batch, size], x [batch, *net.x_shape], float32 or float64, finite; any batch axis may be absent.
    h0 [batch, hidden] (with several sequences [batch, samples, hidden]): what the units of a recurrent network send before the first
    step; None: 0. Both x and h0 in the memory of the CPU then.
    Arrays of numpy, torch or cupy; the result lives where they live (see docs/gpu.md for backend and stream).
    Errors: TypeError for other or mixed dtypes, ValueError for shapes, nan, inf, an empty batch.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> sl.outputs(net, np.ones(net.size), np.ones((3, 3)))
    array([[12., 12., 12.],
           [12., 12., 12.]])
    """
    check_net(net)
    kernels = kernels_for(backend, stream, theta=theta, x=x)
    weights = float_array("theta", kernels.from_caller("theta", theta), (net.size,))
    shape, inputs = given_inputs(kernels, net, x, h0, weights.rows.dtype)
    batch = common_batch(theta=weights, x=inputs)
    y = kernels.outputs(shape, weights.rows, inputs.rows, thread_count(threads))
    return kernels.to_caller(shape_back(y, batch, net.y_shape))


def jacobian(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    allocation: object,
    *,
    h0: np.ndarray | None = None,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> np.ndarray:
    """Derivatives of the outputs in the learnable weights (D6): [batch, equations, budget], in the dtype of theta.

    Equations in C order of y, columns by ascending flat index. theta [batch, size], x [batch, *net.x_shape]; allocation: an
    Allocation, or a bool array [size] or [batch, size] with the same budget in every row. Any batch axis may be absent. h0: see `outputs`.
    relu: the slope at 0 is 0. Arrays of numpy, torch or cupy; the result lives where they live.
    Errors: TypeError for other or mixed dtypes, ValueError for shapes, nan, inf, unequal budgets.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> sl.jacobian(net, np.ones((10, net.size)), np.ones((10, 3, 3)), sl.only(net, "W2")).shape
    (10, 6, 8)
    """
    check_net(net)
    kernels = kernels_for(backend, stream, theta=theta, x=x, allocation=allocation)
    weights = float_array("theta", kernels.from_caller("theta", theta), (net.size,))
    shape, inputs = given_inputs(kernels, net, x, h0, weights.rows.dtype)
    masks = learnable(net, allocation)
    batch = common_batch(theta=weights, x=inputs, allocation=masks)
    indices = index_rows(masks.rows)
    if indices.shape[1] == 0:
        return kernels.to_caller(np.zeros((*([] if batch is None else [batch]), net.equations, 0), weights.rows.dtype))
    J = kernels.jacobian(shape, weights.rows, inputs.rows, indices, thread_count(threads))
    return kernels.to_caller(shape_back(J, batch, (net.equations, indices.shape[1])))
