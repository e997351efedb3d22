"""Trajectories of dynamical systems, as data for recurrent networks: how do states move, and how long is a prediction of them good?

    vdp        van der Pol        s_1' = s_2,              s_2' = 2 (1 - s_1^2) s_2 - s_1
    lorenz     Lorenz             s_1' = 10 (s_2 - s_1),   s_2' = s_1 (28 - s_3) - s_2,   s_3' = s_1 s_2 - 8/3 s_3
    pendulum   without friction   s_1' = s_2,              s_2' = -sin s_1
    linear     oscillator         s_1' = s_2,              s_2' = -s_1

Random starts (below), Runge-Kutta of order 4 with ten or more steps between two samples, then every coordinate less the mean and over the
standard deviation that 256 trajectories of 100 samples have, the same for all calls. Start number k comes from the raw numbers of numpy's
Philox with key (seed, task) and counter (0, 0, 0, k), which no version of numpy changes: it depends on nothing else. vdp, lorenz and linear
take sums and products only, so they are the same bits on every machine; sin may differ in its last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Literal, NamedTuple, get_args

import numpy as np

from .._checks import LARGEST_INT, positive, whole_number
from ..model.checks import check_trial_range

Name = Literal["vdp", "lorenz", "pendulum", "linear"]
NAMES = get_args(Name)
_FINE = 10  # steps of Runge-Kutta between samples at a system's own rate
_REFERENCE = 256, 100, (1 << 64) - 1  # trajectories, samples and seed of the mean and the standard deviation


class System(NamedTuple):
    """derivative of states [i, count]; dt between samples; start: states [i, count] by uniform numbers [2, count]; settle: time left out
    at first; period: of an oscillation (lorenz: the Lyapunov time, in which errors grow by e)."""

    derivative: Callable[[np.ndarray], np.ndarray]
    dt: float
    start: Callable[[np.ndarray], np.ndarray]
    settle: float
    period: float


def _vdp(s: np.ndarray) -> np.ndarray:
    return np.stack([s[1], 2.0 * (1 - s[0] * s[0]) * s[1] - s[0]])


def _lorenz(s: np.ndarray) -> np.ndarray:
    return np.stack([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]])


def _pendulum(s: np.ndarray) -> np.ndarray:
    return np.stack([s[1], -np.sin(s[0])])


def _linear(s: np.ndarray) -> np.ndarray:
    return np.stack([s[1], -s[0]])


SYSTEMS: dict[str, System] = {
    "vdp": System(_vdp, 0.1, lambda u: 6 * u - 3, 10.0, 7.63),
    "lorenz": System(_lorenz, 0.03, lambda u: np.stack([20 * u[0] - 10, 20 * u[1] - 10, 25 + 0 * u[0]]), 10.0, 1.10),
    "pendulum": System(_pendulum, 0.2, lambda u: np.stack([0.5 + 2 * u[0], 0 * u[0]]), 0.0, 7.4),
    "linear": System(_linear, 0.2, lambda u: np.stack([0.5 + 1.5 * u[0], 0 * u[0]]), 0.0, 2 * np.pi),
}


def trajectories(system: Name, count: int, steps: int, dt: float | None = None, seed: int = 0, task: int = 0, first: int = 0) -> np.ndarray:
    """`count` trajectories, float64 [count, steps, i] with i = 2 (lorenz: 3), standardised; `dt` between two samples, None for the system's
    own (vdp 0.1, lorenz 0.03, pendulum and linear 0.2, of the equations' time).

    Numbers first .. first + count - 1 of (seed, task): each depends on its number alone, not on count, and its samples not on `steps`.
    Errors: ValueError for an unknown system and for numbers out of range; TypeError for what is no number.

    >>> x = sl.systems.trajectories("lorenz", 4, 100)
    >>> x.shape, bool((sl.systems.trajectories("lorenz", 1, 50, first=3) == x[3:, :50]).all())
    ((4, 100, 3), True)
    """
    law = system_of(system)
    seed, task, first, count = check_trial_range(seed, task, first, count)
    steps = whole_number("steps", steps, 1, most=LARGEST_INT)
    dt = law.dt if dt is None else positive("dt", dt)
    mean, spread = _size(system)
    return (_states(law, (seed, task, first, count), steps, dt) - mean) / spread


def valid_steps(y: np.ndarray, truth: np.ndarray, threshold: float = 0.4) -> np.ndarray:
    """For how many steps is each prediction good: int64 [batch], the first step at which the root mean square error over the coordinates is
    above `threshold` (.4 standard deviations), or not a number; all steps where there is none.

    y, truth [batch, steps, i], or without the batch axis. Times dt / SYSTEMS[name].period these are periods (lorenz: Lyapunov times).
    Errors: ValueError for shapes that differ.

    >>> truth = sl.systems.trajectories("linear", 2, 100)
    >>> sl.systems.valid_steps(truth[:, :40] + np.linspace(0, 1, 40)[:, None], truth[:, :40])
    array([16, 16])
    """
    y, truth = np.asarray(y, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if y.shape != truth.shape or y.ndim not in (2, 3):
        raise ValueError(f"y: expected [batch, steps, i] like truth, got {list(y.shape)} and {list(truth.shape)}")
    threshold = positive("threshold", threshold)
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = ~(np.sqrt(((y - truth) ** 2).mean(axis=-1)) <= threshold)
    return np.where(wrong.any(axis=-1), wrong.argmax(axis=-1), wrong.shape[-1])


def system_of(name: str) -> System:
    """The system of a name. ValueError for an unknown one."""
    if not isinstance(name, str) or name not in SYSTEMS:
        raise ValueError(f"system: expected one of {', '.join(NAMES)}, got {name!r}")
    return SYSTEMS[name]


@cache
def _size(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(mean [i], standard deviation [i]) of a system's states, at its own rate."""
    count, steps, seed = _REFERENCE
    states = _states(SYSTEMS[name], (seed, 0, 0, count), steps, SYSTEMS[name].dt)
    return states.mean(axis=(0, 1)), states.std(axis=(0, 1))


def _states(law: System, which: tuple[int, int, int, int], steps: int, dt: float) -> np.ndarray:
    """States [count, steps, i] as the equations have them. which: seed, task, first number and count."""
    seed, task, first, count = which
    key = np.array([seed, task], dtype=np.uint64)
    raw = [np.random.Philox(key=key, counter=np.array([0, 0, 0, first + k], dtype=np.uint64)).random_raw(2) for k in range(count)]
    s = law.start((np.array(raw) >> np.uint64(11)).T * 2.0**-53)
    for _ in range(round(law.settle / law.dt * _FINE)):
        s = _moved(law.derivative, s, law.dt / _FINE)
    fine = max(_FINE, ceil(dt / law.dt * _FINE * (1 - 1e-12)))
    found = np.empty((count, steps, len(s)))
    for t in range(steps):
        found[:, t] = s.T
        for _ in range(fine if t + 1 < steps else 0):
            s = _moved(law.derivative, s, dt / fine)
    return found


def _moved(derivative: Callable[[np.ndarray], np.ndarray], s: np.ndarray, h: float) -> np.ndarray:
    """One step of Runge and Kutta."""
    a = derivative(s)
    b = derivative(s + h / 2 * a)
    c = derivative(s + h / 2 * b)
    d = derivative(s + h * c)
    return s + h / 6 * (a + 2 * b + 2 * c + d)
