"""What a run says while it goes: a rich bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TextIO

from .cells import Cell, Task
from .timing import Left, span_text

PLAIN_EVERY = 30.0  # seconds between progress lines where there is no terminal


class _Silent:
    """No progress; also the interface of the others."""

    def note(self, text: str) -> None:
        pass

    def begin(self, task: Task) -> None:
        pass

    def tick(self) -> None:
        pass

    def end(self, task: Task) -> None:
        pass


class _Plain(_Silent):
    """One line at the start, one every 30 s, one at the end."""

    def __init__(self, stream: TextIO, cells: list[Cell], tasks: list[Task], left: Left):
        self.stream, self.left = stream, left
        self.total = sum(cell.trials for cell in cells)
        self.done = self.total - sum(task.count for task in tasks)
        self.name, self.last, self.start = "", time.monotonic(), time.monotonic()
        if tasks:
            say(
                stream,
                f"{len(cells)} cell{'s' if len(cells) != 1 else ''}, {self.total} trials, {self.done} done before",
            )

    def note(self, text: str) -> None:
        say(self.stream, text)

    def begin(self, task: Task) -> None:
        self.name = task.cell.describe()

    def tick(self) -> None:
        if time.monotonic() - self.last >= PLAIN_EVERY:
            self.last = time.monotonic()
            say(self.stream, f"{self.text()}, now {self.name}")

    def text(self) -> str:
        share = self.done / self.total if self.total else 1.0
        left = self.left.seconds()
        time_left = "" if left is None else f", about {span_text(left)} left"
        return f"{self.done} of {self.total} trials ({share:.0%}){time_left}"

    def end(self, task: Task) -> None:
        self.done += task.count
        self.left.remove(task)
        self.tick()

    def close(self) -> None:
        spent = time.monotonic() - self.start
        say(self.stream, f"{self.done} of {self.total} trials after {span_text(spent)}")


class _Bar(_Silent):
    """A rich bar with trials done, predicted time left and the cell at hand."""

    def __init__(self, stream: TextIO, cells: list[Cell], tasks: list[Task], left: Left):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        self.stream, self.left = stream, left
        self.total = sum(cell.trials for cell in cells)
        self.done = self.total - sum(task.count for task in tasks)
        self.bar = Progress(
            BarColumn(bar_width=20),
            *(
                TextColumn(text, table_column=Column(no_wrap=True))
                for text in ("{task.percentage:>3.0f} %", "{task.fields[trials]}", "{task.fields[eta]}")
            ),
            TextColumn("[dim]{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=Console(file=stream),
            transient=True,
            expand=True,
        )
        self.line = self.bar.add_task("", total=max(1, self.total), completed=self.done, trials="", eta="")
        self._show("")
        self.bar.start()

    def note(self, text: str) -> None:
        self.bar.console.print(_printable(self.stream, text), markup=False, highlight=False)

    def _show(self, name: str) -> None:
        left = self.left.seconds()
        eta = "" if left is None else f"{span_text(left)} left"
        self.bar.update(
            self.line,
            completed=self.done,
            trials=f"{self.done}/{self.total} trials",
            eta=eta,
            description=_printable(self.stream, name).replace("[", r"\["),
        )

    def begin(self, task: Task) -> None:
        self._show(task.cell.describe())

    def end(self, task: Task) -> None:
        self.done += task.count
        self.left.remove(task)
        self._show(task.cell.describe())

    def close(self) -> None:
        self.bar.stop()


@contextlib.contextmanager
def progress_on(stream: TextIO | None, cells: list[Cell], tasks: list[Task], left: Left) -> Iterator[_Silent]:
    if stream is None or not tasks:
        yield _Silent()
        return
    kind = _Bar if stream.isatty() and _encoding(stream).startswith("utf") else _Plain
    shown = kind(stream, cells, tasks, left)
    try:
        yield shown
    finally:
        shown.close()


def _encoding(stream: TextIO) -> str:
    return (getattr(stream, "encoding", None) or "utf-8").lower()


def _printable(stream: TextIO, text: str) -> str:
    """The text with what the stream cannot encode as backslash escapes: a label must not end a run."""
    encoding = _encoding(stream)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        print(_printable(stream, f"{time.strftime('%H:%M:%S')} sublearn: {text}"), file=stream, flush=True)
