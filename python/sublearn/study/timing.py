"""How long items take: rates from the rows that are there, what is left at these rates, and how large the next item may be."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..match.methods import EXACT
from .cells import Cell
from .items import FIRST, FIRST_EXACT, SECONDS, Range, Work, judged_masks

SHORTEST = 0.05  # s; below it handing out costs more than an even end saves
LOOKING = 0.02  # of the time may go into looking at all that is left


class Rates:
    """Seconds per trial fitted and per mask judged, from rows.

    A search without rows borrows from those of its network: starts and iterations bound it. An exact cell borrows from none, since its
    neighbours may have a thousand times fewer solutions: unknown is better than wrong.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()):
        self._sums: dict[tuple, list[float]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        judged = sum(trials for trials, _ in row.get("compared", {}).values())
        spent = (row.get("seconds"), row["count"], row.get("seconds_theory"), judged)
        for key in (("cell", row["cell"]), _likes(row["content"])):
            entry = self._sums.setdefault(key, [0.0] * 4)
            for place, value in enumerate(spent):
                entry[place] += float(value or 0)

    def known(self, cell: Cell) -> bool:
        """Does the cell have rows of its own?"""
        return ("cell", cell.id) in self._sums

    def seconds(self, cell: Cell, trials: int, judged: int) -> float | None:
        """Predicted time to fit `trials` trials of a cell and to judge the masks of `judged` of them; None if it is unknown."""
        for key in (("cell", cell.id), *(() if cell.method == EXACT else (_likes(cell.content),))):
            if key in self._sums:
                fit, fitted, theory, masks = self._sums[key]
                return fit / fitted * trials + (theory / masks * judged if masks else 0.0)
        return None


def _likes(content: Mapping[str, Any]) -> tuple:
    return "like", str(content.get("network")), content.get("method"), str(content.get("options")), content.get("quantity")


class Left:
    """What is still to run, handed out or not: trials and masks to judge by cell, and the predicted seconds for them."""

    def __init__(self, work: Work, rates: Rates, compare: int):
        self.rates, self.compare, self.cells = rates, compare, dict(work.cells)
        self.counts: dict[str, list[int]] = {}
        self._told: float | None = None
        self._next = 0.0  # when to look again
        for name, ranges in work.missing.items():
            for first, count in ranges:
                self._change(name, first, count, 1)

    def _change(self, name: str, first: int, count: int, sign: int) -> None:
        entry = self.counts.setdefault(name, [0, 0])
        entry[0] += sign * count
        entry[1] += sign * judged_masks(self.cells[name], first, count, self.compare)

    @property
    def trials(self) -> int:
        return sum(trials for trials, _ in self.counts.values())

    def remove(self, name: str, ranges: Collection[Range]) -> int:
        """Trials of the cell of this id that are done; how many they are."""
        for first, count in ranges:
            self._change(name, first, count, -1)
        return sum(count for _, count in ranges)

    def seconds(self, cell: Cell | None = None) -> float | None:
        """For one cell, or for all; None if one of them is unknown."""
        names = self.counts if cell is None else [cell.id] if cell.id in self.counts else []
        total = 0.0
        for name in names:
            if self.counts[name][0] > 0:
                seconds = self.rates.seconds(self.cells[name], *self.counts[name])
                if seconds is None:
                    return None
                total += seconds
        return total

    def about(self) -> float | None:
        """`seconds()`, not quite of this moment: looking through ten thousand cells after each item would cost more than the item."""
        began = time.monotonic()
        if began >= self._next:
            self._told = self.seconds()
            self._next = began + (time.monotonic() - began) / LOOKING
        return self._told

    def most_trials(self, cell: Cell, first: int, workers: int) -> int:
        """How large the next item of a cell, from trial `first` on, may be: a few seconds, less where several workers come to an end."""
        if not self.rates.known(cell):
            return FIRST_EXACT if cell.method == EXACT or cell.data is not None else FIRST
        aim, left = SECONDS, self.about() if workers > 1 else None
        if left is not None:
            aim = min(aim, max(SHORTEST, left / (3 * workers)))
        each = self.rates.seconds(cell, 1, judged_masks(cell, first, 1, self.compare))
        return max(1, int(min(aim / each, 2.0**32))) if each else 2**32


def span_text(seconds: float | None) -> str:
    """Seconds in words: "42 s", "3 min", "2.5 h"."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
