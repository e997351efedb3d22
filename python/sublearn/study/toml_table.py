"""A table of a study's file with its place there. Every check that fails is a SpecError that names file, table and key, what was expected
and what came."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from .spec import METHODS, SpecError, Stop

MOST_CELLS = 10_000  # of one table, and numbers in one range


class Table:
    """`values` as TOML gave them, `where` they stand in the file `source`; a key that is none of `keys` is refused at once.

    Readers give the value of a key, or `default` if the table lacks it; without a default the key is needed.
    """

    def __init__(self, values: Mapping[str, Any], source: str, where: str, keys: tuple[str, ...]):
        self.values, self.source, self.where, self.keys = values, source, where, keys
        for key in values:
            if key not in keys:
                self.fail(key, f"one of the keys {', '.join(keys)}", key, _hint(key, keys), got="unknown key")

    def fail(self, key: str, expected: str, value: Any, hint: str = "", got: str = "") -> NoReturn:
        """`value`: what came; the word nothing stands for itself."""
        try:
            shown = repr(value)
        except ValueError:  # a hexadecimal number of thousands of digits
            shown = "a number of thousands of digits"
        came = f"{got} {shown}" if got else value if value == "nothing" else shown
        raise SpecError(f"{self.source}: {self._place(key)}: expected {expected}, got {came}{hint}")

    def _place(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def refuse(self, key: str, kind: str) -> None:
        if key in self.values:
            self.fail(key, f"no such key for {kind}", self.values[key])

    def take(self, key: str, check: Callable[[Any], Any], expected: str, default: Any = ...) -> Any:
        """The value after `check`, which returns None for what it does not take."""
        if key not in self.values:
            if default is ...:
                self.fail(key, expected, "nothing")
            return default
        value = check(self.values[key])
        if value is None:
            self.fail(key, expected, self.values[key])
        return value

    def text(self, key: str, default: Any = ..., expected: str = "text") -> Any:
        return self.take(key, lambda value: value if isinstance(value, str) else None, expected, default)

    def flag(self, key: str, default: bool) -> bool:
        return self.take(key, lambda value: value if isinstance(value, bool) else None, "true or false", default)

    def whole(self, key: str, low: int, high: int, default: Any, expected: str = "") -> Any:
        """A whole number from low to high."""
        expected = expected or f"a whole number from {low} to {high}"
        return self.take(key, lambda value: value if is_count(value) and low <= value <= high else None, expected, default)

    def one_of(self, key: str, known: Iterable[str], default: Any = ...) -> Any:
        expected = f"one of {', '.join(known)}"
        found = self.text(key, default, expected)
        if found is not None and found not in known:
            self.fail(key, expected, found, _hint(found, known))
        return found

    def some_of(self, key: str, known: Iterable[str], expected: str, default: Any = ...) -> Any:
        """A tuple of names out of `known`, from one name or a list of them."""
        found = self.take(key, names, expected, default)
        for name in found or ():
            if name not in known:
                self.fail(key, expected, name, _hint(name, known))
        return found

    def table(self, key: str, keys: tuple[str, ...], needed: bool = True) -> Table:
        value = self.values.get(key, "nothing" if needed else {})
        if not isinstance(value, dict):
            self.fail(key, f"a table [{self._place(key)}]", value)
        return Table(value, self.source, self._place(key), keys)

    def tables(self, key: str, keys: tuple[str, ...], label: str, needed: bool = True) -> list[Table]:
        """The tables of a list; `label` is the key whose text stands in their place in the file, if there is one."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value) or (needed and not value):
            form = f"at least one table [[{key}]]" if not self.where else f"a list of tables such as [{{ {keys[0]} = ... }}]"
            self.fail(key, form, value or "nothing")
        found = []
        for number, entry in enumerate(value, 1):
            name = entry.get(label)
            shown = f" ({name!r})" if isinstance(name, str) and name else ""
            found.append(Table(entry, self.source, f"{self._place(key)}[{number}]{shown}", keys))
        return found

    # The keys that more than one kind of table has

    def trials(self) -> int | None:
        return self.whole("trials", 1, 2**32, None, "a whole number from 1 to 2^32")

    def starts(self) -> int | None:
        return self.whole("starts", 1, 100_000, None)

    def methods(self) -> tuple[str, ...] | None:
        found = self.some_of("method", METHODS, f"one of {', '.join(METHODS)}, or a list of them", None)
        if found is not None and (not found or len(set(found)) != len(found)):
            self.fail("method", "each method once, at least one", list(found))
        return found

    def stop(self) -> Stop | None:
        if "stop" not in self.values:
            return None
        table = self.table("stop", ("width", "matches", "seconds"))
        width = table.take("width", number, "a width between 0 and 1", None)
        if width is not None and not 0 < width < 1:
            table.fail("width", "a width between 0 and 1", width)
        seconds = table.take("seconds", number, "a positive number of seconds", None)
        if seconds is not None and seconds <= 0:
            table.fail("seconds", "a positive number of seconds", seconds)
        matches = table.whole("matches", 1, 2**32, None, "a whole number >= 1")
        if not table.values:
            self.fail("stop", "at least one of width, matches, seconds", "nothing")
        return Stop(None if width is None else float(width), matches, None if seconds is None else float(seconds))


def _hint(word: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def number(value: Any) -> float | None:
    """A number that is a finite float too, else None."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return value if good else None


def names(value: Any) -> tuple[str, ...] | None:
    """The names in a text or a list of texts, else None."""
    if isinstance(value, str):
        return (value,)
    good = isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value)
    return tuple(value) if good else None


def whole_numbers(value: Any) -> list[int] | None:
    """10, [8, 9], "8..14", "8..20 step 4", or a list of numbers and ranges; each number once, in order. None for anything else."""
    entries = value if isinstance(value, list) else [value]
    found: list[int] = []
    for entry in entries:
        if is_count(entry):
            found.append(entry)
        elif isinstance(entry, str):
            match = re.fullmatch(r"\s*(\d{1,9})\s*\.\.\s*(\d{1,9})(?:\s+step\s+(\d{1,9}))?\s*", entry)
            if not match or int(match[3] or 1) == 0:
                return None
            numbers = range(int(match[1]), int(match[2]) + 1, int(match[3] or 1))
            if not 0 < len(numbers) <= MOST_CELLS:
                return None
            found.extend(numbers)
        else:
            return None
    found = list(dict.fromkeys(found))
    return found or None
