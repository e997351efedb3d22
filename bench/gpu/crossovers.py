"""From which size on does a GPU win, and how many trials should a chunk hold? Measured here; prints the lines of the sources to be edited.

CUDA_LEAST_WORK (python/sublearn/backend/selection.py): match_probability by each method on the CPU, all its cores, and on the GPU, for
batches of trials that double; the least trials x starts x weights from which the GPU stays ahead. One number serves both methods: the
larger one.
TRIALS_AT_ONCE (python/sublearn/match/gpu_pipeline.py): the chunk with the most trials per second.
kSharedStrip (csrc/cuda/strip.cuh): fits of networks that grow, with the tables of 32 students in shared memory and in device memory; the
largest tables for which shared memory is faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import numpy as np

import sublearn as sl
from sublearn.backend import selection
from sublearn.backend.compiled import cuda_module
from sublearn.match import gpu_pipeline

from ..harness import Listing, Options

NET, SHARED = sl.Recurrent(2, 8, 2, 6), ("B", "D")
STRATEGY = sl.scattered(NET, 12, "W")
METHODS = {"newton": {"starts": 10}, "descent": {"steps": 2000}}
_MOST_SHARED = 227 * 1024  # of a block, from compute capability 9.0 on
MOST_SECONDS = 1.0  # of a call on the CPU: there the GPU has long won, or will not


def seconds_of(call: Callable[[], object], repeats: int = 3) -> float:
    """Least of `repeats` calls after one more."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def first_lead(works: list[int], cpu: list[float], gpu: list[float]) -> int | None:
    """The least work from which the GPU stays ahead; None if it is behind at the largest."""
    ahead = None
    for work, slow, fast in zip(works, cpu, gpu):
        ahead = (ahead or work) if fast < slow else None
    return ahead


def strips(options: Options) -> tuple[Listing, str]:
    """Seconds of the same fit with tables in shared and in device memory; the value for kSharedStrip."""
    module, students, steps = cuda_module()[0], 64 if options.quick else 32768, 2 if options.quick else 500
    rows, best = [], 0

    def put(array: np.ndarray):
        out = module.Array(list(array.shape), array.dtype)
        out.upload(array)
        return out

    def fit(*problem) -> None:
        sl.fit(*problem, steps=steps, lr=1e-3)
        module.synchronize()

    for hidden in (3, 6) if options.quick else (3, 5, 6, 7, 9, 10, 12, 14, 16, 18, 20):  # 4 and 8 have kernels of their own
        net = sl.Recurrent(2, hidden, 2, 6)
        drawn = sl.draw_trials(net, sl.rows(net, 9, "W"), students, SHARED, dtype=np.float32)
        call = partial(fit, net, *map(put, (drawn.student, drawn.x, drawn.y)), drawn.mask[0])
        try:
            module.strips(_MOST_SHARED)
            shared = seconds_of(call)
            size = module.strips(1)
            device = seconds_of(call)
        finally:
            module.strips(0)
        if size <= _MOST_SHARED:
            rows.append([hidden, size, shared, device])
            best = size if shared < device else best
    what = f"fit of {students} recurrent students on the GPU, {steps} steps: seconds with tables in shared and in device memory"
    return Listing("crossovers", what, ["hidden", "bytes of 32 students", "shared", "device"], rows), f"{-(-best // 1024)} * 1024"


def crossovers(options: Options) -> Iterator[Listing]:
    leads = []
    for method, how in METHODS.items():
        how = {"starts": 2} if options.quick and method == "newton" else {"steps": 20} if options.quick else how
        ask = partial(sl.match_probability, NET, STRATEGY, shared=SHARED, method=method, **how)
        rows: list[list] = []
        for k in range(3, 6) if options.quick else range(2, 19):
            trials = 2**k
            work = trials * how.get("starts", 1) * NET.size
            rows.append([trials, work, *(seconds_of(partial(ask, trials, backend=where)) for where in ("cpu", "cuda"))])
            if rows[-1][2] > MOST_SECONDS:
                break
        leads.append(first_lead(*zip(*(row[1:] for row in rows))))
        yield Listing(
            "crossovers",
            f"match_probability by {method}: seconds on the CPU and on the GPU",
            ["trials", "trials x starts x weights", "CPU seconds", "GPU seconds"],
            rows,
        )
    least = "the GPU is never ahead" if None in leads else f"2**{(max(leads) - 1).bit_length()}"
    told = [["python/sublearn/backend/selection.py", "CUDA_LEAST_WORK", selection.CUDA_LEAST_WORK, least]]
    sizes, rates = ((2**4, 2**5) if options.quick else tuple(2**k for k in range(14, 20))), []
    for size in sizes:
        trials = 2 * max(sizes)
        with mock.patch.object(gpu_pipeline, "TRIALS_AT_ONCE", size):
            call = partial(sl.match_probability, NET, STRATEGY, trials, SHARED, starts=10, backend="cuda")
            rates.append(trials / seconds_of(call, repeats=2))
    yield Listing(
        "crossovers",
        "trials per second of match_probability by newton, for chunks of so many trials",
        ["chunk", "trials/s"],
        [list(row) for row in zip(sizes, rates)],
    )
    best = sizes[rates.index(max(rates))]
    told.append(["python/sublearn/match/gpu_pipeline.py", "TRIALS_AT_ONCE", gpu_pipeline.TRIALS_AT_ONCE, f"2**{best.bit_length() - 1}"])
    listing, limit = strips(options)
    yield listing
    told.append(["csrc/cuda/strip.cuh", "kSharedStrip", "123 * 1024", limit])
    yield Listing("crossovers", "lines to be edited", ["file", "name", "now", "measured here"], told)
