"""W3: masked Adam of linear recurrent students, all steps in one call.

4096 students with 8 hidden units, 2 inputs, 2 outputs, T = 6 steps; B and D are the teacher's; 12 of the 64 entries of W learn, another
12 for every student. Loss = sum over the outputs of (y - y*)^2, learning rate 0.01. Ours is `sl.fit(..., optimizer="adam")`. The peers
take the drive B x_t as given, compute the gradient in all of W and mask it, and may run fewer steps: rates are per student and step.
Before the timing each peer's loss after CHECK_STEPS steps, computed from its weights in numpy, must be ours.

FLOP of one student-step, dense: 2 (T-1) (3 n^2 + 2 o n): W h, its adjoint and its gradient are n^2 multiply-adds each, D h and its
adjoint o n; the drive is fixed and the first step has h_0 = 0. (A gradient at the r learnable entries only needs r in place of one n^2.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import sublearn as sl

from . import machine
from .fit_peers import CHECK_STEPS, candidate, compiling_torch, peers, same_loss, scan_of
from .harness import OURS, Candidate, Options, Sweep, Table, goal_of, measure, short, sweep, thread_steps
from .libraries import jax_cpu, torch_cpu

STUDENTS, BUDGET, LR = 4096, 12, 0.01
FLOP_TEXT = "2 (T-1) (3 n^2 + 2 o n), the gradient dense in W"


@dataclass(frozen=True)
class Problem:
    net: sl.Recurrent
    trials: sl.Trials
    W: np.ndarray  # [batch, n, n] the students' own
    D: np.ndarray  # [batch, o, n]
    drive: np.ndarray  # [batch, T, n] = B x_t
    mask: np.ndarray  # [batch, n, n] 0 or 1, in the dtype of W


def problem_of(dtype: type, students: int = STUDENTS, n: int = 8, budget: int = BUDGET, steps: int = 6, seed: int = 0) -> Problem:
    net = sl.Recurrent(2, n, 2, steps)
    trials = sl.draw_trials(net, sl.scattered(net, budget, "W"), students, shared=("B", "D"), seed=seed, dtype=dtype)
    parts = net.unpack(trials.student)
    drive = np.einsum("bni,bti->btn", parts["B"], trials.x)
    own = np.ascontiguousarray
    return Problem(net, trials, own(parts["W"]), own(parts["D"]), own(drive), net.unpack(trials.mask)["W"].astype(dtype))


def loss(problem: Problem, W: np.ndarray) -> np.ndarray:
    """[batch], in float64: what every candidate must lower alike."""
    W, D, drive = (array.astype(np.float64) for array in (W, problem.D, problem.drive))
    h = np.zeros(W.shape[:2])
    total = np.zeros(len(W))
    for t in range(drive.shape[1]):
        h = np.einsum("bij,bj->bi", W, h) + drive[:, t]
        total += ((np.einsum("boi,bi->bo", D, h) - problem.trials.y[:, t]) ** 2).sum(axis=1)
    return total


def fit(problem: Problem, steps: int, threads: int) -> sl.FitResult:
    t = problem.trials
    return sl.fit(problem.net, t.student, t.x, t.y, t.mask, steps=steps, optimizer="adam", lr=LR, threads=threads)


def _torch_bmm(problem: Problem, options: Options) -> Candidate:
    torch = torch_cpu(options)
    D, Y, M = (torch.from_numpy(a) for a in (problem.D, problem.trials.y, problem.mask))
    b = torch.from_numpy(problem.drive)[..., None]

    def train(steps: int):
        W = torch.tensor(problem.W, requires_grad=True)
        adam = torch.optim.Adam([W], lr=LR, foreach=True)
        for _ in range(steps):
            adam.zero_grad(set_to_none=True)
            h, hs = b[:, 0], []
            for t in range(1, b.shape[1]):
                h = torch.bmm(W, h) + b[:, t]
                hs.append(h)
            e = torch.bmm(D, torch.cat(hs, 2)).transpose(1, 2) - Y[:, 1:]
            (e * e).sum().backward()
            W.grad.mul_(M)
            adam.step()
        return W.detach()

    return candidate("torch", train, len(D), 5 if options.quick else 20)


def _torch_compile(problem: Problem, options: Options) -> Candidate:
    torch = compiling_torch(options)
    D, Y, M, b = (torch.from_numpy(a) for a in (problem.D, problem.trials.y, problem.mask, problem.drive))

    def loss(W):
        h, total = b[:, 0], 0.0
        for t in range(1, b.shape[1]):
            h = (W * h[:, None, :]).sum(2) + b[:, t]
            e = (D * h[:, None, :]).sum(2) - Y[:, t]
            total = total + (e * e).sum()
        return total

    gradient = torch.func.grad(loss)

    @torch.compile
    def step(W, m, v, correct1, correct2):
        g = gradient(W) * M
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        return W - LR * (m / correct1) / (torch.sqrt(v / correct2) + 1e-8), m, v

    def train(steps: int):
        W = torch.tensor(problem.W)
        m, v = torch.zeros_like(W), torch.zeros_like(W)
        for k in range(1, steps + 1):
            W, m, v = step(W, m, v, torch.tensor(1 - 0.9**k, dtype=W.dtype), torch.tensor(1 - 0.999**k, dtype=W.dtype))
        return W

    return candidate("torch compiled", train, len(D), 50)


def _jax(problem: Problem, options: Options) -> Candidate:
    jax, jnp = jax_cpu()
    b, D, Y, M, W0 = (jnp.asarray(a) for a in (problem.drive, problem.D, problem.trials.y, problem.mask, problem.W))

    def loss(W, b, D, Y):
        h, total = b[0], 0.0
        for t in range(1, len(b)):
            h = W @ h + b[t]
            e = D @ h - Y[t]
            total = total + (e * e).sum()
        return total

    gradient = jax.vmap(jax.grad(loss))
    train = jax.jit(lambda W, steps: scan_of(jax, jnp, W, lambda W: gradient(W, b, D, Y) * M, steps, LR), static_argnums=1)
    return candidate("jax", lambda steps: train(W0, steps).block_until_ready(), len(W0), 20 if options.quick else 100)


PEERS = peers(torch=_torch_bmm, torch_compiled=_torch_compile, jax=_jax)


def run(options: Options) -> Iterator[Table | Sweep]:
    threads = options.threads
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        problem = problem_of(dtype, 512 if options.quick else STUDENTS)
        batch, steps = len(problem.W), 200 if options.quick else 1000
        reached, first = fit(problem, CHECK_STEPS, threads).loss, loss(problem, problem.W)
        timings = measure(
            Candidate(OURS, OURS, lambda p=problem: fit(p, steps, threads), batch * steps),
            PEERS,
            problem,
            options,
            lambda peer: same_loss(reached, first, loss(problem, peer.answer()), name),
        )
        n, o, T = 8, 2, problem.net.steps
        table = Table(
            "W3",
            "8 hidden",
            name,
            "student-steps",
            f"Adam of {batch} linear recurrent students 2-8-2, T = 6, 12 learnable weights "
            f"each, {steps} steps in one call, {threads} threads",
            timings,
            2 * (T - 1) * (3 * n * n + 2 * o * n),
            FLOP_TEXT,
            machine.peak(np.dtype(dtype).itemsize * 8, threads),
            goal_of("W3", name, "8 hidden"),
        )
        if table.ours.measured:
            sparse = 2 * (T - 1) * (2 * n * n + 2 * o * n + BUDGET)
            table.notes.append(
                f"{short(table.ours.rate * sparse / 1e9)} GFLOP/s when the gradient is counted at the learnable entries only"
            )
        yield table
    yield from sweeps(options)


def sweeps(options: Options) -> Iterator[Sweep]:
    """How our cost grows, from one base case."""
    what = "float32, n = 8, r = 12, T = 6, batch 4096, all threads, 100 steps"

    def point(threads=options.threads, **sizes):
        problem = problem_of(np.float32, **sizes)
        return lambda: fit(problem, 100, threads), 100 * len(problem.W)

    unit = "student-step"
    yield sweep("W3", "n", what, unit, (4, 6, 8, 12, 16, 24, 32), lambda n: point(n=n, students=1024 if n > 12 else STUDENTS), options)
    yield sweep("W3", "r", what, unit, (1, 4, 12, 32, 64), lambda r: point(budget=r), options)
    yield sweep("W3", "T", what, unit, (2, 4, 6, 10, 20), lambda T: point(steps=T), options)
    yield sweep("W3", "batch", what, unit, (1, 16, 256, 4096, 16384), lambda batch: point(students=batch), options)
    yield sweep("W3", "threads", what, unit, thread_steps(options), lambda threads: point(threads=threads), options)
