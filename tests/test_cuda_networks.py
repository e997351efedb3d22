"""The network kernels for GPUs, run by the emulator: what the checks shared with real GPUs (device_checks.py) leave out. Batches
straddle a warp and the grid of the emulator (64 threads); networks straddle registers, shared memory and device memory."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu
from sublearn.backend.compiled import cuda_module
from sublearn.backend.dispatch import kernels_for
from sublearn.ops.arguments import index_rows
from sublearn.ops.search import start_scale
from tests import device_checks as checks
from tests.cases import masks, names, students

pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")


pytestmark = pytest.mark.usefixtures("emulated")


def on_device(array):
    module = cuda_module()[0]
    array = np.ascontiguousarray(array)
    out = module.Array(list(array.shape), array.dtype)
    out.upload(array)
    return out


@pytest.mark.parametrize("batch", [1, 31, 32, 33, 64, 65, 130])
def test_batches(batch):
    """A student's result is the same in every batch, and every student's is written."""
    net = sl.Recurrent(2, 8, 2, 4)
    theta, x, y = students(net, 130)
    own = masks(net, 130, 7)
    whole = sl.fit(net, theta, x, y, own, steps=12, backend="cuda")
    part = sl.fit(net, theta[:batch], x[:batch], y[:batch], own[:batch], steps=12, backend="cuda")
    np.testing.assert_array_equal(part.theta, whole.theta[:batch])
    y_part, y_whole = (sl.outputs(net, theta[:k], x[:k], backend="cuda") for k in (batch, 130))
    np.testing.assert_array_equal(y_part, y_whole[:batch])


SIZES = [
    (4, 1, 5),
    (4, 2, 1),
    (4, 1, 6),
    (4, 2, 9),
    (4, 3, 4),
    (8, 1, 3),
    (8, 2, 6),
    (8, 2, 8),
    (8, 1, 9),
    (8, 4, 2),
    (7, 2, 3),
    (16, 2, 3),
]


@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
@pytest.mark.parametrize("hidden, outputs, steps", SIZES)
def test_each_group_alone_and_all(hidden, outputs, steps, activation):
    """W and D in registers (4 and 8 units) or not: the gradient of every group, alone (drives fixed or not) and together."""
    net = sl.Recurrent(2, hidden, outputs, steps, activation=activation, bias=True)
    theta, x, y = students(net, 3)
    for groups in [(g,) for g in net.groups] + [tuple(net.groups)]:
        mask = np.zeros(net.size, dtype=bool)
        for g in groups:
            mask[net.slices[g]] = True
        for optimizer in ("sgd", "adam"):
            how = {"steps": 8, "optimizer": optimizer, "lr": 1e-3}
            want, got = sl.fit(net, theta, x, y, mask, **how), sl.fit(net, theta, x, y, mask, backend="cuda", **how)
            # Adam divides by the size of the gradient: it amplifies the rounding of small ones
            np.testing.assert_allclose(got.theta, want.theta, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(got.loss, want.loss, rtol=1e-9)
            np.testing.assert_array_equal(got.theta[:, ~mask], theta[:, ~mask])
            if optimizer == "sgd" and activation != "relu" and steps > 1:
                assert (got.theta != theta)[:, mask].mean() > 0.8


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", checks.FEW_STEPS)
def test_masks_within_a_group(size, dtype):
    checks.masks_within_a_group(*size, dtype)


LARGE = [sl.Feedforward((20, 30, 4), 40, activation="tanh", bias=True), sl.Recurrent(3, 24, 2, 12, activation="relu")]


@pytest.mark.parametrize("net", LARGE, ids=["feedforward", "recurrent"])
def test_strips_in_device_memory(net):
    """Tables larger than shared memory."""
    theta, x, y = students(net, 40)
    own = masks(net, 40, 30)
    want, got = (sl.fit(net, theta, x, y, own, steps=4, lr=1e-3, backend=where) for where in ("cpu", "cuda"))
    np.testing.assert_allclose(got.theta, want.theta, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(sl.jacobian(net, theta, x, own, backend="cuda"), sl.jacobian(net, theta, x, own), rtol=1e-9, atol=1e-11)


def test_students_that_stop():
    """Converged, diverged and unfinished students side by side in one warp; a student that starts at infinity loses nothing."""
    net = sl.Recurrent(2, 8, 2, 4)
    theta, x, _ = students(net, 40)
    y = sl.outputs(net, theta, x)
    y[1::3] += 1.0
    y[2::3] *= 1e200
    own = masks(net, 40, 9)
    how = {"steps": 60, "tol": 1e-3, "lr": 1e-2, "optimizer": "sgd"}
    want, got = sl.fit(net, theta, x, y, own, **how), sl.fit(net, theta, x, y, own, backend="cuda", **how)
    assert set(want.status) == {"converged", "diverged", "steps done"} or set(want.status) == {"converged", "diverged"}
    np.testing.assert_array_equal(got.status, want.status)
    np.testing.assert_array_equal(got.steps, want.steps)
    assert np.isfinite(got.theta).all()
    np.testing.assert_array_equal(got.theta[::3], theta[::3])  # began at the solution: no step


SMOOTH = [
    sl.Recurrent(2, 3, 2, 4, bias=True),
    sl.Recurrent(1, 8, 2, 3, activation="tanh"),
    sl.Feedforward((3, 5, 2), 4, bias=True),
    sl.Feedforward((2, 4, 3, 2), 3, activation="tanh"),
    sl.Feedforward((2, 4, 3, 2), 3, activation="tanh", gain=True),
    sl.Recurrent(1, 4, 2, 3, activation="tanh", gain=True, samples=2, leak=0.3),
]


@pytest.mark.parametrize("net", SMOOTH, ids=names)
def test_jacobian_mod_is_bit_equal(net):
    rng = np.random.default_rng(1)
    module = cuda_module()[0]
    for p in _cpu.PRIMES:
        theta, x = rng.integers(0, p, (37, net.size)), rng.integers(0, p, (37, net.shape.inputs_size))
        theta[0], x[0] = p - 1, p - 1
        out = module.Array([37, net.equations, net.size], np.dtype(np.int64))
        module.jacobian_mod(net.shape, on_device(theta), on_device(x), 2**60 + 7, p, out)
        np.testing.assert_array_equal(out.numpy(), _cpu.jacobian_mod(net.shape, theta, x, 2**60 + 7, p))


def test_draws_of_every_kind_of_recipe():
    net = sl.Feedforward((3, 7, 2), 3, bias=True)
    for strategy in (
        sl.per_row(net, rows=3, each=2, within="W1"),
        sl.split(net, {"W1": 5, "W2": 3, "b1": 1}),
        sl.per_column(net, columns=2, each=1, within="W2"),
    ):
        how = {"shared": ("b2",), "seed": 9, "task": 2**31, "first": 2**32 - 70}
        want, got = (sl.draw_trials(net, strategy, 70, backend=where, **how) for where in ("cpu", "cuda"))
        for name in ("teacher", "student", "x", "mask"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
        np.testing.assert_array_equal(got.mask.sum(axis=1), strategy.budget)


PLANTED = [
    (sl.Recurrent(2, 8, 2, 6), ("B", "D"), 13),
    (sl.Recurrent(2, 4, 2, 6), ("B", "D"), 9),
    (sl.Recurrent(1, 5, 1, 4), (), 6),
    (sl.Feedforward((3, 4, 2), 3, activation="tanh"), (), 9),
]


@pytest.fixture(params=["lanes", "threads"])
def kernel(request, emulated):
    """Which of the two kernels searches networks that fit the first: eight lanes per start, or one thread."""
    module = cuda_module()[0]
    module.strips(1 if request.param == "threads" else 0)
    yield request.param
    module.strips(0)


def newton(net, theta, x, y, index, where, starts=1, iterations=200, tol=1e-20, **how):
    batch = len(theta)
    return kernels_for(where).newton(
        net.shape,
        theta,
        x.reshape(batch, -1),
        y.reshape(batch, -1),
        index,
        start_scale(net, np.ones(len(net.groups))),
        starts,
        iterations,
        tol,
        5,
        2,
        np.arange(batch, dtype=np.uint32),
        **how,
    )


@pytest.mark.parametrize("net, shared, budget", PLANTED, ids=["n8", "n4", "n5", "feedforward"])
def test_newton_finds_by_the_same_starts(net, shared, budget, kernel):
    """Planted solutions, more equations than weights and fewer: the start that is reported is the first, though the emulated warp runs
    later starts at the same time; what is reported solves the equations; frozen weights are bit-equal."""
    drawn = sl.draw_trials(net, sl.scattered(net, budget, within="W1" if "W1" in net.groups else "W"), 24, shared=shared, seed=3)
    rng = np.random.default_rng(2)
    planted = drawn.student + drawn.mask * 0.4 * rng.standard_normal(drawn.student.shape)
    y = sl.outputs(net, planted, drawn.x)
    want, got = (
        sl.decide(net, drawn.student, drawn.x, y, drawn.mask, shared, "newton", screen=False, starts=5, backend=where)
        for where in ("cpu", "cuda")
    )
    assert (want.match == 1).sum() >= 12
    assert (want.match != got.match).sum() <= 1 and (want.start != got.start).sum() <= 1
    found = got.match == 1
    error = sl.outputs(net, got.theta, drawn.x) - y
    assert ((error**2).sum(axis=(1, 2))[found] < 1.01e-20 * (y**2).sum(axis=(1, 2))[found]).all()
    np.testing.assert_array_equal(got.theta[~drawn.mask], drawn.student[~drawn.mask])


# Both forms of the system, of odd and even size; one to four rows per lane; more steps than a tile of the Jacobian; every kind of weight.
NARROW = [
    (sl.Recurrent(2, 8, 2, 6), "W", (0, 1, 9, 10, 11, 12, 20)),
    (sl.Recurrent(1, 4, 1, 5, bias=True), None, (1, 4, 5, 6, 9)),
    (sl.Recurrent(3, 5, 2, 4, bias=("b",)), None, (3, 7, 12)),
    (sl.Recurrent(2, 3, 2, 1, bias=("c",)), None, (1, 2, 5)),
    (sl.Recurrent(1, 1, 1, 2), "W", (1,)),
    (sl.Recurrent(2, 8, 3, 13), "W", (16, 17, 32)),
    (sl.Recurrent(1, 7, 9, 2), None, (8, 23)),
    (sl.Recurrent(2, 8, 2, 4, activation="tanh", bias=True), None, (5, 11)),
    (sl.Recurrent(2, 8, 2, 9, activation="tanh"), "W", (20,)),
    (sl.Recurrent(2, 4, 3, 3, activation="relu"), None, (4, 12)),
    (sl.Recurrent(2, 6, 1, 7, activation="relu"), "W", (9,)),
    (sl.Recurrent(2, 8, 1, 3, activation="tanh", gain=True, samples=2, leak=0.5), None, (5, 9)),
]


@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
@pytest.mark.parametrize("net, group, budgets", NARROW, ids=[names(case[0]) for case in NARROW])
def test_newton_steps_are_those_of_the_cpu(net, group, budgets, own, kernel):
    """Three iterations: the same points up to rounding, whichever kernel and whatever the weights that learn."""
    batch = 7
    theta, x, _ = students(net, batch)
    rng = np.random.default_rng(4)
    places, moved = np.arange(net.size)[net.slices[group]] if group else np.arange(net.size), []
    for budget in budgets:
        index = np.sort([rng.permutation(places)[:budget] for _ in range(batch if own else 1)], axis=1).astype(np.intc)
        free = np.zeros((batch, net.size), dtype=bool)
        np.put_along_axis(free, np.broadcast_to(index, (batch, budget)).astype(np.int64), True, axis=1)
        near = 0.05 * rng.standard_normal(theta.shape)
        near[::2] *= free[::2]  # every other student has a solution nearby
        y = sl.outputs(net, theta + near, x)
        for iterations in (1, 2, 3):
            want, got = (newton(net, theta, x, y, index, where, iterations=iterations, tol=1e-14) for where in ("cpu", "cuda"))
            np.testing.assert_array_equal(got["found"], want["found"])
            np.testing.assert_allclose(got["loss"], want["loss"], rtol=1e-6, atol=1e-14)
            np.testing.assert_allclose(got["theta"], want["theta"], rtol=1e-6, atol=1e-6)
            assert got["iterations"] == want["iterations"]
            np.testing.assert_array_equal(got["theta"][~free], theta[~free])
        moved.append((want["theta"] != theta).any(axis=1).mean())
    assert max(moved) > 0.5


def test_newton_takes_the_kernel_that_fits():
    """Eight lanes per start need far less memory per warp; large systems and wide networks stay with one thread per start."""
    module = cuda_module()[0]
    used = []
    for net in (sl.Recurrent(2, 8, 2, 6), sl.Recurrent(2, 9, 2, 6), sl.Recurrent(2, 8, 2, 18)):
        theta, x, y = students(net, 3)
        newton(net, theta, x, y, np.arange(34, dtype=np.intc)[None] + net.slices["W"].start, "cuda", iterations=1)
        used.append(module.strips(0))
    assert used[0] < 40_000 and min(used[1:]) > 160_000


@pytest.mark.parametrize("budget", [9, 12])
def test_newton_of_every_batch(budget, kernel):
    """Starts that end at different times, in warps that are full or not: a student's result does not depend on the others."""
    net, whole = sl.Recurrent(2, 8, 2, 6), 45
    drawn = sl.draw_trials(net, sl.scattered(net, budget, "W"), whole, shared=("B", "D"), seed=5)
    moved = drawn.mask * np.random.default_rng(1).standard_normal(drawn.mask.shape)
    y, index = sl.outputs(net, drawn.student + moved, drawn.x), index_rows(drawn.mask)
    y[::4] = sl.outputs(net, drawn.student, drawn.x)[::4]  # matched by the first evaluation
    y[1::4] = drawn.y[1::4]
    args = drawn.student, drawn.x, y, index
    want = newton(net, *args, "cpu", starts=4)
    one = newton(net, *args, "cuda", iterations=30)
    if budget == 9:
        assert set(want["found"]) > {-1, 0}  # some by a later start
    for batch in (1, 2, 3, 4, 5, 8, 9, 33, whole):
        part = [a[:batch] for a in args]
        got = newton(net, *part, "cuda", starts=4)
        assert (got["found"] != want["found"][:batch]).sum() <= 1
        solved = got["found"] >= 0
        error = ((sl.outputs(net, got["theta"], drawn.x[:batch]) - y[:batch]) ** 2).sum(axis=(1, 2))
        np.testing.assert_array_less(error[solved], 1.01e-20 * (y[:batch] ** 2).sum(axis=(1, 2))[solved])
        assert (got["loss"][solved] < 1e-20).all() and (got["loss"][~solved] >= 1e-20).all()
        few = newton(net, *part, "cuda", iterations=30)
        for name in ("theta", "loss", "found"):
            np.testing.assert_array_equal(few[name], one[name][:batch])
    sizes = (y**2).sum(axis=(1, 2))
    given = newton(net, *args, "cuda", starts=2, norm2=sizes * np.where(np.arange(whole) % 2, 1e30, 1.0))
    assert (given["found"][1::2] == 0).all() and (given["found"][::4] == 0).all()


def test_newton_of_infinite_students(kernel):
    """A first evaluation that is not finite ends a start; the next may be fine; what is frozen and infinite spoils them all."""
    net, batch = sl.Recurrent(2, 8, 2, 6), 14
    drawn = sl.draw_trials(net, sl.scattered(net, 12, "W"), batch, shared=("B", "D"), seed=6)
    theta, index = drawn.student.copy(), index_rows(drawn.mask)
    rows = np.arange(batch)
    theta[rows[::3], index[::3, 4]] = 1e200
    theta[rows[1::3], net.slices["B"].start] = np.inf
    want, got = (newton(net, theta, drawn.x, drawn.y, index, where, starts=6) for where in ("cpu", "cuda"))
    assert (want["found"] != got["found"]).sum() <= 1
    assert (got["found"][1::3] == -1).all() and np.isinf(got["loss"][1::3]).all() and (got["found"][::3] > 0).sum() >= 2
