"""What the CPU (host.py) and a GPU (cuda.py) both offer to a call: its arrays in and out, and the compiled functions.

An object is made once per call (dispatch.py). Rows are C-ordered arrays [batch, numbers], or [1, numbers] where one row holds for the whole
batch: of numpy, or for a GPU views of device arrays, which are used where they are. The caller has checked all arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from .compiled import cpu

Rows: TypeAlias = Any  # a numpy array, or an Array of the CUDA module


@dataclass(frozen=True)
class FitOptions:
    """What `fit` may have beside plain steps, on the CPU (csrc/ops/descend.h: DescendMore).

    loss: 0 squared, 1 softmax; schedule: 0 constant, 1 cosine, 2 linear, which end at step `horizon`; begun: steps of calls before, and
    left what they left: (learned, first, second, steps, status); compact: no theta in the result; keep: learned, first and second in
    the result, [batch, budget], as far as the optimiser has them; batch_size: samples of a step, drawn by seed, 0: all of them; washout:
    recurrent, the first steps of each sequence, which do not count and have targets of 0.
    """

    loss: int = 0
    schedule: int = 0
    horizon: int = 0
    begun: int = 0
    left: tuple[Any, ...] | None = None
    compact: bool = False
    keep: bool = False
    batch_size: int = 0
    seed: int = 0
    washout: int = 0


class Kernels(Protocol):
    """on_device: whether the caller's arrays live on a GPU, and with them the results. largest_side: of a matrix, for `rank_real`.
    threads: of the CPU, 0: all cores; a GPU ignores them. fits_with_options: whether `fit` takes FitOptions."""

    on_device: bool
    fits_with_options: bool
    largest_side: int

    # ---- arrays in and out ----

    def from_caller(self, name: str, value: object) -> Any:
        """`value`, or a view of it where it is a device array. name: of the argument, for errors."""

    def to_caller(self, result: Any) -> Any:
        """A result in the library, and on the device, of the caller's arrays. What is not a numpy array of numbers stays as it is."""

    def to_host(self, array: Any) -> np.ndarray:
        """A result as numpy."""

    def gather(self, rows: Rows, which: np.ndarray) -> np.ndarray:
        """rows[which] as numpy; which: int [k]."""

    def for_numpy(self) -> Kernels:
        """The same processor, or the same GPU and stream, for numpy rows and results."""

    # ---- networks ----

    def outputs(self, shape: cpu.Shape, theta: Rows, x: Rows, threads: int = 0) -> Rows:
        """y = f(theta; x), rows [batch, equations] in the dtype of theta [batch, size]; x [batch, inputs_size]."""

    def jacobian(self, shape: cpu.Shape, theta: Rows, x: Rows, indices: np.ndarray, threads: int = 0) -> Rows:
        """Derivatives of the outputs, [batch, equations, budget]; indices int32 [batch or 1, budget]: learnable positions, ascending."""

    def jacobian_mod(self, shape: cpu.Shape, theta: Rows, x: Rows, hidden_seed: int, p: int, threads: int = 0) -> Rows:
        """Derivatives in all weights mod p, int64 [batch, equations, size], of theta, x int64 in [0, p). For tanh, hidden_seed draws what
        the hidden units do."""

    def fit(
        self,
        shape: cpu.Shape,
        theta: Rows,
        x: Rows,
        y: Rows,
        indices: np.ndarray,
        steps: int,
        optimizer: int,
        lr: float,
        tol: float,
        threads: int = 0,
        options: FitOptions | None = None,
    ) -> dict[str, Rows]:
        """Gradient descent: theta [batch, size], loss [batch], steps int64 [batch], status int8 [batch] (0 steps done, 1 converged,
        2 diverged).

        indices int32 [batch or 1, budget], short rows filled up with shape.size; optimizer: 0 sgd, 1 momentum, 2 adam; tol: converged at
        a loss of tol times the sum of squares of y, below 0: never."""

    def newton(
        self,
        shape: cpu.Shape,
        theta: Rows,
        x: Rows,
        y: Rows,
        indices: np.ndarray,
        start_scale: np.ndarray,
        starts: int,
        max_iterations: int,
        tol: float,
        seed: int,
        task: int,
        trials: np.ndarray,
        threads: int = 0,
        norm2: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Levenberg-Marquardt from several starts: theta [batch, size], its loss [batch] relative to norm2, found int32 [batch] (the first
        start that matched, or -1), iterations int (of all students together).

        All rows have one budget. Start 0 is theta; the others are drawn with standard deviations start_scale float64 [size], the same
        for the same seed, task and number in trials uint32 [batch]. A match: a relative loss below tol. norm2 float64 [batch]: the sum
        of squares of y unless it is given."""

    def continuation(
        self,
        shape: cpu.Shape,
        points: np.ndarray,
        teacher: bool,
        indices: np.ndarray,
        degrees: np.ndarray,
        rows: np.ndarray | None,
        mix: np.ndarray | None,
        allocation: np.ndarray,
        origin: np.ndarray,
        to: np.ndarray,
        group: np.ndarray,
        start: np.ndarray,
        stop_at_real: bool = False,
        aim: float = 1e-4,
        least_step: float = 1e-10,
        max_steps: int = 2000,
        sliced: bool = False,
        threads: int = 0,
    ) -> dict[str, np.ndarray]:
        """Paths of complex solutions (csrc/ops/continuation.h), numpy in and out: end complex [jobs, budget], status int8 [jobs], steps
        int32 [jobs], largest float64 [jobs], correction float64 [jobs].

        points complex [points, width]; indices, degrees int32 [allocations, budget]; rows int32 [budget] or mix float64 [budget,
        equations]: which equations, or which combinations of them, are followed. Job j goes from start[j] (complex [jobs, budget]) at
        points[origin[j]] to points[to[j]], with row allocation[j] of indices; allocation, origin, to, group int32 [jobs]. With
        stop_at_real, jobs of a group are skipped once an earlier one has ended at a point that looks real."""

    # ---- trials ----

    def draw(
        self,
        shape: cpu.Shape,
        seed: int,
        task: int,
        first: int,
        count: int,
        shared: np.ndarray,
        gains: np.ndarray,
        recipe: tuple[Any, ...],
        threads: int = 0,
    ) -> dict[str, Rows]:
        """Trials first .. first + count - 1: teacher, student float64 [count, size], x float64 [count, inputs_size], mask bool
        [count, size]. shared bool [groups], gains float64 [groups]; recipe: of a Strategy."""

    # ---- ranks ----

    def rank_real(self, a: Rows, rtol: float, threads: int = 0) -> tuple[Rows, np.ndarray, int]:
        """Of a [batch, m, n], m, n <= largest_side: ranks int64 [batch], the numbers of those that are not proven, and that of the first
        matrix that is not finite, or -1."""

    def rank_mod(self, a: Rows, p: int, threads: int = 0) -> Rows:
        """Ranks mod p, int64 [batch], of a int64 [batch, m, n], on the CPU with entries in [0, p)."""

    # ---- projections on columns ----

    def project(self, a: Rows, g: Rows, columns: np.ndarray, rtol: float, threads: int = 0) -> dict[str, Rows]:
        """Of a [batch or 1, m, p] and g [batch or 1, m]: residual, share [batch], rank int64 [batch], coefficients [batch, k], finite int8
        [batch]; columns int32 [batch or 1, k], -1: none (csrc/ops/project.h)."""

    def choose_columns(
        self,
        a: Rows,
        g: Rows,
        candidates: np.ndarray | None,
        given: np.ndarray,
        budget: int,
        rule: int,
        guard: float,
        threads: int = 0,
    ) -> dict[str, Rows]:
        """indices int64 [batch, budget], residuals [batch, budget], finite int8 [batch]; candidates bool [batch or 1, p]; given int32
        [batch or 1, k], -1: none; rule: 0 ols, 1 omp, 2 pivot (csrc/ops/choose_columns.h)."""
