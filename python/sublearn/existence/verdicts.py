"""The record of verdicts: for each student of a batch a yes, a no or neither, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..backend.arrays import to_numpy
from ..model.reasons import Reason


@dataclass(frozen=True, eq=False)
class Verdicts:
    """match int8 [batch]: 1 yes, 0 no, -1 undecided. certified bool [batch]: proven (see `reason`), not only computed.
    reason str [batch]: "D4" (the student as it is), "D3", "T1", "T2", "T11", "newton", "descent", and of method "exact" also "paths", "T7",
    "T8", "T13", "D4" (everything is free, so the teacher itself is a solution); `print` gives them in sentences.
    certified, yes: weights next to theta give exactly y, in real arithmetic, in every output that learnable weights reach; the others are y
    up to their rounding. No: no weights give y, or any other numbers that round to it. Where `teacher` was given and y is what it computes
    to, up to rounding, y stands for its exact outputs in both. theta [batch, size]: the solution, or the nearest point found. A certified
    solution lies next to it; where that is badly conditioned (T2, T7), its rounding to float64 may leave a large loss. Where the input
    lives on a GPU, so do all but `reason`.
    loss [batch]: ||f(theta) - y||^2 / ||y||^2, for y = 0 over the student's own ||f||^2. start int [batch]: the first start that matched,
    -1 if none did. direction [batch, equations], where some no has the reason "T13", else None: the u of each such no, in the order of the
    outputs, 0 elsewhere: u . (y - what is fixed) is larger than u . f can become (for some u next to it, see docs/theory.md).

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> trial = sl.draw_trials(net, sl.only(net, "W2"), 10, shared=("W1",))
    >>> print(sl.decide(net, trial.student, trial.x, trial.y, trial.mask, ("W1",)))
    10 students: 10 yes, 0 no, 0 undecided
      10 yes (T2): the outputs are affine in the learnable weights: a linear system decides
    """

    match: np.ndarray
    certified: np.ndarray
    reason: np.ndarray
    theta: np.ndarray
    loss: np.ndarray
    start: np.ndarray
    direction: np.ndarray | None = None

    @classmethod
    def undecided(cls, theta: np.ndarray, reason: str = "") -> Verdicts:
        """Nothing is known yet of the students theta [batch, size], which are copied."""
        count = len(theta)
        return cls(
            match=np.full(count, -1, dtype=np.int8),
            certified=np.zeros(count, dtype=bool),
            reason=np.full(count, str(reason), dtype="<U8"),
            theta=theta.copy(),
            loss=np.full(count, np.nan),
            start=np.full(count, -1, dtype=np.int32),
        )

    def settle(self, rows, match, reason, certified=False, start=-1) -> None:
        """Writes the verdicts of some rows."""
        self.match[rows], self.reason[rows], self.certified[rows], self.start[rows] = match, reason, certified, start

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        match, certified, reason = (np.atleast_1d(to_numpy("verdicts", a)) for a in (self.match, self.certified, self.reason))
        words = {1: "yes", 0: "no", -1: "undecided"}
        counts = ", ".join(f"{int((match == kind).sum())} {word}" for kind, word in words.items())
        yield f"{len(match)} student{'s' if len(match) != 1 else ''}: {counts}"
        for kind, word in words.items():
            for label in np.unique(reason[match == kind]):
                rows = (match == kind) & (reason == label)
                proven = int((certified & rows).sum())
                why = Reason(str(label))
                text = f"  {int(rows.sum())} {word} ({why.value}{f', {proven} certified' if proven else ''}): {why.sentence}"
                yield f"{text}. {why.cure[0].upper()}{why.cure[1:]} may help" if kind < 1 and why.cure else text
