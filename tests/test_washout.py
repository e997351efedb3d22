"""fit(washout=): outputs of the first steps do not count, in every kernel of recurrent fits."""

import numpy as np
import pytest
from twins import networks as twin

import sublearn as sl

NETS = [
    sl.Recurrent(2, 4, 2, 6, "tanh", True),
    sl.Recurrent(2, 8, 2, 5, "linear", leak=0.5, gain=True, samples=2),
    sl.Recurrent(2, 33, 2, 17, "tanh", True),  # units in the lanes
    sl.Recurrent(2, 4, 2, 6, "relu", True, samples=32),  # sequences in the lanes
]


@pytest.mark.parametrize("loss", ["squared", "softmax"])
@pytest.mark.parametrize("net", NETS, ids=lambda net: net.describe())
def test_first_steps_do_not_count(net, loss):
    """One step of descent is the gradient of the outputs that count, by the twin's Jacobian; the others may be anything."""
    rng = np.random.default_rng(0)
    theta, x = rng.normal(size=(3, net.size)) / 3, rng.normal(size=(3, *net.x_shape))
    labels, y = rng.integers(0, 2, (3, *net.y_shape[:-1])), rng.normal(size=(3, *net.y_shape))
    mask = sl.scattered(net, 12).draw(0).mask
    for washout in (1, net.steps - 1):
        count = np.zeros((net.samples, net.steps, net.outputs))
        count[:, washout:] = 1
        count = count.reshape(net.y_shape)
        asked = labels if loss == "softmax" else y
        found = sl.fit(net, theta, x, asked, mask, 1, "sgd", 1e-3, loss=loss, washout=washout)
        for k in range(3):
            outputs = twin.outputs(net, theta[k], x[k])
            if loss == "softmax":
                p = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
                error = (p - np.eye(2)[labels[k]]) * count
            else:
                error = 2 * (outputs - y[k]) * count
            change = 1e-3 * twin.jacobian(net, theta[k], x[k]).T @ error.ravel()
            np.testing.assert_allclose(found.theta[k], np.where(mask, theta[k] - change, theta[k]), rtol=1e-9, atol=1e-11)
        other = labels.copy() if loss == "softmax" else y.copy()
        steps = other.reshape(3, net.samples, net.steps, -1)
        steps[:, :, :washout] = 1 - steps[:, :, :washout]
        again = sl.fit(net, theta, x, other, mask, 1, "sgd", 1e-3, loss=loss, washout=washout)
        np.testing.assert_array_equal(again.theta, found.theta)
        np.testing.assert_array_equal(again.loss, found.loss)


def test_losses_and_tolerances_are_of_what_counts():
    net = NETS[0]
    rng = np.random.default_rng(1)
    theta, x = rng.normal(size=(4, net.size)) / 2, rng.normal(size=(4, *net.x_shape))
    y = sl.outputs(net, theta, x)
    y[:, :2] += 5.0
    found = sl.fit(net, theta, x, y, sl.everything(net), 10, washout=2, tol=1e-20)
    assert (found.status == "converged").all() and (found.loss == 0).all() and (found.steps == 0).all()
    longer = sl.fit(net, theta, x, y, sl.everything(net), 4, washout=2, trace=2, held_out=(x[0, :5], y[0, :5]))
    assert longer.trace.shape == longer.held_out.shape == (4, 3)
    assert longer.trace[0, 0] == 0 and longer.held_out[0, 0] == 0


def test_washout_is_for_recurrent_networks_and_ends_before_them():
    net = sl.Feedforward((2, 3, 1), 4)
    with pytest.raises(ValueError, match="washout: expected 0"):
        sl.fit(net, np.zeros(net.size), np.zeros(net.x_shape), np.zeros(net.y_shape), sl.everything(net), washout=1)
    net = NETS[0]
    with pytest.raises(ValueError, match="washout: expected fewer than the 6 steps"):
        sl.fit(net, np.zeros(net.size), np.zeros(net.x_shape), np.zeros(net.y_shape), sl.everything(net), washout=6)
