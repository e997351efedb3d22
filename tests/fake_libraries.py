"""Stand-ins for cupy and torch's CUDA side in the emulator, where device memory is host memory: just what sublearn asks of them, so that
the adapters of `_devices.py` run in tests without a GPU. The true libraries: test_cuda.py."""

from __future__ import annotations

import types
from contextlib import contextmanager

import numpy as np

STREAM = 77  # the address of the libraries' current stream; the emulator does not look at it


class _Array:
    def __init__(self, array):
        self.of_numpy = array

    shape = property(lambda self: self.of_numpy.shape)
    ndim = property(lambda self: self.of_numpy.ndim)

    @property
    def __cuda_array_interface__(self):
        about = self.of_numpy.__array_interface__
        return {"shape": about["shape"], "typestr": about["typestr"], "data": about["data"], "strides": about["strides"], "version": 3}

    def reshape(self, *shape):
        return type(self)(self.of_numpy.reshape(*shape))

    def __getitem__(self, where):
        return type(self)(self.of_numpy[where])


def cupy() -> types.ModuleType:
    module = types.ModuleType("cupy")

    class ndarray(_Array):  # noqa: N801
        __module__ = "cupy"
        dtype = property(lambda self: self.of_numpy.dtype)
        flags = property(lambda self: types.SimpleNamespace(c_contiguous=self.of_numpy.flags.c_contiguous))
        device = types.SimpleNamespace(id=0)

    @contextmanager
    def device(number):
        assert number == 0
        yield

    module.ndarray = ndarray
    module.asarray = lambda a: ndarray(np.array(a))
    module.ascontiguousarray = lambda a: ndarray(np.ascontiguousarray(a.of_numpy))
    module.empty = lambda shape, dtype: ndarray(np.empty(shape, dtype))
    module.cuda = types.SimpleNamespace(Device=device, get_current_stream=lambda: types.SimpleNamespace(ptr=STREAM),
                                        ExternalStream=lambda pointer, number: device(number))
    return module


def torch() -> types.ModuleType:
    module = types.ModuleType("torch")

    class Tensor(_Array):
        __module__ = "torch"
        is_cuda, device = True, types.SimpleNamespace(type="cuda", index=0)
        dtype = property(lambda self: getattr(module, self.of_numpy.dtype.name))
        data_ptr = property(lambda self: lambda: self.of_numpy.ctypes.data)

        def detach(self):
            return self

        def contiguous(self):
            return Tensor(np.ascontiguousarray(self.of_numpy))

    @contextmanager
    def stream(which):
        yield

    for name in ("float32", "float64", "int8", "int32", "int64", "uint32", "bool"):
        setattr(module, name, np.dtype(name))
    module.Tensor = Tensor
    module.asarray = lambda a: Tensor(np.array(a))
    module.empty = lambda shape, dtype, device: Tensor(np.empty(shape, dtype))
    module.cuda = types.SimpleNamespace(current_stream=lambda device: types.SimpleNamespace(cuda_stream=STREAM), stream=stream,
                                        ExternalStream=lambda pointer, device: None)
    return module
