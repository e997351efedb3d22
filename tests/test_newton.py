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
