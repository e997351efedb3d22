"""Columns of a real matrix, reduced as those mod p are (numerics/matroid.py), where what is shorter than the noise counts as zero.

The set of members is kept by an orthonormal basis Q of its span. A column c is independent of the members where what Q leaves of it,
|c - sum of t_j m_j|, is longer than noise sqrt(1 + |t|^2): every column is known up to `noise`, and members that are nearly parallel make
errors t times as large. Where columns in doubt, longer than the noise but not that long, are needed to reach the rank that singular values
give a set, they count as independent. A member j is needed to make up c where |t_j| d_j is longer than that, with d_j the distance of m_j
from the span of the other members: without it so much would be missing.

Cost: k members among n columns of r entries that are looked at in turn take 4 r k n multiplications in blocks (matrix products), the whole
table once 2 r^2 n, when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .matroid import Tableau

_BLOCK = 256  # columns whose remainders are taken together
_TABLE_BLOCK = 4096


class RealTableau(Tableau):
    """A real matrix [rows, n] as a `Tableau`. columns: float, shared by all copies. noise: length up to which what is left of a column
    counts as zero. most: members that are added at most, where the rank is known; the rest are dependent by decree."""

    def __init__(self, columns: np.ndarray, noise: float, most: int | None = None) -> None:
        rows, n = columns.shape
        self.columns, self.noise = columns, noise
        self.most = min(rows, n) if most is None else most
        self.held = np.full(rows, -1, dtype=np.int64)
        self.row_of = np.full(n, -1, dtype=np.int64)
        self._span: tuple[np.ndarray, np.ndarray] | None = np.zeros((rows, 0)), np.zeros((0, 0))  # None: to be found anew
        self._whole: np.ndarray | None = None

    def copy(self) -> RealTableau:
        other = RealTableau(self.columns, self.noise, self.most)
        other.held, other.row_of = self.held.copy(), self.row_of.copy()
        other._span, other._whole = self._span, self._whole
        return other

    def restart(self, elements: Sequence[int] | np.ndarray = ()) -> None:
        self._span, self._whole = None, None
        super().restart(elements)

    def extend(self, elements: Sequence[int] | np.ndarray) -> int:
        order, before = np.asarray(elements, dtype=np.int64), int(self.members.sum())
        doubtful = self._take(order, cautious=True)
        if doubtful and self.members.sum() < self.most:
            whole = self.members
            whole[order] = True
            self._take(np.array(doubtful), cautious=False, most=self.rank_of(whole))
        return int(self.members.sum()) - before

    def add(self, element: int) -> bool:
        """As `Tableau.add`. Of an element that is known to be independent of what the members are by then: it is only kept out where
        nothing but noise is left."""
        before = self.row_of[element] >= 0
        self._take(np.array([element]), cautious=False)
        return bool(self.row_of[element] >= 0 and not before)

    def hold(self, elements: np.ndarray) -> None:
        """Makes these the members, in place of others. They are known to be independent, as for `add`."""
        self.restart()
        self._take(elements, cautious=False)

    def _take(self, order: np.ndarray, cautious: bool, most: int | None = None) -> list[int]:
        """Makes the elements members in turn, up to `most` in all. Those of which more than the noise is left, but not certainly: with
        `cautious` they stay out and are returned."""
        before, inverse_before = self._basis()
        count, most = before.shape[1], min(self.most, self.most if most is None else most)
        added: list[int] = []
        doubtful: list[int] = []
        basis, inverse = np.empty((len(self.held), self.most), order="F"), np.zeros((self.most, self.most))
        basis[:, :count], inverse[:count, :count] = before, inverse_before
        for first in range(0, len(order), _BLOCK):
            if count >= most:
                break
            block = order[first : first + _BLOCK]
            block = block[self.row_of[block] < 0]
            columns = self._some(block)
            left, whole = _without(basis[:, :count], columns), count
            for place in np.flatnonzero(np.linalg.norm(left, axis=0) > self.noise):
                rest = _without(basis[:, whole:count], left[:, place])
                length = float(np.linalg.norm(rest))
                if not (length > self.noise and count < most):
                    continue
                parts = inverse[:count, :count] @ (basis[:, :count].T @ columns[:, place])
                if cautious and not length > self.noise * np.sqrt(1 + parts @ parts):
                    doubtful.append(int(block[place]))
                    continue
                basis[:, count] = rest / length
                inverse[:count, count], inverse[count, count] = -parts / length, 1 / length
                count += 1
                added.append(int(block[place]))
        if added:
            rows = np.flatnonzero(self.held < 0)[: len(added)]
            self.held[rows], self.row_of[added] = added, rows
            self._span, self._whole = (basis[:, :count], inverse[:count, :count]), None
        return doubtful

    def release(self, element: int) -> None:
        super().release(element)
        self._span, self._whole = None, None

    def compress(self) -> None:
        """Nothing to drop: rows that are left over are zero where the columns are reduced."""

    def addable(self) -> np.ndarray:
        if int(self.members.sum()) >= self.most:
            return np.zeros(len(self.row_of), dtype=bool)
        (basis, inverse), found = self._basis(), np.zeros(len(self.row_of), dtype=bool)
        for start in range(0, len(found), _TABLE_BLOCK):
            block = np.arange(start, min(start + _TABLE_BLOCK, len(found)))
            columns = self._some(block)
            found[block] = np.linalg.norm(_without(basis, columns), axis=0) > self._doubt(inverse @ (basis.T @ columns))
        return found & ~self.members

    def restricted(self, places: np.ndarray) -> RealTableau:
        return RealTableau(self.columns[:, places], self.noise, min(self.most, len(places)))

    def rank_of(self, members: np.ndarray) -> int:
        some = self._some(np.flatnonzero(members))
        if 0 in some.shape:
            return 0
        values = np.linalg.svd(some, compute_uv=False)
        return min(self.most, int(np.count_nonzero(values > self.noise * np.sqrt(some.shape[1]))))

    def contraction(self, elements: np.ndarray) -> RealTableau:
        some = np.where(elements, self.table[self.held < 0], 0.0)
        return RealTableau(some, self.noise, self.most - int(self.members.sum()))

    @property
    def table(self) -> np.ndarray:
        """float64 [rows, n]: unit vectors for members; what does not count is exactly 0."""
        if self._whole is None:
            self._whole = self._reduced()
        return self._whole

    def _reduced(self) -> np.ndarray:
        rows, free = np.flatnonzero(self.held >= 0), np.flatnonzero(self.held < 0)
        members, many = self.held[rows], len(rows)
        basis, upper = np.linalg.qr(self._some(members), mode="complete")
        inverse = np.linalg.inv(upper[:many])
        distance = 1 / np.linalg.norm(inverse, axis=1, keepdims=True)
        table = np.zeros((len(self.held), len(self.row_of)))
        full = many >= self.most
        for start in range(0, len(self.row_of), _TABLE_BLOCK):
            block = slice(start, start + _TABLE_BLOCK)
            parts = basis.T @ self._some(np.arange(len(self.row_of))[block])
            needed = inverse @ parts[:many]
            table[rows, block] = np.where(np.abs(needed) * distance > self._doubt(needed), needed, 0.0)
            if not full:
                left = parts[many:]
                table[free, block] = np.where(np.linalg.norm(left, axis=0) > self._doubt(needed), left, 0.0)
        table[:, members] = 0.0
        table[rows, members] = 1.0
        return table

    def _doubt(self, parts: np.ndarray) -> np.ndarray:
        """Up to which length nothing may be left of columns with these parts [members, n] of members."""
        return np.asarray(self.noise * np.sqrt(1 + (parts * parts).sum(axis=0)))

    def _basis(self) -> tuple[np.ndarray, np.ndarray]:
        """Q float64 [rows, members], orthonormal columns that span the members, and R^-1 where members = Q R."""
        if self._span is None:
            basis, upper = np.linalg.qr(self._some(np.flatnonzero(self.members)))
            self._span = basis, np.linalg.inv(upper)
        return self._span

    def _some(self, elements: np.ndarray) -> np.ndarray:
        return np.asarray(self.columns[:, elements], dtype=np.float64)


def _without(basis: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """columns minus their part in the span of an orthonormal basis; twice, so that rounding of the first pass is taken out."""
    left = columns - basis @ (basis.T @ columns)
    return left - basis @ (basis.T @ left)
