"""Files of rows: each has one writer, so none needs a lock, and everybody may read all of them at any time.

rows/<host>-<process>-<random>.jsonl is written by one run, line by line, and never again by another. A line is handed to the system as a
whole before the next one, so a run that is killed loses none, and fsync follows every few seconds, so a machine that stops loses these.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .cells import Cell
from .files import DiskError, StoreError
from .rows import FORMAT

FOLDER = "rows"
SYNC_EVERY = 2.0  # s


def line_of(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


HEAD = line_of({"format": FORMAT})


class RowFile:
    """The file of one run. It comes into being with its first row. Errors: DiskError if the disk refuses, or the file is taken away."""

    def __init__(self, folder: Path):
        host = re.sub(r"[^A-Za-z0-9.]+", "", socket.gethostname())[:40] or "host"
        self.path = folder / FOLDER / f"{host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self.size = 0
        self._file: io.FileIO | None = None
        self._told: set[str] = set()  # cells that the file describes
        self._synced = time.monotonic()

    def append(self, row: Mapping[str, Any], cell: Cell) -> None:
        """Write a row of a cell; before the cell's first one, what the cell is."""
        data = b"" if self._file else HEAD
        if cell.id not in self._told:
            labels = {"network": cell.network_label, "strategy": cell.strategy_label, "size": cell.arguments}
            data += line_of({"cell": cell.id, "labels": labels, "content": dict(cell.content)})
        data += line_of(row)
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "xb", buffering=0)
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            with suppress(OSError, AttributeError):  # else a torn last line, which readers ignore
                self._file.truncate(self.size)  # type: ignore[union-attr]
            raise DiskError(f"{self.path}: expected to write {len(data)} bytes, got: {error}; the rows before are safe") from None
        self.size += len(data)
        self._told.add(cell.id)
        if time.monotonic() - self._synced > SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Have what was written on disk, and see that it still is where it was written."""
        if self._file is None:
            return
        try:
            os.fsync(self._file.fileno())
            same = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path))
        except OSError as error:
            raise DiskError(f"{self.path}: expected the file that this run writes, got: {error}") from None
        if not same:
            raise DiskError(f"{self.path}: expected the file that this run writes, got another one in its place")
        self._synced = time.monotonic()

    def close(self) -> None:
        if self._file is not None:
            try:
                self.sync()
            finally:
                self._file.close()
                self._file = None


def host_of(path: Path) -> str | None:
    """The machine that a file of rows was written on, by its name; None for the name of another kind of file."""
    match = re.fullmatch(r"([A-Za-z0-9.]+)-[0-9]+-[0-9a-f]{8}\.jsonl", path.name)
    return match[1] if match else None


def row_files(folder: Path) -> list[Path]:
    """The files of rows in a study's folder, by name. StoreError if their folder cannot be read."""
    try:
        return sorted(path for path in (folder / FOLDER).iterdir() if path.suffix == ".jsonl" and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder / FOLDER}: expected a folder that can be read, got: {error}") from None


class Reading:
    """A file of rows as far as it has been read; it may grow."""

    def __init__(self, path: Path):
        self.path, self.at, self.lines, self.torn = path, 0, 0, 0

    def more(self) -> list[bytes]:
        """The whole lines since the last look, without their ends; `torn` tells how many bytes of a last one there are. [] for no file."""
        try:
            if self.at and os.stat(self.path).st_size == self.at:
                return []
            with open(self.path, "rb") as file:
                file.seek(self.at)
                data = file.read()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: expected a file that can be read, got: {error}") from None
        end = data.rfind(b"\n") + 1
        self.at, self.torn = self.at + end, len(data) - end
        return data[:end].split(b"\n")[:-1]
