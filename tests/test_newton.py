"""One step of Levenberg-Marquardt with geodesic acceleration against numpy, for systems in the lanes and systems one at a time."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu
from sublearn.ops.arguments import index_rows
from sublearn.ops.search import start_scale

# (network, learnable weights): fewer and more of them than equations; 64 rows and more are taken one matrix at a time, in blocks of 16, 8
# or 4 rows and 256 terms.
CASES = [
    (sl.Recurrent(2, 8, 2, 6), 7),
    (sl.Recurrent(2, 8, 2, 6), 15),
    (sl.Recurrent(2, 19, 3, 22), 80),
    (sl.Recurrent(2, 19, 3, 22), 62),
    (sl.Feedforward((6, 30, 5), 14, activation="tanh", bias=True), 100),
    (sl.Feedforward((6, 40, 5), 13, activation="relu"), 300),
    (sl.Feedforward((6, 30, 5), 60, activation="tanh"), 130),
]


def numpy_step(net, theta, x, y, mask):
    """theta after the first step, and its loss relative to ||y||^2."""

    def residual(weights):
        full = theta.copy()
        full[mask] = weights
        return (sl.outputs(net, full, x) - y).ravel()

    at = theta[mask]
    f = residual(at)
    J = sl.jacobian(net, theta, x, mask)
    J = J.reshape(f.size, -1)
    moves = J.any(axis=1)
    f0, J = f[moves], J[moves]
    E, r = J.shape
    gram = J @ J.T if r > E else J.T @ J
    gram = gram + 1e-4 * 0.15 * np.trace(gram) / min(r, E if r > E else r) * np.eye(len(gram))

    def solve(right):
        return J.T @ np.linalg.solve(gram, right) if r > E else np.linalg.solve(gram, J.T @ right)

    step = solve(-f0)
    second = 2 / 0.1 * ((residual(at + 0.1 * step)[moves] - f0) / 0.1 - J @ step)
    bend = solve(-second / 2)
    if bend @ bend < 0.5625 * step @ step:
        step = step + bend
    moved = theta.copy()
    moved[mask] = at + step
    return moved, (residual(at + step) ** 2).sum() / (y**2).sum()


@pytest.mark.parametrize("net,budget", CASES)
@pytest.mark.parametrize("own", [True, False], ids=["own_masks", "one_mask"])
def test_first_step_equals_numpy(net, budget, own, isa):
    batch = 11  # some lanes idle
    rng = np.random.default_rng(5)
    drawn = sl.draw_trials(net, sl.scattered(net, budget), batch, seed=4)
    masks = drawn.mask if own else np.repeat(drawn.mask[:1], batch, 0)
    theta = drawn.student
    y = sl.outputs(net, theta + masks * 0.02 * rng.standard_normal(theta.shape), drawn.x)
    out = _cpu.newton(
        net.shape,
        theta,
        drawn.x.reshape(batch, -1),
        y.reshape(batch, -1),
        index_rows(masks if own else masks[:1]),
        start_scale(net, np.ones(len(net.groups))),
        1,
        2,
        1e-30,
        0,
        0,
        np.arange(batch, dtype=np.uint32),
        2,
    )
    before = ((sl.outputs(net, theta, drawn.x) - y) ** 2).sum((1, 2)) / (y**2).sum((1, 2))
    accepted = 0
    for b in range(batch):
        expected, loss = numpy_step(net, theta[b], drawn.x[b], y[b], masks[b])
        if loss > 0.9 * before[b]:  # a refused step leaves theta where it was
            continue
        accepted += 1
        np.testing.assert_allclose(out["theta"][b], expected, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(out["loss"][b], loss, rtol=1e-5, atol=1e-20)
    assert accepted >= 6


def test_the_public_search_is_the_kernel_and_checks_its_arguments(isa):
    net = sl.Recurrent(2, 8, 2, 6)
    t = sl.draw_trials(net, sl.scattered(net, 12, "W"), 50, shared=("B", "D"), seed=3, task=4, first=20)
    keys = {"seed": 3, "task": 4, "first": 20}
    got = sl.levenberg_marquardt(net, t.student, t.x, t.y, t.mask, starts=5, threads=1, **keys)
    rows = (a.reshape(50, -1) for a in (t.student, t.x, t.y))
    scale, trials = start_scale(net, np.ones(3)), np.arange(20, 70, dtype=np.uint32)
    want = _cpu.newton(net.shape, *rows, index_rows(t.mask), scale, 5, 200, 1e-20, 3, 4, trials, 1)
    for name, kernel in (("theta", "theta"), ("loss", "loss"), ("start", "found")):
        np.testing.assert_array_equal(getattr(got, name), want[kernel])
    assert got.iterations == want["iterations"] and (got.start >= 0).sum() > 40
    np.testing.assert_array_equal(got.theta[~t.mask], t.student[~t.mask])  # frozen weights, bit for bit
    truth = np.sum((sl.outputs(net, got.theta, t.x) - t.y) ** 2, axis=(1, 2)) / np.sum(t.y**2, axis=(1, 2))
    np.testing.assert_allclose(got.loss, truth, rtol=1e-6, atol=1e-28)
    one = sl.levenberg_marquardt(net, t.student[7], t.x[7], t.y[7], t.mask[7], starts=5, seed=3, task=4, first=27)
    np.testing.assert_array_equal(one.theta, got.theta[7])
    assert one.loss.shape == () and one.start == got.start[7]
    same = sl.levenberg_marquardt(net, t.student[0], t.x, t.y, t.mask[0], starts=2)  # one student and one mask for all
    assert same.theta.shape == (50, net.size) and np.unique(same.start).size > 1
    for change, text in (
        ({"starts": 0}, "starts: expected a whole number >= 1, got 0"),
        ({"tol": 0.0}, "tol: expected a finite number above 0"),
        ({"first": 2**32 - 3}, "count: expected"),
        ({"allocation": np.arange(2 * net.size).reshape(2, -1) % 3 == 0}, "allocation"),
        ({"allocation": t.mask & (np.arange(50) > 3)[:, None]}, "allocation: expected masks of one budget, got 0 to 12 learnable weights"),
        ({"gains": {"Q": 1.0}}, "gains: expected"),
    ):
        arguments = {"allocation": t.mask, **change}
        with pytest.raises((TypeError, ValueError), match=text):
            sl.levenberg_marquardt(net, t.student, t.x, t.y, **arguments)
    with pytest.raises(TypeError, match="x: expected float64 like theta, got float32"):
        sl.levenberg_marquardt(net, t.student, t.x.astype(np.float32), t.y, t.mask)
    with pytest.raises(TypeError, match="theta: expected float64"):
        sl.levenberg_marquardt(net, t.student.astype(np.float32), t.x, t.y, t.mask)
