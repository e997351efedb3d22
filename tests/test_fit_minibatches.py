"""Fit by minibatches, with a schedule, seen on its way: order, steps and losses against twins; several calls are one."""

import numpy as np
import pytest

import sublearn as sl
from tests.cases import masks, names, students
from tests.test_fit_tasks import classes
from tests.twins import networks as twin
from tests.twins import philox

BATCHES = 4  # the stream of the orders
NETS = [
    sl.Feedforward((3, 5, 2), 23, activation="tanh", bias=True),  # students in the lanes
    sl.Feedforward((4, 30, 5), 90, activation="relu", bias=True),  # samples in the lanes
    sl.Feedforward((3, 4, 6, 2), 20, activation="relu", bias=True),
    sl.Recurrent(2, 5, 2, 3, activation="tanh", bias=True, samples=17),
]


def batch_of(net, size, seed):
    """The samples of step t, as the definition says."""

    def samples(t):
        epoch, place = divmod(t, net.samples // size)
        words = philox.Words(seed, BATCHES, epoch & 0xFFFFFFFF, epoch >> 32)
        return words.choose(range(net.samples), net.samples)[place * size : (place + 1) * size]

    return samples


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("optimizer,lr", [("sgd", 1e-4), ("momentum", 3e-5), ("adam", 1e-2)])
@pytest.mark.parametrize("net", NETS, ids=names)
def test_equals_the_twin(net, optimizer, lr, loss, isa):
    theta, x, y = students(net, 5, seed=1)
    labels, one_hot = classes(net, 5)
    given, y = (labels, one_hot) if loss == "softmax" else (y, y)
    how = {"steps": 25, "optimizer": optimizer, "lr": lr, "loss": loss, "batch_size": 7, "seed": 2**40 + 3}
    for mask in (masks(net, 5, 6, seed=2), np.ones(net.size, bool)):
        found = sl.fit(net, theta, x, given, mask, **how)
        assert (found.steps == 25).all() and (found.status == "steps done").all()
        for b in (0, 4):
            expected, value = twin.fit(
                net, theta[b], x[b], y[b], mask[b] if mask.ndim == 2 else mask, 25, optimizer, lr, loss, batch_of(net, 7, 2**40 + 3)
            )
            np.testing.assert_allclose(found.theta[b], expected, rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(found.loss[b], value, rtol=1e-10)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_schedules_equal_the_twin(schedule, isa):
    net = NETS[0]
    theta, x, y = students(net, 3, seed=5)
    rate = {"cosine": lambda t: 0.01 * (1 + np.cos(np.pi * t / 30)) / 2, "linear": lambda t: 0.01 * (1 - t / 30)}[schedule]
    for optimizer in ("sgd", "momentum", "adam"):
        lr, scale = (0.01, 1) if optimizer == "adam" else (0.001, 0.1)
        found = sl.fit(net, theta, x, y, sl.everything(net), steps=30, optimizer=optimizer, lr=lr, schedule=schedule)
        expected, _ = twin.fit(net, theta[1], x[1], y[1], np.ones(net.size, bool), 30, optimizer, lambda t, s=scale: s * rate(t))
        np.testing.assert_allclose(found.theta[1], expected, rtol=1e-10, atol=1e-12)
    late = sl.fit(net, theta, x, y, sl.everything(net), steps=40, schedule=schedule, horizon=30)
    np.testing.assert_array_equal(late.theta, sl.fit(net, theta, x, y, sl.everything(net), steps=30, schedule=schedule).theta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("net", NETS, ids=names)
def test_one_result_for_every_batch_thread_count_and_number_of_calls(net, dtype, isa):
    theta, x, y = students(net, 70, seed=3, dtype=dtype)
    theta[3] *= 1e10  # diverges
    for mask in (masks(net, 70, 5, seed=4), sl.only(net, *net.bias[:2]).allocation.mask):
        how = {"batch_size": 5, "seed": 9, "schedule": "cosine", "horizon": 40, "lr": 0.05, "optimizer": "momentum"}
        whole = sl.fit(net, theta, x, y, mask, steps=31, threads=1, **how)
        same = [sl.fit(net, theta, x, y, mask, steps=31, threads=2, **how)]
        half = sl.fit(net, theta, x, y, mask, steps=13, **how)
        same.append(sl.fit(net, theta, x, y, mask, steps=18, state=half.state, **how))
        same.append(sl.fit(net, theta, x, y, mask, steps=31, trace=4, held_out=(x, y), **how))
        for other in same:
            for name in ("theta", "loss", "steps", "status"):
                np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        assert np.isfinite(whole.theta).all()
        for b in (0, 33, 69):
            alone = sl.fit(net, theta[b], x[b], y[b], mask[b] if mask.ndim == 2 else mask, steps=31, **how)
            np.testing.assert_array_equal(alone.theta, whole.theta[b])
        np.testing.assert_array_equal(same[-1].trace, same[-1].held_out)
        np.testing.assert_array_equal(same[-1].trace[:, -1], whole.loss)


@pytest.mark.parametrize("lr", [1.0, 30.0])
def test_divergence_goes_back_to_finite_weights(lr, isa):
    net = sl.Feedforward((2, 6, 2), 40)
    theta, x, y = students(net, 9, seed=7)
    wild = sl.fit(net, theta, x, y, sl.everything(net), steps=200, lr=lr, optimizer="sgd", batch_size=4)
    assert (wild.status == "diverged").all() and (wild.steps < 200).all() and np.isfinite(wild.theta).all()
    b = int(wild.steps.argmax())
    again = sl.fit(net, theta[b], x[b], y[b], sl.everything(net), steps=int(wild.steps[b]), lr=lr, optimizer="sgd", batch_size=4)
    np.testing.assert_array_equal(again.theta, wild.theta[b])
    on = sl.fit(net, theta, x, y, sl.everything(net), steps=5, lr=lr, optimizer="sgd", batch_size=4, state=wild.state)
    np.testing.assert_array_equal(on.theta, wild.theta)
    assert (on.status == "diverged").all() and (on.steps == wild.steps).all()


def test_all_samples_are_one_batch():
    net = NETS[1]
    theta, x, y = students(net, 4, seed=8)
    whole = sl.fit(net, theta, x, y, sl.everything(net), steps=20)
    batch = sl.fit(net, theta, x, y, sl.everything(net), steps=20, batch_size=90, seed=4)
    np.testing.assert_allclose(batch.theta, whole.theta, rtol=1e-9, atol=1e-9)


def test_an_epoch_takes_every_sample_once():
    """Plain steps so small that the weights stay: an epoch's steps add up to as many whole ones."""
    net = sl.Feedforward((3, 2), 12)
    theta, x, y = students(net, 1, seed=2)
    how = {"optimizer": "sgd", "lr": 1e-9}
    epoch = sl.fit(net, theta, x, y, sl.everything(net), steps=4, batch_size=3, seed=5, **how)
    whole = sl.fit(net, theta, x, y, sl.everything(net), steps=4, **how)
    np.testing.assert_allclose(epoch.theta - theta, whole.theta - theta, rtol=1e-5)


@pytest.mark.parametrize("net", [NETS[1], sl.Recurrent(2, 7, 3, 9, activation="tanh", bias=True)], ids=names)
def test_what_is_seen_on_the_way(net):
    theta, x, _ = students(net, 6, seed=1)
    labels, _ = classes(net, 6)
    other = net.at(11)
    _, far, _ = students(other, 6, seed=2)
    far_labels, far_hot = classes(other, 6, seed=3)
    mask = masks(net, 6, 5, seed=2)
    how = {"loss": "softmax", "lr": 0.03}
    seen = sl.fit(net, theta, x, labels, mask, steps=25, trace=10, held_out=(far, far_labels), **how)
    np.testing.assert_array_equal(seen.moments, [0, 10, 20, 25])
    assert seen.trace.shape == seen.held_out.shape == (6, 4)
    for k, steps in enumerate(seen.moments):
        short = sl.fit(net, theta, x, labels, mask, steps=int(steps), **how)
        np.testing.assert_array_equal(seen.trace[:, k], short.loss)
        f = sl.outputs(other, short.theta, far)
        axes = (0, 1, 2) if isinstance(net, sl.Recurrent) else (0, 2, 1)
        losses = [twin.loss_of(a, y, "softmax")[0] for a, y in zip(f.transpose(axes), far_hot.transpose(axes))]
        np.testing.assert_allclose(seen.held_out[:, k], losses, rtol=1e-12)
    np.testing.assert_array_equal(seen.theta, short.theta)
    last = sl.fit(net, theta[0], x[0], labels[0], mask[0], steps=5, held_out=(far[0], far_labels[0]), state=None, **how)
    assert last.trace is None and last.held_out.shape == (1,) and last.moments.tolist() == [5]
    rest = sl.fit(net, theta[0], x[0], labels[0], mask[0], steps=5, trace=3, state=last.state, **how)
    assert rest.moments.tolist() == [5, 8, 10] and rest.trace[0] == last.loss


def test_bad_options_are_named():
    net = sl.Feedforward((3, 4, 2), 6)
    theta, x, y = students(net, 3)
    a = sl.everything(net)
    rnn = sl.Recurrent(2, 3, 2, 4)
    for error, message, change in [
        (ValueError, "batch_size: expected a whole number from 1 to 6 .the samples., got 7", {"batch_size": 7}),
        (ValueError, "tol: expected None with batch_size", {"batch_size": 2, "tol": 0.1}),
        (ValueError, "schedule: expected one of constant, cosine, linear, got 'step'", {"schedule": "step"}),
        (ValueError, "trace: expected a whole number >= 1, got 0", {"trace": 0}),
        (ValueError, "seed: expected a whole number", {"seed": -1}),
        (TypeError, r"held_out: expected \(x, y\), got ndarray", {"held_out": x}),
        (ValueError, "held_out y: expected shape", {"held_out": (x[..., :2], y)}),
        (ValueError, "held_out x: expected the batch of the fit, 3, got 2", {"held_out": (x[:2], y[:2])}),
        (ValueError, "batch_size 3, got one with batch_size None", {"batch_size": 3, "state": sl.fit(net, theta, x, y, a, steps=1).state}),
    ]:
        with pytest.raises(error, match=message):
            sl.fit(net, theta, x, y, a, **change)
    with pytest.raises(ValueError, match="batch_size: expected a whole number from 1 to 1 .the sequences., got 2"):
        sl.fit(rnn, *students(rnn, 2), sl.everything(rnn), batch_size=2)
