"""Which kernels run a call: those of the processor where its arrays live, or where the caller sends them."""

from __future__ import annotations

from collections.abc import Iterable

from .arrays import check_reachable, current_stream, device_number, is_torch, on_device, stream_handle
from .compiled import cuda_module
from .cuda import CudaKernels
from .host import HostKernels
from .kernels import Kernels
from .selection import CUDA_LEAST_PATHS, choose


def kernels_for(backend: str, stream: object = None, **arrays: object) -> Kernels:
    """The kernels for a call with these arrays, by argument name. auto: a GPU if the arrays live there, else the CPU.

    Errors: ValueError where the backend is not there or is not where the arrays live, or where they live in several places; TypeError
    for what is no stream.
    """
    for name, value in arrays.items():
        check_reachable(name, value)
    away = {name: value for name, value in arrays.items() if on_device(value)}
    if not away:
        torch = any(is_torch(value) for value in arrays.values())
        if choose(backend) == "cuda":
            return CudaKernels(cuda_module()[0], 0, 0 if stream is None else stream_handle(stream), torch=torch)
        if stream is not None:
            raise ValueError('stream: only for device arrays or backend="cuda", this call runs on the CPU')
        return HostKernels(torch)
    if backend == "cpu":
        raise ValueError(f"backend: expected auto or cuda, got 'cpu', but {_listed(away)} on a GPU")
    choose("cuda")
    module = cuda_module()[0]
    here = [name for name, value in arrays.items() if name not in away and name != "allocation" and _is_array(value)]
    if here:
        raise ValueError(f"arrays on different devices: {_listed(away)} on a GPU, {_listed(here)} on the CPU; expected all in one place")
    devices = {name: device_number(module, name, value) for name, value in away.items()}
    if len(set(devices.values())) > 1:
        came = ", ".join(f"{name} on cuda:{device}" for name, device in devices.items())
        raise ValueError(f"arrays on different devices: {came}; expected all on one")
    leader, device = next(iter(away.values())), next(iter(devices.values()))
    handle = current_stream(leader) if stream is None else stream_handle(stream)
    if stream is None:  # with a stream of their own, callers order their arrays before it
        for earlier in {current_stream(value) for value in away.values()} - {handle}:
            module.let_wait(device, later=handle, earlier=earlier)
    return CudaKernels(module, device, handle, leader)


def kernels_for_paths(count: int) -> Kernels:
    """The kernels that follow `count` complex paths where the caller does not choose."""
    return kernels_for(choose("auto", count, CUDA_LEAST_PATHS))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return f"{', '.join(names[:-1])} and {names[-1]} live" if len(names) > 1 else f"{names[0]} lives"


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")
