"""Which new neurons are tried, and which of them, with their true activities, leave the least?"""

from __future__ import annotations

import numpy as np

from .layer import activity
from .missing import CUT, Missing
from .neurons import singular_vectors

_STREAM = 3  # of the counter: 0 starts of trajectories, 1 splits of pictures (data/), 2 masks (ops/)


def random_incoming(missing: Missing, biased: bool, count: int, key: tuple[int, int, int]) -> np.ndarray:
    """Incoming weights [count, k]: uniform, the bias such that pre-activations have the mean 0 on the data, all scaled to a root mean
    square of 1 there. key = (seed, width, student): raw numbers of numpy's Philox, key (seed, 0), counter (0, width, 3, student)."""
    seed, width, student = key
    philox = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=np.array([0, width, _STREAM, student], np.uint64))
    free = len(missing.G) - biased
    incoming = np.zeros((count, len(missing.G)))
    incoming[:, :free] = (philox.random_raw(count * free).reshape(count, free) >> np.uint64(11)) * 2.0**-52 - 1
    if biased:
        incoming[:, -1] = -incoming @ missing.G.mean(axis=1)
    return missing.sized(incoming)


def best_of_pool(missing: Missing, phi: str, extra: int, random: np.ndarray, sizes: tuple[float, ...], refit: bool) -> np.ndarray:
    """Incoming weights [extra, k] of the best of a pool: singular vectors in all sizes (relu: with both signs) and random ones. The vectors
    are of the joint form where H's weights are refitted; without a refit what such vectors have in common with H would only disturb.

    They are compared in float32, whatever the network has: hyperbolic tangents in float64 take twenty times as long."""
    vectors, _, values = singular_vectors(missing, min(len(missing.G), len(missing.V)), "joint" if refit else "projected")
    vectors = missing.sized(vectors[values > 0])
    every = np.concatenate([*(size * vectors for size in ((1.0, -1.0) if phi == "relu" else sizes)), random])
    unit, G = missing.single
    A = activity(phi, (every * unit).astype(np.float32) @ G)
    chosen = choose(A, missing.Q, missing.target / (np.abs(missing.target).max() or 1.0), extra)
    others = [k for k in range(len(every) - 1, -1, -1) if k not in chosen]  # random ones, should all be in the span of H
    return every[chosen + others[: extra - len(chosen)]]


def choose(A: np.ndarray, Q: np.ndarray, target: np.ndarray, count: int) -> list[int]:
    """Positions of up to `count` rows of A [candidates, m], one after the other the one with which a linear fit of the target [q, m],
    which is orthogonal to the rows of Q, removes most (orthogonal least squares). Rows of which those and Q leave next to nothing (100
    roundings of their squared length) are left out: what rounding makes of them would win.

    What is left of the rows is never written down: their squared lengths and their products with the target lose what each new direction u
    takes, (A u)^2 and (A u) (target u); a step costs one product A u.
    """
    basis, target = Q.astype(A.dtype), target.astype(A.dtype)
    along_basis, product = np.split(A @ np.concatenate([basis, target]).T, [len(basis)], axis=1)
    square = np.einsum("cm,cm->c", A, A)
    left = square - (along_basis**2).sum(axis=1)
    least = max(CUT, 100 * float(np.finfo(A.dtype).eps)) * square
    chosen: list[int] = []
    for _ in range(count):
        gain = np.divide((product**2).sum(axis=1), left, out=np.zeros_like(left), where=left > least)
        best = int(gain.argmax())
        if not gain[best] > 0:
            break
        chosen.append(best)
        u = A[best]
        for _ in range(2):  # the second time takes away what rounding left
            u = u - (u @ basis.T) @ basis
        u = u / np.linalg.norm(u)
        along = A @ u
        left, product = left - along**2, product - np.outer(along, target @ u)
        left[best] = 0
        basis = np.concatenate([basis, u[None]])
    return chosen
