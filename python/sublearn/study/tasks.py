"""Tasks, the ranges of trials that answer a study's cells; the tasks of a cell add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .cells import Cell


@dataclass(frozen=True)
class Task:
    """Trials first .. first + count - 1 of a cell: one call of match_probability, one row of results."""

    cell: Cell
    first: int
    count: int


def missing_ranges(done: Iterable[tuple[int, int]], trials: int) -> list[tuple[int, int]]:
    """The (first, count) ranges of 0 .. trials - 1 that no (first, count) of `done` covers, ascending."""
    missing, at = [], 0
    for first, count in sorted(done):
        if first > at:
            missing.append((at, min(first, trials) - at))
        at = max(at, first + count)
        if at >= trials:
            break
    if at < trials:
        missing.append((at, trials - at))
    return missing


def tasks_of(cells: Iterable[Cell], done: Mapping[str, Iterable[tuple[int, int]]], chunk: int) -> list[Task]:
    """What is left to do, in chunks of at most `chunk` trials that end at multiples of it.

    All cells' first chunks come before any second one, so an interrupted study has something to say on every
    cell.
    """
    found = []
    for order, cell in enumerate(cells):
        for first, count in missing_ranges(done.get(cell.id, ()), cell.trials):
            end = first + count
            while first < end:
                stop = min(end, (first // chunk + 1) * chunk)
                found.append((first // chunk, order, Task(cell, first, stop - first)))
                first = stop
    return [task for _, _, task in sorted(found, key=lambda entry: entry[:2])]
