"""One growth of one network: which neurons are added, how large, and what becomes of the weights?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..model.network import Feedforward
from .candidates import best_of_pool, random_incoming
from .layer import Layer, activity
from .missing import Missing
from .neurons import decompose

_AMPLITUDES = np.array([0.0, *(2.0**k for k in range(-8, 5))])


@dataclass(frozen=True)
class Rules:
    """How a layer grows: the arguments of `grow_network`, checked.

    sizes: root mean squares of pre-activations at which singular vectors are tried (linear and relu have no scale of their own)."""

    form: str
    layer: int
    candidates: int
    refit: bool
    preserve: bool
    sizes: tuple[float, ...]
    seed: int


@dataclass(frozen=True, eq=False)
class Addition:
    """incoming [K, k], outgoing [K, q], dW [q, n] as in `NewNeurons`, the amplitude already in them, and the summed loss with them."""

    incoming: np.ndarray
    outgoing: np.ndarray
    dW: np.ndarray
    amplitude: float
    loss: float


def propose(layer: Layer, net: Feedforward, extra: int, rules: Rules, student: int) -> Addition:
    """`extra` neurons for the layer, with the amplitude of the least loss."""
    missing, phi = Missing(layer.wanted, layer.below, layer.sent), net.activation
    draw = lambda count: random_incoming(  # noqa: E731
        missing, f"b{rules.layer}" in net.groups, count, (rules.seed, net.widths[rules.layer], student)
    )
    outgoing = np.zeros((extra, len(missing.V)))
    own = rules.form != "pool" and not (rules.refit or rules.preserve)  # the lengths of incoming weights, and their outgoing ones
    if rules.form == "pool":
        incoming = best_of_pool(missing, phi, extra, draw(max(rules.candidates, extra)), rules.sizes, rules.refit)
    else:
        new = decompose(missing, extra, rules.form, phi == "relu")
        incoming = new.incoming if own else missing.sized(new.incoming)
        if not new.values.all():  # nothing more to gain: random ones, to which no weights go
            incoming = np.where(new.values[:, None] > 0, incoming, draw(extra))
        outgoing = new.outgoing
    if rules.preserve:
        return _searched(layer, phi, incoming, np.zeros_like(outgoing).T, False, _AMPLITUDES[:1])
    if own:
        return _searched(layer, phi, incoming, outgoing.T, True, _AMPLITUDES)
    found = []
    for size in rules.sizes if rules.refit and rules.form != "pool" else (1.0,):
        scaled = size * incoming
        A = activity(phi, scaled @ missing.G)
        weights = missing.refitted(scaled, A) if rules.refit else missing.fitted(scaled, A)
        found.append(_searched(layer, phi, scaled, weights, False, _AMPLITUDES))
    return min(found, key=lambda addition: addition.loss)


def _searched(layer: Layer, phi: str, incoming: np.ndarray, weights: np.ndarray, both: bool, amplitudes: np.ndarray) -> Addition:
    """The neurons at the amplitude with the least true loss. weights [q, K] are outgoing, or [q, K + n] with dW behind; the amplitude
    multiplies them, with `both` the incoming weights as well. At 0 these stay as they are, so that training has something to build on."""
    dtype, (extra, width) = layer.received.dtype, (len(incoming), len(layer.sent))
    a = amplitudes.astype(dtype)[:, None, None]
    z = (incoming.astype(dtype) @ layer.below)[None]
    sent, rounded = activity(phi, a * z if both else z), weights.astype(dtype)
    if weights.shape[1] > extra:
        sent = np.concatenate([sent, layer.sent[None]], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        losses = layer.behind.losses(layer.received, rounded, sent, amplitudes)
        best = int(np.where(np.isfinite(losses), losses, np.inf).argmin())
        loss = layer.behind.loss_at(layer.received + (a[best] * rounded) @ sent[best if both else 0])
        if not loss <= losses[0]:  # sums of products of the losses cancelled
            best, loss = 0, layer.loss
    scale = float(amplitudes[best])
    weights = weights * scale
    dW = weights[:, extra:] if weights.shape[1] > extra else np.zeros((len(weights), width))
    return Addition(incoming * scale if both and scale else incoming, weights[:, :extra].T, dW, scale, loss)


def widened(net: Feedforward, layer: int, extra: int) -> Feedforward:
    """The network with `extra` more neurons in a layer."""
    return replace(net, widths=(*net.widths[:layer], net.widths[layer] + extra, *net.widths[layer + 1 :]))


def with_neurons(net: Feedforward, wider: Feedforward, theta: np.ndarray, layer: int, new: Addition) -> np.ndarray:
    """theta [size] of the wider network: new neurons come behind those there are, their gains are 1."""
    parts, here, above = dict(net.unpack(theta)), str(layer), str(layer + 1)
    n, k, extra = net.widths[layer], net.widths[layer - 1], len(new.incoming)
    incoming, outgoing, dW = (part.astype(theta.dtype) for part in (new.incoming, new.outgoing, new.dW))
    parts["W" + here] = np.concatenate([parts["W" + here], incoming[:, :k]])
    parts["W" + above] = np.concatenate([parts["W" + above] + dW[:, :n], outgoing.T], axis=1)
    for name, more in (("b" + here, incoming[:, k:].ravel()), ("g" + here, np.ones(extra, theta.dtype))):
        if name in parts:
            parts[name] = np.concatenate([parts[name], more])
    if "b" + above in parts:
        parts["b" + above] = parts["b" + above] + dW[:, n]
    return wider.pack(parts)
