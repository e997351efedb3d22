"""What does a layer of a network receive and send, and what should change in what the next layer receives?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..model.network import Feedforward
from ..model.strategies import only
from ..ops.jacobian import jacobian, outputs
from ..ops.targets import loss_and_slope

_TOGETHER = 32  # samples of one student in a call, so that samples fill the lanes of the kernels


def activity(activation: str, z: np.ndarray) -> np.ndarray:
    """phi(z), written where z was."""
    return z if activation == "linear" else np.tanh(z, out=z) if activation == "tanh" else np.maximum(z, 0, out=z)


@dataclass(frozen=True, eq=False)
class Layer:
    """below [k, m]: signals below the layer, with a row of ones if it has biases; sent [n, m]: what it sends, with a row of ones if the
    next layer has biases; received [q, m]: pre-activations of the next layer; wanted [q, m]: minus the derivative of the summed loss in
    them; behind: the network from there on."""

    below: np.ndarray
    sent: np.ndarray
    received: np.ndarray
    wanted: np.ndarray
    behind: Behind

    @property
    def loss(self) -> float:
        """The summed loss."""
        return self.behind.loss_at(self.received)


class Behind:
    """The network behind the pre-activations of a layer, as a network of its own: its first layer is the identity."""

    def __init__(self, net: Feedforward, theta: np.ndarray, layer: int, loss: str, goal: np.ndarray) -> None:
        self.loss, self.goal = loss, goal
        self.last = layer == len(net.widths) - 1  # then the pre-activations are the outputs
        if self.last:
            return
        width, name = net.widths[layer], lambda n: f"{n[0]}{int(n[1:]) - layer + 1}"  # W, b of layer + 1 are W2, b2; its g is g1
        later = {n: part for n, part in net.unpack(theta).items() if int(n[1:]) > layer or n == f"g{layer}"}
        biases = ("b1", *(name(n) for n in later if n[0] == "b"))
        gains = tuple(name(n) for n in later if n[0] == "g")
        self.net = replace(net, widths=(width, *net.widths[layer:]), bias=biases, gain=gains)
        first = {"W1": np.eye(width, dtype=theta.dtype), "b1": np.zeros(width, theta.dtype)}
        self.theta = self.net.pack(first | {name(n): part for n, part in later.items()})

    def loss_at(self, received: np.ndarray) -> float:
        """Summed loss of pre-activations [q, m]."""
        f = received if self.last else forward(self.net, self.theta, received)
        return float(loss_and_slope(f[None], self.goal, self.loss)[0][0])

    def losses(self, received: np.ndarray, weights: np.ndarray, sent: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
        """Summed losses float64 [a] of the pre-activations received [q, m] + amplitudes [a] times weights [q, r] @ sent [a or 1, r, m]."""
        if self.last and self.loss == "squared":  # |miss + a w s|^2 from sums over samples, without an array [a, q, m]
            miss, sent, weights = (part.astype(np.float64) for part in (received - self.goal[0], sent, weights))
            if len(sent) == 1:  # w s first: weights may be large and cancel
                moved = weights @ sent[0]
                slope, curve = 2 * np.vdot(miss, moved), np.vdot(moved, moved)
            else:
                slope = (weights * (2 * (miss @ sent.swapaxes(1, 2)))).sum(axis=(1, 2))
                curve = (weights * (weights @ (sent @ sent.swapaxes(1, 2)))).sum(axis=(1, 2))
            return np.asarray((miss * miss).sum() + amplitudes * (slope + amplitudes * curve))
        f = received + amplitudes.astype(received.dtype)[:, None, None] * (weights @ sent)
        return loss_and_slope(f if self.last else outputs(self.net, self.theta, f), self.goal, self.loss)[0]

    def wanted(self, received: np.ndarray) -> np.ndarray:
        """Minus the derivative of the summed loss in the pre-activations [q, m]."""
        f = received if self.last else forward(self.net, self.theta, received)
        slope = -loss_and_slope(f[None], self.goal, self.loss)[1][0]
        if self.last:
            return slope
        one = self.net.at(1)
        J = jacobian(one, self.theta, np.ascontiguousarray(received.T)[:, :, None], only(one, "b1"))  # [m, o, q]
        return np.einsum("moq,om->qm", J, slope)


def forward(net: Feedforward, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The outputs [n_L, m] of one student, its samples as students of a few samples each."""
    m = x.shape[1]
    k = min(_TOGETHER, m)
    padded = np.concatenate([x, np.zeros((len(x), -m % k), x.dtype)], axis=1)
    y = outputs(net.at(k), theta, np.ascontiguousarray(padded.reshape(len(x), -1, k).swapaxes(0, 1)))
    return y.swapaxes(0, 1).reshape(y.shape[1], -1)[:, :m]


def signals(net: Feedforward, parts: dict[str, np.ndarray], x: np.ndarray, layer: int) -> list[np.ndarray]:
    """What layers 0 (x) to `layer` send [n, m], gains included. By BLAS: for the many samples of one student a tenth of the time of the
    kernels, whose lanes are students."""
    sent = [x]
    for k in map(str, range(1, layer + 1)):
        z = parts["W" + k] @ sent[-1]
        h = activity(net.activation, z + parts["b" + k][:, None] if "b" + k in parts else z)
        sent.append(h * parts["g" + k][:, None] if "g" + k in parts else h)
    return sent


def look(net: Feedforward, theta: np.ndarray, x: np.ndarray, goal: np.ndarray, layer: int, loss: str) -> Layer:
    """Layer `layer`, 1 .. L - 1, of one student. goal [o, m]: numbers, or probabilities for the softmax."""
    parts, above = net.unpack(theta), layer + 1
    ones = np.ones((1, x.shape[1]), x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # the loss will tell
        *_, below, sent = signals(net, parts, x, layer)
    if f"b{layer}" in parts:
        below = np.concatenate([below, ones])
    W = parts[f"W{above}"]
    if f"b{above}" in parts:
        sent, W = np.concatenate([sent, ones]), np.concatenate([W, parts[f"b{above}"][:, None]], axis=1)
    behind = Behind(net, theta, above, loss, goal[None])
    with np.errstate(over="ignore", invalid="ignore"):
        received = W @ sent
        wanted = behind.wanted(received)
        if not (np.isfinite(wanted).all() and np.isfinite(behind.loss_at(received))):
            raise ValueError(f"theta: expected a finite loss, got one that overflows behind layer {layer}")
    return Layer(below, sent, received, wanted, behind)
