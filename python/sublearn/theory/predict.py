"""Predictions of one allocation, or of many: exact ranks first, and with them verdicts and the theorems behind them.

Ranks are taken exactly mod p at a random point (T1, ranks/generic_rank.py); closed forms (ranks/closed_forms.py: T3 to T6, T12) bound them
and are checked against them; proofs of a match probability of one are in theory/proofs.py (T2, T7, T9) and homotopy/real_solutions.py (T8).
Nothing is fitted here and no measured number is read: prediction and measurement meet in compare.py.

A rank mod p is never too large, and too small with probability at most degree / p. So "rho = kappa" is proven when rho mod p meets an upper
bound of kappa, "rho < kappa" when kappa mod p exceeds an upper bound of rho; any other verdict holds up to the error probability stated,
after a second prime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..homotopy.real_solutions import ERROR, degrees_of, odd_parts
from ..model.allocation import Allocation
from ..model.checks import check_shared
from ..model.layers import last_layer, plain
from ..model.linearized import Linearized, check_model
from ..model.network import Network
from ..model.strategy import Strategy, fixed_allocation
from ..ops.arguments import distinct_rows
from ..ranks.generic_rank import (
    attained_ranks,
    attained_with_bounds,
    check_masks,
    free_weights,
    miss,
    region_ranks,
    required_in_regions,
    required_with_error,
    whole_in_regions,
)
from ..ranks.numerical import numerical_rank
from .proofs import proofs_of

__all__ = ["KINDS", "Prediction", "Predictions", "attained_rank", "predict", "predictions"]

KINDS = ("minimal", "maximal", "intermediate", "unknown")  # the order of tables and of results.csv


@dataclass(frozen=True)
class Prediction:
    """What theory predicts of one allocation; see `predict`.

    kind: "minimal" (the match probability MP is 0), "maximal" (MP = 1), "intermediate" (MP > 0, 1 not excluded) or "unknown" (no
    theorem). reason: label of the theorem. attained_rank, required_rank: rho and kappa (relu: the largest found among sampled regions).
    degree: delta (D7) of the allocation, None where it was not counted.
    sure: "proven", "error below ..." (a probability over the random point mod p, or of the stopping rule that counts a degree), or
    "sampled" (relu: shown by real trials in floating point); error: the same as a number, 0.0 if proven, None if sampled.
    witness: the part of the allocation that proves "maximal", None if it is the whole allocation or no part is needed.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.predict(net, sl.rows(net, 5, "W"), ("B", "D"))
    >>> found.kind, found.reason, found.sure, found.witness.budget
    ('maximal', 'T9 via T7 row', 'proven', 4)
    """

    kind: str
    attained_rank: int
    required_rank: int
    degree: int | None
    reason: str
    sure: str
    error: float | None
    witness: Allocation | None
    explanation: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason}): {self.explanation}"


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Sequence[Prediction]):
    """What theory predicts of k allocations of one network; see `predictions`. Entry [i] is the `Prediction` of masks[i].

    masks: bool [k, size]. kind, reason: str [k], as in `Prediction`. attained_rank: int64 [k]; required_rank: int, the same for all.
    degree: int64 [k], -1 where it was not counted. error: float64 [k], 0 where proven, nan where sampled (relu). witness: bool [k, size],
    the part that proves "maximal"; all False where no part is needed.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> masks = [sl.scattered(net, budget, "W").draw(0).mask for budget in (8, 12)]
    >>> found = sl.predictions(net, np.array(masks), shared=("B", "D"))
    >>> found.attained_rank, found.required_rank, found[0].reason
    (array([ 8, 10]), 10, 'T1')
    """

    net: Network
    shared: tuple[str, ...]
    masks: np.ndarray
    kind: np.ndarray
    reason: np.ndarray
    attained_rank: np.ndarray
    required_rank: int
    degree: np.ndarray
    error: np.ndarray
    witness: np.ndarray
    _text: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, k):
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        error = None if np.isnan(self.error[k]) else float(self.error[k])
        witness = Allocation.from_mask(self.net, self.witness[k]) if self.witness[k].any() else None
        text = self._text[k]
        if witness is not None:
            text += f" (a part of {witness.budget} of the {int(self.masks[k].sum())} learnable weights)"
        return Prediction(
            kind=str(self.kind[k]),
            attained_rank=int(self.attained_rank[k]),
            required_rank=self.required_rank,
            degree=None if self.degree[k] < 0 else int(self.degree[k]),
            reason=str(self.reason[k]),
            sure="sampled" if error is None else "proven" if error == 0.0 else f"error below {error:.1e}",
            error=error,
            witness=witness,
            explanation=text,
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        counts = ", ".join(f"{int((self.kind == kind).sum())} {kind}" for kind in KINDS if (self.kind == kind).any())
        return f"<Predictions for {len(self)} allocations of {self.net.describe()}: {counts or 'none'}>"


def predict(net: Network, allocation: Allocation | Strategy, shared: tuple[str, ...] = (), degree: bool = False) -> Prediction:
    """What is provably true of the match probability (D5) of one allocation, by T1 to T9, T11 and T12.

    `allocation`: an Allocation, or a strategy that always draws the same one. `shared`: groups copied from the teacher.
    linear, tanh: rho < kappa is "minimal" (T1). With rho = kappa, "maximal" if the outputs are affine in the learnable weights (T2), if
    they can be solved for block by block (T7, linear), if a part of the allocation is like that ("T9 via ..."), or if every weight that is
    not shared may learn (D4); "intermediate" (T1) otherwise.
    relu: "intermediate" if a region with rho = kappa was found, "minimal" only if fewer weights may learn than any region requires,
    "maximal" only if every weight may learn, otherwise "unknown" (T11).
    degree=True (linear; it takes time): where that leaves "intermediate", the generic degree delta (D7) is counted by monodromy (see
    homotopy/system.py). Odd: "maximal" (T8), and so is an allocation with an odd square part ("T9 via T8", up to 16 parts are tried). Even:
    still "intermediate", with E[real solutions] / delta <= MP <= E / 2, which `parity_bounds` measures.
    Errors: ValueError for an allocation of another network or a learnable weight in a shared group, TypeError for a random strategy (see
    `predict_strategy`), RuntimeError if a rank and a closed form contradict each other.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> found = sl.predict(net, sl.rows(net, 10, "W"), shared=("B", "D"))
    >>> found.kind, found.attained_rank, found.required_rank, found.reason
    ('minimal', 7, 10, 'T1')
    """
    shared = check_shared(net, shared)
    mask = fixed_allocation(net, allocation, shared, hint="; its .draw(seed) gives one of them, predict_strategy judges them all").mask
    return predictions(net, mask[None], shared, degree)[0]


def predictions(net: Network, masks: np.ndarray, shared: tuple[str, ...] = (), degree: bool = False) -> Predictions:
    """`predict` for many allocations of one network at once: masks bool [k, size].

    Each verdict is that of `predict`; equal masks are judged once. One core judges 30 000 to 500 000 masks of a small network in a
    second, so this is the way to judge the masks of a study.
    Errors: TypeError for masks that are not bool, ValueError for a wrong shape or a learnable weight in a shared group.

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> masks = [sl.scattered(net, budget, "W").draw(0).mask for budget in (8, 12)]
    >>> sl.predictions(net, np.array(masks), shared=("B", "D")).kind
    array(['minimal', 'intermediate'], dtype='<U12')
    """
    shared = check_shared(net, shared)
    masks = check_masks(net, masks, shared)
    distinct, which = distinct_rows(masks)
    judge = _judge_relu if plain(net).activation == "relu" else _judge
    found = judge(plain(net), distinct, shared)
    if degree and plain(net).activation == "linear" and not net.extended:
        _use_degrees(plain(net), found, shared)
    part = found.witness & (found.witness != distinct).any(axis=1)[:, None]
    return Predictions(
        net=net,
        shared=shared,
        masks=masks,
        kind=np.array(KINDS)[found.kind[which]],
        reason=found.reason[which],
        attained_rank=found.rank[which],
        required_rank=found.kappa,
        degree=found.degree[which],
        error=found.error[which],
        witness=part[which],
        _text=found.text[which],
    )


def attained_rank(net: Network | Linearized, allocation: Allocation | Strategy, shared: tuple[str, ...] = ()) -> int:
    """rho (D6): rank of the Jacobian in the learnable weights, at a generic point. Below `required_rank` there is no match (T1).

    allocation: an Allocation, or a strategy that always draws the same one. Exact and with errors as `required_rank`; ValueError for a
    learnable weight in a shared group, TypeError for a random strategy (see `predictions` for many masks).

    >>> net = sl.Recurrent(inputs=2, hidden=8, outputs=2, steps=6)
    >>> sl.attained_rank(net, sl.rows(net, 10, "W"), shared=("B", "D"))
    7
    """
    shared = check_model(net, shared)
    mask = fixed_allocation(net, allocation, shared, hint="; see predictions").mask
    if isinstance(net, Linearized):
        return numerical_rank(net, allocation, shared).rank
    return int(attained_ranks(net, mask[None], shared)[0])


class _Verdicts:
    """Arrays over k distinct masks while they are filled in; kind is a place in KINDS, witness the weights that prove MP = 1."""

    def __init__(self, masks: np.ndarray, rank: np.ndarray, kappa: int) -> None:
        k = len(masks)
        self.masks, self.rank, self.kappa = masks, rank, kappa
        self.kind = np.zeros(k, dtype=np.int8)
        self.reason, self.text = np.full((2, k), "", dtype=object)
        self.degree = np.full(k, -1, dtype=np.int64)
        self.error = np.zeros(k)
        self.witness = np.zeros_like(masks)

    def settle(self, rows: np.ndarray | int, kind: str, reason: object, error: object, text: object) -> None:
        self.kind[rows], self.reason[rows], self.error[rows], self.text[rows] = KINDS.index(kind), reason, error, text


def _judge(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> _Verdicts:
    """Linear and tanh networks."""
    required = required_with_error(net, shared)
    kappa = required.rank
    ranks, bounds = attained_with_bounds(net, masks, required.whole)
    found = _Verdicts(masks, ranks, kappa)
    for rank in np.unique(ranks[ranks < kappa]).tolist():
        rows = ranks == rank
        text = f"the learnable weights reach {rank} of the {kappa} dimensions that a match needs, so MP = 0"
        found.settle(rows, "minimal", "T1", np.where(bounds[rows] < kappa, 0.0, miss(net, rank + 1, 2)), text)
    beside = (kappa <= ranks) & (ranks < required.whole)
    text = (
        f"kappa = {kappa}, but gains in front of shared weights reach {required.whole} dimensions, most of them no teacher's: "
        "with fewer no theorem applies"
    )
    found.settle(beside, "unknown", "T1", required.error, text)
    every = beside & masks[:, free_weights(net, shared)].all(axis=1)
    text = "every weight in which teachers differ may learn: the teacher's own weights are a match, so MP = 1"
    found.settle(every, "maximal", "D4", 0.0, text)
    full = np.flatnonzero(ranks == required.whole)
    proofs = proofs_of(net, masks[full], shared, required)
    reached = "rho = kappa" if required.whole == kappa else f"rho = {required.whole}, kappa"
    text = f"{reached} = {kappa}, so MP > 0; no structure was found that makes it 1"
    found.settle(full[proofs.open], "intermediate", "T1", required.error, text)
    proven = ~np.equal(proofs.reason, None)
    part = (proofs.witness != masks[full]).any(axis=1)
    for k in np.flatnonzero(proven).tolist():
        found.reason[full[k]] = f"T9 via {proofs.reason[k]}" if part[k] else proofs.reason[k]
    rows = full[proven]
    texts = {text: f"{reached} = {kappa} and {text}, so MP = 1" for text in set(proofs.text[proven])}
    found.settle(rows, "maximal", found.reason[rows], proofs.error[proven], [texts[text] for text in proofs.text[proven]])
    found.witness[rows] = proofs.witness[proven]
    return found


def _use_degrees(net: Network, found: _Verdicts, shared: tuple[str, ...]) -> None:
    """T8 where the verdict is "intermediate": the parity of the degree, or of that of some square parts (T9)."""
    kappa = found.kappa
    left = np.flatnonzero(found.kind == KINDS.index("intermediate"))
    square = found.masks[left].sum(axis=1) == kappa
    rows = left[square]
    found.degree[rows] = degrees_of(net, found.masks[rows], shared)
    odd = "the generic number of complex solutions, {}, is odd: one is real, so MP = 1"
    for row in rows[found.degree[rows] > 0]:
        delta = found.degree[row]
        if delta % 2:
            found.settle(row, "maximal", "T8", max(found.error[row], ERROR), odd.format(delta))
        else:
            found.text[row] += f"; delta = {delta} is even: E[real solutions] / {delta} <= MP <= E / 2"
    rows = left[~square]
    degrees, parts = odd_parts(net, found.masks[rows], shared, kappa)
    for row, delta, part in zip(rows, degrees, parts):
        if delta:
            found.settle(row, "maximal", "T9 via T8", max(found.error[row], ERROR), odd.format(delta))
            found.witness[row] = part


def _judge_relu(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> _Verdicts:
    """T11. In a dead region the last hidden layer is silent for all inputs: outputs are the output bias, or zero."""
    free, needed, whole = free_weights(net, shared), required_in_regions(net, shared), whole_in_regions(net, shared)
    reached = region_ranks(net, masks)
    kappa = int(needed.max())
    found = _Verdicts(masks, reached.max(axis=1), kappa)
    bias = last_layer(net)[1]
    outputs = net.groups[bias][0] if bias is not None else 0
    dead = outputs if bias is not None and bias not in shared else 0
    dead_reached = masks[:, net.slices[bias]].sum(axis=1) if dead else np.zeros(len(masks), dtype=np.int64)
    same = (reached == whole) & (needed > 0)
    for row, rank in enumerate(found.rank.tolist()):
        if masks[row, free].all():
            text = "every weight that is not shared may learn: the teacher's own weights are a match, so MP = 1"
            found.settle(row, "maximal", "D4", 0.0, text)
        elif same[row].any():
            most = int(needed[same[row]].max())
            text = f"in {int(same[row].sum())} of {len(needed)} sampled regions rho = kappa (up to {most}), so MP > 0"
            found.settle(row, "intermediate", "T11", np.nan, text)
        elif dead_reached[row] == dead:
            text = (
                f"rho < kappa in every sampled region that is not dead (largest {rank} and {kappa}), "
                "but teacher and student can both be dead, with equal outputs, so MP > 0"
            )
            found.settle(row, "intermediate", "T11", 0.0, text)
        elif int(masks[row].sum()) < dead:
            text = f"every region requires at least the {dead} dimensions of the output bias, so MP = 0"
            found.settle(row, "minimal", "T11", 0.0, text)
        else:
            text = f"no region with rho = kappa was found (largest {rank} and {kappa}); no theorem applies"
            found.settle(row, "unknown", "T11", np.nan, text)
    return found
