"""The folder of a study: its file, and rows of additive counts in results.jsonl.

results.jsonl is append-only, one JSON object per line, one line per task (a range of trials of one cell),
written and flushed to disk before the next task's line; it is the only file a study needs to continue.
results.csv (one line per cell) and the xarray Dataset of `load` are made from it (tables.py). What a row may hold is in rows.py.

What is no error: a torn last line, left by a run that was killed, is reported and ignored, and cut off before
the next row is appended; a blank line holds nothing; a row that repeats an earlier one (the same trials with
the same counts, as a copied line or a cell measured on two machines has) is reported and counted once; a row
whose verdicts were given by older rules (`rules`, see decide.RULES; absent in the rows of earlier versions,
which had rules 1) is reported and set aside: kept in the file, never added, and its trials are run again.
Any other line is an error that names the line, and rows that count a trial twice are an error that names both.
"""

from __future__ import annotations

import io
import json
import os
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from ..match.methods import RULES
from .files import StoreError, lock, write_text
from .reading import parse_spec
from .rows import checked_row, same_counts
from .spec import Spec

__all__ = ["Store"]

ROWS, TABLE, SPEC = "results.jsonl", "results.csv", "spec.toml"


class Store:
    """The results of one study in one folder.

    `rows` are the rows read and appended so far, those alone that count; `aside` are the rows by older rules,
    which never do; `note` reports what was read and not counted, if anything. Only `open_for_writing`
    changes the folder; a second process that tries gets a StoreBusy. Errors: StoreError for a folder that
    cannot be read or whose rows are damaged.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.path = self.folder / ROWS
        self._file: io.FileIO | None = None
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            data = b""
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: expected a file that can be read, got: {error}") from None
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        """Read the whole file's bytes: in time linear in the rows, but for the sort of each cell's ranges."""
        self.rows: list[dict[str, Any]] = []
        self.aside: list[dict[str, Any]] = []
        self._as_read = (len(data), hash(data))
        self._torn, self._copies = "", []
        self._contents: dict[str, Mapping[str, Any]] = {}
        # (cell, rules) to the ascending (first, end, line) of its rows
        self._taken: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
        earlier: dict[tuple[str, int, int, int], tuple[int, dict[str, Any]]] = {}
        at = self._lines = 0
        while at < len(data):
            self._lines += 1
            end = data.find(b"\n", at)
            if end < 0:
                self._torn = (
                    f"ignored a torn last line ({len(data) - at} bytes): the run that wrote it was stopped; its trials are run again"
                )
                break
            line, at = data[at:end], end + 1
            if not line.strip():
                continue
            row = checked_row(line, self._place(self._lines), self._contents)
            key = (row["cell"], row["rules"], row["first"], row["count"])
            known, other = earlier.setdefault(key, (self._lines, row))
            if known != self._lines and same_counts(other, row):
                self._copies.append((self._lines, known))
                continue
            self._taken.setdefault(key[:2], []).append((row["first"], row["first"] + row["count"], self._lines))
            self._keep(row)
        self._good_bytes = at
        for (cell, _), taken in self._taken.items():
            taken.sort()
            for one, two in zip(taken, taken[1:]):
                if two[0] < one[1]:
                    self._refuse_overlap(cell, *sorted((one, two), key=lambda entry: entry[2]))

    def _keep(self, row: dict[str, Any]) -> None:
        current = row["rules"] == RULES[row["content"]["method"]]
        (self.rows if current else self.aside).append(row)

    def _place(self, line: int) -> str:
        return f"{self.path}: line {line}"

    def _refuse_overlap(self, cell: str, one: tuple[int, int, int], two: tuple[int, int, int]) -> NoReturn:
        raise StoreError(
            f"{self._place(two[2])}: expected trials that no other row counts, got {two[0]}..{two[1] - 1} of cell {cell}, "
            f"which overlaps {one[0]}..{one[1] - 1} of line {one[2]}; remove one of the two lines"
        )

    @property
    def note(self) -> str:
        """What is in the file and not counted, in words; empty if there is no such thing."""
        parts = [self._torn] if self._torn else []
        if self._copies:
            line, known = self._copies[0]
            many = f" and {len(self._copies) - 1} more" if len(self._copies) > 1 else ""
            parts.append(f"line {line}{many}: repeats line {known}{' and others' if many else ''}, counted once")
        if self.aside:
            parts.append(self._aside_note())
        return f"{self.path}: {'; '.join(parts)}" if parts else ""

    def _aside_note(self) -> str:
        trials: dict[tuple[str, int], int] = {}
        for row in self.aside:
            key = (row["content"]["method"], row["rules"])
            trials[key] = trials.get(key, 0) + row["count"]
        total = sum(trials.values())
        anew = total - self.aside_left(row["cell"] for row in self.aside)
        by = ", ".join(f"{count} of method {method} by rules {rules} (now {RULES[method]})" for (method, rules), count in trials.items())
        left = (
            "all computed anew since"
            if anew == total
            else (f"{anew} computed anew since; `sublearn run` computes anew what the study asks for")
        )
        return f"set aside {total} trials that older rules judged: {by}; they are kept and never added; {left}"

    def aside_left(self, cells: Iterable[str]) -> int:
        """How many trials of these cells (ids) are in rows set aside, and in none that counts."""
        asked, left = set(cells), 0
        for (cell, rules), taken in self._taken.items():
            newest = RULES[self._contents[cell]["method"]]
            if cell in asked and rules != newest:
                left += sum(end - first for first, end, _ in taken) - _shared_trials(taken, self._taken.get((cell, newest), []))
        return left

    def open_for_writing(self) -> None:
        """Lock the file, read it again if another run wrote to it since it was read, and cut off a torn last line.

        What is to be run is known only after this: until then another run may append. Errors: StoreBusy if
        another run has the file; StoreError if it cannot be written or was damaged in the meantime.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(self.path, "a+b", buffering=0)
        except OSError as error:
            raise StoreError(f"{self.path}: expected a file that can be written, got: {error}") from None
        try:
            lock(file, self.path)
            file.seek(0)
            data = file.readall()
            if (len(data), hash(data)) != self._as_read:
                self._take_in(data)
            if self._good_bytes != len(data):
                file.truncate(self._good_bytes)
        except OSError as error:
            file.close()
            raise StoreError(f"{self.path}: expected a file that can be written, got: {error}") from None
        except StoreError:
            file.close()
            raise
        self._file = file

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row to disk. StoreError on a full disk (a part that was written is taken back), for a file that another
        program removed, replaced or wrote to, and for trials that have a row."""
        if self._file is None:
            raise StoreError(f"{self.path}: expected open_for_writing() before append()")
        line = json.dumps(row, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
        checked = checked_row(line[:-1], f"{self.path}: new row", self._contents)
        taken = self._taken.setdefault((checked["cell"], checked["rules"]), [])
        entry = (checked["first"], checked["first"] + checked["count"], self._lines + 1)
        place = bisect_left(taken, entry)
        for other in taken[max(0, place - 1) : place + 1]:
            if other[0] < entry[1] and entry[0] < other[1]:
                self._refuse_overlap(checked["cell"], other, entry)
        self._check_alone()
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # else a torn last line, which the next run cuts off
                self._file.truncate(self._good_bytes)
            raise StoreError(
                f"{self.path}: expected to write {len(line)} bytes, got: {error}; the {len(self.rows)} rows before are safe"
            ) from None
        self._good_bytes += len(line)
        self._lines += 1
        insort(taken, entry)
        self._keep(checked)

    def _check_alone(self) -> None:
        """StoreError if the path leads to another file than the one opened, or if that has grown: a lock keeps out runs only, and not
        everywhere."""
        assert self._file is not None
        try:
            opened = os.fstat(self._file.fileno())
            same = os.path.samestat(opened, os.stat(self.path))
        except OSError as error:
            raise StoreError(f"{self.path}: expected the file that this run writes, got: {error}") from None
        if not same or opened.st_size != self._good_bytes:
            what = f"{opened.st_size} bytes" if same else "another file in its place"
            raise StoreError(
                f"{self.path}: expected the file as this run left it ({self._good_bytes} bytes), got {what}; run again to go on from there"
            )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def done(self) -> dict[str, list[tuple[int, int]]]:
        """Cell id to the (first, count) ranges that have a row by today's rules."""
        found: dict[str, list[tuple[int, int]]] = {}
        for row in self.rows:
            found.setdefault(row["cell"], []).append((row["first"], row["count"]))
        return found

    def save_spec(self, spec: Spec) -> None:
        """Keep the study's file as spec.toml, so that the folder can be read and reported on its own."""
        write_text(self.folder / SPEC, spec.text)

    def spec(self) -> Spec:
        """The study this folder was made by. StoreError if it holds none, SpecError for one that cannot be run."""
        path = self.folder / SPEC
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            came = "none" if isinstance(error, (FileNotFoundError, NotADirectoryError)) else f"one that cannot be read: {error}"
            raise StoreError(f"{self.folder}: expected the folder of a study (with {SPEC}), got {came}") from None
        return parse_spec(text, source=str(path))


def _shared_trials(some: list[tuple[int, int, int]], others: list[tuple[int, int, int]]) -> int:
    """How many trials are in both of two ascending lists of (first, end, line)."""
    found = at = 0
    for first, end, _ in some:
        while at < len(others) and others[at][1] <= first:
            at += 1
        ahead = at
        while ahead < len(others) and others[ahead][0] < end:
            found += min(end, others[ahead][1]) - max(first, others[ahead][0])
            ahead += 1
    return found
