"""Every kernel once, on few and small problems: for compute-sanitizer, which slows kernels down a hundredfold. numpy only."""

from unittest import mock

import numpy as np

import sublearn as sl
from sublearn import _devices, _resident

rng = np.random.default_rng(0)
for dtype in (np.float64, np.float32):
    for m, n in ((3, 4), (8, 8), (16, 12), (32, 32), (40, 64), (70, 70)):
        a = rng.standard_normal((5, m, n)).astype(dtype)
        assert (sl.rank(a, backend="cuda") == min(m, n)).all()
for p in (2, 2**31 - 1):
    for m, n in ((4, 4), (7, 8), (16, 16), (32, 20), (64, 64), (70, 66)):
        a = rng.integers(0, p, (5, m, n))
        assert (sl.rank_mod(a, p, backend="cuda") == sl.rank_mod(a, p, backend="cpu")).all()
nets = (sl.Recurrent(2, 8, 2, 6), sl.Recurrent(2, 4, 1, 3, activation="tanh", bias=True), sl.Recurrent(1, 19, 1, 3),
        sl.Feedforward((3, 9, 2), 4, activation="relu", bias=True), sl.Feedforward((2, 3, 3, 2), 2))
place = _devices.place("cuda")
for net in nets:
    trials = sl.draw_trials(net, sl.everything(net), 37, backend="cuda")
    own = np.zeros((37, net.size), bool)
    own[np.arange(37)[:, None], rng.permuted(np.tile(np.arange(net.size), (37, 1)), axis=1)[:, :5]] = True
    for dtype in (np.float64, np.float32):
        theta, x, y = (v.astype(dtype) for v in (trials.student, trials.x, trials.y))
        sl.jacobian(net, theta, x, own, backend="cuda")
        for optimizer in ("sgd", "momentum", "adam"):
            sl.fit(net, theta, x, y, own, steps=3, optimizer=optimizer, lr=1e-3, backend="cuda")
    if net.activation != "relu":
        place.jacobian_mod(net.shape, rng.integers(0, 99, (5, net.size)), rng.integers(0, 99, (5, net.shape.inputs_size)), 1, 2**31 - 1)
    sl.decide(net, trials.student, trials.x, trials.y, own, starts=2, iterations=4, screen=False, backend="cuda")
# Trials that stay on the GPU: two chunks under way, masks of their own and one for all, both searches.
with mock.patch.object(_resident, "_TRIALS", 20):
    for net, strategy, shared in ((nets[0], sl.scattered(nets[0], 12, "W"), ("B", "D")), (nets[0], sl.rows(nets[0], 12, "W"), ("B", "D")),
                                  (nets[3], sl.scattered(nets[3], 6), ()), (nets[4], sl.scattered(nets[4], 9), ())):
        for method, how in (("newton", {"starts": 2, "iterations": 4}), ("descent", {"steps": 3})):
            assert sl.match_probability(net, strategy, 50, shared, method, backend="cuda", **how).trials == 50
print("every kernel ran")
