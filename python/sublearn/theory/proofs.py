"""Why masks of full rank match in every trial: affine (T2), solvable block by block (T7), a part of them is so (T9), all is free (D4).

Many masks of one network at once. Structures come from ranks/block_structures.py, ranks of parts from ranks/generic_rank.py; the verdicts
that need no such proof (T1, T11) and the words are in theory/predict.py, odd degrees (T8) in homotopy/real_solutions.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..model.network import Network
from ..ranks.block_structures import Family, affine, affine_families, change_of_basis, output_splits, structures_in
from ..ranks.closed_forms import attained_rank_formula
from ..ranks.generic_rank import Required, attained_with_bounds, free_weights, ranks_at, required_with_error

_LARGEST_SEARCH = 12  # all 2^12 sets of units are tried, of more units only some
_SETS, _MASKS = 256, 64  # sets of units and masks looked at together


@dataclass(eq=False)
class Proofs:
    """Why MP = 1, for k masks. reason: object [k], a label or None; witness: bool [k, size], the weights used; error: float64 [k],
    probability that a rank mod p misled; text: object [k], half a sentence."""

    reason: np.ndarray
    witness: np.ndarray
    error: np.ndarray
    text: np.ndarray

    def settle(self, rows: np.ndarray, reason: str, witness: np.ndarray, error: float, text: str) -> None:
        self.reason[rows], self.witness[rows], self.error[rows], self.text[rows] = reason, witness, error, text

    @property
    def open(self) -> np.ndarray:
        """int64: masks without a proof so far."""
        return np.flatnonzero(np.equal(self.reason, None))


def proofs_of(net: Network, masks: np.ndarray, shared: tuple[str, ...], required: Required) -> Proofs:
    """Proofs for masks bool [k, size] with rho = kappa (linear, tanh), as far as they are found."""
    k = len(masks)
    proofs = Proofs(np.full(k, None, dtype=object), np.zeros_like(masks), np.zeros(k), np.full(k, "", dtype=object))
    straight = affine(net, masks)
    proofs.settle(straight, "T2", masks[straight], required.error, "the outputs are affine in the learnable weights")
    open_ = proofs.open
    if not len(open_):
        return proofs
    structures = structures_in(net, masks[open_], shared)
    for whole in (True, False):  # a structure that is all of the mask before one that is a part
        for name, has, witness in structures:
            take = has & np.equal(proofs.reason[open_], None)
            if whole:
                take &= (witness == masks[open_]).all(axis=1)
            text = f"the equations can be solved block by block ({name})"
            proofs.settle(open_[take], f"T7 {name}", witness[take], 0.0, text)
    open_ = proofs.open
    found, parts = affine_parts(net, masks[open_], required.rank)
    text = "the outputs are affine in enough of the learnable weights"
    proofs.settle(open_[found], "T2", parts[found], required.error, text)
    open_ = proofs.open
    for split in output_splits(net, masks[open_], shared):
        _solve_split(proofs, masks, open_, split, shared)
    open_ = proofs.open
    every = open_[masks[open_][:, free_weights(net, shared)].all(axis=1)]
    text = "every weight that is not shared may learn: the teacher's own weights are a match"
    proofs.settle(every, "D4", masks[every], 0.0, text)
    open_ = proofs.open
    has, witness = change_of_basis(net, masks[open_], shared)
    text = "a change of basis of the hidden units takes the teacher to the frozen weights"
    proofs.settle(open_[has], "T7 change of basis", witness[has], 0.0, text)
    return proofs


def _solve_split(proofs: Proofs, masks: np.ndarray, open_: np.ndarray, split, shared: tuple[str, ...]) -> None:
    required = required_with_error(split.rest, shared)
    full = np.flatnonzero(attained_with_bounds(split.rest, split.masks, required.rank)[0] == required.rank)
    inner = proofs_of(split.rest, split.masks[full], shared, required)
    for number, reason in enumerate(inner.reason):
        if reason is not None:
            row = full[number]
            witness = split.held[row].copy()
            witness[split.place[inner.witness[number]]] = True
            text = f"some outputs are solved by their own last-layer row, the others by {reason}"
            proofs.settle(open_[split.which[row]], "T7 output split", witness, inner.error[number], text)


# Affine parts (T9 via T2)


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
