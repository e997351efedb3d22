"""Is there a vector exactly orthogonal to some rows, next to a given one? The rows may be known up to errors only."""

from __future__ import annotations

import numpy as np

_UNIT = 2.0**-53
_LEAST = 2.0**-960  # of what is smaller, rounding may be no small part
_GRAIN = 2.0**30  # directions are whole multiples of 1 / _GRAIN where they can be: sums of them are exact


def grained(u: np.ndarray) -> np.ndarray:
    """u, scaled to a largest entry of 1, in whole multiples of 2^-30."""
    return np.rint(u * (_GRAIN / max(float(np.abs(u).max(initial=0.0)), 1e-300))) / _GRAIN


def orthogonal(u: np.ndarray, rows: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(v [e], error [e]) near u [e]: for all rows that differ from `rows` [q, e] by at most `errors` there is a vector that is exactly
    orthogonal to them and differs from v by at most `error`; None where that is not proven (rows that nearly depend on each other).

    With C the true rows and B q of the columns, v + d is such a vector for d_B = -C_B^-1 C v, d = 0 elsewhere. With R near C_B^-1 and
    E = I - R C_B, row sums of |E| at most h < 1, C_B is invertible and max |d_B| <= max |R C v| / (1 - h); C v, R and E are taken with
    bounds of their rounding. Rows of zeros and ones that have a u_i of their own change u in that one, exactly: the error is 0.
    """
    from scipy.linalg import qr

    if not len(rows):
        return u, np.zeros_like(u)
    largest = np.abs(rows).max(axis=1)
    if len(rows) > len(u) or not (np.isfinite(rows).all() and np.isfinite(errors).all() and (largest > _LEAST).all()):
        return None
    size = np.ldexp(1.0, -np.frexp(largest)[1])[:, None]  # rows of ordinary size
    rows, errors = rows * size, errors * size + 2.0**-1000
    plain = not (errors > 2.0**-1000).any() and bool(np.isin(rows, (0.0, 0.5)).all()) and bool(((rows > 0).sum(axis=0) <= 1).all())
    if plain:  # sums of entries that no two rows share
        v = u.copy()
        for row in rows > 0:
            one = np.flatnonzero(row)[np.abs(v[row]).argmax()]
            v[one] -= v[row].sum()
        if (v * _GRAIN == np.rint(v * _GRAIN)).all():
            return v, np.zeros_like(u)
    v = u.copy()
    for _ in range(2):
        v = v - np.linalg.lstsq(rows, rows @ v, rcond=1e-12)[0]
    count = len(rows)
    columns = qr(rows, mode="r", pivoting=True)[1][:count]
    square = rows[:, columns]
    if np.linalg.matrix_rank(square) < count:
        return None
    inverse = np.linalg.inv(square)
    off = np.abs(np.eye(count) - inverse @ square) + (count + 4) * _UNIT * (np.abs(inverse) @ np.abs(square) + 1)
    off += np.abs(inverse) @ errors[:, columns]
    most = float(off.sum(axis=1).max()) * (1 + 1e-9)
    left = np.abs(rows @ v) + (len(v) + 4) * _UNIT * (np.abs(rows) @ np.abs(v)) + errors @ np.abs(v)
    moved = float((np.abs(inverse) @ left).max()) * (1 + 1e-9)
    if not (most < 0.5 and np.isfinite(moved)):
        return None
    error = np.zeros_like(u)
    error[columns] = moved / (1 - most) * (1 + 1e-9) + 2.0**-1000
    return v, error
