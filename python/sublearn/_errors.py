"""Checks of plain arguments that several files share: whole numbers, positive numbers and lists of names.

Every message names the argument, what was expected and what came. Checks of arrays do not live here.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence


def whole_number(name: str, value: object, low: int, high: int | None = None, note: str = "") -> int:
    """`value` as an int in [low, high]; `note` says in words what the bounds mean."""
    note = f" ({note})" if note else ""
    wanted = f"a whole number >= {low}" if high is None else f"a whole number from {low} to {high}"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected {wanted}{note}, got {value!r} ({type(value).__name__})") from None
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name}: expected {wanted}{note}, got {number}")
    return number


def positive(name: str, value: object, zero: bool = False, none: bool = False) -> float:
    """`value` as a finite float above 0 (zero: or 0); `none` says that None is expected as well, it is not accepted here."""
    wanted = f"{'None or ' if none else ''}a finite number {'>= 0' if zero else 'above 0'}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected {wanted}, got {value!r} ({type(value).__name__})")
    if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
        raise ValueError(f"{name}: expected {wanted}, got {value}")
    return float(value)


def list_of_names(name: str, value: object, known: Sequence[str]) -> tuple[str, ...]:
    """`value`, a tuple or list of distinct names out of `known`, as a tuple; a str is a TypeError."""
    if not isinstance(value, (tuple, list)):
        hint = f"; write ({value!r},)" if isinstance(value, str) else ""
        raise TypeError(f"{name}: expected a tuple of names, got {value!r} ({type(value).__name__}){hint}")
    for entry in value:
        if not isinstance(entry, str):
            raise TypeError(f"{name}: expected names (str), got {entry!r} ({type(entry).__name__})")
        if entry not in known:
            raise ValueError(f"{name}: expected names out of {', '.join(known) or '(none)'}, got {entry!r}")
    if len(set(value)) != len(value):
        raise ValueError(f"{name}: expected each name once, got {tuple(value)!r}")
    return tuple(value)
