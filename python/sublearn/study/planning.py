"""What a run would do: trials done before, and the time for the rest; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from .cells import Cell
from .enough import needed
from .executors import cores
from .items import Item, Work
from .measure import measure
from .spec import Spec
from .store import Store
from .sweep import cells_of
from .timing import Left, Rates

PROBES = (1, 8, 64)  # trials
ENOUGH = 0.05  # s


@dataclass(frozen=True)
class PlanLine:
    """One cell of a plan: trials done, predicted seconds for the rest (None: it could not be timed), and how many these are: at most, where
    a rule may end the cell."""

    cell: Cell
    done: int
    seconds: float | None
    left: int = 0


def plan(
    spec: Spec, folder: str | Path | None = None, threads: int | None = None, limit: float = 3.0, workers: int | None = None
) -> list[PlanLine]:
    """Every cell with the trials it has and a predicted time for the rest, in seconds of one worker; nothing is written.

    Cells are timed on their first trials (64 at most, fewer where they are slow) until `limit` seconds are used up; a trial that takes
    longer is left alone then. The others borrow the mean of the timed cells of the same network and method, where starts bound the time
    of a trial; exact cells borrow nothing: their time is unknown (None) until one has been timed. workers: so many processes are to share
    `threads` threads (None: all cores), and cells are timed with the share of one.

    >>> lines = study.plan(study.default_spec(), limit=0.1)
    >>> len(lines) == len(study.cells_of(study.default_spec())), lines[0].done
    (True, 0)
    """
    end = time.monotonic() + limit
    cells = cells_of(spec)
    store = Store(folder) if folder is not None else None
    rates = Rates(store.rows if store else ())
    ends = needed(cells, store.rows if store else ())
    left = Left(Work(cells, store.done() if store else {}, None, ends), rates, spec.compare)
    threads = threads if workers is None else max(1, (threads or cores()) // workers)
    for cell in _spread(cells):
        if cell.id not in left.counts or rates.known(cell):
            continue
        if time.monotonic() > end:
            break
        if (row := _in_time(_probe, cell, spec.compare, threads, end)) is not None:
            rates.add(row)
    missing = {cell.id: left.counts.get(cell.id, [0])[0] for cell in cells}
    return [PlanLine(cell, ends[cell.id] - missing[cell.id], left.seconds(cell), missing[cell.id]) for cell in cells]


def _in_time(probe: Callable[..., dict[str, Any]], cell: Cell, compare: int, threads: int | None, end: float) -> dict[str, Any] | None:
    """The row of a probe; None where it fails (the run will say what is wrong with this cell) or is not there by `end`. What it began then
    goes on in a thread that nobody waits for."""
    rows: list[dict[str, Any]] = []

    def body() -> None:
        with suppress(ValueError, TypeError, ArithmeticError, MemoryError, RuntimeError):
            rows.append(probe(cell, compare, threads, end))

    thread = Thread(target=body, name="sublearn-plan", daemon=True)
    thread.start()
    thread.join(max(0.0, end - time.monotonic()))
    return rows[0] if rows else None


def _probe(cell: Cell, compare: int, threads: int | None, end: float) -> dict[str, Any]:
    """The row of a cell's first trials, with its content: of so many that they tell a rate, or take a noticeable time."""
    for count in PROBES:
        row = measure(Item(cell, 0, min(count, cell.trials), compare), threads)
        if row["seconds"] + row.get("seconds_theory", 0.0) > ENOUGH or count >= cell.trials or time.monotonic() > end:
            break
    return row | {"content": cell.content}


def _spread(cells: list[Cell]) -> list[Cell]:
    """The cells, those first that show each (network, method) at its smallest, middle and largest budget."""
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.network_label, cell.method), []).append(cell)
    order: dict[str, Cell] = {}
    for share in (0.0, 0.5, 1.0):
        for group in groups.values():
            cell = sorted(group, key=lambda cell: cell.budget)[round(share * (len(group) - 1))]
            order.setdefault(cell.id, cell)
    for cell in cells:
        order.setdefault(cell.id, cell)
    return list(order.values())
