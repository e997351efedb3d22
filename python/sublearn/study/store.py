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

import csv
import io
import json
import os
import warnings
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from ..compare import KINDS, Comparison
from ..match.decide import EXACT, RULES
from ..numerics.intervals import clopper_pearson
from ..ranks.closed_forms import plain
from .cells import CONTENT, Cell, cells_of, content_id
from .limits import Limits, limits_of
from .spec import Spec, parse_spec

if TYPE_CHECKING:
    import xarray

__all__ = ["FORMAT", "Store", "StoreBusy", "StoreError", "Summary", "load", "summaries"]

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


@dataclass
class Summary:
    """All rows of one cell added up."""

    cell: Cell
    trials: int = 0
    matched: int = 0
    unmatched: int = 0
    undecided: int = 0
    screened: int = 0
    solved_affine: int = 0
    certified: int = 0
    by_theorem: int = 0
    seconds: float = 0.0
    quantity: str = ""
    required_rank: int | None = None
    found_after: list[int] = field(default_factory=list)
    compared: Comparison = field(default_factory=Comparison)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    def add(self, row: Mapping[str, Any]) -> None:
        self.trials += row["count"]
        for name in (*COUNTS[1:], *LATER_COUNTS):
            setattr(self, name, getattr(self, name) + row.get(name, 0))
        self.seconds += float(row.get("seconds") or 0)
        # one row of a weaker quantity makes the sum one of it
        self.quantity = row["quantity"] if self.quantity in ("", row["quantity"]) else "found"
        if isinstance(row.get("required_rank"), int):
            self.required_rank = row["required_rank"]
        length = max(len(self.found_after), len(row["found_after"]))
        self.found_after = [sum(pair) for pair in zip(_longer(self.found_after, length), _longer(row["found_after"], length), strict=True)]
        self.compared = self.compared + Comparison.from_dict(row["compared"])
        self.ranges.append((row["first"], row["count"]))
        self.versions.add(str(row.get("version", "?")))

    @property
    def probability(self) -> float:
        return self.matched / self.trials if self.trials else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson 95 % interval of the quantity measured. Of existence it leaves undecided trials open: its lower end takes
        them all for no match, its upper end for matches."""
        if self.quantity == "existence" or self.cell.method == EXACT:
            return (
                clopper_pearson(self.matched, self.trials)[0],
                clopper_pearson(self.matched + self.undecided, self.trials)[1],
            )
        return clopper_pearson(self.matched, self.trials)

    @property
    def quantity_text(self) -> str:
        return self.cell.quantity_text(self.quantity or "found")

    def after(self, starts: int) -> int:
        """Trials found within the first `starts` starts."""
        return self.found_after[min(starts, len(self.found_after)) - 1] if self.found_after else self.matched


def _longer(counts: list[int], length: int) -> list[int]:
    """Cumulative counts: after the last start nothing more is found."""
    return list(counts) + [counts[-1] if counts else 0] * (length - len(counts))


def summaries(cells: Iterable[Cell], rows: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """One Summary per cell, in the order of the cells; rows of other cells are left out."""
    found = {cell.id: Summary(cell) for cell in cells}
    for row in rows:
        if row["cell"] in found:
            found[row["cell"]].add(row)
    return list(found.values())


# Views


def _columns(summary: Summary, limits: Limits | None) -> dict[str, Any]:
    cell, known = summary.cell, summary.trials > 0
    low, high = summary.interval if known else (None, None)
    lower, upper, exact_lower, exact_upper, _ = limits or (None,) * 5
    return {
        "cell": cell.id,
        "network": cell.network_label,
        "strategy": cell.strategy_label,
        "arguments": cell.arguments,
        "budget": cell.budget,
        "control": cell.control,
        "required_rank": summary.required_rank,
        "method": cell.method,
        "starts": cell.starts,
        "tol": cell.tol,
        "screen": cell.screen,
        "seed": cell.seed,
        "task": cell.task_number,
        "quantity": summary.quantity_text if known else "",
        "trials": summary.trials,
        "trial_ranges": " ".join(f"{first}-{first + count - 1}" for first, count in _joined(summary.ranges)),
        "matched": summary.matched,
        "unmatched": summary.unmatched,
        "undecided": summary.undecided,
        "screened": summary.screened,
        "solved_affine": summary.solved_affine,
        "certified": summary.certified,
        "by_theorem": summary.by_theorem,
        "probability": summary.probability if known else None,
        "low95": low,
        "high95": high,
        "theory_at_least": lower,
        "theory_at_most": upper,
        "theory_at_least_exact": exact_lower,
        "theory_at_most_exact": exact_upper,
        **{f"predicted_{kind}": summary.compared.trials(kind) for kind in KINDS},
        **{f"predicted_{kind}_matched": summary.compared.matched(kind) for kind in KINDS},
        "seconds": round(summary.seconds, 3),
    }


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start, end = 0, None
    for first, count in sorted(ranges):
        if end == first:
            end = first + count
            continue
        if end is not None:
            yield start, end - start
        start, end = first, first + count
    if end is not None:
        yield start, end - start


def csv_text(found: Iterable[Summary]) -> str:
    """results.csv: one line per cell, additive counts with their trial ranges, probability and interval, theory's limits."""
    out, found = io.StringIO(), list(found)
    lines = [_columns(*pair) for pair in zip(found, limits_of(found), strict=True)]
    writer = csv.DictWriter(out, fieldnames=list(lines[0]) if lines else ["cell"], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow(
            {key: "" if value is None else f"{value:.10g}" if isinstance(value, float) else value for key, value in line.items()}
        )
    return out.getvalue()


def load(folder: str | Path) -> xarray.Dataset:
    """The results of a study folder as an xarray Dataset with dimension `cell`, the cells of its spec.

    Variables over `cell`: trials, matched, unmatched, undecided, screened, solved_affine, certified (matched, the solution proven),
    by_theorem (matched by T8 or D4, no solution in hand), seconds, probability, low, high (95 % Clopper-Pearson; of existence with
    undecided trials left open), theory_low, theory_high (theory_low <= match probability <= theory_high by the theorems; exact where
    theory_low_exact, theory_high_exact say so, else the safe end of a 95 % interval from the masks judged; NaN where none was), predicted
    and predicted_matched (with dimension `kind`); found_after over (`cell`, `start`),
    NaN beyond a cell's last start. Coordinates over `cell`: id, network, activation, strategy, kind_of_strategy,
    arguments, budget, required_rank (-1 if not computed; relu: the largest found among sampled regions), method, starts, tol, quantity,
    quantity_text, control, screen, split_first (learnable weights in a split's first group, else -1). Attribute `note`: what was read and
    not counted, in words. A UserWarning tells of rows by older rules whose trials were not run again yet. Errors: StoreError for
    a folder that is no study or whose rows are damaged.
    """
    store = Store(folder)
    spec = store.spec()
    cells = cells_of(spec)
    if store.aside_left(cell.id for cell in cells):
        warnings.warn(store.note, stacklevel=2)
    return dataset(spec, summaries(cells, store.rows)).assign_attrs(note=store.note)


def dataset(spec: Spec, found: list[Summary]) -> xarray.Dataset:
    """The Dataset of `load` for summaries at hand."""
    import numpy as np
    import xarray

    nan = float("nan")
    starts = max((len(summary.found_after) for summary in found), default=0)
    after = np.full((len(found), starts), nan)
    for place, summary in enumerate(found):
        after[place, : len(summary.found_after)] = summary.found_after
    bounds = np.array([summary.interval if summary.trials else (nan, nan) for summary in found], float).reshape(-1, 2)
    limits = [limit or Limits(nan, nan, False, False, 0) for limit in limits_of(found)]

    def over_cells(values: Iterable[Any], dtype: Any) -> tuple[str, np.ndarray]:
        return "cell", np.array(list(values), dtype=dtype)

    def text(values: Iterable[str]) -> tuple[str, np.ndarray]:
        return "cell", np.array(list(values), dtype=str)

    def first_share(cell: Cell) -> int:
        budgets = cell.content["strategy"].get("budgets")
        return budgets[cell.split_over[0]] if budgets and cell.split_over else -1

    data = xarray.Dataset(
        {
            "trials": over_cells((s.trials for s in found), np.int64),
            **{name: over_cells((getattr(s, name) for s in found), np.int64) for name in (*COUNTS[1:], *LATER_COUNTS)},
            "seconds": over_cells((s.seconds for s in found), float),
            "probability": over_cells((s.probability for s in found), float),
            "low": ("cell", bounds[:, 0]),
            "high": ("cell", bounds[:, 1]),
            "theory_low": over_cells((limit.lower for limit in limits), float),
            "theory_high": over_cells((limit.upper for limit in limits), float),
            "theory_low_exact": over_cells((limit.exact_lower for limit in limits), bool),
            "theory_high_exact": over_cells((limit.exact_upper for limit in limits), bool),
            "predicted": (
                ("cell", "kind"),
                np.array([[s.compared.trials(k) for k in KINDS] for s in found], np.int64).reshape(-1, len(KINDS)),
            ),
            "predicted_matched": (
                ("cell", "kind"),
                np.array([[s.compared.matched(k) for k in KINDS] for s in found], np.int64).reshape(-1, len(KINDS)),
            ),
            "found_after": (("cell", "start"), after),
        },
        coords={
            "id": text(s.cell.id for s in found),
            "network": text(s.cell.network_label for s in found),
            "activation": text(plain(s.cell.net).activation for s in found),
            "strategy": text(s.cell.strategy_label for s in found),
            "kind_of_strategy": text(s.cell.content["strategy"]["kind"] for s in found),
            "arguments": text(s.cell.arguments for s in found),
            "budget": over_cells((s.cell.budget for s in found), np.int64),
            "required_rank": over_cells((-1 if s.required_rank is None else s.required_rank for s in found), np.int64),
            "method": text(s.cell.method for s in found),
            "starts": over_cells((s.cell.starts for s in found), np.int64),
            "tol": over_cells((s.cell.tol for s in found), float),
            "quantity": text(s.quantity for s in found),
            "quantity_text": text(s.quantity_text for s in found),
            "control": over_cells((s.cell.control for s in found), bool),
            "screen": over_cells((s.cell.screen for s in found), bool),
            "split_first": over_cells((first_share(s.cell) for s in found), np.int64),
            "start": np.arange(1, starts + 1),
            "kind": list(KINDS),
        },
        attrs={
            "study": spec.name,
            "title": spec.title,
            "seed": str(spec.seed),
            "interval": "Clopper-Pearson 95 %",
        },
    )
    return data
