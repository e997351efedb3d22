"""Proofs of relu matches (T11) near numerical ones: the equations of the active pattern are solved with error bounds, compiled
(csrc/method/pattern_proof.h).

One hidden layer learns: within a pattern the outputs are affine in its weights. A square part of the equations, at the weights with the
best pivots, is solved in balls of some 30 digits; then all hidden units are evaluated at the enclosed solution, and every sign must hold by
more than the error bound. The last layer learns: a linear system per row.
"""

from __future__ import annotations

import numpy as np

from ..backend.compiled import cpu
from ..model.network import Feedforward, Network


def prove(
    net: Feedforward, k: int, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, patterns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(theta polished, proven bool [b]) for theta [b, size] near solutions; layer k learns, and the units of it and of all hidden layers
    above are on as in patterns bool [b, m, total].

    A sample in which a whole layer is off has a fixed output: the target must be exactly that, which is known where it is the last bias
    or zero. The others give o equations each, of which there must be no more than learnable weights.
    """
    return cpu.pattern_proof(net.shape, k, theta, *_flat(x, y), masks, patterns, False, 1)


def reads_nothing(net: Feedforward, k: int, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """bool [b]: is every product of a frozen weight of layer k with what it reads exactly zero, and so is the target? Sums are not looked
    at: in floating point they vanish where they should not."""
    return cpu.pattern_proof(net.shape, k, theta, *_flat(x, y), masks, None, True, 1)[1]


def prove_last(net: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(theta, proven bool [b]) for feedforward networks that learn in the last layer only, theta [b, size] near solutions.

    Samples with every feature exactly zero need a target of exactly zero; the others are solved, if each row can learn as many weights.
    """
    if not isinstance(net, Feedforward) or net.extended:
        return theta.copy(), np.zeros(len(theta), dtype=bool)
    return cpu.pattern_proof(net.shape, len(net.widths) - 1, theta, *_flat(x, y), masks, None, False, 1)


def _flat(*rows: np.ndarray) -> list[np.ndarray]:
    return [part.reshape(len(part), -1) for part in rows]
