"""Items, the pieces of work of a study: dyadic blocks of a cell's trials.

A block is [k 2^j, (k + 1) 2^j), so two blocks are nested or disjoint whatever chose their sizes, and rows of any two runs can be joined.
Sizes are chosen by seconds, from the cell's own rate: a trial may cost a thousand times what one of a neighbouring cell costs.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..match.methods import EXACT
from .cells import Cell

SECONDS = 2.0  # aimed at by an item: what an interruption can lose, and long against what it costs to hand it out
FIRST, FIRST_EXACT = 64, 8  # trials of an item before the cell's rate is known; starts bound a search, but nothing an exact trial's paths

Range = tuple[int, int]  # (first, count)


@dataclass(frozen=True)
class Item:
    """Trials first .. first + count - 1 of a cell: one call of match_probability, one row. Theory judges the masks of trials < compare.

    Whoever measures it needs nothing else, and the counts depend on nothing else.
    """

    cell: Cell
    first: int
    count: int
    compare: int = 0

    @property
    def judged(self) -> int:
        """How many masks theory judges: none of screened searches, since theory would judge its own answers."""
        return judged_masks(self.cell, self.first, self.count, self.compare)


def judged_masks(cell: Cell, first: int, count: int, compare: int) -> int:
    """How many masks of trials first .. first + count - 1 theory judges."""
    return 0 if (cell.screen and cell.method != EXACT) or cell.quantity is not None else max(0, min(compare - first, count))


def missing_ranges(done: Iterable[Range], trials: int, start: int = 0) -> list[Range]:
    """The (first, count) ranges of start .. trials - 1 that no (first, count) of `done` covers, ascending."""
    missing, at = [], start
    for first, count in sorted(done):
        if first >= trials:
            break
        if first > at:
            missing.append((at, first - at))
        at = max(at, first + count)
    if at < trials:
        missing.append((at, trials - at))
    return missing


def block_size(first: int, count: int, most: int) -> int:
    """The largest dyadic block that begins at `first` with at most `count` and at most `most` trials."""
    size = 1 << (min(count, most).bit_length() - 1)
    return min(size, first & -first) if first else size


def shares(cells: list[Cell], shard: tuple[int, int]) -> dict[str, list[Range]]:
    """Cell id to the ranges that shard i of N measures. Together the shards have every trial once.

    Cells are dealt in turn; where there are fewer than four for each shard, each is cut into dyadic strips, and each strip goes to a shard
    with the fewest trials so far. Where a rule may end a cell none is cut: it is judged on all trials of the cell from the first on.
    """
    place, shards = shard
    strips = 1 if any(cell.stop for cell in cells) else -(-4 * shards // len(cells))
    if strips == 1:
        return {cell.id: [(0, cell.trials)] if order % shards == place else [] for order, cell in enumerate(cells)}
    found: dict[str, list[Range]] = {cell.id: [] for cell in cells}
    loads = [(0, shard) for shard in range(shards)]  # a heap: (trials so far, shard)
    for cell in cells:
        size = 1 << (max(1, cell.trials // strips).bit_length() - 1)
        for first in range(0, cell.trials, size):
            count = min(size, cell.trials - first)
            load, least = loads[0]
            heapq.heapreplace(loads, (load + count, least))
            if least == place:
                found[cell.id].append((first, count))
    return found


class Work:
    """What is left to hand out: each cell in turn gives its next block, so an interrupted study has something to say on every cell."""

    def __init__(
        self,
        cells: Iterable[Cell],
        done: Mapping[str, list[Range]],
        asked: Mapping[str, list[Range]] | None = None,
        needed: Mapping[str, int] | None = None,
    ):
        """done: cell id to the trials that have rows; asked: to those of this shard (None: all); needed: to how many trials the cell needs,
        where a rule has ended it (enough.py; None: all)."""
        self.cells: dict[str, Cell] = {}
        self.missing: dict[str, deque[Range]] = {}
        for cell in cells:
            ranges = [(0, cell.trials)] if asked is None else asked[cell.id]
            if needed is not None:
                ranges = [(first, min(count, needed[cell.id] - first)) for first, count in ranges if first < needed[cell.id]]
            have = done.get(cell.id, [])
            missing = [left for first, count in ranges for left in missing_ranges(have, first + count, first)]
            if missing:
                self.cells[cell.id] = cell
                self.missing[cell.id] = deque(missing)
        self._turn = deque(self.missing)

    def next_cell(self) -> tuple[Cell, int] | None:
        """The cell whose turn it is, and its first missing trial."""
        while self._turn and not self.missing.get(self._turn[0]):
            self._turn.popleft()
        return (self.cells[self._turn[0]], self.missing[self._turn[0]][0][0]) if self._turn else None

    def take(self, most: int, compare: int) -> Item:
        """The next block of the cell whose turn it is, of at most `most` trials; then it is the next cell's turn."""
        turn = self.next_cell()
        assert turn is not None
        cell, _ = turn
        ranges = self.missing[cell.id]
        first, count = ranges.popleft()
        size = block_size(first, count, most)
        if size < count:
            ranges.appendleft((first + size, count - size))
        self._turn.rotate(-1)
        return Item(cell, first, size, compare)

    def remove(self, name: str, done: Range) -> list[Range]:
        """Take out trials of the cell of this id that another run has measured; those that were left until then."""
        before = self.missing.get(name, ())
        rest = [left for first, count in before for left in missing_ranges([done], first + count, first)]
        if rest:
            self.missing[name] = deque(rest)
        else:
            self.missing.pop(name, None)
        return [gone for first, count in before for gone in missing_ranges(rest, first + count, first)]

    def give_up(self, name: str) -> list[Range]:
        """Hand out no more of a cell; what was left of it."""
        return list(self.missing.pop(name, ()))

    def start_elsewhere(self) -> None:
        """Go on at a random cell: another run in the folder would otherwise measure the same blocks at the same time."""
        if self._turn:
            self._turn.rotate(random.randrange(len(self._turn)))
