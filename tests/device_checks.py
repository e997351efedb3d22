"""What must hold of calls on a GPU, whatever holds the arrays and whether the kernels run on a GPU or in the emulator.

`device` stands for a kind of array: put (numpy to the device), get (back), made (is this a result of that kind). test_cuda.py
runs all of this on GPUs, test_cuda_emulated.py on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import pytest

import sublearn as sl
from sublearn import _devices
from sublearn._closed_forms import has_effect

from tests.adversarial_rank import families, verdicts
from tests.cases import masks, students

EPS = {np.float32: 1.2e-7, np.float64: 2.3e-16}
SIDES = [(1, 1), (3, 3), (4, 4), (2, 4), (5, 4), (5, 7), (8, 8), (9, 8), (3, 12), (16, 16), (17, 9), (9, 30), (32, 32), (33, 20), (64, 64),
         (66, 10)]
# Bytes that hold some of the 50 students of `batches_are_split`, not all.
SPLITS = [("rank", 3000), ("rank_mod", 3000), ("outputs", 5000), ("jacobian", 20000), ("fit", 10000), ("newton", 15000)]


@dataclass
class Device:
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]
    made: Callable[[Any], bool]


def plain() -> Device:
    """The module's own arrays."""
    module = _devices.compiled()[0]

    def put(array):
        array = np.ascontiguousarray(array)
        out = module.Array(list(array.shape), array.dtype)
        out.upload(array)
        return out

    return Device(put, lambda a: a.numpy(), lambda a: isinstance(a, module.Array))


def carried() -> Device:
    """numpy arrays: the checks then pass backend="cuda"."""
    return Device(lambda a: a, lambda a: a, lambda a: isinstance(a, (np.ndarray, np.generic)))


def backend(device: Device) -> str:
    return "cuda" if device.made(np.zeros(1)) else "auto"


def planted(m, n, dtype, batch=6, seed=0):
    """Matrices of known rank, some far from 1 in size."""
    rng = np.random.default_rng([seed, m, n])
    ranks = [min(m, n) if b % 2 == 0 else int(rng.integers(0, min(m, n) + 1)) for b in range(batch)]
    a = np.stack([rng.standard_normal((m, r)) @ rng.standard_normal((r, n)) for r in ranks])
    a[2] *= 1e30
    a[3] *= 1e-30
    return a.astype(dtype), np.array(ranks)


# ---- ranks --------------------------------------------------------------------------------------------------------------------


def rank_is_the_planted_one(device, sides, dtype):
    a, ranks = planted(*sides, dtype)
    got = sl.rank(device.put(a), backend=backend(device))
    assert device.made(got)
    np.testing.assert_array_equal(device.get(got), ranks)
    np.testing.assert_array_equal(device.get(got), sl.rank(a, backend="cpu"))
    one = sl.rank(device.put(a[1]), backend=backend(device))
    assert np.asarray(device.get(one)).shape == () and int(device.get(one)) == ranks[1]


def rank_asks_an_svd_near_the_tolerance(device, dtype):
    """Singular values within a factor of two of the tolerance, on both sides: the kernel may not decide them."""
    rng = np.random.default_rng(3)
    n = 8
    rtol = n * float(np.finfo(dtype).eps)
    a = []
    for factor in (0.51, 0.7, 0.9, 1.1, 1.5, 1.9):
        u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
        a.append(u @ np.diag([1.0] * (n - 1) + [factor * rtol]) @ v)
    a = np.array(a, dtype=dtype)
    np.testing.assert_array_equal(device.get(sl.rank(device.put(a), backend=backend(device))), np.linalg.matrix_rank(a))


def rank_kernel_proves_ordinary_matrices(module):
    """Else every matrix would go to an SVD."""
    for dtype in EPS:
        for n in (4, 8, 16, 32, 64):
            a, ranks = planted(n, n, dtype, batch=8)
            got, certified, finite = _devices.CudaPlace(module, 0, 0, None, None).rank_real(a, n * EPS[dtype])
            assert finite.all() and certified.all() and (got == ranks).all()


def rank_proofs_hold_for_adversarial_matrices(module, sizes, per_family):
    """Kahan, Hilbert, graded, scaled rows, 1e-300 to 1e300: whatever the kernel proves is the singular values' verdict."""
    certified = matrices = 0
    for n in sizes:
        for name, a in families(np.random.default_rng([1, n]), n, per_family):
            tolerance = n * EPS[np.float64]
            ranks, sure, finite = _devices.CudaPlace(module, 0, 0, None, None).rank_real(np.ascontiguousarray(a), tolerance)
            wrong = (sure == 1) & (ranks != verdicts(a, tolerance)[0])
            assert finite.all() and not wrong.any(), f"{name}, {n} x {n}: {np.flatnonzero(wrong)}"
            certified, matrices = certified + int((sure == 1).sum()), matrices + len(a)
    assert certified > 0.5 * matrices


def rank_finds_nan(device):
    a = np.ones((5, 3, 3))
    a[4, 2, 1] = np.nan
    with pytest.raises(ValueError, match="a: expected finite numbers, got nan or inf in matrix 4"):
        sl.rank(device.put(a), backend=backend(device))
    a[4, 2, 1] = -np.inf
    with pytest.raises(ValueError, match="in matrix 4"):
        sl.rank(device.put(a), backend=backend(device))


def rank_of_extreme_and_large_matrices(device):
    rng = np.random.default_rng(1)
    a = rng.standard_normal((4, 6, 5))
    a[0] *= 1e-300
    a[1] *= 1e300
    a[2] = 0
    a[3] *= 1e-320 / np.abs(a[3]).max()  # subnormal: an SVD decides
    np.testing.assert_array_equal(device.get(sl.rank(device.put(a), backend=backend(device))), sl.rank(a, backend="cpu"))
    wide = rng.standard_normal((2, 3, 140))
    np.testing.assert_array_equal(device.get(sl.rank(device.put(wide), backend=backend(device))), [3, 3])
    hundred = rng.standard_normal((2, 100, 60)) @ rng.standard_normal((60, 100))
    np.testing.assert_array_equal(device.get(sl.rank(device.put(hundred), backend=backend(device))), [60, 60])


def rank_mod_is_exact(device, sides, p):
    rng = np.random.default_rng([p, *sides])
    m, n = sides
    a = []
    for b in range(6):
        r = min(m, n) if b % 2 == 0 else int(rng.integers(0, min(m, n) + 1))
        left, right = rng.integers(0, p, (m, r)).astype(object), rng.integers(0, p, (r, n)).astype(object)
        a.append(left @ right % p if r else np.zeros((m, n), object))
    a = np.array(a).astype(np.int64)
    a[::2] -= 3 * p  # any integers
    a[1, 0, 0] += p
    got = sl.rank_mod(device.put(a), p, backend=backend(device))
    assert device.made(got)
    np.testing.assert_array_equal(device.get(got), sl.rank_mod(a, p, backend="cpu"))


# ---- networks -----------------------------------------------------------------------------------------------------------------


def close(got, want, factor, dtype):
    scale = np.abs(want).max(axis=tuple(range(1, want.ndim)), keepdims=True) + 1
    assert got.dtype == want.dtype and got.shape == want.shape
    assert np.all(np.abs(got - want) <= factor * EPS[dtype] * scale)


def networks_agree_with_the_cpu(device, net, dtype):
    batch = 37
    theta, x, _ = students(net, batch, dtype=dtype)
    own = masks(net, batch, min(5, net.size))
    y = sl.outputs(net, device.put(theta), device.put(x), backend=backend(device))
    J = sl.jacobian(net, device.put(theta), device.put(x), own, backend=backend(device))
    assert device.made(y) and device.made(J)
    close(device.get(y), sl.outputs(net, theta, x), 200, dtype)
    close(device.get(J), sl.jacobian(net, theta, x, own), 500, dtype)
    one = sl.outputs(net, device.put(theta[3]), device.put(x[3]), backend=backend(device))
    np.testing.assert_array_equal(device.get(one), device.get(y)[3])


def fits_agree_with_the_cpu(device, net, dtype, optimizer):
    """Thirty steps: rounding has not grown yet. Frozen weights come back bit for bit, budgets differ, one student diverges."""
    batch = 21
    theta, x, y = students(net, batch, dtype=dtype)
    own = masks(net, batch, min(6, net.size))
    own[1] = False
    own[2, np.flatnonzero(own[2])[:1]] = False
    y[5] *= 1e12
    rate = {"sgd": 1e-3, "momentum": 3e-4, "adam": 1e-2}[optimizer]
    run = lambda on, *arrays, **how: sl.fit(net, *arrays, own, steps=30, optimizer=optimizer, lr=rate, **how)  # noqa: E731
    want = run(None, theta, x, y)
    got = run(None, device.put(theta), device.put(x), device.put(y), backend=backend(device))
    assert device.made(got.theta) and device.made(got.loss)
    moved = device.get(got.theta)
    np.testing.assert_array_equal(moved[~own], theta[~own])
    assert (moved != theta)[own & has_effect(net)].mean() > 0.9 or net.activation == "relu"
    status = device.get(got.status)
    codes = status if status.dtype == np.int8 else np.array([sl.fit.__globals__["STATUS"].index(s) for s in status])
    np.testing.assert_array_equal(np.array(sl.fit.__globals__["STATUS"])[codes], want.status)
    same = want.status == "steps done"
    assert same.sum() > batch // 2
    np.testing.assert_array_equal(device.get(got.steps)[same], want.steps[same])
    close(moved[same], want.theta[same], 2e5, dtype)
    np.testing.assert_allclose(device.get(got.loss)[same], want.loss[same], rtol=1e6 * EPS[dtype], atol=1e4 * EPS[dtype])


def draws_are_bit_equal(net, shared):
    group = next(g for g in net.groups if g not in shared)
    for strategy in (sl.everything(net, shared), sl.scattered(net, min(2, math.prod(net.groups[group])), within=group)):
        want = sl.draw_trials(net, strategy, 33, shared=shared, seed=2**40 + 5, task=3, first=70)
        got = sl.draw_trials(net, strategy, 33, shared=shared, seed=2**40 + 5, task=3, first=70, backend="cuda")
        for name in ("teacher", "student", "x", "mask"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
        close(got.y, want.y, 200, np.float64)


def verdicts_agree_with_the_cpu(method, trials, **options):
    """Trial by trial; a search near its tolerance may end elsewhere where sums round differently."""
    net, shared = sl.Recurrent(inputs=2, hidden=4, outputs=2, steps=6), ("B", "D")

    def ask(where):
        return sl.match_probability(net, sl.scattered(net, 12, "W"), trials, shared, method, keep_trials=True, backend=where, **options)

    want, got = ask("cpu"), ask("cuda")
    assert (want.backend, got.backend) == ("cpu", "cuda")
    flips = int((want.verdicts != got.verdicts).sum())
    np.testing.assert_array_equal(want.masks, got.masks)
    assert flips <= max(1, trials // 30), f"{flips} of {trials} verdicts differ from the CPU's"
    return flips


def deciding_device_arrays(device):
    net = sl.Recurrent(inputs=1, hidden=4, outputs=1, steps=5)
    shared = ("B", "D")
    drawn = sl.draw_trials(net, sl.scattered(net, 5, "W"), 12, shared=shared)
    want = sl.decide(net, drawn.student, drawn.x, drawn.y, drawn.mask, shared, starts=10)
    arrays = [device.put(a) for a in (drawn.student, drawn.x, drawn.y)]
    got = sl.decide(net, *arrays, drawn.mask, shared, starts=10, backend=backend(device))
    assert device.made(got.match) and device.made(got.theta)
    assert (device.get(got.match) != want.match).sum() <= 1
    yes = device.get(got.match) == 1
    assert yes.sum() >= 6
    theta, y = device.get(got.theta)[yes], drawn.y[yes]
    miss = ((sl.outputs(net, theta, drawn.x[yes]) - y) ** 2).sum(axis=(1, 2)) / (y**2).sum(axis=(1, 2))
    assert miss.max() < 1e-19
    np.testing.assert_array_equal(np.where(drawn.mask, 0, device.get(got.theta)), np.where(drawn.mask, 0, drawn.student))


# ---- memory, places, errors -----------------------------------------------------------------------------------------------------


def batches_are_split(monkeypatch, operation, bytes_allowed):
    """The same result in several pieces; the planned bytes are never exceeded by the arrays of a piece."""
    module, pieces = _devices.compiled()[0], []
    compiled = "rank_real" if operation == "rank" else operation
    inner = getattr(module, compiled)

    def counted(*arguments):
        pieces.append(sum(a.nbytes for a in arguments if isinstance(a, module.Array)))
        return inner(*arguments)

    net = sl.Recurrent(2, 4, 2, 3)
    theta, x, y = students(net, 50)
    own = masks(net, 50, 6)
    matrices = planted(6, 5, np.float64, batch=50)[0]
    call = {
        "rank": lambda b: sl.rank(matrices, backend=b),
        "rank_mod": lambda b: sl.rank_mod(np.arange(1500).reshape(50, 6, 5) ** 2 % 101, 101, backend=b),
        "outputs": lambda b: sl.outputs(net, theta, x[0], backend=b),
        "jacobian": lambda b: sl.jacobian(net, theta, x, own, backend=b),
        "fit": lambda b: sl.fit(net, theta, x, y, own, steps=3, backend=b).theta,
        "newton": lambda b: sl.decide(net, theta, x, y, own, starts=2, iterations=5, backend=b).match,
    }[operation]
    whole = call("cuda")
    monkeypatch.setattr(module, compiled, counted)
    monkeypatch.setenv("SUBLEARN_CUDA_MEMORY", str(bytes_allowed))
    np.testing.assert_array_equal(call("cuda"), whole)
    assert len(pieces) > 1 and max(pieces) <= bytes_allowed
    monkeypatch.setenv("SUBLEARN_CUDA_MEMORY", "40")
    with pytest.raises(MemoryError, match=r"one student needs \d+ bytes of device memory beside \d+ for the call; 40 are free"):
        call("cuda")


def mixed_places_are_named(device):
    net = sl.Recurrent(2, 4, 2, 3)
    theta, x, y = students(net, 3)
    with pytest.raises(ValueError, match="theta lives on a GPU, x lives on the CPU; expected all in one place"):
        sl.outputs(net, device.put(theta), x)
    with pytest.raises(ValueError, match="theta and y live on a GPU, x lives on the CPU"):
        sl.fit(net, device.put(theta), x, device.put(y), np.ones(net.size, bool))
    with pytest.raises(ValueError, match="backend: expected auto or cuda, got 'cpu', but theta and x live on a GPU"):
        sl.outputs(net, device.put(theta), device.put(x), backend="cpu")
    with pytest.raises(TypeError, match="x: expected float64 like theta, got float32"):
        sl.outputs(net, device.put(theta), device.put(x.astype(np.float32)))
    with pytest.raises(ValueError, match=r"x: expected shape \[3, 2\] or \[batch, 3, 2\]"):
        sl.outputs(net, device.put(theta), device.put(x[:, :2]))
    with pytest.raises(TypeError, match="a: expected int64 on a GPU, got int32"):
        sl.rank_mod(device.put(np.ones((2, 2, 2), np.int32)))
    with pytest.raises(TypeError, match="stream: expected a stream of cupy or torch"):
        sl.outputs(net, device.put(theta), device.put(x), stream="default")
