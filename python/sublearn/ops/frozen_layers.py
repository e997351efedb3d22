"""Which first layers does no student learn in, and what do they send on? A fit then has activities for inputs, and fewer layers.

They are computed once, not in every step, and once for all tasks where weights and inputs are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ..backend.kernels import Kernels
from ..model.network import Feedforward, Network

_MOST_BYTES = 2**29  # of activities; beyond it they are computed in every step
_LEAST_LAYERS = 3  # with two, the kernel for one hidden layer keeps what is frozen by itself


@dataclass(frozen=True, eq=False)
class Shortened:
    """net: the layers behind the frozen ones; front: these, and a last layer that changes nothing; positions int64 [net.size]: where its
    weights are in the whole network."""

    net: Feedforward
    front: Feedforward
    whole: Network
    positions: np.ndarray

    def inputs(self, kernels: Kernels, rows: np.ndarray, x: np.ndarray, threads: int) -> np.ndarray:
        """[n, ..]: the activities of rows [n or 1, size] of the whole network at x [n or 1, ..]."""
        front, width = self.front, self.front.widths[-1]
        theta = np.zeros((len(rows), front.size), rows.dtype)
        for name, where in front.slices.items():
            if name != f"W{len(front.widths) - 1}":
                theta[:, where] = rows[:, self.whole.slices[name]]
        theta[:, front.slices[f"W{len(front.widths) - 1}"]] = np.eye(width, dtype=rows.dtype).reshape(-1)
        samples = x.shape[1] // front.widths[0]
        return kernels.outputs(front.at(samples).shape, theta, x, threads)

    def weights(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows[:, self.positions])

    def indices(self, indices: np.ndarray) -> np.ndarray:
        """int32 of the same shape: places in the shorter network; what is no place in the whole one is none there."""
        place = np.full(self.whole.size + 1, self.net.size, dtype=np.int32)
        place[self.positions] = np.arange(self.net.size)
        return place[indices]

    def whole_theta(self, rows: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """theta [n, net.size] with the frozen weights of rows [n or 1, size]."""
        found = np.array(np.broadcast_to(rows, (len(theta), self.whole.size)))
        found[:, self.positions] = theta
        return found


def shortened(net: Network, masks: np.ndarray, rows: int, itemsize: int) -> Shortened | None:
    """masks bool [.., size]; rows: how many students have activities of their own, of numbers of so many bytes. None where the first
    layer learns, or nothing is gained."""
    if not isinstance(net, Feedforward) or len(net.widths) - 1 < _LEAST_LAYERS:
        return None
    layers = len(net.widths) - 1
    learns = np.atleast_1d(masks.reshape(-1, net.size).any(axis=0))
    frozen = 0
    while frozen < layers - 1:
        names = [name for name in (f"W{frozen + 1}", f"b{frozen + 1}", f"g{frozen + 1}") if name in net.slices]
        if any(learns[net.slices[name]].any() for name in names):
            break
        frozen += 1
    if frozen == 0 or rows * net.widths[frozen] * net.samples * itemsize > _MOST_BYTES:
        return None
    behind = {f"{kind}{layer}": f"{kind}{layer - frozen}" for kind in "Wbg" for layer in range(frozen + 1, layers + 1)}
    kept = [name for name in net.groups if name in behind]
    biases, gains = cast("tuple[str, ...]", net.bias), cast("tuple[str, ...]", net.gain)
    after = lambda names: tuple(behind[name] for name in names if name in behind)  # noqa: E731
    before = lambda names: tuple(name for name in names if name not in behind)  # noqa: E731
    short = replace(net, widths=net.widths[frozen:], bias=after(biases), gain=after(gains))
    front = replace(net, widths=(*net.widths[: frozen + 1], net.widths[frozen]), bias=before(biases), gain=before(gains))
    positions = np.concatenate([np.arange(net.slices[name].start, net.slices[name].stop) for name in kept])
    assert [behind[name] for name in kept] == list(short.groups)
    return Shortened(short, front, net, positions)
