"""Matroids for choosing weights: columns of a matrix mod p, laminar limits, and the cheapest set that obeys both.

Pure combinatorics: elements are the columns 0 .. n - 1 of a matrix, sets are bool [n]. No networks and no random numbers here; which
matrix and which limits a network has is decided in ranks/column_matroid.py and design/problem.py.

A `Tableau` keeps the matrix reduced with respect to an independent set I: column e of I is a unit vector, so the nonzero entries of any
other column name the members of I it depends on (its fundamental circuit), and the rows that no member holds say whether it can join. The
reduction is compiled (csrc/ops/reduce_modp.h); one member costs at most rows x n multiplications.

    cheapest_basis      no limits: greedy, exact for every order of costs
    cheapest_common     limits from one laminar family: weighted matroid intersection by shortest augmenting
    paths
                        (Lawler; Schrijver, Combinatorial Optimization, chapter 41), with the min-max
                        certificate
    cheapest_capped     any limits: integer programme (HiGHS), rank constraints added where they are violated
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..backend.compiled import cpu

__all__ = [
    "Cap",
    "Infeasible",
    "Laminar",
    "Tableau",
    "cheapest_basis",
    "cheapest_capped",
    "cheapest_common",
    "closure",
    "crossing",
    "rank",
]

_FAR = np.int64(2**62)
_EXCESS = 1e-6  # a rank constraint is violated from here on; HiGHS meets its constraints to 1e-7
_LP_ROUNDS = 100
_FEW = 2000  # elements that are looked at one and all
_ORDERS = 4  # tie-breaking orders in which violated sets are looked for


class Cap(NamedTuple):
    """At most `most` elements of `members` (bool [n])."""

    members: np.ndarray
    most: int


class Infeasible(Exception):
    """No independent set of the wanted size obeys the caps.

    ranks: list of (closed set bool [n], its rank); caps: positions in the list of caps. Those rank constraints and caps alone exclude it.
    reachable: the largest size that is possible, None if it was not computed.
    """

    def __init__(self, ranks: list[tuple[np.ndarray, int]], caps: list[int], reachable: int | None) -> None:
        super().__init__("no independent set of this size obeys the caps")
        self.ranks, self.caps, self.reachable = ranks, caps, reachable

    def __reduce__(self) -> tuple:  # that of BaseException calls the class with the message alone
        return type(self), (self.ranks, self.caps, self.reachable), self.__dict__


# Columns of a matrix mod p


class Tableau:
    """A matrix [rows, n] mod p, row-reduced so that the columns of an independent set are unit vectors.

    table int64 [rows, n]; held int64 [rows]: the member whose 1 stands in this row, -1 for none; row_of int64 [n]: the row of a member,
    -1 for an element that is none. p: a prime below 2^31.
    """

    def __init__(self, columns: np.ndarray, p: int) -> None:
        columns = np.asarray(columns)
        if columns.ndim != 2 or columns.dtype.kind not in "iu":
            raise TypeError(f"columns: expected integers [rows, n], got {columns.dtype} {columns.shape}")
        self.p = int(p)
        self._table = np.array(columns % self.p, dtype=np.int64, order="C")
        self.held = np.full(self.table.shape[0], -1, dtype=np.int64)
        self.row_of = np.full(self.table.shape[1], -1, dtype=np.int64)

    @property
    def table(self) -> np.ndarray:
        return self._table

    @property
    def members(self) -> np.ndarray:
        """bool [n]: the independent set."""
        return self.row_of >= 0

    def copy(self) -> Tableau:
        other = object.__new__(Tableau)
        other.p, other._table = self.p, self.table.copy()
        other.held, other.row_of = self.held.copy(), self.row_of.copy()
        return other

    def restart(self, elements: Sequence[int] | np.ndarray = ()) -> None:
        """Forget the members, then add these elements in turn; those that depend on earlier ones stay out."""
        self.held[:], self.row_of[:] = -1, -1
        self.extend(elements)

    def extend(self, elements: Sequence[int] | np.ndarray) -> int:
        """Add these elements in turn; those that depend on the members by then stay out. How many were added."""
        order = np.ascontiguousarray(elements, dtype=np.int64)
        return cpu.reduce_mod(self.table, self.held, self.row_of, order, self.p, len(self.held))

    def addable(self) -> np.ndarray:
        """bool [n]: elements that are independent of the members."""
        return (self.table[self.held < 0] != 0).any(axis=0)

    def add(self, element: int) -> bool:
        """Make the element a member; False, and nothing done, if it depends on the members or is one."""
        return self.extend([element]) > 0

    def release(self, element: int) -> None:
        """Take a member out. The table stays; its row is free again."""
        row = self.row_of[element]
        if row < 0:
            raise ValueError(f"element: expected a member, got {element}")
        self.held[row], self.row_of[element] = -1, -1

    def exchange(self, out: int, element: int) -> None:
        """A member out, an element in. ValueError, and nothing done, if the result would be dependent."""
        row = self.row_of[out]
        if row < 0 or self.row_of[element] >= 0:
            raise ValueError(f"out, element: expected a member and an element that is none, got {out}, {element}")
        if self.table[row, element] == 0 and not (self.table[self.held < 0, element] != 0).any():
            raise ValueError(f"element: expected one whose circuit holds {out}, got {element}")
        self.release(out)
        self.add(element)

    def circuit(self, element: int) -> np.ndarray:
        """Members int64 [k] that the element depends on, ascending: with it they are a circuit. ValueError if it depends on none, or is
        itself a member."""
        column = self.table[:, element] != 0
        if self.row_of[element] >= 0 or column[self.held < 0].any():
            raise ValueError(f"element: expected one that depends on the members, got {element}")
        return np.sort(self.held[column])

    def span(self, members: np.ndarray) -> np.ndarray:
        """bool [n]: closure of some of the members, given as positions."""
        rows = np.ones(len(self.held), dtype=bool)
        rows[self.row_of[members]] = False
        return ~(self.table[rows] != 0).any(axis=0)

    def compress(self) -> None:
        """Drop rows of zeros (no member holds one)."""
        keep = (self.table != 0).any(axis=1)
        self._table, self.held = np.ascontiguousarray(self.table[keep]), self.held[keep]
        self.row_of[self.held[self.held >= 0]] = np.flatnonzero(self.held >= 0)

    def restricted(self, places: np.ndarray) -> Tableau:
        """The matroid of the elements at these places int64 [k], in their order, without members."""
        return Tableau(self.table[:, places], self.p)

    def rank_of(self, members: np.ndarray) -> int:
        """Rank of a set bool [n]."""
        return int(cpu.rank_mod(np.ascontiguousarray(self.table[None][:, :, members]), self.p)[0])

    def contraction(self, elements: np.ndarray) -> Tableau:
        """The elements bool [n] modulo the span of the members: what they add to it; all others are zero."""
        return Tableau(np.where(elements, self.table[self.held < 0], 0), self.p)


def rank(tableau: Tableau, members: np.ndarray) -> int:
    """Rank of a set bool [n]."""
    return tableau.rank_of(members)


def closure(tableau: Tableau, members: np.ndarray) -> np.ndarray:
    """bool [n]: every element that depends on the set bool [n]."""
    return ~_grown(tableau, np.flatnonzero(members)).addable()


def _grown(tableau: Tableau, order: Sequence[int] | np.ndarray) -> Tableau:
    """A copy whose members are the first independent ones in this order."""
    grown = tableau.copy()
    grown.restart(order)
    return grown


def cheapest_basis(
    tableau: Tableau, cost: np.ndarray, allowed: np.ndarray | None = None, ties: np.ndarray | None = None, most: int | None = None
) -> np.ndarray:
    """bool [n]: a basis of the allowed elements of least total cost, or its `most` cheapest. Greedy; among elements of one cost those with
    lower `ties` [n] come first, by default those of lower position."""
    order = np.lexsort((np.arange(len(cost)) if ties is None else ties, cost))
    if allowed is not None:
        order = order[allowed[order]]
    members = _grown(tableau, order).members
    if most is not None and members.sum() > most:
        members[order[members[order]][most:]] = False
    return members


# Laminar caps


def candidates(tableau: Tableau, caps: Sequence[Cap], cost: np.ndarray, allowed: np.ndarray) -> np.ndarray | None:
    """bool [n]: elements among which a cheapest set within the caps lies if there is one: a cheapest basis of each kind, a kind being all
    that lie in the same caps. None where that leaves out few.

    For another element e of a set, one of the basis of its kind that makes up e is not in the span of the others of the set: it replaces e
    at no more cost.
    """
    kinds, kind = np.unique(np.array([cap.members for cap in caps]), axis=1, return_inverse=True)
    if _FEW > allowed.sum() or 4 * kinds.shape[1] * len(tableau.held) > allowed.sum():
        return None
    found = np.zeros(len(cost), dtype=bool)
    for number in range(kinds.shape[1]):
        places = np.flatnonzero(allowed & (kind.reshape(-1) == number))
        found[places[cheapest_basis(tableau.restricted(places), cost[places])]] = True
    return found


def crossing(caps: Sequence[Cap]) -> tuple[int, int] | None:
    """Positions of two caps that overlap without one inside the other; None if the family is laminar."""
    for i, (first, _) in enumerate(caps):
        for j in range(i):
            second = caps[j].members
            if (first & second).any() and (first & ~second).any() and (second & ~first).any():
                return j, i
    return None


class Laminar:
    """The matroid of sets that obey caps from one laminar family. ValueError if two caps cross."""

    def __init__(self, n: int, caps: Sequence[Cap]) -> None:
        pair = crossing(caps)
        if pair is not None:
            raise ValueError(f"caps: expected one laminar family, got {pair[0]} and {pair[1]} that cross")
        order = sorted(range(len(caps)), key=lambda k: int(caps[k].members.sum()))  # small sets first
        self.order = order
        self.sets = np.array([caps[k].members for k in order], dtype=bool).reshape(len(order), n)
        self.most = np.array([caps[k].most for k in order], dtype=np.int64)

    def smallest_full(self, chosen: np.ndarray) -> np.ndarray:
        """int64 [n]: for each element the smallest full set around it, -1 where none is full."""
        full = (self.sets & chosen).sum(axis=1) >= self.most
        around = self.sets & full[:, None]
        if not len(around):
            return np.full(len(chosen), -1, dtype=np.int64)
        return np.where(around.any(axis=0), around.argmax(axis=0), -1)

    def independent(self, chosen: np.ndarray) -> bool:
        return bool(((self.sets & chosen).sum(axis=1) <= self.most).all())

    def rank_and_caps(self, members: np.ndarray) -> tuple[int, list[int]]:
        """(rank of a set, the caps that bound it): rank = sum of those caps + members in none of them."""
        left = members.copy()
        value = np.zeros(len(self.most), dtype=np.int64)
        bound: list[int] = []
        for k, inside in enumerate(self.sets):
            below = [j for j in bound if (self.sets[j] & inside).any()]
            free = int((left & inside).sum()) + int(value[below].sum())
            if free > self.most[k]:
                value[k] = self.most[k]
                bound = [j for j in bound if j not in below] + [k]
                left &= ~inside
        return int(left.sum() + value[bound].sum()), [self.order[k] for k in sorted(bound)]

    def rank(self, members: np.ndarray) -> int:
        return self.rank_and_caps(members)[0]


def whole_costs(cost: np.ndarray, size: int) -> np.ndarray:
    """Costs as whole multiples int64 of a power of two, for exact sums along paths through `size` elements.

    Whole numbers below 2^39 stay exact for sizes up to 1000; other costs are rounded by at most 2^-39 of the largest (2^-45 for sizes up
    to 100).
    """
    largest = float(np.abs(cost).max(initial=0.0))
    if largest == 0.0:
        return np.zeros(len(cost), dtype=np.int64)
    bits = 61 - 2 * (2 * size + 4).bit_length()
    exponent = bits - int(np.frexp(largest)[1])
    return np.rint(np.ldexp(np.asarray(cost, dtype=np.float64), exponent)).astype(np.int64)


def cheapest_common(tableau: Tableau, laminar: Laminar, cost: np.ndarray, size: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """bool [n]: cheapest set of `size` elements, independent and within the caps; `Infeasible` with a set if none.

    After k rounds the set is the cheapest of size k; costs are rounded as `whole_costs` says. If the rounds stop at k < size, S of the
    certificate has rank(S) + laminar rank(all others) = k. Cost: size x (a few) x size x n.
    """
    n = tableau.table.shape[1]
    allowed = np.ones(n, dtype=bool) if allowed is None else allowed
    work = tableau.copy()
    work.restart()
    step = 2 * (2 * size + 4)  # so that fewer arcs decide between equal costs
    length = whole_costs(cost, size) * step
    for count in range(size):
        chosen = work.members
        inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen & allowed)
        source = work.addable()[outside]
        full = laminar.smallest_full(chosen)[outside]
        sink = full < 0
        enters = (work.table[np.ix_(work.row_of[inside], outside)] != 0) | source  # I - y + e independent
        leaves = sink | laminar.sets[full][:, inside].T if len(laminar.sets) else np.ones(enters.shape, bool)
        path = _shortest_path(length[outside], length[inside], source, sink, enters, leaves)
        if path is None:
            reach = _reaches(sink, enters, leaves)
            S = np.zeros(n, dtype=bool)
            S[outside[reach[0]]], S[inside[reach[1]]] = True, True
            S = closure(tableau, S) & allowed
            raise Infeasible([(S, rank(tableau, S))], laminar.rank_and_caps(allowed & ~S)[1], count)
        for y in path[1::2]:
            work.release(int(inside[y]))
        for e in path[0::2]:
            if not work.add(int(outside[e])):
                raise RuntimeError("an augmenting path gave a dependent set")
    return work.members


def _shortest_path(
    add: np.ndarray,
    drop: np.ndarray,
    source: np.ndarray,
    sink: np.ndarray,
    enters: np.ndarray,
    leaves: np.ndarray,
) -> list[int] | None:
    """Positions e0, y1, e1, .., from a source to a sink, least total of add[e] - drop[y], then fewest arcs.

    enters[y, e]: arc y -> e; leaves[y, e]: arc e -> y. Bellman-Ford, both sides at once; no cycle is negative.
    """
    to_e = np.where(source, add + 1, _FAR)
    to_y = np.full(len(drop), _FAR)
    from_y = np.full(len(add), -1, dtype=np.int64)  # the y before each e
    from_e = np.full(len(drop), -1, dtype=np.int64)
    for _ in range(len(drop) + 1):
        if not len(drop):
            break
        reached = np.where(leaves, to_e, _FAR)
        best = reached.argmin(axis=1)
        value = reached[np.arange(len(drop)), best]
        value = np.where(value < _FAR, value - drop + 1, _FAR)
        better = value < to_y
        if not better.any():
            break
        to_y[better], from_e[better] = value[better], best[better]
        reached = np.where(enters, to_y[:, None], _FAR)
        best = reached.argmin(axis=0)
        value = reached[best, np.arange(len(add))]
        value = np.where(value < _FAR, value + add + 1, _FAR)
        better = value < to_e
        if not better.any():
            break
        to_e[better], from_y[better] = value[better], best[better]
    if not (sink & (to_e < _FAR)).any():
        return None
    path = [int(np.where(sink, to_e, _FAR).argmin())]
    while from_y[path[0]] >= 0:
        y = from_y[path[0]]
        path[:0] = [int(from_e[y]), int(y)]
    return path


def _reaches(sink: np.ndarray, enters: np.ndarray, leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(e bool, y bool): from where a sink can be reached."""
    e, y = sink.copy(), np.zeros(len(enters), dtype=bool)
    while True:
        more_y = enters[:, e].any(axis=1)
        more_e = sink | leaves[more_y].any(axis=0)
        if (more_y == y).all() and (more_e == e).all():
            return e, y
        e, y = more_e, more_y


# Any caps: integer programme


def cheapest_capped(tableau: Tableau, caps: Sequence[Cap], cost: np.ndarray, size: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """bool [n]: cheapest independent set of `size` elements within the caps; `Infeasible` if there is none.

    min cost x, sum x = size, x in {0, 1}, x(cap) <= most, and x(F) <= rank(F) for closed sets F, added where the current x violates one:
    first in the linear relaxation, then in whole numbers until x is independent. HiGHS decides; its optimum is right to about 1e-6 of the
    largest cost, and exact for whole costs below 10^5.
    Errors: RuntimeError if HiGHS gives up.
    """
    program = _Program(tableau, caps, cost, size, allowed)
    for _ in range(_LP_ROUNDS):
        x = program.solve(whole=False)
        if x is None or not program.add_violated(x):
            break
    while x is not None:
        x = program.solve(whole=True)
        if x is None:
            break
        chosen = x > 0.5
        if not program.add_violated(chosen.astype(float)):
            return chosen
    raise program.certificate()


class _Program:
    def __init__(self, tableau, caps, cost, size, allowed):
        from scipy.optimize import Bounds, LinearConstraint, milp  # here, since it takes longer to load than all of sublearn

        self._milp, self._Bounds, self._Constraint = milp, Bounds, LinearConstraint
        self.tableau, self.caps, self.size = tableau, list(caps), size
        self.n = tableau.table.shape[1]
        self.upper = np.ones(self.n) if allowed is None else allowed.astype(float)
        largest = float(np.abs(cost).max(initial=0.0)) or 1.0
        whole = largest < 1e5 and (cost == np.rint(cost)).all()
        self.cost = np.asarray(cost, dtype=float) if whole else cost * (1e3 / largest)
        self.rows = [cap.members for cap in self.caps]
        self.most = [cap.most for cap in self.caps]
        self.seen = {row.tobytes() for row in self.rows}
        self.rng = np.random.default_rng(0)
        self.smallest = _grown(tableau, np.arange(self.n))

    def solve(self, whole: bool, rows: Sequence[int] | None = None, seconds: float | None = None):
        """x float [n], or None if there is none. `rows`: only these constraints, any x that obeys them."""
        use = range(len(self.rows)) if rows is None else rows
        matrix = np.array([np.ones(self.n)] + [self.rows[k] for k in use], dtype=float)
        upper = np.array([self.size] + [self.most[k] for k in use], dtype=float)
        lower = np.full(len(upper), -np.inf)
        lower[0] = self.size
        options = {"mip_rel_gap": 0.0} | ({} if seconds is None else {"time_limit": seconds})
        out = self._milp(
            self.cost if rows is None else np.zeros(self.n),
            integrality=np.full(self.n, int(whole)),
            bounds=self._Bounds(0, self.upper),
            constraints=self._Constraint(matrix, lower, upper),
            options=options,
        )
        if out.status == 2:
            return None
        if out.x is None:
            if seconds is not None:
                return np.full(self.n, np.nan)
            raise RuntimeError(f"limits: HiGHS gave no answer ({out.message})")
        return out.x

    def add_violated(self, x: np.ndarray) -> bool:
        """Rank constraints that x violates, into the programme; False if none was found.

        A basis is grown along falling x; closures of its first k members are the closed sets looked at. A whole x with a dependent
        support violates one of them: its own closure.
        """
        found = False
        for attempt in range(_ORDERS):
            noise = np.zeros(self.n) if attempt == 0 else self.rng.random(self.n)
            order = np.lexsort((noise, -np.round(x, 9)))
            grown = self.smallest.copy()
            grown = _grown(grown, order)
            position = np.full(len(grown.held), -1)
            members = order[grown.members[order]]
            position[grown.row_of[members]] = np.arange(len(members))
            level = np.where(grown.table != 0, position[:, None] + 1, 0).max(axis=0)  # rank of the first closure
            load = np.cumsum(np.bincount(level, weights=x, minlength=len(members) + 1))
            excess = load - np.arange(len(load))
            for k in np.flatnonzero(excess > _EXCESS):
                # Of neighbouring levels the one with the largest excess; levels of a whole x are all tried.
                if 0 < k < len(excess) - 1 and max(excess[k - 1], excess[k + 1]) > excess[k]:
                    continue
                found |= self._add(level <= k, int(k))
            if attempt == 0:
                found |= self._add_circuits(grown, x)
        return found

    def _add_circuits(self, grown: Tableau, x: np.ndarray) -> bool:
        """Closures of the circuits inside the support of a whole x."""
        found = False
        held = grown.members & (x > 1 - 1e-6)
        for element in np.flatnonzero((x > 1 - 1e-6) & ~grown.members):
            circuit = grown.circuit(int(element))
            if held[circuit].all():
                found |= self._add(grown.span(circuit), len(circuit))
        return found

    def _add(self, members: np.ndarray, most: int) -> bool:
        key = members.tobytes()
        if key in self.seen and most >= min(m for r, m in zip(self.rows, self.most) if r.tobytes() == key):
            return False
        self.seen.add(key)
        self.rows.append(members)
        self.most.append(most)
        return True

    def certificate(self) -> Infeasible:
        """The constraints that still exclude every x when none of them can be left out (each tried for a second)."""
        whole = self.solve(whole=False, rows=range(len(self.rows))) is not None
        keep = list(range(len(self.rows)))
        for k in reversed(range(len(self.rows))):
            fewer = [j for j in keep if j != k]
            if self.solve(whole, fewer, seconds=1.0) is None:
                keep = fewer
        caps = [k for k in keep if k < len(self.caps)]
        ranks = [(self.rows[k], self.most[k]) for k in keep if k >= len(self.caps)]
        return Infeasible(ranks, caps, None)
