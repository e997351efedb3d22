"""The question that is asked of random trials, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..model.allocation import Allocation
from ..model.checks import check_trial_range
from ..model.network import Network
from ..model.strategy import Strategy, as_strategy, check_allocation
from ..model.teacher_student import Targets, TeacherStudent
from .methods import Settings


class Question(NamedTuple):
    """In how many trials of (seed, task), drawn by this law, do masks of this strategy match, decided in this way? All of it is checked."""

    law: TeacherStudent
    strategy: Strategy
    settings: Settings
    seed: int
    task: int


def asked(
    net: Network,
    allocation: Allocation | Strategy,
    shared: tuple[str, ...],
    gains: Mapping[str, float] | None,
    how: Settings,
    trials: tuple[int, int, int, int],
    targets: Targets = "teacher",
) -> tuple[Question, int, int]:
    """The question, its first trial and how many there are. trials: seed, task, first, count. Errors name the argument."""
    law = TeacherStudent.checked(net, shared, gains, targets)
    strategy = as_strategy(check_allocation(net, allocation, law.shared))
    seed, task, first, count = check_trial_range(*trials, "trials")
    return Question(law, strategy, how, seed, task), first, count
