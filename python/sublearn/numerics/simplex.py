"""Linear feasibility in batches: is there v >= 0 with C v = e? Phase one of the simplex method, all programmes side by side.

C [b, r, k], e [b, r] with entries of order one; variables are scaled by nothing else. Artificials a >= 0 in C' v + a = e' (rows turned so
that e' >= 0) are driven out; the most negative reduced cost enters and the largest pivot leaves, after 3 r steps the first of each (Bland),
so it ends.
Cost: one pass over the tableaux [b, r + 1, k + 1] per step, some r steps: 10 to 60 us per programme of 5 to 18 rows, in batches.
"""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-9  # relative to the sizes in a programme: smaller margins are undecided
_TINY, _PIVOT = 1e-11, 1e-9  # least reduced cost, least pivot
_FARKAS = (
    4e-15  # what rounding may leave of C^T g, relative to |C|^T |g| + max |g| / 10: only v above 1e5 could make up for a miss of TOLERANCE
)


def feasible(C: np.ndarray, e: np.ndarray, margin: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(status int8 [b], v [b, k]) of C v = e, v >= margin, for C [b, r, k] and e [b, r].

    status 0: every v >= margin misses by more than TOLERANCE (in the sum of absolute values), by a combination of the equations that
    shows it (Farkas). 1: a solution v; where margin is 0 a basic one whose basic entries are all above TOLERANCE, so that small changes
    of e do not matter. -1: neither.
    """
    b, r, k = C.shape
    status, out = np.full(b, -1, dtype=np.int8), np.zeros((b, k))
    if not b:
        return status, out
    # Variables of one size, by powers of two: a small column is no zero, its variable may be large.
    most = np.abs(C).max(axis=1, initial=0.0)
    unit = np.where((most > 0) & (most < 2.0**-8), np.ldexp(1.0, -np.frexp(most)[1]), 1.0)
    C = C * unit[:, None]
    if margin:
        e = e - margin * C.sum(axis=2)
    sign = np.where(e < 0, -1.0, 1.0)
    T = np.concatenate([C * sign[:, :, None], (e * sign)[:, :, None]], axis=2)
    T = np.concatenate([T, -T.sum(axis=1, keepdims=True)], axis=1)  # last row: reduced costs and minus the sum of artificials
    basis = np.repeat(k + np.arange(r)[None], b, axis=0)  # k + row: artificial
    place, early = np.arange(b), 3 * r
    for step in range(60 * (r + 1)):
        cost = T[:, -1, :k]
        enter = cost.argmin(axis=1) if step < early else (cost < -_TINY).argmax(axis=1)
        at = np.arange(len(T))
        column = T[at, :, enter]
        can = column[:, :-1] > _PIVOT
        going = (cost[at, enter] < -_TINY) & can.any(axis=1)
        if not going.all():
            done = ~going
            some = place[done]
            status[some], v = _conclude(C[some], e[some], sign[some], T[done], basis[done], margin)
            out[some] = v * unit[some]
            T, basis, place, column, can, enter = (a[going] for a in (T, basis, place, column, can, enter))
            if not len(T):
                break
            at = np.arange(len(T))
        ratio = np.where(can, np.maximum(T[:, :-1, -1], 0.0) / np.where(can, column[:, :-1], 1.0), np.inf)
        least = ratio.min(axis=1, keepdims=True)
        tied = ratio <= least * (1 + 1e-12) + 1e-300  # often: equations with right side 0. Large pivots lose least to rounding
        leave = np.where(tied, column[:, :-1], 0.0).argmax(axis=1) if step < early else np.where(tied, basis, 10**9).argmin(axis=1)
        row = T[at, leave] / column[at, leave][:, None]
        T -= column[:, :, None] * row[:, None, :]
        T[at, leave] = row
        basis[at, leave] = enter
    return status, out


def _conclude(C, e, sign, T, basis, margin) -> tuple[np.ndarray, np.ndarray]:
    b, r, k = C.shape
    status, out = np.full(b, -1, dtype=np.int8), np.zeros((b, k))
    missing = -T[:, -1, -1]
    no = np.flatnonzero(missing > TOLERANCE)
    status[no[_refuted(C[no] * sign[no, :, None], e[no] * sign[no], basis[no])]] = 0
    for q in np.flatnonzero(missing <= TOLERANCE):
        own = basis[q] < k
        # An artificial that stays at zero is harmless where its equation has become 0 = 0, and where all entries may move both ways.
        if not margin and (np.abs(T[q, :-1, :k][~own]) > 1e-9).any():
            continue
        used = C[q][:, basis[q][own]]
        v = np.linalg.lstsq(used, e[q], rcond=None)[0]
        size = max(1.0, v.max(initial=1.0))
        least = -0.5 * margin if margin else TOLERANCE * size
        if v.min(initial=size) > least and np.abs(used @ v - e[q]).max() < 1e-3 * TOLERANCE * size:
            out[q, basis[q][own]] = v
            out[q] += margin
            status[q] = 1
    return status, out


def _refuted(C: np.ndarray, e: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """bool [b]: do the dual values g of the last basis, computed afresh, prove infeasibility: C^T g <= 0, e g > TOLERANCE max |g|?"""
    b, r, k = C.shape
    whole = np.concatenate([C, np.broadcast_to(np.eye(r), (b, r, r))], axis=2)
    B = np.take_along_axis(whole, basis[:, None, :], axis=2)
    cost = (basis >= k).astype(float)
    try:
        g = np.linalg.solve(np.swapaxes(B, 1, 2), cost[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:  # one of the bases is singular to the last digit
        g = np.stack([np.linalg.lstsq(part.T, c, rcond=None)[0] for part, c in zip(B, cost)])
    size = np.maximum(1.0, np.abs(g).max(axis=1, initial=1.0))
    rounding = _FARKAS * (np.einsum("br,brk->bk", np.abs(g), np.abs(C)) + 0.1 * size[:, None])
    return (np.einsum("br,brk->bk", g, C) <= rounding).all(axis=1) & ((g * e).sum(axis=1) > TOLERANCE * size)
