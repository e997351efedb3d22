"""The CPU computes: the compiled functions themselves. torch tensors come back as torch tensors, all else as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import as_torch
from .compiled import cpu
from .kernels import FitOptions, Rows


class HostKernels:
    """`Kernels` of the CPU. torch: the caller's arrays are tensors."""

    on_device = False
    fits_with_options = True
    largest_side = 512  # the largest measured, where the kernel is 4 times faster than an SVD (docs/speed.md)

    def __init__(self, torch: bool = False):
        self._torch = torch

    def from_caller(self, name: str, value: object) -> Any:
        return value

    def to_caller(self, result: Any) -> Any:
        if not self._torch or not isinstance(result, np.ndarray) or result.dtype.kind in "US":
            return result
        return as_torch(result)

    def to_host(self, array: Any) -> np.ndarray:
        return array

    def gather(self, rows: Rows, which: np.ndarray) -> np.ndarray:
        return rows[which]

    def for_numpy(self) -> HostKernels:
        return HostKernels()

    def outputs(self, shape: cpu.Shape, theta: Rows, x: Rows, threads: int = 0) -> Rows:
        return cpu.outputs(shape, theta, x, threads)

    def jacobian(self, shape: cpu.Shape, theta: Rows, x: Rows, indices: np.ndarray, threads: int = 0) -> Rows:
        return cpu.jacobian(shape, theta, x, indices, threads)

    def jacobian_mod(self, shape: cpu.Shape, theta: Rows, x: Rows, hidden_seed: int, p: int, threads: int = 0) -> Rows:
        return cpu.jacobian_mod(shape, theta, x, hidden_seed, p, threads)

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
        o = options or FitOptions()
        more = (o.loss, o.schedule, o.horizon, o.begun, o.left, o.compact, o.keep, o.batch_size, o.seed, o.washout)
        return cpu.fit(shape, theta, x, y, indices, steps, optimizer, lr, tol, threads, *more)

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
        return cpu.newton(shape, theta, x, y, indices, start_scale, starts, max_iterations, tol, seed, task, trials, threads, norm2)

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
        return cpu.continuation(
            shape,
            points,
            teacher,
            indices,
            degrees,
            rows,
            mix,
            allocation,
            origin,
            to,
            group,
            start,
            stop_at_real,
            aim,
            least_step,
            max_steps,
            sliced,
            threads,
        )

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
        return cpu.draw(shape, seed, task, first, count, shared, gains, recipe, threads)

    def rank_real(self, a: Rows, rtol: float, threads: int = 0) -> tuple[Rows, np.ndarray, int]:
        ranks, certified, finite = cpu.rank_real(a, rtol, threads)
        return ranks, np.flatnonzero(certified == 0), -1 if finite.all() else int(np.argmin(finite))

    def rank_mod(self, a: Rows, p: int, threads: int = 0) -> Rows:
        return cpu.rank_mod(a, p, threads)

    def project(self, a: Rows, g: Rows, columns: np.ndarray, rtol: float, threads: int = 0) -> dict[str, Rows]:
        return cpu.project(a, g, columns, rtol, threads)

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
        return cpu.choose_columns(a, g, candidates, given, budget, rule, guard, threads)
