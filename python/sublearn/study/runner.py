"""Running a study: task after task, a row on disk after each, with progress and a clean stop.

Here: the loop, the signals, the progress lines, the prediction of how long it takes. One task is one call of
`match_probability` (which uses all threads by itself) in a worker thread, so that the main thread can answer
Ctrl-C and keep the clock; only the main thread writes. Not here: what is asked (study/cells.py) and what is made of
it (study/report/write.py).
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .._version import VERSION
from ..compare import Comparison, kinds_of_masks, tally
from ..match.decide import EXACT, RULES
from .cells import Cell, Task, cells_of, tasks_of
from .spec import Spec
from .store import FORMAT, TABLE, Store, StoreError, csv_text, summaries, write_text

__all__ = ["Outcome", "PlanLine", "measure", "plan", "run"]

PLAIN_EVERY = 30.0  # seconds between progress lines where there is no terminal
PROBE_TRIALS = 64


@dataclass
class Outcome:
    """What a run did: rows written now, what is left, and why it stopped early, if it did."""

    folder: Path
    rows: int = 0
    left: int = 0
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.left == 0


def run(spec: Spec, folder: str | Path, threads: int | None = None, stream: TextIO | None = None) -> Outcome:
    """Run what is not done yet: results.jsonl grows as it goes, results.csv is written at the end.

    `stream` takes the progress (a rich bar on a terminal, else a line every 30 s); None for silence.
    The first Ctrl-C (or SIGTERM) finishes the task at hand and returns with `interrupted`; the second raises
    KeyboardInterrupt at once. Every finished task is kept in both cases. A signal that is ignored when this
    starts stays ignored, and one whose handler Python did not install is left to it.
    A task that fails is reported in `problems`, its cell is left incomplete, and the others go on.
    Trials whose rows were set aside (older rules, see store.py) are run again.
    Errors: StoreError if the folder cannot be used (StoreBusy: another run is writing in it); SpecError if the study cannot be run.
    """
    cells = cells_of(spec)
    with Store(folder) as store:
        store.open_for_writing()
        outcome = Outcome(Path(folder))
        if store.note:
            _say(stream, store.note)
        tasks = tasks_of(cells, store.done(), spec.chunk)
        store.save_spec(spec)
        try:
            _loop(spec, cells, tasks, store, outcome, threads, stream)
        except StoreError as error:
            outcome.problems.append(str(error))
        outcome.left = sum(task.count for task in tasks_of(cells, store.done(), spec.chunk))
        try:
            write_text(store.folder / TABLE, csv_text(summaries(cells, store.rows)))
        except StoreError as error:
            outcome.problems.append(str(error))
    return outcome


def _loop(
    spec: Spec,
    cells: list[Cell],
    tasks: list[Task],
    store: Store,
    outcome: Outcome,
    threads: int | None,
    stream: TextIO | None,
) -> None:
    rates = Rates(store.rows)
    failed: set[str] = set()
    left = _Left(tasks, rates, spec.compare)
    with _progress(stream, cells, tasks, left) as progress, _stopper(progress.note) as asked:
        for task in tasks:
            if task.cell.id in failed:
                continue
            progress.begin(task)
            try:
                row = _in_thread(lambda task=task: measure(task, spec.compare, threads), progress.tick)
            except (ValueError, TypeError, ArithmeticError, MemoryError, RuntimeError) as error:
                failed.add(task.cell.id)
                outcome.problems.append(f"{task.cell.describe()}: {type(error).__name__}: {error}")
                progress.end(task)
                continue
            store.append(row)
            rates.add(row)
            outcome.rows += 1
            progress.end(task)
            if asked.is_set():
                outcome.interrupted = True
                break


def measure(task: Task, compare: int = 0, threads: int | None = None) -> dict[str, Any]:
    """The row of one task: counts of verdicts, and theory's kinds of the masks of trials below `compare`.

    Everything in the row but the seconds, "threads", "isa" and "version" depends on the task's content only.
    """
    from ..backend.compiled import cpu
    from ..match.probability import match_probability
    from ..ranks.generic_rank import required_rank

    cell = task.cell
    begin = time.perf_counter()
    result = match_probability(
        cell.net,
        cell.strategy,
        trials=task.count,
        shared=cell.shared,
        method=cell.method,
        seed=cell.seed,
        task=cell.task_number,
        screen=cell.screen,
        tol=cell.tol,
        threads=threads,
        gains=cell.gains or None,
        first=task.first,
        keep_trials=True,
        **cell.options,
    )
    fitted = time.perf_counter()
    compared = Comparison()
    judged = _judged(task, compare)
    if judged:
        compared = tally(kinds_of_masks(cell.net, result.masks[:judged], cell.shared), result.verdicts[:judged])
    return {
        "format": FORMAT,
        "rules": RULES[cell.method],
        "cell": cell.id,
        "first": task.first,
        "count": task.count,
        "matched": int(result.matched),
        "unmatched": int(result.unmatched),
        "undecided": int(result.undecided),
        "screened": int(result.screened),
        "solved_affine": int(result.solved_affine),
        "certified": int(result.certified),
        "by_theorem": int(result.by_theorem),
        # what the exact method finds on its way is no found probability of anything
        "found_after": [] if cell.method == EXACT else [int(count) for count in result.found_after],
        "quantity": str(result.quantity),
        "compared": compared.to_dict(),
        "required_rank": int(required_rank(cell.net, cell.shared)),
        "labels": {"network": cell.network_label, "strategy": cell.strategy_label, "size": cell.arguments},
        "content": dict(cell.content),
        "seconds": round(fitted - begin, 6),
        "seconds_theory": round(time.perf_counter() - fitted, 6),
        "threads": threads,
        "isa": cpu.isa(),
        "version": VERSION,
    }


# Time


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
        """Predicted time to fit so many trials of a cell and to judge so many of their masks."""
        for key in (("cell", cell.id), _likes(cell.content), ("all",)):
            if key in self._sums:
                fit, fitted, theory, masks = self._sums[key]
                return fit / fitted * trials + (theory / masks * judged if masks else 0.0)
        return None


def _likes(content: Mapping[str, Any]) -> tuple:
    return "like", str(content.get("network")), content.get("method")


class _Left:
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
        entry[1] += sign * _judged(task, self.compare)

    def remove(self, task: Task) -> None:
        self._change(task, -1)

    def seconds(self, cell: Cell | None = None) -> float | None:
        """For one cell, or for all; None if nothing like it was timed."""
        names = self.counts if cell is None else [cell.id] if cell.id in self.counts else []
        found = [self.rates.seconds(self.cells[name], *self.counts[name]) for name in names if self.counts[name][0]]
        return None if None in found else sum(found)


def _judged(task: Task, compare: int) -> int:
    """How many of a task's masks theory judges: those of trials below `compare`, none of screened searches."""
    return 0 if task.cell.screen and task.cell.method != EXACT else max(0, min(compare - task.first, task.count))


@dataclass(frozen=True)
class PlanLine:
    """One cell of a plan: trials done, and predicted seconds for the rest (None: it could not be timed)."""

    cell: Cell
    done: int
    seconds: float | None


def plan(spec: Spec, folder: str | Path | None = None, threads: int | None = None, limit: float = 10.0) -> list[PlanLine]:
    """Every cell with the trials it has and a predicted time for the rest; nothing is written.

    Cells are timed on their first trials (64 at most) until `limit` seconds are used up; the others borrow
    the mean of the timed cells of the same network and method.
    """
    cells = cells_of(spec)
    store = Store(folder) if folder is not None else None
    rows, done = (store.rows, store.done()) if store else ([], {})
    rates = Rates(rows)
    known = {row["cell"] for row in rows}
    left = _Left(tasks_of(cells, done, spec.chunk), rates, spec.compare)
    begin = time.perf_counter()
    for cell in _spread(cells):
        if cell.id not in left.counts or cell.id in known:
            continue
        if time.perf_counter() - begin > limit:
            break
        try:
            rates.add(measure(Task(cell, 0, min(PROBE_TRIALS, cell.trials)), spec.compare, threads))
        except (ValueError, TypeError, ArithmeticError, MemoryError, RuntimeError):
            continue  # the run will say what is wrong with this cell
    missing = {cell.id: left.counts.get(cell.id, [0])[0] for cell in cells}
    return [PlanLine(cell, cell.trials - missing[cell.id], left.seconds(cell)) for cell in cells]


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


def span_text(seconds: float | None) -> str:
    """Seconds in words: "42 s", "3 min", "2.5 h"."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# Stopping


@contextlib.contextmanager
def _stopper(note: Callable[[str], None]) -> Iterator[threading.Event]:
    """An event set by the first SIGINT or SIGTERM; the second raises KeyboardInterrupt. Main thread only.

    Left alone: a signal that is ignored (nohup, a shell's background job), and one whose handler is not
    Python's (getsignal gives None), since signal.signal could not put that back.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        note("stopping after the task at hand, everything is kept (Ctrl-C again stops at once)")

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                before[number] = signal.signal(number, handle)
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_thread(work: Callable[[], Any], tick: Callable[[], None]) -> Any:
    """work() in a daemon thread; meanwhile tick() every 0.2 s here, where signals arrive."""
    box: dict[str, Any] = {}
    finished = threading.Event()

    def body() -> None:
        try:
            box["value"] = work()
        except BaseException as error:  # handed to the main thread as it is
            box["error"] = error
        finally:
            finished.set()

    threading.Thread(target=body, name="sublearn-task", daemon=True).start()
    while not finished.wait(0.2):
        tick()
    if "error" in box:
        raise box["error"]
    return box["value"]


# Progress


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

    def __init__(self, stream: TextIO, cells: list[Cell], tasks: list[Task], left: _Left):
        self.stream, self.left = stream, left
        self.total = sum(cell.trials for cell in cells)
        self.done = self.total - sum(task.count for task in tasks)
        self.name, self.last, self.start = "", time.monotonic(), time.monotonic()
        if tasks:
            _say(
                stream,
                f"{len(cells)} cell{'s' if len(cells) != 1 else ''}, {self.total} trials, {self.done} done before",
            )

    def note(self, text: str) -> None:
        _say(self.stream, text)

    def begin(self, task: Task) -> None:
        self.name = task.cell.describe()

    def tick(self) -> None:
        if time.monotonic() - self.last >= PLAIN_EVERY:
            self.last = time.monotonic()
            _say(self.stream, f"{self.text()}, now {self.name}")

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
        _say(self.stream, f"{self.done} of {self.total} trials after {span_text(spent)}")


class _Bar(_Silent):
    """A rich bar with trials done, predicted time left and the cell at hand."""

    def __init__(self, stream: TextIO, cells: list[Cell], tasks: list[Task], left: _Left):
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
def _progress(stream: TextIO | None, cells: list[Cell], tasks: list[Task], left: _Left) -> Iterator[_Silent]:
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


def _say(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        print(_printable(stream, f"{time.strftime('%H:%M:%S')} sublearn: {text}"), file=stream, flush=True)
