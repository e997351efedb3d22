"""How long tasks take: rates from the rows that are there, and what is left at these rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..match.methods import EXACT
from .cells import Cell
from .tasks import Task


class Rates:
    """Seconds per trial fitted and per mask judged, from rows; a cell without any borrows from its likes."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()):
        self._sums: dict[tuple, list[float]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        content = row["content"]
        judged = sum(trials for trials, _ in row["compared"].values())
        spent = (row.get("seconds"), row["count"], row.get("seconds_theory"), judged)
        for key in (("cell", row["cell"]), _likes(content), ("all",)):
            entry = self._sums.setdefault(key, [0.0] * 4)
            for place, value in enumerate(spent):
                entry[place] += float(value or 0)

    def seconds(self, cell: Cell, trials: int, judged: int) -> float | None:
        """Predicted time to fit `trials` trials of a cell and to judge the masks of `judged` of them."""
        for key in (("cell", cell.id), _likes(cell.content), ("all",)):
            if key in self._sums:
                fit, fitted, theory, masks = self._sums[key]
                return fit / fitted * trials + (theory / masks * judged if masks else 0.0)
        return None


def _likes(content: Mapping[str, Any]) -> tuple:
    return "like", str(content.get("network")), content.get("method")


class Left:
    """What is still to run: trials and masks to judge by cell, and the predicted seconds for them."""

    def __init__(self, tasks: Iterable[Task], rates: Rates, compare: int):
        self.rates, self.compare = rates, compare
        self.cells: dict[str, Cell] = {}
        self.counts: dict[str, list[int]] = {}
        for task in tasks:
            self.cells[task.cell.id] = task.cell
            self._change(task, 1)

    def _change(self, task: Task, sign: int) -> None:
        entry = self.counts.setdefault(task.cell.id, [0, 0])
        entry[0] += sign * task.count
        entry[1] += sign * judged_masks(task, self.compare)

    def remove(self, task: Task) -> None:
        self._change(task, -1)

    def seconds(self, cell: Cell | None = None) -> float | None:
        """For one cell, or for all; None if nothing like it was timed."""
        names = self.counts if cell is None else [cell.id] if cell.id in self.counts else []
        total = 0.0
        for name in names:
            if self.counts[name][0]:
                seconds = self.rates.seconds(self.cells[name], *self.counts[name])
                if seconds is None:
                    return None
                total += seconds
        return total


def judged_masks(task: Task, compare: int) -> int:
    """How many of a task's masks theory judges: those of trials below `compare`, none of screened searches."""
    return 0 if task.cell.screen and task.cell.method != EXACT else max(0, min(compare - task.first, task.count))


def span_text(seconds: float | None) -> str:
    """Seconds in words: "42 s", "3 min", "2.5 h"."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
