"""Running a study: task after task, a row on disk after each, with progress and a clean stop.

One task is one call of `match_probability` (which uses all threads by itself) in a worker thread, so that the main thread can answer
Ctrl-C and keep the clock; only the main thread writes. Not here: the cells (sweep.py), signals (stopping.py), what is reported meanwhile
(progress.py) and what is made of it (report/).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

from .cells import Cell
from .files import StoreError, write_text
from .measure import measure
from .progress import progress_on, say
from .spec import Spec
from .stopping import in_thread, stopper
from .store import TABLE, Store
from .summary import summaries
from .sweep import cells_of
from .tables import csv_text
from .tasks import Task, tasks_of
from .timing import Left, Rates

__all__ = ["Outcome", "run"]


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

    >>> spec = study.parse_spec('''
    ... study = {name = "last-layer", trials = 100, control = false}
    ... network = [{kind = "feedforward", widths = [3, 4, 2], samples = 3, shared = ["W1"]}]
    ... strategy = [{kind = "only", within = "W2"}]
    ... ''')
    >>> study.run(spec, "sublearn-last-layer").rows
    1
    >>> study.load("sublearn-last-layer")["probability"].values
    array([1.])
    """
    cells = cells_of(spec)
    with Store(folder) as store:
        store.open_for_writing()
        outcome = Outcome(Path(folder))
        if store.note:
            say(stream, store.note)
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
    left = Left(tasks, rates, spec.compare)
    with progress_on(stream, cells, tasks, left) as progress, stopper(progress.note) as asked:
        for task in tasks:
            if task.cell.id in failed:
                continue
            progress.begin(task)
            try:
                row = in_thread(partial(measure, task, spec.compare, threads), progress.tick)
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
