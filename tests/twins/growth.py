"""Slow twins of growth: reduced-rank regression by plain projectors, and greedy choice by one least squares fit per candidate."""

import numpy as np

from .networks import PHI


def projector(H):
    """Onto the rows of H."""
    return np.linalg.pinv(H, rcond=1e-10) @ H


def values(V, G, H, form):
    """Singular values L: what the best linear maps of G of rank 1, 2, .. take away from V (raw), of V (I - P) (projected), or of V (I - P)
    by G (I - P) (joint), are the squares of the singular values of the target within the rows of the signals."""
    m = V.shape[1]
    rest = np.eye(m) - (0 if form == "raw" else projector(H))
    target, signals = V @ rest, G @ rest if form == "joint" else G
    return np.linalg.svd(target @ projector(signals), compute_uv=False) / np.sqrt(m)


def left(rows, V):
    """Sum of squares of what the least squares fit of V by rows leaves."""
    return float(((V - V @ projector(rows)) ** 2).sum())


def chosen(A, H, V, count):
    """Greedy: each time the candidate with which H, those before and it leave least of V."""
    found = []
    for _ in range(count):
        open_ = [k for k in range(len(A)) if k not in found]
        found.append(min(open_, key=lambda k: left(np.concatenate([H, A[found], A[[k]]]), V)))
    return found


def moved(new, G, H, activation, eta):
    """What a step eta along new neurons (and dW in the joint form, where H is given) changes in what the next layer receives."""
    sent = PHI[activation](np.sqrt(eta) * new.incoming @ G)
    return np.sqrt(eta) * new.outgoing.T @ sent + (0 if H is None else eta * new.dW @ H)
