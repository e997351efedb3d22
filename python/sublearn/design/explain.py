"""What an allocation lacks (T1, T10): equations it cannot meet, weights that would unlock them, and the counting rules behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..model.allocation import Allocation
from ..model.layers import first_output_right, last_layer, plain
from ..model.linearized import Linearized, check_model
from ..model.network import Network, Recurrent
from ..model.parameters import Parameters
from ..model.strategy import Strategy, fixed_allocation
from ..numerics.matroid import Tableau, cheapest_basis, rank
from ..numerics.numerical_rank import NumericalRank
from ..ranks.closed_forms import feature_rank, signals
from ..ranks.column_matroid import prices
from ..ranks.columns import Columns, columns_of

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Unmet:
    """One combination of equations that the learnable weights cannot move, although all weights could.

    equation: (output, step or sample) counted from 0, with several sequences (output, step, sequence), its place in the outputs for a model
    of `from_jacobian`; tied_to: the other equations in the combination, met first. text: the same in words.
    """

    equation: tuple[int, ...]
    tied_to: tuple[tuple[int, ...], ...]
    text: str


@dataclass(frozen=True)
class Unlock:
    """A frozen weight that adds a missing dimension. edge: as in `Allocation.edges`; moves: number of unmet combinations it acts on;
    cost."""

    edge: tuple
    moves: int
    cost: float


@dataclass(frozen=True)
class Line:
    """A row or column of a group, or a whole group: freeing its frozen weights restores `ranks` missing dimensions."""

    text: str
    ranks: int
    weights: Allocation


@dataclass(frozen=True)
class Explanation:
    """What an allocation lacks; see `explain` for the fields. `str()` gives it in sentences.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.explain(net, sl.rows(net, 3, "W"), ("B", "D"))
    >>> found.missing, found.unmet[0].text
    (1, 'output 0 at step 4: fixed once output 0 at step 1, output 0 at step 2, output 0 at step 3 are met')
    >>> found.completion.edges
    [('W', 0, 3)]
    """

    allocation: Allocation
    shared: tuple[str, ...]
    required_rank: int
    attained_rank: int
    unmet: tuple[Unmet, ...]
    unlocks: tuple[Unlock, ...]
    lines: tuple[Line, ...]
    useless: Allocation
    surplus: Allocation
    completion: Allocation
    completion_cost: float
    rules: tuple[str, ...] = field(default=())
    numerical: NumericalRank | None = None

    @property
    def missing(self) -> int:
        """kappa - rho: dimensions that a match needs and the learnable weights do not reach."""
        return self.required_rank - self.attained_rank

    @property
    def completed(self) -> Allocation:
        """The allocation with the completion added: rho = kappa, so MP > 0."""
        return Allocation.from_mask(self.allocation.net, self.allocation.mask | self.completion.mask)

    def __str__(self) -> str:
        a, net = self.allocation, self.allocation.net
        sure = [] if self.numerical is None else [f"required rank: {self.numerical}"]
        lines = [
            f"{net.describe()}: {a.budget} learnable weights reach rank {self.attained_rank} of the "
            f"{self.required_rank} required (rho, kappa; all places are counted from 0)"
        ]
        if self.surplus.budget:
            lines.append(f"{self.surplus.budget} of them add no dimension, for instance {_edges(self.surplus)}")
        if not self.missing:
            enough = (
                "a match exists with probability above 0 (T1)"
                if self.numerical is None
                else "to first order they move the outputs as all could"
            )
            lines.append(f"nothing is missing: {enough}")
            return "\n".join(lines + [f"rule: {rule}" for rule in self.rules] + sure)
        lack = "a match exists with probability 0 (T1)" if self.numerical is None else "to first order some outputs are tied to others"
        lines.append(f"{self.missing} missing, so {lack}. Equations that cannot be met:")
        lines += [f"  {unmet.text}" for unmet in self.unmet[:8]]
        if len(self.unmet) > 8:
            lines.append(f"  and {len(self.unmet) - 8} more")
        lines += [f"rule: {rule}" for rule in self.rules]
        lines.append(f"frozen weights that unlock one dimension each: {len(self.unlocks)}")
        lines += [f"  {_edge(u.edge)} acts on {u.moves} of the unmet equations" for u in self.unlocks[:5]]
        if len(self.unlocks) > 5:
            lines.append(f"  and {len(self.unlocks) - 5} more; {self.useless.budget} frozen weights unlock nothing")
        lines.append("whole lines: " + "; ".join(f"{line.text} unlocks {line.ranks}" for line in self.lines[:6]))
        lines.append(f"cheapest completion: {self.completion.budget} weights, cost {self.completion_cost:g}: {_edges(self.completion, 12)}")
        return "\n".join(lines + sure)


def explain(
    net: Network | Linearized,
    allocation: Allocation | Strategy,
    shared: tuple[str, ...] = (),
    cost: Mapping[str, Any] | None = None,
) -> Explanation:
    """Which equations an allocation cannot meet, and which further weights would let it (T1, T10).

    allocation: an Allocation, or a strategy that always draws the same one. cost: of the weights that could be added, as in
    `best_allocation`.
    Fields: required_rank (kappa), attained_rank (rho), missing; unmet: a basis of the combinations of equations that only frozen weights
    can move, as many as are missing; unlocks: every frozen weight that adds a dimension, those that act on most unmet combinations first,
    then the cheaper; lines: groups, rows and columns whose frozen weights together unlock most; useless: frozen weights that add none;
    completion: the cheapest set that makes rho = kappa, one weight per missing dimension (matroid greedy in the contraction), completed:
    with it; surplus: learnable weights that could be frozen without losing a dimension; rules: what T4, T5, T6 and T12 imply, in counts.
    Shared groups cannot be unlocked. Ranks hold up to the error probability of a rank mod p; those of a `from_jacobian` are numerical,
    at its point and to first order: numerical says how sure the required rank is (None for networks), and no rules are known.
    Errors: ValueError for relu, another network's allocation or learnable weights in a shared group; TypeError for a random strategy.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> print(sl.explain(net, sl.rows(net, 4, "W"), ("B", "D")))
    recurrent 1-4-1, T=5, linear: 4 learnable weights reach rank 4 of the 4 required (rho, kappa; all places are counted from 0)
    nothing is missing: a match exists with probability above 0 (T1)
    """
    shared = check_model(net, shared)
    allocation = fixed_allocation(net, allocation, shared)
    price = prices(net, cost)
    columns = columns_of(net, shared)
    kappa, mask = columns.kappa, allocation.mask
    tableau = columns.restarted(mask)
    rho = int(tableau.members.sum())
    surplus = mask & ~tableau.members
    frozen = columns.choice & ~mask
    unmet, moves = columns.unmet(mask)
    if len(unmet) != kappa - rho:
        raise RuntimeError(f"{allocation!r}: {len(unmet)} unmet combinations, but rank {rho} of {kappa}")
    contraction = tableau.contraction(frozen)  # its rank is the number of missing dimensions
    useful = contraction.addable()
    completion = cheapest_basis(contraction, price)
    order = sorted(np.flatnonzero(useful).tolist(), key=lambda e: (-moves[e], price[e], e))
    edges = {int(k): edge for k, edge in zip(np.flatnonzero(useful), Allocation.from_mask(net, useful).edges)}
    if columns.numerical is None:
        found = columns.attained(np.stack([mask, mask | completion]))
        if found.tolist() != [rho, kappa]:
            raise RuntimeError(f"{allocation!r}: ranks {found.tolist()} at other points contradict {[rho, kappa]}")
    return Explanation(
        allocation=allocation,
        shared=shared,
        required_rank=kappa,
        attained_rank=rho,
        unmet=tuple(_in_words(columns, row, tied) for row, tied in unmet),
        unlocks=tuple(Unlock(edges[e], int(moves[e]), float(price[e])) for e in order),
        lines=_lines(net, contraction, useful),
        useless=Allocation.from_mask(net, frozen & ~useful),
        surplus=Allocation.from_mask(net, surplus),
        completion=Allocation.from_mask(net, completion),
        completion_cost=math.fsum(price[completion]),
        rules=tuple(_rules(net, mask, shared, rho, kappa)) if isinstance(net, Network) else (),
        numerical=columns.numerical,
    )


def _in_words(columns: Columns, row: int, tied: np.ndarray) -> Unmet:
    name, others = columns.equation_text, tied.tolist()
    if not others:
        text = f"{name(row)}: no learnable weight acts on it"
    elif len(others) <= 4:
        verb = "is" if len(others) == 1 else "are"
        text = f"{name(row)}: fixed once {', '.join(map(name, others))} {verb} met"
    else:
        text = f"{name(row)}: fixed once {len(others)} others are met, {name(others[0])} to {name(others[-1])}"
    return Unmet(columns.equation(row), tuple(map(columns.equation, others)), text)


def _lines(net: Parameters, contraction: Tableau, useful: np.ndarray) -> tuple[Line, ...]:
    """Groups, rows and columns by the number of missing dimensions that their weights restore together."""
    found = []
    for name, place in net.unpack(np.arange(net.size)).items():
        lines = [(f"all of {name}", place.reshape(-1))]
        if place.ndim == 2:
            lines += [(f"row {k} of {name}", row) for k, row in enumerate(place)]
            lines += [(f"column {k} of {name}", column) for k, column in enumerate(place.T)]
        for text, line in lines:
            members = np.zeros(net.size, dtype=bool)
            members[line] = useful[line]
            if members.any():
                found.append(Line(text, rank(contraction, members), Allocation.from_mask(net, members)))
    return tuple(sorted(found, key=lambda line: (-line.ranks, line.weights.budget)))


def _rules(net: Network, mask: np.ndarray, shared: tuple[str, ...], rho: int, kappa: int) -> Iterator[str]:
    """What the counting theorems imply for this allocation, in sentences."""
    model, groups = plain(net), net.unpack(mask)
    used = {name for name, part in groups.items() if part.any()}
    matrix, bias = last_layer(model)
    counts = {name: part.reshape(part.shape[0], -1).sum(axis=1) for name, part in groups.items()}
    if model.extended:
        return
    if used and used <= {matrix, bias}:
        f = feature_rank(model)
        have = counts[matrix] + (counts[bias] if bias else 0)
        short = [f"{k} has {c}" for k, c in enumerate(have) if c < f]
        over = [f"{k} has {c}" for k, c in enumerate(have) if c > f]
        whose = matrix if bias is None else f"[{matrix} {bias}]"
        if short:
            yield (f"every row of {whose} needs {f} learnable weights, the rank of its inputs; row {', '.join(short)} (T4)")
        if over:
            yield f"more than {f} in a row of {whose} add nothing; row {', '.join(over)} (T4)"
        if len(have) * f < kappa:
            yield f"{whose} alone reaches at most {len(have) * f} of {kappa} dimensions (T4)"
        return
    if model.activation != "linear" or not used:
        return
    if isinstance(model, Recurrent):
        n, o, T = model.hidden, model.outputs, model.steps
        e = counts["B"] + counts.get("b", 0)
        if used <= {"B", "b"}:
            total = int(np.minimum(e, T).sum())
            exact = "" if o * (T - 1) <= n else "at most "
            if total < kappa:
                yield (
                    f"rows of B and b count up to T = {T} each: {exact}{total} of {kappa} "
                    "dimensions; a row with more "
                    f"than {T} gains nothing (T5)"
                )
            elif o * (T - 1) <= n:
                yield f"rows of B and b count up to T = {T} each, {total} in all; where in a row is free (T5)"
        elif used <= {"W", "B", "b"}:
            w = counts["W"]
            by_rows = np.minimum(T, e + np.minimum(T - 1, w))
            total = int(by_rows.sum())
            over = [f"{k} has {c}" for k, c in enumerate(w) if c > T - 1]
            if total < kappa:
                yield (
                    f"a row of W counts up to T - 1 = {T - 1} learnable weights (with B and "
                    f"b up to {T}): {total} of "
                    f"{kappa} dimensions; only rows matter, never columns (T12)"
                )
            if over:
                yield f"more than {T - 1} in a row of W add nothing; row {', '.join(over)} (T12)"
            if (e > 0).sum() < o and not first_output_right(model, shared) and kappa == o * T:
                yield (f"y_1 needs learnable weights of B or b in {o} different rows, there are {int((e > 0).sum())} (T12)")
        return
    if len(used) == 1 and not model.is_bias(next(iter(used))):
        name = next(iter(used))
        k = int(name[1:])
        d1, d2 = min(model.widths[k:]), signals(model)[k - 1][0]
        part = groups[name]
        rows = [f"{a} has {c}" for a, c in enumerate(part.sum(axis=1)) if c < d2]
        columns = [f"{b} has {c}" for b, c in enumerate(part.sum(axis=0)) if c < d1]
        if d1 * d2 < kappa:
            yield f"{name} alone reaches at most {d1} x {d2} = {d1 * d2} of {kappa} dimensions (T6)"
        if d1 == model.widths[k] and rows:
            yield f"every row of {name} needs {d2} learnable weights; row {', '.join(rows)} (T6)"
        elif d2 == model.widths[k - 1] and columns:
            yield f"every column of {name} needs {d1} learnable weights; column {', '.join(columns)} (T6)"


def _edge(edge: tuple) -> str:
    return f"{edge[0]}[{', '.join(map(str, edge[1:]))}]"


def _edges(allocation: Allocation, most: int = 4) -> str:
    edges = allocation.edges
    more = f" and {len(edges) - most} more" if len(edges) > most else ""
    return ", ".join(map(_edge, edges[:most])) + more
