"""Match probability: trials drawn, decided and counted (D5, D8). What theory predicts of the counts is in theory/predict.py."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np

from ..backend import selection
from ..backend.selection import Backend
from ..model.allocation import Allocation
from ..model.layers import plain
from ..model.network import Network
from ..model.strategy import Strategy
from ..model.teacher_student import Targets
from ..numerics.intervals import clopper_pearson
from ..numerics.missed_matches import Missed, missed
from . import gpu_pipeline
from .decided import decided
from .methods import EXACT, Method, check_settings, searched_starts
from .question import asked

EXISTENCE = "match probability (existence)"  # the name of what was measured, where every trial was decided


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Counts of verdicts over trials.

    matched + unmatched + undecided = trials. matched: a solution was found (or solved for); unmatched: proven, or computed by a
    linear solve, to have none; undecided: searched without success.
    probability = matched / trials. quantity is "existence" for method "exact" (undecided trials count as no match in `interval`;
    `existence_interval` leaves them open; tanh and relu: if at most 1 % of trials are undecided), and when every verdict was decided by
    rank or linear solve, so that it is a match probability (D5); "found" when a search had a part in it: then it is a found probability
    (D8) of this method, tolerance and number of starts, and existence is only bounded, by `existence_interval`.
    found_after int64 [starts]: trials matched within the first 1, 2, .. starts. verdicts int8 [trials] and masks bool [trials, size] with
    keep_trials=True, else None. seconds: wall time.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.match_probability(net, sl.rows(net, 3, "W"), 100, ("B", "D"))
    >>> print(found)
    match probability (existence) 0.0000 [0.0000, 0.0362], 0 of 100 trials
    >>> found.quantity, found.screened
    ('existence', 100)
    """

    net: Network
    allocation: Strategy
    shared: tuple[str, ...]
    method: str
    tol: float
    seed: int
    task: int
    matched: int
    unmatched: int
    undecided: int
    found_after: np.ndarray
    screened: int  # trials whose "no" came from the rank screen (T1)
    solved_affine: int  # trials decided by a linear solve (T2, T11), or because the student matches as it is (D4)
    certified: int  # matched trials whose solution is proven
    by_theorem: int  # matched trials without a solution in hand: T8 and D4 say that there is one
    ranges: tuple[tuple[int, int], ...]  # the trials counted, as (first, end)
    seconds: float = 0.0
    screen: bool = True
    options: dict = field(default_factory=dict)
    backend: str = "cpu"  # where the trials were drawn and searched
    verdicts: np.ndarray | None = field(default=None, repr=False)
    masks: np.ndarray | None = field(default=None, repr=False)

    @property
    def trials(self) -> int:
        return self.matched + self.unmatched + self.undecided

    @property
    def probability(self) -> float:
        return self.matched / self.trials

    @property
    def quantity(self) -> str:
        if self.method == EXACT:  # tanh and relu: only where theorems and enumeration left little to a search
            return "existence" if plain(self.net).activation == "linear" or self.undecided <= 0.01 * self.trials else "found"
        return "existence" if self.screened + self.solved_affine == self.trials else "found"

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson, 95 %, of the quantity measured."""
        return clopper_pearson(self.matched, self.trials)

    @property
    def existence_interval(self) -> tuple[float, float]:
        """Bounds of the match probability (D5): Clopper-Pearson's lower end if all undecided trials have no match, its upper end if
        all have one. 95 %."""
        return clopper_pearson(self.matched, self.trials)[0], clopper_pearson(self.matched + self.undecided, self.trials)[1]

    @property
    def missed(self) -> float | None:
        """Estimate of the undecided trials that have a match which the starts missed, from the curve `found_after` (see
        numerics/missed_matches.py).

        No proof of existence, and biased low: matches that hardly any start finds leave no trace in the curve. None for methods
        other than newton, under 4 starts, and where fewer than 10 matches were found after start 0.
        """
        return None if (curve := self._missed()) is None else curve.estimate

    @property
    def missed_interval(self) -> tuple[float, float] | None:
        """95 % interval of `missed` under its model (chances of being found vary from trial to trial by a beta law); None as there."""
        return None if (curve := self._missed()) is None else (curve.low, curve.high)

    def _missed(self) -> Missed | None:
        return missed(self.found_after, self.undecided) if self.method == "newton" else None

    def merge(self, other: MatchResult) -> MatchResult:
        """The counts of both, for the same question and other trials. ValueError if the question differs or trials overlap."""
        question = ("net", "allocation", "shared", "method", "tol", "seed", "task", "screen", "options")
        for name in question:
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"other: expected the same {name}, {getattr(self, name)!r}, got {getattr(other, name)!r}")
        ranges = sorted(self.ranges + other.ranges)
        for (_, end), (first, _) in zip(ranges, ranges[1:]):
            if first < end:
                raise ValueError(f"other: expected other trials than {self.ranges}, got {other.ranges}")
        joined = [ranges[0]]
        for first, end in ranges[1:]:
            joined[-1:] = [(joined[-1][0], end)] if first == joined[-1][1] else [joined[-1], (first, end)]
        in_order = sorted((self, other), key=lambda result: result.ranges)
        both = self.verdicts is not None and other.verdicts is not None
        return replace(
            self,
            matched=self.matched + other.matched,
            unmatched=self.unmatched + other.unmatched,
            undecided=self.undecided + other.undecided,
            found_after=self.found_after + other.found_after,
            screened=self.screened + other.screened,
            solved_affine=self.solved_affine + other.solved_affine,
            certified=self.certified + other.certified,
            by_theorem=self.by_theorem + other.by_theorem,
            ranges=tuple(joined),
            seconds=self.seconds + other.seconds,
            verdicts=np.concatenate([r.verdicts for r in in_order]) if both else None,
            masks=np.concatenate([r.masks for r in in_order]) if both else None,
        )

    def __str__(self) -> str:
        low, high = self.interval
        if self.quantity == "existence":
            what = EXISTENCE
        else:
            starts = f", {len(self.found_after)} starts" if self.method == "newton" else ""
            what = f"found probability ({self.method}{starts}, relative loss < {self.tol:g})"
        text = f"{what} {self.probability:.4f} [{low:.4f}, {high:.4f}], {self.matched} of {self.trials} trials"
        if self.method == EXACT:
            text += f" ({self.certified} certified, {self.undecided} undecided)"
        if self.undecided and self.missed is not None:
            least, most = self.missed_interval
            text += f"\nestimated further matches not found: {self.missed:.0f} [{least:.0f}, {most:.0f}] (biased low)"
        return text


def match_probability(
    net: Network,
    allocation: Allocation | Strategy,
    trials: int = 1000,
    shared: tuple[str, ...] = (),
    method: Method = "newton",
    seed: int = 0,
    task: int = 0,
    screen: bool | None = None,
    starts: int | None = None,
    tol: float | None = None,
    *,
    threads: int | None = None,
    backend: Backend = "auto",
    gains: dict | None = None,
    targets: Targets = "teacher",
    first: int = 0,
    keep_trials: bool = False,
    **options,
) -> MatchResult:
    """In how many random trials (D3) can this allocation match the teacher (D5), or does a method find it (D8)?

    allocation: an Allocation, or a Strategy, which draws a fresh mask for every trial. Each trial is decided as in `decide`: rank
    screen (T1; left out with screen=False, for honest comparison with theory), linear solve where the outputs are affine (T2), else
    the method: "newton" (`starts`, 30: start 0 is the student's own weights, the others are N(0, (3 gain)^2 / fan_in); matched below a
    relative loss of 1e-20) or "descent" (Adam from the student's own weights; below 1e-6). options: iterations (newton), steps, lr,
    optimizer (descent), as in `decide`. method "exact": existence, by theorems, substitution, enumeration and complex paths, see `decide`.
    screen: True by default, unless tol is above the method's own: a rank decides exact matches only, not matches up to a tolerance.
    Trials first .. first + trials - 1 of (seed, task) are the same problems on every machine, thread count and batch size.
    targets: "teacher"; or "gaussian": targets are normal numbers of the size of a teacher's outputs (`draw_trials`). Nobody can give such
    targets but a network that reaches all of R^equations, so ranks are compared with the number of equations, and theory's predictions,
    which are about teachers, do not apply.
    backend: "auto" takes a GPU where there is one and the work is large enough (method "newton" or "descent"); "cpu", "cuda". On a GPU
    floating point sums round differently, so a search may rarely end elsewhere and a verdict differ from the CPU's; draws never differ.
    Errors: ValueError and TypeError that name the argument.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> found = sl.match_probability(net, sl.rows(net, 4, "W"), 100, ("B", "D"), method="exact")
    >>> found.matched, found.unmatched, found.undecided
    (100, 0, 0)
    """
    selection.choose(backend)
    settings = check_settings(method, tol, screen, starts=starts, **options)
    question, first, trials = asked(net, allocation, shared, gains, settings, (seed, task, first, trials), targets)
    law, strategy, _, seed, task = question
    starts = settings.options["starts"]
    where = selection.choose(backend, 0 if method == EXACT else trials * (starts if method == "newton" else 1) * net.size)
    began = time.perf_counter()
    matched = unmatched = undecided = screened = solved = certified = by_theorem = 0
    found_after = np.zeros(searched_starts(net, method, starts), dtype=np.int64)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    if where == "cuda" and law.taught and gpu_pipeline.applies(net, strategy, method):
        chunks = gpu_pipeline.chunks(question, first, trials, keep_trials, threads)
    else:
        chunks = decided(question, first, trials, keep_trials, threads, where)
    for verdicts, masks in chunks:
        matched += int((verdicts.match == 1).sum())
        unmatched += int((verdicts.match == 0).sum())
        undecided += int((verdicts.match == -1).sum())
        screened += int((verdicts.reason == "T1").sum())
        yes, as_it_is = verdicts.match == 1, (verdicts.reason == "D4") & (verdicts.start == 0)
        solved += int((np.isin(verdicts.reason, ("T2", "T11")) | as_it_is).sum())
        certified += int((yes & verdicts.certified).sum())
        by_theorem += int((yes & ((verdicts.reason == "T8") | (verdicts.reason == "D4") & ~as_it_is)).sum())
        begun = verdicts.start[yes & (verdicts.start >= 0)]  # paths and theorems have no start
        found_after += np.bincount(begun, minlength=len(found_after)).cumsum()
        if keep_trials:
            kept.append((verdicts.match, masks))
    return MatchResult(
        net=net,
        allocation=strategy,
        shared=law.shared,
        method=method,
        tol=settings.tol,
        seed=seed,
        task=task,
        matched=matched,
        unmatched=unmatched,
        undecided=undecided,
        found_after=found_after,
        screened=screened,
        solved_affine=solved,
        certified=certified,
        by_theorem=by_theorem,
        ranges=((first, first + trials),),
        seconds=time.perf_counter() - began,
        screen=settings.screen,
        options={"gains": law.gains_by_group, **({} if law.taught else {"targets": targets}), **settings.options},
        backend=where,
        verdicts=np.concatenate([v for v, _ in kept]) if keep_trials else None,
        masks=np.concatenate([m for _, m in kept]) if keep_trials else None,
    )
