"""Predicted against measured: the one place where theorems (theory.py) and fits (match.py) meet.

Each trial's mask is judged by theory alone and its verdict comes from a fit that knows no theory
(`screen=False`: a rank deficient trial is fitted like any other), so the comparison can fail. Two ways it is
read:

- predicted *minimal* (no match exists, T1): a trial that matches is a contradiction, up to the method's
  tolerance;
- predicted *maximal* (a match exists almost surely): a trial without a match only says that this search did
  not find one. It is counted against the accuracy all the same.

*Intermediate* and *unknown* predictions say nothing about a single trial: they are counted, with no accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ._intervals import clopper_pearson

if TYPE_CHECKING:
    from .allocation import Allocation, Strategy
    from .network import Network

__all__ = ["KINDS", "Comparison", "compare_with_theory", "kinds_of_masks", "tally"]

KINDS = ("minimal", "maximal", "intermediate", "unknown")
_NOT_JUDGED = -1
_DISTINCT_MASKS = 4096


@dataclass(frozen=True)
class Comparison:
    """Additive counts: for each kind of prediction the trials it was made for, and how many of them matched.

    counts: {"minimal": (trials, matched), ...}, kinds without a trial left out. Comparisons add up with `+`.
    """

    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            {
                kind: (self.trials(kind) + other.trials(kind), self.matched(kind) + other.matched(kind))
                for kind in KINDS
                if self.trials(kind) + other.trials(kind)
            }
        )

    def trials(self, kind: str | None = None) -> int:
        """Trials with this kind of prediction; without a kind, all trials that were judged."""
        return (
            sum(count for count, _ in self.counts.values())
            if kind is None
            else self.counts.get(kind, (0, 0))[0]
        )

    def matched(self, kind: str) -> int:
        """Trials with this kind of prediction that matched."""
        return self.counts.get(kind, (0, 0))[1]

    def right(self, kind: str) -> int | None:
        """Trials that came out as predicted: minimal and not matched, maximal and matched; else None."""
        if kind == "minimal":
            return self.trials(kind) - self.matched(kind)
        return self.matched(kind) if kind == "maximal" else None

    def accuracy(self, kind: str | None = None) -> float:
        """right / trials of "minimal" or "maximal", or of both together; NaN where that says nothing."""
        kinds = ("minimal", "maximal") if kind is None else (kind,)
        right = [self.right(kind) for kind in kinds]
        count = sum(self.trials(kind) for kind in kinds)
        return sum(right) / count if count and None not in right else float("nan")

    def accuracy_interval(self, kind: str | None = None) -> tuple[float, float]:
        """Clopper-Pearson 95 % interval of `accuracy`."""
        kinds = ("minimal", "maximal") if kind is None else (kind,)
        right = [self.right(kind) for kind in kinds]
        if None in right:
            return 0.0, 1.0
        return clopper_pearson(sum(right), sum(self.trials(kind) for kind in kinds))

    @property
    def coverage(self) -> float:
        """Share of the judged trials with a definite prediction (minimal or maximal); NaN without any."""
        definite = self.trials("minimal") + self.trials("maximal")
        return definite / self.trials() if self.trials() else float("nan")

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """(share predicted maximal, share not predicted minimal): estimates of P(MP = 1 proven) <= MP <= P(MP
        > 0).

        Over the very masks that were measured; exact for a fixed allocation. (None, None) if none was judged.
        """
        if not self.trials():
            return None, None
        return self.trials("maximal") / self.trials(), 1 - self.trials("minimal") / self.trials()

    def to_dict(self) -> dict[str, list[int]]:
        """Plain lists for JSON."""
        return {kind: list(self.counts[kind]) for kind in KINDS if kind in self.counts}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Comparison:
        """What `to_dict` wrote. ValueError if it is something else."""
        counts = {}
        for kind, pair in plain.items():
            good = kind in KINDS and isinstance(pair, (list, tuple)) and len(pair) == 2
            if not good or not all(type(value) is int for value in pair) or not 0 <= pair[1] <= pair[0]:
                raise ValueError(
                    f"compared: expected {{kind: [trials, matched]}} with kinds {', '.join(KINDS)}, "
                    f"got {kind!r}: {pair!r}"
                )
            counts[kind] = (pair[0], pair[1])
        return cls(counts)


def kinds_of_masks(
    net: Network, masks: np.ndarray, shared: tuple[str, ...] = (), most: int = _DISTINCT_MASKS
) -> np.ndarray:
    """int8 [k]: the place in KINDS of what theory predicts for each mask of bool [k, size]; -1 where it was
    not asked.

    Equal masks are judged once. At most `most` distinct masks are judged, those of the first rows: the rest
    is -1.
    """
    masks = np.asarray(masks)
    if masks.dtype != np.bool_ or masks.ndim != 2 or masks.shape[1] != net.size:
        raise ValueError(f"masks: expected bool [k, {net.size}], got {masks.dtype} {list(masks.shape)}")
    packed = np.packbits(masks, axis=1)
    _, place, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(place)  # distinct masks by first appearance
    judged = order[:most]
    kinds = np.full(len(place), _NOT_JUDGED, dtype=np.int8)
    kinds[judged] = _judge(net, masks[place[judged]], shared)
    return kinds[inverse.reshape(-1)]


def _judge(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> np.ndarray:
    """Kinds of distinct masks: ranks of all at once, then one by one those that T1 leaves open."""
    from .allocation import Allocation
    from .generic import attained_ranks, required_rank
    from .theory import predict

    kinds = np.full(len(masks), KINDS.index("minimal"), dtype=np.int8)
    left = np.ones(len(masks), dtype=bool)
    if net.activation != "relu":
        left = attained_ranks(net, masks, shared) >= required_rank(net, shared)
    for place in np.flatnonzero(left):
        kinds[place] = KINDS.index(predict(net, Allocation.from_mask(net, masks[place]), shared).kind)
    return kinds


def tally(kinds: np.ndarray, verdicts: np.ndarray) -> Comparison:
    """Counts of trials by kind (`kinds_of_masks`) and verdict (1 matched; 0 and -1 not), both int8 [k]."""
    if len(kinds) != len(verdicts):
        raise ValueError(f"verdicts: expected {len(kinds)}, one per kind, got {len(verdicts)}")
    return Comparison(
        {
            kind: (int((kinds == place).sum()), int(((kinds == place) & (verdicts == 1)).sum()))
            for place, kind in enumerate(KINDS)
            if (kinds == place).any()
        }
    )


def compare_with_theory(
    net: Network,
    allocation: Allocation | Strategy,
    trials: int = 1000,
    shared: tuple[str, ...] = (),
    most: int = _DISTINCT_MASKS,
    **options: Any,
) -> Comparison:
    """Fit `trials` trials without any rank screen, predict each one's mask, and count how the two agree.

    `options` go to `match_probability` (method, seed, task, starts, tol, threads, gains); `screen` and
    `keep_trials` are set here: a comparison that lets theory answer for the fit could not fail.
    """
    from .match import match_probability

    for name in ("screen", "keep_trials"):
        if name in options:
            raise TypeError(
                f"{name}: expected to be left out of a comparison with theory, got {options[name]!r}"
            )
    result = match_probability(
        net, allocation, trials, shared=shared, screen=False, keep_trials=True, **options
    )
    return tally(kinds_of_masks(net, result.masks, shared, most), result.verdicts)
