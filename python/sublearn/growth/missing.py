"""What can a layer not give of what is wanted, and what would a refit of its outgoing weights give?"""

from __future__ import annotations

import numpy as np

CUT = 1e-10  # relative: directions of H and of S, and what must be left of a candidate
_NOISE = 1e-9  # relative to a length: rounding, in float64
_FLAT = 1e-7  # the same of roots of sums of squares that cancel


class Missing:
    """V [.., q, m], G [.., k, m], H [.., n, m] as in `new_neurons`, in float64, and what they imply:

    S = G G^T / m; Q [.., r, m], an orthonormal basis of the rows of H, with 0 for those that H has not, and C [.., r, n] with
    V H^+ = along C, along = V Q^T; target V' = V - along Q. Without H there are only V, G and S.
    """

    def __init__(self, V: np.ndarray, G: np.ndarray, H: np.ndarray | None, cut: float = CUT) -> None:
        self._given = G
        self.V, self.G = (part.astype(np.float64, copy=False) for part in (V, G))
        with np.errstate(over="ignore", invalid="ignore"):
            self.S = self.G @ transposed(self.G) / G.shape[-1]
            if not (np.isfinite(self.S).all() and np.isfinite(np.vdot(self.V, self.V))):
                raise ValueError("V, G: expected signals of ordinary size, got some whose squares overflow")
        if H is not None:
            tall = transposed(H).astype(np.float64, copy=False)  # its decomposition takes less than half the time of a flat one
            Q, s, U = np.linalg.svd(tall, full_matrices=False)
            kept = s > max(cut, 10 * float(np.finfo(H.dtype).eps)) * s[..., :1]
            self.Q = transposed(Q) * kept[..., None]
            self.C = np.divide(1.0, s, out=np.zeros_like(s), where=kept)[..., None] * U
            self.along = self.V @ transposed(self.Q)
            self.target = self.V - self.along @ self.Q

    @property
    def single(self) -> tuple[float, np.ndarray]:
        """(unit, G / unit in float32, of ordinary size)."""
        unit = float(np.abs(self._given).max()) or 1.0
        if self._given.dtype == np.float32 and 1e-15 < unit < 1e15:
            return 1.0, self._given
        return unit, (self.G / unit).astype(np.float32)

    def sized(self, incoming: np.ndarray) -> np.ndarray:
        """Incoming weights [count, k] scaled to pre-activations of root mean square 1; those without any effect but rounding stay."""
        size = np.sqrt(np.maximum(((incoming @ self.S) * incoming).sum(axis=1, keepdims=True), 0))
        least = _FLAT * np.sqrt((incoming * incoming).sum(axis=1, keepdims=True) * self.S.trace())
        return np.divide(incoming, size, out=incoming.copy(), where=size > least)

    def refitted(self, incoming: np.ndarray, A: np.ndarray) -> np.ndarray:
        """[q, K + n]: outgoing weights of neurons with activities A [K, m], and dW: the least squares fit of V by A and H together."""
        outgoing = self._fit(incoming, A, A - (A @ self.Q.T) @ self.Q, self.target)
        return np.concatenate([outgoing, (self.along - (outgoing @ A) @ self.Q.T) @ self.C], axis=1)

    def fitted(self, incoming: np.ndarray, A: np.ndarray) -> np.ndarray:
        """[q, K]: outgoing weights of neurons with activities A [K, m] alone, the least squares fit of V; that of V' might raise the
        loss."""
        return self._fit(incoming, A, A, self.V)

    def _fit(self, incoming: np.ndarray, A: np.ndarray, rest: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The least squares fit [q, K] of the target by what is left of the rows of A. What rounding may have made gets no weights, they
        would be huge: activities that are small beside what they are sums of, and what is left that is small beside activities."""
        eps, size = float(np.finfo(self._given.dtype).eps), np.sqrt((A * A).sum(axis=1, keepdims=True))
        terms = np.sqrt((incoming * incoming).sum(axis=1, keepdims=True) * self.S.trace() * A.shape[1])
        true = size > max(_NOISE, 1e3 * eps) * terms
        U, s, Vt = np.linalg.svd(np.divide(rest, size, out=np.zeros_like(rest), where=true).T, full_matrices=False)
        inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s > max(_NOISE, 100 * eps))
        return np.divide(((target @ U) * inverse) @ Vt, size.T, out=np.zeros((len(target), len(A))), where=true.T)


def transposed(a: np.ndarray) -> np.ndarray:
    """The last two axes exchanged."""
    return a.swapaxes(-1, -2)
