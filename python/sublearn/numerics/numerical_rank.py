"""How many singular values of a matrix are above the noise, and how far from it are the nearest ones?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SURE = 10.0  # the tolerance may be wrong by this factor
_BLOCK = 1024


@dataclass(frozen=True)
class NumericalRank:
    """A rank in floating point, and how sure it is.

    rank: number of singular values above `tolerance`. above: the smallest of them (inf where there is none); below: the largest of the
    others (0 where there is none). Every tolerance between `below` and `above` gives this rank.

    >>> model = sl.from_jacobian(np.diag([1.0, 1e-3, 1e-20]), {"w": (3,)})
    >>> found = sl.numerical_rank(model)
    >>> found.rank, found.above, found.sure
    (2, 0.001, True)
    """

    rank: int
    tolerance: float
    above: float
    below: float

    @property
    def margin(self) -> float:
        """The factor by which the tolerance may be wrong, either way, without another rank."""
        low = self.tolerance / self.below if self.below else np.inf
        return float(min(low, self.above / self.tolerance if self.tolerance else np.inf))

    @property
    def sure(self) -> bool:
        """Whether `margin` is at least 10: no singular value is near the tolerance."""
        return self.margin >= _SURE

    def __str__(self) -> str:
        ends = [f"{self.rank} singular values down to {self.above:.2g}"] if self.rank else ["no singular value"]
        ends.append(f"the next is {self.below:.2g}" if self.below else "no other")
        doubt = "" if self.sure else f"; unsure: a tolerance {self.margin:.2g} times as large or as small gives another rank"
        return f"rank {self.rank}: {ends[0]} are above the tolerance {self.tolerance:.2g}, {ends[1]}{doubt}"


def rank_of_values(values: np.ndarray, tolerance: float) -> NumericalRank:
    """The rank of a matrix whose singular values, falling, are `values`."""
    count = int(np.count_nonzero(values > tolerance))
    above = float(values[count - 1]) if count else np.inf
    return NumericalRank(count, tolerance, above, float(values[count]) if count < len(values) else 0.0)


def triangle(rows: np.ndarray) -> np.ndarray:
    """R float64 [min(m, n), m] with R^T R = rows rows^T: what rows [m, n] are to each other, without their many columns.

    By QR of blocks of columns, each below the R of those before: n m^2 multiplications and some, in the cache.
    """
    m, n = rows.shape
    width, found = max(_BLOCK, 4 * m), np.zeros((0, m))
    for start in range(0, n, width):
        block = np.asarray(rows[:, start : start + width], dtype=np.float64).T
        found = np.asarray(np.linalg.qr(np.concatenate([found, block]), mode="r"))
    return found
