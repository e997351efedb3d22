"""What was a file of a report made of, and is it still that?

A digest is kept of all that goes into a file: rows as counts, the study, the versions of the program and of the libraries that draw, and
the source code of studies, so that a change of the drawing code draws anew too. They lie beside the figures, in figures/digests.json.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..._version import installed_version
from ..files import write_text

NAME = "digests.json"
FORMATS = ("pdf", "svg", "png")  # of a figure


def digest(*parts: Any) -> str:
    """Of values that are told apart by their texts, the program that uses them included."""
    found = hashlib.sha256(_program().encode())
    for part in parts:
        text = part if isinstance(part, bytes) else repr(part).encode()
        found.update(b"%d:" % len(text) + text)
    return found.hexdigest()[:32]


@functools.cache
def _program() -> str:
    """The versions of this package and of what it draws with, and a digest of the code of studies."""
    code = hashlib.sha256()
    for path in sorted(_sources(files(__package__).joinpath(".."))):
        code.update(path.read_bytes())
    return " ".join([installed_version(), metadata.version("matplotlib"), metadata.version("jinja2"), code.hexdigest()])


def _sources(folder: Any) -> Iterable[Any]:
    root = Path(str(folder)).resolve()
    return (path for path in root.rglob("*") if path.suffix in (".py", ".html", ".css", ".js"))


class Digests:
    """The digests of the files in a folder, and of the report beside it; read at the start, written by `save`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            known = json.loads((folder / NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        self.known: dict[str, str] = known if isinstance(known, dict) else {}
        self.now: dict[str, str] = {}

    def keep(self, name: str, made_of: str, paths: Iterable[Path]) -> bool:
        """Note that files are made of this; whether all of them are there and were made of the same."""
        self.now[name] = made_of
        return self.known.get(name) == made_of and all(path.is_file() for path in paths)

    def whole(self, figures: Path) -> bool:
        """Whether every figure that was drawn is there. What it was made of is then what it was when the report was."""
        drawn = [name for name in self.known if name not in self.now]
        return all((figures / f"{name}.{form}").is_file() for name in drawn for form in FORMATS)

    def save(self) -> None:
        write_text(self.folder / NAME, json.dumps(self.now, indent=0))
