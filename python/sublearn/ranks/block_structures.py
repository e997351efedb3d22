"""Structures inside an allocation that make its equations affine (T2) or solvable one after the other (T7).

Pure combinatorics of the learnable weights on the unrolled network: nothing is drawn and no rank is taken
here. theory/predict.py asks for the ranks that T2 needs besides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..model.network import Feedforward, Network, Recurrent
from .closed_forms import feature_rank, first_output_right, has_effect, last_layer, plain, target_rank

# The path rule (T2)


def affine(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [k] for masks bool [k, size]: are the outputs affine in the learnable weights (T2)?

    Linear: no path from an input or a bias to an output passes two learnable edges (or one of them twice). A
    step of W joins any two units. relu and tanh: weights of the last layer only. Weights that do not act are
    no edge of any path.
    """
    net = plain(net)
    if net.activation != "linear":
        first, *other = [name for name in last_layer(net) if name is not None]
        inner = has_effect(net)
        for name in (first, *other):
            inner[net.slices[name]] = False
        return ~masks[:, inner].any(axis=1)
    groups = net.unpack(masks)
    return ~(_meet_recurrent if isinstance(net, Recurrent) else _meet_feedforward)(net, groups)


def _meet_recurrent(net: Recurrent, groups: dict[str, np.ndarray]) -> np.ndarray:
    into = groups["B"].any(axis=2)  # [k, n]: a learnable edge from an input or the bias ends in this unit
    if "b" in groups:
        into = into | groups["b"]
    out = groups["D"].any(axis=1)  # a learnable edge of D starts in this unit
    if net.steps == 1:
        return (into & out).any(axis=1)
    W = groups["W"]
    row, column = W.any(axis=2), W.any(axis=1)  # a learnable edge of W ends, starts in this unit
    meet = into.any(axis=1) & out.any(axis=1)
    if net.steps == 2:
        return meet | (into & column).any(axis=1) | (row & out).any(axis=1)
    some = row.any(axis=1)
    meet |= some & (into.any(axis=1) | out.any(axis=1))
    if net.steps == 3:
        return meet | (row & column).any(axis=1)
    return meet | some


def _meet_feedforward(net: Feedforward, groups: dict[str, np.ndarray]) -> np.ndarray:
    layers = len(net.widths) - 1
    meet = np.zeros(len(groups["W1"]), dtype=bool)
    for k in range(1, layers):
        into = groups[f"W{k}"].any(axis=2)
        if f"b{k}" in groups:
            into = into | groups[f"b{k}"]
        meet |= (into & groups[f"W{k + 1}"].any(axis=1)).any(axis=1)
        for later in range(k + 2, layers + 1):
            meet |= into.any(axis=1) & groups[f"W{later}"].any(axis=(1, 2))
    return meet


class Family(NamedTuple):
    """Affine allocations, one for every set S of hidden units: a weight asks for a unit in S or out of S.

    allowed: bool [size]; inside, outside: int64 [size], the unit that must (not) be in S, -1 for none.
    Every affine allocation is contained in a member of one of `affine_families(net)`.
    """

    units: int
    allowed: np.ndarray
    inside: np.ndarray
    outside: np.ndarray

    def members(self, sets: np.ndarray) -> np.ndarray:
        """bool [c, size] for sets S given as bool [c, units]."""
        ok = np.repeat(self.allowed[None], len(sets), axis=0)
        ok &= (self.inside < 0) | sets[:, self.inside]
        ok &= (self.outside < 0) | ~sets[:, self.outside]
        return ok


def affine_families(net: Network) -> list[Family]:
    """The maximal affine allocations (T2), see `Family`."""
    net = plain(net)
    matrix, bias = last_layer(net)
    outer = [(matrix, None, None)] + [(bias, None, None)] * (bias is not None)
    if net.activation != "linear":
        return [_family(net, 1, outer)]
    if isinstance(net, Feedforward):
        layers = len(net.widths) - 1
        if layers == 1:
            return [_family(net, 1, outer)]
        families = []
        for k in range(1, layers):
            parts = [(f"W{k}", 0, None), (f"b{k}", 0, None), (f"W{k + 1}", None, 1)]
            parts += [(f"b{later}", None, None) for later in range(k + 1, layers + 1)]
            families.append(_family(net, net.widths[k], parts))
        return families
    n = net.hidden
    if net.steps == 1:  # every unit: its incoming or its outgoing weights
        return [_family(net, n, [("B", 0, None), ("b", 0, None), ("D", None, 1), ("c", None, None)])]
    if net.steps == 2:  # W as one layer between the units at step 1 (its columns) and at step 2 (its rows)
        before = [("B", 0, None), ("b", 0, None), ("W", None, 1), ("c", None, None)]
        after = [("W", 0, None), ("D", None, 1), ("c", None, None)]
        return [_family(net, n, before), _family(net, n, after)]
    families = [
        _family(net, 1, outer),
        _family(net, 1, [("B", None, None), ("b", None, None), ("c", None, None)]),
    ]
    if net.steps == 3 and n > 1:  # W from units in S to units out of S
        families.append(_family(net, n, [("W", 1, 0), ("c", None, None)]))
    return families


def _family(net: Network, units: int, parts: list[tuple[str, int | None, int | None]]) -> Family:
    """parts: (group, axis of the unit that must be in S, axis of the unit that must be out of S)."""
    allowed = np.zeros(net.size, dtype=bool)
    inside = np.full(net.size, -1, dtype=np.int64)
    outside = np.full(net.size, -1, dtype=np.int64)
    for name, axis_in, axis_out in parts:
        if name not in net.groups:
            continue
        where, place = net.slices[name], np.indices(net.groups[name])
        allowed[where] = True
        if axis_in is not None:
            inside[where] = place[axis_in].reshape(-1)
        if axis_out is not None:
            outside[where] = place[axis_out].reshape(-1)
    return Family(units, allowed, inside, outside)


# Structures that are solved block by block (T7)


class Structure(NamedTuple):
    """name: "row", "column", ...; witness: bool [size], the learnable weights that the structure uses."""

    name: str
    witness: np.ndarray


def solvable_structures(net: Network, mask: np.ndarray, shared: tuple[str, ...]) -> list[Structure]:
    """The structures of T7 inside one mask bool [size]; see `structures_in`."""
    return [Structure(name, witness[0]) for name, has, witness in structures_in(net, mask[None], shared) if has[0]]


def structures_in(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The row and column structures of T7 inside masks bool [k, size] of a linear recurrent network: (name, has, witness) for each kind.

    row                     o rows of W with >= T - 1 learnable weights each, y_1 being right
    column                  one column of W with >= o (T - 1) learnable weights, y_1 being right
    row, nothing shared     o rows of [W B b] with >= T learnable weights each, at least one of them in B or b
    column, nothing shared  a whole column of D, and >= o (T - 1) learnable weights in the same column of W

    has: bool [k]; witness: bool [k, size], the weights used, meaningful where `has`. y_1 is right when B, b, D and c are shared, or when
    all of c may learn (then c is solved first, as a block of its own). The conditions o <= n, T - 1 <= n and o (T - 1) <= n hold where so
    many weights exist.
    """
    if not isinstance(net, Recurrent) or net.activation != "linear" or net.steps == 1 or not len(masks):
        return []
    n, o, T = net.hidden, net.outputs, net.steps
    groups = net.unpack(masks)
    W, D = groups["W"], groups["D"]
    w, down = W.sum(axis=2), W.sum(axis=1)
    e = groups["B"].sum(axis=2) + groups.get("b", 0)
    found = []
    first_right = np.full(len(masks), first_output_right(net, shared))
    c_first = groups["c"].all(axis=1) if "c" in groups else np.zeros(len(masks), dtype=bool)
    solved_c = {"c": c_first[:, None] & groups["c"]} if "c" in groups else {}
    if (first_right | c_first).any():
        has, rows = _fullest(w, w >= T - 1, o)
        found.append(("row", has & (first_right | c_first), _witness(net, {"W": W & rows[:, :, None]} | solved_c)))
        longest = np.arange(n) == down.argmax(axis=1)[:, None]
        has = (down.max(axis=1) >= o * (T - 1)) & (first_right | c_first)
        found.append(("column", has, _witness(net, {"W": W & longest[:, None]} | solved_c)))
    has, rows = _fullest(w + e, e + np.minimum(w, T - 1) >= T, o)  # W alone brings T - 1: one in B or b at least
    parts = {name: groups[name] & (rows[:, :, None] if name != "b" else rows) for name in ("W", "B", "b") if name in groups}
    found.append(("row, nothing shared", has, _witness(net, parts)))
    whole = D.all(axis=1) & (down >= o * (T - 1))
    only = (np.arange(n) == whole.argmax(axis=1)[:, None])[:, None]
    found.append(("column, nothing shared", whole.any(axis=1), _witness(net, {"W": W & only, "D": D & only})))
    return found


def change_of_basis(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(has bool [k], witness bool [k, size]): recurrent, linear: all of W with all of B and b, or all of W with all of D (T7).

    A change of basis S takes the teacher to W = S W* S^-1, B = S B*, b = S b*, D = D* S^-1, the same function for every number of steps.
    One equation is left for S: D S = D* for the frozen D (o <= n), or S [B* b*] = [B b] (i, with b i + 1, at most n); generic, S is
    invertible. c has to be shared, or all of it learnable.
    """
    has, witness = np.zeros(len(masks), dtype=bool), np.zeros_like(masks)
    if not isinstance(net, Recurrent) or net.activation != "linear":
        return has, witness
    whole = {name: masks[:, net.slices[name]].all(axis=1) for name in net.groups}
    constant = whole["c"] if "c" in whole and "c" not in shared else np.ones(len(masks), dtype=bool)
    into = [name for name in ("B", "b") if name in net.groups]
    for names, fits in (([*into, "W"], net.outputs <= net.hidden), (["W", "D"], net.inputs + len(into) - 1 <= net.hidden)):
        take = np.all([constant, *(whole[name] for name in names)], axis=0) & ~has & fits
        used = np.zeros(net.size, dtype=bool)
        for name in names + [name for name in ("c",) if name in net.groups]:
            used[net.slices[name]] = True
        has |= take
        witness[take] = used & masks[take]
    return has, witness


def _fullest(count: np.ndarray, good: np.ndarray, o: int) -> tuple[np.ndarray, np.ndarray]:
    """bool [k]: are there o good rows; bool [k, n]: those with the most learnable weights. count, good: [k, n]."""
    chosen = np.zeros(count.shape, dtype=bool)
    order = np.argsort(np.where(good, -count, 1), axis=1, kind="stable")[:, :o]
    np.put_along_axis(chosen, order, True, axis=1)
    return good.sum(axis=1) >= o, chosen


def _witness(net: Network, parts: dict[str, np.ndarray]) -> np.ndarray:
    """bool [k, size] of parts [k, *shape] by group."""
    witness = np.zeros((len(next(iter(parts.values()))), net.size), dtype=bool)
    for group, part in parts.items():
        witness[:, net.slices[group]] = part.reshape(len(part), -1)
    return witness


class Split(NamedTuple):
    """Output split (T7) of some masks: the output rows that the last layer solves by itself, the same for all, and what is left.

    which: int64 [m], the masks. held: bool [m, size], learnable last-layer weights of the solved rows. rest: the network with the other
    outputs only. masks: bool [m, rest.size], the learnable weights left to it. place: int64 [rest.size], where each weight of `rest` sits
    in the whole network.
    """

    which: np.ndarray
    held: np.ndarray
    rest: Network
    masks: np.ndarray
    place: np.ndarray


def output_splits(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> list[Split]:
    """Masks bool [k, size] by the output rows whose learnable last-layer weights reach every target, against the others (T7). Linear.

    A row is solved by itself when its learnable weights read features of full rank f and every target lies in their span, whatever the
    inner weights are. Masks where no row is, or all are (then T2 decides), are in no split.
    """
    net = plain(net)
    if net.activation != "linear" or feature_rank(net) < target_rank(net, shared):
        return []
    matrix, bias = last_layer(net)
    groups = net.unpack(masks)
    count = groups[matrix].sum(axis=2) + (groups[bias] if bias else 0)
    solved = count >= target_rank(net, shared)
    places = net.unpack(np.arange(net.size))
    found = []
    for rows in np.unique(solved, axis=0):
        if rows.all() or not rows.any():
            continue
        which = np.flatnonzero((solved == rows).all(axis=1))
        outputs = int((~rows).sum())
        if isinstance(net, Recurrent):
            rest: Network = replace(net, outputs=outputs)
        else:
            rest = replace(net, widths=(*net.widths[:-1], outputs))
        held = np.zeros(net.size, dtype=bool)
        kept = []
        for name, place in places.items():
            if name in (matrix, bias):
                held[place[rows].reshape(-1)] = True
                place = place[~rows]
            kept.append(place.reshape(-1))
        place = np.concatenate(kept)
        found.append(Split(which, held & masks[which], rest, masks[which][:, place], place))
    return found
