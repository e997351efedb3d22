"""Running a study: item after item, a row on disk after each, with progress and a clean stop.

Items are measured by a crew (executors.py), by default in a thread beside this one, so that the main thread can answer signals and keep the
clock; only the main thread writes. Not here: the cells (sweep.py), how they are cut (items.py), signals (stopping.py), what is reported
meanwhile (progress.py), which item is next (loop.py) and what is made of it (report/).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, TextIO

from .cells import Cell
from .enough import needed
from .executors import crew_of
from .files import DiskError, StoreError, write_text
from .items import Range, Work, shares
from .loop import Loop
from .progress import Standing, progress_on, say
from .resuming import difference
from .spec import Spec
from .stopping import stopper
from .store import TABLE, Store
from .summary import summaries
from .sweep import cells_of
from .tables import csv_text
from .timing import Left, Rates

__all__ = ["Outcome", "run"]


@dataclass
class Outcome:
    """What a run did: rows written now, what is left, and why it stopped early, if it did.

    `left` counts the trials that this run was asked for (of its shard) and that no row has; `left_in_all` those of the whole study.
    `unwritable`: the disk was full, read-only or gone.
    """

    folder: Path
    rows: int = 0
    left: int = 0
    left_in_all: int = 0
    interrupted: bool = False
    unwritable: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.left == 0


def run(
    spec: Spec,
    folder: str | Path,
    threads: int | None = None,
    stream: TextIO | None = None,
    executor: Any | None = None,
    *,
    workers: int | None = None,
    shard: tuple[int, int] | None = None,
    on_error: str = "record",
    progress: Callable[[Standing], object] | None = None,
    cancel: Event | None = None,
) -> Outcome:
    """Run what is not done yet: a row is written after each item, results.csv at the end.

    `stream` takes the progress (a bar on a terminal and in a notebook, else a line every 30 s); None for silence.
    progress: called in this thread with a `Standing` (done, total, rate in trials/s, seconds_left, cell), at most five times a second and
    at the end. cancel: a threading.Event; once it is set, by that function or from another thread, the run ends as after Ctrl-C.
    executor: whoever measures, anything with `submit` (concurrent.futures, loky, mpi4py.futures, submitit, a dask Client); it stays open.
    workers: without an executor, so many processes, among which `threads` are divided; with one, how many items it does at a time, where
    it does not say. threads: of each item with an executor (None: the cores divided among workers of this machine, else 1).
    shard: (i, N), run the i-th of N parts of the study, i from 0; the parts of other runs are left alone.
    The first Ctrl-C (SIGTERM, SIGHUP, SIGUSR1) finishes what is under way and returns with `interrupted`; the second raises
    KeyboardInterrupt at once. Every finished item is kept in both cases. A signal that is ignored when this
    starts stays ignored, and one whose handler Python did not install is left to it.
    An item that fails, or whose worker dies, is tried once more; then the failure is written down and reported in `problems`, its cell is
    left incomplete, and the others go on (on_error "raise": then it is raised).
    Several runs may write in one folder; each looks at what the others did, and what two have measured counts once.
    Trials whose rows were set aside (older rules, see store.py) are run again.
    Errors: StoreError if the folder cannot be used (DiskError: written); SpecError if the study cannot be run; ValueError and TypeError
    for wrong arguments.

    >>> spec = study.parse_spec('''
    ... study = {name = "last-layer", trials = 64, control = false}
    ... network = [{kind = "feedforward", widths = [3, 4, 2], samples = 3, shared = ["W1"]}]
    ... strategy = [{kind = "only", within = "W2"}]
    ... ''')
    >>> study.run(spec, "sublearn-last-layer").rows
    1
    >>> study.load("sublearn-last-layer")["probability"].values
    array([1.])
    """
    _check(workers, shard, on_error)
    cells = cells_of(spec)
    asked = None if shard is None else shares(cells, shard)
    with Store(folder) as store, crew_of(executor, workers, threads) as crew:
        store.open_for_writing()
        outcome = Outcome(Path(folder))
        for note in (store.note, difference(store, spec, cells)):
            if note:
                say(stream, note)
        store.save_spec(spec)
        work = Work(cells, store.done(), asked, needed(cells, store.rows))
        left = Left(work, Rates(store.rows), spec.compare)
        total = sum(cell.trials for cell in cells) if asked is None else sum(count for own in asked.values() for _, count in own)
        with progress_on(stream, len(cells), total, left, crew.workers, progress) as shown, stopper(shown.note, cancel) as stop:
            loop = Loop(spec, store, work, left, crew, shown, on_error)
            try:
                loop.run(stop)
                store.close()
            except DiskError as error:
                outcome.unwritable = True
                loop.problems.append(str(error))
                with suppress(DiskError):
                    store.close()
            outcome.rows, outcome.interrupted, outcome.problems = loop.rows, stop.is_set(), loop.problems
        _end(cells, store, asked, outcome)
    return outcome


def _check(workers: int | None, shard: tuple[int, int] | None, on_error: str) -> None:
    if workers is not None and (type(workers) is not int or workers < 1):
        raise ValueError(f"workers: expected a whole number >= 1, got {workers!r}")
    if shard is not None and not (len(shard) == 2 and all(type(part) is int for part in shard) and 0 <= shard[0] < shard[1]):
        raise ValueError(f"shard: expected (i, N) with 0 <= i < N, got {shard!r}")
    if on_error not in ("record", "raise"):
        raise ValueError(f"on_error: expected 'record' or 'raise', got {on_error!r}")


def _end(cells: list[Cell], store: Store, asked: dict[str, list[Range]] | None, outcome: Outcome) -> None:
    """What is left, by all that is on disk, and the table."""
    try:
        store.refresh()
        done, ends = store.done(), needed(cells, store.rows)
        outcome.left_in_all = sum(count for ranges in Work(cells, done, None, ends).missing.values() for _, count in ranges)
        outcome.left = sum(count for ranges in Work(cells, done, asked, ends).missing.values() for _, count in ranges)
        if outcome.rows or store.has_changed_since(store.folder / TABLE):
            write_text(store.folder / TABLE, csv_text(summaries(cells, store.rows)))
    except StoreError as error:
        outcome.unwritable |= isinstance(error, DiskError)
        outcome.problems.append(str(error))
