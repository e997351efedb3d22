"""Means of a quantity over trials: how many, their sum and their sum of squares, which add up exactly.

Values are rounded to whole multiples of UNIT first, so sums are whole numbers, and a cell's mean does not depend on how its trials were
cut into rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..numerics.intervals import student

UNIT = 2.0**-20
LARGEST = 2.0**40  # of a value


@dataclass(frozen=True)
class Moments:
    """`count` values, their `total` and the sum of their `squares`, in units of UNIT and UNIT^2."""

    count: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        """Of values, each rounded to a multiple of UNIT. ValueError for one that is not finite or beyond LARGEST."""
        numbers = []
        for value in values:
            if not abs(value) <= LARGEST:
                raise ValueError(f"values: expected numbers of at most {LARGEST:g}, got {value!r}")
            numbers.append(round(value / UNIT))
        return cls(len(numbers), sum(numbers), sum(number * number for number in numbers))

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Moments:
        return cls(row["count"], row["sum"], row["squares"])

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def possible(self) -> bool:
        """Are there values with these sums? (sum)^2 <= count * squares (Cauchy, Schwarz), what is not 0 has a square of 1 at least, and no
        value is beyond LARGEST."""
        most = self.count * int(LARGEST / UNIT) ** 2
        return self.count >= 0 and abs(self.total) <= self.squares <= most and self.total**2 <= self.count * self.squares

    @property
    def mean(self) -> float:
        return self.total / self.count * UNIT if self.count else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation, with count - 1 below."""
        if self.count < 2:
            return math.nan
        around = self.count * self.squares - self.total**2  # count^2 times the variance, a whole number: no cancellation
        return math.sqrt(around / (self.count * (self.count - 1))) * UNIT

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's interval for the mean; (-inf, inf) below 2 values."""
        return student(self.count, self.mean, self.spread, level)
