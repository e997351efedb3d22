"""The cheapest weights that reach the required rank within limits (T10), or the proof that there are none.

One question, net + costs + limits + shared groups, becomes a `Problem`; the combinatorics that solve it are in numerics/matroid.py. Which
of several cheapest ones to take is decided in design/tie_breaks.py; the public face is design/best.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._checks import whole_number
from ..model.allocation import Allocation
from ..model.linearized import Linearized
from ..model.network import Network
from ..model.parameters import Parameters
from ..model.strategy import Strategy, fixed_allocation
from ..numerics.matroid import (
    Cap,
    Infeasible,
    Laminar,
    Tableau,
    candidates,
    cheapest_basis,
    cheapest_capped,
    cheapest_common,
    closure,
    crossing,
    rank,
)
from ..ranks.columns import columns_of

_SAME = 1e-12  # relative difference of total costs that counts as rounding
_FINER = 0.1  # costs are looked at again where the largest that matters is below this share of the largest


class Impossible(ValueError):
    """No allocation inside the limits reaches the required rank: with each of them the match probability is 0 (T1).

    tight: Allocation, the set S of weights that proves it. One laminar family of limits: rank(S) plus what the limits in `limits` allow
    outside S is below kappa. Overlapping limits: S is the union of the sets in `ranks`, and the limits in `limits` together with "at most
    rank(set) independent weights in this set" for the sets in `ranks` leave no choice of kappa weights.
    limits: positions in the argument `limits`. ranks: tuple of (Allocation, its rank). required_rank: kappa.
    reachable: the largest rank within the limits, None where it was not computed (overlapping limits).

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> try:
    ...     sl.best_allocation(net, limits=[({"W": np.ones((4, 4), dtype=bool)}, 3)], shared=("B", "D"))
    ... except sl.Impossible as error:
    ...     print(error.required_rank, error.reachable, error.limits)
    4 3 (0,)
    """

    def __init__(
        self,
        message: str,
        tight: Allocation,
        limits: tuple[int, ...],
        ranks: tuple,
        required_rank: int,
        reachable: int | None,
    ) -> None:
        super().__init__(message)
        self.tight, self.limits, self.ranks = tight, limits, ranks
        self.required_rank, self.reachable = required_rank, reachable

    def __reduce__(self) -> tuple:  # that of BaseException calls the class with the message alone
        asked = (str(self), self.tight, self.limits, self.ranks, self.required_rank, self.reachable)
        return type(self), asked, self.__dict__


class Problem:
    """Ground set, costs and limits of one question, and the cheapest basis of it; of a budget below kappa, the cheapest independent set.

    ties: float [size], what goes first among weights of one cost; None: the lower position.
    """

    def __init__(
        self, net: Network | Linearized, cost: np.ndarray, limits: list[Cap], shared: tuple[str, ...], budget: int | None = None
    ) -> None:
        self.net, self.shared, self.limits = net, shared, limits
        columns = columns_of(net, shared)
        self.tableau, self.kappa = columns.tableau, columns.kappa
        self.size = self.kappa if budget is None else min(budget, self.kappa)
        self.ties: np.ndarray | None = None
        self.choice = columns.choice  # what could be chosen without limits
        self.free = self.choice.copy()  # what a limit of 0 forbids is no element at all, whatever other limits there are
        for members, most in limits:
            if most == 0:
                self.free &= ~members
        self.cost = np.where(self.free, cost, 0.0)
        # A limit that no independent set can break does not count (so it overlaps with none).
        caps = [(k, Cap(members & self.free, most)) for k, (members, most) in enumerate(limits) if most > 0]
        caps = [(k, cap) for k, cap in caps if cap.most < min(int(cap.members.sum()), self.size)]
        caps = [(k, cap) for k, cap in caps if cap.most < rank(self.tableau, cap.members)]
        self.numbers = [k for k, _ in caps]
        self.caps = [cap for _, cap in caps]
        self.overlap = crossing(self.caps) is not None

    def solve(self, allowed: np.ndarray | None = None) -> np.ndarray:
        """bool [size]: cheapest allocation inside `allowed`. Raises Infeasible."""
        allowed = self.free if allowed is None else allowed & self.free
        if not self.caps:
            mask = cheapest_basis(self.tableau, self.cost, allowed, self.ties, self.size)
            if mask.sum() < self.size:
                raise Infeasible([(allowed, int(mask.sum()))], [], int(mask.sum()))
            return mask
        # The solvers round costs, by a share of the largest. All sets compared have the same size, so the least cost counts as 0, and what
        # alone costs more than a whole solution is in none that is cheaper: without it the rounding is finer.
        # Where all cost the same, what goes first is all there is to choose by.
        price = self.ties if self.ties is not None and np.ptp(self.cost[self.free]) == 0 else self.cost
        while True:
            cost = np.where(allowed, price - price[allowed].min(initial=math.inf), 0.0)
            mask = self._within_caps(cost, allowed)
            total = math.fsum(cost[mask])
            cheap = allowed & (cost <= total)
            if total == 0.0 or cost[cheap].max() >= _FINER * cost.max():
                return mask
            allowed = cheap

    def _within_caps(self, cost: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        some = candidates(self.tableau, self.caps, cost, allowed)
        if some is not None:
            places, mask = np.flatnonzero(some), np.zeros(len(cost), dtype=bool)
            caps = [Cap(cap.members[places], cap.most) for cap in self.caps]
            try:
                mask[places] = self._cheapest(self.tableau.restricted(places), caps, cost[places], np.ones(len(places), dtype=bool))
                return mask
            except Infeasible:  # the proof must hold for all
                pass
        return self._cheapest(self.tableau, self.caps, cost, allowed)

    def _cheapest(self, tableau: Tableau, caps: list[Cap], cost: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        if self.overlap:
            return cheapest_capped(tableau, caps, cost, self.size, allowed)
        return cheapest_common(tableau, Laminar(len(cost), caps), cost, self.size, allowed)

    def price(self, mask: np.ndarray) -> float:
        return math.fsum(self.cost[mask])

    def obeys(self, mask: np.ndarray) -> bool:
        return not (mask & ~self.free).any() and all(int((cap.members & mask).sum()) <= cap.most for cap in self.caps)

    def same_price(self, first: np.ndarray, second: np.ndarray) -> bool:
        size = math.fsum(np.abs(self.cost[first | second]))
        return abs(self.price(first) - self.price(second)) <= _SAME * size

    def impossible(self, proof: Infeasible) -> Impossible:
        net, kappa = self.net, self.kappa
        wanted, then = f"kappa = {kappa}", "so no allocation within the limits can match"
        if self.size < kappa:
            wanted, then = f"the budget {self.size}", "so there are not as many independent weights within the limits"
        sets = [(closure(self.tableau, members) & self.choice, bound) for members, bound in proof.ranks]
        used = tuple(sorted([self.numbers[k] for k in proof.caps] + self._forbidding(proof, [members for members, _ in sets])))
        tight = np.zeros(net.size, dtype=bool)
        for members, _ in sets:
            tight |= members
        named = ", ".join(map(str, used)) or "(none)"
        if proof.reachable is not None:
            most, bound = proof.reachable, sets[0][1]
            if tight.any():
                allowed = f"the {int(tight.sum())} weights of the tight set have rank {bound}, limits {named} leave at most "
                allowed += f"{most - bound} others"
            else:
                allowed = f"limits {named} allow at most {most} weights"
            text = f"limits: {allowed}: {most} < {wanted}, {then}"
        else:
            text = (
                f"limits: {named} and {len(sets)} sets of weights with a rank too small leave no choice of "
                f"{wanted} independent weights, {then}"
            )
        ranks = tuple((Allocation.from_mask(net, members), bound) for members, bound in sets)
        return Impossible(text, Allocation.from_mask(net, tight), used, ranks, kappa, proof.reachable)

    def _forbidding(self, proof: Infeasible, sets: list[np.ndarray]) -> list[int]:
        """Limits of 0 that a proof needs: those on weights that neither its other limits hold nor, in one laminar family, its set."""
        left = self.choice.copy()
        for k in proof.caps:
            left &= ~self.caps[k].members
        if proof.reachable is not None:
            for members in sets:
                left &= ~members
        used = []
        for k, (members, most) in enumerate(self.limits):
            if most == 0 and (members & left).any():
                used.append(k)
                left &= ~members
        return used


def read_limits(net: Parameters, limits: Sequence[tuple[Any, int]] | None) -> list[Cap]:
    """The argument `limits` as caps; errors name the entry."""
    if limits is None:
        return []
    if not isinstance(limits, (list, tuple)):
        raise TypeError(f"limits: expected a list of (mask, most), got {type(limits).__name__}")
    caps = []
    for number, pair in enumerate(limits):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise TypeError(f"limits[{number}]: expected a pair (mask, most), got {pair!r}")
        mask, most = pair
        try:
            if isinstance(mask, Mapping):
                mask = Allocation(net, mask)
            elif not isinstance(mask, (Allocation, Strategy)):
                mask = Allocation.from_mask(net, mask)
            mask = fixed_allocation(net, mask, name="mask")
        except (TypeError, ValueError) as error:
            raise type(error)(f"limits[{number}]: {error}") from None
        caps.append(Cap(mask.mask, whole_number(f"limits[{number}] most", most, 0)))
    return caps
