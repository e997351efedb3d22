"""Masks of units by straight-through descent: twins, planted answers, errors."""

import itertools

import numpy as np
import pytest

import sublearn as sl
from sublearn.ops.masks import LOSSES, _Layers
from sublearn.ops.targets import loss_and_slope


def problem(widths=(3, 7, 6, 2), samples=5, activation="tanh", count=3, dtype=np.float64):
    net = sl.Feedforward(widths, samples=samples, activation=activation, bias=True, gain=True)
    rng = np.random.default_rng(2)
    theta = rng.normal(size=(count, net.size))
    return (
        net,
        theta.astype(dtype),
        rng.normal(size=(count, *net.x_shape)).astype(dtype),
        rng.normal(size=(count, *net.y_shape)).astype(dtype),
    )


def value(net, theta, x, y, loss):
    """The loss of whole networks, by the compiled outputs."""
    f = sl.outputs(net, theta, x)
    if loss == "squared":
        return ((f - y) ** 2).sum(axis=(1, 2))
    return (y * (np.log(np.exp(f).sum(axis=1, keepdims=True)) - f)).sum(axis=(1, 2))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
@pytest.mark.parametrize("layer", [1, 2])
def test_gradients_are_those_of_the_gains_also_of_units_that_are_off(activation, layer, loss):
    net, theta, x, y = problem(activation=activation)
    y = np.abs(y) if loss == "softmax" else y
    group, masks = f"g{layer}", np.random.default_rng(1).random((3, (7, 6)[layer - 1])) < 0.5
    theta[:, net.slices[group]] = masks
    learns = np.zeros((1, net.size), dtype=bool)
    for name in net.groups:
        learns[0, net.slices[name]] = name[0] != "g" and int(name[1:]) > layer
    layers = _Layers(net, layer, theta, x)
    f, read = layers.outputs(masks.astype(float))
    assert np.allclose(f, sl.outputs(net, theta, x), rtol=1e-12, atol=1e-12)
    worth, d = loss_and_slope(f, y, loss)
    assert np.allclose(worth, value(net, theta, x, y, loss))
    gains, rest = layers.gradient(d, read, learns)
    places = [*range(net.slices[group].start, net.slices[group].stop), *np.flatnonzero(learns[0])]
    found = np.concatenate([gains, rest[:, learns[0]]], axis=1)
    for column, place in enumerate(places):
        ends = [value(net, theta + sign * 1e-6 * np.eye(net.size)[place], x, y, loss) for sign in (1, -1)]
        assert np.allclose((ends[0] - ends[1]) / 2e-6, found[:, column], rtol=1e-5, atol=1e-5)
    assert not rest[:, ~learns[0]].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_returned_is_a_network_with_gains_of_0_and_1(dtype):
    net, theta, x, y = problem(dtype=dtype)
    kept = theta.copy()
    found = sl.fit_masks(net, theta, x, y, "g2", sl.only(net, "b3"), steps=60)
    assert found.masks.dtype == bool and found.masks.shape == (3, 6) and found.theta.dtype == dtype and (theta == kept).all()
    assert (found.theta[:, net.slices["g2"]] == found.masks).all()
    assert np.allclose(value(net, found.theta, x, y, "squared"), found.loss, rtol=1e-4 if dtype == np.float32 else 1e-10)
    still = np.ones(net.size, dtype=bool)
    still[net.slices["g2"]] = still[net.slices["b3"]] = False
    assert (found.theta[:, still] == theta[:, still]).all() and (found.theta[:, net.slices["b3"]] != theta[:, net.slices["b3"]]).all()


def test_planted_masks_are_met_or_beaten_by_brute_force():
    """Eight units: all 256 masks are tried; the search comes near the best in most of 40 trials, and never below it."""
    net = sl.Feedforward((4, 8, 2), samples=20, activation="relu", gain=True)
    rng = np.random.default_rng(0)
    theta, x = rng.normal(size=(40, net.size)), rng.normal(size=(40, *net.x_shape))
    teacher = theta.copy()
    teacher[:, net.slices["g1"]] = rng.random((40, 8)) < 0.5
    y = sl.outputs(net, teacher, x)
    every = np.array(list(itertools.product((0.0, 1.0), repeat=8)))
    found = sl.fit_masks(net, theta, x, y, "g1", steps=300, lr=0.03)
    right = (found.masks == teacher[:, net.slices["g1"]]).all(axis=1)
    assert right.mean() > 0.7 and (found.loss[right] < 1e-18).all()
    for row in np.flatnonzero(~right):
        tried = np.repeat(theta[row : row + 1], 256, axis=0)
        tried[:, net.slices["g1"]] = every
        losses = value(net, tried, np.repeat(x[row : row + 1], 256, axis=0), y[row : row + 1], "squared")
        assert losses.min() * (1 - 1e-9) <= found.loss[row] < np.median(losses)


def test_classes_and_their_probabilities_are_the_same_targets():
    net = sl.Feedforward((3, 16, 4), samples=30, activation="relu", bias=True, gain=True)
    rng = np.random.default_rng(3)
    theta, x, labels = rng.normal(size=(2, net.size)), rng.normal(size=(3, 30)), None
    teacher = theta.copy()
    teacher[:, net.slices["g1"]] = rng.random((2, 16)) < 0.5
    labels = sl.outputs(net, teacher, x).argmax(axis=1)
    shares = np.eye(4)[labels].swapaxes(1, 2).copy()
    one, two = (sl.fit_masks(net, theta, x, y, "g1", sl.only(net, "b2"), steps=80, loss="softmax") for y in (labels, shares))
    assert (one.masks == two.masks).all() and (one.loss == two.loss).all() and (one.theta == two.theta).all()
    assert (sl.accuracy(net, one.theta, x, labels) > 0.6).all()
    single = sl.fit_masks(net, theta[0], x, labels[0], "g1", sl.only(net, "b2"), steps=80, loss="softmax")
    assert single.masks.shape == (16,) and np.allclose(single.loss, one.loss[0])
    start, other = (sl.fit_masks(net, theta, x, shares, "g1", steps=1, seed=seed) for seed in (0, 5))
    assert (start.masks != other.masks).any()


@pytest.mark.parametrize("change, error, text", [
    (dict(net=sl.Recurrent(3, 4, 2, 5, gain=True)), TypeError, "net: expected a feedforward"),
    (dict(group="b1"), ValueError, "group: expected one of the gains g1, g2"),
    (dict(loss="hinge"), ValueError, "loss: expected one of squared, softmax"),
    (dict(group="g2", allocation="W2"), ValueError, "allocation: expected weights and biases behind layer 2"),
    (dict(allocation="g2"), ValueError, "allocation: expected weights and biases behind layer 1"),
    (dict(steps=0), ValueError, "steps"),
    (dict(lr=0.0), ValueError, "lr"),
    (dict(y=np.zeros((3, 5), dtype=int)), TypeError, "y: expected float32 or float64"),
    (dict(y=np.full((3, 5), 2), loss="softmax"), ValueError, "y: expected labels from 0 to 1"),
    (dict(y=np.zeros((3, 4), dtype=int), loss="softmax"), ValueError, "y: expected labels of shape .5."),
    (dict(x=np.zeros((2, 3, 5))), ValueError, "batch: expected one batch size"),
])  # fmt: skip
def test_errors_name_the_argument(change, error, text):
    net, theta, x, y = problem()
    given = dict(net=net, theta=theta, x=x, y=y, group="g1") | change
    if "allocation" in given:
        given["allocation"] = sl.only(net, given["allocation"])
    with pytest.raises(error, match=text):
        sl.fit_masks(**given)
