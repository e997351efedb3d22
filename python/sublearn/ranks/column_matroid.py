"""The column matroid of a network (T10): which sets of weights have independent columns of J_N, and what the weights cost.

Elements are the weights, independent sets those with independent columns at a random point mod p (D6). What can be done with such a
matroid is in numerics/matroid.py; what it means for a match, and the questions it answers, are in design/best.py and design/explain.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from .._checks import no_mask
from ..model.layers import plain
from ..model.network import Network, Recurrent
from ..model.parameters import Parameters
from ..numerics.matroid import Tableau
from ..numerics.numerical_rank import NumericalRank
from .generic_rank import attained_ranks, choosable, point, whole_rank

DRAWS = range(4, 8)  # random points tried until one has the required rank; attained ranks (ranks/generic_rank.py) use 0 to 3


def columns(net: Network, draw: int) -> tuple[np.ndarray, int]:
    """J int64 [equations, size] at random point number `draw` mod the prime p, and p."""
    J, p = point(net, draw)
    return J[:, :-1], p


def column_matroid(net: Network, shared: tuple[str, ...]) -> tuple[Tableau, int]:
    """The columns of J_N mod p, those not in N zero, reduced to kappa rows; and kappa, which counts gains here (`whole_rank`).

    ValueError for relu (no matroid).
    """
    net = plain(net)
    if net.activation == "relu":
        raise ValueError(
            "net: expected a linear or tanh network, got relu: its ranks change from region to region, so the "
            "allocations that can match are no matroid (T10)"
        )
    tableau, kappa = _reduced(net, shared)
    return tableau.copy(), kappa


@lru_cache(maxsize=8)
def _reduced(net: Network, shared: tuple[str, ...]) -> tuple[Tableau, int]:
    kappa = whole_rank(net, shared)
    free = choosable(net, shared)
    for draw in DRAWS:
        J, p = columns(net, draw)
        tableau = Tableau(np.where(free, J, 0), p)
        tableau.extend(np.flatnonzero(free))
        if tableau.members.sum() == kappa:
            tableau.compress()
            return tableau, kappa
    raise RuntimeError(f"{net.describe()}, shared {shared}: no random point mod p of rank {kappa} was drawn")


class ExactColumns:
    """What can be asked of the columns of a network's Jacobian: those at random points mod p.

    choice bool [size]: weights that an allocation may hold. tableau, kappa: `column_matroid`. numerical: None, ranks are exact.
    """

    numerical: NumericalRank | None = None

    def __init__(self, net: Network, shared: tuple[str, ...]) -> None:
        self.net, self.shared = net, shared
        self.tableau, self.kappa = column_matroid(net, shared)
        self.choice = choosable(plain(net), shared)

    def restarted(self, mask: np.ndarray) -> Tableau:
        """The tableau with the weights bool [size] as far as they are independent as members."""
        self.tableau.restart(np.flatnonzero(mask))
        return self.tableau

    def attained(self, masks: np.ndarray) -> np.ndarray:
        """Ranks int64 [k] of masks bool [k, size], at points of their own."""
        return attained_ranks(self.net, masks, self.shared)

    def unmet(self, mask: np.ndarray) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
        """(row, rows it is tied to) of a basis of the combinations of equations that only frozen weights can move, and int64 [size]: how
        many of them each weight moves.

        Rows of J are equations. Rows that are independent on A come first, in order; they are extended to a basis of the rows on N. Each
        row of the extension minus its combination of the first ones is zero on A and not on N.
        """
        model = plain(self.net)
        for draw in DRAWS:
            J, p = columns(model, draw)
            on_all = Tableau(J.T * self.choice[:, None], p)
            on_few = Tableau(J[:, mask].T, p)
            rows = np.arange(model.equations)
            on_few.extend(rows)
            on_all.extend(rows[on_few.members])
            on_all.extend(rows)
            later = np.flatnonzero(on_all.members & ~on_few.members).tolist()
            if on_all.members.sum() == self.kappa:
                break
        found, moves = [], np.zeros(model.size, dtype=np.int64)
        for row in later:
            tied = on_few.circuit(row)
            factors = on_few.table[on_few.row_of[tied], row]
            # row - sum of factors * tied
            left = J[row].copy()
            for factor, other in zip(factors.tolist(), tied.tolist()):
                left = (left - factor * J[other]) % p
            moves += left % p != 0
            found.append((row, tied))
        return found, moves

    def equation(self, row: int) -> tuple[int, ...]:
        """(output, sample), (output, step) or (output, step, sequence) of an equation, counted from 0."""
        place = tuple(int(k) for k in np.unravel_index(int(row), self.net.y_shape))
        return place[::-1] if isinstance(self.net, Recurrent) else place

    def equation_text(self, row: int) -> str:
        place, word = self.equation(row), "step" if isinstance(self.net, Recurrent) else "sample"
        return f"output {place[0]} at {word} {place[1]}" + (f" of sequence {place[2]}" if len(place) > 2 else "")


def prices(net: Parameters, cost: Mapping[str, Any] | None, name: str = "cost") -> np.ndarray:
    """float64 [size] of a dict of arrays or numbers by group; a missing group costs 1 per weight. Errors name the group."""
    flat = np.ones(net.size)
    if cost is None:
        return flat
    if not isinstance(cost, Mapping):
        raise TypeError(f"{name}: expected a dict of arrays by group, got {type(cost).__name__}")
    for group, values in cost.items():
        if group not in net.groups:
            raise ValueError(f"{name}: expected groups out of {', '.join(net.groups)}, got {group!r}")
        no_mask(f"{name}[{group!r}]", values)
        try:
            values = np.asarray(values)
        except ValueError:
            raise ValueError(f"{name}[{group!r}]: expected shape {net.groups[group]}, got a ragged list") from None
        if values.dtype.kind not in "iuf":
            raise TypeError(f"{name}[{group!r}]: expected real numbers, got dtype {values.dtype}")
        if values.shape not in ((), net.groups[group]):
            raise ValueError(f"{name}[{group!r}]: expected shape {net.groups[group]} or one number, got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name}[{group!r}]: expected finite numbers; forbid weights by a limit (mask, 0)")
        flat[net.slices[group]] = np.broadcast_to(values, net.groups[group]).reshape(-1)
    return flat
