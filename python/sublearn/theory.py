"""What the theory says of an allocation before anything is fitted: ranks, and with them verdicts.

Ranks are taken exactly mod p at a random point (T1); closed forms (_closed_forms.py: T3 to T6, T12) bound
them and are checked against them; affine and solvable structures (_structures.py: T2, T7) prove a match
probability of one. Nothing is fitted here and no measured number is read: prediction and measurement meet in
compare.py.

A rank mod p is never too large, and too small with probability at most degree / p. So "rho = kappa" is proven
when rho mod p meets an upper bound of kappa, "rho < kappa" when kappa mod p exceeds an upper bound of rho;
any other verdict holds up to the error probability stated, after a second prime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ._closed_forms import (
    LARGEST_SIDE,
    attained_rank_formula,
    last_layer,
    layer_spans,
    plain,
    scattered_full_rank_chance,
)
from ._errors import whole_number
from ._structures import Family, affine, affine_families, output_split, solvable_structures
from .allocation import Allocation, Strategy, as_strategy, check_allocation, check_shared, fixed_allocation
from .continuation import degree as count_solutions
from .generic import (
    Required,
    attained_ranks,
    attained_with_bounds,
    free_weights,
    miss,
    ranks_at,
    region_ranks,
    required_rank,
    required_with_error,
)
from .network import Feedforward, Network

__all__ = [
    "KINDS",
    "Prediction",
    "StrategyPrediction",
    "attained_rank",
    "attained_rank_formula",
    "attained_ranks",
    "is_affine",
    "layer_spans",
    "predict",
    "predict_strategy",
    "required_rank",
    "scattered_full_rank_chance",
]

KINDS = ("minimal", "intermediate", "maximal", "unknown")

_LARGEST_SEARCH = 12  # all 2^12 sets of units are tried, of more units only some


@dataclass(frozen=True)
class Prediction:
    """What the theory says of one allocation; see `predict`.

    kind: "minimal" (the match probability MP is 0), "maximal" (MP = 1), "intermediate" (MP > 0, 1 not
    excluded) or "unknown" (no theorem). reason: label of the theorem. attained_rank, required_rank: rho and
    kappa (relu: the largest found among sampled regions). degree: delta (D7) where `predict` was asked for it.
    sure: "proven", "error below ..." (a probability over the random point mod p), or "sampled" (relu: shown
    by real trials in floating point); error: the same as a number, 0.0 if proven, None if sampled.
    witness: the part of the allocation that proves "maximal", None if it is the whole allocation or no part
    is needed.
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


@dataclass(frozen=True)
class StrategyPrediction:
    """What the theory says of a strategy, counted over drawn masks; see `predict_strategy`.

    draws: masks drawn; kinds: number of masks of every kind; full_rank: share with rho = kappa; maximal:
    share with a proven match probability of one. lower <= MP <= upper, up to the sampling error of `draws`
    masks.
    """

    net: Network
    strategy: Strategy
    shared: tuple[str, ...]
    draws: int
    required_rank: int
    kinds: dict[str, int]
    full_rank: float
    error: float | None

    @property
    def maximal(self) -> float:
        return self.kinds["maximal"] / self.draws

    @property
    def lower(self) -> float:
        """P(kind is maximal): masks that match with probability one."""
        return self.maximal

    @property
    def upper(self) -> float:
        """P(kind is not minimal): all other masks never match. For linear and tanh this is P(rho = kappa)."""
        return 1.0 - self.kinds["minimal"] / self.draws

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items() if count)
        return (
            f"{self.strategy.name}: {self.lower:.4g} <= MP <= {self.upper:.4g}; "
            f"P(rho = kappa = {self.required_rank}) = {self.full_rank:.4g}; of {self.draws} masks {counts}"
        )


def predict(
    net: Network, allocation: Allocation | Strategy, shared: tuple[str, ...] = (), degree: bool = False
) -> Prediction:
    """What is provably true of the match probability (D5) of one allocation, by T1 to T7, T9, T11 and T12.

    `allocation`: an Allocation, or a strategy that always draws the same one. `shared`: groups copied from
    the teacher.
    linear, tanh: rho < kappa is "minimal" (T1). With rho = kappa, "maximal" if the outputs are affine in the
    learnable weights (T2), if they can be solved for block by block (T7, linear), if a part of the allocation
    is like that ("T9 via ..."), or if every weight that is not shared may learn (D4); "intermediate" (T1)
    otherwise.
    relu: "intermediate" if a region with rho = kappa was found, "minimal" only if fewer weights may learn
    than any region requires, "maximal" only if every weight may learn, otherwise "unknown" (T11).
    degree=True (linear; it takes time): where that leaves "intermediate", the generic degree delta (D7) is
    counted by monodromy (D7, see continuation.py). Odd: "maximal" (T8), and so is an allocation with an odd
    square part ("T9 via T8"). Even: still "intermediate", with E[real solutions] / delta <= MP <= E / 2.
    Errors: ValueError for an allocation of another network or a learnable weight in a shared group, TypeError
    for a random strategy (see `predict_strategy`), RuntimeError if a rank and a closed form contradict each
    other.
    """
    shared = check_shared(net, shared)
    mask = _one_mask(net, allocation, shared)
    prediction = _predictions(net, mask[None], shared)[0]
    _check_layer_counts(net, mask, prediction.attained_rank)
    if degree and prediction.kind == "intermediate" and plain(net).activation == "linear":
        return _with_degree(plain(net), net, mask, shared, prediction)
    return prediction


def predict_strategy(
    net: Network,
    strategy: Strategy | Allocation,
    shared: tuple[str, ...] = (),
    draws: int = 1000,
    seed: int = 0,
) -> StrategyPrediction:
    """Bounds of a strategy's match probability, P(maximal) <= MP <= P(rho = kappa), over drawn masks.

    The masks are those of trials 0 .. draws - 1 (task 0) of this seed. A fixed strategy is counted once.
    Errors: as for `predict`.
    """
    shared = check_shared(net, shared)
    strategy = as_strategy(strategy)
    check_allocation(net, strategy, shared)
    draws = 1 if strategy.allocation is not None else whole_number("draws", draws, 1)
    masks, counts = np.unique(strategy.masks(seed, 0, 0, draws), axis=0, return_counts=True)
    kinds, full, errors = dict.fromkeys(KINDS, 0), 0, []
    for count, prediction in zip(counts.tolist(), _predictions(net, masks, shared)):
        kinds[prediction.kind] += count
        full += count * (prediction.attained_rank == prediction.required_rank)
        errors.append(prediction.error)
    error = None if None in errors else max(errors)
    return StrategyPrediction(
        net, strategy, shared, draws, required_rank(net, shared), kinds, full / draws, error
    )


def attained_rank(net: Network, allocation: Allocation | Strategy, shared: tuple[str, ...] = ()) -> int:
    """rho (D6): rank of the Jacobian in the learnable weights, at a generic point; see `attained_ranks`."""
    shared = check_shared(net, shared)
    return int(attained_ranks(net, _one_mask(net, allocation, shared)[None], shared)[0])


def is_affine(net: Network, allocation: Allocation | Strategy) -> bool:
    """Whether the outputs are affine in the learnable weights, by the path rule (T2).

    For relu this holds in the last layer as well, but does not make the match probability one there.
    """
    return bool(affine(net, _one_mask(net, allocation, ())[None])[0])


# Verdicts


def _one_mask(net: Network, allocation: Allocation | Strategy, shared: tuple[str, ...]) -> np.ndarray:
    return fixed_allocation(net, allocation, shared, hint="; see predict_strategy").mask


def _predictions(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> list[Prediction]:
    model = plain(net)
    if model.activation == "relu":
        return [_predict_relu(net, mask, shared) for mask in masks]
    required = required_with_error(model, shared)
    kappa = required.rank
    ranks, bounds = attained_with_bounds(model, masks, kappa)
    straight = affine(model, masks)
    return [
        _minimal(model, rank, kappa, bound)
        if rank < kappa
        else _full_rank(net, mask, shared, required, bool(is_straight))
        for mask, rank, bound, is_straight in zip(masks, ranks.tolist(), bounds.tolist(), straight)
    ]


def _minimal(net: Network, rank: int, kappa: int, bound: int) -> Prediction:
    error = 0.0 if bound < kappa else miss(net, rank + 1, 2)
    text = f"the learnable weights reach {rank} of the {kappa} dimensions that a match needs, so MP = 0"
    return Prediction("minimal", rank, kappa, None, "T1", _sure(error), error, None, text)


def _full_rank(
    net: Network, mask: np.ndarray, shared: tuple[str, ...], required: Required, straight: bool
) -> Prediction:
    """The verdict where rho = kappa (linear, tanh)."""
    kappa = required.rank
    proof = _proof(plain(net), mask, shared, required, straight)
    if proof is None:
        text = f"rho = kappa = {kappa}, so MP > 0; no structure was found that makes it 1"
        return Prediction(
            "intermediate", kappa, kappa, None, "T1", _sure(required.error), required.error, None, text
        )
    part = None if (proof.witness == mask).all() else Allocation.from_mask(net, proof.witness)
    reason, text = proof.reason, f"rho = kappa = {kappa} and {proof.text}, so MP = 1"
    if part is not None and reason != "D4":
        reason = f"T9 via {reason}"
        text = f"{text} (a part of {part.budget} of the {int(mask.sum())} learnable weights)"
    return Prediction("maximal", kappa, kappa, None, reason, _sure(proof.error), proof.error, part, text)


class _Proof(NamedTuple):
    """Why MP = 1: label, the weights used bool [size], error probability, half a sentence."""

    reason: str
    witness: np.ndarray
    error: float
    text: str


def _proof(
    net: Network, mask: np.ndarray, shared: tuple[str, ...], required: Required, straight: bool
) -> _Proof | None:
    """A proof that MP = 1 for a mask of full rank, or None (linear, tanh)."""
    if straight:
        return _Proof("T2", mask, required.error, "the outputs are affine in the learnable weights")
    structures = solvable_structures(net, mask, shared)
    if structures:
        name, witness = next((s for s in structures if (s.witness == mask).all()), structures[0])
        return _Proof(f"T7 {name}", witness, 0.0, f"the equations can be solved block by block ({name})")
    part = _affine_part(net, mask, required.rank)
    if part is not None:
        return _Proof("T2", part, required.error, "the outputs are affine in enough of the learnable weights")
    split = output_split(net, mask, shared)
    if split is not None:
        inner = _split_proof(split.rest, split.mask, shared)
        if inner is not None:
            witness = split.held.copy()
            witness[split.place[inner.witness]] = True
            text = f"some outputs are solved by their own last-layer row, the others by {inner.reason}"
            return _Proof("T7 output split", witness, inner.error, text)
    if mask[free_weights(net, shared)].all():
        text = "every weight that is not shared may learn: the teacher's own weights are a match"
        return _Proof("D4", mask, 0.0, text)
    return None


def _split_proof(rest: Network, mask: np.ndarray, shared: tuple[str, ...]) -> _Proof | None:
    required = required_with_error(rest, shared)
    if attained_with_bounds(rest, mask[None], required.rank)[0][0] < required.rank:
        return None
    return _proof(rest, mask, shared, required, bool(affine(rest, mask[None])[0]))


_DEGREE_ERROR = 1e-6  # of monodromy's stopping rule
_PARTS = 8  # square parts whose degree is counted


def _with_degree(
    model: Network, net: Network, mask: np.ndarray, shared: tuple[str, ...], prediction: Prediction
) -> Prediction:
    """T8 for a prediction that is "intermediate": parity of the degree, or of that of some square parts."""
    kappa, error = prediction.required_rank, max(prediction.error or 0.0, _DEGREE_ERROR)
    odd = "the generic number of complex solutions, {}, is odd: one is real, so MP = 1"
    if int(mask.sum()) == kappa:
        delta = count_solutions(model, mask, shared, error=_DEGREE_ERROR)
        if delta % 2:
            text = odd.format(delta)
            return replace(prediction, kind="maximal", degree=delta, reason="T8", sure=_sure(error), error=error, explanation=text)
        text = f"{prediction.explanation}; delta = {delta} is even: E[real solutions] / {delta} <= MP <= E / 2"
        return replace(prediction, degree=delta, explanation=text)
    rng = np.random.default_rng([net.size, kappa])
    places = np.flatnonzero(mask)
    parts = np.zeros((16 * _PARTS, mask.size), dtype=bool)
    for part in parts:
        part[rng.choice(places, kappa, replace=False)] = True
    for part in parts[attained_ranks(model, parts, shared) == kappa][:_PARTS]:
        delta = count_solutions(model, part, shared, error=_DEGREE_ERROR)
        if delta % 2:
            text = f"{odd.format(delta)} (a part of {kappa} of the {len(places)} learnable weights)"
            return replace(
                prediction, kind="maximal", reason="T9 via T8", sure=_sure(error), error=error,
                witness=Allocation.from_mask(net, part), explanation=text,
            )  # fmt: skip
    return prediction


def _sure(error: float | None) -> str:
    if error is None:
        return "sampled"
    return "proven" if error == 0.0 else f"error below {error:.1e}"


def _check_layer_counts(net: Network, mask: np.ndarray, rank: int) -> None:
    """T6: counts alone exclude, and for thin kernels decide, that one inner layer reaches its rank."""
    model = plain(net)
    if not isinstance(model, Feedforward) or model.activation != "linear":
        return
    used = [name for name, part in net.unpack(mask).items() if part.any()]
    if len(used) != 1 or net.is_bias(used[0]) or min(net.groups[used[0]]) > LARGEST_SIDE:
        return
    layer = int(used[0][1:])
    whole = np.zeros(net.size, dtype=bool)
    whole[net.slices[used[0]]] = True
    most = int(attained_ranks(net, whole[None])[0])
    says = layer_spans(model, layer, net.unpack(mask)[used[0]])
    if says is not None and says != (rank == most):
        raise RuntimeError(
            f"{net.describe()}: the counts of T6 say that {used[0]} {'reaches' if says else 'cannot reach'} "
            f"rank {most}, the rank mod p is {rank}"
        )


# Affine parts of an allocation (T9 via T2)


def _affine_part(net: Network, mask: np.ndarray, kappa: int) -> np.ndarray | None:
    """An affine part (T2) of rank kappa, bool [size], or None if none was found.

    All sets of hidden units are tried where at most 12 units have a choice, so None means none exists; of
    more units a local search tries some.
    """
    for family in affine_families(net):
        inside, outside = _units_used(family, mask)
        choice = np.flatnonzero(inside & outside)
        fixed = inside & ~outside
        search = _all_sets if len(choice) <= _LARGEST_SEARCH else _some_sets
        for sets in search(net, family, mask, fixed, choice):
            found = _first_of_rank(net, family.members(sets) & mask, kappa)
            if found is not None:
                return found
    return None


def _units_used(family: Family, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool [units] each: units with a learnable weight that wants them in S, out of S."""
    used = mask & family.allowed
    inside, outside = np.zeros((2, family.units), dtype=bool)
    inside[family.inside[used & (family.inside >= 0)]] = True
    outside[family.outside[used & (family.outside >= 0)]] = True
    return inside, outside


def _first_of_rank(net: Network, masks: np.ndarray, kappa: int) -> np.ndarray | None:
    masks = masks[attained_rank_formula(net, masks)[0] >= kappa]
    step = 256
    for start in range(0, len(masks), step):
        hit = np.flatnonzero(ranks_at(net, masks[start : start + step], 0) >= kappa)
        if hit.size:
            return masks[start + hit[0]]
    return None


def _all_sets(
    net: Network, family: Family, mask: np.ndarray, fixed: np.ndarray, choice: np.ndarray
) -> Iterator[np.ndarray]:
    sets = np.repeat(fixed[None], 2 ** len(choice), axis=0)
    sets[:, choice] = (np.arange(len(sets))[:, None] >> np.arange(len(choice))) & 1
    yield sets


def _some_sets(
    net: Network, family: Family, mask: np.ndarray, fixed: np.ndarray, choice: np.ndarray
) -> Iterator[np.ndarray]:
    """All in, all out, the fuller side of every unit and random sets; then single flips of the best."""
    rng = np.random.default_rng(0)
    sets = np.repeat(fixed[None], 32, axis=0)
    sets[1:, choice] = rng.random((31, len(choice))) < 0.5
    sets[0, choice] = True
    sets[1, choice] = False
    used = mask & family.allowed
    wants_in = np.bincount(family.inside[used & (family.inside >= 0)], minlength=family.units)
    wants_out = np.bincount(family.outside[used & (family.outside >= 0)], minlength=family.units)
    sets[2, choice] = (wants_in >= wants_out)[choice]
    yield sets
    ranks = ranks_at(net, family.members(sets) & mask, 0)
    for start in np.argsort(-ranks, kind="stable")[:4]:
        best, rank = sets[start], ranks[start]
        for _ in range(2 * len(choice)):
            flips = np.repeat(best[None], len(choice), axis=0)
            flips[np.arange(len(choice)), choice] ^= True
            yield flips
            after = ranks_at(net, family.members(flips) & mask, 0)
            if after.max() <= rank:
                break
            best, rank = flips[after.argmax()], after.max()


# relu (T11)


def _predict_relu(net: Network, mask: np.ndarray, shared: tuple[str, ...]) -> Prediction:
    free = free_weights(net, shared)
    reached, needed = region_ranks(net, mask), region_ranks(net, free)
    rank, kappa = int(reached.max()), int(needed.max())
    if mask[free].all():
        text = "every weight that is not shared may learn: the teacher's own weights are a match, so MP = 1"
        return Prediction("maximal", rank, kappa, None, "D4", "proven", 0.0, None, text)
    # In a dead region the last hidden layer is silent for all inputs: outputs are the output bias, or zero.
    bias = last_layer(net)[1]
    outputs = net.y_shape[-1] if bias == "c" else net.y_shape[0]
    dead = outputs if bias is not None and bias not in shared else 0
    dead_reached = int(mask[net.slices[bias]].sum()) if dead else 0
    same = (reached == needed) & (needed > 0)
    if same.any():
        most = int(needed[same].max())
        text = f"in {int(same.sum())} of {len(same)} sampled regions rho = kappa (up to {most}), so MP > 0"
        return Prediction("intermediate", rank, kappa, None, "T11", "sampled", None, None, text)
    if dead_reached == dead:
        text = (
            f"rho < kappa in every sampled region that is not dead (largest {rank} and {kappa}), "
            "but teacher and student can both be dead, with equal outputs, so MP > 0"
        )
        return Prediction("intermediate", rank, kappa, None, "T11", "proven", 0.0, None, text)
    if int(mask.sum()) < dead:
        text = f"every region requires at least the {dead} dimensions of the output bias, so MP = 0"
        return Prediction("minimal", rank, kappa, None, "T11", "proven", 0.0, None, text)
    text = f"no region with rho = kappa was found (largest {rank} and {kappa}); no theorem applies"
    return Prediction("unknown", rank, kappa, None, "T11", "sampled", None, None, text)
