"""Why masks of full rank match in every trial: affine (T2), solvable block by block (T7), a part of them is so (T9), all is free (D4).

Many masks of one network at once. Structures come from ranks/block_structures.py, ranks of parts from ranks/generic_rank.py; the verdicts
that need no such proof (T1, T11) and the words are in theory/predict.py, odd degrees (T8) in homotopy/real_solutions.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..model.network import Network
from ..ranks.affine import affine, affine_parts
from ..ranks.block_structures import change_of_basis, output_splits, structures_in
from ..ranks.generic_rank import Required, attained_with_bounds, free_weights, required_with_error


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
    found, parts = affine_parts(net, masks[open_], required.whole)
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
