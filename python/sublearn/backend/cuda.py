"""A GPU computes. Device arrays are used where they are, and results lie with them; numpy arrays are carried there and back, in pieces
that fit the memory a call may use. All work is put on one stream, which is waited for only where numbers come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .arrays import as_torch, device_view, empty_like_caller, on_device
from .compiled import cpu
from .kernels import FitOptions, Rows
from .memory import byte_count, rows_of_a_call

_INDEX = np.dtype(np.intc)


class CudaKernels:
    """`Kernels` of a GPU, by the functions of the CUDA module.

    device: number of the GPU; stream: its address; leader: an array of the caller on that GPU, whose library makes the results, or None
    where the caller has numpy arrays, or tensors of the CPU (torch).
    """

    fits_with_options = False
    largest_side = 128  # what fits the shared memory of a block

    def __init__(self, module: Any, device: int, stream: int, leader: Any = None, torch: bool = False):
        self._module, self._device, self._stream, self._leader, self._torch = module, device, stream, leader, torch
        self.on_device = leader is not None

    # ---- arrays in and out ----

    def from_caller(self, name: str, value: object) -> Any:
        return device_view(self._module, name, value, self._stream) if on_device(value) else value

    def to_caller(self, result: Any) -> Any:
        if not isinstance(result, np.ndarray) or result.dtype.kind in "US":
            return result
        if not self.on_device:
            return as_torch(result) if self._torch else result
        out, view = self._result(result.shape, result.dtype)
        view.upload(np.ascontiguousarray(result), self._stream)
        return out

    def to_host(self, array: Any) -> np.ndarray:
        return array if isinstance(array, np.ndarray) else device_view(self._module, "result", array, self._stream).numpy(self._stream)

    def gather(self, rows: Rows, which: np.ndarray) -> np.ndarray:
        if isinstance(rows, np.ndarray):
            return rows[which]
        return rows.take(np.asarray(which, _INDEX), self._stream)

    def for_numpy(self) -> CudaKernels:
        return CudaKernels(self._module, self._device, self._stream)

    def _result(self, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Any, Any]:
        """A new device array in the caller's library, and the module's view of it."""
        out = empty_like_caller(self._module, self._leader, shape, np.dtype(dtype), self._device, self._stream)
        return out, device_view(self._module, "result", out, self._stream)

    def _temporary(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Device memory for as long as a call lasts, taken and given back in the order of its stream: nothing waits."""
        return self._module.Array(list(shape), np.dtype(dtype), self._device, self._stream, True)

    def _uploaded(self, rows: Rows, first: int = 0, last: int | None = None) -> Any:
        """rows[first:last], or all of them, on the GPU."""
        if not isinstance(rows, np.ndarray):
            return rows if last is None else rows.rows(first, last)
        part = np.ascontiguousarray(rows if last is None else rows[first:last])
        view = self._temporary(part.shape, part.dtype)
        view.upload(part, self._stream)
        return view

    def _in_pieces(
        self,
        operation: str,
        batch: int,
        inputs: dict[str, Rows],
        results: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
        call: Callable[[dict[str, Any], dict[str, Any]], None],
        bytes_per_row: int = 0,
        fixed_bytes: int = 0,
    ) -> dict[str, Any]:
        """call(inputs, results) for as many rows at a time as fit, and the results of all rows.

        inputs: rows [batch or 1, ...]; results: name -> (row's shape, dtype). bytes_per_row, fixed_bytes: of device memory beside inputs
        and results, by row and whatever the number of rows.
        """
        host = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)}
        bytes_per_row += sum(a.nbytes // batch for a in host.values() if len(a) == batch > 1)
        fixed_bytes += sum(a.nbytes for a in host.values() if not len(a) == batch > 1)
        if self.on_device:
            made = {name: self._result((batch, *shape), dtype) for name, (shape, dtype) in results.items()}
            whole, views = ({name: pair[k] for name, pair in made.items()} for k in (0, 1))
        else:
            whole, views = {name: np.empty((batch, *shape), dtype) for name, (shape, dtype) in results.items()}, {}
            bytes_per_row += sum(byte_count(*row) for row in results.values())
        if batch == 0:
            return whole
        step = rows_of_a_call(self._module, self._device, batch, bytes_per_row, fixed_bytes, operation)
        shared = {name: self._uploaded(value) for name, value in inputs.items() if not value.shape[0] == batch > 1}
        for first in range(0, batch, step):
            last = min(batch, first + step)
            rows = {name: (shared[name] if name in shared else self._uploaded(value, first, last)) for name, value in inputs.items()}
            if self.on_device:
                call(rows, {name: view.rows(first, last) for name, view in views.items()})
                continue
            pieces = {name: self._temporary((last - first, *shape), dtype) for name, (shape, dtype) in results.items()}
            call(rows, pieces)
            for name, piece in pieces.items():
                whole[name][first:last] = piece.numpy(self._stream)
        return whole

    # ---- the functions of the CUDA module, which write into arrays they are given ----

    def outputs(self, shape: cpu.Shape, theta: Rows, x: Rows, threads: int = 0) -> Rows:
        batch = _batch_of(theta, x)
        call = lambda i, o: self._module.outputs(shape, i["theta"], i["x"], o["out"], self._stream)  # noqa: E731
        return self._in_pieces("outputs", batch, {"theta": theta, "x": x}, {"out": ((shape.equations,), theta.dtype)}, call)["out"]

    def jacobian(self, shape: cpu.Shape, theta: Rows, x: Rows, indices: np.ndarray, threads: int = 0) -> Rows:
        batch = _batch_of(theta, x, indices)
        inputs = {"theta": theta, "x": x, "indices": np.asarray(indices, _INDEX)}
        call = lambda i, o: self._module.jacobian(shape, i["theta"], i["x"], i["indices"], o["out"], self._stream)  # noqa: E731
        return self._in_pieces("jacobian", batch, inputs, {"out": ((shape.equations, indices.shape[1]), theta.dtype)}, call)["out"]

    def jacobian_mod(self, shape: cpu.Shape, theta: Rows, x: Rows, hidden_seed: int, p: int, threads: int = 0) -> Rows:
        call = lambda i, o: self._module.jacobian_mod(shape, i["theta"], i["x"], hidden_seed, p, o["out"], self._stream)  # noqa: E731
        results = {"out": ((shape.equations, shape.size), np.int64)}
        return self._in_pieces("jacobian_mod", theta.shape[0], {"theta": theta, "x": x}, results, call)["out"]

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
        if options is not None:
            raise ValueError("options: expected None on a GPU")
        batch = _batch_of(theta, x, y, indices)
        inputs = {"theta": theta, "x": x, "y": y, "indices": np.asarray(indices, _INDEX)}
        learns = self._module.groups_used(shape, np.ascontiguousarray(indices, _INDEX))
        results = {"theta": ((shape.size,), theta.dtype), "loss": ((), theta.dtype), "steps": ((), np.int64), "status": ((), np.int8)}
        return self._in_pieces(
            "fit",
            batch,
            inputs,
            results,
            lambda i, o: self._module.fit(
                shape,
                i["theta"],
                i["x"],
                i["y"],
                i["indices"],
                learns,
                steps,
                optimizer,
                lr,
                tol,
                o["theta"],
                o["loss"],
                o["steps"],
                o["status"],
                self._stream,
            ),
        )

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
        batch, iterations = trials.shape[0], self._temporary((1,), np.int64)
        inputs = {"theta": theta, "x": x, "y": y, "indices": np.asarray(indices, _INDEX), "trials": np.asarray(trials, np.uint32)}
        if norm2 is not None:
            inputs["norm2"] = norm2
        learns, total = self._module.groups_used(shape, np.ascontiguousarray(indices, _INDEX)), 0
        results = {"theta": ((shape.size,), np.float64), "loss": ((), np.float64), "found": ((), np.int32)}
        scale = np.asarray(start_scale).tolist()

        def call(i: dict[str, Any], o: dict[str, Any]) -> None:
            nonlocal total
            iterations.upload(np.zeros(1, np.int64), self._stream)
            self._module.newton(
                shape,
                i["theta"],
                i["x"],
                i["y"],
                i["indices"],
                learns,
                scale,
                starts,
                max_iterations,
                tol,
                seed,
                task,
                i["trials"],
                o["theta"],
                o["loss"],
                o["found"],
                iterations,
                self._stream,
                None,
                i.get("norm2"),
            )
            total += int(iterations.numpy(self._stream)[0])

        # a lock per student; the scale of every weight, the count of iterations and that of students
        out = self._in_pieces("newton", batch, inputs, results, call, bytes_per_row=4, fixed_bytes=8 * shape.size + 16)
        return {**out, "iterations": total}

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
        jobs, budget = start.shape
        for name, numbers, most in (
            ("allocation", allocation, len(indices)),
            ("origin", origin, len(points)),
            ("to", to, len(points)),
            ("group", group, max(jobs, 1)),
            ("indices", indices, shape.size),
        ):
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < most:  # the kernel trusts them
                raise ValueError(f"{name}: expected numbers in 0 .. {most - 1}")
        learns, begun = self._module.groups_used(shape, np.ascontiguousarray(indices, _INDEX)), 0
        whole = {"points": _pairs(points), "indices": np.asarray(indices, _INDEX), "degrees": np.asarray(degrees, _INDEX)}
        inputs = {name: value[None] for name, value in whole.items()}  # one for all jobs, even where there are as many
        inputs |= {"allocation": allocation, "origin": origin, "to": to, "group": group, "start": _pairs(start)}
        results = {
            "end": ((budget, 2), np.float64),
            "status": ((), np.int8),
            "steps": ((), np.int32),
            "largest": ((), np.float64),
            "correction": ((), np.float64),
        }
        if jobs == 0:
            out = {name: np.empty((0, *row), dtype) for name, (row, dtype) in results.items()}
            return {**out, "end": out["end"].view(np.complex128)[..., 0]}
        done = self._temporary((int(group.max()) + 1,), np.int64)
        done.upload(np.full(done.shape, np.iinfo(np.int64).max), self._stream)

        def call(i: dict[str, Any], o: dict[str, Any]) -> None:
            nonlocal begun
            points, indices, degrees = (i[name].reshape(whole[name].shape) for name in ("points", "indices", "degrees"))
            self._module.continuation(
                shape,
                points,
                teacher,
                indices,
                degrees,
                rows,
                mix,
                learns,
                i["allocation"],
                i["origin"],
                i["to"],
                i["group"],
                i["start"],
                stop_at_real,
                aim,
                least_step,
                max_steps,
                sliced,
                o["end"],
                o["status"],
                o["steps"],
                o["largest"],
                o["correction"],
                done,
                begun,
                self._stream,
            )
            begun += i["start"].shape[0]

        out = self._in_pieces("continuation", jobs, inputs, results, call, fixed_bytes=8 * done.shape[0])
        return {**out, "end": out["end"].view(np.complex128)[..., 0]}

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
        results = {
            "teacher": ((shape.size,), np.float64),
            "student": ((shape.size,), np.float64),
            "x": ((shape.inputs_size,), np.float64),
            "mask": ((shape.size,), np.bool_),
        }
        begun = 0

        def call(_: dict[str, Any], o: dict[str, Any]) -> None:
            nonlocal begun
            self._module.draw(
                shape,
                seed,
                task,
                first + begun,
                [bool(s) for s in shared],
                np.asarray(gains).tolist(),
                recipe,
                o["teacher"],
                o["student"],
                o["x"],
                o["mask"],
                self._stream,
            )
            begun += o["teacher"].shape[0]

        return self._in_pieces("draw_trials", count, {}, results, call)

    def rank_real(self, a: Rows, rtol: float, threads: int = 0) -> tuple[Rows, np.ndarray, int]:
        unproven, not_finite, begun = [], -1, 0

        def call(i: dict[str, Any], o: dict[str, Any]) -> None:
            nonlocal not_finite, begun
            count = i["a"].shape[0]
            certified, finite = self._temporary((count,), np.int8), self._temporary((count,), np.int8)
            self._module.rank_real(i["a"], rtol, o["rank"], certified, finite, self._stream)
            which, first = self._module.rank_questions(certified, finite, self._stream)
            unproven.append(begun + which.astype(np.int64))
            if not_finite < 0 <= first:
                not_finite = begun + first
            begun += count

        # beside the ranks, two flags and a place in the list of those that are not proven
        ranks = self._in_pieces("rank", a.shape[0], {"a": a}, {"rank": ((), np.int64)}, call, bytes_per_row=6)["rank"]
        return ranks, np.concatenate(unproven), not_finite

    def rank_mod(self, a: Rows, p: int, threads: int = 0) -> Rows:
        call = lambda i, o: self._module.rank_mod(i["a"], p, o["rank"], self._stream)  # noqa: E731
        return self._in_pieces("rank_mod", a.shape[0], {"a": a}, {"rank": ((), np.int64)}, call)["rank"]

    def project(self, a: Rows, g: Rows, columns: np.ndarray, rtol: float, threads: int = 0) -> dict[str, Rows]:
        inputs = {"a": a, "g": g, "columns": np.asarray(columns, _INDEX)}
        results: dict[str, tuple[tuple[int, ...], DTypeLike]] = {"residual": ((), a.dtype), "share": ((), a.dtype), "rank": ((), np.int64)}
        results |= {"coefficients": ((columns.shape[1],), a.dtype), "finite": ((), np.int8)}
        call = lambda i, o: self._module.project(i["a"], i["g"], i["columns"], rtol, *o.values(), self._stream)  # noqa: E731
        return self._in_pieces("bottleneck", _batch_of(a, g, columns), inputs, results, call)

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
        inputs = {"a": a, "g": g, "given": np.asarray(given, _INDEX)}
        if candidates is not None:
            inputs["candidates"] = candidates
        results = {"indices": ((budget,), np.int64), "residuals": ((budget,), a.dtype), "finite": ((), np.int8)}

        def call(i: dict[str, Any], o: dict[str, Any]) -> None:
            self._module.choose_columns(i["a"], i["g"], i.get("candidates"), i["given"], rule, guard, *o.values(), self._stream)

        return self._in_pieces("choose_columns", _batch_of(*inputs.values()), inputs, results, call)


def _batch_of(*arguments: Rows) -> int:
    """Rows of the result: one row holds for all students, and there may be none of them."""
    sizes = [rows.shape[0] for rows in arguments]
    return 0 if 0 in sizes else max(sizes)


def _pairs(z: np.ndarray) -> np.ndarray:
    """Complex numbers [...] as pairs [..., 2]."""
    return np.ascontiguousarray(z).view(np.float64).reshape(*z.shape, 2)
