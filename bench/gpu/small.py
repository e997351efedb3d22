"""python -m bench.gpu.small [ranks|networks|resident|paths ..]: every kernel once, on few and small problems: for compute-sanitizer, which
slows kernels down a hundredfold, and for the emulator under ThreadSanitizer. numpy only. A line after each part says what a run that is
stopped has got through."""

from __future__ import annotations

import sys
from unittest import mock

import numpy as np

import sublearn as sl
from sublearn.backend.dispatch import kernels_for
from sublearn.homotopy.monodromy import monodromy
from sublearn.homotopy.system import CONVERGED, system_of
from sublearn.match import gpu_pipeline
from sublearn.ranks.generic_rank import attained_ranks, free_weights

NETS = (
    sl.Recurrent(2, 8, 2, 6),
    sl.Recurrent(2, 4, 1, 3, activation="tanh", bias=True),
    sl.Recurrent(1, 19, 1, 3),
    sl.Feedforward((3, 9, 2), 4, activation="relu", bias=True),
    sl.Feedforward((2, 3, 3, 2), 2),
)


def ranks() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        for m, n in ((3, 4), (8, 8), (16, 12), (32, 32), (40, 64), (70, 70)):
            a = rng.standard_normal((5, m, n)).astype(dtype)
            assert (sl.rank(a, backend="cuda") == min(m, n)).all()
    for p in (2, 2**31 - 1):
        for m, n in ((4, 4), (7, 8), (16, 16), (32, 20), (64, 64), (70, 66)):
            a = rng.integers(0, p, (5, m, n))
            assert (sl.rank_mod(a, p, backend="cuda") == sl.rank_mod(a, p, backend="cpu")).all()


def networks() -> None:
    rng, kernels = np.random.default_rng(0), kernels_for("cuda")
    for net in NETS:
        trials = sl.draw_trials(net, sl.everything(net), 37, backend="cuda")
        own = np.zeros((37, net.size), bool)
        own[np.arange(37)[:, None], rng.permuted(np.tile(np.arange(net.size), (37, 1)), axis=1)[:, :5]] = True
        for dtype in (np.float64, np.float32):
            theta, x, y = (v.astype(dtype) for v in (trials.student, trials.x, trials.y))
            sl.jacobian(net, theta, x, own, backend="cuda")
            for optimizer in ("sgd", "momentum", "adam"):
                sl.fit(net, theta, x, y, own, steps=3, optimizer=optimizer, lr=1e-3, backend="cuda")
        if net.activation != "relu":
            kernels.jacobian_mod(
                net.shape, rng.integers(0, 99, (5, net.size)), rng.integers(0, 99, (5, net.shape.inputs_size)), 1, 2**31 - 1
            )
        sl.decide(net, trials.student, trials.x, trials.y, own, starts=2, iterations=4, screen=False, backend="cuda")


def resident() -> None:
    """Trials that stay on the GPU: two chunks under way, masks of their own and one for all, both searches."""
    with mock.patch.object(gpu_pipeline, "TRIALS_AT_ONCE", 20):
        for net, strategy, shared in (
            (NETS[0], sl.scattered(NETS[0], 12, "W"), ("B", "D")),
            (NETS[0], sl.rows(NETS[0], 12, "W"), ("B", "D")),
            (NETS[3], sl.scattered(NETS[3], 6), ()),
            (NETS[4], sl.scattered(NETS[4], 9), ()),
        ):
            for method, how in (("newton", {"starts": 2, "iterations": 4}), ("descent", {"steps": 3})):
                assert sl.match_probability(net, strategy, 50, shared, method, backend="cuda", **how).trials == 50


def paths() -> None:
    rng, kernels = np.random.default_rng(0), kernels_for("cuda")
    for net, shared in (
        (sl.Recurrent(1, 4, 1, 4), ("B", "D")),
        (sl.Recurrent(2, 5, 2, 3), ("B", "D")),
        (sl.Recurrent(2, 2, 1, 9), ("W",)),
        (sl.Feedforward((2, 3, 2), 2), ()),
    ):
        system = system_of(net, shared)
        free = np.flatnonzero(free_weights(net, shared))
        tried = (np.isin(np.arange(net.size), rng.choice(free, system.kappa, replace=False)) for _ in range(100))
        mask = next(mask for mask in tried if attained_ranks(net, mask[None], shared)[0] == system.kappa)
        base = monodromy(system, mask[None], most=20, loops=2, thorough=False, kernels=kernels)
        points = np.stack([base.point, *(system.draw(rng, real=True) for _ in range(20))])
        number = np.repeat(np.arange(20), base.found[0])
        start = np.tile(base.solutions[0], (20, 1))
        found = system.track(points, base.indices, base.degrees, 0, 0, 1 + number, start, number, stop_at_real=True, kernels=kernels)
        assert (found.status == CONVERGED).any()


PARTS = {"ranks": ranks, "networks": networks, "resident": resident, "paths": paths}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in wanted if name not in PARTS]:
        sys.exit(f"expected parts out of {', '.join(PARTS)}, got {', '.join(unknown)}")
    for name in wanted:
        PARTS[name]()
        print(name, "ran", flush=True)
    print("all that was asked for has run")
