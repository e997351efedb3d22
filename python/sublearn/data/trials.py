"""Trials (D3): the distributions of teacher, student and inputs, and the teacher's outputs.

Key = seed, counter = (index, stream, trial, task): trial number 7 of a seed and task is the same problem in
every call, whatever the batch, the strategy or the number of threads. The drawing itself is compiled; masks
come from model/allocation.py, verdicts from match/probability.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import LARGEST_INT, whole_number
from ..backend.compiled import cpu
from ..backend.dispatch import kernels_for
from ..backend.selection import Backend
from ..model.allocation import Allocation
from ..model.checks import check_trial_range
from ..model.network import Network
from ..model.strategy import Strategy, as_strategy, check_allocation
from ..model.teacher_student import Targets, TeacherStudent

_TARGETS = 5  # the stream of targets that no teacher gives (csrc/core/random.h)


@dataclass(frozen=True, eq=False, repr=False)
class Trials:
    """Trials first .. first + count - 1 of one seed and task.

    teacher, student [count, size]; x [count, *net.x_shape]; y [count, *net.y_shape], the teacher's outputs, or Gaussian targets;
    mask bool [count, size], the weights that may learn. Shared groups are equal in teacher and student.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> trials = sl.draw_trials(net, sl.rows(net, 5, "W"), 3, shared=("B", "D"))
    >>> bool((trials.teacher == trials.student)[:, net.slices["B"]].all()), trials.mask.sum(axis=1)
    (True, array([5, 5, 5]))
    """

    law: TeacherStudent
    teacher: np.ndarray
    student: np.ndarray
    x: np.ndarray
    y: np.ndarray
    mask: np.ndarray
    seed: int
    task: int
    first: int

    @property
    def net(self) -> Network:
        return self.law.net

    @property
    def shared(self) -> tuple[str, ...]:
        return self.law.shared

    @property
    def gains(self) -> dict[str, float]:
        return dict(self.law.gains_by_group)

    def __len__(self) -> int:
        return len(self.teacher)

    def __repr__(self) -> str:
        numbers = f"{self.first}..{self.first + len(self) - 1}"
        shared = f", shared {', '.join(self.shared)}" if self.shared else ""
        key = f"seed {self.seed}, task {self.task}"
        return f"<Trials {numbers} of {self.net.describe()}{shared}, {key}, {self.teacher.dtype}>"


def draw_trials(
    net: Network,
    allocation: Allocation | Strategy,
    count: int,
    shared: tuple[str, ...] = (),
    seed: int = 0,
    task: int = 0,
    first: int = 0,
    gains: Mapping[str, float] | None = None,
    dtype: object = np.float64,
    threads: int | None = None,
    backend: Backend = "auto",
    targets: Targets = "teacher",
) -> Trials:
    """`count` trials (D3): weights N(0, gain^2 / fan_in), biases N(0, gain^2), inputs N(0, 1), and masks.

    `gains`: {group: g}, 1 for a group not named. Draws are made in float64 and rounded to `dtype` (float32
    or float64); y is computed from the rounded numbers in `dtype`. Same counters, same trial: teacher,
    student and x do not depend on the allocation, on `shared` (but for the groups copied) or on `count`.
    `threads`: the most threads to use; None leaves the choice to the library. The result is the same for all.
    `targets`: "teacher"; or "gaussian": y are normal numbers with the root mean square of the teacher's outputs, in place of these.
    `backend`: "cuda" draws on a GPU (the same bits; y in its rounding) and brings the trials back; "auto" and "cpu" on the CPU.
    Errors: ValueError for an empty batch, a trial number beyond 32 bits, a gain that is not above 0, an
    unknown group, or an allocation that could learn in a shared group; TypeError for another dtype or a str
    as `shared`.

    >>> net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    >>> trials = sl.draw_trials(net, sl.scattered(net, 5, "W"), 100, shared=("B", "D"))
    >>> trials.x.shape, trials.y.shape, trials.mask.shape
    ((100, 5, 1), (100, 5, 1), (100, 24))
    """
    law = TeacherStudent.checked(net, shared, gains, targets)
    recipe = as_strategy(check_allocation(net, allocation, law.shared)).recipe
    seed, task, first, count = check_trial_range(seed, task, first, count)
    dtype = _check_dtype(dtype)
    threads = 0 if threads is None else whole_number("threads", threads, 1, most=LARGEST_INT)
    kernels = kernels_for(backend)
    drawn = kernels.draw(net.shape, seed, task, first, count, law.is_shared, np.array(law.gains), recipe, threads=threads)
    teacher, student = (np.asarray(drawn[name]).astype(dtype, copy=False) for name in ("teacher", "student"))
    x = np.asarray(drawn["x"]).astype(dtype, copy=False).reshape(count, -1)
    y = np.asarray(kernels.outputs(net.shape, teacher, x, threads=threads))
    if not law.taught:
        y = _gaussian(y, (seed, task, first))
    mask = np.asarray(drawn["mask"], dtype=bool)
    return Trials(law, teacher, student, x.reshape(count, *net.x_shape), y.reshape(count, *net.y_shape), mask, seed, task, first)


def _gaussian(y: np.ndarray, which: tuple[int, int, int]) -> np.ndarray:
    """Normal numbers [count, equations], of the size that y has in each trial. which: seed, task and number of the first trial."""
    seed, task, first = which
    count, equations = y.shape
    drawn = np.array([cpu.normals(seed, _TARGETS, first + k, task, 0, equations) for k in range(count)])
    size = np.sqrt(np.mean(np.square(y, dtype=np.float64), axis=1, keepdims=True))
    return np.asarray(drawn * size, dtype=y.dtype)


def _check_dtype(dtype: Any) -> np.dtype:
    try:
        name = "" if dtype is None else np.dtype(dtype).name  # numpy reads None as float64
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise TypeError(f"dtype: expected float32 or float64, got {dtype!r}")
    return np.dtype(name)
