"""Ranks and columns of a model of which only the Jacobian is known: in floating point, with a stated tolerance.

Every column is taken to be known up to an error of length `noise` = rtol times the largest singular value of J over sqrt(p), p columns in
all. So n columns have an error of norm noise sqrt(n) at most, and their rank counts singular values above that. Which columns make up a
rank is decided one by one (numerics/real_tableau.py), where more is left of a column than the noise, as others in its span may enlarge it;
those in doubt follow up to the rank: n columns with r singular values above noise sqrt(n) always have one that is longer than the noise
outside the span of any r - 1 others, so every order of weights reaches the rank.
"""

from __future__ import annotations

import numpy as np

from ..model.allocation import Allocation
from ..model.checks import shared_groups
from ..model.linearized import Linearized, check_one_point
from ..model.strategy import Strategy, fixed_allocation
from ..numerics.numerical_rank import NumericalRank, rank_of_values, triangle
from ..numerics.real_tableau import RealTableau


def numerical_rank(net: Linearized, allocation: Allocation | Strategy | None = None, shared: tuple[str, ...] = ()) -> NumericalRank:
    """Rank of a model's Jacobian in the weights of an allocation, by default in all that are not in the groups `shared`, and how sure it
    is: the singular values next to the tolerance.

    Of several points that with the largest rank. Errors: TypeError unless `net` comes from `from_jacobian` or `sl.interop`, or for a random
    strategy; ValueError for a learnable weight in a shared group.

    >>> J = np.random.default_rng(0).normal(size=(3, 4))
    >>> found = sl.numerical_rank(sl.from_jacobian(np.concatenate([J, J[:1] + J[1:2]]), {"weight": (2, 2)}))
    >>> found.rank, found.sure
    (3, True)
    """
    if not isinstance(net, Linearized):
        raise TypeError(f"net: expected a model of from_jacobian or sl.interop, got {type(net).__name__}")
    shared = shared_groups(net, shared)
    mask = None if allocation is None else fixed_allocation(net, allocation, shared).mask
    if net.points is not None:
        found = [at_one_point(net[k], mask, shared) for k in range(net.points)]
        return max(found, key=lambda rank: rank.rank)
    return at_one_point(net, mask, shared)


def at_one_point(net: Linearized, mask: np.ndarray | None, shared: tuple[str, ...]) -> NumericalRank:
    matrix, many = (net.triangle(shared), _outside(net, shared).sum()) if mask is None else (net.J[:, mask], mask.sum())
    return rank_of_values(_values(matrix), noise(net) * float(np.sqrt(many)))


def noise(net: Linearized) -> float:
    """Length up to which what is left of a column counts as zero."""
    return net.rtol * float(_values(net.triangle()).max(initial=0.0)) / float(np.sqrt(net.size))


def _outside(net: Linearized, shared: tuple[str, ...]) -> np.ndarray:
    """bool [size]: weights that are not in the groups `shared`."""
    some = np.ones(net.size, dtype=bool)
    for name in shared:
        some[net.slices[name]] = False
    return some


def _values(matrix: np.ndarray) -> np.ndarray:
    if 0 in matrix.shape:
        return np.zeros(0)
    return np.linalg.svd(np.asarray(matrix, dtype=np.float64), compute_uv=False)


class NumericalColumns:
    """`ExactColumns` of a model of which only the Jacobian is known. numerical: its required rank, and how sure that is."""

    def __init__(self, net: Linearized, shared: tuple[str, ...]) -> None:
        check_one_point(net)
        self.net, self.shared = net, shared
        self.numerical = at_one_point(net, None, shared)
        self.kappa, self.noise = self.numerical.rank, noise(net)
        self.choice = _outside(net, shared)
        self.tableau = RealTableau(net.J if self.choice.all() else np.where(self.choice, net.J, 0), self.noise, self.kappa)

    def restarted(self, mask: np.ndarray) -> RealTableau:
        chosen = RealTableau(self.tableau.columns, self.noise, int(self.attained(mask[None])[0]))  # no more than their rank
        chosen.extend(np.flatnonzero(mask))
        self.tableau.hold(np.flatnonzero(chosen.members))
        return self.tableau

    def attained(self, masks: np.ndarray) -> np.ndarray:
        return np.array([min(self.kappa, at_one_point(self.net, mask, self.shared).rank) for mask in masks], dtype=np.int64)

    def unmet(self, mask: np.ndarray) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
        rows = np.arange(self.net.equations)
        least = self.noise * float(np.sqrt(max(1, mask.sum()) / len(rows)))
        on_few = RealTableau(triangle(self.net.J[:, mask]), least, int(self.attained(mask[None])[0]))
        on_all = RealTableau(self.net.triangle(self.shared), least, self.kappa)
        on_few.extend(rows)
        on_all.hold(rows[on_few.members])
        on_all.extend(rows)
        later, held = np.flatnonzero(on_all.members & ~on_few.members), np.flatnonzero(on_few.members)
        weights = np.zeros((len(later), len(rows)))  # of the equations, in each combination
        weights[:, held] = -on_few.table[np.ix_(on_few.row_of[held], later)].T
        weights[np.arange(len(later)), later] = 1.0
        moved = np.abs(weights @ self.net.J) > self.noise * np.linalg.norm(weights, axis=1, keepdims=True)
        tied = [held[combination != 0] for combination in weights[:, held]]
        return list(zip(later.tolist(), tied)), moved.sum(axis=0)

    def equation(self, row: int) -> tuple[int, ...]:
        return (row,) if self.net.combined is not None else tuple(int(k) for k in np.unravel_index(row, self.net.y_shape))

    def equation_text(self, row: int) -> str:
        return self.net.equation_text(row)
