"""The CUDA kernels, run by the emulator on the CPU: the same source, the same checks as on a GPU (test_cuda.py), smaller."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

import sublearn as sl
from sublearn.backend.compiled import cuda_module
from sublearn.backend.cuda import CudaKernels
from sublearn.backend.dispatch import kernels_for
from tests import device_checks as checks
from tests import fake_libraries
from tests.cases import NETWORKS, names, students

pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")


pytestmark = pytest.mark.usefixtures("emulated")


@pytest.fixture(params=["device arrays", "numpy"])
def device(request):
    return checks.plain() if request.param == "device arrays" else checks.carried()


@pytest.fixture(params=["cupy", "torch", "torch parameters"])
def library(request, monkeypatch):
    """A stand-in for the library, whose arrays the emulator takes for device arrays. Parameters: of a class derived from torch's, with
    gradients."""
    name, _, parameters = request.param.partition(" ")
    module = getattr(fake_libraries, name)()
    monkeypatch.setitem(sys.modules, name, module)
    kind, put = type(module.asarray(np.zeros(1))), module.asarray
    if parameters:
        own = type("Parameter", (kind,), {"__module__": "model"})
        put = lambda a: own(np.array(a)).requires_grad_() if a.dtype.kind == "f" else own(np.array(a))  # noqa: E731
    return checks.Device(put, lambda a: a.get(), lambda a: isinstance(a, kind))


def test_cupy_and_torch(library):
    checks.rank_is_the_planted_one(library, (5, 7), np.float64)
    checks.rank_asks_an_svd_near_the_tolerance(library, np.float32)
    checks.rank_of_extreme_and_large_matrices(library)
    checks.rank_of_arrays_that_start_anywhere(library)
    checks.rank_mod_is_exact(library, (7, 8), 65537)
    checks.networks_agree_with_the_cpu(library, NETWORKS[1], np.float64)
    checks.fits_agree_with_the_cpu(library, NETWORKS[1], np.float32, "adam")
    checks.deciding_device_arrays(library)
    checks.mixed_places_are_named(library)


def test_strides_and_streams_of_cupy_and_torch(library, monkeypatch):
    a, ranks = checks.planted(8, 12, np.float64)
    wide = np.zeros((6, 8, 24))
    wide[:, :, ::2] = a
    module, streams = cuda_module()[0], []
    inner = module.rank_real
    monkeypatch.setattr(module, "rank_real", lambda *arguments: streams.append(arguments[-1]) or inner(*arguments))
    every_other = library.put(wide)[:, :, ::2]
    for stream in (None, 5, types.SimpleNamespace(ptr=6), types.SimpleNamespace(__cuda_stream__=lambda: (0, 7))):
        np.testing.assert_array_equal(library.get(sl.rank(every_other, stream=stream)), ranks)
    assert streams == [fake_libraries.STREAM, 5, 6, 7]
    made = next(sys.modules[name] for name in ("cupy", "torch") if hasattr(sys.modules.get(name), "streams")).streams.worked_on
    assert made == [stream for stream in streams for _ in range(2)]  # the copy of the strided input, and the result


def test_several_streams_are_ordered(monkeypatch):
    """Arrays whose owners announce different streams: the call's stream waits for the others, unless the caller orders them (`stream=`)."""
    module, waits, net = cuda_module()[0], [], NETWORKS[1]
    monkeypatch.setattr(module, "let_wait", lambda device, later, earlier: waits.append((device, later, earlier)))
    theta, x, _ = students(net, 3)

    def offered(array, stream):
        about = {
            "shape": array.shape,
            "typestr": "<f8",
            "data": (array.ctypes.data, False),
            "strides": None,
            "version": 3,
            "stream": stream,
        }
        return types.SimpleNamespace(__cuda_array_interface__=about, shape=array.shape, dtype=array.dtype)

    for streams, want in (((5, 6), [(0, 5, 6)]), ((5, 5), []), ((None, 9), [(0, 0, 9)])):
        waits.clear()
        y = sl.outputs(net, *(offered(a, stream) for a, stream in zip((theta, x), streams)))
        np.testing.assert_array_equal(y.numpy(), sl.outputs(net, theta, x, backend="cuda"))
        assert waits == want
        assert y.stream == (streams[0] or 0)  # of a view too: its readers wait for it
    waits.clear()
    sl.outputs(net, offered(theta, 5), offered(x, 6), stream=7)
    assert waits == []


def test_lent_memory_is_kept_while_the_stream_may_read_it():
    module, a = cuda_module()[0], fake_libraries.DlpackOnly(np.eye(3)[None])
    try:
        module.pretend(busy=True)
        assert sl.rank(a).numpy().tolist() == [3]
        assert len(a.streams) > 0 and a.ended == 0
        sl.rank(fake_libraries.DlpackOnly(np.eye(2)[None]))
        assert a.ended == 0
    finally:
        module.pretend()
    sl.rank(fake_libraries.DlpackOnly(np.eye(2)[None]))
    assert a.ended == len(a.streams)


def test_graph_capture_is_an_error():
    module = cuda_module()[0]
    try:
        module.pretend(capturing=True)
        with pytest.raises(RuntimeError, match="stream: a CUDA graph is being captured"):
            sl.rank(np.eye(3), backend="cuda")
    finally:
        module.pretend()
    assert sl.rank(np.eye(3), backend="cuda") == 3


def test_no_memory_left_is_a_memory_error():
    with pytest.raises(MemoryError, match=r"\d+ bytes of device memory wanted, \d+ are free"):
        cuda_module()[0].Array([2**40], np.dtype(np.float64))


def test_unproven_matrices_are_gathered(monkeypatch):
    """Of many matrices the few that need an SVD come to the CPU, not the stack."""
    taken = []
    a = np.random.default_rng(3).standard_normal((700, 4, 4))
    close = np.arange(5, 700, 6)  # more than a hundred with a singular value at the tolerance
    a[close] = np.diag([1, 1, 1, 4 * np.finfo(float).eps])
    device = checks.plain()
    monkeypatch.setattr(CudaKernels, "gather", lambda kernels, rows, which: taken.append(rows.take(which.astype(np.intc))) or taken[-1])
    monkeypatch.setattr(CudaKernels, "to_host", lambda kernels, array: array.numpy())
    np.testing.assert_array_equal(sl.rank(device.put(a)).numpy(), np.linalg.matrix_rank(a))
    assert len(taken) == 1 and len(close) <= len(taken[0]) < 200
    np.testing.assert_array_equal(taken[0][: len(close)][0], a[close[0]])


FORK = """
import os, numpy as np, sublearn as sl
from sublearn import _cuda_emulated
from sublearn.backend.compiled import cuda_module
assert sl.rank(np.eye(3), backend="cuda") == 3
_cuda_emulated.EMULATED = False  # as a driver would be
child = os.fork()
if child:
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert sl.rank(np.eye(4)) == 4 and sl.backend_of("rank").startswith("rank: cpu")
try:
    sl.rank(np.eye(3), backend="cuda")
except ValueError as error:
    assert "forked" in str(error) and "spawn" in str(error), error
else:
    raise SystemExit("a forked child used its parent's driver")
"""


def test_a_forked_child_does_not_use_its_parents_driver():
    done = subprocess.run(
        [sys.executable, "-c", FORK], env={**os.environ, "SUBLEARN_CUDA_MODULE": "emulated"}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_students_at_all():
    """The steps of a decision call the kernels with what is left to do, which may be nothing."""
    net, nothing = NETWORKS[1], lambda *shape: np.empty((0, *shape))
    theta, x, y, one = nothing(net.size), nothing(net.shape.inputs_size), nothing(net.shape.equations), np.arange(3, dtype=np.intc)[None]
    on = kernels_for("cuda")
    assert on.outputs(net.shape, theta, x).shape == kernels_for("cpu").outputs(net.shape, theta, x).shape == (0, net.shape.equations)
    assert on.jacobian(net.shape, theta, x, one).shape == (0, net.shape.equations, 3)
    assert on.fit(net.shape, theta, x, y, one, 3, 0, 0.1, -1.0)["theta"].shape == (0, net.size)
    searched = on.newton(net.shape, theta, x, y, one, np.ones(len(net.groups)), 1, 3, 1e-20, 0, 0, np.empty(0, np.uint32))
    assert searched["theta"].shape == (0, net.size) and searched["iterations"] == 0


@pytest.fixture(params=[True, False], ids=["versioned", "unversioned"])
def dlpack(request):
    """Arrays that offer DLPack and nothing else, of before and after its first version."""
    module = cuda_module()[0]
    put = lambda a: fake_libraries.DlpackOnly(np.array(a), versioned=request.param, read_only=request.param)  # noqa: E731
    return checks.Device(put, lambda a: a.numpy(), lambda a: isinstance(a, module.Array))


def test_dlpack_only(dlpack):
    checks.rank_is_the_planted_one(dlpack, (5, 7), np.float64)
    checks.rank_asks_an_svd_near_the_tolerance(dlpack, np.float32)
    checks.rank_mod_is_exact(dlpack, (7, 8), 65537)
    checks.networks_agree_with_the_cpu(dlpack, NETWORKS[1], np.float64)
    checks.fits_agree_with_the_cpu(dlpack, NETWORKS[1], np.float32, "adam")
    checks.deciding_device_arrays(dlpack)
    checks.mixed_places_are_named(dlpack)


def test_dlpack_without_a_copy_and_given_back(monkeypatch):
    """The kernel reads the exporter's memory on the stream that the exporter was told; the export ends when that is done."""
    module, seen = cuda_module()[0], []
    inner = module.rank_real
    monkeypatch.setattr(module, "rank_real", lambda a, *rest: seen.append((a.data, rest[-1])) or inner(a, *rest))
    for stream, told in ((None, 1), (5, 5)):
        a = fake_libraries.DlpackOnly(np.eye(3)[None])
        assert sl.rank(a, stream=stream).numpy().tolist() == [3]
        assert seen.pop() == (a.of_numpy.ctypes.data, 0 if stream is None else 5)
        module.finish()
        module.Array.from_dlpack("next", fake_libraries.DlpackOnly(np.eye(3)).__dlpack__())  # looks through what was lent
        assert set(a.streams) == {told} and a.ended == len(a.streams)


def test_results_are_exported():
    """What a call returns for arrays of other libraries: DLPack out, kept alive by its consumer, and the stream that wrote it."""
    module = cuda_module()[0]
    a = fake_libraries.DlpackOnly(np.stack([np.eye(3), np.ones((3, 3))]))
    ranks = sl.rank(a, stream=6)
    assert ranks.__dlpack_device__() == (2, 0) and ranks.__cuda_array_interface__["stream"] == 6
    capsule = ranks.__dlpack__(stream=1, max_version=(1, 0), dl_device=(2, 0), copy=False)
    again = module.Array.from_dlpack("ranks", ranks.__dlpack__())
    del ranks
    assert again.numpy().tolist() == [3, 1]
    kind, device, numbers = fake_libraries.read_capsule(capsule)
    assert (kind, device, numbers.tolist(), numbers.dtype) == (2, 0, [3, 1], np.int64)
    for dtype in (np.float32, np.float64, np.int8, np.int32, np.uint32, np.bool_):
        out = module.Array([2, 3], np.dtype(dtype))
        out.upload(np.array([[0, 1, 0], [1, 1, 0]], dtype))
        numbers = fake_libraries.read_capsule(out.__dlpack__(stream=-1))[2]
        assert numbers.dtype == dtype and numbers.tolist() == out.numpy().tolist()
    with pytest.raises(BufferError, match="stays on its GPU"):
        again.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="without a copy"):
        again.__dlpack__(copy=True)
    used = again.__dlpack__()
    fake_libraries.read_capsule(used)
    with pytest.raises(TypeError, match="nobody has used yet"):
        module.Array.from_dlpack("a", used)


def test_unfit_device_arrays_are_named():
    net = NETWORKS[1]
    make, theta = fake_libraries.DlpackOnly, np.zeros((2, net.size))
    x = make(np.zeros((2, *net.x_shape)))
    every_other = np.zeros((2, 2 * net.size))[:, ::2]
    unfit = [
        (make(every_other), ValueError, r"theta: expected a C-contiguous device array, got strides \[\d+, 2\] of a DLPack array"),
        (make(theta.astype(np.float16)), TypeError, "theta: expected float32 or float64, got float16"),
        (make(theta.astype(np.int64)), TypeError, "theta: expected float32 or float64, got int64"),
        (make(theta.astype(np.float16), dtype=(4, 16)), TypeError, "theta: expected a dtype that numpy has, got DLPack code 4 of 16 bits"),
        (make(theta, inside=1), ValueError, "theta: its DLPack capsule holds memory of device type 1, not of a CUDA device"),
        (make(theta, device=1), ValueError, "arrays on different devices: theta on cuda:1, x on cuda:0; expected all on one"),
        (make(theta, kind=10), ValueError, "theta: expected an array of the CPU or of a CUDA device, got one of DLPack device type 10"),
        (theta, ValueError, "x lives on a GPU, theta lives on the CPU; expected all in one place"),
        (make(theta[:, :-1].copy()), ValueError, r"theta: expected shape \[\d+\] or \[batch, \d+\]"),
    ]
    for value, error, text in unfit:
        with pytest.raises(error, match=text):
            sl.outputs(net, value, x)


def test_unfit_cuda_array_interfaces_are_named():
    a = np.eye(4)

    def offering(**changed):
        about = {"shape": a.shape, "typestr": "<f8", "data": (a.ctypes.data, False), "strides": None, "version": 3, **changed}
        return types.SimpleNamespace(__cuda_array_interface__=about, shape=a.shape, dtype=a.dtype)

    assert int(sl.rank(offering(data=(a.ctypes.data, True))).numpy()) == 4  # read-only is enough: nothing is written to an input
    for value, error, text in (
        (offering(typestr=">f8"), TypeError, "a: expected float32 or float64, got >f8"),
        (offering(typestr="<f2"), TypeError, "a: expected float32 or float64, got float16"),
        (offering(typestr="<c16"), TypeError, "a: expected float32 or float64, got complex128"),
        (offering(strides=(8, 32)), ValueError, r"a: expected a C-contiguous device array, got strides \(8, 32\)"),
        (offering(mask=1), ValueError, "a: expected an array without a mask"),
    ):
        with pytest.raises(error, match=text):
            sl.rank(value)
    with pytest.raises(TypeError, match="a: expected int64 on a GPU, got >i8"):
        sl.rank_mod(offering(typestr=">i8"))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sides", checks.SIDES, ids=str)
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
    checks.rank_proofs_hold_for_adversarial_matrices(cuda_module()[0], (4, 8, 12, 24, 48), 10)


def test_rank_kernel_proves_ordinary_matrices():
    checks.rank_kernel_proves_ordinary_matrices(cuda_module()[0])


@pytest.mark.parametrize("p", [2, 3, 65537, 2**31 - 1])
@pytest.mark.parametrize("sides", [(1, 1), (4, 3), (7, 8), (16, 12), (20, 33), (64, 64), (70, 40), (5, 90)], ids=str)
def test_rank_mod(device, sides, p):
    checks.rank_mod_is_exact(device, sides, p)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("net", NETWORKS, ids=names)
def test_networks(device, net, dtype):
    checks.networks_agree_with_the_cpu(device, net, dtype)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("net", [NETWORKS[k] for k in (0, 1, 4, 5, 10, 11, 16, 17, 18)], ids=names)
def test_fit(device, net, optimizer):
    checks.fits_agree_with_the_cpu(device, net, np.float64, optimizer)


@pytest.mark.parametrize(
    "net, shared", [(NETWORKS[0], ("B", "D")), (NETWORKS[1], ()), (NETWORKS[10], ("W1",)), (NETWORKS[16], ("W1", "g2"))], ids=str
)
def test_draws(net, shared):
    checks.draws_are_bit_equal(net, shared)


@pytest.mark.parametrize("method, trials, options", [("newton", 60, {"starts": 4}), ("descent", 12, {"steps": 300, "tol": 1e-2})])
def test_verdicts(method, trials, options):
    checks.verdicts_agree_with_the_cpu(method, trials, **options)


@pytest.mark.parametrize("net, shared, kappa", checks.PATHS, ids=str)
def test_paths(net, shared, kappa, paths_kernel):
    checks.paths_agree_with_the_cpu(net, shared, kappa, 3, 3)


def test_paths_take_the_kernel_that_fits():
    """Some lanes per path need far less memory per warp; wide networks and large systems stay with one thread per path."""
    module, used, rng = cuda_module()[0], [], np.random.default_rng(0)
    for inputs, hidden, outputs, steps, k in ((1, 4, 1, 5, 4), (2, 8, 2, 4, 6), (1, 9, 1, 5, 4), (2, 8, 2, 6, 10)):
        net = sl.Recurrent(inputs, hidden, outputs, steps)
        points = rng.standard_normal((2, net.size + net.shape.inputs_size + net.equations)) + 0j
        index = np.arange(k, dtype=np.int32)[None] + net.slices["W"].start
        zero, rows = np.zeros(1, np.int32), np.arange(k, dtype=np.int32)
        kernels_for("cuda").continuation(
            net.shape,
            points,
            False,
            index,
            np.full((1, k), 9, np.int32),
            rows,
            None,
            zero,
            zero,
            zero + 1,
            zero,
            np.ones((1, k)) + 0j,
            max_steps=1,
        )
        used.append(module.strips(0))
    assert max(used[:2]) < 50_000 and min(used[2:]) > 100_000


def test_paths_to_planted_roots(paths_kernel):
    checks.paths_to_planted_roots()


def test_sets_of_solutions(paths_kernel):
    checks.sliced_paths_agree_with_the_cpu()
    checks.solution_sets_agree_with_the_cpu()


def test_first_real_ends(monkeypatch, paths_kernel):
    checks.the_first_real_end_is_reported(monkeypatch, neighbours=True)
    checks.the_first_real_end_is_reported(monkeypatch)
    checks.the_first_real_end_is_reported(monkeypatch, bytes_allowed=20_000)


def test_exact_verdicts():
    checks.exact_verdicts_agree_with_the_cpu(200)


def test_where_exact_verdicts_follow_paths(device, monkeypatch):
    module, calls = cuda_module()[0], []
    inner = module.continuation
    monkeypatch.setattr(module, "continuation", lambda *arguments: calls.append(1) or inner(*arguments))
    net, shared = sl.Recurrent(1, 4, 1, 5), ("B", "D")
    drawn = sl.draw_trials(net, sl.scattered(net, 4, "W").draw(3), 20, shared=shared)
    arrays = drawn.student, drawn.x, drawn.y
    want = sl.decide(net, *arrays, drawn.mask, shared, "exact", starts=1, iterations=5, backend="auto")
    assert not calls and (want.reason == "paths").sum() > 5  # an emulation is never chosen by itself
    got = sl.decide(net, *map(device.put, arrays), drawn.mask, shared, "exact", starts=1, iterations=5, backend=checks.backend(device))
    assert calls and device.made(got.match)
    np.testing.assert_array_equal(device.get(got.match), want.match)


def test_paths_check_what_the_kernel_trusts():
    net = sl.Recurrent(1, 3, 1, 3)
    kernels, one = kernels_for("cuda"), np.zeros(1, np.int32)
    good = dict(allocation=one, origin=one, to=one, group=one, indices=np.array([[7]], np.int32))
    for name in good:
        bad = good | {name: good[name] + 100}
        with pytest.raises(ValueError, match=f"{name}: expected numbers in 0 .."):
            kernels.continuation(
                net.shape,
                np.zeros((1, net.size + 6), complex),
                False,
                bad["indices"],
                np.array([[2]], np.int32),
                one,
                None,
                bad["allocation"],
                bad["origin"],
                bad["to"],
                bad["group"],
                np.zeros((1, 1), complex),
            )


def test_deciding(device):
    checks.deciding_device_arrays(device)


@pytest.mark.parametrize("operation, allowed", checks.SPLITS)
def test_splitting(monkeypatch, operation, allowed):
    checks.batches_are_split(monkeypatch, operation, allowed)


def test_places():
    checks.mixed_places_are_named(checks.plain())


def test_what_would_run_can_be_asked(capsys):
    from sublearn.cli.main import main

    assert "cuda, emulated on the CPU" in sl.backend_of("rank") and "for arrays that live there" in sl.backend_of("rank")
    assert "no CUDA kernel" in sl.backend_of("certify")
    assert "emulated on the CPU" in sl.backend_of("degree") and "complex paths, never by itself" in sl.backend_of("degree")
    assert sl.match_probability(sl.Recurrent(1, 2, 1, 2), sl.scattered(sl.Recurrent(1, 2, 1, 2), 2, "W"), 4).backend == "cpu"
    main(["doctor"])
    assert "emulated on the CPU (sm_00" in capsys.readouterr().out
