"""Masked descent against the numpy twin; what stays frozen, who stops and why; one result for every batch and thread count."""

import numpy as np
import pytest

import sublearn as sl
from tests.cases import NETWORKS, masks, names, students
from tests.twins import networks as twin

# One hidden layer has a sweep of its own: tiles of 8, 4, 2 and 1 units, one, two and more outputs, odd and single samples.
SHALLOW = [
    sl.Feedforward((3, 15, 3), 7, activation="tanh", bias=True),
    sl.Feedforward((2, 9, 1), 4, activation="relu", bias=True),
    sl.Feedforward((3, 18, 2), 1, activation="relu"),
    sl.Feedforward((2, 4, 4), 3, bias=("b2",)),
]
# Few learnable weights and many samples: samples in the lanes. Whole and half blocks, padding, one, two and more outputs, biases.
MANY_SAMPLES = [
    sl.Feedforward((5, 8, 2), 37, activation="relu", bias=True),
    sl.Feedforward((9, 6, 3), 70, activation="tanh", bias=True),
    sl.Feedforward((20, 5, 1), 130, bias=("b2",)),
    sl.Feedforward((12, 11, 4), 64, activation="relu", bias=("b1",)),
]
# Many hidden units and steps, few learnable weights: units in the lanes, students in pairs and alone, padded and full packs.
MANY_UNITS = [
    sl.Recurrent(3, 46, 2, 17, activation="tanh", bias=True),
    sl.Recurrent(2, 48, 9, 16, activation="relu", bias=("c",)),
    sl.Recurrent(1, 144, 1, 18),
]
# Sequences in the lanes: full, padded and several packs of them, tiles of 8, 4, 2 and 1 units.
SEQUENCES = [
    sl.Recurrent(2, 15, 3, 3, activation="tanh", bias=True, samples=15),
    sl.Recurrent(1, 9, 1, 4, activation="relu", bias=("b",), samples=32),
    sl.Recurrent(3, 4, 2, 1, samples=16),
    sl.Recurrent(2, 5, 2, 3, activation="tanh", bias=True, samples=3),  # too few: students in the lanes
]


@pytest.mark.parametrize("optimizer,lr", [("sgd", 1e-3), ("momentum", 3e-4), ("adam", 1e-2)])
@pytest.mark.parametrize("net", NETWORKS + SHALLOW + MANY_SAMPLES + MANY_UNITS[:1] + SEQUENCES[:1], ids=names)
def test_equals_the_twin_after_100_steps(net, optimizer, lr, isa):
    theta, x, y = students(net, 11, seed=2)
    mask = masks(net, 11, 6, seed=3)
    result = sl.fit(net, theta, x, y, mask, steps=100, optimizer=optimizer, lr=lr)
    assert (result.status == "steps done").all() and (result.steps == 100).all()
    for b in (0, 5, 10):
        expected, loss = twin.fit(net, theta[b], x[b], y[b], mask[b], 100, optimizer, lr)
        np.testing.assert_allclose(result.theta[b], expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.loss[b], loss, rtol=1e-12)
        moved = result.theta[b] != theta[b]
        assert not moved[~mask[b]].any()  # frozen: bit-identical
        assert (moved | (twin.gradient(net, theta[b], x[b], y[b]) == 0))[mask[b]].all()  # none wrongly still


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("net", NETWORKS[:8] + NETWORKS[9:12] + MANY_SAMPLES + MANY_UNITS + SEQUENCES, ids=names)
def test_one_result_for_every_batch_and_thread_count(net, dtype, isa):
    theta, x, y = students(net, 37, seed=4, dtype=dtype)
    mask = masks(net, 37, 4, seed=5)
    mask[5, :] = False  # a student that learns nothing
    mask[6, :] = True  # and one that learns everything
    together = sl.fit(net, theta, x, y, mask, steps=30)
    for b in (0, 5, 6, 36):
        alone = sl.fit(net, theta[b], x[b], y[b], mask[b], steps=30)
        # A shared mask and own masks run different loops over the same operations: equal bits.
        np.testing.assert_array_equal(alone.theta, together.theta[b])
        np.testing.assert_array_equal(alone.loss, together.loss[b])
    np.testing.assert_array_equal(together.theta, sl.fit(net, theta, x, y, mask, steps=30, threads=1).theta)
    np.testing.assert_array_equal(together.theta[5], theta[5])
    same = sl.fit(net, theta, x, y, mask[0], steps=30)
    own = sl.fit(net, theta, x, y, np.repeat(mask[:1], 37, 0), steps=30)
    np.testing.assert_array_equal(same.theta, own.theta)


def test_loss_is_the_loss_at_theta():
    net = sl.Feedforward((5, 8, 2), 16, activation="relu")
    theta, x, y = students(net, 9, seed=6)
    result = sl.fit(net, theta, x, y, sl.everything(net), steps=57, lr=3e-3)
    np.testing.assert_allclose(result.loss, ((sl.outputs(net, result.theta, x) - y) ** 2).sum((1, 2)), rtol=1e-12)


@pytest.mark.parametrize(
    "net,group,lr",
    [
        (sl.Recurrent(2, 8, 2, 6), "D", 3e-3),
        (sl.Feedforward((5, 8, 2), 64, activation="relu", bias=True), "b2", 1e-4),
        (sl.Recurrent(2, 32, 2, 16, activation="tanh"), "D", 3e-3),
    ],
    ids=["students_in_lanes", "samples_in_lanes", "units_in_lanes"],
)
def test_each_student_stops_by_itself(net, group, lr):
    """A planted target: students that start nearer stop earlier, and all end below tol."""
    rng = np.random.default_rng(0)
    teacher = rng.standard_normal((64, net.size)) * 0.3
    x = rng.standard_normal((64, *net.x_shape))
    y = sl.outputs(net, teacher, x)
    mask = sl.only(net, group).allocation.mask
    start = teacher.copy()
    start[:, mask] += rng.standard_normal((64, mask.sum())) * np.linspace(0, 0.5, 64)[:, None]
    result = sl.fit(net, start, x, y, mask, steps=20_000, lr=lr, tol=1e-5)
    assert (result.status == "converged").all()
    assert (result.loss <= 1e-5 * (y**2).sum((1, 2))).all()
    assert result.steps[0] == 0 and len(set(result.steps)) > 30
    slow = result.steps.argmax()
    again = sl.fit(net, start[slow], x[slow], y[slow], mask, steps=int(result.steps[slow]), lr=lr)
    np.testing.assert_array_equal(again.theta, result.theta[slow])


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize(
    "net,group",
    [
        (sl.Recurrent(2, 8, 2, 6), "W"),
        (sl.Feedforward((5, 8, 2), 64, bias=("b1",)), "b1"),
        (sl.Recurrent(2, 32, 2, 16), "B"),
        (sl.Recurrent(2, 8, 2, 6, samples=16), "W"),
    ],
    ids=["students_in_lanes", "samples_in_lanes", "units_in_lanes", "sequences_in_lanes"],
)
def test_divergence_stops_at_the_last_finite_theta(net, group, optimizer, isa):
    theta, x, y = students(net, 10, seed=7)
    wild = sl.fit(net, theta, x, y, sl.only(net, group), steps=500, lr=1.0, optimizer=optimizer)
    assert (wild.status == "diverged").all() and (wild.steps < 500).all()
    assert np.isfinite(wild.theta).all() and np.isfinite(wild.loss).all()
    b = 4
    again = sl.fit(net, theta[b], x[b], y[b], sl.only(net, group), steps=int(wild.steps[b]), lr=1.0, optimizer=optimizer)
    np.testing.assert_array_equal(again.theta, wild.theta[b])
    one_more = sl.fit(net, theta[b], x[b], y[b], sl.only(net, group), steps=int(wild.steps[b]) + 1, lr=1.0, optimizer=optimizer)
    assert one_more.status == "diverged"
    # A wild neighbour does not disturb a tame one.
    scaled = theta.copy()
    scaled[4] *= 1e3
    mixed = sl.fit(net, scaled, x, y, sl.only(net, group), steps=50, lr=1e-6, optimizer=optimizer)
    tame = sl.fit(net, theta, x, y, sl.only(net, group), steps=50, lr=1e-6, optimizer=optimizer)
    keep = np.arange(10) != 4
    np.testing.assert_array_equal(mixed.theta[keep], tame.theta[keep])


@pytest.mark.parametrize("samples", [3, 80])
def test_zero_steps_and_empty_allocations(samples):
    net = sl.Feedforward((3, 4, 2), samples)
    theta, x, y = students(net, 3)
    for allocation, steps in ((sl.everything(net), 0), (np.zeros(net.size, bool), 10)):
        result = sl.fit(net, theta, x, y, allocation, steps=steps)
        np.testing.assert_array_equal(result.theta, theta)
        np.testing.assert_allclose(result.loss, ((sl.outputs(net, theta, x) - y) ** 2).sum((1, 2)), rtol=1e-13)
    assert result.theta is not theta


def test_bad_input_is_named():
    net = sl.Feedforward((3, 4, 2), 3)
    theta, x, y = students(net, 3)
    a = sl.everything(net)
    for keyword, value, message in [
        ("optimizer", "lbfgs", "optimizer: expected one of sgd, momentum, adam"),
        ("lr", 0.0, "lr: expected"),
        ("lr", np.nan, "lr: expected"),
        ("tol", -1.0, "tol: expected"),
        ("steps", -1, "steps: expected"),
    ]:
        with pytest.raises(ValueError, match=message):
            sl.fit(net, theta, x, y, a, **{keyword: value})
    with pytest.raises(ValueError, match="y: expected finite numbers, got inf"):
        sl.fit(net, theta, x, y * np.inf, a)
    with pytest.raises(TypeError, match="y: expected float64 like theta"):
        sl.fit(net, theta, x, y.astype(np.float32), a)
    with pytest.raises(ValueError, match="got one of feedforward 3-5-2"):
        sl.fit(net, theta, x, y, sl.everything(sl.Feedforward((3, 5, 2), 3)))
