"""What a group's place in its network implies: which is last, which acts, which makes the first output."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from .network import Feedforward, Network, Recurrent


def plain(net: Network) -> Network:
    """`net` itself, or the linear network in its place if it has no hidden layer to activate."""
    if isinstance(net, Feedforward) and len(net.widths) == 2 and net.activation != "linear":
        return replace(net, activation="linear")
    return net


def has_effect(net: Network) -> np.ndarray:
    """bool [size]: weights that outputs depend on at all. At T = 1 the matrix W meets only h_0 = 0."""
    effect = np.ones(net.size, dtype=bool)
    if isinstance(net, Recurrent) and net.steps == 1:
        effect[net.slices["W"]] = False
    return effect


def without_idle_gains(net: Network, masks: np.ndarray, *weights: np.ndarray) -> Network:
    """The network without its gains where none learns, masks bool [.., size], and all are 1, weights [.., size]; else `net` itself. The
    same question: gains are the last weights of the flat order. More theorems are about it, and kernels know it best."""
    if not net.gain:
        return net
    bare = replace(cast("Feedforward | Recurrent", net), gain=False)
    some = masks[:, bare.size :].any() or any((part[:, bare.size :] != 1).any() for part in weights)
    return net if some else bare


def gains_of_last_hidden_layer(net: Network) -> str | None:
    """Name of the gains in front of the last layer, None where there are none. At T > 1 those of a recurrent network act earlier too."""
    if isinstance(net, Recurrent):
        return "g" if net.gain and net.steps == 1 else None
    name = f"g{len(net.widths) - 2}"
    return name if name in net.gain else None


def last_layer(net: Network) -> tuple[str, str | None]:
    """Names of the last layer's matrix and of the output bias, None if the network has no output bias."""
    matrix, bias = ("D", "c") if isinstance(net, Recurrent) else (f"W{len(net.widths) - 1}", f"b{len(net.widths) - 1}")
    return matrix, bias if bias in net.bias else None


def first_output_right(net: Network, shared: tuple[str, ...]) -> bool:
    """Recurrent: y_1 = D phi(B x_1 + b) + c is the teacher's in every sequence, because every group in it is shared."""
    return all(name in shared for name in net.groups if name != "W")
