"""From which size on does a GPU win, and how many trials should a chunk hold? Measured here; prints the lines of the sources to be edited.

CUDA_LEAST_WORK (python/sublearn/_dispatch.py): match_probability on the CPU, all its cores, and on the GPU, for batches of trials that double, from
each method; the least trials x starts x weights from which the GPU stays ahead. One number serves both methods: the larger one.
_TRIALS (python/sublearn/_resident.py): the chunk with the most trials per second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from unittest import mock

import sublearn as sl
from sublearn import _dispatch, _resident

from ..harness import Listing, Options

NET, SHARED = sl.Recurrent(2, 8, 2, 6), ("B", "D")
METHODS = {"newton": {"starts": 10}, "descent": {"steps": 2000}}
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


def crossovers(options: Options) -> Iterator[Listing]:
    leads = []
    for method, how in METHODS.items():
        how = {"starts": 2} if options.quick and method == "newton" else {"steps": 20} if options.quick else how
        ask = lambda trials, where: sl.match_probability(NET, sl.scattered(NET, 12, "W"), trials, SHARED, method, backend=where, **how)  # noqa: E731, B023
        rows: list[list] = []
        for k in range(3, 6) if options.quick else range(2, 19):
            trials = 2**k
            work = trials * how.get("starts", 1) * NET.size
            rows.append([trials, work, *(seconds_of(lambda where=where: ask(trials, where)) for where in ("cpu", "cuda"))])  # noqa: B023
            if rows[-1][2] > MOST_SECONDS:
                break
        leads.append(first_lead(*zip(*(row[1:] for row in rows))))
        yield Listing("crossovers", f"match_probability by {method}: seconds on the CPU and on the GPU",
                      ["trials", "trials x starts x weights", "CPU seconds", "GPU seconds"], rows)
    told = [["python/sublearn/_dispatch.py", "CUDA_LEAST_WORK", _dispatch.CUDA_LEAST_WORK,
             "the GPU is never ahead" if None in leads else f"2**{max(leads).bit_length() - 1 + (max(leads) & (max(leads) - 1) > 0)}"]]
    sizes, rates = ((2**4, 2**5) if options.quick else tuple(2**k for k in range(14, 20))), []
    for size in sizes:
        trials = 2 * max(sizes)
        with mock.patch.object(_resident, "_TRIALS", size):
            call = lambda: sl.match_probability(NET, sl.scattered(NET, 12, "W"), trials, SHARED, starts=10, backend="cuda")  # noqa: E731, B023
            rates.append(trials / seconds_of(call, repeats=2))
    yield Listing("crossovers", "trials per second of match_probability by newton, for chunks of so many trials", ["chunk", "trials/s"],
                  [list(row) for row in zip(sizes, rates)])
    told.append(["python/sublearn/_resident.py", "_TRIALS", _resident._TRIALS, f"2**{sizes[rates.index(max(rates))].bit_length() - 1}"])
    yield Listing("crossovers", "lines to be edited", ["file", "name", "now", "measured here"], told)
