"""Theory's limits of a study's cells: lower <= match probability <= upper, exact where masks can be counted, else estimated.

Estimated ends come from the masks of judged trials (a row's `compared` counts), exact ones from all masks of the cell's strategy or from
theorems that count them (theory/certain.py). Methods of one network, strategy and size share them. Nothing is fitted.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

from ..model.strategy import Strategy
from ..theory.certain import Certain, bounds_text, certain, of_ends
from .summary import Summary

_MASKS = 20_000  # a strategy with more different masks is judged by a sample
_ALL_MASKS = 400_000  # judged for one study; past them further strategies keep their sample


class Limits(NamedTuple):
    """lower <= MP <= upper; whether each is exact; judged: drawn masks behind an estimated one."""

    lower: float
    upper: float
    exact_lower: bool
    exact_upper: bool
    judged: int

    def __str__(self) -> str:
        return bounds_text(*self)


def limits_of(found: Iterable[Summary]) -> list[Limits | None]:
    """The limits of each cell, None where theory judged no trial."""
    found = list(found)
    told: list[Limits | None] = []
    left = _ALL_MASKS
    counted: dict[tuple, bool] = {}  # questions whose masks are all judged
    of_all = _ends(found)
    for summary in found:
        cell, judged = summary.cell, summary.compared.trials()
        if not judged:
            told.append(None)
            continue
        question = (cell.net, cell.strategy, cell.shared)
        known = of_all[question]
        if None in known:
            known = certain(*question, 0)
        if None in known:
            if question not in counted:
                masks = _mask_count(cell.strategy, min(_MASKS, left)) if left else 0
                counted[question] = masks > 0
                left -= masks
            known = certain(*question, _MASKS) if counted[question] else known
        (low, high), (lower, upper) = summary.compared.limits, known
        assert low is not None and high is not None  # trials were judged
        ends = (low if lower is None else lower, high if upper is None else upper)
        told.append(Limits(*ends, lower is not None, upper is not None, judged))
    return told


@functools.lru_cache(maxsize=1 << 16)
def _mask_count(strategy: Strategy, most: int) -> int:
    """How many different masks a strategy has, 0 for more than `most`."""
    law = strategy.law(most)
    return 0 if law is None else len(law[0])


def _ends(found: Iterable[Summary]) -> dict[tuple, Certain]:
    """What needs no look at the masks between, by question: for all strategies of a network at once."""
    questions: dict[tuple, dict[Strategy, None]] = {}
    for summary in found:
        if summary.compared.trials():
            cell = summary.cell
            questions.setdefault((cell.net, cell.shared), {})[cell.strategy] = None
    return {
        (net, strategy, shared): known
        for (net, shared), strategies in questions.items()
        for strategy, known in zip(strategies, of_ends(net, list(strategies), shared), strict=True)
    }
