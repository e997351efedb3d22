"""Networks the kernel tests run over: compiled-in and run-time sizes, every activation, with and without biases, sizes that straddle
the tile sizes (1, 2, 4, 8) and the lanes."""

import numpy as np

import sublearn as sl

NETWORKS = [
    sl.Recurrent(2, 8, 2, 6),
    sl.Recurrent(1, 4, 1, 5, bias=True),
    sl.Recurrent(3, 5, 2, 4, bias=("b",)),
    sl.Recurrent(2, 3, 2, 1, bias=("c",)),
    sl.Recurrent(2, 19, 3, 3),
    sl.Recurrent(2, 8, 2, 4, activation="tanh", bias=True),
    sl.Recurrent(2, 4, 3, 3, activation="relu"),
    sl.Recurrent(1, 9, 1, 3, activation="tanh"),
    sl.Recurrent(1, 1, 1, 2),
    sl.Feedforward((3, 4, 2), 3),
    sl.Feedforward((4, 9, 7, 3), 5, activation="tanh", bias=True),
    sl.Feedforward((4, 6, 3), 5, activation="relu", bias=("b1",)),
    sl.Feedforward((5, 8, 2), 16, activation="relu"),
    sl.Feedforward((4, 3), 5, bias=True),
    sl.Feedforward((1, 1, 1), 1, activation="relu"),
    sl.Feedforward((2, 3, 3, 3, 2), 2),
    sl.Feedforward((3, 5, 4, 2), 3, activation="tanh", bias=True, gain=True),
    sl.Recurrent(2, 4, 2, 3, activation="relu", bias=True, gain=True, leak=0.3),
    sl.Recurrent(1, 5, 2, 3, gain=True, samples=3),
]


def names(net):
    return net.describe().replace(" ", "_")


def students(net, batch, seed=0, dtype=np.float64):
    """Random theta, x and targets of a batch."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((batch, net.size))
    for name, where in net.slices.items():
        theta[:, where] *= 0.7 / np.sqrt(net.fan_in[name] or 1)
    return (
        theta.astype(dtype),
        rng.standard_normal((batch, *net.x_shape)).astype(dtype),
        rng.standard_normal((batch, *net.y_shape)).astype(dtype),
    )


def masks(net, batch, budget, seed=0):
    """One random mask of the given budget per student."""
    rng = np.random.default_rng(seed)
    out = np.zeros((batch, net.size), dtype=bool)
    for row in out:
        row[rng.choice(net.size, min(budget, net.size), replace=False)] = True
    return out
