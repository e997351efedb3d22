"""What a descent leaves for a later call to go on from, and whether that call is the same descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..model.network import Network


@dataclass(frozen=True, eq=False)
class FitState:
    """Where a fit has come to: `fit(..., state=found.state)` goes on from there, and 100 steps and 100 more are 200, bit for bit.

    step: steps of all calls so far (of the students that have not stopped). learned [batch, r]: learnable weights, by ascending flat index,
    zeros where a student learns fewer than r; first, second: the optimiser's moments of the same shape, None where it has none (those of a
    student that has diverged are 0); steps int64, status int8 [batch]: those of the result (0 steps done, 1 converged, 2 diverged).
    net, indices int32 [batch or 1, r], optimizer, loss, batch_size, seed: what a later call must have in common, and dtype. The place in
    the stream of minibatches is a function of step, seed and batch_size.

    >>> net = sl.Feedforward(widths=(3, 4, 2), samples=3)
    >>> trial = sl.draw_trials(net, sl.only(net, "W2"), 2, shared=("W1",))
    >>> problem = net, trial.student, trial.x, trial.y, trial.mask
    >>> half = sl.fit(*problem, steps=100)
    >>> whole, rest = sl.fit(*problem, steps=200), sl.fit(*problem, steps=100, state=half.state)
    >>> half.state.step, half.state.learned.shape, bool((rest.theta == whole.theta).all())
    (100, (2, 8), True)
    """

    net: Network
    indices: np.ndarray
    optimizer: str
    loss: str
    batch_size: int | None
    seed: int
    step: int
    learned: np.ndarray
    first: np.ndarray | None
    second: np.ndarray | None
    steps: np.ndarray
    status: np.ndarray

    @property
    def left(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray, np.ndarray]:
        """What the kernels go on from."""
        return self.learned, self.first, self.second, self.steps, self.status


def check_state(state: object, rows: int, dtype: np.dtype, net: Network, indices: np.ndarray, how: dict[str, object]) -> FitState:
    """`state`, if it is of the same descent: TypeError for what is none, ValueError naming the first thing that differs."""
    if not isinstance(state, FitState):
        raise TypeError(f"state: expected the .state of a FitResult, or None, got {type(state).__name__}")
    if state.net != net:
        raise ValueError(f"state: expected one of {net.describe()}, got one of {state.net.describe()}")
    for name, value in how.items():
        if getattr(state, name) != value:
            raise ValueError(f"state: expected one with {name} {value!r}, got one with {name} {getattr(state, name)!r}")
    if state.learned.dtype != dtype:
        raise ValueError(f"state: expected one of dtype {dtype} like theta, got one of {state.learned.dtype}")
    if len(state.learned) != rows:
        raise ValueError(f"state: expected one of {rows} students, got one of {len(state.learned)}")
    if not _same_places(state.indices, indices):
        raise ValueError("state: expected one of the same allocation, got one of another")
    return state


def _same_places(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape[1] != b.shape[1]:
        return False
    return bool((a == b).all())  # one row holds for all students
