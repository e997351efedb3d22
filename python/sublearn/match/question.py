"""The question that `match_probability` answers, as one value."""

from __future__ import annotations

from typing import NamedTuple

from ..model.strategy import Strategy
from ..model.teacher_student import TeacherStudent
from .methods import Settings


class Question(NamedTuple):
    """In how many trials of (seed, task), drawn by this law, do masks of this strategy match, decided in this way? All of it is checked."""

    law: TeacherStudent
    strategy: Strategy
    settings: Settings
    seed: int
    task: int
