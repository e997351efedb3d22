"""The law of trials on real data: random students, and pictures or trajectories for training and for testing.

It stands beside the law of teachers and students (D3), of which it takes the students: trial k of (seed, task) has the weights that D3
gives its student, whatever the data are, and split or trajectories number k. There is no teacher, so nothing here exists or does not:
what is measured is how far a search gets, and how good the result is on data that it has not seen.

    digits    a feedforward network 64 - .. - 10; y is 1 for the digit, else 0; tested on all pictures that do not train: "accuracy".
              Variants (pictures.py) are other tasks for the same network
    systems   a recurrent network with as many inputs and outputs as the system has coordinates; y_t = x_{t+1}; with S sequences (samples)
              a trial has trajectories 2 S k .. 2 S (k + 1) - 1, the first S for training, the others for testing: "rmse", the root mean
              square error one step ahead, in standard deviations, after WASHOUT steps or a fifth of them; "valid_time", how long the
              network, fed by its own outputs after FORCED steps, stays within .4 standard deviations: the median over test trajectories,
              in periods (lorenz: Lyapunov times), at most FREE steps
    undriven  a recurrent network with inputs 0, whose outputs are to be trajectory k of the system from its state 0 on: "rmse" over it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .._checks import positive
from ..backend.dispatch import kernels_for
from ..model.network import Feedforward, Network, Recurrent
from ..model.strategy import Strategy
from ..model.teacher_student import check_gains
from ..ops.free_run import free_run
from ..ops.jacobian import outputs
from ..ops.targets import accuracy
from . import pictures, systems

DIGITS = "digits"
WASHOUT = 20  # steps
FORCED, FREE = 60, 400  # steps
_WORST = 1e3  # a larger error of a network that runs away counts as this


class RealTrials(NamedTuple):
    """student [count, size], mask bool [count, size], x [count, *net.x_shape], y [count, *net.y_shape]; to test: inputs, and labels
    int64 [count, samples] or outputs. which: seed, task and number of the first."""

    student: np.ndarray
    mask: np.ndarray
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    which: tuple[int, int, int]


@dataclass(frozen=True)
class RealData:
    """net; source: "digits", or the name of a system; gains float [groups] in flat order as in D3, but 0 for biases that begin at 0;
    of a system dt, None for its own, and whether it drives the network; of digits the variant."""

    net: Network
    source: str
    gains: tuple[float, ...]
    dt: float | None = None
    driven: bool = True
    variant: pictures.Variant = "plain"

    @classmethod
    def checked(cls, net: Network, source: object, gains: Mapping[str, float] | None = None, **options: Any) -> RealData:
        """From what a caller gave; options: dt, driven, variant. Errors: TypeError and ValueError that name the argument."""
        dt, driven, variant = options.get("dt"), options.get("driven", True), options.get("variant", pictures.VARIANTS[0])
        if not isinstance(source, str) or source not in (DIGITS, *systems.NAMES):
            raise ValueError(f"data: expected {DIGITS} or one of the systems {', '.join(systems.NAMES)}, got {source!r}")
        if source == DIGITS:
            _check_digits(net)
            for name, value, own in (("dt", dt, None), ("driven", driven, True)):
                if value is not own:
                    raise ValueError(f"{name}: expected none with digits, got {value!r}")
            if variant not in pictures.VARIANTS:
                raise ValueError(f"variant: expected one of {', '.join(pictures.VARIANTS)}, got {variant!r}")
        else:
            if variant != pictures.VARIANTS[0]:
                raise ValueError(f"variant: expected none with the system {source}, got {variant!r}")
            _check_system(net, source, driven)
            dt = None if dt is None else positive("dt", dt)
        zeros = {name: gain for name, gain in (gains or {}).items() if gain == 0 and name in net.bias and not isinstance(gain, bool)}
        found = check_gains(net, {name: gain for name, gain in (gains or {}).items() if name not in zeros})
        return cls(net, source, tuple(0.0 if name in zeros else float(gain) for name, gain in zip(net.groups, found)), dt, driven, variant)

    @property
    def quantities(self) -> tuple[str, ...]:
        """What can be measured: the training loss, and how good the result is, on the data for testing where there are such."""
        if self.source == DIGITS:
            return ("loss", "accuracy")
        return ("loss", "rmse", "valid_time") if self.driven else ("loss", "rmse")

    @property
    def options(self) -> dict[str, Any]:
        """What is not said by the network, its gains and the source; only what is not at its default."""
        found = {"dt": self.dt, "driven": self.driven, "variant": self.variant}
        return {name: value for name, value in found.items() if value != getattr(RealData, name)}

    @property
    def losses(self) -> tuple[str, ...]:
        """What can be trained by: digits have classes."""
        return ("squared", "softmax") if self.source == DIGITS else ("squared",)

    @property
    def washout(self) -> int:
        """The first steps of a trajectory, which count neither in training nor in tests: the network begins at 0, the system does not."""
        return min(WASHOUT, self.net.steps // 5) if isinstance(self.net, Recurrent) and self.driven else 0

    def draw(self, strategy: Strategy, seed: int, task: int, first: int, count: int) -> RealTrials:
        """Trials first .. first + count - 1, float32. ImportError where the extra that brings the pictures is not installed."""
        one = self.net.at(1)  # weights and masks do not depend on it, and inputs are not needed
        gains = np.array(self.gains)
        no_group = np.zeros(len(gains), dtype=bool)
        drawn = kernels_for("cpu").draw(
            one.shape, seed, task, first, count, no_group, np.where(gains > 0, gains, 1.0), strategy.recipe, threads=0
        )
        student = np.asarray(drawn["student"]).astype(np.float32)
        for where, gain in zip(self.net.slices.values(), gains):
            if gain == 0:
                student[:, where] = 0.0
        mask = np.broadcast_to(np.asarray(drawn["mask"], dtype=bool), student.shape)
        data = self._pictures if self.source == DIGITS else self._trajectories if self.driven else self._alone
        x, y, x_test, y_test = data(seed, task, first, count)
        return RealTrials(student, mask, x, y, x_test, y_test, (seed, task, first))

    def _pictures(self, seed: int, task: int, first: int, count: int) -> tuple[np.ndarray, ...]:
        splits = [pictures.digits(self.net.x_shape[1], seed, task, first + k, self.variant) for k in range(count)]
        x, y, x_test = (
            np.array([part(s) for s in splits], dtype=np.float32) for part in (lambda s: s.x, lambda s: s.y, lambda s: s.x_test)
        )
        return x, y, x_test, np.array([split.labels_test for split in splits])

    def _trajectories(self, seed: int, task: int, first: int, count: int) -> tuple[np.ndarray, ...]:
        net: Any = self.net
        name: Any = self.source
        each = 2 * net.samples
        states = systems.trajectories(name, each * count, net.steps + 1, self.dt, seed, task, each * first).astype(np.float32)
        x, y = (part.reshape(count, 2, *net.x_shape) for part in (states[:, :-1], states[:, 1:]))
        return tuple(np.ascontiguousarray(part[:, k]) for k in range(2) for part in (x, y))

    def _alone(self, seed: int, task: int, first: int, count: int) -> tuple[np.ndarray, ...]:
        net: Any = self.net
        name: Any = self.source
        y = systems.trajectories(name, count, net.steps, self.dt, seed, task, first).astype(np.float32)
        x = np.zeros((count, *net.x_shape), np.float32)
        return x, y, x, y

    def tested(self, theta: np.ndarray, trials: RealTrials, quantity: str, threads: int | None = None) -> np.ndarray:
        """float64 [count]: the quantity that is not the loss."""
        if quantity == "valid_time":
            return self._valid_times(theta, trials.which)
        net: Network = self.net if self.source != DIGITS else self.net.at(trials.x_test.shape[2])
        with np.errstate(over="ignore", invalid="ignore"):
            if self.source == DIGITS:
                return np.asarray(accuracy(net, theta, trials.x_test, trials.y_test, threads=threads))
            y = outputs(net, theta, trials.x_test, threads=threads)
            wrong = (y - trials.y_test)[..., self.washout :, :].astype(np.float64) ** 2
            found = np.sqrt(wrong.reshape(len(y), -1).mean(axis=1))
        return np.where(found < _WORST, found, _WORST)

    def _valid_times(self, theta: np.ndarray, which: tuple[int, int, int]) -> np.ndarray:
        several: Any = self.net
        net, each = replace(several, samples=1), several.samples
        name: Any = self.source
        seed, task, first = which
        dt = self.dt or systems.SYSTEMS[name].dt
        found = np.empty(len(theta))
        for k, weights in enumerate(theta):
            begin = (2 * (first + k) + 1) * each
            truth = systems.trajectories(name, each, FORCED + FREE, self.dt, seed, task, begin).astype(theta.dtype)
            y = free_run(net, weights, truth, FORCED, FREE)
            found[k] = np.median(systems.valid_steps(y, truth[:, FORCED:]))
        return found * dt / systems.SYSTEMS[name].period


def _check_system(net: Network, source: str, driven: object) -> None:
    size = len(systems.SYSTEMS[source].start(np.zeros((2, 1))))
    if not isinstance(driven, bool):
        raise TypeError(f"driven: expected true or false, got {driven!r}")
    if driven and not (isinstance(net, Recurrent) and (net.inputs, net.outputs) == (size, size)):
        raise ValueError(f"network: expected a recurrent one with {size} inputs and outputs for {source}, got {net.describe()}")
    if not driven and not (isinstance(net, Recurrent) and net.outputs == size and net.samples == 1):
        raise ValueError(f"network: expected a recurrent one with {size} outputs and one sequence for {source}, got {net.describe()}")


def _check_digits(net: Network) -> None:
    ends = (pictures.PIXELS, pictures.CLASSES)
    if not isinstance(net, Feedforward) or (net.widths[0], net.widths[-1]) != ends:
        raise ValueError(
            f"network: expected a feedforward one with {ends[0]} inputs and {ends[1]} outputs for digits, got {net.describe()}"
        )
    if net.samples >= pictures.COUNT:
        raise ValueError(f"samples: expected at most {pictures.COUNT - 1} of {pictures.COUNT} pictures, got {net.samples}")
