"""Where a call runs and where its arrays live: numpy, torch or DLPack on the CPU; the same, cupy or `__cuda_array_interface__` on a GPU.

A place is made once per call. Its methods carry the names and signatures of the compiled CPU functions, so that the operations read
the same for both: rows in, results out, where the input lives. Device arrays are passed on without copies, on cupy's or torch's current
stream (or `stream=`); numpy arrays with backend="cuda" are carried to the GPU and back, in pieces that fit its memory. No mathematics here.

SUBLEARN_CUDA_MODULE chooses the compiled module: "cuda" (default), "emulated" (the kernels run on the CPU, for tests), "off".
SUBLEARN_CUDA_MEMORY: bytes of device memory a call may use (default: 80 % of what is free).
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from .._checks import no_mask
from .compiled import cpu

_SHARE = 0.8  # of the free device memory: the rest is for other users and the kernels' workspace, which depends on the network and the
# number of multiprocessors, not on the batch
_SURELY_THERE = 2**26  # bytes that are taken without asking the driver how much is free, which takes longer than a small call
_INDEX = np.dtype(np.intc)


_forked = False  # from a process that had started CUDA


@cache
def compiled() -> tuple[Any, str]:
    """(the CUDA module, "") or (None, why there is none). Never raises: a missing driver or module is an answer."""
    name = os.environ.get("SUBLEARN_CUDA_MODULE", "cuda")
    if name == "off":
        return None, "switched off by SUBLEARN_CUDA_MODULE=off"
    if name not in ("cuda", "emulated"):
        return None, f"SUBLEARN_CUDA_MODULE: expected cuda, emulated or off, got {name!r}"
    if _forked:
        return None, (
            "this process was forked from one that had started CUDA, which does not survive a fork; start it with "
            'multiprocessing.get_context("spawn")'
        )
    try:
        module = importlib.import_module({"cuda": "sublearn._cuda", "emulated": "sublearn._cuda_emulated"}[name])
    except ModuleNotFoundError:
        return None, "this build of sublearn has no CUDA module (docs/gpu.md: Build)"
    except ImportError as error:
        return None, f"the CUDA module cannot be imported: {error}"
    if module.device_count() == 0:
        return None, f"no GPU: {module.why_no_device()}"
    return module, ""


def _after_fork() -> None:
    """To a forked child the driver of its parent answers every call with an error."""
    global _forked
    if compiled.cache_info().currsize and (module := compiled()[0]) is not None and not module.EMULATED:
        _forked = True
        compiled.cache_clear()


os.register_at_fork(after_in_child=_after_fork)


# ---- arrays of other libraries -----------------------------------------------------------------------------------------------


def on_device(value: Any) -> bool:
    """Whether the array lives on a GPU."""
    if isinstance(value, (np.ndarray, list, tuple, int, float)) or value is None:
        return False
    if _torch(value):
        return bool(value.is_cuda)
    return _dlpack_device(value)[0] in _CUDA_TYPES or hasattr(value, "__cuda_array_interface__")


_CUDA_TYPES = (2, 13)  # of DLPack: memory of a CUDA device, managed memory
_HOST_TYPES = (1, 3, 11)  # the CPU's, pinned for CUDA or ROCm


def _dlpack_device(value: Any) -> tuple[int, int]:
    """(device type, number) as DLPack counts them; (0, 0) where the array does not say."""
    if not (hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__")):
        return 0, 0
    kind, number = value.__dlpack_device__()
    return int(kind), int(number)


def _check_reachable(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray) and (kind := _dlpack_device(value)[0]) not in (0, *_HOST_TYPES, *_CUDA_TYPES):
        raise ValueError(f"{name}: expected an array of the CPU or of a CUDA device, got one of DLPack device type {kind}")


def _library(value: object) -> str:
    """The package an array comes from; a class that a caller derived from cupy's or torch's counts as theirs."""
    roots = [kind.__module__.partition(".")[0] for kind in type(value).__mro__]
    return next((root for root in roots if root in ("cupy", "torch")), roots[0])


def _by_dlpack(value: Any) -> bool:
    """Whether a device array comes by DLPack, which orders streams: cupy and torch say theirs, and that of our own is known."""
    return _library(value) not in ("cupy", "torch", "sublearn") and _dlpack_device(value)[0] in _CUDA_TYPES


def _torch(value: object) -> bool:
    return _library(value) == "torch" and hasattr(value, "data_ptr")


def to_numpy(name: str, value: Any) -> np.ndarray:
    """An array of the CPU as numpy, without a copy where the library allows it (numpy, torch, DLPack); a device array is copied.

    Errors: TypeError for a masked array, ValueError for a ragged list.
    """
    if on_device(value):
        module, why = compiled()
        if module is None:
            raise ValueError(f"{name}: lives on a GPU, but {why}")
        stream = _current_stream(value)
        return _view(module, name, value, stream).numpy(stream)
    no_mask(name, value)
    if isinstance(value, np.ndarray):
        return np.asarray(value)  # np.matrix, which has no batch axis, becomes an array
    if _torch(value):
        return value.detach().numpy()
    if hasattr(value, "__dlpack__"):
        _check_reachable(name, value)
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError):
            pass  # numpy scalars, and exporters that refuse: the plain way says what is wrong
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected an array, got a ragged {type(value).__name__}") from None


def _view(module: Any, name: str, value: Any, stream: int) -> Any:
    """The compiled module's view of a device array, ready on `stream`; cupy and torch copy a strided one. Nothing is written to it."""
    if isinstance(value, module.Array):
        return value
    if _by_dlpack(value):
        handle = stream or 1  # the default stream's number in DLPack
        try:
            capsule = value.__dlpack__(stream=handle, max_version=(1, 0))
        except TypeError:  # an exporter from before DLPack 1.0
            capsule = value.__dlpack__(stream=handle)
        return module.Array.from_dlpack(name, capsule, stream)
    if _torch(value):
        value = value.detach()
        if not value.is_contiguous():
            with _on_stream(value, _device_of(module, name, value), stream):
                value = value.contiguous()
    elif hasattr(value, "flags") and not getattr(value.flags, "c_contiguous", True):
        with _on_stream(value, _device_of(module, name, value), stream):
            value = importlib.import_module("cupy").ascontiguousarray(value)
    about = value.__cuda_array_interface__
    shape, dtype, data = tuple(about["shape"]), np.dtype(about["typestr"]), about["data"][0] or 0
    if about.get("mask") is not None:
        raise ValueError(f"{name}: expected an array without a mask")
    strides = about.get("strides")
    expected = [dtype.itemsize * math.prod(shape[k + 1 :]) for k in range(len(shape))]
    if strides is not None and 0 not in shape and any(s != e for s, e, n in zip(strides, expected, shape) if n > 1):
        raise ValueError(f"{name}: expected a C-contiguous device array, got strides {tuple(strides)}")
    return module.Array.view(data, list(shape), dtype, _device_of(module, name, value), value)


@contextmanager
def _on_stream(of: Any, device: int, stream: int) -> Iterator[None]:
    """The library of `of` (torch or cupy) works on our stream: its kernels are in our order, its allocator reuses memory in that order."""
    if _library(of) == "torch":
        cuda = importlib.import_module("torch").cuda
        if cuda.current_stream(device).cuda_stream == stream:
            yield
        else:
            with cuda.stream(cuda.ExternalStream(stream, device=device)):
                yield
        return
    cuda = importlib.import_module("cupy").cuda
    with cuda.Device(device):
        if cuda.get_current_stream().ptr == stream:
            yield
        else:
            with _external(cuda, stream, device):
                yield


class _Handle:
    """The address of a stream, in the words of the CUDA stream protocol."""

    def __init__(self, stream: int):
        self._stream = stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._stream


def _external(cuda: Any, stream: int, device: int) -> Any:
    """cupy's view of a stream: from 14 on by protocol."""
    by_protocol = getattr(cuda.Stream, "from_external", None)
    return by_protocol(_Handle(stream)) if by_protocol else cuda.ExternalStream(stream, device)


def _device_of(module: Any, name: str, value: Any) -> int:
    """The number of the GPU an array lives on."""
    if isinstance(value, module.Array):
        return value.device
    if _torch(value):  # its __cuda_array_interface__ raises where gradients are asked for
        return value.device.index
    if _by_dlpack(value):
        return _dlpack_device(value)[1]
    data = value.__cuda_array_interface__["data"][0]
    device = module.device_of(data) if data else getattr(getattr(value, "device", None), "id", 0)  # cupy.cuda.Device
    if device < 0:
        raise ValueError(f"{name}: its __cuda_array_interface__ does not point to device memory")
    return device


def _current_stream(value: Any) -> int:
    """The stream on which the array's library works now."""
    if _torch(value):
        return importlib.import_module("torch").cuda.current_stream(value.device).cuda_stream
    if _library(value) == "cupy":
        return importlib.import_module("cupy").cuda.get_current_stream().ptr
    if _by_dlpack(value):
        return 0  # the exporter is told, and makes the default stream wait for the array
    announced = getattr(value, "__cuda_array_interface__", {}).get("stream")
    return 0 if announced in (None, 1) else int(announced)


def stream_handle(stream: object) -> int:
    """The number behind a stream of cupy, torch or `__cuda_stream__`, or the number itself."""
    if isinstance(stream, int) and not isinstance(stream, bool) and stream >= 0:
        return stream
    for attribute in ("ptr", "cuda_stream"):
        if isinstance(getattr(stream, attribute, None), int):
            return getattr(stream, attribute)
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    raise TypeError(f"stream: expected a stream of cupy or torch, an object with __cuda_stream__, or its address, got {stream!r}")


# ---- memory -------------------------------------------------------------------------------------------------------------------


def memory_limit(module: Any, device: int) -> int:
    """Bytes of device memory a call may use."""
    given = os.environ.get("SUBLEARN_CUDA_MEMORY")
    if given is None:
        return int(_SHARE * module.free_bytes(device))
    if not given.isdigit() or int(given) < 1:
        raise ValueError(f"SUBLEARN_CUDA_MEMORY: expected a number of bytes, got {given!r}")
    return int(given)


def rows_at_once(batch: int, bytes_per_row: int, fixed: int, limit: int, operation: str) -> int:
    """How many rows of a batch fit `limit` bytes, `fixed` of them needed whatever the number. MemoryError if not even one does."""
    room = (limit - fixed) // max(1, bytes_per_row)
    if room < 1:
        raise MemoryError(
            f"{operation}: one student needs {bytes_per_row} bytes of device memory beside {fixed} for the call; {limit} are free"
        )
    return min(batch, room)


# ---- places -------------------------------------------------------------------------------------------------------------------


def place(backend: str, stream: object = None, **arrays: object) -> HostPlace | CudaPlace:
    """Where a call with these arrays runs. auto: on the GPU if the arrays live there, else on the CPU."""
    from .selection import choose

    for name, value in arrays.items():
        _check_reachable(name, value)
    away = {name: value for name, value in arrays.items() if on_device(value)}
    torch = next((value for value in arrays.values() if _torch(value)), None)
    if not away:
        if choose(backend) == "cuda":
            return CudaPlace(compiled()[0], 0, 0 if stream is None else stream_handle(stream), None, torch)
        if stream is not None:
            raise ValueError('stream: only for device arrays or backend="cuda", this call runs on the CPU')
        return HostPlace(torch)
    if backend == "cpu":
        raise ValueError(f"backend: expected auto or cuda, got 'cpu', but {_list(away)} on a GPU")
    choose("cuda")
    module = compiled()[0]
    here = [name for name, value in arrays.items() if name not in away and name != "allocation" and _has_numbers(value)]
    if here:
        raise ValueError(f"arrays on different devices: {_list(away)} on a GPU, {_list(here)} on the CPU; expected all in one place")
    devices = {name: _device_of(module, name, value) for name, value in away.items()}
    if len(set(devices.values())) > 1:
        came = ", ".join(f"{name} on cuda:{device}" for name, device in devices.items())
        raise ValueError(f"arrays on different devices: {came}; expected all on one")
    leader, device = next(iter(away.values())), next(iter(devices.values()))
    handle = _current_stream(leader) if stream is None else stream_handle(stream)
    if stream is None:  # with a stream of their own, callers order their arrays before it
        for earlier in {_current_stream(value) for value in away.values()} - {handle}:
            module.let_wait(device, later=handle, earlier=earlier)
    return CudaPlace(module, device, handle, leader, None)


def _list(names: Any) -> str:
    names = list(names)
    return f"{', '.join(names[:-1])} and {names[-1]} live" if len(names) > 1 else f"{names[0]} lives"


def _has_numbers(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


class HostPlace:
    """The CPU: the compiled functions themselves; torch tensors come back as torch tensors."""

    device = False
    largest_side = 512  # of a matrix, for rank_real; the largest measured, where the kernel is 4 times faster than an SVD (docs/speed.md)

    def __init__(self, torch: object = None):
        self._torch = torch is not None

    def __getattr__(self, name: str) -> Any:
        return getattr(cpu, name)

    def array(self, name: str, value: object) -> Any:
        """`value`, or the module's view of it where it is a device array."""
        return value

    def download(self, array: np.ndarray) -> np.ndarray:
        return array

    def take(self, rows: np.ndarray, which: np.ndarray) -> np.ndarray:
        return rows[which]

    def rank_real(self, a: np.ndarray, rtol: float, threads: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Ranks, the numbers of those that are not proven, and that of the first matrix that is not finite, or -1."""
        ranks, certified, finite = cpu.rank_real(a, rtol, threads)
        return ranks, np.flatnonzero(certified == 0), -1 if finite.all() else int(np.argmin(finite))

    def host(self) -> HostPlace:
        return self

    def give(self, result: np.ndarray) -> Any:
        """A numpy result in the library of the input."""
        if not (self._torch and isinstance(result, np.ndarray)) or result.dtype.kind in "US":
            return result
        return importlib.import_module("torch").from_numpy(np.ascontiguousarray(result))


class CudaPlace:
    """A GPU. Rows are numpy arrays (carried there and back) or views of device arrays (used where they are)."""

    largest_side = 128  # of a matrix, for rank_real: what fits the shared memory of a block

    def __init__(self, module: Any, device: int, stream: int, leader: Any, torch: object):
        self._module, self._device, self._stream, self._leader, self._host_torch = module, device, stream, leader, torch is not None
        self.device = leader is not None  # results are device arrays

    def array(self, name: str, value: object) -> Any:
        return _view(self._module, name, value, self._stream) if on_device(value) else value

    def host(self) -> CudaPlace:
        """The same GPU and stream, for numpy rows and results."""
        return CudaPlace(self._module, self._device, self._stream, None, None)

    def give(self, result: Any) -> Any:
        """A numpy result in the library, and on the device, of the input."""
        if not isinstance(result, np.ndarray) or result.dtype.kind in "US":
            return result
        if not self.device:
            return HostPlace(self._host_torch or None).give(result)
        out, view = self._empty(result.shape, result.dtype)
        view.upload(np.ascontiguousarray(result), self._stream)
        return out

    def download(self, array: Any) -> np.ndarray:
        return array if isinstance(array, np.ndarray) else _view(self._module, "result", array, self._stream).numpy(self._stream)

    def take(self, rows: Any, which: np.ndarray) -> np.ndarray:
        """Some rows, on the CPU."""
        if isinstance(rows, np.ndarray):
            return rows[which]
        return rows.take(np.asarray(which, _INDEX), self._stream)

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Any, Any]:
        """A new device array in the caller's library, and the module's view of it."""
        library = _library(self._leader)
        if library == "torch":
            torch = importlib.import_module("torch")
            with _on_stream(self._leader, self._device, self._stream):
                out = torch.empty(shape, dtype=getattr(torch, np.dtype(dtype).name), device=f"cuda:{self._device}")
        elif library == "cupy":
            with _on_stream(self._leader, self._device, self._stream):
                out = importlib.import_module("cupy").empty(shape, dtype)
        else:
            out = self._module.Array(list(shape), np.dtype(dtype), self._device, self._stream, False)
        return out, _view(self._module, "result", out, self._stream)

    def _of_a_call(self, shape: Any, dtype: Any) -> Any:
        """Device memory for as long as a call lasts, taken and given back in the order of its stream: nothing waits."""
        return self._module.Array(list(shape), np.dtype(dtype), self._device, self._stream, True)

    def _run(
        self, operation: str, batch: int, inputs: dict[str, Any], results: dict[str, tuple], call: Any, workspace: int = 0, beside: int = 0
    ) -> dict[str, Any]:
        """call(inputs, results) for as many rows at a time as fit. inputs: rows [batch or 1, ...]; results: name -> (row's shape, dtype).
        workspace, beside: further device bytes per row, and whatever the number of rows."""
        host = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)}
        size = lambda shape, dtype: int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize  # noqa: E731
        per_row = workspace + sum(a.nbytes // batch for a in host.values() if len(a) == batch > 1)
        fixed = beside + sum(a.nbytes for a in host.values() if not len(a) == batch > 1)
        if not self.device:
            per_row += sum(size(*row) for row in results.values())
        whole = {}
        for name, (shape, dtype) in results.items():
            whole[name] = self._empty((batch, *shape), dtype) if self.device else np.empty((batch, *shape), dtype)
        if batch == 0:
            return {name: out[0] for name, out in whole.items()} if self.device else whole
        step = batch
        if per_row * batch + fixed > _SURELY_THERE or "SUBLEARN_CUDA_MEMORY" in os.environ:
            step = rows_at_once(batch, per_row, fixed, memory_limit(self._module, self._device), operation)
        shared = {name: self._carry(value) for name, value in inputs.items() if not len_of(value) == batch > 1}
        for first in range(0, batch, step):
            last = min(batch, first + step)
            rows = {name: (shared[name] if name in shared else self._carry(value, first, last)) for name, value in inputs.items()}
            if self.device:
                call(rows, {name: view.rows(first, last) for name, (_, view) in whole.items()})
                continue
            pieces = {name: self._of_a_call([last - first, *shape], dtype) for name, (shape, dtype) in results.items()}
            call(rows, pieces)
            for name, piece in pieces.items():
                whole[name][first:last] = piece.numpy(self._stream)
        return {name: out[0] for name, out in whole.items()} if self.device else whole

    def _carry(self, value: Any, first: int = 0, last: int | None = None) -> Any:
        if not isinstance(value, np.ndarray):
            return value if last is None else value.rows(first, last)
        part = np.ascontiguousarray(value if last is None else value[first:last])
        view = self._of_a_call(part.shape, part.dtype)
        view.upload(part, self._stream)
        return view

    # The compiled functions, with the signatures of _cpu; `threads` means nothing here.

    def outputs(self, shape, theta, x, threads=0):
        batch = _batch_of(theta, x)
        call = lambda i, o: self._module.outputs(shape, i["theta"], i["x"], o["out"], self._stream)  # noqa: E731
        return self._run("outputs", batch, {"theta": theta, "x": x}, {"out": ((shape.equations,), theta.dtype)}, call)["out"]

    def jacobian(self, shape, theta, x, indices, threads=0):
        batch = _batch_of(theta, x, indices)
        inputs = {"theta": theta, "x": x, "indices": np.asarray(indices, _INDEX)}
        call = lambda i, o: self._module.jacobian(shape, i["theta"], i["x"], i["indices"], o["out"], self._stream)  # noqa: E731
        return self._run("jacobian", batch, inputs, {"out": ((shape.equations, indices.shape[1]), theta.dtype)}, call)["out"]

    def jacobian_mod(self, shape, theta, x, hidden_seed, p, threads=0):
        call = lambda i, o: self._module.jacobian_mod(shape, i["theta"], i["x"], hidden_seed, p, o["out"], self._stream)  # noqa: E731
        results = {"out": ((shape.equations, shape.size), np.int64)}
        return self._run("jacobian_mod", len_of(theta), {"theta": theta, "x": x}, results, call)["out"]

    def fit(self, shape, theta, x, y, indices, steps, optimizer, lr, tol, threads=0):
        batch = _batch_of(theta, x, y, indices)
        inputs = {"theta": theta, "x": x, "y": y, "indices": np.asarray(indices, _INDEX)}
        learns = self._module.groups_used(shape, np.ascontiguousarray(indices, _INDEX))
        results = {"theta": ((shape.size,), theta.dtype), "loss": ((), theta.dtype), "steps": ((), np.int64), "status": ((), np.int8)}
        return self._run(
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

    def newton(self, shape, theta, x, y, indices, start_scale, starts, max_iterations, tol, seed, task, trials, threads=0, norm2=None):
        batch, iterations = len_of(trials), self._of_a_call([1], np.int64)
        inputs = {"theta": theta, "x": x, "y": y, "indices": np.asarray(indices, _INDEX), "trials": np.asarray(trials, np.uint32)}
        if norm2 is not None:
            inputs["norm2"] = norm2
        learns, total = self._module.groups_used(shape, np.ascontiguousarray(indices, _INDEX)), 0
        results = {"theta": ((shape.size,), np.float64), "loss": ((), np.float64), "found": ((), np.int32)}
        scale = np.asarray(start_scale).tolist()

        def call(i, o):
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

        out = self._run("newton", batch, inputs, results, call, workspace=4, beside=8 * shape.size + 16)  # a lock per student
        return {**out, "iterations": total}

    def continuation(
        self,
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
        stop_at_real=False,
        aim=1e-4,
        least_step=1e-10,
        max_steps=2000,
        sliced=False,
        threads=0,
    ):
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
        done = self._of_a_call([int(group.max()) + 1], np.int64)
        done.upload(np.full(done.shape, np.iinfo(np.int64).max), self._stream)

        def call(i, o):
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
            begun += len_of(i["start"])

        out = self._run("continuation", jobs, inputs, results, call, beside=8 * done.shape[0])
        return {**out, "end": out["end"].view(np.complex128)[..., 0]}

    def draw(self, shape, seed, task, first, count, shared, gains, recipe, threads=0):
        results = {
            "teacher": ((shape.size,), np.float64),
            "student": ((shape.size,), np.float64),
            "x": ((shape.inputs_size,), np.float64),
            "mask": ((shape.size,), np.bool_),
        }
        begun = 0

        def call(_, o):
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

        return self._run("draw_trials", count, {}, results, call)

    def rank_real(self, a, rtol, threads=0):
        """Ranks, the numbers of those that are not proven, and that of the first matrix that is not finite, or -1."""
        unproven, not_finite, begun = [], -1, 0

        def call(i, o):
            nonlocal not_finite, begun
            count = len_of(i["a"])
            certified, finite = self._of_a_call([count], np.int8), self._of_a_call([count], np.int8)
            self._module.rank_real(i["a"], rtol, o["rank"], certified, finite, self._stream)
            which, first = self._module.rank_questions(certified, finite, self._stream)
            unproven.append(begun + which.astype(np.int64))
            if not_finite < 0 <= first:
                not_finite = begun + first
            begun += count

        # beside the ranks, two flags and a place in the list of those that are not proven
        ranks = self._run("rank", len_of(a), {"a": a}, {"rank": ((), np.int64)}, call, workspace=6)["rank"]
        return ranks, np.concatenate(unproven), not_finite

    def rank_mod(self, a, p, threads=0):
        call = lambda i, o: self._module.rank_mod(i["a"], p, o["rank"], self._stream)  # noqa: E731
        return self._run("rank_mod", len_of(a), {"a": a}, {"rank": ((), np.int64)}, call)["rank"]


def len_of(rows: Any) -> int:
    return rows.shape[0]


def _batch_of(*arguments: Any) -> int:
    """Rows of the result: one row holds for all students, and there may be none of them."""
    sizes = [len_of(rows) for rows in arguments]
    return 0 if 0 in sizes else max(sizes)


def _pairs(z: np.ndarray) -> np.ndarray:
    """Complex numbers [...] as pairs [..., 2]."""
    return np.ascontiguousarray(z).view(np.float64).reshape(*z.shape, 2)
