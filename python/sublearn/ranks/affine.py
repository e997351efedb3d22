"""The path rule (T2): which allocations have outputs that are affine in their weights, and which of their parts do.

Combinatorics of the learnable weights on the unrolled network; `affine_parts` takes ranks besides, to find a part that is large enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..model.layers import gains_of_last_hidden_layer, has_effect, last_layer, plain
from ..model.network import Feedforward, Network, Recurrent
from .closed_forms import attained_rank_formula
from .generic_rank import ranks_at

_LARGEST_SEARCH = 12  # all 2^12 sets of units are tried, of more units only some
_SETS, _MASKS = 256, 64  # sets of units and masks looked at together


def affine(net: Network, masks: np.ndarray) -> np.ndarray:
    """bool [k] for masks bool [k, size]: are the outputs affine in the learnable weights (T2)?

    Linear: no path from an input or a bias to an output passes two learnable edges (or one of them twice). A
    step of W joins any two units. A gain is an edge between what enters its unit and what leaves it. relu and
    tanh: weights of the last layer and gains in front of it only. Weights that do not act are no edge of any path.
    """
    net = plain(net)
    groups = net.unpack(masks)
    if net.activation != "linear":
        matrix, bias = last_layer(net)
        gain = gains_of_last_hidden_layer(net)
        inner = has_effect(net)
        for name in (matrix, bias, gain):
            if name is not None:
                inner[net.slices[name]] = False
        straight = ~masks[:, inner].any(axis=1)
        return straight if gain is None else straight & ~(groups[gain] & groups[matrix].any(axis=1)).any(axis=1)
    return ~(_meet_recurrent if isinstance(net, Recurrent) else _meet_feedforward)(net, groups)


def _meet_recurrent(net: Recurrent, groups: dict[str, np.ndarray]) -> np.ndarray:
    into = groups["B"].any(axis=2)  # [k, n]: a learnable edge from an input or the bias ends in this unit
    if "b" in groups:
        into = into | groups["b"]
    out = groups["D"].any(axis=1)  # a learnable edge of D starts in this unit
    gain = groups.get("g", np.zeros_like(into))
    if net.steps == 1:
        return ((into & out) | (gain & (into | out))).any(axis=1)
    W = groups["W"]
    row, column = W.any(axis=2), W.any(axis=1)  # a learnable edge of W ends, starts in this unit
    meet = (into.any(axis=1) & out.any(axis=1)) | gain.any(axis=1)  # a gain acts at every step
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
        out = groups[f"W{k + 1}"].any(axis=1)
        gain = groups.get(f"g{k}", np.zeros_like(into))
        meet |= ((into & out) | (gain & (into | out))).any(axis=1)
        some = into.any(axis=1) | gain.any(axis=1)
        for later in range(k + 2, layers + 1):
            meet |= some & groups[f"W{later}"].any(axis=(1, 2))
        for later in range(k + 1, layers):
            if f"g{later}" in groups:
                meet |= some & groups[f"g{later}"].any(axis=1)
    return meet


class Family(NamedTuple):
    """Affine allocations, one for every set S of hidden units: a weight requires its unit to be in S, or not in S.

    allowed: bool [size]; inside, outside: int64 [size], the unit that must (not) be in S, -1 for none.
    Every affine allocation is contained in a member of one of `affine_families(net)`, but for gains of layers below the last hidden one.
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
    gain = gains_of_last_hidden_layer(net)
    families: list[Family] = []
    if gain is not None:  # of every unit its gain, or its outgoing weights
        beside: list[tuple[str, int | None, int | None]] = [(gain, 0, None), (matrix, None, 1)]
        families.append(_family(net, net.groups[gain][0], beside + [(name, None, None) for name in (bias,) if name is not None]))
    if net.activation != "linear":
        return families or [_family(net, 1, outer)]
    if isinstance(net, Feedforward):
        layers = len(net.widths) - 1
        if layers == 1:
            return [_family(net, 1, outer)]
        for k in range(1, layers):
            parts = [(f"W{k}", 0, None), (f"b{k}", 0, None), (f"W{k + 1}", None, 1)]
            parts += [(f"b{later}", None, None) for later in range(k + 1, layers + 1)]
            families.append(_family(net, net.widths[k], parts))
        return families
    n = net.hidden
    if net.steps == 1:  # every unit: its incoming or its outgoing weights
        return [*families, _family(net, n, [("B", 0, None), ("b", 0, None), ("D", None, 1), ("c", None, None)])]
    if net.steps == 2:  # W as one layer between the units at step 1 (its columns) and at step 2 (its rows)
        before = [("B", 0, None), ("b", 0, None), ("W", None, 1), ("c", None, None)]
        after = [("W", 0, None), ("D", None, 1), ("c", None, None)]
        return [_family(net, n, before), _family(net, n, after)]
    families = [_family(net, 1, outer), _family(net, 1, [("B", None, None), ("b", None, None), ("c", None, None)])]
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


def affine_parts(net: Network, masks: np.ndarray, kappa: int) -> tuple[np.ndarray, np.ndarray]:
    """bool [k], and bool [k, size]: an affine part (T2) of rank kappa, where one was found. The masks themselves are not affine.

    All sets of hidden units are tried where at most 12 units have a choice, so no means none exists; of more units a local search tries
    some.
    """
    parts, found = np.zeros_like(masks), np.zeros(len(masks), dtype=bool)
    large = masks.sum(axis=1) > kappa  # a proper part has fewer weights
    for family in affine_families(net):
        rows = np.flatnonzero(large & ~found)
        if not len(rows):
            break
        rows = rows[attained_rank_formula(net, masks[rows] & family.allowed)[0] >= kappa]
        inside, outside = _units_used(family, masks[rows])
        choices = (inside & outside).sum(axis=1)
        for count in np.unique(choices):
            group = np.flatnonzero(choices == count)
            if count > _LARGEST_SEARCH:
                for k in group:
                    found[rows[k]], parts[rows[k]] = _local_search(net, family, masks[rows[k]], inside[k], outside[k], kappa)
                continue
            for start in range(0, len(group), _MASKS if count else len(group)):
                some = group[start : start + _MASKS] if count else group
                for first in range(0, 2**count, _SETS):
                    left = some[~found[rows[some]]]
                    if not len(left):
                        break
                    sets = _unit_sets(inside[left], outside[left], np.arange(first, min(2**count, first + _SETS)))
                    hit, part = _first_of_rank(net, family, masks[rows[left]], sets, kappa)
                    found[rows[left]], parts[rows[left]] = hit, part
    return found, parts


def _units_used(family: Family, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool [k, units] each: units with a learnable weight that wants them in S, out of S."""
    used = masks & family.allowed
    sides = []
    for wants in (family.inside, family.outside):
        side = np.zeros((len(masks), family.units), dtype=bool)
        for unit in range(family.units):
            side[:, unit] = used[:, wants == unit].any(axis=1)
        sides.append(side)
    return sides[0], sides[1]


def _unit_sets(inside: np.ndarray, outside: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """bool [k, len(numbers), units]: the units without a choice where they want to be, the c others as the bits of the numbers say."""
    choice = inside & outside
    sets = np.repeat((inside & ~outside)[:, None], len(numbers), axis=1)
    count = int(choice[0].sum())
    if count:
        places = np.nonzero(choice)[1].reshape(len(choice), 1, count)
        bits = ((numbers[:, None] >> np.arange(count)) & 1).astype(bool)
        np.put_along_axis(sets, np.repeat(places, len(numbers), axis=1), bits[None], axis=2)
    return sets


def _first_of_rank(net: Network, family: Family, masks: np.ndarray, sets: np.ndarray, kappa: int) -> tuple[np.ndarray, np.ndarray]:
    """bool [k], bool [k, size]: for each mask [k, size] the first of its sets [k, s, units] whose member of the family has rank kappa."""
    k, s = sets.shape[:2]
    owner = np.repeat(np.arange(k), s)
    candidates = family.members(sets.reshape(k * s, -1)) & masks[owner]
    for possible in (lambda c: c.sum(axis=1) >= kappa, lambda c: attained_rank_formula(net, c)[0] >= kappa,
                     lambda c: ranks_at(net, c, 0) >= kappa):  # cheap bounds first  # fmt: skip
        good = possible(candidates)
        candidates, owner = candidates[good], owner[good]
    hit, parts = np.zeros(k, dtype=bool), np.zeros_like(masks)
    hits, first = np.unique(owner, return_index=True)
    hit[hits], parts[hits] = True, candidates[first]
    return hit, parts


def _local_search(
    net: Network, family: Family, mask: np.ndarray, inside: np.ndarray, outside: np.ndarray, kappa: int
) -> tuple[bool, np.ndarray]:
    """All in, all out, the fuller side of every unit and random sets; then single flips of the best. One mask [size]."""
    rng = np.random.default_rng(0)
    choice = np.flatnonzero(inside & outside)
    sets = np.repeat((inside & ~outside)[None], 32, axis=0)
    sets[1:, choice] = rng.random((31, len(choice))) < 0.5
    sets[0, choice] = True
    sets[1, choice] = False
    used = mask & family.allowed
    wants_in, wants_out = (np.bincount(side[used & (side >= 0)], minlength=family.units) for side in (family.inside, family.outside))
    sets[2, choice] = (wants_in >= wants_out)[choice]
    hit, part = _first_of_rank(net, family, mask[None], sets[None], kappa)
    if hit[0]:
        return True, part[0]
    ranks = ranks_at(net, family.members(sets) & mask, 0)
    for start in np.argsort(-ranks, kind="stable")[:4]:
        best, rank = sets[start], ranks[start]
        for _ in range(2 * len(choice)):
            flips = np.repeat(best[None], len(choice), axis=0)
            flips[np.arange(len(choice)), choice] ^= True
            after = ranks_at(net, family.members(flips) & mask, 0)
            if after.max() >= kappa:
                return True, family.members(flips[after.argmax()][None])[0] & mask
            if after.max() <= rank:
                break
            best, rank = flips[after.argmax()], after.max()
    return False, np.zeros_like(mask)
