"""Certified solutions: is there a true real solution next to a numerical one (section 3)? Krawczyk's test in ball arithmetic.

The proof is about the float64 numbers given (theta, x, y taken as exact) and about the equations `rows`; it covers rounding errors.
Equations that no learnable weight reaches are not part of it. In saturated systems (more equations than kappa that depend on weights)
a rounded target lies off the reachable outputs, so nothing can be certified there.
"""

from __future__ import annotations

import numpy as np

from . import _cpu
from .network import Network


def certify(net: Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray, indices: np.ndarray, rows: np.ndarray,
            threads: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(theta [batch, size] polished at indices, radius [batch]) for theta [batch, size] near solutions of f(theta; x) = y at `rows`.

    x [batch, inputs], y [batch, equations] float64; indices int32 [batch, k], rows int32 [k]. radius >= 0: exactly one
    solution lies within radius of every learnable weight of the returned theta, and it is real. radius -1: the test failed, which
    proves nothing. A linear network.
    """
    polished, radius = _cpu.certify(net.shape, np.ascontiguousarray(theta), np.ascontiguousarray(x), np.ascontiguousarray(y),
                                    np.ascontiguousarray(indices), rows, threads)
    out = theta.copy()
    proven = radius >= 0
    np.put_along_axis(out, indices.astype(np.int64), np.where(proven[:, None], polished, np.take_along_axis(theta, indices.astype(np.int64), 1)), axis=1)
    return out, radius
