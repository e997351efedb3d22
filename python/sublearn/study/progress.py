"""What a run reports while it goes: a bar on a terminal or in a notebook, plain lines elsewhere, calls of a function, or nothing.

The time left is predicted from the rates of each cell (timing.py): cells differ in speed by orders of magnitude, so the trials so far say
little of those to come, and rich's own estimate is not used.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from .items import Item
from .timing import Left, span_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_EVERY = 30.0  # seconds between progress lines where there is no terminal
CALL_EVERY = 0.2  # s between two calls of the user's function
OVER = 30.0  # s over which the rate is taken


class Standing(NamedTuple):
    """Where a run stands: trials done (by whomever) of how many, trials a second of late (0.0 before the first), seconds left as predicted
    (None: unknown), and the cell of the last item handed out."""

    done: int
    total: int
    rate: float
    seconds_left: float | None
    cell: str


class Progress:
    """Where a run stands, told to the function `call`, if there is one. This one shows nothing; the others do."""

    def __init__(self, total: int, left: Left, workers: int, call: Callable[[Standing], object] | None = None):
        self.total, self.left, self.workers, self.cell, self._call = total, left, workers, "", call
        self.done = total - left.trials
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), self.done)])  # of the last OVER seconds
        self._called = float("-inf")

    def standing(self) -> Standing:
        now = time.monotonic()
        while len(self._marks) > 1 and now - self._marks[0][0] > OVER:
            self._marks.popleft()
        since, before = self._marks[0]
        seconds = self.left.about()
        rate = (self.done - before) / (now - since) if now > since else 0.0
        return Standing(self.done, self.total, rate, None if seconds is None else seconds / self.workers, self.cell)

    def tell(self, at_once: bool = False) -> None:
        """Call the user's function, if it was not called just now."""
        if self._call is not None and (at_once or time.monotonic() - self._called >= CALL_EVERY):
            self._called = time.monotonic()
            self._call(self.standing())

    def begin(self, item: Item) -> None:
        self.cell = item.cell.describe()
        self.show()

    def end(self, trials: int) -> None:
        """Trials that are done, by this run or another, or given up."""
        self.done += trials
        now = time.monotonic()
        if now - self._marks[-1][0] > 0.01 * OVER:
            self._marks.append((now, self.done))
        self.show()

    def pace(self) -> str:
        """Rate and time left in words: "1.2 k trials/s, 3 min left"."""
        stands = self.standing()
        rate = [f"{_short(stands.rate)} trials/s"] if stands.rate else []
        return ", ".join(rate + ([] if stands.seconds_left is None else [f"about {span_text(stands.seconds_left)} left"]))

    def show(self) -> None:
        """Called when something changed."""
        self.tick()

    def tick(self) -> None:
        """Called again and again while items run."""
        self.tell()

    def note(self, text: str) -> None:
        """Say something between."""


class _Lines(Progress):
    """One line every 30 s."""

    def __init__(self, stream: TextIO, *what: Any):
        super().__init__(*what)
        self.stream, self.last = stream, time.monotonic()

    def tick(self) -> None:
        self.tell()
        if time.monotonic() - self.last >= PLAIN_EVERY:
            self.last = time.monotonic()
            parts = [f"{self.done} of {self.total} trials ({self.done / self.total:.0%})", self.pace(), f"now {self.cell}"]
            say(self.stream, ", ".join(part for part in parts if part))

    def note(self, text: str) -> None:
        say(self.stream, text)


class _Bar(Progress):
    """A bar with trials done, their rate, predicted time left and the cell at hand."""

    def __init__(self, stream: TextIO, bar: RichProgress, *what: Any):
        super().__init__(*what)
        self.stream, self.bar = stream, bar
        self.line = bar.add_task("", total=self.total, completed=self.done, pace=self.pace())

    def show(self) -> None:
        cell = _printable(self.stream, self.cell)
        self.bar.update(self.line, completed=self.done, pace=self.pace(), description=cell)
        self.tell()

    def note(self, text: str) -> None:
        self.bar.console.print(_printable(self.stream, text), markup=False, highlight=False)


@contextlib.contextmanager
def progress_on(
    stream: TextIO | None, cells: int, total: int, left: Left, workers: int, call: Callable[[Standing], object] | None = None
) -> Iterator[Progress]:
    """The progress of a run on a stream, and told to a function: so many cells and trials in all. A run that has nothing to do shows
    nothing."""
    what = (total, left, workers, call)
    if stream is None or not left.trials:
        shown = Progress(*what)
        yield shown
        shown.tell(at_once=True)
    elif (stream.isatty() and _encoding(stream).startswith("utf")) or _in_notebook():
        with _rich_bar(stream) as bar:
            shown = _Bar(stream, bar, *what)
            yield shown
            shown.tell(at_once=True)
    else:
        shown, start = _Lines(stream, *what), time.monotonic()
        say(stream, f"{cells} cell{'s' if cells != 1 else ''}, {total} trials, {shown.done} done before")
        try:
            yield shown
            shown.tell(at_once=True)
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
            for text in ("{task.percentage:>3.0f} %", "{task.completed}/{task.total} trials", "{task.fields[pace]}")
        ),
        TextColumn("{task.description}", style="dim", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=Console() if _in_notebook() else Console(file=stream),
        transient=True,
        expand=True,
    )


def _in_notebook() -> bool:
    """Is this a notebook, where the bar is shown in the cell's output?"""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _short(rate: float) -> str:
    """A rate in few letters: "0.12", "85", "1.2 k", "3.4 M"."""
    for unit, sign in ((1e6, " M"), (1e3, " k")):
        if rate >= unit:
            return f"{rate / unit:.3g}{sign}"
    return f"{rate:.3g}" if rate < 100 else f"{rate:.0f}"


def _encoding(stream: TextIO) -> str:
    return (getattr(stream, "encoding", None) or "utf-8").lower()


def _printable(stream: TextIO, text: str) -> str:
    """The text with what the stream cannot encode as backslash escapes: a label must not end a run."""
    encoding = _encoding(stream)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        print(_printable(stream, f"{time.strftime('%H:%M:%S')} sublearn: {text}"), file=stream, flush=True)
