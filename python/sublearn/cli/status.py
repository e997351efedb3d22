"""The verb status: how much of a study is done, said once or again and again while others work on it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from .common import INCOMPLETE, OK, Refused, print_json, print_table, read_study

MOST_LINES = 60  # of the table while it is watched: then one line for each network
OVER = 60.0  # s over which a watched study's rate is taken


def status(options: argparse.Namespace) -> int:
    """Say how much is done; the exit code."""
    if options.watch is not None:
        if options.json:
            raise Refused("status: expected --watch or --json, got both")
        return _watch(options)
    from ..study.enough import needed

    spec, store, cells = folder_of(options)
    ends = needed(cells, store.rows)
    missing = _missing(store, cells, ends)
    left = sum(missing.values())
    if options.json:
        print_json(
            {"study": spec.name, "folder": store.folder, "complete": not left, "left": left, "note": store.note}
            | _entries(store, cells, missing, ends)
        )
        return INCOMPLETE if left else OK
    print_table(("network", "strategy", "size", "method", "trials"), [_line(cell, missing[cell.id], ends[cell.id]) for cell in cells])
    _say_notes(store, cells)
    print(f"{store.folder}: {'complete' if not left else f'{left} trials left'}")
    return INCOMPLETE if left else OK


def _entries(store: Any, cells: list[Any], missing: dict[str, int], ends: dict[str, int]) -> dict[str, Any]:
    ours = {cell.id for cell in cells}
    entries = [
        {
            "cell": cell.id,
            "network": cell.network_label,
            "strategy": cell.name,
            "arguments": cell.arguments,
            "method": cell.method,
            "quantity": cell.quantity or "matches",
            "trials": cell.trials,
            "done": ends[cell.id] - missing[cell.id],
            "left": missing[cell.id],
        }
        for cell in cells
    ]
    failures = [{key: failure[key] for key in ("cell", "first", "count", "error")} for failure in store.failures if failure["cell"] in ours]
    return {"cells": entries, "failures": failures}


def _missing(store: Any, cells: list[Any], ends: dict[str, int]) -> dict[str, int]:
    from ..study.items import missing_ranges

    done = store.done()
    return {cell.id: sum(count for _, count in missing_ranges(done.get(cell.id, ()), ends[cell.id])) for cell in cells}


def _line(cell: Any, missing: int, needed: int) -> tuple[str, ...]:
    enough = " enough" if needed < cell.trials else ""
    return cell.network_label, cell.name, cell.arguments, cell.method, f"{needed - missing}/{needed}{enough}"


def _say_notes(store: Any, cells: list[Any]) -> None:
    if store.note:
        print(f"sublearn: {store.note}", file=sys.stderr)
    names = {cell.id: cell.describe() for cell in cells}
    for failure in store.failures:
        if failure["cell"] in names:
            trials = f"trials {failure['first']} to {failure['first'] + failure['count'] - 1}"
            print(f"sublearn: {names[failure['cell']]}: {trials} failed: {failure['error']}", file=sys.stderr)


def _watch(options: argparse.Namespace) -> int:
    """Look at the folder every few seconds until all is done or Ctrl-C comes: what all runs in it have written."""
    from ..study import StoreError
    from ..study.enough import needed
    from ..study.items import Work
    from ..study.timing import Left, Rates

    spec, store, cells = folder_of(options)
    marks: deque[tuple[float, int, float]] = deque()  # when, trials left, seconds that all workers have spent
    terminal = sys.stdout.isatty()
    while True:
        ends = needed(cells, store.rows)
        missing = _missing(store, cells, ends)
        left, now = sum(missing.values()), time.monotonic()
        work = Work(cells, store.done(), None, ends)
        predicted = Left(work, Rates(store.rows), spec.compare).seconds()
        spent = sum(row["seconds"] + row.get("seconds_theory", 0.0) for row in store.rows)
        marks.append((now, left, spent))
        while len(marks) > 2 and now - marks[0][0] > OVER:
            marks.popleft()
        if terminal:
            print("\033[H\033[J", end="")
            lines = [_line(cell, missing[cell.id], ends[cell.id]) for cell in cells]
            if len(lines) > MOST_LINES:
                lines = _by_network(cells, missing, ends)
            print_table(("network", "strategy", "size", "method", "trials"), lines)
        print(f"{time.strftime('%H:%M:%S')} {store.folder}: {_standing(left, sum(ends.values()), marks, predicted)}", flush=True)
        if not left:
            _say_notes(store, cells)
            return OK
        time.sleep(options.watch)
        try:
            store.refresh()
        except StoreError as error:
            raise Refused(error) from None


def _standing(left: int, asked: int, marks: deque[tuple[float, int, float]], predicted: float | None) -> str:
    from ..study.timing import span_text

    if not left:
        return "complete"
    (began, before, spent), (now, _, spent_now) = marks[0], marks[-1]
    text = f"{asked - left} of {asked} trials ({(asked - left) / asked:.0%})"
    if now > began and before > left:
        text += f", {(before - left) / (now - began):.3g} trials/s"
        if predicted is not None and spent_now > spent:
            text += f", about {span_text(predicted * (now - began) / (spent_now - spent))} left"
    return text


def _by_network(cells: list[Any], missing: dict[str, int], ends: dict[str, int]) -> list[tuple[str, ...]]:
    sums: dict[tuple[str, str], list[int]] = {}
    for cell in cells:
        entry = sums.setdefault((cell.network_label, cell.method), [0, 0, 0])
        for place, value in enumerate((1, ends[cell.id] - missing[cell.id], ends[cell.id])):
            entry[place] += value
    return [(network, f"{count} cells", "", method, f"{done}/{asked}") for (network, method), (count, done, asked) in sums.items()]


def folder_of(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """(spec, store, cells) of a results folder, or of the folder that a study file's results are in."""
    from ..study import SpecError, Store, StoreError, cells_of

    try:
        if options.study is not None and os.path.isdir(options.study):
            store = Store(options.study)
            spec = store.spec()
        else:
            spec = read_study(options.study)
            store = Store(Path(options.out) / f"sublearn-{spec.name}")
        return spec, store, cells_of(spec)
    except (SpecError, StoreError) as error:
        raise Refused(error) from None
