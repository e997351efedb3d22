"""Structures inside an allocation of a linear network that are solved block by block (T7): rows, columns, changes of basis, output splits.

Combinatorics of the learnable weights: nothing is drawn and no rank is taken here. Affine allocations (T2) are in ranks/affine.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..model.layers import first_output_right, last_layer, plain
from ..model.network import Network, Recurrent
from .closed_forms import feature_rank, target_rank

# The path rule (T2)


# Structures that are solved block by block (T7)


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
    if not isinstance(net, Recurrent) or net.extended or net.activation != "linear" or net.steps == 1 or not len(masks):
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
    if not isinstance(net, Recurrent) or net.extended or net.activation != "linear":
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
    if net.activation != "linear" or net.extended or feature_rank(net) < target_rank(net, shared):
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
