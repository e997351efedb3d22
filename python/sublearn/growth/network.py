"""How does a layer of a network grow, to a width or to a tolerance?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .._checks import LARGEST_INT, LARGEST_LONG, positive, whole_number
from ..model.checks import LARGEST_SEED, check_net
from ..model.network import Feedforward
from ..model.strategies import everything
from ..ops.arguments import Batched, common_batch, float_array
from ..ops.fit import LOSSES, Loss, Optimizer, fit
from ..ops.targets import softmax_targets
from .layer import look
from .step import Rules, propose, widened, with_neurons

Growing = Literal["pool", "joint", "projected", "raw"]
GROWING = get_args(Growing)
_SIZES = {"linear": (1.0,), "tanh": (0.25, 0.5, 1.0, 2.0, 4.0), "relu": (1.0,)}


@dataclass(frozen=True, eq=False)
class GrowthHistory:
    """widths int64 [k + 1] of the layer, at the start and after each of k growths; loss [batch, k + 1]: then, after the steps of training
    that follow a growth; grown [batch, k]: right after each growth, before these steps; amplitude [batch, k]: the factor that the line
    search chose, 0 where nothing lowered the loss. Losses are sums, as `fit` tells them.

    >>> net = sl.Feedforward((3, 2, 2), samples=30, activation="tanh", bias=True)
    >>> trial = sl.draw_trials(net, sl.everything(net), 1)
    >>> history = sl.grow_network(net, trial.student[0], trial.x[0], trial.y[0], to=5).history
    >>> history.widths, history.loss.shape, history.grown.shape
    (array([2, 4, 5]), (3,), (2,))
    """

    widths: np.ndarray
    loss: np.ndarray
    grown: np.ndarray
    amplitude: np.ndarray


@dataclass(frozen=True, eq=False)
class GrownNetwork:
    """net: the wider network; theta [batch, net.size]; history: widths and losses on the way.

    >>> net = sl.Feedforward((3, 2, 2), samples=30, activation="tanh", bias=True)
    >>> trial = sl.draw_trials(net, sl.everything(net), 4)
    >>> found = sl.grow_network(net, trial.student, trial.x, trial.y, to=5)
    >>> found.net.widths, found.theta.shape == (4, found.net.size)
    ((3, 5, 2), True)
    """

    net: Feedforward
    theta: np.ndarray
    history: GrowthHistory


def grow_network(
    net: Feedforward,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    layer: int = 1,
    to: int | None = None,
    tol: float | None = None,
    by: int = 2,
    steps: int = 10,
    *,
    form: Growing | None = None,
    candidates: int = 200,
    refit: bool | None = None,
    preserve: bool = False,
    loss: Loss = "squared",
    optimizer: Optimizer = "adam",
    lr: float = 1e-2,
    seed: int = 0,
    threads: int | None = None,
) -> GrownNetwork:
    """Adds `by` neurons to hidden layer `layer`, trains all weights for `steps` steps of `fit`, and so on.

    theta [batch, size], x [batch, *net.x_shape], float32 or float64, y as for `fit`; any batch axis may be absent. Networks of a batch grow
    side by side and have the same widths; what one becomes depends on its number (random candidates), not on the others. theta should
    have been trained before: what is missing is judged at theta. to: the width to reach; tol: growing ends when the loss of every network
    is at most tol times the sum of squares of its y (softmax: tol nats per sample). One of them is needed; without `to` there is at most
    one more neuron per sample.

    form: how neurons are chosen. None: "pool" for the squared loss, "raw" for the softmax.
      "pool"   singular vectors of `new_neurons` and `candidates` random incoming weights, scaled to pre-activations of root mean square 1
               (without steps also 1/4 to 4; relu: with both signs), are run on the data; orthogonal least squares on what the layer
               cannot give (V - V H^+ H) chooses among their true activities. Outgoing weights are the least squares fit of V;
      "joint"  `new_neurons` at that size; outgoing weights and dW are the least squares fit of V by the new activities and H together;
      "projected", "raw"   `new_neurons`, incoming and outgoing weights alike multiplied by the amplitude. At most as many at a time as
               there are singular vectors: the smaller of the weights into a unit and the units of the next layer.
    refit: whether the weights between this layer and the next, and the biases of the next, move with each growth, to the least squares fit
    of V (dW). None: with "joint", and where steps is 0; then incoming weights stay as chosen, and with the squared loss and the last hidden
    layer all outgoing weights are optimal after each growth. Before steps of Adam a refit does harm: fresh moments throw it over.
    The amplitude of outgoing weights and dW, out of 0 and 2^-8 .. 2^4, is the one of the least true loss: a growth
    raises the loss by the rounding of weights only. That is no small matter where signals are nearly dependent and a refit has large
    weights: in float32 the loss rose in 8 of 12 000 tiny random networks, and the loss told was wrong by percents in 60.
    preserve: outgoing weights are 0 and nothing else changes: outputs before and after a growth are the same, bit for bit.
    New neurons have a bias where the layer has; gains of theirs are 1. Weights of float32 are chosen in float64 and rounded. Arrays of the
    CPU.
    optimizer, lr, loss, threads: those of `fit`, whose moments begin anew with each growth. seed: of the random incoming weights (Philox).
    Errors: TypeError and ValueError that name the argument.

    >>> rng = np.random.default_rng(0)
    >>> net = sl.Feedforward((2, 2, 1), samples=100, activation="tanh", bias=True)
    >>> x = rng.uniform(-1, 1, net.x_shape)
    >>> y = np.sin(3 * x[:1]) * x[1:]
    >>> start = sl.fit(net, rng.normal(size=net.size), x, y, sl.everything(net), steps=300)
    >>> found = sl.grow_network(net, start.theta, x, y, to=12, by=1, steps=50)
    >>> found.net.widths, bool(found.history.loss[-1] < 0.1 * start.loss)
    ((2, 12, 1), True)
    """
    check_net(net)
    if not isinstance(net, Feedforward) or len(net.widths) < 3:
        raise TypeError(f"net: expected a feedforward network with a hidden layer, got {net.describe()}")
    layer = whole_number("layer", layer, 1, len(net.widths) - 2, "the hidden layers")
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    form = ("raw" if loss == "softmax" else "pool") if form is None else form
    if form not in GROWING:
        raise ValueError(f"form: expected None or one of {', '.join(GROWING)}, got {form!r}")
    weights = float_array("theta", theta, (net.size,))
    dtype, width = weights.rows.dtype, net.widths[layer]
    inputs = float_array("x", x, net.x_shape, dtype)
    targets = softmax_targets(net, y, dtype) if loss == "softmax" else float_array("y", y, net.y_shape, dtype)
    batch = common_batch(theta=weights, x=inputs, y=targets)
    if to is None and tol is None:
        raise ValueError("to: expected a width, or None and a tolerance in tol, got None and no tol")
    last = width + net.samples if to is None else whole_number("to", to, width, note="the width there is, or more", most=LARGEST_INT)
    limit = _limit(tol, targets, net.samples if loss == "softmax" else None)
    by = _checked_by(by, net, layer, form)
    steps = whole_number("steps", steps, 0, most=LARGEST_LONG)
    rules = Rules(
        form,
        layer,
        whole_number("candidates", candidates, 1, most=LARGEST_INT),
        _checked_refit(refit, steps, form),
        _flag("preserve", preserve),
        (1.0,) if steps else _SIZES[net.activation],
        whole_number("seed", seed, 0, LARGEST_SEED),
    )
    theta, data, goals = (part.rows for part in (weights, inputs, targets))
    x, y = (_as_given(part, shape) for part, shape in ((inputs, net.x_shape), (targets, net.y_shape)))
    theta = np.array(np.broadcast_to(theta, (batch or 1, net.size)))
    look_at = lambda: [  # noqa: E731
        look(net, theta[k], _row(data, k).reshape(net.x_shape), _row(goals, k).reshape(net.y_shape), layer, loss) for k in range(len(theta))
    ]
    layers = look_at()
    widths, losses = [width], [np.array([seen.loss for seen in layers])]
    grown: list[list[float]] = []
    amplitudes: list[list[float]] = []
    while width < last and (losses[-1] > limit).any():
        extra = min(by, last - width)
        layers = layers or look_at()
        added = [propose(seen, net, extra, rules, k) for k, seen in enumerate(layers)]
        wider = widened(net, layer, extra)
        theta = np.stack([with_neurons(net, wider, theta[k], layer, new) for k, new in enumerate(added)])
        net, width = wider, width + extra
        widths.append(width)
        layers = [] if steps else look_at()
        grown.append([seen.loss for seen in layers] or [new.loss for new in added])
        amplitudes.append([new.amplitude for new in added])
        if steps:
            fitted = fit(net, theta, x, y, everything(net), steps, optimizer, lr, loss=loss, threads=threads)
            theta = fitted.theta
        losses.append(np.asarray(fitted.loss if steps else grown[-1], float))
    told = [np.array(part).reshape(-1, len(theta)).T for part in (losses, grown, amplitudes)]
    history = GrowthHistory(np.array(widths), *(part if batch is not None else part[0] for part in told))
    return GrownNetwork(net, theta if batch is not None else theta[0], history)


def _row(rows: np.ndarray, k: int) -> np.ndarray:
    return rows[min(k, len(rows) - 1)]


def _as_given(part: Batched, shape: tuple[int, ...]) -> np.ndarray:
    return part.rows.reshape(shape if part.batch is None else (-1, *shape))


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r} ({type(value).__name__})")
    return bool(value)


def _checked_refit(refit: object, steps: int, form: str) -> bool:
    if form == "joint" and refit is not None and not _flag("refit", refit):
        raise ValueError("refit: expected None or True with form 'joint', whose neurons belong to their dW, got False")
    return steps == 0 or form == "joint" if refit is None else _flag("refit", refit)


def _limit(tol: float | None, targets: Batched, nats_of: int | None) -> np.ndarray:
    """Summed losses [batch or 1] at which growing ends; nats_of: the samples of a softmax."""
    if tol is None:
        return np.array([-1.0])
    tol = positive("tol", tol, zero=True, none=True)
    return tol * (np.array([float(nats_of)]) if nats_of else (targets.rows.astype(np.float64) ** 2).sum(axis=1))


def _checked_by(by: int, net: Feedforward, layer: int, form: str) -> int:
    if form == "pool":
        return whole_number("by", by, 1, most=LARGEST_INT)
    most = min(net.widths[layer - 1] + (f"b{layer}" in net.groups), net.widths[layer + 1])
    return whole_number("by", by, 1, most, "so many singular vectors there are")
