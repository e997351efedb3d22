"""Fit for real tasks: softmax against the twin and finite differences, many tasks of one network, descent in several calls."""

import dataclasses

import numpy as np
import pytest

import sublearn as sl
from tests.cases import masks, names, students
from tests.test_fit import MANY_SAMPLES, MANY_UNITS, SEQUENCES, SHALLOW
from tests.twins import networks as twin

NETS = [
    *SHALLOW[:3],
    *MANY_SAMPLES[:2],
    sl.Feedforward((4, 9, 7, 3), 5, activation="tanh", bias=True),
    sl.Feedforward((6, 40, 7), 50, activation="relu", bias=True),
    sl.Recurrent(2, 8, 3, 6, activation="tanh", bias=True),
    sl.Recurrent(2, 19, 2, 4, activation="relu"),
    *MANY_UNITS[:2],
    SEQUENCES[0],
    sl.Feedforward((3, 5, 4), 6, activation="tanh", bias=True, gain=True),
    sl.Recurrent(2, 4, 3, 5, activation="tanh", bias=True, gain=True, samples=3, leak=0.5),
]


def classes(net, batch, seed=0):
    """Integer labels, and the same as probabilities."""
    axis = len(net.y_shape) - 1 if isinstance(net, sl.Recurrent) else 0
    places = net.y_shape[:axis] + net.y_shape[axis + 1 :]
    labels = np.random.default_rng(seed).integers(net.y_shape[axis], size=(batch, *places))
    return labels, np.moveaxis(np.eye(net.y_shape[axis])[labels], -1, axis + 1)


@pytest.mark.parametrize("optimizer,lr", [("sgd", 1e-2), ("momentum", 3e-3), ("adam", 1e-2)])
@pytest.mark.parametrize("net", NETS, ids=names)
def test_softmax_equals_the_twin(net, optimizer, lr, isa):
    theta, x, _ = students(net, 9, seed=2)
    labels, y = classes(net, 9)
    few, steps = net.size // 3 if net.size < 100 else 12, 4 if net.gain else 12  # complex steps are slow
    for mask in (masks(net, 9, few, seed=3), sl.everything(net).draw(0).mask):
        found = sl.fit(net, theta, x, labels, mask, steps=steps, optimizer=optimizer, lr=lr, loss="softmax")
        for b in (0, 8):
            expected, loss = twin.fit(net, theta[b], x[b], y[b], mask[b] if mask.ndim == 2 else mask, steps, optimizer, lr, "softmax")
            np.testing.assert_allclose(found.theta[b], expected, rtol=1e-10, atol=1e-11)
            np.testing.assert_allclose(found.loss[b], loss, rtol=1e-12)


@pytest.mark.parametrize("net", NETS, ids=names)
def test_softmax_steps_follow_finite_differences(net, isa):
    """One step of plain descent is -lr times the gradient, whatever the probabilities."""
    theta, x, _ = students(net, 1, seed=4)
    rng = np.random.default_rng(5)
    axis = len(net.y_shape) if isinstance(net, sl.Recurrent) else 1
    y = rng.random((1, *net.y_shape))
    y /= y.sum(axis, keepdims=True)
    mask = sl.everything(net)
    loss = lambda t: sl.fit(net, t, x, y, mask, steps=0, loss="softmax").loss[0]  # noqa: E731
    step = sl.fit(net, theta, x, y, mask, steps=1, optimizer="sgd", lr=1e-3, loss="softmax").theta - theta
    for k in rng.choice(net.size, 6, replace=False):
        up, down = theta.copy(), theta.copy()
        up[0, k] += 1e-5
        down[0, k] -= 1e-5
        np.testing.assert_allclose(step[0, k], -1e-3 * (loss(up) - loss(down)) / 2e-5, rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_large_outputs(dtype, isa):
    """Outputs of thousands overflow no exponential; the loss of a sample is then the distance to the largest output."""
    for samples, hidden in ((3, 2), (200, 50)):  # students in the lanes, samples in the lanes
        net = sl.Feedforward((1, hidden, 3), samples, bias=("b2",))
        theta = np.zeros(net.size, dtype)
        theta[net.slices["b2"]] = [3000, -3000, 2000]
        labels = np.arange(samples) % 3
        found = sl.fit(net, theta, np.ones((1, samples), dtype), labels, sl.only(net, "b2"), steps=0, loss="softmax")
        np.testing.assert_allclose(found.loss, sum((0, 6000, 1000)[k] for k in labels), rtol=1e-6)
        one = sl.fit(net, theta, np.ones((1, samples), dtype), labels, sl.only(net, "b2"), steps=1, lr=1, optimizer="sgd", loss="softmax")
        counts = np.bincount(labels, minlength=3)
        np.testing.assert_allclose((one.theta - theta)[net.slices["b2"]], counts - [samples, 0, 0], rtol=1e-6)
        wild = sl.fit(net, np.full(net.size, 1e30, dtype), np.ones((1, samples), dtype), labels, sl.only(net, "b2"), loss="softmax")
        assert wild.status == ("diverged" if dtype == np.float32 else "steps done")


def test_tol_of_softmax_is_nats_per_sample():
    net = sl.Feedforward((2, 8, 2), 40, bias=True)
    rng = np.random.default_rng(0)
    x = rng.normal(size=net.x_shape)
    labels = (x[0] > x[1]).astype(int)
    found = sl.fit(net, rng.normal(size=net.size), x, labels, sl.everything(net), steps=5000, tol=0.1, loss="softmax")
    assert found.status == "converged" and 0.05 * 40 < found.loss <= 0.1 * 40
    assert sl.accuracy(net, found.theta, x, labels) > 0.95


def test_many_tasks_of_one_network_copy_nothing_frozen(isa):
    """Shared weights and inputs: the same bits as tasks one by one; compact: the learnable weights alone."""
    for net in (sl.Feedforward((6, 40, 5), 50, activation="relu", bias=True), sl.Recurrent(2, 9, 3, 5, activation="tanh", bias=True)):
        theta, x, _ = students(net, 1, seed=1)
        labels, _ = classes(net, 7)
        mask = sl.only(net, *net.bias).allocation.mask
        how = {"steps": 20, "loss": "softmax"}
        shared = sl.fit(net, theta[0], x[0], labels, mask, **how)
        compact = sl.fit(net, theta[0], x[0], labels, mask, compact=True, **how)
        assert compact.theta.shape == (7, mask.sum())
        np.testing.assert_array_equal(compact.theta, shared.theta[:, mask])
        np.testing.assert_array_equal(compact.loss, shared.loss)
        for b in (0, 6):
            alone = sl.fit(net, theta[0], x[0], labels[b], mask, **how)
            np.testing.assert_array_equal(alone.theta, shared.theta[b])
    with pytest.raises(ValueError, match="compact: expected an allocation of one mask"):
        sl.fit(net, theta[0], x[0], labels, np.repeat(mask[None], 7, 0), compact=True, **how)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("net", NETS, ids=names)
def test_two_calls_are_one(net, optimizer, dtype, isa):
    """15 + 26 steps are 41, bit for bit, with own and shared masks, also where students converge or diverge on the way."""
    theta, x, y = students(net, 11, seed=3, dtype=dtype)
    y[3] *= 1e-3
    theta[5] *= 100  # diverges
    own = masks(net, 11, 5, seed=4)
    own[2] = False
    for mask in (own, own[0], np.ones(net.size, bool)):
        how = {"optimizer": optimizer, "lr": 0.02, "tol": 0.9}
        whole = sl.fit(net, theta, x, y, mask, steps=41, **how)
        half = sl.fit(net, theta, x, y, mask, steps=15, **how)
        for start in (theta, half.theta):  # learnable weights come from the state
            rest = sl.fit(net, start, x, y, mask, steps=26, state=half.state, **how)
            for name in ("theta", "loss", "steps", "status"):
                np.testing.assert_array_equal(getattr(rest, name), getattr(whole, name))
            for field in dataclasses.fields(sl.FitState):
                a, b = getattr(rest.state, field.name), getattr(whole.state, field.name)
                if isinstance(a, np.ndarray):
                    np.testing.assert_array_equal(a, b)
                else:
                    assert a == b
    assert {"adam": ("first", "second"), "momentum": ("first",), "sgd": ()}[optimizer] == tuple(
        name for name in ("first", "second") if getattr(whole.state, name) is not None
    )


def test_a_state_of_another_descent_is_refused():
    net = sl.Feedforward((3, 4, 2), 3, bias=True)
    theta, x, y = students(net, 4)
    a = sl.only(net, "W2")
    state = sl.fit(net, theta, x, y, a, steps=2).state
    other = sl.Feedforward((3, 4, 2), 5, bias=True)
    for message, call in {
        "one of feedforward 3-4-2, m=5, .* one of feedforward 3-4-2, m=3": lambda: sl.fit(
            other, theta, *students(other, 4)[1:], sl.only(other, "W2"), state=state
        ),
        "the same allocation": lambda: sl.fit(net, theta, x, y, sl.only(net, "W1"), state=state),
        "optimizer 'sgd', got one with optimizer 'adam'": lambda: sl.fit(net, theta, x, y, a, optimizer="sgd", state=state),
        "loss 'softmax', got one with loss 'squared'": lambda: sl.fit(net, theta, x, np.zeros((4, 3), int), a, loss="softmax", state=state),
        "dtype float32 like theta, got one of float64": lambda: sl.fit(net, *(v.astype(np.float32) for v in (theta, x, y)), a, state=state),
        "of 3 students, got one of 4": lambda: sl.fit(net, theta[:3], x[:3], y[:3], a, state=state),
    }.items():
        with pytest.raises(ValueError, match=f"state: expected .*{message}"):
            call()
    with pytest.raises(TypeError, match="state: expected the .state of a FitResult"):
        sl.fit(net, theta, x, y, a, state=theta)


@pytest.mark.parametrize(
    "option",
    [{"loss": "softmax"}, {"compact": True}, {"schedule": "linear"}, {"batch_size": 2}, {"trace": 1}, {"held_out": (0, 0)}, {"state": 0}],
    ids=lambda option: next(iter(option)),
)
def test_a_gpu_refuses_options_by_name(option, monkeypatch):
    class OfAGpu:
        fits_with_options = False

    monkeypatch.setattr("sublearn.ops.fit.kernels_for", lambda *_, **__: OfAGpu())
    net = sl.Feedforward((3, 4, 2), 3)
    with pytest.raises(ValueError, match=f'{next(iter(option))}: this option of fit runs on the CPU only; pass .* backend="cpu"'):
        sl.fit(net, *students(net, 3), sl.everything(net), **option)


def test_bad_classes_are_named():
    net = sl.Feedforward((3, 4, 2), 3)
    theta, x, y = students(net, 3)
    a = sl.everything(net)
    for labels, error, message in [
        (np.full((3, 3), 2), ValueError, "y: expected labels from 0 to 1, got 2 to 2"),
        (np.zeros((3, 4), int), ValueError, r"y: expected labels of shape \[3\] or \[batch, 3\], got \[3, 4\]"),
        (np.abs(y), ValueError, "y: expected integer labels, or probabilities"),
        ([0, 1, 1], TypeError, "y: expected"),
    ]:
        with pytest.raises(error, match=message):
            sl.fit(net, theta, x, labels, a, loss="softmax")
    with pytest.raises(ValueError, match="loss: expected one of squared, softmax, got 'hinge'"):
        sl.fit(net, theta, x, y, a, loss="hinge")


def test_accuracy_counts_strictly_largest_outputs():
    net = sl.Feedforward((3, 3), 4)
    x = np.array([[1.0, 0, 0, 2], [0, 1, 0, 2], [0, 0, 1, 1]])
    theta = np.eye(3).ravel()
    assert sl.accuracy(net, theta, x, np.array([0, 1, 1, 0])) == 0.5  # two right, one wrong, one tie
    np.testing.assert_array_equal(sl.accuracy(net, np.stack([theta, -theta]), x, np.array([0, 1, 2, 0])), [0.75, 0])
    rnn = sl.Recurrent(1, 2, 3, 5, activation="tanh")
    theta, x, _ = students(rnn, 4)
    labels = sl.outputs(rnn, theta, x).argmax(-1)
    labels[0, 0] = (labels[0, 0] + 1) % 3
    np.testing.assert_allclose(sl.accuracy(rnn, theta, x, labels), [0.8, 1, 1, 1])
    with pytest.raises(TypeError, match="labels: expected integer labels, got float64"):
        sl.accuracy(rnn, theta, x, labels * 1.0)
    with pytest.raises(ValueError, match="labels: expected one batch size, got labels 3, outputs 4"):
        sl.accuracy(rnn, theta, x, labels[:3])


@pytest.mark.parametrize("compact", [False, True])
def test_idle_gains_cost_nothing(compact):
    """Gains that are 1 and do not learn: the fit of the network without them, bit for bit, with gains of 1 behind its weights."""
    net = sl.Feedforward((5, 12, 3), 40, "relu", True, gain=True)
    bare = sl.Feedforward((5, 12, 3), 40, "relu", True)
    trial = sl.draw_trials(net, sl.biases(net), 4)
    how = {"steps": 20, "trace": 5, "compact": compact, "held_out": (trial.x[:1, :, :7].copy()[0], trial.y[0, :, :7].copy())}
    found = sl.fit(net, trial.student, trial.x, trial.y, sl.biases(net), **how)
    expected = sl.fit(bare, trial.student[:, : bare.size].copy(), trial.x, trial.y, sl.biases(bare), **how)
    np.testing.assert_array_equal(found.theta[:, : expected.theta.shape[1]], expected.theta)
    assert found.theta.shape[1] == (15 if compact else net.size) and (found.theta[:, expected.theta.shape[1] :] == 1).all()
    for name in ("loss", "trace", "held_out", "steps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    more = sl.fit(net, trial.student, trial.x, trial.y, sl.biases(net), steps=3, state=found.state)
    np.testing.assert_array_equal(
        more.loss, sl.fit(bare, trial.student[:, : bare.size].copy(), trial.x, trial.y, sl.biases(bare), steps=3, state=expected.state).loss
    )
