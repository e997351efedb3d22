"""Calls on an NVIDIA GPU: the checks of device_checks.py with numpy arrays, the module's own, cupy's and torch's; streams and several GPUs.
These tests skip themselves where there is no GPU."""

import os

import numpy as np
import pytest

import sublearn as sl
from sublearn.backend import selection
from sublearn.backend.compiled import cuda_module
from sublearn.backend.cuda import CudaKernels
from sublearn.backend.dispatch import kernels_for_paths
from sublearn.backend.host import HostKernels
from tests import device_checks as checks
from tests import resident_checks
from tests.cases import NETWORKS, names, students

pytestmark = pytest.mark.gpu


def cupy_device():
    cupy = pytest.importorskip("cupy")
    return checks.Device(cupy.asarray, cupy.asnumpy, lambda a: isinstance(a, cupy.ndarray))


def torch_device():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return checks.Device(
        lambda a: torch.from_numpy(np.ascontiguousarray(a)).cuda(),
        lambda a: a.cpu().numpy(),
        lambda a: isinstance(a, torch.Tensor) and a.is_cuda,
    )


def jax_device():
    """jax reads and writes DLPack; results are the module's own arrays."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("this jax has no GPU")
    jax.config.update("jax_enable_x64", True)
    module = cuda_module()[0]

    def get(result):
        there = jax.dlpack.from_dlpack(result) if result.dtype != bool and 0 not in result.shape else result.numpy()
        np.testing.assert_array_equal(np.asarray(there), result.numpy())
        return result.numpy()

    return checks.Device(jax.numpy.asarray, get, lambda a: isinstance(a, module.Array))


KINDS = {"numpy": checks.carried, "device arrays": checks.plain, "cupy": cupy_device, "torch": torch_device, "jax": jax_device}


@pytest.fixture(params=KINDS)
def device(request):
    return KINDS[request.param]()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sides", [*checks.SIDES, (128, 128)], ids=str)
def test_rank(device, sides, dtype):
    checks.rank_is_the_planted_one(device, sides, dtype)


def test_rank_of_hard_matrices(device):
    for dtype in checks.EPS:
        checks.rank_asks_an_svd_near_the_tolerance(device, dtype)
    checks.rank_finds_nan(device)
    checks.rank_of_extreme_and_large_matrices(device)
    checks.rank_of_batches_that_fill_no_warp(device)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_projections(device, dtype):
    checks.projections_agree_with_the_cpu(device, dtype)
    checks.choices_of_columns_agree_with_the_cpu(device, dtype)


def test_rank_proofs_of_adversarial_matrices():
    checks.rank_proofs_hold_for_adversarial_matrices(cuda_module()[0], (4, 8, 12, 16, 24, 32, 48, 64), 1000)


def test_rank_kernel_proves_ordinary_matrices():
    checks.rank_kernel_proves_ordinary_matrices(cuda_module()[0])


@pytest.mark.parametrize("n", [8, 16, 32, 64])
def test_many_ranks(n):
    """Enough matrices for every multiprocessor and a last block that is not full; half of lower rank."""
    rng = np.random.default_rng(n)
    batch = 20011 if n < 64 else 3001
    a = rng.standard_normal((batch, n, n))
    a[::2, :, n // 2 :] = a[::2, :, : n - n // 2]
    want = np.where(np.arange(batch) % 2 == 0, n // 2, n)
    np.testing.assert_array_equal(sl.rank(a, backend="cuda"), want)
    np.testing.assert_array_equal(sl.rank_mod((a * 1000).astype(np.int64), backend="cuda"), want)


@pytest.mark.parametrize("p", [2, 3, 65537, 2**31 - 1])
@pytest.mark.parametrize("sides", [(1, 1), (4, 3), (7, 8), (16, 12), (20, 33), (64, 64), (70, 40), (5, 90), (300, 200)], ids=str)
def test_rank_mod(device, sides, p):
    checks.rank_mod_is_exact(device, sides, p)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("net", NETWORKS, ids=names)
def test_networks(device, net, dtype):
    checks.networks_agree_with_the_cpu(device, net, dtype)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("net", NETWORKS, ids=names)
def test_fit(device, net, optimizer):
    checks.fits_agree_with_the_cpu(device, net, np.float64, optimizer)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", checks.FEW_STEPS)
def test_masks_within_a_group(size, dtype):
    checks.masks_within_a_group(*size, dtype)


@pytest.mark.parametrize("net", NETWORKS, ids=names)
def test_draws(net):
    checks.draws_are_bit_equal(net, ())


def test_a_student_does_not_depend_on_its_neighbours():
    net = NETWORKS[0]
    theta, x, y = students(net, 5000)
    mask = np.arange(net.size) % 5 == 0
    whole = sl.fit(net, theta, x, y, mask, steps=50, backend="cuda")
    part = sl.fit(net, theta[1234:1240], x[1234:1240], y[1234:1240], mask, steps=50, backend="cuda")
    np.testing.assert_array_equal(whole.theta[1234:1240], part.theta)


@pytest.mark.parametrize("method, trials, options", [("newton", 4000, {}), ("descent", 1000, {"steps": 2000, "tol": 1e-3})])
def test_verdicts(method, trials, options):
    flips = checks.verdicts_agree_with_the_cpu(method, trials, **options)
    print(f"{method}: {flips} of {trials} verdicts differ from the CPU's")


@pytest.mark.parametrize("question", resident_checks.QUESTIONS, ids=resident_checks.name)
def test_trials_stay_on_the_gpu(question):
    resident_checks.agree_with_the_cpu(question, 3000 if question[3] == "newton" else 400)


@pytest.mark.parametrize("net", NETWORKS, ids=names)
def test_screen(net):
    resident_checks.screened_as_on_the_cpu(net, sorted({1, 2, min(net.size, net.equations)}), 1000)


def test_chunks_overlap(monkeypatch):
    resident_checks.chunks_overlap(monkeypatch, resident_checks.QUESTIONS[0], 5000, 700)


def test_planned_memory_of_trials(monkeypatch):
    resident_checks.memory_is_planned(monkeypatch, resident_checks.QUESTIONS[0], 3000, 2_000_000)


@pytest.mark.parametrize("net, shared, kappa", checks.PATHS, ids=str)
def test_paths(net, shared, kappa, paths_kernel):
    checks.paths_agree_with_the_cpu(net, shared, kappa, 12, 60)


def test_paths_to_planted_roots(paths_kernel):
    checks.paths_to_planted_roots()


def test_sets_of_solutions(paths_kernel):
    checks.sliced_paths_agree_with_the_cpu()
    checks.solution_sets_agree_with_the_cpu()


def test_first_real_ends(monkeypatch, paths_kernel):
    checks.the_first_real_end_is_reported(monkeypatch, 5000)
    checks.the_first_real_end_is_reported(monkeypatch, 5000, neighbours=True)
    checks.the_first_real_end_is_reported(monkeypatch, 500, bytes_allowed=400_000)


def test_exact_verdicts():
    flips = checks.exact_verdicts_agree_with_the_cpu(2000)
    print(f"exact: {flips} of 4000 verdicts differ from the CPU's")


def test_many_paths_choose_the_gpu():
    assert isinstance(kernels_for_paths(100), HostKernels)
    assert isinstance(kernels_for_paths(selection.CUDA_LEAST_PATHS), CudaKernels)


def test_deciding(device):
    checks.deciding_device_arrays(device)


@pytest.mark.parametrize("operation, allowed", checks.SPLITS)
def test_splitting(monkeypatch, operation, allowed):
    checks.batches_are_split(monkeypatch, operation, allowed)


def test_places(device):
    if checks.backend(device) == "cuda":
        pytest.skip("numpy arrays live on the CPU")
    checks.mixed_places_are_named(device)


@pytest.mark.parametrize("kind", ["cupy", "torch"])
def test_slices_that_start_anywhere(kind):
    checks.rank_of_arrays_that_start_anywhere(KINDS[kind]())


def test_strided_cupy_and_torch():
    a, ranks = checks.planted(8, 12, np.float64)
    wide = np.zeros((6, 8, 24))
    wide[:, :, ::2] = a
    cupy, torch = pytest.importorskip("cupy"), pytest.importorskip("torch")
    np.testing.assert_array_equal(cupy.asnumpy(sl.rank(cupy.asarray(wide)[:, :, ::2])), ranks)
    np.testing.assert_array_equal(sl.rank(torch.from_numpy(wide).cuda()[:, :, ::2].requires_grad_()).cpu().numpy(), ranks)


def test_cupy_current_stream_and_stream_argument():
    """A long fill on the stream, then the input, then the call: only stream order makes the call see the input."""
    cupy = pytest.importorskip("cupy")
    net = NETWORKS[0]
    theta, x, _ = students(net, 4096)
    want = sl.outputs(net, theta, x)
    for explicit in (False, True):
        stream = cupy.cuda.Stream(non_blocking=True)
        source, busy = cupy.asarray(theta), cupy.zeros(1 << 26)
        inputs, target = cupy.asarray(x), cupy.zeros_like(source)
        cupy.cuda.Device().synchronize()
        with stream:
            for _ in range(20):
                busy += 1
            target[...] = source
            y = sl.outputs(net, target, inputs) if not explicit else None
        if explicit:
            y = sl.outputs(net, target, inputs, stream=stream)
        stream.synchronize()
        np.testing.assert_allclose(cupy.asnumpy(y), want, rtol=1e-12, atol=1e-12)


def test_torch_current_stream():
    torch = pytest.importorskip("torch")
    net = NETWORKS[0]
    theta, x, _ = students(net, 4096)
    source, inputs, busy = torch.from_numpy(theta).cuda(), torch.from_numpy(x).cuda(), torch.zeros(1 << 26, device="cuda")
    target, stream = torch.zeros_like(source), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(20):
            busy += 1
        target.copy_(source)
        y = sl.outputs(net, target, inputs)
    stream.synchronize()
    np.testing.assert_allclose(y.cpu().numpy(), sl.outputs(net, theta, x), rtol=1e-12, atol=1e-12)


def test_two_devices_are_a_clear_error():
    cupy = pytest.importorskip("cupy")
    if cuda_module()[0].device_count() < 2:
        pytest.skip("one GPU")
    net = NETWORKS[0]
    theta, x, _ = students(net, 3)
    with cupy.cuda.Device(1):
        away = cupy.asarray(x)
    with pytest.raises(ValueError, match="theta on cuda:0, x on cuda:1; expected all on one"):
        sl.outputs(net, cupy.asarray(theta), away)


def test_match_probability_chooses_the_gpu(monkeypatch):
    net = sl.Recurrent(2, 4, 2, 6)
    assert sl.match_probability(net, sl.scattered(net, 12, "W"), 20, ("B", "D")).backend == "cpu"
    monkeypatch.setattr("sublearn.backend.selection.CUDA_LEAST_WORK", 1)
    assert sl.match_probability(net, sl.scattered(net, 12, "W"), 20, ("B", "D")).backend == "cuda"
