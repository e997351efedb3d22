"""Arrays of other libraries (numpy, torch, cupy, DLPack, `__cuda_array_interface__`): where they live, how they come in and go back, and
on which stream their library works. Device arrays are passed on without copies."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._checks import no_mask
from .compiled import cuda_module

_CUDA_TYPES = (2, 13)  # of DLPack: memory of a CUDA device, managed memory
_HOST_TYPES = (1, 3, 11)  # the CPU's, pinned for CUDA or ROCm


def on_device(value: Any) -> bool:
    """Whether the array lives on a GPU."""
    if isinstance(value, (np.ndarray, list, tuple, int, float)) or value is None:
        return False
    if is_torch(value):
        return bool(value.is_cuda)
    return _dlpack_device(value)[0] in _CUDA_TYPES or hasattr(value, "__cuda_array_interface__")


def _dlpack_device(value: Any) -> tuple[int, int]:
    """(device type, number) as DLPack counts them; (0, 0) where the array does not say."""
    if not (hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__")):
        return 0, 0
    kind, number = value.__dlpack_device__()
    return int(kind), int(number)


def check_reachable(name: str, value: Any) -> None:
    """ValueError for an array in a memory that neither the CPU nor a CUDA device reads, by DLPack's word."""
    if not isinstance(value, np.ndarray) and (kind := _dlpack_device(value)[0]) not in (0, *_HOST_TYPES, *_CUDA_TYPES):
        raise ValueError(f"{name}: expected an array of the CPU or of a CUDA device, got one of DLPack device type {kind}")


def _library_of(value: object) -> str:
    """The package an array comes from; a class that a caller derived from cupy's or torch's counts as theirs."""
    roots = [kind.__module__.partition(".")[0] for kind in type(value).__mro__]
    return next((root for root in roots if root in ("cupy", "torch")), roots[0])


def _by_dlpack(value: Any) -> bool:
    """Whether a device array comes by DLPack, which orders streams: cupy and torch say theirs, and that of our own is known."""
    return _library_of(value) not in ("cupy", "torch", "sublearn") and _dlpack_device(value)[0] in _CUDA_TYPES


def is_torch(value: object) -> bool:
    """Whether the value is a tensor of torch, on whatever device."""
    return _library_of(value) == "torch" and hasattr(value, "data_ptr")


def to_numpy(name: str, value: Any) -> np.ndarray:
    """An array of the CPU as numpy, without a copy where the library allows it (numpy, torch, DLPack); a device array is copied.

    Errors: TypeError for a masked array, ValueError for a ragged list.
    """
    if on_device(value):
        module, why = cuda_module()
        if module is None:
            raise ValueError(f"{name}: lives on a GPU, but {why}")
        stream = current_stream(value)
        return device_view(module, name, value, stream).numpy(stream)
    no_mask(name, value)
    if isinstance(value, np.ndarray):
        return np.asarray(value)  # np.matrix, which has no batch axis, becomes an array
    if is_torch(value):
        return value.detach().numpy()
    if hasattr(value, "__dlpack__"):
        check_reachable(name, value)
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError):
            pass  # numpy scalars, and exporters that refuse: the plain way says what is wrong
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected an array, got a ragged {type(value).__name__}") from None


def device_view(module: Any, name: str, value: Any, stream: int) -> Any:
    """The compiled module's view of a device array, ready on `stream`; cupy and torch copy a strided one. Nothing is written to it."""
    if isinstance(value, module.Array):
        if 0 <= value.stream != stream:
            module.let_wait(value.device, later=stream, earlier=value.stream)
        return value
    if _by_dlpack(value):
        handle = stream or 1  # the default stream's number in DLPack
        try:
            capsule = value.__dlpack__(stream=handle, max_version=(1, 0))
        except TypeError:  # an exporter from before DLPack 1.0
            capsule = value.__dlpack__(stream=handle)
        return module.Array.from_dlpack(name, capsule, stream)
    if is_torch(value):
        value = value.detach()
        if not value.is_contiguous():
            with _on_stream(value, device_number(module, name, value), stream):
                value = value.contiguous()
    elif hasattr(value, "flags") and not getattr(value.flags, "c_contiguous", True):
        with _on_stream(value, device_number(module, name, value), stream):
            value = importlib.import_module("cupy").ascontiguousarray(value)
    about = value.__cuda_array_interface__
    shape, dtype, data = tuple(about["shape"]), np.dtype(about["typestr"]), about["data"][0] or 0
    if about.get("mask") is not None:
        raise ValueError(f"{name}: expected an array without a mask")
    strides = about.get("strides")
    expected = [dtype.itemsize * math.prod(shape[k + 1 :]) for k in range(len(shape))]
    if strides is not None and 0 not in shape and any(s != e for s, e, n in zip(strides, expected, shape) if n > 1):
        raise ValueError(f"{name}: expected a C-contiguous device array, got strides {tuple(strides)}")
    return module.Array.view(data, list(shape), dtype, device_number(module, name, value), value)


@contextmanager
def _on_stream(of: Any, device: int, stream: int) -> Iterator[None]:
    """The library of `of` (torch or cupy) works on our stream: its kernels are in our order, its allocator reuses memory in that order."""
    if _library_of(of) == "torch":
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


def device_number(module: Any, name: str, value: Any) -> int:
    """The number of the GPU an array lives on."""
    if isinstance(value, module.Array):
        return value.device
    if is_torch(value):  # its __cuda_array_interface__ raises where gradients are asked for
        return value.device.index
    if _by_dlpack(value):
        return _dlpack_device(value)[1]
    data = value.__cuda_array_interface__["data"][0]
    device = module.device_of(data) if data else getattr(getattr(value, "device", None), "id", 0)  # cupy.cuda.Device
    if device < 0:
        raise ValueError(f"{name}: its __cuda_array_interface__ does not point to device memory")
    return device


def current_stream(value: Any) -> int:
    """The stream on which the array's library works now."""
    if is_torch(value):
        return importlib.import_module("torch").cuda.current_stream(value.device).cuda_stream
    if _library_of(value) == "cupy":
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


def as_torch(array: np.ndarray) -> Any:
    """A torch tensor of the CPU, without a copy where the array is C-ordered."""
    return importlib.import_module("torch").from_numpy(np.ascontiguousarray(array))


def empty_like_caller(module: Any, leader: Any, shape: tuple[int, ...], dtype: np.dtype, device: int, stream: int) -> Any:
    """A new device array in the library of the caller's array `leader`; of the compiled module where that is neither torch nor cupy."""
    library = _library_of(leader)
    if library == "torch":
        torch = importlib.import_module("torch")
        with _on_stream(leader, device, stream):
            return torch.empty(shape, dtype=getattr(torch, np.dtype(dtype).name), device=f"cuda:{device}")
    if library == "cupy":
        with _on_stream(leader, device, stream):
            return importlib.import_module("cupy").empty(shape, dtype)
    return module.Array(list(shape), np.dtype(dtype), device, stream, False)
