"""When have a cell's trials said enough? Rules that end a cell before all its trials are done (spec.Stop).

A rule is judged on the *prefix*: the trials 0, 1, .. up to the first one that is missing, in their order. Whoever looked at blocks as they
come in would favour fast trials, and which block comes in first differs from run to run. `width` and `matches` are judged at fixed numbers
of trials, the *looks*, so a cell ends at the same trial however it was run; blocks never cross a look (`until_next_look`). Trials beyond
the end, measured before it was known, stay in the folder and are not counted.

The interval of such a cell is numerics.intervals.anytime, valid whenever one stops. `seconds` is judged after each block of the prefix:
it is not reproducible, and what stops at it is not covered by that promise if slow trials match more often or less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from ..match.methods import EXACT
from ..numerics.intervals import Weight, anytime
from .cells import Cell
from .spec import Stop

FIRST_LOOK = 64  # trials; then at every quarter of a power of two: 64, 80, 96, 112, 128, 160, 192, ..


@dataclass(frozen=True)
class Prefix:
    """The trials of a cell from 0 on without a gap, up to where its rule ended it: how many, which rows, and which rule ("" for none)."""

    trials: int
    rows: tuple[Mapping[str, Any], ...]
    ended_by: str = ""


def until_next_look(first: int) -> int:
    """How many trials from `first` on there are until the next look."""
    if first < FIRST_LOOK:
        return FIRST_LOOK - first
    step = 1 << (first.bit_length() - 3)
    return step - first % step


def prefix(cell: Cell, rows: Iterable[Mapping[str, Any]]) -> Prefix:
    """Of the rows of a cell that count: disjoint, in any order."""
    taken: list[Mapping[str, Any]] = []
    trials = matched = undecided = 0
    seconds = 0.0
    for row in sorted(rows, key=lambda row: row["first"]):
        if row["first"] != trials:
            break
        taken.append(row)
        trials += row["count"]
        matched, undecided = matched + row.get("matched", 0), undecided + row.get("undecided", 0)
        seconds += row["seconds"] + row.get("seconds_theory", 0.0)
        if cell.stop is not None and (rule := _met(cell, cell.stop, trials, matched, undecided, seconds)):
            return Prefix(trials, tuple(taken), rule)
    return Prefix(trials, tuple(taken))


def _met(cell: Cell, stop: Stop, trials: int, matched: int, undecided: int, seconds: float) -> str:
    if trials >= FIRST_LOOK and until_next_look(trials - 1) == 1:  # a look
        if stop.matches is not None and matched >= stop.matches:
            return "matches"
        if stop.width is not None and _may_be_narrow(matched, trials, stop.width):
            low, high = interval(cell, matched, undecided, trials)
            if high - low <= stop.width:
                return "width"
    return "seconds" if stop.seconds is not None and seconds >= stop.seconds else ""


def _may_be_narrow(matched: int, trials: int, width: float) -> bool:
    """Not where even an interval that is narrower by a third is too wide: saves the work."""
    share = (matched + 1) / (trials + 2)
    return 2.5 * sqrt(share * (1 - share) / trials) < width


def interval(cell: Cell, matched: int, undecided: int, trials: int) -> tuple[float, float]:
    """The interval of a cell with a rule to stop, valid at all numbers of trials at once: 95 %. Of existence with undecided trials left
    open."""
    assert cell.stop is not None
    weight = weight_of(cell.stop)
    low, high = anytime(matched, trials, weight)
    if undecided and cell.method == EXACT:
        high = anytime(matched + undecided, trials, weight)[1]
    return low, high


def weight_of(stop: Stop) -> Weight | None:
    """The weight of `anytime` that makes the interval narrowest about where the rule stops, as a function of p.

    A width w needs about 37 p (1 - p) / w^2 trials, m matches need m / p; the interval is narrowest after 8 times the weight."""
    if stop.width is not None:
        return partial(_for_width, stop.width)
    return None if stop.matches is None else partial(_for_matches, stop.matches)


def _for_width(width: float, p: np.ndarray) -> np.ndarray:
    return np.maximum(1.0, 3.0 * p * (1 - p) / width**2)  # 3 rather than 37 / 8: better near 0 and 1, hardly worse elsewhere


def _for_matches(matches: int, p: np.ndarray) -> np.ndarray:
    return np.maximum(1.0, matches / (8 * p))


def needed(cells: Iterable[Cell], rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Cell id to the number of trials it is asked for: all, or those at which its rule ended it by these rows (that count)."""
    cells = list(cells)
    if not any(cell.stop for cell in cells):
        return {cell.id: cell.trials for cell in cells}
    own: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        own.setdefault(row["cell"], []).append(row)
    found = {}
    for cell in cells:
        part = prefix(cell, own.get(cell.id, ())) if cell.stop else Prefix(0, ())
        found[cell.id] = min(part.trials, cell.trials) if part.ended_by else cell.trials
    return found
