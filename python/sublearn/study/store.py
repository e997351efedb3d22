"""The folder of a study: rows of additive counts in results.jsonl, and the views made from them.

results.jsonl is append-only, one JSON object per line, one line per task (a range of trials of one cell),
written and flushed to disk before the next task's line; it is the only file a study needs to continue.
results.csv (one line per cell) and the xarray Dataset of `load` are made from it. Not here: what a row's
numbers mean for theory (compare.py).

What is no error: a torn last line, left by a run that was killed, is reported and ignored, and cut off before
the next row is appended; a blank line holds nothing; a row that repeats an earlier one (the same trials with
the same counts, as a copied line or a cell measured on two machines has) is reported and counted once; a row
whose verdicts were given by older rules (`rules`, see decide.RULES; absent in the rows of earlier versions,
which had rules 1) is reported and set aside: kept in the file, never added, and its trials are run again.
Fields that nobody reads ("threads" and what other versions may add) are not checked. Any other line is an
error that names the line, and rows that count a trial twice are an error that names both.
"""

from __future__ import annotations

import io
import json
import os
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from ..compare import Comparison
from ..match.methods import RULES
from .cells import CONTENT, content_id
from .spec import Spec, parse_spec

__all__ = ["FORMAT", "Store", "StoreBusy", "StoreError"]

FORMAT = 1
ROWS, TABLE, SPEC = "results.jsonl", "results.csv", "spec.toml"
LONGEST_LINE = 1 << 24
MOST_TRIALS = 1 << 32  # trials are numbered in 32 bits
COUNTS = ("count", "matched", "unmatched", "undecided", "screened", "solved_affine")
LATER_COUNTS = ("certified", "by_theorem")  # absent in the rows of earlier versions, which counted no such trials
QUANTITIES = ("found", "existence")
LABELS = ("network", "strategy", "size")
OF_THE_RUN = ("seconds", "seconds_theory", "threads", "isa", "version", "labels")  # what two rows of the same trials may differ in


class StoreError(RuntimeError):
    """A folder whose contents cannot be used; the text names the file and line and says what to do."""


class StoreBusy(StoreError):
    """Another run is writing in the folder."""


class Store:
    """The results of one study in one folder.

    `rows` are the rows read and appended so far, those alone that count; `aside` are the rows by older rules,
    which never do; `note` says in words what was read and not counted, if anything. Only `open_for_writing`
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
            row = _checked_row(line, self._place(self._lines), self._contents)
            key = (row["cell"], row["rules"], row["first"], row["count"])
            known, other = earlier.setdefault(key, (self._lines, row))
            if known != self._lines and _same(other, row):
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
            _lock(file, self.path)
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
        checked = _checked_row(line[:-1], f"{self.path}: new row", self._contents)
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


def _checked_row(line: bytes, place: str, contents: dict[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The row in a line, every field that a reader uses checked. `contents`: by cell id those already checked; a new one is added.

    Errors: StoreError that names the place and what is wrong.
    """
    cure = "; remove the line to have its trials run again"
    newer = "; read it with the version of sublearn that wrote it"

    def refuse(expected: str, got: str, then: str = cure) -> NoReturn:
        raise StoreError(f"{place}: expected {expected}, got {got}{then}")

    if len(line) > LONGEST_LINE:
        refuse(f"at most {LONGEST_LINE} bytes", str(len(line)))
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        refuse("a JSON object", repr(line[:60]))
    if type(row.get("format")) is not int or row["format"] != FORMAT:
        refuse(f"format {FORMAT}", f"{row.get('format')!r:.60}", newer)
    row.setdefault("rules", 1)
    for key in LATER_COUNTS:
        row.setdefault(key, 0)
    wrong = [key for key, good in FIELDS.items() if not good(row.get(key))]
    if wrong:
        refuse("a row", f"one with a wrong or missing {', '.join(wrong)}")
    count, matched = row["count"], row["matched"]
    if matched + row["unmatched"] + row["undecided"] != count or count == 0:
        refuse(
            "matched + unmatched + undecided = count > 0",
            f"{matched} + {row['unmatched']} + {row['undecided']} and {count}",
        )
    if row["first"] + count > MOST_TRIALS:
        refuse(f"first + count <= {MOST_TRIALS}", f"{row['first']} + {count}")
    for one, two, most in (("certified", "by_theorem", "matched"), ("screened", "solved_affine", "count")):
        if row[one] + row[two] > row[most]:
            refuse(f"{one} + {two} <= {most}", f"{row[one]} + {row[two]} and {row[most]}")
    found_after = row["found_after"]
    if not all(type(value) is int for value in found_after) or any(
        two < one for one, two in zip([0, *found_after], [*found_after, matched])
    ):
        refuse(f"found_after that rises from 0 or more to matched = {matched} or less", f"{found_after!r:.60}")
    try:
        compared = Comparison.from_dict(row["compared"])
    except ValueError as error:
        raise StoreError(f"{place}: {error}{cure}") from None
    judged, right = compared.trials(), sum(compared.matched(kind) for kind in compared.counts)
    if judged > count or right > matched:
        refuse(
            f"compared with at most {count} trials, {matched} of them matched",
            f"{judged} and {right}",
        )
    known = contents.get(row["cell"])
    if known is not None and known == row["content"]:
        row["content"] = known  # one object for all rows of a cell
    else:
        _check_content(row["cell"], row["content"], refuse)
        contents[row["cell"]] = row["content"]
    method = row["content"]["method"]
    if not 1 <= row["rules"] <= RULES[method]:
        refuse(f"rules 1 to {RULES[method]} of method {method}", str(row["rules"]), newer)
    if len(found_after) > row["content"]["options"].get("starts", 1):
        refuse(f"found_after of at most {row['content']['options'].get('starts', 1)} starts", f"{len(found_after)} numbers")
    return row


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_TRIALS


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12  # s; neither NaN nor infinite


def _is_name(value: Any) -> bool:
    return type(value) is str and value.isascii() and value.isprintable()  # the report shows it


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


FIELDS: dict[str, Callable[[Any], bool]] = {  # of a row, beside its format; what is not here nobody reads
    "rules": _is(int),
    "cell": _is(str),
    **dict.fromkeys(("first", *COUNTS, *LATER_COUNTS, "required_rank"), _is_count),
    "quantity": lambda value: value in QUANTITIES,
    "found_after": _is(list),
    "compared": _is(dict),
    "labels": lambda value: type(value) is dict and set(value) == set(LABELS) and all(type(text) is str for text in value.values()),
    "content": lambda value: type(value) is dict and set(value) == set(CONTENT),
    "seconds": _is_time,
    "seconds_theory": _is_time,
    "isa": _is_name,
    "version": _is_name,
}


def _check_content(cell: str, content: Mapping[str, Any], refuse: Callable[..., NoReturn]) -> None:
    try:
        true = content_id(content)
    except (ValueError, RecursionError):  # numbers that are not finite
        true = "one that has no id"
    if true != cell:
        refuse(f"cell to be the id of its content, {true}", f"{cell:.60}")
    method, options = content["method"], content["options"]
    if method not in tuple(RULES) or type(options) is not dict or not _is_count(options.get("starts", 1)):
        refuse(f"content of a method out of {', '.join(RULES)} with its options", f"{method!r:.60}, {options!r:.60}")


def _same(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Do two rows of the same trials say the same, but for the run that they come from?"""
    return all(one.get(key) == two.get(key) for key in {*one, *two}.difference(OF_THE_RUN))


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


def _lock(file: io.FileIO, path: Path) -> None:
    """One writer per file, where the system has advisory locks (they end with the process)."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreBusy(f"{path}: expected no other run in this folder, got one that is writing") from None
    except OSError:
        return  # a file system without locks


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: readers see the old one or the new one. StoreError if the disk refuses."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """As write_text, for bytes."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):  # no such folder, or one that nobody may change
            part.unlink()
        raise StoreError(f"{path}: expected to write {len(data)} bytes, got: {error}") from None


# Sums over rows


# Views
