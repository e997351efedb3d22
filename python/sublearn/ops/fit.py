"""Masked gradient descent of many students in one call (the method "descent" of D8)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np

from .._checks import LARGEST_INT, LARGEST_LONG, positive, whole_number
from ..backend.dispatch import kernels_for
from ..backend.kernels import FitOptions, Kernels
from ..backend.selection import Backend
from ..model.checks import check_net
from ..model.layers import without_idle_gains
from ..model.network import Feedforward, Network, Recurrent
from .arguments import Batched, common_batch, float_array, given_inputs, index_rows, learnable, shape_back, thread_count
from .fit_state import FitState, check_state
from .frozen_layers import shortened
from .targets import softmax_targets

Optimizer = Literal["sgd", "momentum", "adam"]
OPTIMIZERS = get_args(Optimizer)
Loss = Literal["squared", "softmax"]
LOSSES = get_args(Loss)
Schedule = Literal["constant", "cosine", "linear"]
SCHEDULES = get_args(Schedule)
STATUS = ("steps done", "converged", "diverged")


@dataclass(frozen=True, eq=False)
class FitResult:
    """theta [batch, size] (frozen weights as in the input, bit for bit; with compact=True [batch, r], the learnable ones), loss [batch] at
    theta, steps int64 [batch] contained in theta (those before `state` included), status str [batch]: "steps done", "converged" (tol
    reached) or "diverged" (stopped at the last finite theta). Where the input lives on a GPU, so do all four, and status holds the codes
    0, 1, 2 (int8) of these words. state: what a later call goes on from; None where a GPU computed.
    Where they were asked for: trace and held_out [batch, k], the loss of the data fitted and of those held out, after so many steps as
    moments int64 [k] says.

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
    moments: np.ndarray | None = None
    trace: np.ndarray | None = None
    held_out: np.ndarray | None = None


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
    schedule: Schedule = "constant",
    horizon: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    washout: int = 0,
    trace: int | None = None,
    held_out: tuple[np.ndarray, np.ndarray] | None = None,
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
    (recurrent: over steps), in nats, where y are integer labels from 0 to outputs - 1, of y's shape without the axis of the outputs
    ([batch, samples], recurrent [batch, steps]), or probabilities [batch, *net.y_shape] that add up to 1 over the outputs.
    optimizer: "sgd" w -= lr g; "momentum" v = 0.9 v + g, w -= lr v; "adam" (0.9, 0.999, 1e-8, bias-corrected).
    schedule: how the rate falls over the steps t = 0, 1, ..: "constant"; "cosine" lr (1 + cos(pi t / horizon)) / 2; "linear"
    lr (1 - t / horizon); 0 from step `horizon` on, which is the last of this call unless it is given.
    batch_size: samples (recurrent: sequences) of each step. An epoch takes them from one order of them all, drawn from `seed` and the
    number of the epoch and the same for all students, without replacement; it has samples // batch_size steps. Gradients are multiplied
    by samples / batch_size, so that lr means the same for every size. The losses of the result are of all samples.
    washout: of recurrent networks, the first steps of every sequence whose outputs do not count: until the inputs have made the network
    forget that it began at h_0.
    trace: the loss before the first step, after every `trace` steps and after the last one. held_out: (x, y) as x and y, of any number of
    samples (recurrent: steps); their loss at the same moments, or without `trace` at the end. Neither changes what is found.
    tol: a student stops when its loss is at most tol times the sum of squares of its y; with softmax, tol nats per sample (or step).
    Not with batch_size, whose steps do not know the loss.
    A student that diverges stops at its last finite theta, with status "diverged".
    state: the .state of an earlier result. Learnable weights and the optimiser go on from there, whatever theta says of them; steps are
    those to come. One student's steps are the same in one call or in several.
    compact: theta of the result is [batch, r], the learnable weights of an allocation of one mask by ascending flat index. Then theta
    [size] and x [*net.x_shape] may serve many tasks, y [tasks, ..], and nothing frozen is copied.
    Arrays of numpy, torch or cupy; the result lives where they live. A GPU has plain steps only, without these options.
    Errors: TypeError for other or mixed dtypes; ValueError for shapes, nan, inf, lr or tol out of range, labels that no output has, a
    state of another net, allocation, optimizer, loss, batch_size, seed or dtype.

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
    _check_choices(loss=(loss, LOSSES), optimizer=(optimizer, OPTIMIZERS), schedule=(schedule, SCHEDULES))
    washout = _checked_washout(net, washout)
    asked = {
        "washout": washout or None,
        "horizon": horizon,
        "batch_size": batch_size,
        "trace": trace,
        "held_out": held_out,
        "state": state,
        "compact": compact or None,
    }
    if not kernels.fits_with_options:
        _refuse(loss=loss != "squared", schedule=schedule != "constant", **{name: value is not None for name, value in asked.items()})
    weights = float_array("theta", kernels.from_caller("theta", theta), (net.size,))
    dtype = weights.rows.dtype
    masks = learnable(net, allocation)
    lean = net if kernels.on_device else without_idle_gains(net, masks.rows, weights.rows)
    shape, inputs = given_inputs(kernels, lean, x, h0, dtype)
    targets = _targets(kernels, net, "y", y, loss, dtype, washout)
    batch = common_batch(theta=weights, x=inputs, y=targets, allocation=masks)
    steps = whole_number("steps", steps, 0, most=LARGEST_LONG)
    lr = positive("lr", lr)
    tol = -1.0 if tol is None else positive("tol", tol, zero=True, none=True)
    seed = whole_number("seed", seed, 0, most=2**64 - 1)
    indices = index_rows(masks.rows[:, : lean.size], pad=lean.size)
    rows = np.ascontiguousarray(weights.rows[:, : lean.size]) if lean is not net else weights.rows
    if compact and masks.batch is not None:
        raise ValueError(f"compact: expected an allocation of one mask [size], got {masks.batch} masks")
    if batch_size is not None:
        batch_size = _checked_batch_size(net, batch_size, tol)
    how: dict[str, object] = {"optimizer": optimizer, "loss": loss, "batch_size": batch_size, "seed": seed}
    before = None if state is None else check_state(state, batch or 1, dtype, net, indices, how)
    begun = before.step if before else 0
    if horizon is None:
        horizon = min(begun + steps, LARGEST_LONG)
    options = FitOptions(
        loss=LOSSES.index(loss),
        schedule=SCHEDULES.index(schedule),
        horizon=whole_number("horizon", horizon, 0, most=LARGEST_LONG),
        begun=begun,
        left=before.left if before else None,
        compact=compact,
        keep=True,
        batch_size=batch_size or 0,
        seed=seed,
        washout=washout,
    )
    kind, cores = OPTIMIZERS.index(optimizer), thread_count(threads)
    x_rows, places = inputs.rows, indices
    short = None if kernels.on_device else shortened(lean, masks.rows[:, : lean.size], max(len(rows), len(x_rows)), dtype.itemsize)
    if short is not None:
        x_rows, places = short.inputs(kernels, rows, x_rows, cores), short.indices(indices)
        frozen, rows, shape = rows, short.weights(rows), short.net.shape

    def descend(to: int, **changes: Any) -> dict[str, Any]:
        more = replace(options, **changes) if kernels.fits_with_options else None
        return kernels.fit(shape, rows, x_rows, targets.rows, places, to, kind, lr, tol, cores, more)

    if trace is None and held_out is None:
        out, seen = descend(steps), {}
    else:
        if h0 is not None and held_out is not None:
            raise ValueError("held_out: expected None with h0, whose states belong to x")
        held = None if held_out is None else _held_out(kernels, lean, held_out, loss, dtype, batch, washout)
        if held is not None and short is not None:
            unseen = held[1].shape[1] // short.whole.x_shape[0]
            held = short.net.at(unseen).shape, short.inputs(kernels, frozen, held[1], cores), held[2]
        moments = _moments(steps, trace)
        losses: dict[str, list[np.ndarray]] = {"trace": [], "held_out": []}
        at = 0
        for to in moments:  # in several calls, which are one: what is seen on the way changes nothing
            out = descend(to - at, begun=begun + at, left=options.left, compact=compact or to < steps)
            at = to
            options = replace(options, left=(out["learned"], out.get("first"), out.get("second"), out["steps"], out["status"]))
            losses["trace"].append(out["loss"])
            if held is not None:
                more = replace(options, compact=True, batch_size=0)
                losses["held_out"].append(kernels.fit(held[0], rows, *held[1:], places, 0, kind, lr, tol, cores, more)["loss"])
        wanted = {"trace": trace, "held_out": held_out}
        seen = {name: np.stack(losses[name], axis=1) for name, value in wanted.items() if value is not None}
    status = out["status"] if kernels.on_device else np.array(STATUS)[out["status"]]
    back = lambda array, shape=(): kernels.to_caller(shape_back(array, batch, shape))  # noqa: E731
    after = None
    if kernels.fits_with_options:
        left = out["learned"], out.get("first"), out.get("second"), out["steps"].copy(), out["status"]
        after = FitState(net, indices, optimizer, loss, batch_size, seed, begun + steps, *left)
    if short is not None and not compact:
        out["theta"] = short.whole_theta(frozen, out["theta"])
    if lean is not net and not compact:
        out["theta"] = np.concatenate([out["theta"], np.ones((len(out["theta"]), net.size - lean.size), dtype)], axis=1)
    found = back(out["learned"].copy(), indices.shape[1:]) if compact else back(out["theta"], (net.size,))
    shown = {name: back(array, array.shape[1:]) for name, array in seen.items()}
    if seen:
        shown["moments"] = begun + np.array(moments)
    return FitResult(found, back(out["loss"]), back(out["steps"]), back(status), after, **shown)


def _check_choices(**asked: tuple[object, tuple[str, ...]]) -> None:
    for name, (value, known) in asked.items():
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def _refuse(**asked: bool) -> None:
    """ValueError for an option that a GPU does not have."""
    for name, value in asked.items():
        if value:
            raise ValueError(f'{name}: this option of fit runs on the CPU only; pass arrays of the CPU and backend="cpu"')


def _targets(kernels: Kernels, net: Network, name: str, y: Any, loss: str, dtype: np.dtype, washout: int) -> Batched:
    if loss == "softmax":
        found = softmax_targets(net, y, dtype, name)
    else:
        found = float_array(name, kernels.from_caller(name, y), net.y_shape, dtype)
    if washout and isinstance(net, Recurrent):
        if washout >= net.steps:
            raise ValueError(f"{name}: expected more than the {washout} steps of washout, got {net.steps}")
        rows = found.rows.copy()
        rows.reshape(len(rows), net.samples, net.steps, net.outputs)[:, :, :washout] = 0.0
        found = Batched(rows, found.batch)
    return found


def _checked_washout(net: Network, washout: int) -> int:
    washout = whole_number("washout", washout, 0, most=LARGEST_INT)
    if washout and not isinstance(net, Recurrent):
        raise ValueError(f"washout: expected 0 for a network without steps, got {washout}")
    if isinstance(net, Recurrent) and washout >= net.steps:
        raise ValueError(f"washout: expected fewer than the {net.steps} steps of the network, got {washout}")
    return washout


def _checked_batch_size(net: Network, batch_size: int, tol: float) -> int:
    samples, what = (net.samples, "samples") if isinstance(net, Feedforward) else (cast(Recurrent, net).samples, "sequences")
    if tol >= 0:
        raise ValueError("tol: expected None with batch_size, whose steps do not know the loss of all samples")
    return whole_number("batch_size", batch_size, 1, samples, f"the {what}")


def _moments(steps: int, trace: int | None) -> list[int]:
    """After how many steps of this call the loss is told."""
    if trace is None:
        return [steps]
    every = whole_number("trace", trace, 1, most=LARGEST_LONG)
    return sorted({*range(0, steps + 1, every), steps})


def _held_out(
    kernels: Kernels, net: Network, data: Any, loss: str, dtype: np.dtype, batch: int | None, washout: int
) -> tuple[Any, Any, Any]:
    """Shape, x and y of the data held out, which may have another number of samples or steps."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"held_out: expected (x, y), got {type(data).__name__}")
    x, y = data
    places = 1 if isinstance(net, Feedforward) else 0
    if getattr(x, "ndim", 0) < 2:
        raise ValueError("held_out: expected x as [*net.x_shape] or [batch, *net.x_shape], of any number of samples or steps")
    other = net.at(x.shape[places - 2])
    inputs = float_array("held_out x", kernels.from_caller("held_out x", x), other.x_shape, dtype)
    targets = _targets(kernels, other, "held_out y", y, loss, dtype, washout)
    for name, rows in (("held_out x", inputs), ("held_out y", targets)):
        if rows.batch not in (None, batch):
            raise ValueError(f"{name}: expected the batch of the fit, {batch or 'none'}, got {rows.batch}")
    return other.shape, inputs.rows, targets.rows
