"""Trajectories of dynamical systems, and networks that are fed by themselves."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.data.systems import NAMES, SYSTEMS, _states


@pytest.mark.parametrize("name", NAMES)
def test_a_trajectory_depends_on_its_number_alone(name):
    x = sl.systems.trajectories(name, 5, 30, seed=4, task=2, first=7)
    assert x.shape == (5, 30, 3 if name == "lorenz" else 2) and x.dtype == np.float64
    assert (sl.systems.trajectories(name, 2, 12, seed=4, task=2, first=9) == x[2:4, :12]).all()
    for other in (dict(seed=5, task=2), dict(seed=4, task=3), dict(seed=4, task=2, dt=0.05)):
        assert not np.allclose(sl.systems.trajectories(name, 5, 30, first=7, **other), x)


@pytest.mark.parametrize("name", NAMES)
def test_standardised(name):
    x = sl.systems.trajectories(name, 300, 100, seed=1)
    assert np.abs(x.mean(axis=(0, 1))).max() < 0.1 and np.abs(x.std(axis=(0, 1)) - 1).max() < 0.1


def test_golden_values():
    """Rows of studies depend on them: of sums and products, the same on every machine."""
    x = sl.systems.trajectories("lorenz", 1, 3, seed=1)
    assert x[0].tolist() == GOLDEN


GOLDEN = [
    [0.20176904187935762, 0.300438204433122, -1.3988875043938231],
    [0.24929840396659664, 0.3795611637369667, -1.4877976793569694],
    [0.3116793664165595, 0.48478245542091525, -1.5600337526350752],
]


def test_states_solve_their_equations():
    """linear: circles; pendulum: constant energy; all: order 4, so a sixteenth of the error with half of the step."""
    law, which = SYSTEMS["linear"], (3, 0, 0, 6)
    s = _states(law, which, 50, 0.2)
    t = 0.2 * np.arange(50)
    assert np.allclose(s[:, :, 0], s[:, :1, 0] * np.cos(t), atol=1e-6) and np.allclose(s[:, :, 1], -s[:, :1, 0] * np.sin(t), atol=1e-6)
    s = _states(SYSTEMS["pendulum"], which, 400, 0.2)
    assert np.ptp(s[:, :, 1] ** 2 / 2 - np.cos(s[:, :, 0]), axis=1).max() < 1e-6
    for name in ("vdp", "lorenz"):
        law = SYSTEMS[name]._replace(settle=0.0)
        ends = [_states(law._replace(dt=dt), which, 2, 0.1)[:, 1] for dt in (0.1, 0.05, 0.1 / 64)]
        one, two = (np.abs(end - ends[2]).max(axis=1) for end in ends[:2])
        assert 8 < np.median(one / two) < 30


def test_the_published_attractors():
    """Lorenz: mean of the third coordinate 23.55, largest 48 or so; van der Pol, mu = 2: amplitude 2.02, period 7.63."""
    s = _states(SYSTEMS["lorenz"], (0, 0, 0, 64), 400, 0.03)
    assert abs(s[..., 2].mean() - 23.55) < 0.5 and 42 < s[..., 2].max() < 49
    s = _states(SYSTEMS["vdp"], (0, 0, 0, 8), 1600, 0.01)
    assert np.abs(s[..., 0].max(axis=1) - 2.02).max() < 0.01
    crossings = [np.flatnonzero((row[:-1] < 0) & (row[1:] >= 0)) for row in s[..., 0]]
    assert all(len(c) > 1 and abs(np.diff(c) * 0.01 - SYSTEMS["vdp"].period).max() < 0.02 for c in crossings)


def test_valid_steps():
    truth = np.zeros((4, 10, 2))
    y = truth.copy()
    y[0, 3:] = 0.5
    y[1, 6] = 0.39
    y[2, 0, 0] = np.nan
    y[3, 9, 0] = 0.4 * np.sqrt(2) * 1.01
    assert sl.systems.valid_steps(y, truth).tolist() == [3, 10, 0, 9] and sl.systems.valid_steps(y[0], truth[0]) == 3


# Networks fed by themselves


@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
@pytest.mark.parametrize("bias", [False, True, ("c",)])
@pytest.mark.parametrize("batch", [None, 1, 5])
@pytest.mark.parametrize("more", [{}, dict(gain=True, leak=0.3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_free_run_is_the_forced_run_of_its_own_outputs(activation, bias, batch, dtype, more):
    """All inputs written down afterwards, with the compiled network: the same outputs up to rounding."""
    forced, steps = 6, 9
    net = sl.Recurrent(2, 7, 2, forced + steps - 1, activation=activation, bias=bias, **more)
    rng = np.random.default_rng(1)
    shape = () if batch is None else (batch,)
    theta, x = (0.4 * rng.normal(size=(*shape, net.size))).astype(dtype), rng.normal(size=(*shape, 8, 2)).astype(dtype)
    for own in (theta, theta if batch is None else theta[0]):
        y = sl.free_run(net, own, x, forced=forced, steps=steps)
        assert y.shape == (*shape, steps, 2) and y.dtype == dtype and y.flags.c_contiguous
        inputs = np.concatenate([x[..., :forced, :], y[..., :-1, :]], axis=-2)
        found = sl.outputs(net, own, inputs)[..., forced - 1 :, :]
        assert np.allclose(y, found, rtol=0, atol=(2e-5 if dtype == np.float32 else 1e-13) * np.abs(found).max())


def test_one_input_for_all_students():
    net = sl.Recurrent(3, 5, 3, 4, activation="tanh")
    theta, x = np.random.default_rng(0).normal(size=(6, net.size)), np.random.default_rng(1).normal(size=(10, 3))
    y = sl.free_run(net, theta, x, forced=4, steps=5)
    assert (y == sl.free_run(net, theta, np.repeat(x[None], 6, axis=0), forced=4, steps=5)).all() and len(y) == 6


def test_a_network_that_runs_away_says_so():
    net = sl.Recurrent(1, 1, 1, 2, activation="relu")
    y = sl.free_run(net, np.array([1.0, 1e100, 1.0]), np.ones((2, 1)), forced=2, steps=9)
    assert np.isfinite(y[0]) and not np.isfinite(y[-1])


@pytest.mark.parametrize("call, error, text", [
    (lambda net, t, x: sl.free_run(sl.Feedforward((2, 2), 3), t, x), TypeError, "net: expected a recurrent"),
    (lambda net, t, x: sl.free_run(sl.Recurrent(2, 3, 1, 4), t, x), ValueError, "net: expected as many outputs as inputs"),
    (lambda net, t, x: sl.free_run(sl.Recurrent(2, 3, 2, 4, samples=2), t, x), ValueError, "net: expected samples = 1"),
        (lambda net, t, x: sl.free_run(net, t, x), ValueError, "x: expected .* forced = 60"),
    (lambda net, t, x: sl.free_run(net, t, x, forced=0), ValueError, "forced"),
    (lambda net, t, x: sl.free_run(net, t, x, forced=2, steps=0), ValueError, "steps"),
    (lambda net, t, x: sl.free_run(net, t, x.astype(np.float32), forced=2), TypeError, "x: expected float64"),
    (lambda net, t, x: sl.free_run(net, t[:-1], x, forced=2), ValueError, "theta"),
    (lambda net, t, x: sl.systems.trajectories("duffing", 1, 2), ValueError, "system: expected one of vdp, lorenz"),
    (lambda net, t, x: sl.systems.trajectories("vdp", 0, 2), ValueError, "count"),
    (lambda net, t, x: sl.systems.trajectories("vdp", 1, 2, dt=0.0), ValueError, "dt"),
    (lambda net, t, x: sl.systems.valid_steps(x, x[1:]), ValueError, "y: expected"),
])  # fmt: skip
def test_errors_name_the_argument(call, error, text):
    net = sl.Recurrent(2, 3, 2, 4)
    with pytest.raises(error, match=text):
        call(net, np.ones(net.size), np.ones((5, 2)))
