"""Which units should a network keep? Masks of units by straight-through descent, for batches of students."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._checks import LARGEST_INT, positive, whole_number
from ..model.checks import LARGEST_SEED, check_net
from ..model.network import Feedforward, Network
from .arguments import common_batch, float_array, learnable
from .fit import LOSSES, Loss
from .targets import loss_and_slope, softmax_targets

_START = 0.01  # scores begin within +- this
_STREAM = 2  # of the counter: 0 starts of trajectories, 1 splits of pictures (data/)
_ADAM = 0.9, 0.999, 1e-8


@dataclass(frozen=True, eq=False)
class MaskFit:
    """masks bool [batch, n]: the units kept; theta [batch, size]: the network with gains of 1 and 0; loss [batch]: at theta.

    >>> net = sl.Feedforward(widths=(3, 8, 2), samples=4, activation="relu", gain=True)
    >>> trial = sl.draw_trials(net, sl.gains(net), 2)
    >>> found = sl.fit_masks(net, trial.student, trial.x, trial.y, "g1", steps=20)
    >>> found.masks.shape, bool((found.theta[:, net.slices["g1"]] == found.masks).all())
    ((2, 8), True)
    """

    masks: np.ndarray
    theta: np.ndarray
    loss: np.ndarray


def fit_masks(
    net: Network,
    theta: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    group: str,
    allocation: object = None,
    steps: int = 600,
    lr: float = 1e-2,
    loss: Loss = "squared",
    seed: int = 0,
) -> MaskFit:
    """Gains of 0 or 1 for the units of one hidden layer of a feedforward network, `group` ("g1"), that make the loss small.

    A unit is kept where its score is above 0. Scores learn by Adam (rate `lr`, bias-corrected) along the derivative of the loss in the gain
    at its present value, 0 or 1: d * h, h what the unit would send, also where it is off (straight-through). They begin at random within
    .01 of 0: raw numbers of numpy's Philox, key (seed, 0), counter (0, 0, 2, student). `allocation`: weights and biases of the layers
    behind these units that learn beside them, at the same rate (for classification the output bias). The best masks met are kept.
    A search over finitely many networks: its loss says what was found, a match probability of it would be 0.

    theta [batch, size] (its gains in `group` do not matter), x [batch, *net.x_shape], float32 or float64. loss "squared": the sum over
    equations of (f - y)^2, y [batch, *net.y_shape]; "softmax": the sum over samples of the cross-entropy, y whole numbers [batch, samples],
    the classes, or [batch, *net.y_shape], their probabilities. Any batch axis may be absent. numpy on the CPU: what lies below the units is
    computed once, a step costs 6 samples x weights behind them.
    Errors: TypeError and ValueError that name the argument.

    >>> net = sl.Feedforward(widths=(3, 16, 2), samples=4, activation="relu", bias=("b2",), gain=True)
    >>> trial = sl.draw_trials(net, sl.gains(net), 4)
    >>> early, late = (sl.fit_masks(net, trial.student, trial.x, trial.y, "g1", sl.only(net, "b2"), n) for n in (1, 100))
    >>> bool((late.loss < early.loss).all())
    True
    """
    check_net(net)
    if not isinstance(net, Feedforward):
        raise TypeError(f"net: expected a feedforward network, got {net.describe()}")
    gains = [name for name in net.groups if name[0] == "g"]
    if group not in gains:
        raise ValueError(f"group: expected one of the gains {', '.join(gains) or '(there is none without gain=True)'}, got {group!r}")
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    layer = int(group[1:])
    weights = float_array("theta", theta, (net.size,))
    inputs = float_array("x", x, net.x_shape, weights.rows.dtype)
    dtype = weights.rows.dtype
    targets = softmax_targets(net, y, dtype) if loss == "softmax" else float_array("y", y, net.y_shape, dtype)
    rest = _behind(net, layer, allocation)
    batch = common_batch(theta=weights, x=inputs, y=targets, **({} if rest is None else {"allocation": rest}))
    steps, lr = whole_number("steps", steps, 1, most=LARGEST_INT), positive("lr", lr)
    seed = whole_number("seed", seed, 0, LARGEST_SEED)
    count = 1 if batch is None else batch
    student = np.array(np.broadcast_to(weights.rows, (count, net.size)))
    student[:, net.slices[group]] = 1.0
    goal = targets.rows.reshape(-1, *net.y_shape)
    learns = np.zeros((1, net.size), dtype=bool) if rest is None else rest.rows
    layers = _Layers(net, layer, student, inputs.rows.reshape(-1, *net.x_shape))
    best, masks, losses = _descend(layers, goal, loss, learns, (steps, lr, seed))
    best[:, net.slices[group]] = masks
    found = MaskFit(masks, best, losses)
    return found if batch is not None else MaskFit(masks[0], best[0], losses[0])


def _behind(net: Feedforward, layer: int, allocation: object):
    """Learnable weights, none of which may lie before the units."""
    if allocation is None:
        return None
    rest = learnable(net, allocation)
    for name, where in net.slices.items():
        if rest.rows[:, where].any() and (name[0] == "g" or int(name[1:]) <= layer):
            raise ValueError(f"allocation: expected weights and biases behind layer {layer} only, got some of {name} that learn")
    return rest


class _Layers:
    """A network from the units of one layer on: their signals, computed once, and the layers behind them."""

    def __init__(self, net: Feedforward, layer: int, theta: np.ndarray, x: np.ndarray) -> None:
        self.net, self.theta, self.first, self.last = net, theta, layer + 1, len(net.widths) - 1
        self.tanh, self.linear = net.activation == "tanh", net.activation == "linear"
        signal = x
        for k in range(1, layer + 1):
            signal = self._phi(self._before(k, signal))
            if k < layer and f"g{k}" in net.groups:
                signal = signal * self._of(f"g{k}")[..., None]
        self.signal = signal  # [batch or 1, n, samples]

    def _of(self, name: str) -> np.ndarray:
        """A group [batch, ..], a view of theta."""
        return self.theta[:, self.net.slices[name]].reshape(-1, *self.net.groups[name])

    def _before(self, k: int, signal: np.ndarray) -> np.ndarray:
        z = self._of(f"W{k}") @ signal
        return z + self._of(f"b{k}")[..., None] if f"b{k}" in self.net.groups else z

    def _phi(self, z: np.ndarray) -> np.ndarray:
        return z if self.linear else np.tanh(z) if self.tanh else np.maximum(z, 0)

    def outputs(self, masks: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """(y [batch, o, samples], what each layer behind the units reads)."""
        read = [self.signal * masks[:, :, None]]
        for k in range(self.first, self.last):
            sent = self._phi(self._before(k, read[-1]))
            read.append(sent * self._of(f"g{k}")[..., None] if f"g{k}" in self.net.groups else sent)
        return self._before(self.last, read[-1]), read

    def gradient(self, d: np.ndarray, read: list[np.ndarray], learns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(derivatives in the gains of the units [batch, n], in theta [batch, size], 0 where nothing learns), for d the loss's in y."""
        moved = np.zeros_like(self.theta)
        for k in range(self.last, self.first - 1, -1):
            if k < self.last:
                own = self._phi(self._before(k, read[k - self.first]))
                d = d * self._of(f"g{k}")[..., None] if f"g{k}" in self.net.groups else d
                d = d if self.linear else d * (1 - own * own) if self.tanh else d * (own > 0)
            where = self.net.slices[f"W{k}"]
            if learns[:, where].any():
                moved[:, where] = (d @ read[k - self.first].swapaxes(1, 2)).reshape(len(d), -1)
            if f"b{k}" in self.net.groups:
                moved[:, self.net.slices[f"b{k}"]] = d.sum(axis=2)
            d = self._of(f"W{k}").swapaxes(1, 2) @ d
        return np.einsum("bnm,bnm->bn", d, np.broadcast_to(self.signal, d.shape)), np.where(learns, moved, 0)


def _descend(
    layers: _Layers, goal: np.ndarray, loss: str, learns: np.ndarray, how: tuple[int, float, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(theta [batch, size], masks [batch, n], loss [batch]): the best of all steps."""
    steps, lr, seed = how
    theta, count, units = layers.theta, len(layers.theta), layers.signal.shape[1]
    scores = _start(count, units, seed).astype(theta.dtype)
    state = np.zeros((2, count, units + theta.shape[1]), theta.dtype)
    best, kept, least = theta.copy(), scores > 0, np.full(count, np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(1, steps + 2):
            masks = scores > 0
            y, read = layers.outputs(masks.astype(theta.dtype))
            value, d = loss_and_slope(y, goal, loss)
            better = value < least
            best[better], kept[better], least[better] = theta[better], masks[better], value[better]
            if step > steps:
                break
            g = np.concatenate(layers.gradient(d, read, learns), axis=1)
            state[0] += (1 - _ADAM[0]) * (g - state[0])
            state[1] += (1 - _ADAM[1]) * (g * g - state[1])
            mean, square = state[0] / (1 - _ADAM[0] ** step), state[1] / (1 - _ADAM[1] ** step)
            move = lr * mean / (np.sqrt(square) + _ADAM[2])
            scores -= move[:, :units]
            theta -= np.where(learns, move[:, units:], 0)
    return best, kept, least


def _start(count: int, units: int, seed: int) -> np.ndarray:
    """Scores [count, units] at the start."""
    key = np.array([seed, 0], dtype=np.uint64)
    raw = [np.random.Philox(key=key, counter=np.array([0, 0, _STREAM, k], dtype=np.uint64)).random_raw(units) for k in range(count)]
    return _START * (2 * ((np.array(raw) >> np.uint64(11)) * 2.0**-53) - 1)
