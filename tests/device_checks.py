"""What must hold of calls on a GPU, whatever holds the arrays and whether the kernels run on a GPU or in the emulator.

`device` stands for a kind of array: put (numpy to the device), get (back), made (is this a result of that kind). test_cuda.py
runs all of this on GPUs, test_cuda_emulated.py on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu
from sublearn.backend.compiled import cuda_module
from sublearn.backend.cuda import CudaKernels
from sublearn.backend.dispatch import kernels_for
from sublearn.backend.host import HostKernels
from sublearn.homotopy.monodromy import monodromy
from sublearn.homotopy.system import CONVERGED, FAILED, INFINITE, SKIPPED, system_of
from sublearn.homotopy.trace_test import trace_test
from sublearn.model.layers import has_effect
from sublearn.ranks.generic_rank import attained_ranks, free_weights
from tests.adversarial_rank import families, verdicts
from tests.cases import masks, students

EPS = {np.float32: 1.2e-7, np.float64: 2.3e-16}
SIDES = [
    (1, 1),
    (3, 3),
    (4, 4),
    (2, 4),
    (5, 4),
    (5, 7),
    (8, 8),
    (9, 8),
    (3, 12),
    (16, 16),
    (17, 9),
    (9, 30),
    (32, 32),
    (33, 20),
    (64, 64),
    (66, 10),
]
# Bytes that hold some of the 50 students of `batches_are_split`, not all.
SPLITS = [
    ("rank", 3000),
    ("rank_mod", 3000),
    ("project", 4000),
    ("choose_columns", 4000),
    ("outputs", 5000),
    ("jacobian", 20000),
    ("fit", 10000),
    ("newton", 15000),
]


@dataclass
class Device:
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]
    made: Callable[[Any], bool]


def plain() -> Device:
    """The module's own arrays."""
    module = cuda_module()[0]

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
            got, unproven, not_finite = CudaKernels(module, 0, 0).rank_real(a, n * EPS[dtype])
            assert not_finite < 0 and len(unproven) == 0 and (got == ranks).all()


def rank_proofs_hold_for_adversarial_matrices(module, sizes, per_family):
    """Kahan, Hilbert, graded, scaled rows, 1e-300 to 1e300: whatever the kernel proves is the singular values' verdict."""
    certified = matrices = 0
    for n in sizes:
        for name, a in families(np.random.default_rng([1, n]), n, per_family):
            tolerance = n * EPS[np.float64]
            ranks, unproven, not_finite = CudaKernels(module, 0, 0).rank_real(np.ascontiguousarray(a), tolerance)
            wrong = ranks != verdicts(a, tolerance)[0]
            wrong[unproven] = False
            assert not_finite < 0 and not wrong.any(), f"{name}, {n} x {n}: {np.flatnonzero(wrong)}"
            certified, matrices = certified + len(a) - len(unproven), matrices + len(a)
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


def rank_of_batches_that_fill_no_warp(device):
    for count, m, n in ((1, 8, 8), (33, 8, 8), (65, 4, 4), (40, 3, 8), (70, 5, 1), (5, 16, 16), (3, 20, 32)):
        for dtype in EPS:
            a, ranks = planted(m, n, dtype, batch=max(count, 4))
            np.testing.assert_array_equal(device.get(sl.rank(device.put(a[:count]), backend=backend(device))), ranks[:count])


def rank_of_arrays_that_start_anywhere(device):
    """Slices, whose first number lies at no multiple of 16 bytes. For libraries whose arrays have slices."""
    for n in (4, 8, 16):
        for dtype in EPS:
            a, ranks = planted(n, n, dtype, batch=35)
            flat = device.put(np.concatenate([np.zeros(1, dtype), a.ravel()]))
            np.testing.assert_array_equal(device.get(sl.rank(flat[1:].reshape(35, n, n))), ranks)


def projections_agree_with_the_cpu(device, dtype):
    """Own and shared columns, dependent ones, far units, no change wanted; numbers that fit the shared memory of a block, and more."""
    rng = np.random.default_rng(12)
    for m, p, k in ((6, 5, 3), (18, 30, 18), (92, 70, 65)):
        J, g = rng.standard_normal((4, m, p)).astype(dtype), rng.standard_normal((4, m)).astype(dtype)
        J[1, :, k // 2 :] = J[1, :, : p - k // 2] * dtype(2)
        J[2, :, ::2] *= dtype(1e-9 if dtype is np.float32 else 1e-160)
        g[3] = 0
        own = np.stack([rng.permutation(p)[:k] for _ in range(4)])
        own[0, 0] = -1
        for columns in (own, own[0], rng.random((4, p)) < 0.5)[: 3 if m < 50 else 1]:
            here = sl.bottleneck(J, g, columns, backend="cpu")
            there = sl.bottleneck(device.put(J), device.put(g), columns, backend=backend(device))
            assert device.made(there.residual) and device.made(there.coefficients)
            near = {"rtol": 1e-6, "atol": 1e-12 * float((g**2).sum(axis=1).max())}
            np.testing.assert_allclose(device.get(there.residual), here.residual, **near)
            np.testing.assert_allclose(device.get(there.share), here.share, rtol=1e-6, atol=1e-12)
            np.testing.assert_array_equal(device.get(there.rank), here.rank)
            if columns is own:
                np.testing.assert_allclose(device.get(there.coefficients)[0], here.coefficients[0], rtol=1e-5, atol=1e-8)
    J[2, 3, 4] = np.nan
    with pytest.raises(ValueError, match="J: expected finite numbers, got nan or inf in a column of matrix 2"):
        sl.bottleneck(device.put(J), device.put(g), backend=backend(device))


def choices_of_columns_agree_with_the_cpu(device, dtype):
    rng = np.random.default_rng(13)
    for m, p, budget in ((6, 5, 6), (18, 51, 12), (20, 1300, 3)):
        J, g = rng.standard_normal((4, m, p)).astype(dtype), rng.standard_normal((4, m)).astype(dtype)
        J[1, :, p // 2 :] = J[1, :, : p - p // 2]
        J[2] *= (10.0 ** rng.uniform(-9, 9, p) if dtype is np.float32 else 10.0 ** rng.uniform(-140, 140, p)).astype(dtype)
        g[3] = 0
        candidates = rng.random((4, p)) < 0.8
        for rule in ("ols", "omp", "pivot"):
            for more in ({}, {"candidates": candidates, "given": [1]}):
                here = sl.choose_columns(J, g, budget, rule, backend="cpu", **more)
                there = sl.choose_columns(device.put(J), device.put(g), budget, rule, backend=backend(device), **more)
                np.testing.assert_array_equal(device.get(there.indices), here.indices)
                np.testing.assert_allclose(device.get(there.residuals), here.residuals, rtol=1e-6, atol=1e-12 * float((g**2).sum()))
    J[2, 3, 4] = np.inf
    with pytest.raises(ValueError, match="J: expected finite numbers, got nan or inf in a column of matrix 2"):
        sl.choose_columns(device.put(J), device.put(g), 2, backend=backend(device))


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


FEW_STEPS = [(4, 1, 6), (4, 2, 3), (8, 1, 8), (8, 2, 6)]  # hidden, outputs, steps: all in registers


def masks_within_a_group(hidden, outputs, steps, dtype):
    """Every student its own weights of one group, or of W and another; 1 to 6 of them, which straddles the four updated together."""
    net = sl.Recurrent(2, hidden, outputs, steps, bias=True)
    rng = np.random.default_rng(3)
    theta, x, y = students(net, 35, dtype=dtype)
    for groups in [*((g,) for g in net.groups), *(("W", g) for g in net.groups)]:
        allowed = np.concatenate([np.arange(net.size)[net.slices[g]] for g in groups])
        own = np.zeros((35, net.size), bool)
        for b, row in enumerate(own):
            row[rng.choice(allowed, min(b % 6 + 1, len(allowed)), replace=False)] = True
        for optimizer in ("sgd", "momentum", "adam"):
            how = {"steps": 8, "optimizer": optimizer, "lr": 1e-3}
            want, got = sl.fit(net, theta, x, y, own, **how), sl.fit(net, theta, x, y, own, backend="cuda", **how)
            # Adam divides by the size of the gradient: it amplifies the rounding of small ones, to at most a step of 1e-3
            error = 1e-9 if dtype == np.float64 else 5e-4 if optimizer == "adam" else 2e-5
            np.testing.assert_allclose(got.theta, want.theta, rtol=error, atol=error)
            np.testing.assert_allclose(got.loss, want.loss, rtol=error)
            np.testing.assert_array_equal(got.theta[~own], theta[~own])


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


# ---- complex paths ------------------------------------------------------------------------------------------------------------

PATHS = [  # networks, shared groups, weights that learn: few and many lanes, some of them idle; biases; the teacher moves; layers
    (sl.Recurrent(1, 4, 1, 5), ("B", "D"), None),
    (sl.Recurrent(2, 8, 2, 4), ("B", "D"), None),
    (sl.Recurrent(1, 4, 2, 4, bias=True), ("B", "D", "b", "c"), None),
    (sl.Recurrent(2, 3, 2, 3), (), None),
    (sl.Recurrent(3, 3, 1, 5), ("B", "D"), None),
    (sl.Recurrent(1, 8, 1, 6), ("B", "D"), None),
    (sl.Recurrent(1, 5, 2, 5), ("B", "D"), None),
    (sl.Recurrent(1, 9, 1, 4), ("B", "D"), None),
    (sl.Recurrent(2, 2, 2, 9), ("W",), 6),
    (sl.Recurrent(2, 2, 1, 9), ("W",), 4),
    (sl.Feedforward((3, 4, 3, 2), 3, bias=True), (), None),
]


def on_the_gpu():
    return kernels_for("cuda")


def square_masks(net, shared, count):
    """Random allocations with r = rho = kappa."""
    kappa, free = system_of(net, shared).kappa, np.flatnonzero(free_weights(net, shared))
    rng, many = np.random.default_rng(net.size), np.zeros((20 * count, net.size), bool)
    for mask in many:
        mask[rng.choice(free, kappa, replace=False)] = True
    return many[attained_ranks(net, many, shared) == kappa][:count]


def same_ends(got, want):
    """The same status and the same end points, but for one path in fifty, which may be lost or jump where sums round differently.

    An end point is settled by a relative correction of 1e-8 at most, most by far less.
    """
    apart = np.abs(got.end - want.end).max(axis=1) / (1 + np.abs(want.end).max(axis=1))
    both = (got.status == want.status) & (want.status == CONVERGED)
    wrong = (got.status != want.status) | (both & (apart > 1e-7))
    assert wrong.sum() <= max(1, len(wrong) // 50), f"{wrong.sum()} of {len(wrong)} paths end elsewhere"
    assert np.median(apart[both]) < 1e-11
    assert abs(got.steps[both].mean() / want.steps[both].mean() - 1) < 0.1


def paths_agree_with_the_cpu(net, shared, kappa, allocations=4, targets=5):
    """More paths than threads, of several allocations, to complex and real data; then one path, and one more than a warp."""
    system = system_of(net, shared)
    assert kappa is None or (system.saturated and system.kappa == kappa)
    masks, on_the_cpu = square_masks(net, shared, allocations), HostKernels()
    base = monodromy(system, masks, most=40, loops=6, thorough=False, threads=1, kernels=on_the_cpu)
    rng = np.random.default_rng(5)
    points = np.stack([base.point, *(system.draw(rng, real=bool(k % 2)) for k in range(targets))])
    owner = np.tile(np.repeat(np.arange(len(base.found)), base.found), targets)
    start, to = np.tile(np.concatenate(base.solutions), (targets, 1)), np.repeat(np.arange(1, targets + 1), base.found.sum())

    def track(rows, kernels, **how):
        return system.track(points, base.indices, base.degrees, owner[rows], 0, to[rows], start[rows], kernels=kernels, **how)

    everything = np.arange(len(start))
    want = track(everything, on_the_cpu)
    got = track(everything, on_the_gpu())
    assert (want.status == CONVERGED).mean() > 0.9
    same_ends(got, want)
    for count in (1, 33):
        few = everything[:count]
        alone = track(few, on_the_gpu())
        np.testing.assert_array_equal(alone.end, got.end[: len(few)])  # bit for bit: neighbours do not matter
        np.testing.assert_array_equal(alone.steps, got.steps[: len(few)])
    none = track(everything[:0], on_the_gpu())
    assert none.end.shape == (0, system.kappa) and none.status.shape == (0,)
    return want


def sliced_paths_agree_with_the_cpu():
    """The trace test, whose systems have a cut: complete sets, and sets that miss one."""
    net, shared = sl.Recurrent(1, 4, 1, 4), ("B", "D")
    system = system_of(net, shared)
    base = monodromy(system, square_masks(net, shared, 3), threads=1, kernels=HostKernels())
    for solutions in (base.solutions, [z[1:] if len(z) > 1 else z for z in base.solutions]):
        here, there = (trace_test(system, base.point, base.indices, base.degrees, solutions, kernels=k) for k in (None, on_the_gpu()))
        assert [t[:2] for t in here] == [t[:2] for t in there]
        assert [len(t.missing) for t in here] == [len(t.missing) for t in there]


def solution_sets_agree_with_the_cpu():
    net, shared = sl.Recurrent(1, 4, 1, 5), ("B", "D")
    masks = square_masks(net, shared, 4)
    here, there = (monodromy(system_of(net, shared), masks, most=60, loops=20, thorough=False, kernels=k) for k in (None, on_the_gpu()))
    assert here.found.tolist() == there.found.tolist() and here.found.max() > 2
    for a, b in zip(here.solutions, there.solutions):
        assert np.abs(a[:, None] - b[None]).max(axis=2).min(axis=1).max() < 1e-7 * (1 + np.abs(a).max())


def _quadratics(split, vanish, count=37, seed=0):
    """One weight w = W[1, 1] of 1-3-1, T = 3, and its last equation a w^2 + b w + c = 0: (points, starts, roots) to `count` end points.

    split: the roots there are that far apart. vanish: a = 0 there, so one of the two goes to infinity.
    """
    net = sl.Recurrent(1, 3, 1, 3)
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count + 1, net.size + 6)) + 1j * rng.standard_normal((count + 1, net.size + 6))
    B, W, D = (net.slices[g].start for g in "BWD")
    if vanish:
        points[1:, D + 1] = 0
    roots = []
    for number, q in enumerate(points):

        def value(w, q=q):
            theta = np.where(np.arange(net.size) == W + 4, w, q[: net.size])
            return _cpu.outputs_complex(net.shape, theta[None], np.array([[1.0, 0, 0]]))[0, 2]

        q[net.size : net.size + 3] = [1, 0, 0]
        c, plus, minus = value(0), value(1), value(-1)
        a, b = (plus + minus) / 2 - c, (plus - minus) / 2
        if number and split is not None:
            q[-1] = c - (b * b - (a * split) ** 2) / (4 * a)
        c -= q[-1]
        square = np.sqrt(b * b - 4 * a * c)
        roots.append([-c / b] * 2 if vanish and number else [(-b - square) / (2 * a), (-b + square) / (2 * a)])
    return net, W + 4, points, np.array(roots)


def _follow_quadratics(kernels, net, weight, points, roots):
    count = len(points) - 1
    to = np.repeat(np.arange(1, count + 1), 2).astype(np.int32)
    zero = np.zeros(2 * count, np.int32)
    return kernels.continuation(
        net.shape,
        points,
        False,
        np.array([[weight]], np.int32),
        np.array([[2]], np.int32),
        np.array([2], np.int32),
        None,
        zero,
        zero,
        to,
        zero,
        np.tile(roots[0], count)[:, None].copy(),
    )


def paths_to_planted_roots():
    """Roots of quadratics: apart, nearly double, double, and one at infinity."""
    for split, bound in ((None, 1e-12), (1e-2, 1e-10)):
        net, weight, points, roots = _quadratics(split, False)
        out = _follow_quadratics(on_the_gpu(), net, weight, points, roots)
        assert (out["status"] == CONVERGED).all()
        ends = out["end"][:, 0].reshape(-1, 2)
        both = np.minimum(np.abs(ends - roots[1:]).max(axis=1), np.abs(ends[:, ::-1] - roots[1:]).max(axis=1))
        assert (both < bound * (1 + np.abs(roots[1:]).max(axis=1))).all()
    for split in (1e-4, 1e-6, 0.0):  # nothing may be reported as settled that is not next to a root
        net, weight, points, roots = _quadratics(split, False)
        out, cpu = (_follow_quadratics(kernels, net, weight, points, roots) for kernels in (on_the_gpu(), _cpu))
        settled = out["status"] == CONVERGED
        assert np.isin(out["status"], (CONVERGED, FAILED)).all() and (settled != (cpu["status"] == CONVERGED)).sum() <= 2
        near = np.abs(out["end"] - np.repeat(roots[1:], 2, axis=0)).min(axis=1)
        assert (near[settled] < 1e-7 * (1 + np.abs(out["end"][settled, 0]))).all()
        assert settled.any() if split == 1e-4 else not settled.all()
    net, weight, points, roots = _quadratics(None, True)
    out, cpu = (_follow_quadratics(kernels, net, weight, points, roots) for kernels in (on_the_gpu(), _cpu))
    np.testing.assert_array_equal(out["status"], cpu["status"])
    status = np.sort(out["status"].reshape(-1, 2), axis=1)
    assert (status == [CONVERGED, INFINITE]).all()
    ends = out["end"][:, 0][out["status"] == CONVERGED]
    assert (np.abs(ends - roots[1:, 0]) < 1e-10 * (1 + np.abs(ends))).all()
    assert out["largest"][out["status"] == INFINITE].min() > 1e7


def the_first_real_end_is_reported(monkeypatch, trials=30, bytes_allowed=None, neighbours=False):
    """Jobs before the first real end of a group end as they would alone, and so does it; later ones do, or are skipped.

    neighbours: the jobs of a group are next to each other, else far apart.
    """
    net, shared = sl.Recurrent(1, 4, 1, 5), ("B", "D")
    system = system_of(net, shared)
    base = monodromy(system, square_masks(net, shared, 3), most=40, loops=10, thorough=False, threads=1, kernels=HostKernels())
    rng = np.random.default_rng(2)
    points = np.stack([base.point, *(system.draw(rng, real=True) for _ in range(trials))])
    owner = np.arange(trials) % len(base.found)
    trial = np.repeat(np.arange(trials), base.found[owner])
    number = np.concatenate([np.arange(base.found[m]) for m in owner])
    order = np.arange(len(trial)) if neighbours else np.lexsort((trial, number))
    trial, number = trial[order], number[order]
    start = np.array([base.solutions[owner[t]][k] for t, k in zip(trial, number)])
    arguments = points, base.indices, base.degrees, owner[trial], 0, 1 + trial, start, trial
    alone = system.track(*arguments, kernels=on_the_gpu())
    module, calls = cuda_module()[0], []
    inner = module.continuation
    with monkeypatch.context() as patch:
        patch.setattr(module, "continuation", lambda *arguments: calls.append(1) or inner(*arguments))
        if bytes_allowed:
            patch.setenv("SUBLEARN_CUDA_MEMORY", str(bytes_allowed))
        out = system.track(*arguments, stop_at_real=True, kernels=on_the_gpu())
    assert len(calls) > 1 if bytes_allowed else len(calls) == 1
    real = (alone.status == CONVERGED) & (np.abs(alone.end.imag).max(axis=1) < 1e-7 * (1 + np.abs(alone.end).max(axis=1)))
    seen = 0
    for t in range(trials):
        jobs = np.flatnonzero(trial == t)
        first = int(np.argmax(real[jobs])) if real[jobs].any() else len(jobs)
        seen += first < len(jobs)
        np.testing.assert_array_equal(out.status[jobs[: first + 1]], alone.status[jobs[: first + 1]])
        np.testing.assert_array_equal(out.end[jobs[: first + 1]], alone.end[jobs[: first + 1]])
        later = jobs[first + 1 :]
        assert ((out.status[later] == SKIPPED) | (out.status[later] == alone.status[later])).all()
    assert trials // 2 < seen and (out.status == SKIPPED).sum() > trials // 2


def exact_verdicts_agree_with_the_cpu(trials, nets=((sl.Recurrent(1, 4, 1, 5), 4), (sl.Recurrent(2, 8, 2, 4), 6))):
    """Trial by trial; one in a hundred may end elsewhere where sums round differently."""
    flips = 0
    for net, budget in nets:
        shared, strategy = ("B", "D"), sl.scattered(net, budget, "W")
        masks = square_masks(net, shared, 4)[np.arange(trials) % 4]
        drawn = sl.draw_trials(net, strategy, trials, shared=shared, seed=7)
        want, got = (
            sl.decide(net, drawn.student, drawn.x, drawn.y, masks, shared, "exact", starts=1, iterations=10, backend=where)
            for where in ("cpu", "cuda")
        )
        flips += int((want.match != got.match).sum())
        followed = np.isin(got.reason, ("paths", "T8")).sum()
        assert followed > trials // 10 and (got.match >= 0).mean() > 0.9
        sure = got.certified & np.isin(got.reason, ("newton", "paths")) & (got.match == 1)
        assert sure.sum() > trials // 4 and np.median(got.loss[sure]) < 1e-24
    assert flips <= max(1, trials // 50), f"{flips} of {2 * trials} verdicts differ from the CPU's"
    return flips


# ---- memory, devices, errors ----------------------------------------------------------------------------------------------------


def batches_are_split(monkeypatch, operation, bytes_allowed):
    """The same result in several pieces; the planned bytes are never exceeded by the arrays of a piece."""
    module, pieces = cuda_module()[0], []
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
        "project": lambda b: sl.bottleneck(matrices, matrices[:, :, 0], backend=b).residual,
        "choose_columns": lambda b: sl.choose_columns(matrices, matrices[:, :, 0], 3, backend=b).indices,
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
