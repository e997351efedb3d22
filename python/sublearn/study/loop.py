"""From items to rows: which item is handed out next, and what becomes of those that fail or whose worker dies.

Only the thread that runs the loop writes. Who measures is in executors.py, what is left and in which order in items.py.
"""

from __future__ import annotations

import time
from collections import deque
from threading import Event
from typing import Any

from .cells import Cell
from .enough import prefix, until_next_look
from .executors import BrokenExecutor, Crew
from .files import StoreError
from .items import Item, Range, Work
from .measure import measure
from .progress import Progress
from .spec import Spec
from .store import Store
from .timing import Left

TRIES = 2
MOST_DEATHS = 10  # of workers without a row in between: then it is not the items that kill them
LOOK_EVERY = 2.0  # s between two looks at what other runs in the folder have written


class Loop:
    """Items out, rows in, until nothing is left or a signal came."""

    def __init__(self, spec: Spec, store: Store, work: Work, left: Left, crew: Crew, progress: Progress, on_error: str):
        self.most, self.compare, self.raises = spec.chunk, spec.compare, on_error == "raise"
        self.store, self.work, self.left, self.crew, self.progress = store, work, left, crew, progress
        self.rows = 0
        self.problems: list[str] = []
        self.again: deque[Item] = deque()  # failed once
        self.suspects: deque[Item] = deque()  # in flight when a worker died: tried one by one, so that the one to blame is found
        self.alone = False  # a suspect is in flight
        self.tries: dict[tuple[str, int, int], int] = {}
        self.given_up: set[str] = set()  # cells that nothing more is handed out of: an item failed twice, or a rule ended them
        self.deaths = 0  # of workers since the last row
        self.broken = False
        self.looked = time.monotonic()

    def run(self, stop: Event) -> None:
        """Until nothing is left to hand out, or `stop` is set. DiskError if a row cannot be written."""
        if self.store.others_at_work():
            self.work.start_elsewhere()
        while True:
            if stop.is_set():
                self.crew.cancel()
            elif not self.broken:
                self._hand_out()
            if not self.crew.handed:
                break
            for item, future in self.crew.finished():
                self._take(item, future)
            self.progress.tick()
            if time.monotonic() - self.looked > LOOK_EVERY:
                self._look()

    def _hand_out(self) -> None:
        while len(self.crew.handed) < self.crew.most and not self.alone and not self.broken:
            suspect = bool(self.suspects)
            if suspect and self.crew.handed:
                return
            waiting = self.suspects or self.again
            if waiting:
                item = waiting.popleft()
            elif (turn := self.work.next_cell()) is not None:
                item = self.work.take(self._most_trials(*turn), self.compare)
            else:
                return
            if item.cell.id in self.given_up:
                self._done_with(item.cell.id, [(item.first, item.count)])
                continue
            self.progress.begin(item)
            try:
                self.crew.submit(measure, item)
            except BrokenExecutor as error:
                waiting.appendleft(item)
                self._worker_died(error)
            else:
                self.alone = suspect

    def _most_trials(self, cell: Cell, first: int) -> int:
        most = min(self.most, self.left.most_trials(cell, first, self.crew.workers))
        return most if cell.stop is None else min(most, until_next_look(first))

    def _end_if_enough(self, name: str) -> None:
        """Hand out no more of a cell whose rule ends it by the rows there are."""
        cell = self.work.cells.get(name)
        if cell is not None and cell.stop is not None and name not in self.given_up and prefix(cell, self.store.rows_of(name)).ended_by:
            self.given_up.add(name)
            self._done_with(name, self.work.give_up(name))

    def _take(self, item: Item, future: Any) -> None:
        self.alone = False
        try:
            row = future.result()
        except BrokenExecutor as error:
            self._worker_died(error, item)
        except Exception as error:  # whatever went wrong there, the others go on
            self._failed(item, error, self.again)
        else:
            self.left.rates.add(self.store.append(row, item.cell))
            self.rows, self.deaths = self.rows + 1, 0
            self._done_with(item.cell.id, [(item.first, item.count)])
            self._end_if_enough(item.cell.id)

    def _done_with(self, cell: str, ranges: list[Range]) -> None:
        self.progress.end(self.left.remove(cell, ranges))

    def _failed(self, item: Item, error: Exception, again: deque[Item]) -> None:
        key = (item.cell.id, item.first, item.count)
        self.tries[key] = self.tries.get(key, 0) + 1
        if self.tries[key] < TRIES:
            again.append(item)
            return
        if self.raises:
            raise error
        text = f"{type(error).__name__}: {error}"
        self.store.append({"cell": item.cell.id, "first": item.first, "count": item.count, "error": text}, item.cell)
        self.problems.append(f"{item.cell.describe()}: trials {item.first} to {item.first + item.count - 1}: {text}")
        self.given_up.add(item.cell.id)
        self._done_with(item.cell.id, [(item.first, item.count), *self.work.give_up(item.cell.id)])

    def _worker_died(self, error: Exception, *items: Item) -> None:
        """All items in flight are lost with one worker, but for those that have a result."""
        lost = list(items)
        for number, (item, future) in list(self.crew.handed.items()):
            if not future.done() or future.cancelled() or future.exception() is not None:
                del self.crew.handed[number]
                lost.append(item)
        self.alone, self.deaths = False, self.deaths + 1
        for item in lost:
            self._failed(item, error, self.suspects)
        if self.deaths > MOST_DEATHS or not self.crew.renew():
            self.broken = True
            self.problems.append(f"the workers cannot go on: {type(error).__name__}: {error}")

    def _look(self) -> None:
        """At what other runs in the folder have done."""
        self.looked = time.monotonic()
        try:
            new = self.store.refresh()
        except StoreError:
            return  # a file that cannot be read now is no reason to stop; the end of the run reads it again
        for row in new:
            self.left.rates.add(row)
            self._done_with(row["cell"], self.work.remove(row["cell"], (row["first"], row["count"])))
        for name in {row["cell"] for row in new}:
            self._end_if_enough(name)
        if new:
            self.work.start_elsewhere()
