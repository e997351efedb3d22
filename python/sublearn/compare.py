"""Predicted against measured: the one place where theorems (theory/predict.py) and fits (match/probability.py) meet.

Each trial's mask is judged by theory alone and its verdict comes from a fit that knows no theory
(`screen=False`: a rank deficient trial is fitted like any other), so the comparison can fail. Two ways it is
read:

- predicted *minimal* (no match exists, T1): a trial that matches is a contradiction, up to the method's
  tolerance;
- predicted *maximal* (a match exists almost surely): a trial without a match only shows that this search did
  not find one. It is counted against the accuracy all the same.

*Intermediate* and *unknown* predictions imply nothing for a single trial: they are counted, with no accuracy.

Against exact verdicts (`compare_with_exact`, linear networks) a maximal prediction can be refuted too: by a trial whose complex solutions
are all known and none of them real.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._checks import no_mask
from .data.trials import draw_trials
from .match.decide import decide_drawn
from .match.methods import EXACT, check_settings
from .match.probability import match_probability
from .match.problem import NO_NEAR_MISS
from .model.allocation import Allocation
from .model.layers import plain
from .model.network import Network
from .model.strategy import Strategy, as_strategy
from .numerics.intervals import clopper_pearson
from .ops.arguments import distinct_rows
from .ranks.generic_rank import check_masks, required_rank
from .theory.certain import safe_ends
from .theory.predict import KINDS, predict, predictions

__all__ = ["Comparison", "ExactComparison", "compare_with_exact", "compare_with_theory", "kinds_of_masks", "tally"]

_NOT_JUDGED = -1
_DISTINCT_MASKS = 4096


@dataclass(frozen=True)
class Comparison:
    """Additive counts: for each kind of prediction the trials it was made for, and how many of them matched.

    counts: {"minimal": (trials, matched), ...}, kinds without a trial left out. Comparisons add up with `+`.

    >>> both = sl.Comparison({"minimal": (200, 0)}) + sl.Comparison({"maximal": (100, 98)})
    >>> both.trials(), both.right("maximal"), both.accuracy("maximal"), both.coverage
    (300, 98, 0.98, 1.0)
    """

    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)

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
        return sum(count for count, _ in self.counts.values()) if kind is None else self.counts.get(kind, (0, 0))[0]

    def matched(self, kind: str) -> int:
        """Trials with this kind of prediction that matched."""
        return self.counts.get(kind, (0, 0))[1]

    def right(self, kind: str) -> int | None:
        """Trials that came out as predicted: minimal and not matched, maximal and matched; else None."""
        if kind == "minimal":
            return self.trials(kind) - self.matched(kind)
        return self.matched(kind) if kind == "maximal" else None

    def accuracy(self, kind: str | None = None) -> float:
        """right / trials of "minimal" or "maximal", or of both together; NaN without such a trial."""
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
        """(low, high): P(MP = 1 proven) >= low and P(MP > 0) <= high, so low <= MP <= high, at 95 % each. (None, None) if none was judged.

        Ends of Clopper-Pearson intervals of the shares predicted maximal and not minimal: the judged trials are a sample of the masks.
        """
        if not self.trials():
            return None, None
        return safe_ends(self.trials("maximal"), self.trials("minimal"), self.trials())

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
                raise ValueError(f"compared: expected {{kind: [trials, matched]}} with kinds {', '.join(KINDS)}, got {kind!r}: {pair!r}")
            counts[kind] = (pair[0], pair[1])
        return cls(counts)


def kinds_of_masks(net: Network, masks: np.ndarray, shared: tuple[str, ...] = (), most: int = _DISTINCT_MASKS) -> np.ndarray:
    """int8 [k]: the place in KINDS of what theory predicts for each mask of bool [k, size]; -1 for masks
    that were not judged.

    Equal masks are judged once. At most `most` distinct masks are judged, those of the first rows: the rest
    is -1.
    """
    no_mask("masks", masks)
    masks = np.asarray(masks)
    if masks.dtype != np.bool_ or masks.ndim != 2 or masks.shape[1] != net.size:
        raise ValueError(f"masks: expected bool [k, {net.size}], got {masks.dtype} {list(masks.shape)}")
    distinct, which = distinct_rows(masks)
    first = np.full(len(distinct), len(masks))
    np.minimum.at(first, which, np.arange(len(masks)))
    judged = np.argsort(first)[:most]  # by first appearance
    kinds = np.full(len(distinct), _NOT_JUDGED, dtype=np.int8)
    kinds[judged] = _judge(net, distinct[judged], shared)
    return kinds[which]


def _judge(net: Network, masks: np.ndarray, shared: tuple[str, ...]) -> np.ndarray:
    """Kinds of distinct masks. Fewer weights than kappa cannot reach it (T1): such masks, of most small cells, need no rank."""
    masks = check_masks(net, masks, shared)
    kinds = np.full(len(masks), KINDS.index("minimal"), dtype=np.int8)
    least = 0 if plain(net).activation == "relu" else required_rank(net, shared)
    rest = masks.sum(axis=1) >= least
    if rest.any():
        kinds[rest] = [KINDS.index(kind) for kind in predictions(net, masks[rest], shared).kind]
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
    most: distinct masks that are judged; those of further trials stay out of the counts. Errors: as for `match_probability`.

    >>> net = sl.Recurrent(inputs=2, hidden=4, outputs=2, steps=6)
    >>> found = sl.compare_with_theory(net, sl.scattered(net, 3, "W"), 200, shared=("B", "D"))
    >>> found.trials("minimal"), found.matched("minimal")
    (200, 0)
    """

    for name in ("screen", "keep_trials"):
        if name in options:
            raise TypeError(f"{name}: expected to be left out of a comparison with theory, got {options[name]!r}")
    result = match_probability(net, allocation, trials, shared=shared, screen=False, keep_trials=True, **options)
    return tally(kinds_of_masks(net, result.masks, shared, most), result.verdicts)


@dataclass(frozen=True)
class ExactComparison:
    """One allocation: its predicted kind, and exact verdicts of `trials` trials (see `compare_with_exact`).

    matched + refuted + undecided = trials. by_theorem: matched trials without a solution of their own in hand ("D4", "T8"; they test
    nothing). found, found_first: trials in which a search without a rank screen reaches a relative loss below NO_NEAR_MISS,
    within all its starts and with the first.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.compare_with_exact(net, sl.rows(net, 4, "W"), 50, ("B", "D"))
    >>> found.matched, found.certified, found.right
    (50, 50, 50)
    """

    kind: str
    reason: str
    budget: int
    attained_rank: int
    required_rank: int
    trials: int
    matched: int
    refuted: int
    undecided: int
    certified: int
    by_theorem: int
    found: int
    found_first: int

    @property
    def contradictions(self) -> int:
        """Trials that contradict the kind: minimal and matched or found, maximal and refuted."""
        if self.kind == "minimal":
            return max(self.matched, self.found)
        return self.refuted if self.kind == "maximal" else 0

    @property
    def right(self) -> int:
        """Decided trials that come out as the rank predicts: a match if and only if rho = kappa (the rule of T1 alone)."""
        return self.matched if self.attained_rank == self.required_rank else self.refuted


def compare_with_exact(
    net: Network,
    allocation: Allocation | Strategy,
    trials: int = 200,
    shared: tuple[str, ...] = (),
    *,
    degree: bool = False,
    starts: int = 16,
    seed: int = 0,
    task: int = 0,
    threads: int | None = None,
) -> ExactComparison:
    """What theory predicts of one allocation of a linear network, and how `trials` trials (D3) of it are decided exactly (D5).

    degree: count degrees where the prediction is intermediate (T8, see `predict`). The same trials are also searched by Newton's
    method, `starts` starts each, without the rank screen: so a minimal prediction can fail. Errors: as for `predict` and `decide`.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.compare_with_exact(net, sl.rows(net, 4, "W"), 50, ("B", "D"))
    >>> found.kind, found.matched, found.contradictions
    ('maximal', 50, 0)
    """

    strategy = as_strategy(allocation)
    prediction = predict(net, strategy, shared, degree=degree)
    drawn = draw_trials(net, strategy, trials, shared=shared, seed=seed, task=task, threads=threads)
    mask = drawn.mask[0]
    verdicts = decide_drawn(drawn, check_settings(EXACT), mask, threads)
    search = decide_drawn(drawn, check_settings("newton", NO_NEAR_MISS, False, starts=starts), mask, threads)
    found = search.match == 1
    matched = verdicts.match == 1
    return ExactComparison(
        kind=prediction.kind, reason=prediction.reason, budget=strategy.budget, attained_rank=prediction.attained_rank,
        required_rank=prediction.required_rank, trials=trials, matched=int(matched.sum()), refuted=int((verdicts.match == 0).sum()),
        undecided=int((verdicts.match == -1).sum()), certified=int((matched & verdicts.certified).sum()),
        by_theorem=int((matched & np.isin(verdicts.reason, ("D4", "T8")) & (verdicts.start < 0)).sum()),
        found=int(found.sum()), found_first=int((found & (search.start == 0)).sum()),
    )  # fmt: skip
