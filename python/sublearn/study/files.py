"""Files in a study's folder: replaced in one step."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class StoreError(RuntimeError):
    """A folder whose contents cannot be used; the text names the file and line and says what to do."""


class DiskError(StoreError):
    """The disk does not take what is to be written: it is full, read-only or gone. What is there stays readable."""


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: readers see the old one or the new one. DiskError if the disk refuses."""
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
        raise DiskError(f"{path}: expected to write {len(data)} bytes, got: {error}") from None
