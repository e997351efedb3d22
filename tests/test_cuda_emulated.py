"""The CUDA kernels, run by the emulator on the CPU: the same source, the same checks as on a GPU (test_cuda.py), smaller."""

import sys
import types

import numpy as np
import pytest

import sublearn as sl
from sublearn import _devices

from tests import device_checks as checks
from tests import fake_libraries
from tests.cases import NETWORKS, names

pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setenv("SUBLEARN_CUDA_MODULE", "emulated")
    _devices.compiled.cache_clear()
    assert _devices.compiled()[0].EMULATED
    yield
    _devices.compiled.cache_clear()


@pytest.fixture(params=["device arrays", "numpy"])
def device(request):
    return checks.plain() if request.param == "device arrays" else checks.carried()


@pytest.fixture(params=["cupy", "torch"])
def library(request, monkeypatch):
    """A stand-in for the library, whose arrays the emulator takes for device arrays."""
    module = getattr(fake_libraries, request.param)()
    monkeypatch.setitem(sys.modules, request.param, module)
    kind = type(module.asarray(np.zeros(1)))
    return checks.Device(module.asarray, lambda a: a.of_numpy, lambda a: isinstance(a, kind))


def test_cupy_and_torch(library):
    checks.rank_is_the_planted_one(library, (5, 7), np.float64)
    checks.rank_asks_an_svd_near_the_tolerance(library, np.float32)
    checks.rank_of_extreme_and_large_matrices(library)
    checks.rank_mod_is_exact(library, (7, 8), 65537)
    checks.networks_agree_with_the_cpu(library, NETWORKS[1], np.float64)
    checks.fits_agree_with_the_cpu(library, NETWORKS[1], np.float32, "adam")
    checks.deciding_device_arrays(library)
    checks.mixed_places_are_named(library)


def test_strides_and_streams_of_cupy_and_torch(library, monkeypatch):
    a, ranks = checks.planted(8, 12, np.float64)
    wide = np.zeros((6, 8, 24))
    wide[:, :, ::2] = a
    module, streams = _devices.compiled()[0], []
    inner = module.rank_real
    monkeypatch.setattr(module, "rank_real", lambda *arguments: streams.append(arguments[-1]) or inner(*arguments))
    every_other = library.put(wide)[:, :, ::2]
    for stream in (None, 5, types.SimpleNamespace(ptr=6), types.SimpleNamespace(__cuda_stream__=lambda: (0, 7))):
        np.testing.assert_array_equal(library.get(sl.rank(every_other, stream=stream)), ranks)
    assert streams == [fake_libraries.STREAM, 5, 6, 7]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sides", checks.SIDES, ids=str)
def test_rank(device, sides, dtype):
    checks.rank_is_the_planted_one(device, sides, dtype)


def test_rank_of_hard_matrices(device):
    for dtype in checks.EPS:
        checks.rank_asks_an_svd_near_the_tolerance(device, dtype)
    checks.rank_finds_nan(device)
    checks.rank_of_extreme_and_large_matrices(device)


def test_rank_proofs_of_adversarial_matrices():
    checks.rank_proofs_hold_for_adversarial_matrices(_devices.compiled()[0], (4, 8, 12, 24, 48), 10)


def test_rank_kernel_proves_ordinary_matrices():
    checks.rank_kernel_proves_ordinary_matrices(_devices.compiled()[0])


@pytest.mark.parametrize("p", [2, 3, 65537, 2**31 - 1])
@pytest.mark.parametrize("sides", [(1, 1), (4, 3), (7, 8), (16, 12), (20, 33), (64, 64), (70, 40), (5, 90)], ids=str)
def test_rank_mod(device, sides, p):
    checks.rank_mod_is_exact(device, sides, p)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("net", NETWORKS, ids=names)
def test_networks(device, net, dtype):
    checks.networks_agree_with_the_cpu(device, net, dtype)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("net", [NETWORKS[k] for k in (0, 1, 4, 5, 10, 11)], ids=names)
def test_fit(device, net, optimizer):
    checks.fits_agree_with_the_cpu(device, net, np.float64, optimizer)


@pytest.mark.parametrize("net, shared", [(NETWORKS[0], ("B", "D")), (NETWORKS[1], ()), (NETWORKS[10], ("W1",))], ids=str)
def test_draws(net, shared):
    checks.draws_are_bit_equal(net, shared)


@pytest.mark.parametrize("method, trials, options", [("newton", 60, {"starts": 4}), ("descent", 12, {"steps": 300, "tol": 1e-2})])
def test_verdicts(method, trials, options):
    checks.verdicts_agree_with_the_cpu(method, trials, **options)


def test_deciding(device):
    checks.deciding_device_arrays(device)


@pytest.mark.parametrize("operation, allowed", checks.SPLITS)
def test_splitting(monkeypatch, operation, allowed):
    checks.batches_are_split(monkeypatch, operation, allowed)


def test_places():
    checks.mixed_places_are_named(checks.plain())


def test_what_would_run_can_be_asked(capsys):
    from sublearn.cli import main

    assert "cuda, emulated on the CPU" in sl.backend_of("rank") and "for arrays that live there" in sl.backend_of("rank")
    assert "no CUDA kernel" in sl.backend_of("degree")
    assert sl.match_probability(sl.Recurrent(1, 2, 1, 2), sl.scattered(sl.Recurrent(1, 2, 1, 2), 2, "W"), 4).backend == "cpu"
    main(["doctor"])
    assert "emulated on the CPU (sm_00" in capsys.readouterr().out
