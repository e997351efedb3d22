"""Batched Levenberg-Marquardt from several starts, and the law of these starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._checks import LARGEST_INT, positive, whole_number
from ..backend.dispatch import kernels_for
from ..backend.selection import Backend
from ..model.checks import check_trial_range
from ..model.network import Network
from ..model.teacher_student import check_gains
from .arguments import common_batch, float_array, given_inputs, index_rows, learnable, shape_back, thread_count

WIDE = 3.0  # wide starts: standard deviation over that of the student's own law; 3 to 5 find the most per start


def start_scale(net: Network, gains: np.ndarray) -> np.ndarray:
    """Standard deviation of the wide starts, for every weight."""
    scale = np.empty(net.size)
    for (name, where), gain in zip(net.slices.items(), gains):
        fan_in = net.fan_in[name]
        scale[where] = WIDE * gain / math.sqrt(fan_in) if fan_in else WIDE * gain
    return scale


@dataclass(frozen=True, eq=False)
class SearchResult:
    """theta [batch, size]: the first start that met the tolerance, else the best point found (frozen weights as in the input, bit for bit);
    loss [batch]: ||f(theta) - y||^2 / ||y||^2 there; start int32 [batch]: the start that met it, -1 if none did. Where the input lives on a
    GPU, so do these three. iterations int: of all students and starts together, those of starts that an earlier one made needless included
    (how many depends on the threads).

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> trial = sl.draw_trials(net, sl.only(net, "W2"), 4, shared=("W1",))
    >>> found = sl.levenberg_marquardt(net, trial.student, trial.x, trial.y, trial.mask, starts=2)
    >>> found.theta.shape, found.start, bool((found.loss < 1e-20).all())
    ((4, 20), array([0, 0, 0, 0], dtype=int32), True)
    """

    theta: np.ndarray
    loss: np.ndarray
    start: np.ndarray
    iterations: int


def levenberg_marquardt(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    allocation: object,
    *,
    h0: np.ndarray | None = None,
    starts: int = 1,
    iterations: int = 200,
    tol: float = 1e-20,
    gains: Mapping[str, float] | None = None,
    seed: int = 0,
    task: int = 0,
    first: int = 0,
    threads: int | None = None,
    backend: Backend = "auto",
    stream: object = None,
) -> SearchResult:
    """Least squares of ||f(theta; x) - y||^2 over the learnable weights of every student, by Levenberg-Marquardt steps from several starts.

    theta [batch, size], x [batch, *net.x_shape], y [batch, *net.y_shape], float64; allocation: an Allocation, or a bool array [size] or
    [batch, size] (one budget for all: the search of one call has as many columns). Any batch axis may be absent. h0: see `outputs`.
    Start 0 of a student is theta itself; the others are N(0, (3 gain)^2 / fan_in) in its learnable weights, N(1, 3^2) in gains of units,
    those of trial first + k of (seed, task) for student k (Philox, so they depend on neither batch nor threads). A start ends after
    `iterations` accepted or rejected steps, when it stalls, or when the relative loss falls below tol; a student ends with its first start
    that does.
    Nothing is scaled beforehand and nothing is proven: `decide` scales a problem to units of its own and gives verdicts.
    Arrays of numpy, torch or cupy; the result lives where they live. Source: the damping of Transtrum & Sethna 2012, with geodesic
    acceleration. Errors: TypeError for other or mixed dtypes, ValueError for shapes, nan, inf and numbers out of range.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> trial = sl.draw_trials(net, sl.scattered(net, 12, "W"), 100, shared=("B", "D"))
    >>> found = sl.levenberg_marquardt(net, trial.student, trial.x, trial.y, trial.mask, starts=10)
    >>> bool((found.loss[found.start >= 0] < 1e-20).all()), int((found.start >= 0).sum()) > 90
    (True, True)
    """
    kernels = kernels_for(backend, stream, theta=theta, x=x, y=y, allocation=allocation)
    double = np.dtype(np.float64)
    weights = float_array("theta", kernels.from_caller("theta", theta), (net.size,), double)
    shape, inputs = given_inputs(kernels, net, x, h0, double)
    targets = float_array("y", kernels.from_caller("y", y), net.y_shape, double)
    masks = learnable(net, allocation)
    batch = common_batch(theta=weights, x=inputs, y=targets, allocation=masks)
    budgets = masks.rows.sum(axis=1)
    if (budgets != budgets[0]).any():
        raise ValueError(f"allocation: expected masks of one budget, got {budgets.min()} to {budgets.max()} learnable weights")
    count = 1 if batch is None else batch
    starts = whole_number("starts", starts, 1, most=LARGEST_INT)
    iterations = whole_number("iterations", iterations, 1, most=LARGEST_INT)
    tol = positive("tol", tol)
    seed, task, first, _ = check_trial_range(seed, task, first, count)
    scale = start_scale(net, check_gains(net, gains))
    trials = (np.uint32(first) + np.arange(count, dtype=np.uint32)).astype(np.uint32)
    out = kernels.newton(
        shape,
        weights.rows,
        inputs.rows,
        targets.rows,
        index_rows(masks.rows),
        scale,
        starts,
        iterations,
        tol,
        seed,
        task,
        trials,
        thread_count(threads),
    )
    back = lambda array, shape=(): kernels.to_caller(shape_back(array, batch, shape))  # noqa: E731
    return SearchResult(back(out["theta"], (net.size,)), back(out["loss"]), back(out["found"]), int(out["iterations"]))
