"""What a run reports while it goes: a bar on a terminal, plain lines elsewhere, or nothing.

The time left is predicted from the rates of each cell (timing.py): cells differ in speed by orders of magnitude, so the trials so far say
little of those to come, and rich's own estimate is not used.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from .items import Item
from .timing import Left, span_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_EVERY = 30.0  # seconds between progress lines where there is no terminal


class Progress:
    """Where a run stands. This one reports nothing; the others show it."""

    def __init__(self, total: int, left: Left, workers: int):
        self.total, self.left, self.workers, self.cell = total, left, workers, ""
        self.done = total - left.trials

    def begin(self, item: Item) -> None:
        self.cell = item.cell.describe()
        self.show()

    def end(self, trials: int) -> None:
        """Trials that are done, by this run or another, or given up."""
        self.done += trials
        self.show()

    def time_left(self) -> str:
        seconds = self.left.about()
        return "" if seconds is None else f"{span_text(seconds / self.workers)} left"

    def show(self) -> None:
        """Called when something changed."""
        self.tick()

    def tick(self) -> None:
        """Called again and again while items run."""

    def note(self, text: str) -> None:
        """Say something between."""


class _Lines(Progress):
    """One line every 30 s."""

    def __init__(self, stream: TextIO, total: int, left: Left, workers: int):
        super().__init__(total, left, workers)
        self.stream, self.last = stream, time.monotonic()

    def tick(self) -> None:
        if time.monotonic() - self.last >= PLAIN_EVERY:
            self.last = time.monotonic()
            left = self.time_left()
            about = f", about {left}" if left else ""
            say(self.stream, f"{self.done} of {self.total} trials ({self.done / self.total:.0%}){about}, now {self.cell}")

    def note(self, text: str) -> None:
        say(self.stream, text)


class _Bar(Progress):
    """A bar with trials done, predicted time left and the cell at hand."""

    def __init__(self, stream: TextIO, bar: RichProgress, total: int, left: Left, workers: int):
        super().__init__(total, left, workers)
        self.stream, self.bar = stream, bar
        self.line = bar.add_task("", total=self.total, completed=self.done, left=self.time_left())

    def show(self) -> None:
        cell = _printable(self.stream, self.cell)
        self.bar.update(self.line, completed=self.done, left=self.time_left(), description=cell)

    def note(self, text: str) -> None:
        self.bar.console.print(_printable(self.stream, text), markup=False, highlight=False)


@contextlib.contextmanager
def progress_on(stream: TextIO | None, cells: int, total: int, left: Left, workers: int) -> Iterator[Progress]:
    """The progress of a run on a stream: so many cells and trials in all. One that has nothing to do, or no stream, reports nothing."""
    if stream is None or not left.trials:
        yield Progress(total, left, workers)
    elif stream.isatty() and _encoding(stream).startswith("utf"):
        with _rich_bar(stream) as bar:
            yield _Bar(stream, bar, total, left, workers)
    else:
        shown, start = _Lines(stream, total, left, workers), time.monotonic()
        say(stream, f"{cells} cell{'s' if cells != 1 else ''}, {total} trials, {shown.done} done before")
        try:
            yield shown
        finally:
            say(stream, f"{shown.done} of {shown.total} trials after {span_text(time.monotonic() - start)}")


def _rich_bar(stream: TextIO) -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        BarColumn(bar_width=20),
        *(
            TextColumn(text, table_column=Column(no_wrap=True))
            for text in ("{task.percentage:>3.0f} %", "{task.completed}/{task.total} trials", "{task.fields[left]}")
        ),
        TextColumn("{task.description}", style="dim", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=Console(file=stream),
        transient=True,
        expand=True,
    )


def _encoding(stream: TextIO) -> str:
    return (getattr(stream, "encoding", None) or "utf-8").lower()


def _printable(stream: TextIO, text: str) -> str:
    """The text with what the stream cannot encode as backslash escapes: a label must not end a run."""
    encoding = _encoding(stream)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        print(_printable(stream, f"{time.strftime('%H:%M:%S')} sublearn: {text}"), file=stream, flush=True)
