"""python -m bench.gpu.one rank|modp|descend|newton|paths [SIDE] [--quick]: one kernel at its benchmark's size, three times, nothing else:
for a profiler (`ncu -k regex:...`), which counts one launch of it. SIDE: of the matrices, 8 by default."""

from __future__ import annotations

import argparse

import numpy as np

import sublearn as sl
from sublearn.backend.dispatch import kernels_for
from sublearn.ops.arguments import index_rows
from sublearn.ops.fit import OPTIMIZERS
from sublearn.ops.search import start_scale

from .. import w1_rank, w2_rank_mod, w3_fit_recurrent, w4_newton, w6_exact
from .workloads import module, put


def call_of(what: str, side: int, quick: bool):
    if what in ("rank", "modp"):
        few = (
            w1_rank.planted(64 if quick else 4096, side, side, np.float64)[0]
            if what == "rank"
            else w2_rank_mod.planted(64 if quick else 4096, side)[0]
        )
        a = put(np.tile(few, (1 if quick else max(1, 2**27 // (4096 * side**2)), 1, 1)))
        return lambda: (sl.rank if what == "rank" else sl.rank_mod)(a)
    if what == "descend":
        t, net = w3_fit_recurrent.problem_of(np.float32, 64 if quick else 65536).trials, sl.Recurrent(2, 8, 2, 6)
        arrays = [put(v.reshape(len(v), -1)) for v in (t.student, t.x, t.y)]
        on, rows = kernels_for("auto", theta=arrays[0]), index_rows(t.mask)
        return lambda: on.fit(net.shape, *arrays, rows, 5 if quick else 200, OPTIMIZERS.index("adam"), w3_fit_recurrent.LR, -1.0)
    if what == "newton":
        search = w4_newton.search_of(64 if quick else 16384)
        t, net, batch = search.problem.trials, search.problem.net, len(search.rows)
        arrays = [put(v.reshape(batch, -1)) for v in (t.student, t.x, t.y)]
        on, rows, scale = kernels_for("auto", theta=arrays[0]), index_rows(t.mask), start_scale(net, np.ones(len(net.groups)))
        return lambda: on.newton(net.shape, *arrays, rows, scale, 2, 50, w4_newton.TOLERANCE, 0, 0, np.arange(batch, dtype=np.uint32))
    problem, kernels = w6_exact.problem_of(1, 4, 1, 5, allocations=2 if quick else 6, trials=3 if quick else 2000), kernels_for("cuda")
    return lambda: problem.track(kernels=kernels)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.one")
    parser.add_argument("what", choices=("rank", "modp", "descend", "newton", "paths"))
    parser.add_argument("side", nargs="?", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all works")
    options = parser.parse_args()
    call = call_of(options.what, options.side, options.quick)
    for _ in range(3):
        call()
    module().synchronize()
    print(options.what, "ran")


if __name__ == "__main__":
    main()
