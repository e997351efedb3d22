"""Stand-ins for cupy and torch's CUDA side in the emulator, where device memory is host memory: just what sublearn asks of them, so that
the adapters of `backend/arrays.py` run in tests without a GPU. The true libraries: test_cuda.py."""

from __future__ import annotations

import ctypes
import types
from contextlib import contextmanager

import numpy as np

from sublearn.backend.compiled import cuda_module

STREAM = 77  # the address of the libraries' current stream; the emulator takes it for one in no order with the default stream


class _Streams:
    """The current stream of a library, and on which one it copied an array or made a new one."""

    def __init__(self):
        self.current, self.worked_on = STREAM, []

    def works(self, result):
        self.worked_on.append(self.current)
        return result

    @contextmanager
    def on(self, pointer):
        before, self.current = self.current, pointer
        yield
        self.current = before


_memory = []  # of arrays that may be gone: the libraries give memory back in the order of their stream, numpy at once


class _Array:
    def __init__(self, array):
        self.of_numpy = array
        _memory.append(array)

    def get(self):
        """The numbers, once the device is done: as cupy's `get`."""
        cuda_module()[0].finish()
        _memory.clear()
        return self.of_numpy

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

    class ndarray(_Array):
        __module__ = "cupy"
        dtype = property(lambda self: self.of_numpy.dtype)
        flags = property(lambda self: types.SimpleNamespace(c_contiguous=self.of_numpy.flags.c_contiguous))
        device = types.SimpleNamespace(id=0)

    @contextmanager
    def device(number):
        assert number == 0
        yield

    module.streams = streams = _Streams()
    module.ndarray = ndarray
    module.asarray = lambda a: ndarray(np.array(a))
    module.ascontiguousarray = lambda a: streams.works(ndarray(np.ascontiguousarray(a.of_numpy)))
    module.empty = lambda shape, dtype: streams.works(ndarray(np.empty(shape, dtype)))
    by_protocol = types.SimpleNamespace(from_external=lambda handle: streams.on(handle.__cuda_stream__()[1]))
    module.cuda = types.SimpleNamespace(
        Device=device, Stream=by_protocol, get_current_stream=lambda: types.SimpleNamespace(ptr=streams.current)
    )
    return module


def torch() -> types.ModuleType:
    module = types.ModuleType("torch")

    class Tensor(_Array):
        __module__ = "torch"
        is_cuda, device, requires_grad = True, types.SimpleNamespace(type="cuda", index=0), False
        dtype = property(lambda self: getattr(module, self.of_numpy.dtype.name))
        data_ptr = property(lambda self: lambda: self.of_numpy.ctypes.data)

        @property
        def __cuda_array_interface__(self):
            if self.requires_grad:
                raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")
            return super().__cuda_array_interface__

        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, **options):
            raise BufferError("sublearn reads torch's memory, on torch's current stream, and asks for no export")

        def requires_grad_(self):
            assert self.of_numpy.dtype.kind == "f"
            self.requires_grad = True
            return self

        def detach(self):
            return Tensor(self.of_numpy)

        def is_contiguous(self):
            return self.of_numpy.flags.c_contiguous

        def contiguous(self):
            return streams.works(Tensor(np.ascontiguousarray(self.of_numpy)))

    module.streams = streams = _Streams()
    for name in ("float32", "float64", "int8", "int32", "int64", "uint32", "bool"):
        setattr(module, name, np.dtype(name))
    module.Tensor = Tensor
    module.asarray = lambda a: Tensor(np.array(a))
    module.empty = lambda shape, dtype, device: streams.works(Tensor(np.empty(shape, dtype)))
    module.cuda = types.SimpleNamespace(
        current_stream=lambda device: types.SimpleNamespace(cuda_stream=streams.current),
        stream=lambda which: which,
        ExternalStream=lambda pointer, device: streams.on(pointer),
    )
    return module


# DLPack, written down a second time, in ctypes: an exporter, and a reader of what ours exports.


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_NAMES = {False: b"dltensor", True: b"dltensor_versioned"}  # the capsule keeps a pointer to its name


_ended = []
_exports = {}  # what their deleters need, until those are called


class DlpackOnly:
    """An array on "GPU" `device` that offers DLPack and nothing else, as jax's do. `ended` counts the exports that were given back."""

    def __init__(self, array, device=0, versioned=True, read_only=False, dtype=None, kind=2, inside=None):
        self.of_numpy, self.ended, self.streams = array, 0, []
        self._device, self._versioned, self._read_only, self._kind, self._dtype = device, versioned, read_only, kind, dtype
        self._inside = kind if inside is None else inside  # the capsule's own device type

    shape = property(lambda self: self.of_numpy.shape)
    dtype = property(lambda self: self.of_numpy.dtype)

    def __dlpack_device__(self):
        return self._kind, self._device

    def __dlpack__(self, *, stream=None, **options):
        if options and not self._versioned:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        a = self.of_numpy
        code, bits = self._dtype or ({"i": 0, "u": 1, "f": 2, "b": 6}[a.dtype.kind], 8 * a.itemsize)
        shape, strides = (ctypes.c_int64 * a.ndim)(*a.shape), (ctypes.c_int64 * a.ndim)(*(s // a.itemsize for s in a.strides))
        ended = _Deleter(self._end)
        tensor = _Tensor(
            a.ctypes.data - 8, self._inside, self._device, a.ndim, code, bits, 1, shape, None if a.flags.c_contiguous else strides, 8
        )
        held = _Versioned(1, 1, None, ended, int(self._read_only), tensor) if self._versioned else _Managed(tensor, None, ended)
        _exports[ctypes.addressof(held)] = held, shape, strides, ended
        return _new(ctypes.addressof(held), _NAMES[self._versioned], None)

    def _end(self, held):
        self.ended += 1
        _ended.append(_exports.pop(held))  # while its own deleter runs, which is in it
        del _ended[:-1]


def read_capsule(capsule) -> tuple[int, int, np.ndarray]:
    """(device type, device, the numbers) of an unversioned capsule, once the device is done; gives it back, as a consumer does."""
    cuda_module()[0].finish()
    held = _Managed.from_address(_pointer(capsule, b"dltensor"))
    t = held.tensor
    dtype = np.dtype({0: "int", 1: "uint", 2: "float", 6: "bool"}[t.code] + ("" if t.code == 6 else str(t.bits)))
    shape, strides = t.shape[: t.ndim], [s * dtype.itemsize for s in t.strides[: t.ndim]]
    size = int(np.prod(shape)) * dtype.itemsize
    numbers = np.ndarray(shape, dtype, (ctypes.c_char * size).from_address(t.data + t.byte_offset), 0, strides).copy()
    device = t.device_type, t.device
    ctypes.pythonapi.PyCapsule_SetName(ctypes.py_object(capsule), b"used_dltensor")
    held.deleter(ctypes.addressof(held))
    return *device, numbers
