"""Measuring rows anew: does what is in a folder agree with what this program finds?"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .cells import Cell
from .files import StoreError
from .items import Item
from .measure import measure
from .progress import PLAIN_EVERY, say
from .rows import OF_THE_RUN
from .store import Store
from .sweep import cells_of

ALIKE = ("isa", "backend")  # where they are the same, so is every count


@dataclass(frozen=True)
class Difference:
    """A row that says something else than the same trials measured anew: `then` and `now` hold what differs by its name in the row.

    expected: the row was made with another instruction set or backend, whose searches round differently; else it is an error.
    """

    cell: Cell
    first: int
    count: int
    then: Mapping[str, Any]
    now: Mapping[str, Any]
    made: str
    expected: bool

    @property
    def matched(self) -> int:
        """By how many matched trials the row and the new measurement differ."""
        return abs(self.now.get("matched", 0) - self.then.get("matched", 0))

    def __str__(self) -> str:
        parts = "; ".join(f"{key} {self.then.get(key)} in the row, {self.now.get(key)} anew" for key in {**self.then, **self.now})
        return f"{self.cell.describe()}: trials {self.first} to {self.first + self.count - 1} ({self.made}): {parts}"


@dataclass
class Verification:
    """What `verify` found. rows, trials: measured anew, out of `of_rows` that count; aside: rows by older rules, which are not compared;
    left: rows chosen that there was no time for."""

    rows: int = 0
    trials: int = 0
    of_rows: int = 0
    aside: int = 0
    left: int = 0
    note: str = ""
    differences: list[Difference] = field(default_factory=list)

    @property
    def errors(self) -> list[Difference]:
        """Differences that another instruction set or backend does not explain."""
        return [entry for entry in self.differences if not entry.expected]

    def __str__(self) -> str:
        rest = [entry for entry in self.differences if entry.expected]
        parts = [f"{self.rows} of {self.of_rows} rows ({self.trials} trials) measured anew, {len(self.errors)} differ"]
        if rest:
            most = max(rest, key=lambda entry: entry.matched / entry.count)
            trials = sum(entry.count for entry in rest)
            parts.append(
                f"{len(rest)} of other instruction sets or backends differ, as searches may: by {sum(entry.matched for entry in rest)} "
                f"matches in {trials} trials, at most {most.matched} in {most.count}"
            )
        if self.aside:
            parts.append(f"{self.aside} rows by older rules are not compared")
        if self.left:
            parts.append(f"no time for {self.left} more")
        return "; ".join(parts)


def verify(
    folder: str | Path,
    share: float = 0.01,
    *,
    seed: int = 0,
    cells: int = 100,
    seconds: float | None = None,
    threads: int | None = None,
    stream: TextIO | None = None,
) -> Verification:
    """Measure a random share of the rows in a study's folder anew and compare all that depends on the trials alone; nothing is written.

    share: of the rows that count, from 0 to 1; of up to `cells` cells one row at least. seed: of the choice. seconds: no further row is
    begun after so long; at least one is measured. threads: of the kernels (default: all). stream takes the progress.
    A row made with this machine's instruction set and backend must say the same in every number, else it is among the `errors` of the
    result; what other instruction sets found may differ in the last digits, and how far it does is told (SUBLEARN_ISA chooses the
    instruction set of a process, so such rows can be compared where that one runs too). Rows by older rules are counted, not compared.
    Errors: StoreError for a folder without rows, ValueError for a share out of its range.

    >>> spec = study.parse_spec('''
    ... study = {name = "last-layer", trials = 64, control = false}
    ... network = [{kind = "feedforward", widths = [3, 4, 2], samples = 3, shared = ["W1"]}]
    ... strategy = [{kind = "only", within = "W2"}]
    ... ''')
    >>> folder = study.run(spec, "sublearn-last-layer").folder
    >>> print(study.verify(folder, share=1))
    1 of 1 rows (64 trials) measured anew, 0 differ
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a number from 0 to 1, got {share!r}")
    store = Store(folder)
    asked = {cell.id: cell for cell in cells_of(store.spec())}
    rows = [row for row in store.rows if row["cell"] in asked]
    aside = sum(row["cell"] in asked for row in store.aside)
    if not rows:
        came = f"none by today's rules ({store.note})" if store.note else "none"
        raise StoreError(f"{folder}: expected a folder with results, got {came}")
    chosen = _chosen(rows, share, cells, random.Random(seed))
    found = Verification(of_rows=len(rows), aside=aside, note=store.note)
    began = told = time.monotonic()
    for number, row in enumerate(chosen):
        if seconds is not None and number and time.monotonic() - began >= seconds:
            found.left = len(chosen) - number
            break
        if (difference := _difference(row, asked[row["cell"]], threads)) is not None:
            found.differences.append(difference)
        found.rows, found.trials = number + 1, found.trials + row["count"]
        if time.monotonic() - told >= PLAIN_EVERY:
            told = time.monotonic()
            say(stream, f"{number + 1} of {len(chosen)} rows measured anew, {len(found.errors)} differ")
    return found


def _chosen(rows: list[dict[str, Any]], share: float, cells: int, rng: random.Random) -> list[dict[str, Any]]:
    """A share of the rows, and one of each cell that has none of them until so many cells have one; in random order."""
    order = rng.sample(range(len(rows)), len(rows))
    take = order[: math.ceil(share * len(rows))]
    seen = {rows[place]["cell"] for place in take}
    for place in order[len(take) :]:
        if len(seen) >= cells:
            break
        if rows[place]["cell"] not in seen:
            seen.add(rows[place]["cell"])
            take.append(place)
    rng.shuffle(take)
    return [rows[place] for place in take]


def _difference(row: Mapping[str, Any], cell: Cell, threads: int | None) -> Difference | None:
    first, count = row["first"], row["count"]
    judged = sum(trials for trials, _ in row.get("compared", {}).values())
    made = ", ".join(str(row[key]) for key in ("isa", "backend", "host", "date") if row.get(key))
    where = (cell, first, count)
    try:
        anew = measure(Item(cell, first, count, first + judged if judged else 0), threads)
    except (ValueError, TypeError, ArithmeticError, MemoryError, RuntimeError) as error:
        return Difference(*where, {}, {"error": f"{type(error).__name__}: {error}"}, made, expected=False)
    then, now = ({key: some.get(key) for key in anew if key not in OF_THE_RUN and row.get(key) != anew[key]} for some in (row, anew))
    if not now:
        return None
    alike = all((row.get(key) or "cpu") == (anew.get(key) or "cpu") for key in ALIKE)
    return Difference(*where, then, now, made, expected=not alike)
