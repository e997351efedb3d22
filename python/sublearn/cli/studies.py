"""The verbs run, plan, report and merge: studies on the command line. What they do lives in sublearn.study."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .common import INCOMPLETE, INTERRUPTED, OK, UNWRITABLE, Refused, checked, need_study, print_json, print_table, read_study
from .status import folder_of

MOST_LINES = 1000  # of a plan's table


def run_study(options: argparse.Namespace) -> int:
    """Run it and write its report; the exit code."""
    need_study()
    from ..study import DiskError, StoreError, run
    from ..study.resuming import folder_for
    from ..study.sweep import cells_of

    if options.dask is not None and options.shard is not None:
        raise Refused("run: expected --dask or --shard, got both")
    spec = read_study(options.study)
    checked(cells_of, spec)
    try:
        with _executor(options) as executor:
            folder = folder_for(Path(options.out) / f"sublearn-{spec.name}", options.resume)
            stream = None if options.quiet else sys.stderr
            more = {"workers": options.workers, "shard": options.shard, "on_error": options.on_error}
            outcome = run(spec, folder, options.threads, stream, executor, **more)
    except DiskError as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return UNWRITABLE
    except StoreError as error:
        raise Refused(error) from None
    return _told(outcome, spec, options.json)


def _told(outcome: Any, spec: Any, as_json: bool) -> int:
    """Say what a run did, with its report unless it was interrupted; the exit code."""
    from ..study import DiskError, Store, StoreError, write_report
    from ..study.report.text import summary_table
    from ..study.summary import summaries
    from ..study.sweep import cells_of

    for problem in outcome.problems:
        print(f"sublearn: {problem}", file=sys.stderr)
    if outcome.unwritable:
        print(f"sublearn: {outcome.left} trials left; what is written stays, make room and the same command continues", file=sys.stderr)
        return UNWRITABLE
    if outcome.interrupted and not outcome.complete:
        print(f"sublearn: interrupted, {outcome.left} trials left; the same command continues", file=sys.stderr)
        return INTERRUPTED
    try:
        rows = Store(outcome.folder).rows
        if as_json:
            made = write_report(outcome.folder, spec) if rows and not (outcome.complete and outcome.left_in_all) else None
            about = {"complete": outcome.complete, "left": outcome.left, "left_in_all": outcome.left_in_all}
            print_json({"folder": outcome.folder, "report": made, **about, "problems": list(outcome.problems)})
        elif outcome.complete and outcome.left_in_all:
            print(outcome.folder)
            print(f"sublearn: this shard is done; {outcome.left_in_all} trials of the study are left to the others", file=sys.stderr)
        elif rows:
            print(write_report(outcome.folder, spec))
            print(summary_table(summaries(cells_of(spec), rows)))
    except DiskError as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return UNWRITABLE
    except StoreError as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return INCOMPLETE
    if not outcome.complete:
        print(f"sublearn: {outcome.left} trials left; the same command continues", file=sys.stderr)
    return OK if outcome.complete and not outcome.problems else INCOMPLETE


@contextmanager
def _executor(options: argparse.Namespace) -> Iterator[Any]:
    """The dask Client asked for, or None."""
    if options.dask is None:
        yield None
        return
    if importlib.util.find_spec("distributed") is None:
        raise Refused("the extra 'dask' is missing (distributed not installed); install it with: pip install 'sublearn[dask]'")
    from ..study.executors import dask_client

    cluster = dask_client(options.dask, options.workers)
    try:
        client = cluster.__enter__()
    except (OSError, ValueError) as error:
        raise Refused(f"--dask: expected a scheduler at {options.dask!r}, got: {error}") from None
    with ExitStack() as at_end:
        at_end.push(cluster.__exit__)
        yield client


def join(options: argparse.Namespace) -> int:
    """Merge folders into one; the exit code."""
    from ..study import DiskError, SpecError, Store, StoreError, cells_of, merge
    from ..study.enough import needed
    from ..study.items import Work

    try:
        spec = Store(options.folders[0]).spec()
        cells = checked(cells_of, spec)
        folder = merge(options.folders, Path(options.out) / f"sublearn-{spec.name}")
        store = Store(folder)
    except DiskError as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return UNWRITABLE
    except (StoreError, SpecError) as error:
        raise Refused(error) from None
    if store.note:
        print(f"sublearn: {store.note}", file=sys.stderr)
    left = sum(count for ranges in Work(cells, store.done(), None, needed(cells, store.rows)).missing.values() for _, count in ranges)
    if options.json:
        print_json({"folder": folder, "rows": len(store.rows), "complete": not left, "left": left})
    else:
        print(f"{folder}: {len(store.rows)} rows, {'complete' if not left else f'{left} trials left'}")
    return OK


def plan_study(options: argparse.Namespace) -> int:
    """List the cells and the time they may take; the exit code."""
    from ..study import StoreError, plan
    from ..study.sweep import cells_of
    from ..study.timing import span_text

    spec = read_study(options.study)
    folder = Path(options.out) / f"sublearn-{spec.name}"
    checked(cells_of, spec)
    workers = options.workers or 1
    try:
        lines = plan(spec, folder, options.threads, workers=options.workers)
    except StoreError as error:
        raise Refused(error) from None
    trials, left = sum(line.cell.trials for line in lines), sum(line.left for line in lines)
    unknown = any(line.seconds is None for line in lines)
    total = sum(line.seconds or 0 for line in lines) / workers
    if options.json:
        cells = [_plan_entry(line) for line in lines]
        about = {"study": spec.name, "folder": str(folder), "workers": workers, "trials": trials, "left": left}
        print_json(about | {"seconds": None if unknown else round(total, 3), "seconds_known": round(total, 3), "cells": cells})
        return OK
    head = ("network", "strategy", "size", "r", "method", "trials", "done", "time")
    entries = []
    for line in lines[:MOST_LINES]:
        cell = line.cell
        time = "-" if not line.left else span_text(line.seconds)
        entries.append((cell.network_label, cell.name, cell.arguments, cell.budget, cell.method, cell.trials, line.done, time))
    print_table(head, entries)
    if len(lines) > MOST_LINES:
        print(f"... {len(lines) - MOST_LINES} more cells (--json lists all)")
    by = "" if workers == 1 else f" with {workers} workers"
    most = " at most" if any(line.cell.stop for line in lines) else ""
    what = "nothing left to run" if not left else f"{left} left, about {span_text(total)}{by}{most}{' and more' if unknown else ''}"
    print(f"{len(lines)} cells, {trials} trials, {what}; folder {folder}")
    return OK


def _plan_entry(line: Any) -> dict[str, Any]:
    cell = line.cell
    return {
        "cell": cell.id,
        "network": cell.network_label,
        "strategy": cell.name,
        "arguments": cell.arguments,
        "budget": cell.budget,
        "method": cell.method,
        "quantity": cell.quantity or "matches",
        "trials": cell.trials,
        "done": line.done,
        "left": line.left,
        "seconds": None if line.seconds is None else round(line.seconds, 6),
    }


def report(options: argparse.Namespace) -> int:
    """Make the report anew; the exit code."""
    need_study()
    from ..study import StoreError, write_report
    from ..study.report.text import summary_table
    from ..study.summary import summaries

    spec, store, cells = folder_of(options)
    if not store.rows:
        came = f"none by today's rules ({store.note})" if store.aside else "none"
        raise Refused(f"{store.folder}: expected a folder with results, got {came}; run the study first")
    try:
        path = write_report(store.folder, spec)
    except StoreError as error:
        raise Refused(error) from None
    if options.json:
        print_json({"folder": store.folder, "report": path})
        return OK
    print(path)
    print(summary_table(summaries(cells, store.rows)))
    return OK
