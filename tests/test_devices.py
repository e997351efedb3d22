"""Arrays of other libraries on the CPU, and what is said where there is no GPU. Calls on GPUs: test_cuda.py."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

import sublearn as sl
from sublearn.backend.arrays import to_numpy
from sublearn.backend.compiled import cuda_module
from sublearn.backend.memory import rows_at_once
from tests.cases import NETWORKS, students


class OnlyDlpack:
    """An array of the CPU that offers nothing but DLPack."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_dlpack_without_a_copy():
    net = NETWORKS[0]
    theta, x, _ = students(net, 5)
    assert np.shares_memory(to_numpy("theta", OnlyDlpack(theta)), theta)
    np.testing.assert_array_equal(sl.outputs(net, OnlyDlpack(theta), OnlyDlpack(x)), sl.outputs(net, theta, x))
    assert sl.rank(OnlyDlpack(theta[None])).tolist() == [5]


def test_torch_tensors_of_the_cpu():
    torch = pytest.importorskip("torch")
    net = NETWORKS[0]
    theta, x, y = students(net, 5)
    tensors = [torch.from_numpy(a) for a in (theta, x, y)]
    assert np.shares_memory(to_numpy("theta", tensors[0]), theta)
    out = sl.outputs(net, *tensors[:2])
    assert isinstance(out, torch.Tensor)
    np.testing.assert_array_equal(out.numpy(), sl.outputs(net, theta, x))
    fitted = sl.fit(net, *tensors, np.ones(net.size, bool), steps=3)
    assert isinstance(fitted.theta, torch.Tensor) and fitted.status.tolist() == ["steps done"] * 5
    assert isinstance(sl.rank(tensors[0][None]), torch.Tensor)
    assert isinstance(sl.decide(net, *tensors, np.ones(net.size, bool), starts=1, iterations=3).match, torch.Tensor)


class Parameter:
    """Stands for a torch parameter on the CPU, or for a class derived from it: only without its gradient does it become numpy."""

    is_cuda = False

    def __init__(self, array):
        self._array = array

    shape, dtype = property(lambda self: self._array.shape), property(lambda self: self._array.dtype)
    data_ptr = property(lambda self: lambda: self._array.ctypes.data)

    def detach(self):
        return types.SimpleNamespace(numpy=lambda: self._array)

    def refuse(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")

    numpy = __array__ = __dlpack__ = refuse


@pytest.mark.parametrize("derived", [False, True])
def test_torch_parameters_of_the_cpu(monkeypatch, derived):
    monkeypatch.setattr(Parameter, "__module__", "torch.nn.parameter")
    kind = type("Mine", (Parameter,), {"__module__": "model"}) if derived else Parameter
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(from_numpy=kind))
    net = NETWORKS[0]
    theta, x, y = students(net, 5)
    out = sl.outputs(net, kind(theta), kind(x))
    assert isinstance(out, kind)
    np.testing.assert_array_equal(out.detach().numpy(), sl.outputs(net, theta, x))
    assert sl.rank(kind(theta[None])).detach().numpy().tolist() == [5]
    np.testing.assert_array_equal(net.pack({name: kind(part) for name, part in net.unpack(theta).items()}), theta)


def test_a_device_array_without_a_gpu_is_a_clear_error(monkeypatch):
    class Elsewhere:
        shape, dtype = (2, 2), np.dtype(float)
        __cuda_array_interface__ = {"shape": (2, 2), "typestr": "<f8", "data": (4096, False), "version": 3}

    monkeypatch.setenv("SUBLEARN_CUDA_MODULE", "off")
    cuda_module.cache_clear()
    try:
        with pytest.raises(ValueError, match="backend: expected auto or cpu, got 'cuda': switched off by SUBLEARN_CUDA_MODULE=off"):
            sl.rank(Elsewhere())
        with pytest.raises(ValueError, match="got 'cuda': switched off"):
            sl.match_probability(NETWORKS[0], sl.everything(NETWORKS[0]), 4, backend="cuda")
        assert "no cuda: switched off" in sl.backend_of("rank")
    finally:
        cuda_module.cache_clear()


def test_stream_is_for_the_gpu():
    with pytest.raises(ValueError, match='stream: only for device arrays or backend="cuda"'):
        sl.rank(np.eye(3), stream=0)


@pytest.mark.parametrize("name, said", [("off", "switched off"), ("wrong", "expected cuda, emulated or off, got 'wrong'"), ("cuda", "")])
def test_import_never_needs_a_gpu(name, said):
    code = "import sublearn as sl, numpy as np; print(sl.rank(np.eye(3)), sl.backend_of('rank'))"
    environment = {**os.environ, "SUBLEARN_CUDA_MODULE": name, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 rank: cpu") and said in done.stdout and "no cuda" in done.stdout


def test_memory_is_planned():
    assert rows_at_once(1000, 10, 50, 250, "fit") == 20
    assert rows_at_once(15, 10, 50, 250, "fit") == 15
    with pytest.raises(MemoryError, match="fit: one student needs 10 bytes of device memory beside 50 for the call; 59 are free"):
        rows_at_once(15, 10, 50, 59, "fit")
