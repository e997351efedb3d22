"""The law of trials (D3): a random teacher, and a student of the same network that agrees with it in some groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Literal, get_args

import numpy as np

from .._checks import list_of_names
from .checks import check_shared
from .network import Network

Targets = Literal["teacher", "gaussian"]
TARGETS = get_args(Targets)


@dataclass(frozen=True)
class TeacherStudent:
    """net; shared: groups in which student and teacher are equal, in flat order; gains float [groups] in flat order: weights are
    N(0, gain^2 / fan_in), biases N(0, gain^2); gains of units are 1. targets: the teacher's outputs, or "gaussian", normal numbers of
    their root mean square, which no network stands behind: a match must then meet as many conditions as there are equations.

    Real data enter beside it: whatever has teachers, students and inputs of its own.
    """

    net: Network
    shared: tuple[str, ...] = ()
    gains: tuple[float, ...] = ()
    targets: Targets = "teacher"

    @classmethod
    def checked(
        cls, net: Network, shared: object = (), gains: Mapping[str, float] | None = None, targets: Targets = "teacher"
    ) -> TeacherStudent:
        """From what a caller gave. Errors: TypeError and ValueError that name the argument."""
        shared = check_shared(net, shared)
        if not isinstance(targets, str) or targets not in TARGETS:
            raise ValueError(f"targets: expected one of {', '.join(TARGETS)}, got {targets!r}")
        if shared and targets != "teacher":
            raise ValueError(f"shared: expected no groups with targets {targets!r}, which have no teacher, got {', '.join(shared)}")
        return cls(net, shared, tuple(check_gains(net, gains).tolist()), targets)

    @property
    def taught(self) -> bool:
        """Are the targets a teacher's outputs?"""
        return self.targets == "teacher"

    @cached_property
    def gains_by_group(self) -> dict[str, float]:
        return {name: gain for name, gain in zip(self.net.groups, self.gains) if name not in self.net.gain}

    @cached_property
    def is_shared(self) -> np.ndarray:
        """bool [groups]."""
        return np.array([name in self.shared for name in self.net.groups], dtype=bool)


def check_gains(net: Network, gains: Mapping[str, float] | None) -> np.ndarray:
    """float64 [groups] in flat order, 1 for a group not named.

    Errors: ValueError for an unknown group, and for a gain of 0: such weights are not generic (D3).
    """
    if gains is None:
        gains = {}
    if not isinstance(gains, Mapping):
        raise TypeError(f"gains: expected a dict of numbers by group, got {type(gains).__name__}")
    list_of_names("gains", list(gains), tuple(name for name in net.groups if name not in net.gain))
    for name, gain in gains.items():
        if isinstance(gain, (bool, np.bool_)) or not isinstance(gain, Real):
            raise TypeError(f"gains[{name!r}]: expected a number, got {gain!r} ({type(gain).__name__})")
        if not (math.isfinite(gain) and gain > 0):
            raise ValueError(f"gains[{name!r}]: expected a finite number above 0, got {gain!r}")
    return np.array([float(gains.get(name, 1.0)) for name in net.groups])
