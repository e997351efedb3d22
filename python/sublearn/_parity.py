"""The parity of the degree (T8): an odd number of complex solutions has a real one, so MP = 1; square parts of an allocation too (T9).

Degrees are counted by monodromy (continuation.py), many masks side by side; linear networks.
"""

from __future__ import annotations

import numpy as np

from .continuation import monodromy, system_of
from .generic import attained_ranks
from .network import Network

ERROR = 1e-6  # of monodromy's stopping rule
_MOST = 2000  # complex solutions; systems with more stay uncounted
_TOGETHER = 64  # systems whose solutions are counted side by side
_PARTS = 8  # square parts of one mask whose degree is counted
_DRAWN = 16  # parts drawn for each that is looked at; those of full rank are kept


def degrees_of(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> np.ndarray:
    """delta (D7) int64 [k] of masks bool [k, size] with r = rho = kappa; -1 where the loops did not settle or found too many."""
    system = system_of(net, shared)
    degrees = np.full(len(masks), -1, dtype=np.int64)
    for start in range(0, len(masks), _TOGETHER):
        base = monodromy(system, masks[start : start + _TOGETHER], error=ERROR, most=_MOST)
        degrees[start : start + _TOGETHER] = np.where(base.complete & (base.found <= _MOST), base.found, -1)
    return degrees


def odd_parts(net: Network, masks: np.ndarray, shared: tuple[str, ...], kappa: int) -> tuple[np.ndarray, np.ndarray]:
    """(degrees int64 [k], 0 where none was found, parts bool [k, size]): a square part with an odd degree of masks with r > rho = kappa.

    Up to 8 random parts of full rank are counted for each mask, one after the other for those left.
    """
    rng = np.random.default_rng([net.size, kappa])
    k = len(masks)
    odd, parts = np.zeros(k, dtype=np.int64), np.zeros_like(masks)
    for _ in range(_PARTS):
        left = np.flatnonzero(odd == 0)
        if not len(left):
            break
        drawn = _square_parts(net, masks[left], shared, kappa, rng)
        there = drawn.any(axis=1)
        degrees = degrees_of(net, drawn[there], shared)
        good = degrees % 2 == 1
        good &= degrees > 0
        rows = left[there][good]
        odd[rows], parts[rows] = degrees[good], drawn[there][good]
    return odd, parts


def _square_parts(net: Network, masks: np.ndarray, shared: tuple[str, ...], kappa: int, rng: np.random.Generator) -> np.ndarray:
    """bool [k, size]: a random part of kappa weights with rank kappa of every mask, nothing where none was drawn."""
    parts = np.zeros_like(masks)
    left = np.arange(len(masks))
    for _ in range(_DRAWN):
        order = np.argsort(np.where(masks[left], rng.random((len(left), masks.shape[1])), 2.0), axis=1)[:, :kappa]
        drawn = np.zeros((len(left), masks.shape[1]), dtype=bool)
        np.put_along_axis(drawn, order, True, axis=1)
        full = attained_ranks(net, drawn, shared) == kappa
        parts[left[full]] = drawn[full]
        left = left[~full]
        if not len(left):
            break
    return parts
