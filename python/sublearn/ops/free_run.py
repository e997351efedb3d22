"""Where does a recurrent network go when it is fed by itself? For batches of students."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._checks import LARGEST_INT, whole_number
from ..model.checks import check_net
from ..model.network import Network, Recurrent
from .arguments import common_batch, float_array


def free_run(net: Network, theta: np.ndarray, x: np.ndarray, forced: int = 60, steps: int = 400) -> np.ndarray:
    """The outputs of a recurrent network that predicts its next input: [batch, steps, outputs], in the dtype of theta.

    The first `forced` inputs are those of x; after these each output is the next input. Entry 0 is the output at step `forced`, so where
    y_t is meant to be x_{t+1} entry k is to be compared with x[:, forced + k]. theta [batch, size], x [batch, steps, inputs] with at
    least `forced` steps (of any number: net.steps does not matter); any batch axis may be absent. A network that runs away gives inf or
    nan from there on. numpy on the CPU: the state is carried, so a step costs hidden x (hidden + inputs + outputs) multiplications.
    Errors: TypeError for another kind of network or dtype; ValueError for inputs != outputs and for shapes.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=20, activation="tanh", bias=True)
    >>> theta, x = np.full(net.size, 0.1), sl.systems.trajectories("vdp", 5, 20)
    >>> y = sl.free_run(net, theta, x, forced=20, steps=30)
    >>> y.shape, bool(np.allclose(y[:, 0], sl.outputs(net, theta, x)[:, -1]))
    ((5, 30, 2), True)
    """
    check_net(net)
    if not isinstance(net, Recurrent):
        raise TypeError(f"net: expected a recurrent network, got {net.describe()}")
    if net.inputs != net.outputs:
        raise ValueError(f"net: expected as many outputs as inputs, which they become, got {net.outputs} and {net.inputs}")
    if net.samples > 1:
        raise ValueError(f"net: expected samples = 1, with the sequences as a batch of x, got {net.samples}")
    forced = whole_number("forced", forced, 1, most=LARGEST_INT)
    steps = whole_number("steps", steps, 1, most=LARGEST_INT)
    weights = float_array("theta", theta, (net.size,))
    given = np.asarray(x)
    if given.ndim < 2 or given.shape[-2] < forced:
        raise ValueError(f"x: expected [batch, steps, {net.inputs}] with at least forced = {forced} steps, got {list(given.shape)}")
    inputs = float_array("x", given[..., :forced, :], (forced, net.inputs), weights.rows.dtype)
    batch = common_batch(theta=weights, x=inputs)
    signals, one = inputs.rows.reshape(-1, forced, net.inputs), len(weights.rows) == 1
    y = _run(net, weights.rows, signals.transpose(1, 2, 0)[:, None] if one else signals.transpose(1, 0, 2)[..., None], steps)
    y = y[:, 0].transpose(2, 0, 1) if one else y[..., 0].transpose(1, 0, 2)
    return np.ascontiguousarray(y if batch is not None else y[0])


def _run(net: Recurrent, theta: np.ndarray, x: np.ndarray, steps: int) -> np.ndarray:
    """y [steps, students, o, columns] for theta [students, size] and x [forced, students or 1, i, columns]: D1, with its state carried.

    Students have one column each; those that share their weights are columns of one, so that a step is one product of matrices.
    """
    weights = net.unpack(theta)
    B, W, D = weights["B"], weights["W"], weights["D"]
    b = weights["b"][..., None] if "b" in net.groups else 0
    c = weights["c"][..., None] if "c" in net.groups else 0
    g = weights["g"][..., None] if "g" in net.groups else 1
    leak = theta.dtype.type(net.leak)
    phi: dict[str, Callable[[np.ndarray], np.ndarray]] = {"linear": np.array, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}
    forced, columns = len(x), x.shape[3]
    s = np.zeros((len(theta), net.hidden, columns), theta.dtype)
    found = np.empty((steps, len(theta), net.outputs, columns), theta.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(forced + steps - 1):
            new = phi[net.activation](W @ (g * s) + B @ (x[t] if t < forced else found[t - forced]) + b)
            s = new if net.leak == 1 else (1 - leak) * s + leak * new
            if t >= forced - 1:
                found[t - forced + 1] = D @ (g * s) + c
    return found
