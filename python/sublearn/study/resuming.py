"""What a run makes of the results that are there: goes on with them, begins a new folder, or begins anew in the same one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from .cells import Cell
from .files import DiskError, StoreError
from .shards import row_files
from .spec import Spec, SpecError
from .store import ROWS, SPEC, TABLE, Store
from .sweep import cells_of

WAYS = ("auto", "new", "overwrite")


def folder_for(folder: Path, way: str) -> Path:
    """The folder to run in. "auto": this one, going on; "new": the first of folder, folder-2, .. that is not there; "overwrite": this one,
    its rows deleted. DiskError if they cannot be."""
    if way == "new":
        number, free = 1, folder
        while free.exists():
            number += 1
            free = folder.with_name(f"{folder.name}-{number}")
        return free
    if way == "overwrite":
        try:
            for path in (*row_files(folder), *(folder / name for name in (ROWS, TABLE, SPEC))):
                with suppress(FileNotFoundError):
                    path.unlink()
        except OSError as error:
            raise DiskError(f"{folder}: expected rows that can be deleted, got: {error}") from None
    return folder


def difference(store: Store, spec: Spec, cells: list[Cell]) -> str:
    """How a study differs from the one that the folder was last run by, in words; empty if it does not, or there was none."""
    try:
        before = store.spec()
        if before.text == spec.text:
            return ""
        old, now = {cell.id: cell for cell in cells_of(before)}, {cell.id: cell for cell in cells}
    except (StoreError, SpecError):
        return ""
    both = old.keys() & now.keys()
    changed = [
        f"{entry.name} {getattr(before, entry.name)} -> {getattr(spec, entry.name)}"
        for entry in fields(Spec)
        if type(getattr(spec, entry.name)) in (int, float, bool) and getattr(before, entry.name) != getattr(spec, entry.name)
    ]
    gone = f", {len(old) - len(both)} no longer asked for (their rows are kept)" if len(old) > len(both) else ""
    why = f" ({', '.join(changed)})" if changed else ""
    return f"{store.folder}: the study has changed{why}: {len(both)} cells go on, {len(now) - len(both)} are new{gone}"
