"""Checks of arguments that several files share: whole numbers, positive numbers, lists of names, and arrays without a mask.

Every message names the argument, what was expected and what came. What else arrays must be is checked in ops/arguments.py.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LARGEST_INT = 2**31 - 1  # of the compiled functions' int: starts, iterations, threads
LARGEST_LONG = 2**63 - 1  # of their int64_t: steps


def whole_number(name: str, value: Any, low: int, high: int | None = None, note: str = "", most: int | None = None) -> int:
    """`value` as an int in [low, high]; `note` explains the bounds in the message. most: in place of `high`, a bound so far off that
    messages speak of it only where it is exceeded."""
    note = f" ({note})" if note else ""
    wanted = lambda last: f"a whole number >= {low}" if last is None else f"a whole number from {low} to {last}"  # noqa: E731
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected {wanted(high)}{note}, got {value!r} ({type(value).__name__})") from None
    if most is not None and number > most:
        high = most
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name}: expected {wanted(high)}{note}, got {number}")
    return number


def positive(name: str, value: Any, zero: bool = False, none: bool = False) -> float:
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


def no_mask(name: str, value: object) -> None:
    """TypeError if `value` is a masked array of numpy, or a list, tuple or dict that holds one: numpy drops masks on the way to an array,
    and what lay under them would count as data."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got a {type(value).__name__}; fill or leave out what is masked")
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            no_mask(name, entry)
