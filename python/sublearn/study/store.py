"""The folder of a study: its file, and rows of additive counts in rows/*.jsonl.

Each run writes a file of its own there (shards.py) and reads all of them, so two runs in one folder are safe. results.jsonl holds one line,
{"format": 2}, by which earlier versions refuse the folder; in a folder that they began it holds their rows as well, and these count on.
results.csv (one line per cell) and the xarray Dataset of `load` are made from the rows (tables.py). What a line may hold is in rows.py.

What is no error: a torn last line, left by a run that was killed, is reported and ignored; a blank line holds nothing; a row that repeats
another (the same trials with the same counts) is counted once; of rows that share trials the largest counts, of equals that of the
earlier trials, then the first read (overlaps.py); a row whose verdicts were given by older rules (`rules`, see methods.RULES; absent in
the rows of earlier versions, which had rules 1) is reported and set aside: kept in the file, never added, and its trials are run again.
Any other line is an error that names the line.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from ..match.methods import RULES
from .cells import Cell
from .files import StoreError, write_bytes, write_text
from .overlaps import in_both, that_count
from .reading import parse_spec
from .rows import Known, read_line, same_counts
from .shards import HEAD, Reading, RowFile, host_of, line_of, row_files
from .spec import Spec

__all__ = ["Store"]

ROWS, TABLE, SPEC = "results.jsonl", "results.csv", "spec.toml"


class Store:
    """The results of one study in one folder.

    `rows` are those that count; `aside` the rows by older rules, which never do; `failures` the items that failed and have no rows since;
    `note` reports what was read and not counted, if anything. Only `open_for_writing` and what follows it change the folder. Errors:
    StoreError for a folder that cannot be read or whose rows are damaged.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.path = self.folder / ROWS
        self._own: RowFile | None = None
        self._known = Known()
        self._files: dict[Path, Reading] = {self.path: Reading(self.path)}
        self._read: dict[tuple[str, int], list[dict[str, Any]]] = {}  # (cell, rules) to its rows, each block once for each of its counts
        self._blocks: dict[tuple[str, int, int, int], dict[str, Any]] = {}
        self._failures: list[dict[str, Any]] = []
        self._counted: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._copies: list[str] = []
        self._disputed: list[str] = []
        self.refresh()

    def refresh(self) -> list[dict[str, Any]]:
        """Read what other runs have written since the last look; their rows by today's rules."""
        new = self._take_in(self._files[self.path])
        for path in row_files(self.folder):
            if self._own is None or path != self._own.path:
                new += self._take_in(self._files.setdefault(path, Reading(path)))
        return new

    def _take_in(self, reading: Reading) -> list[dict[str, Any]]:
        new = []
        for line in reading.more():
            reading.lines += 1
            if line.strip():
                place = f"{reading.path}: line {reading.lines}"
                row = read_line(line, place, self._known)
                if row is not None and self._keep(row, place, reading.path):
                    new.append(row)
        return new

    def _keep(self, row: dict[str, Any], place: str, path: Path) -> bool:
        """Take a row in; does it tell something new, by today's rules?"""
        if "host" not in row and (host := host_of(path)):  # of an earlier version
            row["host"] = host
        if "error" in row:
            self._failures.append(row)
            return False
        key = (row["cell"], row["rules"])
        earlier = self._blocks.setdefault((*key, row["first"], row["count"]), row)
        if earlier is not row:
            (self._copies if same_counts(earlier, row) else self._disputed).append(place)
            return False
        self._read.setdefault(key, []).append(row)
        self._counted.pop(key, None)
        return row["rules"] == RULES[row["content"]["method"]]

    def _that_count(self, key: tuple[str, int]) -> list[dict[str, Any]]:
        """The rows of a (cell, rules) that count among each other."""
        if key not in self._counted:
            rows = self._read.get(key, [])
            self._counted[key] = [rows[place] for place in that_count([(row["first"], row["first"] + row["count"]) for row in rows])]
        return self._counted[key]

    def _by_rules(self, current: bool) -> list[dict[str, Any]]:
        keys = [key for key in self._read if (key[1] == self._newest(key[0])) == current]
        return [row for key in keys for row in self._that_count(key)]

    def _newest(self, cell: str) -> int:
        return RULES[self._known.contents[cell]["method"]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self._by_rules(current=True)

    @property
    def aside(self) -> list[dict[str, Any]]:
        return self._by_rules(current=False)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The last failure of each block that has no rows of all its trials since."""
        last = {(row["cell"], row["first"], row["count"]): row for row in self._failures}
        return [row for row in last.values() if self._lacks(row)]

    def _lacks(self, row: Mapping[str, Any]) -> bool:
        done = _ranges(self._that_count((row["cell"], self._newest(row["cell"]))))
        return in_both([(row["first"], row["first"] + row["count"])], done) < row["count"]

    @property
    def note(self) -> str:
        """What is in the files and not counted, in words; empty if there is no such thing."""
        parts = [
            f"{reading.path}: ignored a torn last line ({reading.torn} bytes): the run that wrote it was stopped, or is writing it"
            for reading in self._files.values()
            if reading.torn
        ]
        if self._copies:
            parts.append(f"{_places(self._copies)}: repeats another row, counted once")
        if self._disputed:
            other = "other counts of trials that a row before counts (another instruction set?); that one counts"
            parts.append(f"{_places(self._disputed)}: {other}")
        if within := sum(len(rows) - len(self._that_count(key)) for key, rows in self._read.items()):
            parts.append(f"{self.folder}: {within} row{'s' if within > 1 else ''} of trials that larger rows count, counted once")
        if aside := self.aside:
            parts.append(self._aside_note(aside))
        return "; ".join(parts)

    def _aside_note(self, aside: list[dict[str, Any]]) -> str:
        trials: dict[tuple[str, int], int] = {}
        for row in aside:
            key = (row["content"]["method"], row["rules"])
            trials[key] = trials.get(key, 0) + row["count"]
        total = sum(trials.values())
        anew = total - self.aside_left(row["cell"] for row in aside)
        by = ", ".join(f"{count} of method {method} by rules {rules} (now {RULES[method]})" for (method, rules), count in trials.items())
        left = (
            "all computed anew since"
            if anew == total
            else (f"{anew} computed anew since; `sublearn run` computes anew what the study asks for")
        )
        return f"{self.folder}: set aside {total} trials that older rules judged: {by}; they are kept and never added; {left}"

    def aside_left(self, cells: Iterable[str]) -> int:
        """How many trials of these cells (ids) are in rows set aside, and in none that counts."""
        asked, left = set(cells), 0
        for cell, rules in self._read:
            newest = self._newest(cell)
            if cell in asked and rules != newest:
                taken = _ranges(self._that_count((cell, rules)))
                left += sum(end - first for first, end in taken) - in_both(taken, _ranges(self._that_count((cell, newest))))
        return left

    def open_for_writing(self) -> None:
        """Mark the folder as one of format 2, and read again what other runs wrote since it was read. DiskError if it cannot be written."""
        try:
            old = self.path.read_bytes()
        except FileNotFoundError:
            old = b""
        except OSError as error:
            raise StoreError(f"{self.path}: expected a file that can be read, got: {error}") from None
        if HEAD not in old:
            write_bytes(self.path, old[: old.rfind(b"\n") + 1] + HEAD)  # without a torn last line, which HEAD would be joined to
            self._files[self.path].torn = 0
        self._own = RowFile(self.folder)
        self.refresh()

    def append(self, row: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
        """Write a row that `measure` made of a cell, or an item that failed; as it will be read. DiskError if it cannot be written."""
        if self._own is None:
            raise StoreError(f"{self.folder}: expected open_for_writing() before append()")
        self._known.contents.setdefault(cell.id, cell.content)
        self._known.labels.setdefault(cell.id, {"network": cell.network_label, "strategy": cell.strategy_label, "size": cell.arguments})
        checked = read_line(line_of(row)[:-1], f"{self._own.path}: new row", self._known)
        assert checked is not None
        self._own.append(row, cell)
        self._keep(checked, f"{self._own.path}: new row", self._own.path)
        return checked

    def close(self) -> None:
        if self._own is not None:
            own, self._own = self._own, None
            reading = self._files.setdefault(own.path, Reading(own.path))
            reading.at = own.size
            own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows_of(self, cell: str) -> list[dict[str, Any]]:
        """The rows of the cell of this id that count."""
        return self._that_count((cell, self._newest(cell))) if cell in self._known.contents else []

    def done(self) -> dict[str, list[tuple[int, int]]]:
        """Cell id to the (first, count) ranges that have a row by today's rules."""
        found: dict[str, list[tuple[int, int]]] = {}
        for row in self.rows:
            found.setdefault(row["cell"], []).append((row["first"], row["count"]))
        return found

    def others_at_work(self, seconds: float = 60.0) -> bool:
        """Has another run written in the folder within the last minute?"""
        for path in self._files:
            try:
                if (self._own is None or path != self._own.path) and path != self.path and time.time() - path.stat().st_mtime < seconds:
                    return True
            except OSError:
                continue  # it has gone
        return False

    def save_spec(self, spec: Spec) -> None:
        """Keep the study's file as spec.toml, so that the folder can be read and reported on its own."""
        path = self.folder / SPEC
        try:
            if path.read_bytes() == spec.text.encode("utf-8"):
                return
        except OSError:
            pass  # there is none, or it is written anew
        write_text(path, spec.text)

    def has_changed_since(self, made: Path) -> bool:
        """Is a file that was made of the rows and the study older than one of these, or not there?"""
        try:
            when = made.stat().st_mtime_ns
            return any(path.stat().st_mtime_ns >= when for path in (*row_files(self.folder), self.path, self.folder / SPEC))
        except OSError:
            return True

    def spec(self) -> Spec:
        """The study this folder was made by. StoreError if it holds none, SpecError for one that cannot be run."""
        path = self.folder / SPEC
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            came = "none" if isinstance(error, (FileNotFoundError, NotADirectoryError)) else f"one that cannot be read: {error}"
            raise StoreError(f"{self.folder}: expected the folder of a study (with {SPEC}), got {came}") from None
        return parse_spec(text, source=str(path))


def _places(places: list[str]) -> str:
    return places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")


def _ranges(rows: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """(first, end) of rows."""
    return [(row["first"], row["first"] + row["count"]) for row in rows]
