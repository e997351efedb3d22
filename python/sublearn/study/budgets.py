"""The numbers in `budgets` of a study's file, and what those that are in terms of a network mean in it.

In terms of a network: its required rank, "kappa", "kappa - 2"; shares of the weights that may learn, "50%"; and ranges between such ends,
"kappa - 2 .. kappa + 4", "10% .. 90% step 20%", "kappa .. 100%". Shares are rounded to whole weights, halves up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from math import floor

from .toml_table import MOST_CELLS, is_count, whole_numbers

_END = r"\d{1,9}|kappa(?:\s*[+-]\s*\d{1,9})?|\d{1,3}(?:\.\d{1,6})?\s*%"
_STEP = r"\d{1,9}(?:\.\d{1,6})?\s*%?"
_RANGE = re.compile(rf"\s*({_END})\s*\.\.\s*({_END})(?:\s+step\s+({_STEP}))?\s*")
_ONE = re.compile(rf"\s*({_END})\s*")


def budgets_in(value: object) -> list[int | str] | None:
    """Numbers, and one text for each budget or range that only a network makes a number, written in one way; None for anything else."""
    found: list[int | str] = []
    for entry in value if isinstance(value, list) else [value]:
        several: list[int] | list[str] | None = None
        if is_count(entry) or isinstance(entry, str):
            several = whole_numbers(entry)
        if several is None and isinstance(entry, str):
            several = _relative(entry)
        if several is None:
            return None
        found += several
    return list(dict.fromkeys(found)) or None


def numbers_in(text: str, kappa: Callable[[], int], weights: int) -> list[int]:
    """What a text of `budgets_in` means in a network of this required rank, for a strategy that may use so many weights.

    Without numbers below 1 and above `weights`: a line that serves networks of all sizes need not fit each of them.
    """
    match = _RANGE.fullmatch(text)
    first, last, step = (match[1], match[2], int(match[3] or 1)) if match else (text, text, 1)
    low, high = (_in_network(end, kappa, weights) for end in (first, last))
    return [number for number in range(low, high + 1, step) if 1 <= number <= weights]


def _relative(text: str) -> list[str] | None:
    match = _ONE.fullmatch(text) or _RANGE.fullmatch(text)
    if not match or all(end.isdigit() for end in match.groups()[:2]) or not all(map(_possible, match.groups()[:2])):
        return None
    if match.re is _ONE:
        return [_written(match[1])]
    ends, step = (_written(match[1]), _written(match[2])), match[3] or ""
    if step.endswith("%"):
        if not all(end.endswith("%") for end in ends):
            return None
        low, high, by = (_share(part) for part in (*ends, step))
        return _several(low, high, by, lambda share: f"{_decimal(share)}%")
    if "." in step or (step and int(step) == 0):
        return None
    if all(end.startswith("kappa") for end in ends):
        low, high = (Fraction(end.removeprefix("kappa").replace(" ", "") or 0) for end in ends)
        return _several(low, high, Fraction(step or 1), lambda more: _written(f"kappa{int(more):+d}" if more else "kappa"))
    return [f"{ends[0]} .. {ends[1]}" + (f" step {int(step)}" if step else "")]


def _several(low: Fraction, high: Fraction, step: Fraction, text: Callable[[Fraction], str]) -> list[str] | None:
    """Texts of low, low + step, .. up to high; None if there are none or too many."""
    count = floor((high - low) / step) + 1 if step > 0 else 0
    return [text(low + k * step) for k in range(count)] if 0 < count <= MOST_CELLS else None


def _possible(end: str) -> bool:
    return not end.endswith("%") or _share(end) <= 100


def _written(end: str) -> str:
    """An end in the one way it is kept: "kappa + 2", "12.5%"."""
    if end.endswith("%"):
        return f"{_decimal(_share(end))}%"
    if not end.startswith("kappa"):
        return str(int(end))
    more = int(end.removeprefix("kappa").replace(" ", "") or 0)
    return f"kappa {'+' if more > 0 else '-'} {abs(more)}" if more else "kappa"


def _in_network(end: str, kappa: Callable[[], int], weights: int) -> int:
    if end.endswith("%"):
        return floor(_share(end) * weights / 100 + Fraction(1, 2))
    if end.startswith("kappa"):
        return kappa() + int(end.removeprefix("kappa").replace(" ", "") or 0)
    return int(end)


def _share(text: str) -> Fraction:
    return Fraction(text.rstrip("% "))


def _decimal(share: Fraction) -> str:
    return f"{float(share):.6f}".rstrip("0").rstrip(".")
