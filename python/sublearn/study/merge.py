"""Joining folders: the rows of several runs of a study, or of parts of it, in one folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .files import StoreError, write_bytes
from .shards import FOLDER, HEAD, row_files
from .store import ROWS, SPEC, Store


def merge(folders: Iterable[str | Path], into: str | Path) -> Path:
    """Put the rows of study folders into the folder `into`, made if it is not there; the folders stay as they are.

    Cells are found by their ids, so the folders may be shards of one study, parts of it under other names, or another machine's copy; what
    two of them have measured counts once, and merging again changes nothing. The study of `into` is its own if it has one, else the
    first folder's; rows of cells that it does not ask for are kept and left out of reports. `run` goes on with what is still missing.
    Errors: StoreError for a folder that is no study or is damaged (then `into` is untouched); DiskError if `into` cannot be written.
    """
    sources = [Path(folder) for folder in folders]
    if not sources:
        raise StoreError("folders: expected at least one folder of a study, got none")
    into = Path(into)
    for folder in sources:
        Store(folder)  # every line of it is checked
        if not (folder / SPEC).exists() and not (folder / ROWS).exists() and not row_files(folder):
            raise StoreError(f"{folder}: expected the folder of a study, got none")
    with Store(into) as target:
        target.open_for_writing()
        for folder in sources:
            if folder.resolve() == into.resolve():
                continue
            for name, data in _files_of(folder).items():
                path = into / FOLDER / name
                if not path.exists() or path.stat().st_size < len(data):  # a file only grows: the longer one has all of the other
                    write_bytes(path, data)
            if not (into / SPEC).exists() and (folder / SPEC).exists():
                write_bytes(into / SPEC, (folder / SPEC).read_bytes())
    return into


def _files_of(folder: Path) -> dict[str, bytes]:
    """Name to the whole lines of each file of rows; rows of format 1 in a file that is named by what it holds."""
    found = {path.name: _whole(path) for path in row_files(folder)}
    old = _whole(folder / ROWS).replace(HEAD, b"")
    if old.strip():
        found[f"format1-{hashlib.sha256(old).hexdigest()[:16]}.jsonl"] = HEAD + old
    return found


def _whole(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"{path}: expected a file that can be read, got: {error}") from None
    return data[: data.rfind(b"\n") + 1]
