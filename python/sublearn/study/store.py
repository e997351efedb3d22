"""The folder of a study: rows of additive counts in results.jsonl, and the views made from them.

results.jsonl is append-only, one JSON object per line, one line per task (a range of trials of one cell),
written and flushed to disk before the next task's line; it is the only file a study needs to continue.
results.csv (one line per cell) and the xarray Dataset of `load` are made from it. Not here: what a row's
numbers mean for theory (compare.py).

A killed run can leave a torn last line: it is reported and ignored, and cut off before the next row is
appended. Any other line that is not a row is an error that names the line, and rows that count a trial twice
are an error too.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._intervals import clopper_pearson
from ..compare import KINDS, Comparison
from ..decide import EXACT
from .spec import Spec, parse_spec
from .task import Cell, cells_of

if TYPE_CHECKING:
    import xarray

__all__ = ["FORMAT", "StoreError", "Summary", "Store", "load", "summaries"]

FORMAT = 1
ROWS, TABLE, SPEC = "results.jsonl", "results.csv", "spec.toml"
LONGEST_LINE = 1 << 24
COUNTS = ("count", "matched", "unmatched", "undecided", "screened", "solved_affine")
LATER_COUNTS = ("certified", "by_theorem")  # absent in the rows of earlier versions, which counted no such trials


class StoreError(RuntimeError):
    """A folder whose contents cannot be used; the text names the file and line and says what to do."""


class Store:
    """The results of one study in one folder.

    `rows` are the rows read and appended so far; `note` says what was wrong with the end of the file, if
    anything. Only `open_for_writing` changes the folder; a second process that tries gets a StoreError.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.path = self.folder / ROWS
        self.rows: list[dict[str, Any]] = []
        self.note = ""
        self._good_bytes = 0
        self._file: io.BufferedWriter | None = None
        self._read()

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        at, number = 0, 0
        taken: dict[str, list[tuple[int, int]]] = {}
        while at < len(data):
            number += 1
            end = data.find(b"\n", at)
            line = data[at:] if end < 0 else data[at:end]
            if end < 0:
                self.note = (
                    f"{self.path}: ignored a torn last line ({len(line)} bytes): "
                    "the run that wrote it was stopped; its trials are run again"
                )
                break
            row = _checked_row(line, f"{self.path}: line {number}")
            _take(taken, row, f"{self.path}: line {number}")
            self.rows.append(row)
            at = end + 1
        self._good_bytes = at

    def open_for_writing(self) -> None:
        """Lock the file and cut off a torn last line. StoreError if another run has it, or on a full disk."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)
            _lock(self._file, self.path)
            if (
                self._file.tell() != os.path.getsize(self.path)
                or os.path.getsize(self.path) != self._good_bytes
            ):
                self._file.truncate(self._good_bytes)
        except OSError as error:
            raise StoreError(f"{self.path}: expected a file that can be written, got: {error}") from None

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row to disk. StoreError on a full disk; a part that was written is taken back."""
        if self._file is None:
            raise StoreError(f"{self.path}: expected open_for_writing() before append()")
        line = (
            json.dumps(row, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
        )
        checked = _checked_row(line[:-1], f"{self.path}: new row")
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
            os.fsync(self._file.fileno())
        except OSError as error:
            try:
                self._file.truncate(self._good_bytes)
            except OSError:
                pass  # a torn last line, which the next run cuts off
            raise StoreError(
                f"{self.path}: expected to write {len(line)} bytes, got: {error}; "
                f"the {len(self.rows)} rows before are safe"
            ) from None
        self._good_bytes += len(line)
        self.rows.append(checked)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def done(self) -> dict[str, list[tuple[int, int]]]:
        """Cell id to the (first, count) ranges that have a row."""
        found: dict[str, list[tuple[int, int]]] = {}
        for row in self.rows:
            found.setdefault(row["cell"], []).append((row["first"], row["count"]))
        return found

    def save_spec(self, spec: Spec) -> None:
        """Keep the study's file as spec.toml, so that the folder can be read and reported on its own."""
        write_text(self.folder / SPEC, spec.text)

    def spec(self) -> Spec:
        """The study this folder was made by. StoreError if it holds none."""
        path = self.folder / SPEC
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise StoreError(
                f"{self.folder}: expected the folder of a study (with {SPEC}), got none"
            ) from None
        return parse_spec(text, source=str(path))


def _checked_row(line: bytes, place: str) -> dict[str, Any]:
    """The row in a line. Errors: StoreError that names the place and what is wrong."""
    cure = "; remove the line to have its trials run again"
    if len(line) > LONGEST_LINE:
        raise StoreError(f"{place}: expected at most {LONGEST_LINE} bytes, got {len(line)}{cure}")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise StoreError(f"{place}: expected a JSON object, got {line[:60]!r}{cure}") from None
    if not isinstance(row, dict):
        raise StoreError(f"{place}: expected a JSON object, got {line[:60]!r}{cure}")
    if row.get("format") != FORMAT:
        raise StoreError(
            f"{place}: expected format {FORMAT}, got {row.get('format')!r}; "
            "read it with the version of sublearn that wrote it"
        )
    wrong = [key for key in ("first", *COUNTS) if not (type(row.get(key)) is int and row[key] >= 0)]
    wrong += [key for key in LATER_COUNTS if not (type(row.setdefault(key, 0)) is int and row[key] >= 0)]
    wrong += [
        key
        for key, kind in (
            ("cell", str),
            ("quantity", str),
            ("found_after", list),
            ("content", dict),
            ("labels", dict),
            ("compared", dict),
        )
        if not isinstance(row.get(key), kind)
    ]
    if wrong:
        raise StoreError(f"{place}: expected a row, got one with a wrong or missing {', '.join(wrong)}{cure}")
    if row["matched"] + row["unmatched"] + row["undecided"] != row["count"] or row["count"] == 0:
        raise StoreError(
            f"{place}: expected matched + unmatched + undecided = count > 0, got {row['matched']} + "
            f"{row['unmatched']} + {row['undecided']} and {row['count']}{cure}"
        )
    if row["certified"] + row["by_theorem"] > row["matched"]:
        raise StoreError(
            f"{place}: expected certified + by_theorem <= matched, got {row['certified']} + {row['by_theorem']} and {row['matched']}{cure}"
        )
    if not all(type(value) is int and 0 <= value <= row["count"] for value in row["found_after"]):
        raise StoreError(
            f"{place}: expected found_after from 0 to {row['count']}, got {row['found_after']!r:.60}{cure}"
        )
    try:
        Comparison.from_dict(row["compared"])
    except ValueError as error:
        raise StoreError(f"{place}: {error}{cure}") from None
    return row


def _take(taken: dict[str, list[tuple[int, int]]], row: Mapping[str, Any], place: str) -> None:
    first, count = row["first"], row["count"]
    for other, length in taken.setdefault(row["cell"], []):
        if first < other + length and other < first + count:
            raise StoreError(
                f"{place}: expected trials that no other row counts, got {first}..{first + count - 1} of "
                "cell "
                f"{row['cell']}, which overlaps {other}..{other + length - 1}; remove one of the two lines"
            )
    taken[row["cell"]].append((first, count))


def _lock(file: io.BufferedWriter, path: Path) -> None:
    """One writer per file, where the system has advisory locks (they end with the process)."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StoreError(f"{path}: expected no other run in this folder, got one that is writing") from None
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
        part.unlink(missing_ok=True)
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
        self.found_after = [
            sum(pair)
            for pair in zip(
                _longer(self.found_after, length), _longer(row["found_after"], length), strict=True
            )
        ]
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


def _columns(summary: Summary) -> dict[str, Any]:
    cell, known = summary.cell, summary.trials > 0
    low, high = summary.interval if known else (None, None)
    limits = summary.compared.limits
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
        "theory_at_least": limits[0],
        "theory_at_most": limits[1],
        **{f"predicted_{kind}": summary.compared.trials(kind) for kind in KINDS},
        **{f"predicted_{kind}_matched": summary.compared.matched(kind) for kind in KINDS},
        "seconds": round(summary.seconds, 3),
    }


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start = end = None
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
    """results.csv: one line per cell, additive counts with their trial ranges, probability and interval."""
    out = io.StringIO()
    lines = [_columns(summary) for summary in found]
    writer = csv.DictWriter(out, fieldnames=list(lines[0]) if lines else ["cell"], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow(
            {
                key: "" if value is None else f"{value:.10g}" if isinstance(value, float) else value
                for key, value in line.items()
            }
        )
    return out.getvalue()


def load(folder: str | Path) -> xarray.Dataset:
    """The results of a study folder as an xarray Dataset with dimension `cell`, the cells of its spec.

    Variables over `cell`: trials, matched, unmatched, undecided, screened, solved_affine, certified (matched, the solution proven),
    by_theorem (matched by T7 or T8, no solution in hand), seconds, probability, low, high (95 % Clopper-Pearson; of existence with
    undecided trials left open), theory_low, theory_high (limits by the theorems, over the
    same masks), predicted and predicted_matched (with dimension `kind`); found_after over (`cell`, `start`),
    NaN beyond a cell's last start. Coordinates over `cell`: id, network, strategy, kind_of_strategy,
    arguments, budget, required_rank (-1 if not computed), method, starts, tol, quantity, quantity_text,
    control, screen, split_first (learnable weights in a split's first group, else -1). Errors: StoreError for
    a folder that is no study or whose rows are damaged.
    """
    store = Store(folder)
    spec = store.spec()
    return dataset(spec, summaries(cells_of(spec), store.rows))


def dataset(spec: Spec, found: list[Summary]) -> xarray.Dataset:
    """The Dataset of `load` for summaries at hand."""
    import numpy as np
    import xarray

    nan = float("nan")
    starts = max((len(summary.found_after) for summary in found), default=0)
    after = np.full((len(found), starts), nan)
    for place, summary in enumerate(found):
        after[place, : len(summary.found_after)] = summary.found_after
    bounds = np.array(
        [summary.interval if summary.trials else (nan, nan) for summary in found], float
    ).reshape(-1, 2)
    limits = np.array(
        [[nan if value is None else value for value in summary.compared.limits] for summary in found], float
    ).reshape(-1, 2)

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
            "theory_low": ("cell", limits[:, 0]),
            "theory_high": ("cell", limits[:, 1]),
            "predicted": (
                ("cell", "kind"),
                np.array([[s.compared.trials(k) for k in KINDS] for s in found], np.int64).reshape(
                    -1, len(KINDS)
                ),
            ),
            "predicted_matched": (
                ("cell", "kind"),
                np.array([[s.compared.matched(k) for k in KINDS] for s in found], np.int64).reshape(
                    -1, len(KINDS)
                ),
            ),
            "found_after": (("cell", "start"), after),
        },
        coords={
            "id": text(s.cell.id for s in found),
            "network": text(s.cell.network_label for s in found),
            "strategy": text(s.cell.strategy_label for s in found),
            "kind_of_strategy": text(s.cell.content["strategy"]["kind"] for s in found),
            "arguments": text(s.cell.arguments for s in found),
            "budget": over_cells((s.cell.budget for s in found), np.int64),
            "required_rank": over_cells(
                (-1 if s.required_rank is None else s.required_rank for s in found), np.int64
            ),
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
