"""Closed forms for ranks (T3, T4, T5, T6, T12): sizes and counts of weights go in, ranks come out.

Nothing is drawn and no matrix is built here. Where the theory gives an equality the value is marked exact,
where it gives an inequality the value is an upper bound; theory/predict.py puts exact ranks mod p beside both.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np

from .._checks import list_of_names, whole_number
from ..model.layers import first_output_right, has_effect, last_layer, plain
from ..model.network import Feedforward, Network, Recurrent

# Required rank


def required_rank_bound(net: Network, shared: tuple[str, ...] = ()) -> int:
    """Upper bound of kappa, any activation: weights that act, and outputs not the teacher's anyway."""
    free = has_effect(net)
    for name in (*shared, *net.gain):  # gains are 1 in every teacher
        free[net.slices[name]] = False
    equations = net.equations
    if isinstance(net, Recurrent) and first_output_right(net, shared):
        equations -= net.outputs * net.samples
    return min(int(free.sum()), equations)


def required_rank_formula(net: Network, shared: tuple[str, ...] = ()) -> int | None:
    """kappa of a linear network (T3), or None where no closed form is known.

    Recurrent: any of B, W, D shared; a bias b that is shared exactly when B is acts like one more input; a
    free b beside shared B, W and D; a free c in the cases listed in the code. Feedforward: nothing shared,
    with no bias or all.
    """
    net = plain(net)
    if net.activation != "linear" or net.extended:
        return None
    if isinstance(net, Recurrent):
        return _required_recurrent(net, frozenset(shared))
    return _required_feedforward(net) if not shared else None


def _required_recurrent(net: Recurrent, shared: frozenset[str]) -> int | None:
    n, o, T = net.hidden, net.outputs, net.steps
    b, c = "b" in net.bias, "c" in net.bias
    free_b, free_c = b and "b" not in shared, c and "c" not in shared
    B, W, D = (name in shared for name in "BWD")
    nu = [(n + o - j) // o for j in range(1, o + 1)]
    q = min(o, n)
    if b and B == free_b:  # B and b are not shared together
        if B and W and D and not free_c:
            return sum(min(T, v) for v in nu[:q])
        return None
    i = net.inputs + b
    p = min(i, n)
    if not free_c:
        if B and W and D:
            return 0
        if B and W:
            return o * min(T, n)
        if W and D:
            return sum(min(T, i * v) for v in nu[:q])
        if B and D:
            return sum(min(T - 1, n + (v - 1) * p) for v in nu[:q])
        if W:
            return min(n * (i + o) - n, sum(min(T, n + i * v) for v in nu))
        if D:
            return sum(min(T, n + i * v) for v in nu[:q])
        if B:
            return sum(min(T, n + p * v) for v in nu)
        return sum(min(T, n + i * v) for v in nu)
    # A free c adds one direction to every output row that is not yet full. Other cases have no such sum.
    if B and W and D:
        return o
    if B and W:
        return o * min(T, n + 1)
    if B and D:
        return sum(min(T, n + (v - 1) * p + 1) for v in nu[:q]) + (o - q)
    if b and D and not W:
        return sum(min(T, n + i * v + 1) for v in nu[:q]) + (o - q)
    if b and W and not (B or D):
        return min(n * (i + o) - n + o, sum(min(T, n + i * v + 1) for v in nu))
    if b and not (B or W or D):
        return sum(min(T, n + i * v + 1) for v in nu)
    return None


def _required_feedforward(net: Feedforward) -> int | None:
    n, layers = net.widths, len(net.widths) - 1
    if net.bias and len(net.bias) < layers:
        return None
    m = min(net.samples - bool(net.bias), n[0])
    w = min(*n[1:], m)
    return bool(net.bias) * n[-1] + w * (n[-1] + m - w)


# Signals inside a network


@lru_cache(maxsize=256)
def signals(net: Network) -> tuple[tuple[int, bool], ...]:
    """(rank, holds the constant) of the signal before each layer, at generic weights and inputs.

    A signal is a matrix units x samples (units x steps); `holds the constant` says whether (1, .., 1) is in
    its row space. Feedforward: one entry for every layer. Recurrent: one entry, the hidden activity before D.
    Not for relu.
    """
    net = plain(net)
    if net.activation == "relu":
        raise ValueError("net: expected a linear or tanh network, got relu (its ranks change from region to region)")
    if isinstance(net, Recurrent):
        rank = min(net.hidden, net.samples * net.steps)
        return ((rank, rank == net.samples * net.steps),)
    n, m = net.widths, net.samples
    rank = min(n[0], m)
    out = [(rank, rank == m)]
    for k in range(1, len(n) - 1):
        rank, constant = out[-1]
        if net.activation == "tanh":
            rank = min(n[k], m)
            constant = rank == m
        else:
            constant = constant or f"b{k}" in net.bias
            most = rank + (constant and not out[-1][1])
            rank = min(n[k], most)
            constant = constant and rank == most
        out.append((rank, constant))
    return tuple(out)


def feature_rank(net: Network) -> int:
    """f of T4: rank of what the last layer reads, the constant of an output bias included."""
    rank, constant = signals(net)[-1]
    return rank + (last_layer(net)[1] is not None and not constant)


def target_rank(net: Network, shared: tuple[str, ...] = ()) -> int:
    """Dimension of a space that holds every row of y, whatever the free weights are (linear)."""
    net = plain(net)
    if isinstance(net, Recurrent):
        return net.samples * net.steps
    layers = len(net.widths) - 1
    known = 0  # layers that teacher and student share from the inputs on: their signal is the same
    while known < layers - 1 and all(f"{kind}{known + 1}" in shared for kind in "Wb" if f"{kind}{known + 1}" in net.groups):
        known += 1
    rank, constant = signals(net)[known]
    later = any(f"b{k}" in net.bias for k in range(known + 1, layers + 1))
    return rank + (later and not constant)


# Attained rank


def attained_rank_formula(net: Network, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds int64 [k] of rho for masks bool [k, size], and bool [k]: the bound is rho itself.

    Exact: the last layer (T4); B and b with o (T - 1) <= n (T5); W with o <= n and o (T - 2) <= n, W with B
    or b and o (T - 1) <= n (T12); one layer whose map after is injective or whose signal before has full row
    rank (T6). Linear and tanh (for tanh only T4 is exact); not for relu.
    """
    net = plain(net)
    groups = {name: part if part.ndim == 3 else part[:, :, None] for name, part in net.unpack(masks).items()}
    rows = {name: part.sum(axis=2, dtype=np.int64) for name, part in groups.items()}
    if net.extended:
        bound, exact = np.full(len(masks), net.equations), np.zeros(len(masks), dtype=bool)
    else:
        bound, exact = (_attained_recurrent if isinstance(net, Recurrent) else _attained_feedforward)(net, groups, rows)
    acting = masks[:, has_effect(net)].sum(axis=1, dtype=np.int64)
    exact |= acting == 0
    return np.minimum(bound, np.minimum(acting, net.equations)), exact


def _attained_recurrent(net: Recurrent, groups: dict, rows: dict) -> tuple[np.ndarray, np.ndarray]:
    n, o, T = net.hidden, net.outputs, net.steps
    none = np.zeros((1, 1), dtype=np.int64)
    w, e = rows["W"] * (T > 1), rows["B"] + rows.get("b", none)
    d = rows["D"] + rows.get("c", none)
    q = min(o, n)
    # Row a of [W B b] reaches T dimensions, T - 1 of them through W alone; y_1 needs B or b.
    by_rows = np.minimum(T, e + np.minimum(T - 1, w)).sum(axis=1)
    inner = np.minimum(by_rows, q * (T - 1) + np.minimum(q, (e > 0).sum(axis=1)))
    last = np.minimum(d, feature_rank(net)).sum(axis=1)
    some_w, some_e, some_d = (part.any(axis=1) for part in (w, e, d))
    exact = ~some_w & ~some_e
    if net.activation == "linear":
        if o <= n and o * (T - 2) <= n:
            exact |= ~some_d & ~some_e
        if o * (T - 1) <= n:
            exact |= ~some_d & (~some_w | (o <= n))
    return inner + last, exact


def _attained_feedforward(net: Feedforward, groups: dict, rows: dict) -> tuple[np.ndarray, np.ndarray]:
    n, linear = net.widths, net.activation == "linear"
    layers = len(n) - 1
    bound = np.zeros(len(rows["W1"]), dtype=np.int64)
    used = np.zeros(len(bound), dtype=np.int64)
    exact = np.ones(len(bound), dtype=bool)
    for k in range(1, layers + 1):
        # Column (a, b) of J is (row b of the signal before) x (column a of the map after), T6.
        rank, constant = signals(net)[k - 1]
        after = min(n[k:])
        bias = rows.get(f"b{k}", np.zeros((1, 1), dtype=np.int64))
        some_bias = bias.any(axis=1)
        by_rows = np.minimum(rows[f"W{k}"] + bias, rank + (bias > 0) * (not constant)).sum(axis=1)
        here, sure = by_rows, np.full(len(bound), k == layers or (linear and after == n[k]))
        if linear:
            columns = groups[f"W{k}"].sum(axis=1, dtype=np.int64)
            by_columns = np.minimum(columns, after).sum(axis=1) + np.minimum(bias.sum(axis=1), after)
            full = np.minimum(by_rows, after * (rank + some_bias * (not constant)))
            sure = sure | ((rank == n[k - 1]) & (~some_bias | (not constant)))
            here = np.minimum(full, by_columns)
        some = (rows[f"W{k}"] + bias).any(axis=1)
        used += some
        exact &= ~some | sure
        bound += here
    return bound, exact & (used <= 1)


# Counting


def scattered_full_rank_chance(
    net: Network, budget: int, within: str | tuple[str, ...] = "W", shared: tuple[str, ...] = ()
) -> Fraction | None:
    """P(rho = kappa) of `budget` weights scattered in the groups `within`, counted; None where no count is known.

    Counted: W (T12), B and b (T5), the last layer (T4), one inner layer whose map after is injective or whose signal before has full row
    rank (T6), each where it is exact. There rho = sum over lines (rows, or columns) of min(learnable in the line, most).
    Errors: ValueError for an unknown group and a budget beyond the groups.
    """
    net = plain(net)
    names = list_of_names("within", (within,) if isinstance(within, str) else within, tuple(net.groups))
    sizes = [net.slices[name].stop - net.slices[name].start for name in names]
    budget = whole_number("budget", budget, 0, sum(sizes), f"the weights of {', '.join(names)}")
    kappa = required_rank_formula(net, shared)
    rule = None if kappa is None else line_rule(net, frozenset(names))
    if rule is None or set(names) & set(shared):
        return None
    _, lines, length, most, whole = rule
    if kappa > whole:
        return Fraction(0)
    most_placed = min(lines * length, 1 << max(0, budget - 1).bit_length())  # budgets of one size share a count
    return Fraction(_ways(lines, length, most, kappa, most_placed)[budget], comb(lines * length, budget))


@lru_cache(maxsize=1024)
def _ways(lines: int, length: int, most: int, kappa: int, most_placed: int) -> list[int]:
    """In how many ways 0 to most_placed weights lie in the lines so that sum over lines of min(weights in the line, most) >= kappa.

    ways[rank, placed], rank at most kappa: line after line, the sum over `here` weights in it of comb(length, here) times what was before.
    """
    ways = np.zeros((kappa + 1, most_placed + 1), dtype=object)  # whole numbers beyond 64 bits
    ways[0, 0] = 1
    for _ in range(lines):
        after = np.zeros_like(ways)
        for here in range(min(length, most_placed) + 1):
            gain, moved = min(here, most, kappa), comb(length, here) * ways[:, : most_placed + 1 - here]
            after[gain:, here:] += moved[: kappa + 1 - gain]
            after[kappa, here:] += moved[kappa + 1 - gain :].sum(axis=0)  # beyond kappa counts as kappa
        ways = after
    return ways[kappa].tolist()


class LineRule(NamedTuple):
    """rho of allocations inside some groups: the sum over lines of min(learnable in the line, most), `whole` if all may learn.

    axis: 0 where the lines are rows (a bias is one more column), 1 where they are columns. lines, length: how many, and their weights.
    """

    axis: int
    lines: int
    length: int
    most: int
    whole: int


def line_rule(net: Network, names: frozenset[str]) -> LineRule | None:
    """The rule for allocations inside the groups `names`, None if their rho is no such sum (T4, T5, T6, T12)."""
    net = plain(net)
    if net.extended:
        return None
    matrix, bias = last_layer(net)
    if names == {matrix, bias} - {None}:
        outputs, inputs = net.groups[matrix]
        return LineRule(0, outputs, inputs + (bias is not None), feature_rank(net), outputs * feature_rank(net))
    if net.activation != "linear":
        return None
    if isinstance(net, Recurrent):
        n, o, T = net.hidden, net.outputs, net.steps
        if names == {"W"} and T > 1 and o <= n and o * (T - 2) <= n:
            return LineRule(0, n, n, T - 1, o * (T - 1))
        if names == {"B", *(["b"] if "b" in net.bias else [])} and o <= n and o * (T - 1) <= n:
            return LineRule(0, n, net.inputs + ("b" in net.bias), T, o * T)
        return None
    for k in range(1, len(net.widths) - 1):
        rows, columns = net.groups[f"W{k}"]
        after, before = min(net.widths[k:]), signals(net)[k - 1][0]
        if names == {f"W{k}"} and after == rows:
            return LineRule(0, rows, columns, before, rows * before)
        if names == {f"W{k}"} and before == columns:
            return LineRule(1, columns, rows, after, columns * after)
    return None
