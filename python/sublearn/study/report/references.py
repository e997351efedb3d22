"""Reference values of a study's file beside what was measured: differences in standard errors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..plot.choice import PROBABILITIES
from ..spec import Reference
from ..summary import Summary

__all__ = ["ReferenceLine", "references"]


@dataclass(frozen=True)
class ReferenceLine:
    """A measured value beside a reference value; `deviation` is their difference in standard errors."""

    summary: Summary
    reference: Reference
    starts: int
    measured: float
    error: float
    deviation: float

    @property
    def below(self) -> bool:
        """Whether the measured value is below the reference by more than 2 standard errors."""
        return self.deviation < -2


def references(found: Iterable[Summary]) -> list[ReferenceLine]:
    """All reference values of the measured cells. Standard error: of the difference, both counts pooled."""
    lines = []
    for summary in found:
        for entry in summary.cell.reference:
            if not summary.trials:
                continue
            starts = entry.starts or summary.cell.starts
            count = summary.after(starts) if entry.starts else summary.matched
            share, n = count / summary.trials, summary.trials
            if summary.quantity not in PROBABILITIES:
                share, (low, high) = summary.estimate, summary.interval
                error = (high - low) / (2 * 1.96)  # of a mean, whose reference has no error that is known
            elif entry.trials is None:
                error = math.sqrt(entry.value * (1 - entry.value) / n)
            else:
                pooled = (count + entry.value * entry.trials) / (n + entry.trials)
                error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / entry.trials))
            difference = share - entry.value
            deviation = difference / error if error else 0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference)
            lines.append(ReferenceLine(summary, entry, starts, share, error, deviation))
    return lines
