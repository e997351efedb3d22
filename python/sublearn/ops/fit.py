"""Masked gradient descent of many students in one call (the method "descent" of D8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .._checks import LARGEST_LONG, positive, whole_number
from ..backend.dispatch import kernels_for
from ..backend.selection import Backend
from ..model.checks import check_net
from ..model.network import Network
from .arguments import common_batch, float_array, given_inputs, index_rows, learnable, shape_back, thread_count

Optimizer = Literal["sgd", "momentum", "adam"]
OPTIMIZERS = get_args(Optimizer)
STATUS = ("steps done", "converged", "diverged")


@dataclass(frozen=True, eq=False)
class FitResult:
    """theta [batch, size] (frozen weights as in the input, bit for bit), loss [batch] at theta, steps int64 [batch] contained in
    theta, status str [batch]: "steps done", "converged" (tol reached) or "diverged" (stopped at the last finite theta).
    Where the input lives on a GPU, so do all four, and status holds the codes 0, 1, 2 (int8) of these words.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> trial = sl.draw_trials(net, sl.only(net, "W2"), 2, shared=("W1",))
    >>> found = sl.fit(net, trial.student, trial.x, trial.y, trial.mask, steps=5)
    >>> found.theta.shape, found.steps, found.status
    ((2, 20), array([5, 5]), array(['steps done', 'steps done'], dtype='<U10'))
    """

    theta: np.ndarray
    loss: np.ndarray
    steps: np.ndarray
    status: np.ndarray


def fit(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    allocation: object,
    steps: int = 1000,
    optimizer: Optimizer = "adam",
    lr: float = 1e-2,
    tol: float | None = None,
    *,
    h0: np.ndarray | None = None,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> FitResult:
    """Minimises loss = sum over equations of (f(theta; x) - y)^2 over the learnable weights of every student.

    theta [batch, size], x [batch, *net.x_shape], y [batch, *net.y_shape], float32 or float64; allocation: an Allocation, or a bool
    array [size] or [batch, size] (budgets may differ). Any batch axis may be absent. h0: see `outputs`.
    Only learnable weights have gradients, optimiser state and updates; the input is not touched.
    optimizer: "sgd" w -= lr g; "momentum" v = 0.9 v + g, w -= lr v; "adam" (0.9, 0.999, 1e-8, bias-corrected).
    tol: a student stops when its loss is at most tol times the sum of squares of its y. A student that diverges stops at its last
    finite theta, with status "diverged". Arrays of numpy, torch or cupy; the result lives where they live.
    Errors: TypeError for other or mixed dtypes; ValueError for shapes, nan, inf, lr or tol out of range.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> trial = sl.draw_trials(net, sl.only(net, "W2"), 10, shared=("W1",))
    >>> found = sl.fit(net, trial.student, trial.x, trial.y, trial.mask, steps=2000)
    >>> found.loss.shape, bool((found.theta == trial.student)[~trial.mask].all())
    ((10,), True)
    """
    check_net(net)
    kernels = kernels_for(backend, stream, theta=theta, x=x, y=y, allocation=allocation)
    weights = float_array("theta", kernels.from_caller("theta", theta), (net.size,))
    dtype = weights.rows.dtype
    shape, inputs = given_inputs(kernels, net, x, h0, dtype)
    targets = float_array("y", kernels.from_caller("y", y), net.y_shape, dtype)
    masks = learnable(net, allocation)
    batch = common_batch(theta=weights, x=inputs, y=targets, allocation=masks)
    steps = whole_number("steps", steps, 0, most=LARGEST_LONG)
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    lr = positive("lr", lr)
    tol = -1.0 if tol is None else positive("tol", tol, zero=True, none=True)
    out = kernels.fit(
        shape,
        weights.rows,
        inputs.rows,
        targets.rows,
        index_rows(masks.rows, pad=net.size),
        steps,
        OPTIMIZERS.index(optimizer),
        lr,
        tol,
        thread_count(threads),
    )
    status = out["status"] if kernels.on_device else np.array(STATUS)[out["status"]]
    back = lambda array, shape=(): kernels.to_caller(shape_back(array, batch, shape))  # noqa: E731
    return FitResult(back(out["theta"], (net.size,)), back(out["loss"]), back(out["steps"]), back(status))
