"""Fits of deep networks whose first layers stay as they are: activities in place of inputs, computed once."""

import time

import numpy as np
import pytest

import sublearn as sl
from sublearn.ops import fit as module
from sublearn.ops.frozen_layers import shortened

NETS = [
    sl.Feedforward((5, 7, 6, 4, 3), 9, activation, bias=bias, gain=gain)
    for activation in ("linear", "tanh", "relu")
    for bias, gain in ((True, True), (False, False), (("b2", "b4"), ("g1", "g3")))
]


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.describe())
@pytest.mark.parametrize("learns", [("W4",), ("W3",), ("W2", "W4")])
def test_same_as_with_every_layer(net, learns, monkeypatch):
    names = [*learns, *(name for name in (f"b{learns[0][1]}", f"g{learns[0][1]}") if name in net.groups)]
    rng = np.random.default_rng(len(names))
    strategy = sl.scattered(net, 7, names)
    drawn = sl.draw_trials(net, strategy, 6)
    theta = drawn.student.copy()
    for name in net.gain:
        theta[:, net.slices[name]] = rng.uniform(0.5, 2, (6, net.slices[name].stop - net.slices[name].start))
    held = rng.normal(size=(6, 5, 4)), rng.normal(size=(6, 3, 4))
    problem = net, theta, drawn.x, drawn.y, drawn.mask
    short = shortened(net, drawn.mask, 6, 8)
    assert short is not None and short.front.widths[-1] == net.widths[int(learns[0][1]) - 1] and short.net.widths[-1] == 3
    ways = {"steps": 30, "lr": 0.02, "trace": 10, "held_out": held}
    found = sl.fit(*problem, **ways)
    half = sl.fit(*problem, steps=10, lr=0.02)
    rest = sl.fit(*problem, steps=20, lr=0.02, state=half.state)
    assert (rest.theta == found.theta).all() and (found.theta == theta)[~drawn.mask].all() and (found.theta != theta)[drawn.mask].any()
    compact = sl.fit(net, theta[0], drawn.x[0], drawn.y, drawn.mask[0], steps=30, lr=0.02, compact=True)
    monkeypatch.setattr(module, "shortened", lambda *_: None)
    plain = sl.fit(*problem, **ways)
    for name in ("theta", "loss", "trace", "held_out"):
        assert np.allclose(getattr(found, name), getattr(plain, name), rtol=1e-9, atol=1e-12), name
    again = sl.fit(net, theta[0], drawn.x[0], drawn.y, drawn.mask[0], steps=30, lr=0.02, compact=True)
    assert np.allclose(compact.theta, again.theta, rtol=1e-9, atol=1e-12)
    assert (sl.fit(*problem, steps=5, state=half.state).state.net) == net


def test_what_is_not_shortened():
    net = sl.Feedforward((5, 7, 6, 3), 9, "tanh", bias=True)
    mask = np.zeros((4, net.size), dtype=bool)
    mask[:, net.slices["W3"]] = True
    assert shortened(net, mask, 4, 8).net == sl.Feedforward((6, 3), 9, "tanh", bias=True)
    assert shortened(net, mask, 10**8, 8) is None  # activities of so many students take too much memory
    mask[2, net.slices["b1"].start] = True  # one student learns there
    assert shortened(net, mask, 4, 8) is None
    assert shortened(sl.Feedforward((5, 7, 3), 9, "tanh"), np.zeros(56, bool), 1, 8) is None  # one hidden layer: the kernel does it
    assert shortened(sl.Recurrent(2, 3, 2, 4), np.zeros(21, bool), 1, 8) is None


def test_the_frozen_layers_cost_nothing_per_step():
    net = sl.Feedforward((200, 200, 8, 3), 100, "relu")
    rng = np.random.default_rng(0)
    theta, x = rng.normal(size=net.size) * 0.1, rng.normal(size=net.x_shape)
    y = rng.normal(size=(5, *net.y_shape))  # five tasks of one network

    def seconds(allocation):
        began = time.process_time()
        sl.fit(net, theta, x, y, allocation, steps=100, threads=1)
        return time.process_time() - began

    last, first = (min(seconds(sl.only(net, name)) for _ in range(2)) for name in ("W3", "W1"))
    assert last < first / 20  # 24 weights of 41 624: 500 times fewer multiplications
