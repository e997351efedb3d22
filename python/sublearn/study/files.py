"""Files in a study's folder: replaced in one step, written by one run at a time."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path


class StoreError(RuntimeError):
    """A folder whose contents cannot be used; the text names the file and line and says what to do."""


class StoreBusy(StoreError):
    """Another run is writing in the folder."""


def lock(file: io.FileIO, path: Path) -> None:
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
