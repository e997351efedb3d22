"""W1 to W4, W6 and match probabilities on a GPU: the work of the CPU benchmarks, more of it at a time. Goals: rates on an H200, in units/s.

  W1  ranks of float matrices that live on the GPU    torch matrix_rank and svdvals, cupy svd (both cuSOLVER), jax jit(vmap)
  W2  ranks mod 2^31 - 1                               (no peer runs on a GPU); sublearn on this machine's CPU
  W3  masked Adam of linear recurrent 2-8-2            torch bmm + mask, jax jit(vmap(grad)) + scan
  W4  Levenberg-Marquardt on the same networks         torch batched, jax vmap
  W6  complex paths, and exact verdicts               (no peer); sublearn on this machine's CPU; verdicts that differ from the CPU's
  match  match_probability, from drawing to counting, on the same networks; sublearn on this machine's CPU. The note says how much of our
         time the search alone takes, on trials that are on the GPU already: the rest is drawing, screening and idling
  verdicts  match_probability on the CPU and the GPU, trial by trial: how many differ

Everything of a table is timed by turns in one process (bench/harness.py); a call ends when the GPU has finished. Ours reads and leaves
device arrays; the two flags per matrix that say whether W1 needs an SVD come to the CPU inside the timing. `device` in the notes: the time
between two CUDA events around our calls, per unit of work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

import sublearn as sl
from sublearn.backend.arrays import to_numpy
from sublearn.backend.compiled import cuda_module
from sublearn.backend.dispatch import kernels_for
from sublearn.ops.arguments import index_rows
from sublearn.ops.fit import OPTIMIZERS
from sublearn.ops.search import start_scale

from .. import w1_rank, w2_rank_mod, w3_fit_recurrent, w4_newton, w6_exact
from ..harness import OURS, Candidate, Listing, Options, Peer, Table, build, interleave, measure, short
from .crossovers import crossovers
from .peers import cupy_gpu, jax_gpu, on_gpu, torch_gpu

GOALS = {  # units per second on an H200
    "W1 float64": {"8x8": 1e9, "16x16": 3e8, "32x32": 6e7, "64x64": 7e6},
    "W2": {"16x16": 4e8, "32x32": 5e7, "64x64": 6e6},
    "W3 float32": {"4096 students": 3e9, "65536 students": 1e10},
    "W4": {"8 hidden": 5e8},
    "W6 float64": {"1-4-1, T = 5, paths": 2e6},
}
BATCH = {8: 2**21, 16: 2**19, 32: 2**17, 64: 2**14}
# The peers are some hundred times slower, and above 32 rows cuSOLVER takes one matrix after the other; rates are per matrix.
PEER_BATCH = {8: 2**13, 16: 2**13, 32: 2**12, 64: 2**7}


class GpuOptions(Options):
    """Shorter tables than on the CPU: every workload must fit its part of ten minutes."""

    @property
    def seconds(self) -> float:
        return 2.0 if self.quick else 4.0

    @property
    def least_rounds(self) -> int:
        return 2


def module():
    found, why = cuda_module()
    if found is None:
        raise RuntimeError(why)
    return found


def put(array: np.ndarray):
    """The array on the GPU, in memory of our own."""
    out = module().Array(list(array.shape), array.dtype)
    out.upload(np.ascontiguousarray(array))
    return out


def get(array) -> np.ndarray:
    return to_numpy("result", array)


def waiting(call: Callable[[], object]) -> Callable[[], object]:
    def both():
        out = call()
        module().synchronize()
        return out

    return both


def device_seconds(call: Callable[[], object], repeats: int = 5) -> float | None:
    """Median seconds of a call between two CUDA events; None without torch."""
    try:
        import torch

        times = []
        for _ in range(repeats):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end) / 1e3)
        return float(np.median(times))
    except Exception:
        return None


def finished(table: Table, call: Callable[[], object], work: float) -> Table:
    """Notes: the goal, and the time on the device."""
    if table.ours.measured:
        goal = GOALS.get(f"{table.workload} {table.dtype}", GOALS.get(table.workload, {})).get(table.case)
        if goal:
            table.goal = {"goal_rate": goal}
            table.notes.append(f"x{short(table.ours.rate / goal)} of the goal, which is for an H200")
        seconds = device_seconds(call)
        if seconds:
            table.notes.append(f"device: {short(work / seconds)} {table.unit}/s between two CUDA events")
    return table


# ---- W1, W2 -------------------------------------------------------------------------------------------------------------------


def _svd_peers(a: np.ndarray, rtol: float) -> tuple[Peer, ...]:
    def torch_rank(_, options):
        torch = torch_gpu()
        x = torch.from_numpy(a)
        return Candidate("torch matrix_rank", "torch", waiting(lambda: torch.linalg.matrix_rank(x)), len(a))

    def torch_svd(_, options):
        torch = torch_gpu()
        x = torch.from_numpy(a)
        return Candidate("torch svdvals", "torch", waiting(lambda: torch.linalg.svdvals(x)), len(a), "cuSOLVER, singular values only")

    def cupy_svd(_, options):
        cupy = cupy_gpu()
        x = cupy.asarray(a)
        call = waiting(lambda: cupy.linalg.svd(x, compute_uv=False))
        return Candidate("cupy svd", "cupy", call, len(a), "cuSOLVER, singular values only")

    def jax_rank(_, options):
        jax, jnp = jax_gpu()
        x, rank = jnp.asarray(a), jax.jit(jax.vmap(jnp.linalg.matrix_rank))
        return Candidate("jax vmap", "jax", lambda: rank(x).block_until_ready(), len(a))

    return (
        Peer("torch matrix_rank", "torch", torch_rank),
        Peer("torch svdvals", "torch", torch_svd),
        Peer("cupy svd", "cupy", cupy_svd),
        Peer("jax vmap", "jax", jax_rank),
    )


def w1(options: Options) -> Iterator[Table]:
    for dtype in (np.float64, np.float32):
        for n, batch in BATCH.items():
            batch = 64 if options.quick else batch
            few, ranks = w1_rank.planted(min(batch, PEER_BATCH[n]), n, n, dtype)
            repeats = batch // len(few)
            a = put(np.tile(few, (repeats, 1, 1)))
            wrong = int((get(sl.rank(a)) != np.tile(ranks, repeats)).sum())
            call = waiting(lambda a=a: sl.rank(a))
            ours = Candidate(OURS, OURS, call, batch, f"{wrong} of {batch} differ from the planted rank")
            timings = measure(ours, _svd_peers(few, 0), None, options)
            what = f"ranks, batch {batch} (peers {len(few)}), half full rank, half lower"
            yield finished(
                Table("W1", f"{n}x{n}", np.dtype(dtype).name, "matrices", what, timings, w1_rank.flop(n, n, ranks), w1_rank.FLOP_TEXT),
                call,
                batch,
            )


def w2(options: Options) -> Iterator[Table]:
    for n, batch in BATCH.items():
        batch = 64 if options.quick else batch
        few, ranks = w2_rank_mod.planted(min(batch, 2**12), n)
        repeats = batch // len(few)
        a = put(np.tile(few, (repeats, 1, 1)))
        differs = w2_rank_mod.wrong_ranks(get(sl.rank_mod(a)), np.tile(ranks, repeats))
        if differs:
            raise AssertionError(f"sl.rank_mod, {n}x{n}: {differs}")
        call = waiting(lambda a=a: sl.rank_mod(a))
        cpu = Peer("sublearn on the CPU", "cpu", lambda _, o: Candidate("sublearn on the CPU", "cpu", lambda: sl.rank_mod(few), len(few)))
        yield finished(
            Table(
                "W2",
                f"{n}x{n}",
                "int64",
                "matrices",
                f"ranks mod 2^31 - 1, batch {batch}",
                measure(Candidate(OURS, OURS, call, batch), (cpu,), None, options),
            ),
            call,
            batch,
        )


# ---- W3, W4 -------------------------------------------------------------------------------------------------------------------


def w3(options: Options) -> Iterator[Table]:
    for dtype in (np.float32, np.float64):
        for students in (64,) if options.quick else (4096, 65536):
            yield _w3(options, dtype, students)


def _w3(options: Options, dtype: type, students: int) -> Table:
    problem, steps = w3_fit_recurrent.problem_of(dtype, students), 20 if options.quick else 1000
    t, net, name = problem.trials, problem.net, np.dtype(dtype).name
    theta, x, y = put(t.student), put(t.x), put(t.y)
    check = w3_fit_recurrent.CHECK_STEPS
    reached = get(sl.fit(net, theta, x, y, t.mask, steps=check, lr=w3_fit_recurrent.LR).loss)
    first = w3_fit_recurrent.loss(problem, problem.W)
    on_cpu = sl.fit(net, t.student, t.x, t.y, t.mask, steps=check, lr=w3_fit_recurrent.LR, backend="cpu").loss
    differs = w3_fit_recurrent.same_loss(on_cpu, first, reached, name)
    if differs:
        raise AssertionError(f"sl.fit on the GPU against the CPU: {differs}")
    kernels, rows = kernels_for("auto", theta=theta), index_rows(t.mask)
    widths = (net.size, net.shape.inputs_size, net.shape.equations)
    arrays = [kernels.from_caller("", a).reshape((students, width)) for a, width in zip((theta, x, y), widths)]
    call = waiting(lambda: kernels.fit(net.shape, *arrays, rows, steps, OPTIMIZERS.index("adam"), w3_fit_recurrent.LR, -1.0))
    peers = tuple(on_gpu(w3_fit_recurrent, peer) for peer in w3_fit_recurrent.PEERS if peer.name != "torch.compile")
    timings = measure(
        Candidate(OURS, OURS, call, students * steps),
        peers,
        problem,
        options,
        lambda peer: w3_fit_recurrent.same_loss(reached, first, w3_fit_recurrent.loss(problem, peer.answer()), name),
    )
    what = f"Adam of {students} linear recurrent students 2-8-2, T = 6, 12 learnable weights each, {steps} steps in one call"
    table = Table(
        "W3",
        f"{students} students",
        name,
        "student-steps",
        f"{what}; columns numbered beforehand",
        timings,
        2 * 5 * (3 * 64 + 2 * 16),
        w3_fit_recurrent.FLOP_TEXT,
    )
    return finished(table, call, students * steps)


def w4(options: Options) -> Iterator[Table]:
    search = w4_newton.search_of(64 if options.quick else 32768)
    t, net, batch = search.problem.trials, search.problem.net, len(search.rows)
    theta, x, y = put(t.student), put(t.x.reshape(batch, -1)), put(t.y.reshape(batch, -1))
    kernels = kernels_for("auto", theta=theta)
    arguments = (
        net.shape,
        *(kernels.from_caller("", a) for a in (theta, x, y)),
        index_rows(t.mask),
        start_scale(net, np.ones(len(net.groups))),
        w4_newton.OUR_STARTS,
        w4_newton.OUR_ITERATIONS,
        w4_newton.TOLERANCE,
        t.seed,
        t.task,
        np.arange(batch, dtype=np.uint32),
    )
    many = kernels.newton(*arguments)
    matched = int((get(many["found"]) >= 0).sum())
    call = lambda: kernels.newton(*arguments)  # noqa: E731  (waits: it counts iterations)
    peers = [on_gpu(w4_newton, peer) for peer in w4_newton.PEERS if peer.library != "scipy"]
    ready, absent = build(peers, search, options)
    note = f"{matched} of {batch} matched, {w4_newton.OUR_STARTS} starts"
    timed = interleave([Candidate(OURS, OURS, call, many["iterations"], note), *ready], options)
    by_name = {timing.name: timing for timing in timed[1:] + absent}
    table = Table(
        "W4",
        "8 hidden",
        "float64",
        "iterations",
        f"Levenberg-Marquardt of {batch} students 2-8-2, T = 6, r = 12",
        [timed[0], *(by_name[peer.name] for peer in peers)],
        w4_newton.flop(8, 2, 6, w4_newton.BUDGET),
        w4_newton.FLOP_TEXT,
    )
    yield finished(table, call, many["iterations"])


# ---- W6 -----------------------------------------------------------------------------------------------------------------------


def w6(options: Options) -> Iterator[Table | Listing]:
    """paths: every solution followed to every trial; numpy arrays are carried there and back in the timing. trials: exact verdicts."""
    gpu, cpu, rows = kernels_for("cuda"), kernels_for("cpu"), []
    for case, sizes in w6_exact.CASES.items():
        problem = w6_exact.problem_of(*sizes, allocations=2 if options.quick else 24, trials=3 if options.quick else 2000)
        few = np.flatnonzero(problem.trial_of < (6 if options.quick else 720))
        there, here = problem.track(kernels=gpu), problem.track(few, kernels=cpu, threads=options.threads)
        apart = np.abs(there.end[few] - here.end).max(axis=1) > 1e-6 * (1 + np.abs(here.end).max(axis=1))
        lost = int((there.status != 0).sum())
        differ = int(((there.status[few] != here.status) | (apart & (here.status == 0))).sum())
        call = lambda p=problem: p.track(kernels=gpu)  # noqa: E731
        ours = Candidate(OURS, OURS, call, len(problem.start), f"{lost} of {len(problem.start)} did not end")
        peer = Peer(
            "sublearn on the CPU",
            "cpu",
            lambda p, o, few=few: Candidate("sublearn on the CPU", "cpu", lambda: p.track(few, kernels=cpu, threads=o.threads), len(few)),
        )
        where = f"r = kappa = {problem.system.kappa}, median degree {int(np.median(problem.base.found))}"
        timings = measure(ours, (peer,), problem, options)
        yield finished(Table("W6", f"{case}, paths", "float64", "paths", where, timings), call, len(problem.start))

        count = 6 if options.quick else 6000
        there, here = (problem.decide(slice(count), backend=b, threads=options.threads) for b in ("cuda", "cpu"))
        call = lambda p=problem: p.decide(slice(count), backend="cuda", threads=options.threads)  # noqa: E731
        peer = Peer(
            "sublearn on the CPU",
            "cpu",
            lambda p, o: Candidate("sublearn on the CPU", "cpu", lambda: p.decide(slice(count), backend="cpu", threads=o.threads), count),
        )
        timings = measure(Candidate(OURS, OURS, call, count), (peer,), problem, options)
        yield finished(Table("W6", f"{case}, trials", "float64", "trials", where, timings), call, count)
        rows.append(
            [
                case,
                len(few),
                differ,
                count,
                int((there.match != here.match).sum()),
                int((there.match == 1).sum()),
                int((there.match == 0).sum()),
                int((there.match == -1).sum()),
            ]
        )
    yield Listing(
        "W6",
        "the same paths and trials on the CPU and on the GPU: those that end elsewhere",
        ["case", "paths", "differ", "trials", "differ", "yes", "no", "undecided"],
        rows,
    )


def verdicts(options: Options) -> Iterator[Listing]:
    net, shared, rows = sl.Recurrent(2, 8, 2, 6), ("B", "D"), []
    for budget in (12,) if options.quick else (10, 12, 16):
        trials = 20 if options.quick else 20000
        cpu, gpu = (
            sl.match_probability(net, sl.scattered(net, budget, "W"), trials, shared, starts=5, keep_trials=True, backend=where)
            for where in ("cpu", "cuda")
        )
        rows.append([budget, trials, cpu.matched, gpu.matched, int((cpu.verdicts != gpu.verdicts).sum()), cpu.seconds, gpu.seconds])
    yield Listing(
        "verdicts",
        "match_probability, 5 starts, the same trials on the CPU and on the GPU: verdicts that rounding flips",
        ["r", "trials", "matched, CPU", "matched, GPU", "differ", "CPU seconds", "GPU seconds"],
        rows,
    )


def match(options: Options) -> Iterator[Table]:
    net, shared, starts = sl.Recurrent(2, 8, 2, 6), ("B", "D"), 10
    many, few = (96, 32) if options.quick else (2**20, 2**13)
    for budget in (12,) if options.quick else (10, 12):
        strategy = sl.scattered(net, budget, "W")
        ours, theirs = (
            partial(sl.match_probability, net, strategy, trials, shared, starts=starts, backend=where)
            for trials, where in ((many, "cuda"), (few, "cpu"))
        )
        found, on_cpu = ours(), theirs()
        cpu = Peer("sublearn on the CPU", "cpu", lambda _, o, call=theirs: Candidate("sublearn on the CPU", "cpu", call, few))
        note = f"matched {found.probability:.4f} of {many}, on the CPU {on_cpu.probability:.4f} of {few}"
        timings = measure(Candidate(OURS, OURS, ours, many, note), (cpu,), None, options)
        what = f"match_probability of scattered masks, r = {budget}, 2-8-2, T = 6, {starts} starts, {many} trials (CPU {few})"
        table = Table("match", f"r = {budget}", "float64", "trials", what, timings)
        if table.ours.measured:
            alone = search_seconds(net, strategy, shared, 32 if options.quick else 2**17, starts)
            table.notes.append(f"the search alone: {short(alone / table.ours.median * 100)} % of our time")
        yield table


def search_seconds(net: sl.Recurrent, strategy: sl.Strategy, shared: tuple[str, ...], trials: int, starts: int) -> float:
    """Seconds per trial of the kernel that searches, alone, on trials that lie on the GPU already (second of two calls)."""
    drawn = sl.draw_trials(net, strategy, trials, shared)
    theta, x, y = put(drawn.student), put(drawn.x.reshape(trials, -1)), put(drawn.y.reshape(trials, -1))
    kernels = kernels_for("auto", theta=theta)
    arguments = (
        net.shape,
        theta,
        x,
        y,
        index_rows(drawn.mask),
        start_scale(net, np.ones(len(net.groups))),
        starts,
        200,
        1e-20,
        0,
        0,
        np.arange(trials, dtype=np.uint32),
    )
    for _ in range(2):
        began = time.perf_counter()
        kernels.newton(*arguments)  # waits: it counts iterations
        seconds = time.perf_counter() - began
    return seconds / trials


WORKLOADS = {"W1": w1, "W2": w2, "W3": w3, "W4": w4, "W6": w6, "match": match, "verdicts": verdicts, "crossovers": crossovers}
