"""Exact verdicts (T11) of relu networks that learn in one hidden layer only, at any depth: a search over activation patterns.

A joint pattern fixes which units are on, in the learning layer and in all hidden layers above it, in every sample; whether some weights
give it and match is one linear programme. With unit j's pre-activations u_j = p_j + X_j^T w_j in R^m (p_j its frozen part, X_j [d_j, m]
what its d_j learnable weights read) and v >= 0 the absolute pre-activations of all units, it is C v = e, v >= 0, with

- for every sample o output equations     V (on v)_last = y - c,
- for every sample and unit of a hidden layer l > k     A_l (on v)_{l-1} - sign v_l = -b_l,
- for every unit j of layer k  m - d_j equations     N_j^T (sign_j v_j) = N_j^T p_j,    N_j orthogonal to range(X_j^T).

All joint patterns are searched, depth first, sign by sign: a few signs are fixed, and every pattern that has them is dropped where a
relaxed programme has no solution (compiled: csrc/cpu/activation_patterns.cpp, which says why a yes is a yes and a no a no).

Answers: yes (a solution with a margin; the weights are returned), no (everything that was dropped misses by more than the tolerance),
undecided (neither, or more than MOST programmes). All up to rounding, but a yes is proven afterwards where the weights can be moved
inside their pattern (existence/pattern_proofs.py).
Cost, one core, search and proof: 3-4-4-2, m = 3: 20 to 130 us per trial; 4-8-1, m = 4, biases alone: 0.1 ms; 5-6-6-3, m = 6, 16 weights:
40 ms. Proofs (numpy) are half of it where a third of the trials match.
"""

from __future__ import annotations

import numpy as np

from ..backend.compiled import cpu
from ..model.network import Feedforward, Network
from ..model.reasons import Reason
from .pattern_proofs import prove, reads_nothing
from .verdicts import Verdicts

MOST = 100_000  # programmes of one trial that are solved
_EPS = float(np.finfo(np.float64).eps)
_MOST_SAMPLES = 8  # 2^m patterns are listed per unit
_PROVEN = 256  # matches that are proven side by side


def applies(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [n] for masks bool [n, size]: learnable weights only in one hidden layer (its biases included) of a relu network."""
    if not isinstance(net, Feedforward) or net.extended or net.activation != "relu" or len(net.widths) < 3 or net.samples > _MOST_SAMPLES:
        return np.zeros(len(masks), dtype=bool)
    return _layer(net, masks) > 0


def _layer(net: Feedforward, masks: np.ndarray) -> np.ndarray:
    """int [n]: the hidden layer that holds all learnable weights (the last one if there are none), 0 if there is no such layer."""
    found = np.zeros(len(masks), dtype=np.int64)
    for k in range(1, len(net.widths) - 1):
        other = np.ones(net.size, dtype=bool)
        for name in {f"W{k}", f"b{k}"} & set(net.groups):
            other[net.slices[name]] = False
        found[~masks[:, other].any(axis=1)] = k
    return found


def settle(
    net: Feedforward, theta: np.ndarray, x: np.ndarray, y: np.ndarray, masks: np.ndarray, eps: float = _EPS, threads: int = 0
) -> Verdicts:
    """Verdicts of n trials for which `applies`: theta [n, size], x [n, inputs], y [n, equations]. eps: what the numbers were rounded to;
    where that moves the programmes by more than their tolerance, there is no no. certified: a true solution lies next to theta."""
    answer = Verdicts.undecided(theta, Reason.REGIONS)
    layers = _layer(net, masks)
    for k in np.unique(layers):
        rows = np.flatnonzero(layers == k)
        weights, inputs, targets = (np.ascontiguousarray(a[rows], dtype=np.float64) for a in (theta, x, y))
        match, nothing, found, patterns = cpu.activation_patterns(
            net.shape, weights, inputs, targets, masks[rows], int(k), MOST, eps, threads
        )
        answer.match[rows], answer.theta[rows] = match, found
        silent = rows[nothing]
        if len(silent):
            answer.certified[silent] = reads_nothing(net, k, theta[silent], x[silent], y[silent], masks[silent])
        yes = np.flatnonzero((match == 1) & ~nothing)
        for at in range(0, len(yes), _PROVEN):
            own = yes[at : at + _PROVEN]
            some = rows[own]
            proof = prove(net, k, found[own], x[some], y[some], masks[some], patterns[own])
            answer.theta[some], answer.certified[some] = proof
    return answer
