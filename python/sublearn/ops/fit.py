"""Masked gradient descent of many students in one call (the method "descent" of D8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .._checks import LARGEST_LONG, positive, whole_number
from ..backend.dispatch import kernels_for
from ..backend.kernels import FitOptions, Kernels
from ..backend.selection import Backend
from ..model.checks import check_net
from ..model.network import Network
from .arguments import common_batch, float_array, given_inputs, index_rows, learnable, shape_back, thread_count
from .fit_state import FitState, check_state
from .targets import softmax_targets

Optimizer = Literal["sgd", "momentum", "adam"]
OPTIMIZERS = get_args(Optimizer)
Loss = Literal["squared", "softmax"]
LOSSES = get_args(Loss)
STATUS = ("steps done", "converged", "diverged")


@dataclass(frozen=True, eq=False)
class FitResult:
    """theta [batch, size] (frozen weights as in the input, bit for bit; with compact=True [batch, r], the learnable ones), loss [batch] at
    theta, steps int64 [batch] contained in theta (those before `state` included), status str [batch]: "steps done", "converged" (tol
    reached) or "diverged" (stopped at the last finite theta). Where the input lives on a GPU, so do all four, and status holds the codes
    0, 1, 2 (int8) of these words. state: what a later call goes on from; None where a GPU computed.

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
    state: FitState | None = None


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
    loss: Loss = "squared",
    state: FitState | None = None,
    compact: bool = False,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> FitResult:
    """Minimises the loss over the learnable weights of every student.

    theta [batch, size], x [batch, *net.x_shape], y [batch, *net.y_shape], float32 or float64; allocation: an Allocation, or a bool
    array [size] or [batch, size] (budgets may differ). Any batch axis may be absent. h0: see `outputs`.
    Only learnable weights have gradients, optimiser state and updates; the input is not touched.
    loss: "squared", the sum over equations of (f(theta; x) - y)^2; "softmax", the cross-entropy -log softmax(f)[y] summed over samples
    (recurrent: over steps), in nats, where y are integer labels [batch, samples] (recurrent [batch, steps]) from 0 to outputs - 1, or
    probabilities [batch, *net.y_shape] that add up to 1 over the outputs.
    optimizer: "sgd" w -= lr g; "momentum" v = 0.9 v + g, w -= lr v; "adam" (0.9, 0.999, 1e-8, bias-corrected).
    tol: a student stops when its loss is at most tol times the sum of squares of its y; with softmax, tol nats per sample (or step).
    A student that diverges stops at its last finite theta, with status "diverged".
    state: the .state of an earlier result. Learnable weights and the optimiser go on from there, whatever theta says of them; steps are
    those to come. One student's steps are the same in one call or in several.
    compact: theta of the result is [batch, r], the learnable weights of an allocation of one mask by ascending flat index. Then theta
    [size] and x [*net.x_shape] may serve many tasks, y [tasks, ..], and nothing frozen is copied.
    Arrays of numpy, torch or cupy; the result lives where they live. A GPU has plain steps only: no softmax, state or compact.
    Errors: TypeError for other or mixed dtypes; ValueError for shapes, nan, inf, lr or tol out of range, labels that no output has, a
    state of another net, allocation, optimizer, loss or dtype.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> trial = sl.draw_trials(net, sl.only(net, "W2"), 10, shared=("W1",))
    >>> found = sl.fit(net, trial.student, trial.x, trial.y, trial.mask, steps=2000)
    >>> found.loss.shape, bool((found.theta == trial.student)[~trial.mask].all())
    ((10,), True)

    Five tasks of one network: its biases learn to tell two classes of 60 points apart.

    >>> rng = np.random.default_rng(0)
    >>> net = sl.Feedforward(widths=(2, 64, 2), samples=60, activation="relu", bias=True)
    >>> theta, x = rng.normal(size=net.size), rng.normal(size=net.x_shape)
    >>> labels = (rng.normal(size=(5, 2)) @ x > 0).astype(int)
    >>> found = sl.fit(net, theta, x, labels, sl.only(net, "b1", "b2"), steps=300, lr=0.1, loss="softmax", compact=True)
    >>> found.theta.shape, bool((found.loss < 60 * 0.1).all())
    ((5, 66), True)
    """
    check_net(net)
    kernels = kernels_for(backend, stream, theta=theta, x=x, y=y, allocation=allocation)
    _check_choice("loss", loss, LOSSES)
    _check_backend(kernels, loss=loss != "squared", state=state is not None, compact=compact)
    weights = float_array("theta", kernels.from_caller("theta", theta), (net.size,))
    dtype = weights.rows.dtype
    shape, inputs = given_inputs(kernels, net, x, h0, dtype)
    if loss == "softmax":
        targets = softmax_targets(net, y, dtype)
    else:
        targets = float_array("y", kernels.from_caller("y", y), net.y_shape, dtype)
    masks = learnable(net, allocation)
    batch = common_batch(theta=weights, x=inputs, y=targets, allocation=masks)
    steps = whole_number("steps", steps, 0, most=LARGEST_LONG)
    _check_choice("optimizer", optimizer, OPTIMIZERS)
    lr = positive("lr", lr)
    tol = -1.0 if tol is None else positive("tol", tol, zero=True, none=True)
    indices = index_rows(masks.rows, pad=net.size)
    if compact and masks.batch is not None:
        raise ValueError(f"compact: expected an allocation of one mask [size], got {masks.batch} masks")
    how: dict[str, object] = {"optimizer": optimizer, "loss": loss}
    before = None if state is None else check_state(state, batch or 1, dtype, net, indices, how)
    options = FitOptions(
        loss=LOSSES.index(loss),
        begun=before.step if before else 0,
        left=before.left if before else None,
        compact=compact,
        keep=True,
    )
    out = kernels.fit(
        shape,
        weights.rows,
        inputs.rows,
        targets.rows,
        indices,
        steps,
        OPTIMIZERS.index(optimizer),
        lr,
        tol,
        thread_count(threads),
        options if kernels.fits_with_options else None,
    )
    status = out["status"] if kernels.on_device else np.array(STATUS)[out["status"]]
    back = lambda array, shape=(): kernels.to_caller(shape_back(array, batch, shape))  # noqa: E731
    after = None
    if kernels.fits_with_options:
        left = out["learned"], out.get("first"), out.get("second"), out["steps"].copy(), out["status"]
        after = FitState(net, indices, optimizer, loss, options.begun + steps, *left)
    found = back(out["learned"].copy(), indices.shape[1:]) if compact else back(out["theta"], (net.size,))
    return FitResult(found, back(out["loss"]), back(out["steps"]), back(status), after)


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def _check_backend(kernels: Kernels, **asked: bool) -> None:
    """ValueError for an option that a GPU does not have."""
    if not kernels.fits_with_options:
        for name, value in asked.items():
            if value:
                raise ValueError(f'{name}: this option of fit runs on the CPU only; pass arrays of the CPU and backend="cpu"')
